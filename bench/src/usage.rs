//! What /proc says of processes and of the machine.

use std::fs;
use std::time::{Duration, Instant};

/// Fields of /proc/PID/stat from the state on.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.get(text.rfind(')')? + 2..)?.split(' ').map(String::from).collect())
}

/// Every process and its parent.
pub fn parents() -> Vec<(i32, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_string_lossy().parse().ok()?;
            Some((pid, stat(pid)?.get(1)?.parse().ok()?))
        })
        .collect()
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Seconds of CPU of all the processes, and the user's part of them.
pub fn cpu(pids: &[i32]) -> (f64, f64) {
    let hz = ticks_per_second();
    let field = |fields: &[String], i: usize| fields.get(i).and_then(|x| x.parse::<f64>().ok()).unwrap_or(0.0);
    pids.iter().filter_map(|pid| stat(*pid)).fold((0.0, 0.0), |(all, user), fields| {
        let (u, s) = (field(&fields, 11), field(&fields, 12));
        (all + (u + s) / hz, user + u / hz)
    })
}

/// Seconds of CPU of this process.
pub fn own_cpu() -> f64 {
    cpu(&[std::process::id() as i32]).0
}

/// Busy and stolen seconds of the whole machine.
pub fn machine() -> (f64, f64) {
    let hz = ticks_per_second();
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line.split_whitespace().skip(1).map(|x| x.parse().unwrap_or(0.0)).collect();
    let field = |i: usize| fields.get(i).copied().unwrap_or(0.0);
    ([0, 1, 2, 5, 6].into_iter().map(field).sum::<f64>() / hz, field(7) / hz)
}

/// The machine's load average over a minute.
pub fn loadavg() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|x| x.parse().ok()).unwrap_or(0.0)
}

/// Waits until others use less than the share `max` of one CPU, at most `limit`.
pub fn wait_quiet(limit: Duration, max: f64) {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        let before = machine().0;
        std::thread::sleep(Duration::from_millis(400));
        if (machine().0 - before) / 0.4 <= max {
            return;
        }
    }
}

/// Resident and proportional memory of the processes, KiB.
pub fn memory(pids: &[i32]) -> (u64, u64) {
    pids.iter().fold((0, 0), |(rss, pss), pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let value = |key: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
        };
        (rss + value("Rss:"), pss + value("Pss:"))
    })
}

/// Bytes in the kernel slabs that sockets use, on both ends of each connection.
pub fn socket_slabs() -> u64 {
    const NAMES: [&str; 8] = [
        "TCP",
        "sock_inode_cache",
        "eventpoll_epi",
        "eventpoll_pwq",
        "filp",
        "dentry",
        "tcp_bind_bucket",
        "tcp_bind2_bucket",
    ];
    let text = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    let size = |line: &str| -> Option<u64> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        NAMES.contains(fields.first()?).then_some(())?;
        Some(fields.get(1)?.parse::<u64>().ok()? * fields.get(3)?.parse::<u64>().ok()?)
    };
    text.lines().filter_map(size).sum()
}
