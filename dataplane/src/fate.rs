//! What became of every datagram, and what else happened? One counter each, never both.
//!
//! *Invariant:* every datagram taken from the network ends in exactly one [`Fate`]; the sum over
//! all fates is the number of datagrams received. A datagram of several records has the fate of
//! its first record that was accepted, or else of its first record.

use tidegate_ring::counters::{FATES, TALLIES};
pub use tidegate_ring::counters::{Fate, Gauge, Tally};

/// How a datagram ends whose record `dtls` ignored.
pub fn of_drop(reason: tidegate_dtls::Drop) -> Fate {
    use tidegate_dtls::Drop as D;
    match reason {
        D::Truncated | D::NotHello => Fate::NotDtls,
        D::Version => Fate::Version,
        D::Epoch => Fate::Epoch,
        D::CidMissing => Fate::CidExpected,
        D::Replayed | D::TooOld => Fate::Replayed,
        D::BadTag => Fate::NotAuthentic,
        D::ContentType | D::InnerType | D::Oversized | D::AlertIgnored => Fate::Unusable,
        D::HelloFragment | D::Malformed | D::FragmentMismatch | D::MessageTooLong => {
            Fate::HandshakeMalformed
        }
        D::Repeated | D::TooEarly | D::Unexpected | D::OtherHello => Fate::HandshakeUnexpected,
        D::Closed | D::Corrupt => Fate::SessionDead,
    }
}

/// Why a handshake failed.
pub fn of_failure(failure: tidegate_dtls::Failure) -> Tally {
    use tidegate_dtls::Failure as F;
    match failure {
        F::Timeout => Tally::HandshakeTimeout,
        F::UnknownIdentity | F::UnknownKey | F::AccessDenied => Tally::HandshakeUnknown,
        F::WrongKey => Tally::HandshakeWrongKey,
        F::NoCertificate
        | F::BadCertificate
        | F::UnsupportedCertificate
        | F::CertificateExpired
        | F::UnknownAuthority
        | F::CertificateUnknown => Tally::HandshakeCertificate,
        F::Version
        | F::NoCommonSuite
        | F::NoExtendedMasterSecret
        | F::ResumedWithoutExtendedMasterSecret
        | F::NoCommonCertificateType => Tally::HandshakeNothingCommon,
        F::Renegotiation
        | F::Decode
        | F::Illegal
        | F::UnsupportedExtension
        | F::UnexpectedMessage
        | F::Signature
        | F::Finished => Tally::HandshakeMalformed,
        F::PeerAlert(_) => Tally::HandshakeRefused,
    }
}

/// The counters of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    values: [u64; FATES + TALLIES],
}

impl Counters {
    /// How many counters there are.
    pub const COUNT: usize = FATES + TALLIES;

    /// Counts a datagram's end.
    pub fn end(&mut self, fate: Fate) {
        self.values[fate as usize] += 1;
    }

    /// Counts something else.
    pub fn tally(&mut self, tally: Tally) {
        self.values[FATES + tally as usize] += 1;
    }

    /// Sets what is counted elsewhere.
    pub fn set(&mut self, tally: Tally, value: u64) {
        self.values[FATES + tally as usize] = value;
    }

    /// Datagrams that ended so.
    pub fn fate(&self, fate: Fate) -> u64 {
        self.values[fate as usize]
    }

    /// How often it happened.
    pub fn of(&self, tally: Tally) -> u64 {
        self.values[FATES + tally as usize]
    }

    /// All datagrams, whatever became of them.
    pub fn datagrams(&self) -> u64 {
        self.values[..FATES].iter().sum()
    }

    /// All values: the fates, then the tallies, in the order of the enums.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// Names in the order of [`Self::values`].
    pub fn names() -> impl Iterator<Item = &'static str> {
        Fate::ALL.iter().map(|f| f.name()).chain(Tally::ALL.iter().map(|t| t.name()))
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self { values: [0; FATES + TALLIES] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_add_up_to_the_datagrams_and_tallies_do_not() {
        let mut counters = Counters::default();
        for fate in Fate::ALL {
            counters.end(*fate);
        }
        counters.tally(Tally::Sent);
        assert_eq!(counters.datagrams(), Fate::ALL.len() as u64);
        assert_eq!((counters.fate(Fate::Empty), counters.of(Tally::Sent)), (1, 1));
        assert_eq!(Counters::names().count(), Counters::COUNT);
    }
}
