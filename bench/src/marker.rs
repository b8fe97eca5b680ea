//! What a publisher hides in a payload and a subscriber looks for, whatever the protocol around it:
//! `~T`, 16 hexadecimal digits of nanoseconds, 8 of a sequence number, `~`.

use memchr::memchr;

/// Length of a marker, bytes.
pub const MARK: usize = 27;

/// Writes a marker to the front of `out`, which has room for it.
pub fn write_mark(out: &mut [u8], time: u64, sequence: u32) {
    let mark = format!("~T{time:016x}{sequence:08x}~");
    out[..MARK].copy_from_slice(mark.as_bytes());
}

fn unhex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let n = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(n))
    })
}

fn parse(mark: &[u8]) -> Option<(u64, u32)> {
    if mark[1] != b'T' || mark[MARK - 1] != b'~' {
        return None;
    }
    Some((unhex(&mark[2..18])?, unhex(&mark[18..26])? as u32))
}

/// Calls `found(time, sequence)` for each marker; returns where an unfinished one starts.
pub fn scan(data: &[u8], mut found: impl FnMut(u64, u32)) -> usize {
    let mut at = 0;
    while let Some(skip) = memchr(b'~', &data[at..]) {
        let start = at + skip;
        let left = &data[start..];
        if left.len() < MARK {
            if left.len() >= 2 && left[1] != b'T' {
                at = start + 1;
                continue;
            }
            return start;
        }
        match parse(&left[..MARK]) {
            Some((time, sequence)) => {
                found(time, sequence);
                at = start + MARK;
            }
            None => at = start + 1,
        }
    }
    data.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_survive_any_split() {
        let mut data = b"noise~~T~".to_vec();
        for sequence in 0..3 {
            let mut mark = [0; MARK];
            write_mark(&mut mark, 0x1234_5678_9abc_def0 + u64::from(sequence), sequence);
            data.extend_from_slice(&mark);
            data.extend_from_slice(b"\r\n~x");
        }
        for cut in 0..data.len() {
            let mut got = Vec::new();
            let at = scan(&data[..cut], |time, sequence| got.push((time, sequence)));
            assert!(cut - at < MARK);
            let rest = [&data[at..cut], &data[cut..]].concat();
            scan(&rest, |time, sequence| got.push((time, sequence)));
            assert_eq!(got.len(), 3, "cut {cut}");
            assert_eq!(got[2], (0x1234_5678_9abc_def2, 2));
        }
    }
}
