//! What becomes of a datagram on its way? Late, lost, twice, changed, or cut.

use rand::Rng;
use rand::rngs::StdRng;

use super::plan::Weather;
use super::seed;

/// The ways between the devices and the edge.
pub(crate) struct Network {
    up: Vec<Way>,
    down: Vec<Way>,
    pub(crate) weather: Weather,
    /// Longer datagrams are lost, bytes.
    pub(crate) mtu: usize,
}

/// One direction of one device.
struct Way {
    random: StdRng,
    latency_ms: u64,
    /// Blocked while above zero.
    blocks: u32,
    /// It rains until then.
    rains_until_ms: u64,
}

/// A datagram that arrives.
pub(crate) struct Arrival {
    pub(crate) after_ms: u64,
    pub(crate) bytes: Vec<u8>,
    /// As it was sent.
    pub(crate) is_whole: bool,
}

impl Network {
    pub(crate) fn new(run_seed: u64, latencies_ms: &[(usize, u64)]) -> Self {
        let ways = |label| {
            let way = |(number, latency_ms): &(usize, u64)| Way {
                random: seed::stream(run_seed, label, *number),
                latency_ms: *latency_ms,
                blocks: 0,
                rains_until_ms: 0,
            };
            latencies_ms.iter().map(way).collect()
        };
        let (up, down) = (ways("way up"), ways("way down"));
        Self { up, down, weather: Weather::default(), mtu: usize::MAX }
    }

    /// Nothing gets through from now on, or once more.
    pub(crate) fn block(&mut self, device: usize, up: bool, down: bool, begins: bool) {
        for (way, is_meant) in [(&mut self.up[device], up), (&mut self.down[device], down)] {
            if is_meant {
                way.blocks = if begins { way.blocks + 1 } else { way.blocks.saturating_sub(1) };
            }
        }
    }

    /// Everything gets through again.
    pub(crate) fn clears(&mut self) {
        (self.weather, self.mtu) = (Weather::default(), usize::MAX);
        for way in self.up.iter_mut().chain(&mut self.down) {
            way.blocks = 0;
        }
    }

    /// What arrives of a datagram that a device sends.
    pub(crate) fn up(&mut self, now_ms: u64, device: usize, bytes: &[u8]) -> Vec<Arrival> {
        let arrivals = self.up[device].carry(now_ms, self.weather, bytes);
        if bytes.len() > self.mtu { Vec::new() } else { arrivals }
    }

    /// What arrives of a datagram for a device.
    pub(crate) fn down(&mut self, now_ms: u64, device: usize, bytes: &[u8]) -> Vec<Arrival> {
        let arrivals = self.down[device].carry(now_ms, self.weather, bytes);
        if bytes.len() > self.mtu { Vec::new() } else { arrivals }
    }
}

impl Way {
    fn carry(&mut self, now_ms: u64, weather: Weather, bytes: &[u8]) -> Vec<Arrival> {
        // Always the same draws, so that a change of the weather changes nothing else.
        let [lost, burst, doubled, flipped, cut] =
            [(); 5].map(|()| self.random.random_range(0..100u32));
        let (late, later): (u64, u64) = (self.random.random(), self.random.random());
        let at = self.random.random::<u32>() as usize;
        if burst < weather.burst / 8 {
            self.rains_until_ms = now_ms + 100 + late % 6_000;
        }
        if self.blocks > 0 || lost < weather.lost || now_ms < self.rains_until_ms {
            return Vec::new();
        }
        let mut bytes = bytes.to_vec();
        let is_whole = flipped >= weather.flipped && cut >= weather.cut;
        if flipped < weather.flipped {
            let bit = at % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if cut < weather.cut {
            bytes.truncate(at / 8 % bytes.len());
        }
        let jitter = |draw: u64| draw % (weather.jitter_ms + 3);
        let mut arrivals = Vec::new();
        if doubled < weather.doubled {
            let after_ms = self.latency_ms + jitter(later);
            arrivals.push(Arrival { after_ms, bytes: bytes.clone(), is_whole });
        }
        arrivals.push(Arrival { after_ms: self.latency_ms + jitter(late), bytes, is_whole });
        arrivals
    }
}
