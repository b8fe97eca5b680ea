//! Latencies in buckets about 1.6 % wide.

/// Counts of nanoseconds, log-linear.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    /// The largest value added.
    pub max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; 64 * 64], count: 0, max: 0 }
    }
}

impl Histogram {
    /// Adds a value.
    pub fn add(&mut self, value: u64) {
        let exponent = (64 - (value | 63).leading_zeros() as usize) - 6;
        self.counts[exponent * 64 + ((value >> exponent) as usize & 63)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// The value below which the share `q` of all values lies.
    pub fn quantile(&self, q: f64) -> u64 {
        let want = (self.count as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (i, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= want {
                return ((i & 63) as u64) << (i / 64);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_close() {
        let mut histogram = Histogram::default();
        (1..=100_000u64).for_each(|v| histogram.add(v * 10));
        for q in [0.5, 0.9, 0.99] {
            let value = histogram.quantile(q) as f64;
            assert!((value / (q * 1e6) - 1.0).abs() < 0.03, "{q}: {value}");
        }
    }
}
