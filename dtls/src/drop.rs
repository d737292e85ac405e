//! Why was a record ignored? Noise from the network is one of these: counted by the caller, never
//! logged, never answered.

/// The reason why a record, a handshake fragment or a stranger's datagram was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Drop {
    /// A header, a record or a message runs past the end of what carries it.
    Truncated,
    /// The record's version is not DTLS's, or not the negotiated one.
    Version,
    /// A content type that is unknown, or may not travel in this epoch.
    ContentType,
    /// No keys for this epoch, or plaintext where keys are in use.
    Epoch,
    /// A record without a Connection ID for an association that announced one (RFC 9146 section 3).
    CidMissing,
    /// The same sequence number was received before (RFC 6347 section 4.1.2.6).
    Replayed,
    /// Older than the replay window reaches.
    TooOld,
    /// The record did not authenticate.
    BadTag,
    /// A `DTLSInnerPlaintext` of zeros alone, or with an unknown real type (RFC 9146 section 4).
    InnerType,
    /// The content is longer than a record may carry.
    Oversized,
    /// A stranger's first record is not a ClientHello.
    NotHello,
    /// A stranger's ClientHello is cut before the end of its cookie.
    HelloFragment,
    /// A handshake, CCS or alert message that can't be read.
    Malformed,
    /// A fragment that contradicts others of its message.
    FragmentMismatch,
    /// A handshake message longer than the configured bound.
    MessageTooLong,
    /// A handshake message received before: the peer repeats a flight.
    Repeated,
    /// Came before what it depends on, and there is no room to hold it.
    TooEarly,
    /// Readable, but means nothing in this state.
    Unexpected,
    /// An alert that is not acted upon: unauthenticated, or a warning.
    AlertIgnored,
    /// A ClientHello of another handshake than the one under way.
    OtherHello,
    /// The association is closed, or gave up after too many records that did not authenticate.
    Closed,
    /// The stored association is not one that this crate wrote.
    Corrupt,
}

impl Drop {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 22] = [
        Self::Truncated,
        Self::Version,
        Self::ContentType,
        Self::Epoch,
        Self::CidMissing,
        Self::Replayed,
        Self::TooOld,
        Self::BadTag,
        Self::InnerType,
        Self::Oversized,
        Self::NotHello,
        Self::HelloFragment,
        Self::Malformed,
        Self::FragmentMismatch,
        Self::MessageTooLong,
        Self::Repeated,
        Self::TooEarly,
        Self::Unexpected,
        Self::AlertIgnored,
        Self::OtherHello,
        Self::Closed,
        Self::Corrupt,
    ];

    /// Its number, for tables of counters: `ALL[reason.index()] == reason`.
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_order_of_all() {
        for (number, reason) in Drop::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), number);
        }
    }
}
