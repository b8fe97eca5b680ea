//! Periods of time as they are typed.

use throughline_wire::event::SAFE_INTEGER_MAX;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Milliseconds: a whole number of them, or of another unit behind the number.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor =
        if unit.is_empty() { Some(1) } else { UNITS.iter().find(|(name, _)| *name == unit).map(|unit| unit.1) };
    let period = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    period.filter(|period| (1..=SAFE_INTEGER_MAX).contains(period)).ok_or_else(|| {
        format!(
            "expected milliseconds, or a whole number of ms, s, m, h or d as in 90s or 7d; at most {SAFE_INTEGER_MAX} ms"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_perhaps_its_unit() {
        let good = [("5", 5), ("250ms", 250), ("90s", 90_000), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000)];
        for (text, expected) in good {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "0s", "s", "-1", "1.5s", "5 s", "5S", "5w", "99999999999999999999", "9007199254740991s"] {
            assert!(milliseconds(text).unwrap_err().contains("as in 90s"), "{text}");
        }
    }
}
