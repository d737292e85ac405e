//! What is remembered of a device? A small row, its session, and what it may resume.

use tidegate_dtls::Established;
use tidegate_dtls::client::Session;

use super::exchanges::NONE;

/// The devices of one thread, by their number in it.
pub(super) struct Devices {
    rows: Vec<Row>,
    /// Of DTLS only; `None` without a session.
    sessions: Vec<Option<Established>>,
    /// What may be resumed; empty when no phase resumes.
    kept: Vec<Option<Box<Session>>>,
    /// How many have a session.
    pub(super) up: u32,
}

/// The rest of a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) state: State,
    /// Which of its bindings it uses.
    pub(super) plane: u8,
    /// It has shaken hands from there.
    pub(super) is_known_there: bool,
    /// Requests under way.
    pub(super) in_flight: u8,
    /// The last Message ID it used.
    pub(super) mid: u16,
    /// Message ID of the server's last request, so that repetitions are not counted.
    pub(super) heard: Option<u16>,
    /// The last that was heard is that nobody listens where it sends to.
    pub(super) is_refused: bool,
    /// Requests since it last moved.
    pub(super) since_rebind: u32,
    /// Its newest exchange, or [`NONE`].
    pub(super) first: u32,
    /// Place of its handshake, while there is one.
    pub(super) attempt: u32,
}

/// Whether a device can send requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has no session.
    Out,
    /// It is getting one.
    ShakingHands,
    /// It has one, or needs none.
    Up,
}

impl Devices {
    pub(super) fn new(number: u32, is_secured: bool, keeps: bool, seed: u64) -> Self {
        let state = if is_secured { State::Out } else { State::Up };
        let mut dice = super::pace::Dice::new(seed);
        let mut row = || Row {
            state,
            plane: 0,
            is_known_there: false,
            in_flight: 0,
            mid: dice.roll() as u16,
            heard: None,
            is_refused: false,
            since_rebind: 0,
            first: NONE,
            attempt: NONE,
        };
        let secured = if is_secured { number } else { 0 };
        Self {
            rows: (0..number).map(|_| row()).collect(),
            sessions: (0..secured).map(|_| None).collect(),
            kept: (0..if keeps { secured } else { 0 }).map(|_| None).collect(),
            up: number - secured,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Whether these devices speak in sessions only.
    pub(super) fn is_secured(&self) -> bool {
        !self.sessions.is_empty()
    }

    pub(super) fn row(&self, device: u32) -> &Row {
        &self.rows[device as usize]
    }

    pub(super) fn row_mut(&mut self, device: u32) -> &mut Row {
        &mut self.rows[device as usize]
    }

    pub(super) fn session(&self, device: u32) -> Option<&Established> {
        self.sessions.get(device as usize)?.as_ref()
    }

    pub(super) fn session_mut(&mut self, device: u32) -> Option<&mut Established> {
        self.sessions.get_mut(device as usize)?.as_mut()
    }

    /// It has a session from now on.
    pub(super) fn establish(&mut self, device: u32, session: Established, kept: Option<&Session>) {
        self.sessions[device as usize] = Some(session);
        if let Some(place) = self.kept.get_mut(device as usize) {
            *place = kept.cloned().map(Box::new);
        }
        self.row_mut(device).state = State::Up;
        self.up += 1;
    }

    /// It has none any more. Returns the one it had.
    pub(super) fn part(&mut self, device: u32) -> Option<Established> {
        let session = self.sessions.get_mut(device as usize)?.take()?;
        self.row_mut(device).state = State::Out;
        self.up -= 1;
        Some(session)
    }

    /// What it may resume.
    pub(super) fn kept(&self, device: u32) -> Option<&Session> {
        self.kept.get(device as usize)?.as_deref()
    }

    /// It may not be resumed.
    pub(super) fn forget(&mut self, device: u32) {
        if let Some(place) = self.kept.get_mut(device as usize) {
            *place = None;
        }
    }

    /// A Message ID that the device has not used for long.
    pub(super) fn next_mid(&mut self, device: u32) -> u16 {
        let row = self.row_mut(device);
        row.mid = row.mid.wrapping_add(1);
        row.mid
    }
}
