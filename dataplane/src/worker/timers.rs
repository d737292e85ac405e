//! Which number of the wheel belongs to what? Handshakes first, then exchanges, downlinks, checks
//! of new addresses, sessions we open, bodies that come, answers that go, and one for housekeeping.

use crate::bounds::{ANSWERS_MAX, CONNECTS_MAX, PATHS_MAX};
use crate::config::Config;

/// How many timers there are of each kind.
#[derive(Clone, Copy, Debug)]
struct Counts {
    handshakes: u32,
    exchanges: u32,
    downlinks: u32,
    paths: u32,
    connects: u32,
    uploads: u32,
    answers: u32,
}

/// How the numbers are divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    exchanges_from: u32,
    downlinks_from: u32,
    paths_from: u32,
    connects_from: u32,
    uploads_from: u32,
    answers_from: u32,
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
    Upload(u32),
    Answer(u32),
    Housekeeping,
}

impl Timers {
    /// As many as there may be things that have one.
    pub(super) fn of(config: &Config) -> Self {
        Self::new(Counts {
            handshakes: config.handshake.half_open,
            exchanges: config.coap.exchanges,
            downlinks: config.coap.downlinks,
            paths: PATHS_MAX,
            connects: CONNECTS_MAX,
            uploads: config.coap.uploads_kib,
            answers: ANSWERS_MAX,
        })
    }

    /// So many of each.
    fn new(counts: Counts) -> Self {
        let exchanges_from = counts.handshakes;
        let downlinks_from = exchanges_from + counts.exchanges;
        let paths_from = downlinks_from + counts.downlinks;
        let connects_from = paths_from + counts.paths;
        let uploads_from = connects_from + counts.connects;
        let answers_from = uploads_from + counts.uploads;
        let housekeeping = answers_from + counts.answers;
        Self {
            exchanges_from,
            downlinks_from,
            paths_from,
            connects_from,
            uploads_from,
            answers_from,
            housekeeping,
        }
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

    pub(super) fn upload(&self, number: u32) -> u32 {
        self.uploads_from + number
    }

    pub(super) fn answer(&self, number: u32) -> u32 {
        self.answers_from + number
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
        } else if timer < self.uploads_from {
            Due::Connect(timer - self.connects_from)
        } else if timer < self.answers_from {
            Due::Upload(timer - self.uploads_from)
        } else if timer < self.housekeeping {
            Due::Answer(timer - self.answers_from)
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
        let timers = Timers::new(Counts {
            handshakes: 2,
            exchanges: 3,
            downlinks: 1,
            paths: 2,
            connects: 1,
            uploads: 2,
            answers: 1,
        });
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
            Due::Upload(0),
            Due::Upload(1),
            Due::Answer(0),
            Due::Housekeeping,
        ];
        assert_eq!(owners, expected);
        assert_eq!(timers.due(timers.exchange(1)), Due::Exchange(1));
        assert_eq!(timers.due(timers.downlink(0)), Due::Downlink(0));
        assert_eq!(timers.due(timers.path(1)), Due::Path(1));
        assert_eq!(timers.due(timers.connect(0)), Due::Connect(0));
        assert_eq!(timers.due(timers.upload(1)), Due::Upload(1));
        assert_eq!(timers.due(timers.answer(0)), Due::Answer(0));
        assert_eq!(timers.due(timers.housekeeping()), Due::Housekeeping);
    }
}
