//! Which number of the wheel belongs to what? Handshakes first, then exchanges, downlinks, checks
//! of new addresses, sessions we open, and one for housekeeping.

/// How the numbers are divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    exchanges_from: u32,
    downlinks_from: u32,
    paths_from: u32,
    connects_from: u32,
    housekeeping: u32,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Handshake(u32),
    Exchange(u32),
    Downlink(u32),
    Path(u32),
    Connect(u32),
    Housekeeping,
}

impl Timers {
    /// So many of each.
    pub(super) fn new(
        handshakes: u32,
        exchanges: u32,
        downlinks: u32,
        paths: u32,
        connects: u32,
    ) -> Self {
        let exchanges_from = handshakes;
        let downlinks_from = exchanges_from + exchanges;
        let paths_from = downlinks_from + downlinks;
        let connects_from = paths_from + paths;
        let housekeeping = connects_from + connects;
        Self { exchanges_from, downlinks_from, paths_from, connects_from, housekeeping }
    }

    /// Timers altogether.
    pub(super) fn count(&self) -> u32 {
        self.housekeeping + 1
    }

    pub(super) fn exchange(&self, number: u32) -> u32 {
        self.exchanges_from + number
    }

    pub(super) fn downlink(&self, number: u32) -> u32 {
        self.downlinks_from + number
    }

    pub(super) fn path(&self, number: u32) -> u32 {
        self.paths_from + number
    }

    pub(super) fn connect(&self, number: u32) -> u32 {
        self.connects_from + number
    }

    pub(super) fn housekeeping(&self) -> u32 {
        self.housekeeping
    }

    /// Whose timer it is.
    pub(super) fn due(&self, timer: u32) -> Due {
        if timer < self.exchanges_from {
            Due::Handshake(timer)
        } else if timer < self.downlinks_from {
            Due::Exchange(timer - self.exchanges_from)
        } else if timer < self.paths_from {
            Due::Downlink(timer - self.downlinks_from)
        } else if timer < self.connects_from {
            Due::Path(timer - self.paths_from)
        } else if timer < self.housekeeping {
            Due::Connect(timer - self.connects_from)
        } else {
            Due::Housekeeping
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_owner() {
        let timers = Timers::new(2, 3, 1, 2, 1);
        let owners: Vec<_> = (0..timers.count()).map(|timer| timers.due(timer)).collect();
        let expected = [
            Due::Handshake(0),
            Due::Handshake(1),
            Due::Exchange(0),
            Due::Exchange(1),
            Due::Exchange(2),
            Due::Downlink(0),
            Due::Path(0),
            Due::Path(1),
            Due::Connect(0),
            Due::Housekeeping,
        ];
        assert_eq!(owners, expected);
        assert_eq!(timers.due(timers.exchange(1)), Due::Exchange(1));
        assert_eq!(timers.due(timers.downlink(0)), Due::Downlink(0));
        assert_eq!(timers.due(timers.path(1)), Due::Path(1));
        assert_eq!(timers.due(timers.connect(0)), Due::Connect(0));
        assert_eq!(timers.due(timers.housekeeping()), Due::Housekeeping);
    }
}
