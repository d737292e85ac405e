//! What is counted? One number for each thing that can happen to a device.

/// Counters of a second, or of a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent, each once however often it was repeated.
    pub requests: u64,
    /// Requests answered by a 2.xx; of bare datagrams those that came back.
    pub completed: u64,
    /// What ended badly, by [`ErrorKind`].
    pub errors: [u64; ErrorKind::ALL.len()],
    /// Messages and flights that were sent once more.
    pub retransmissions: u64,
    /// Handshakes begun.
    pub handshakes_begun: u64,
    /// Full handshakes completed.
    pub handshakes_full: u64,
    /// Resumed handshakes completed (RFC 5246 section 7.3, RFC 5077).
    pub handshakes_resumed: u64,
    /// Requests of the server that a device answered.
    pub downlinks: u64,
    /// Times that a device moved to another address or port.
    pub rebinds: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Bytes of UDP payload sent.
    pub bytes_out: u64,
    /// Bytes of UDP payload received.
    pub bytes_in: u64,
    /// CPU time of our threads, user and system, ns.
    pub own_cpu_ns: u64,
    /// CPU time of the server's processes, user and system, ns.
    pub server_cpu_ns: u64,
}

/// How something ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorKind {
    /// No response in time, all retransmissions included.
    Timeout,
    /// The server answered a request by a Reset.
    Reset,
    /// The server answered by a 4.xx.
    Response4xx,
    /// The server answered by a 5.xx.
    Response5xx,
    /// A handshake was not over in time.
    HandshakeTimeout,
    /// The server ended a handshake by an alert.
    HandshakeAlert,
    /// A handshake failed on our side: what the server sent was wrong or unacceptable.
    HandshakeFailed,
    /// The server closed a session, or broke it off by an alert.
    SessionClosed,
    /// Nobody listens there: an ICMP port unreachable.
    Unreachable,
    /// The response is no CoAP, or breaks the rules of blockwise transfer.
    Malformed,
    /// Was due and never sent: every device was still busy when the phase ended.
    Unsent,
}

impl ErrorKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Timeout,
        Self::Reset,
        Self::Response4xx,
        Self::Response5xx,
        Self::HandshakeTimeout,
        Self::HandshakeAlert,
        Self::HandshakeFailed,
        Self::SessionClosed,
        Self::Unreachable,
        Self::Malformed,
        Self::Unsent,
    ];

    /// In JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Response4xx => "response_4xx",
            Self::Response5xx => "response_5xx",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeAlert => "handshake_alert",
            Self::HandshakeFailed => "handshake_failed",
            Self::SessionClosed => "session_closed",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed",
            Self::Unsent => "unsent",
        }
    }

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Timeout => "no response in time",
            Self::Reset => "answered by a Reset",
            Self::Response4xx => "answered by a 4.xx",
            Self::Response5xx => "answered by a 5.xx",
            Self::HandshakeTimeout => "handshake not over in time",
            Self::HandshakeAlert => "handshake ended by an alert",
            Self::HandshakeFailed => "handshake failed on our side",
            Self::SessionClosed => "session closed by the server",
            Self::Unreachable => "port unreachable",
            Self::Malformed => "malformed response",
            Self::Unsent => "due, but never sent",
        }
    }
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        for (own, theirs) in self.errors.iter_mut().zip(other.errors) {
            *own += theirs;
        }
        for (own, theirs) in [
            (&mut self.requests, other.requests),
            (&mut self.completed, other.completed),
            (&mut self.retransmissions, other.retransmissions),
            (&mut self.handshakes_begun, other.handshakes_begun),
            (&mut self.handshakes_full, other.handshakes_full),
            (&mut self.handshakes_resumed, other.handshakes_resumed),
            (&mut self.downlinks, other.downlinks),
            (&mut self.rebinds, other.rebinds),
            (&mut self.datagrams_out, other.datagrams_out),
            (&mut self.datagrams_in, other.datagrams_in),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.own_cpu_ns, other.own_cpu_ns),
            (&mut self.server_cpu_ns, other.server_cpu_ns),
        ] {
            *own += theirs;
        }
    }

    /// How often this happened.
    pub fn error(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize]
    }

    /// All errors.
    pub fn errors(&self) -> u64 {
        self.errors.iter().sum()
    }

    /// Handshakes completed, full and resumed.
    pub fn handshakes(&self) -> u64 {
        self.handshakes_full + self.handshakes_resumed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_place_and_a_name_of_its_own() {
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            let same = ErrorKind::ALL.iter().filter(|other| other.name() == kind.name());
            assert_eq!(same.count(), 1);
        }
    }

    #[test]
    fn adding_leaves_no_counter_out() {
        let mut ones = Tally { errors: [1; ErrorKind::ALL.len()], ..Tally::default() };
        for counter in [
            &mut ones.requests,
            &mut ones.completed,
            &mut ones.retransmissions,
            &mut ones.handshakes_begun,
            &mut ones.handshakes_full,
            &mut ones.handshakes_resumed,
            &mut ones.downlinks,
            &mut ones.rebinds,
            &mut ones.datagrams_out,
            &mut ones.datagrams_in,
            &mut ones.bytes_out,
            &mut ones.bytes_in,
            &mut ones.own_cpu_ns,
            &mut ones.server_cpu_ns,
        ] {
            *counter = 1;
        }
        assert!(!format!("{ones:?}").contains(": 0"), "a counter is missing above");
        let mut sum = ones.clone();
        sum.add(&ones);
        let twice = format!("{ones:?}").replace('1', "2");
        assert_eq!(format!("{sum:?}"), twice);
        assert_eq!(sum.errors(), 2 * ErrorKind::ALL.len() as u64);
    }
}
