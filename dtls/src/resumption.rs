//! What is kept of a session so that it can be resumed, and when may it be? (RFC 5246 section
//! 7.3, RFC 7627 section 5.3, RFC 6066 sections 3 and 4)
//!
//! A [`Resumable`] lives in shared memory that outlives the process, so it is plain data and every
//! bit pattern is one: what this crate would never have written resumes nothing. Its owner keeps
//! the session id, the device and the age beside it. Connection IDs and addresses are not part of
//! a session: both are negotiated, or seen, afresh.
//!
//! *Invariant:* only sessions with an extended master secret are ever resumed. *Why:* without it
//! two sessions can be made to share a master secret, and resumption would mix them up.

use tidegate_crypto::prf::Hash;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use zeroize::Zeroize;

use crate::extension::fragment_bytes_max;
use crate::failure::Failure;
use crate::hello::{ClientHello, ServerHello};
use crate::key_schedule::MasterSecret;
use crate::suite::Suite;

/// The secret and the parameters of one session.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Resumable {
    master: [u8; 48],
    /// As [`name_hash`] has it; 0 for none.
    server_name: u64,
    /// Code point; 0 in a wiped one.
    suite: u16,
    flags: u8,
    /// The code, 1–4; 0 when not negotiated.
    max_fragment_length: u8,
    _reserved: [u8; 4],
}

const _: () = assert!(size_of::<Resumable>() == 64 && align_of::<Resumable>() == 8);

/// `flags`: the master secret is an extended one.
const EXTENDED_MASTER_SECRET: u8 = 1;

/// What both hellos of a session agreed upon, as far as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters<'a> {
    /// The suite.
    pub suite: Suite,
    /// Whether the master secret is an extended one.
    pub extended_master_secret: bool,
    /// The code of `max_fragment_length`, 1–4.
    pub max_fragment_length: Option<u8>,
    /// What the client called the server.
    pub server_name: Option<&'a [u8]>,
}

/// What a server does about a ClientHello that names the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The abbreviated handshake.
    Resume,
    /// A full one, as if the session were unknown.
    Full,
    /// None at all: the client has shown `extended_master_secret` before and drops it now.
    Refuse,
}

impl Resumable {
    /// What is left of a full handshake.
    pub fn new(master: &MasterSecret, parameters: &Parameters<'_>) -> Self {
        Self {
            master: *master.as_bytes(),
            server_name: name_hash(parameters.server_name),
            suite: parameters.suite.code(),
            flags: u8::from(parameters.extended_master_secret) * EXTENDED_MASTER_SECRET,
            max_fragment_length: parameters.max_fragment_length.unwrap_or(0),
            _reserved: [0; 4],
        }
    }

    /// Whether a server that speaks `suites` resumes the session for the client that says `hello`.
    /// The owner has judged the rest: the id, the age, the credential.
    pub fn decide(&self, suites: &[Suite], hello: &ClientHello<'_>) -> Decision {
        let Some(suite) = self.suite() else { return Decision::Full };
        let extensions = &hello.extensions;
        match (self.has_extended_master_secret(), extensions.extended_master_secret) {
            (true, true) => {}
            (true, false) => return Decision::Refuse,
            (false, _) => return Decision::Full,
        }
        let is_same = suites.contains(&suite)
            && hello.offers(suite.code())
            && self.server_name == name_hash(extensions.server_name)
            && self.max_fragment_length == extensions.max_fragment_length.unwrap_or(0);
        if is_same { Decision::Resume } else { Decision::Full }
    }

    /// Whether a client that is about to offer this much may offer the session too. `suites` are
    /// what it offers; the suite among the parameters is not looked at.
    pub fn may_be_offered(&self, suites: &[Suite], offer: &Parameters<'_>) -> bool {
        self.suite().is_some_and(|suite| suites.contains(&suite))
            && self.has_extended_master_secret()
            && offer.extended_master_secret
            && self.server_name == name_hash(offer.server_name)
            && self.max_fragment_length == offer.max_fragment_length.unwrap_or(0)
    }

    /// What a client demands of the ServerHello that accepts the session.
    pub fn check(&self, hello: &ServerHello<'_>) -> Result<(), Failure> {
        if hello.extensions.extended_master_secret != self.has_extended_master_secret() {
            return Err(Failure::ResumedWithoutExtendedMasterSecret);
        }
        let echoed = hello.extensions.max_fragment_length;
        if hello.cipher_suite != self.suite
            || echoed.is_some_and(|code| code != self.max_fragment_length)
        {
            return Err(Failure::Illegal);
        }
        Ok(())
    }

    /// The master secret; `None` if the bytes are none of this crate's.
    pub fn master(&self) -> Option<MasterSecret> {
        self.suite().map(|suite| MasterSecret::resume(suite.hash(), &self.master))
    }

    /// The suite; `None` if the bytes are none of this crate's.
    pub fn suite(&self) -> Option<Suite> {
        Suite::from_code(self.suite)
    }

    /// Whether the master secret is bound to its handshake (RFC 7627).
    pub fn has_extended_master_secret(&self) -> bool {
        self.flags & EXTENDED_MASTER_SECRET != 0
    }

    /// The code that limits records, 1–4: it lasts as long as the session.
    pub fn max_fragment_length(&self) -> Option<u8> {
        Some(self.max_fragment_length).filter(|code| fragment_bytes_max(*code).is_some())
    }

    /// Overwrites everything with zeros; a wiped one resumes nothing.
    pub fn wipe(&mut self) {
        self.as_mut_bytes().zeroize();
    }
}

impl std::fmt::Debug for Resumable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resumable")
            .field("suite", &self.suite())
            .field("extended_master_secret", &self.has_extended_master_secret())
            .finish_non_exhaustive()
    }
}

/// 64 bits of a host name's SHA-256, blind to its case; 0 for none. *Why* so short: whoever finds
/// a second name with the same number has to know the master secret as well to make use of it.
fn name_hash(server_name: Option<&[u8]>) -> u64 {
    let Some(name) = server_name else { return 0 };
    let digest = Hash::Sha256.digest(&[&name.to_ascii_lowercase()]);
    let (head, _) = digest.as_bytes().split_first_chunk().expect("32 bytes");
    u64::from_be_bytes(*head).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extension::Extensions;
    use crate::hello::ClientHelloHead;
    use crate::key_schedule::psk_premaster;
    use crate::record::DTLS_1_2;

    const SUITE: Suite = Suite::PskAes128Ccm8;
    const AGREED: Parameters<'_> = Parameters {
        suite: SUITE,
        extended_master_secret: true,
        max_fragment_length: Some(1),
        server_name: Some(b"edge.example"),
    };

    fn session(parameters: &Parameters<'_>) -> Resumable {
        let master = MasterSecret::derive(Hash::Sha256, &psk_premaster(b"k"), &[1; 32], &[2; 32]);
        Resumable::new(&master, parameters)
    }

    fn hello<'a>(parameters: &Parameters<'a>, cipher_suites: &'a [u8]) -> ClientHello<'a> {
        let head = ClientHelloHead {
            version: DTLS_1_2,
            random: &[7; 32],
            session_id: b"id",
            cookie: b"cookie",
        };
        let extensions = Extensions {
            server_name: parameters.server_name,
            extended_master_secret: parameters.extended_master_secret,
            max_fragment_length: parameters.max_fragment_length,
            ..Extensions::default()
        };
        ClientHello { head, cipher_suites, compression: &[0], extensions }
    }

    /// What the server decides about a session with `kept`, for a client that offers `offered`.
    fn decision(kept: &Parameters<'_>, offered: &Parameters<'_>) -> Decision {
        let hello = hello(offered, &[0xc0, 0xa8, 0xc0, 0xa4]);
        session(kept).decide(&Suite::ALL, &hello)
    }

    /// RFC 7627 section 5.3, all four cases.
    #[test]
    fn resumption_needs_the_extended_master_secret_on_both_sides() {
        let without = Parameters { extended_master_secret: false, ..AGREED };
        assert_eq!(decision(&AGREED, &AGREED), Decision::Resume);
        assert_eq!(decision(&AGREED, &without), Decision::Refuse);
        assert_eq!(decision(&without, &AGREED), Decision::Full);
        assert_eq!(decision(&without, &without), Decision::Full);
    }

    /// RFC 6066 sections 3 and 4.
    #[test]
    fn another_name_or_record_length_is_another_session() {
        for server_name in [None, Some(&b"other.example"[..])] {
            let offered = Parameters { server_name, ..AGREED };
            assert_eq!(decision(&AGREED, &offered), Decision::Full);
            assert_eq!(decision(&offered, &AGREED), Decision::Full);
            assert_eq!(decision(&offered, &offered), Decision::Resume);
        }
        for max_fragment_length in [None, Some(2)] {
            let offered = Parameters { max_fragment_length, ..AGREED };
            assert_eq!(decision(&AGREED, &offered), Decision::Full);
        }
        let shouted = Parameters { server_name: Some(b"EDGE.example"), ..AGREED };
        assert_eq!(decision(&AGREED, &shouted), Decision::Resume, "names have no case");
    }

    #[test]
    fn the_suite_has_to_be_offered_and_still_spoken() {
        let session = session(&AGREED);
        let others = hello(&AGREED, &[0xc0, 0xa4, 0x00, 0xa8]);
        assert_eq!(session.decide(&Suite::ALL, &others), Decision::Full);
        let same = hello(&AGREED, &[0xc0, 0xa4, 0xc0, 0xa8]);
        assert_eq!(session.decide(&[SUITE], &same), Decision::Resume);
        assert_eq!(session.decide(&[Suite::PskAes128Ccm], &same), Decision::Full);
    }

    #[test]
    fn a_client_offers_a_session_only_if_the_server_could_resume_it() {
        assert!(session(&AGREED).may_be_offered(&[SUITE], &AGREED));
        assert!(!session(&AGREED).may_be_offered(&[Suite::PskAes128Ccm], &AGREED));
        for other in [
            Parameters { extended_master_secret: false, ..AGREED },
            Parameters { max_fragment_length: None, ..AGREED },
            Parameters { server_name: None, ..AGREED },
        ] {
            assert!(!session(&AGREED).may_be_offered(&[SUITE], &other));
            assert!(!session(&other).may_be_offered(&[SUITE], &AGREED));
        }
    }

    /// RFC 7627 section 5.3, the client's half, and RFC 5246 section 7.4.1.3.
    #[test]
    fn a_client_demands_what_the_session_had() {
        let answer = |cipher_suite, extended_master_secret, max_fragment_length| {
            let extensions =
                Extensions { max_fragment_length, extended_master_secret, ..Extensions::default() };
            let hello = ServerHello::new(&[9; 32], b"id", SUITE, extensions);
            session(&AGREED).check(&ServerHello { cipher_suite, ..hello })
        };
        assert_eq!(answer(0xc0a8, true, Some(1)), Ok(()));
        assert_eq!(answer(0xc0a8, true, None), Ok(()), "it lasts without being said again");
        assert_eq!(answer(0xc0a8, true, Some(2)), Err(Failure::Illegal));
        assert_eq!(answer(0xc0a4, true, Some(1)), Err(Failure::Illegal));
        assert_eq!(
            answer(0xc0a8, false, Some(1)),
            Err(Failure::ResumedWithoutExtendedMasterSecret)
        );
    }

    #[test]
    fn a_wiped_session_resumes_nothing_and_nothing_prints_the_secret() {
        let mut session = session(&AGREED);
        assert!(session.master().is_some_and(|master| *master.as_bytes() == session.master));
        assert_eq!(session.max_fragment_length(), Some(1));
        let text = format!("{session:?}");
        assert!(text.contains("PskAes128Ccm8") && !text.contains("master:"), "{text}");
        session.wipe();
        assert_eq!(session.as_bytes(), [0; 64]);
        assert!(session.master().is_none());
        let hello = hello(&AGREED, &[0xc0, 0xa8]);
        assert_eq!(session.decide(&Suite::ALL, &hello), Decision::Full);
    }
}
