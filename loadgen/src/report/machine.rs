//! What did the load come from? Figures mean little without it.

use std::fs;
use std::thread::available_parallelism;

/// The machine and this program.
#[derive(Clone, Debug)]
pub struct Machine {
    /// As the processor calls itself.
    pub processor: String,
    /// Cores this process may run on.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Version of this program.
    pub version: &'static str,
}

impl Machine {
    /// The one this process runs on.
    pub fn of_this_process() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: processor(&cpuinfo).unwrap_or("unknown").to_owned(),
            cores: available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn processor(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_in_the_first_block() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Abacus 9000\nprocessor\t: 1\n";
        assert_eq!(processor(cpuinfo), Some("Abacus 9000"));
        assert_eq!(processor("CPU part : 0xd0c\n"), None);
    }
}
