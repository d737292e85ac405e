//! How long does publishing take? Counted in buckets, as Prometheus wants them.

/// A histogram of milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    counts: [u64; BOUNDS_MS.len() + 1],
    sum_ms: u64,
}

/// Upper bounds, inclusive.
const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 10_000];

impl Latency {
    /// One more.
    pub fn add(&mut self, ms: u64) {
        let at = BOUNDS_MS.partition_point(|bound| *bound < ms);
        self.counts[at] += 1;
        self.sum_ms += ms;
    }

    /// Upper bounds and how many were in each bucket; `None`: the last one has none.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS_MS.into_iter().map(Some).chain([None]);
        bounds.zip(self.counts)
    }

    /// All of them together.
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_within_its_bucket() {
        let mut latency = Latency::default();
        for ms in [0, 1, 2, 3, 10_000, 10_001] {
            latency.add(ms);
        }
        let counts: Vec<u64> = latency.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(latency.sum_ms(), 20_007);
    }
}
