//! How does a client complete a handshake? The mirror of `server`, for device fleets, tests and
//! sessions the edge opens itself.
//!
//! ```text
//!   client                                     server
//!   ClientHello            ───────▶                                       flight 1, by timer
//!                          ◀───────  HelloVerifyRequest                   (perhaps)
//!   ClientHello + cookie   ───────▶                                       flight 3, by timer
//!                          ◀───────  ServerHello [Certificate] [ServerKeyExchange]
//!                          ◀───────  [CertificateRequest] ServerHelloDone
//!   [Certificate]          ───────▶
//!   ClientKeyExchange      ───────▶
//!   [CertificateVerify]    ───────▶
//!   [ChangeCipherSpec]     ───────▶
//!   Finished               ───────▶                                       flight 5, by timer
//!                          ◀───────  [ChangeCipherSpec] Finished          Event::Established
//! ```
//!
//! or, when the server knows the session that the hello offers:
//!
//! ```text
//!   ClientHello + id       ───────▶                                       by timer
//!                          ◀───────  ServerHello + the same id
//!                          ◀───────  [ChangeCipherSpec] Finished
//!   [ChangeCipherSpec]     ───────▶
//!   Finished               ───────▶                                       Event::Established
//! ```
//!
//! That last flight is the client's: whoever owns the session sends it again when the server
//! repeats its own ([`Control::FinishedAgain`](crate::control::Control::FinishedAgain)).

mod abbreviated;
mod full;
mod hello;
mod trust;

use std::sync::Arc;

use tidegate_crypto::agreement::Group;
use tidegate_crypto::prf::{Hash, prf};
use tidegate_crypto::secret::{Key, Secret};
use tidegate_crypto::signature::SigningKey;

use self::full::ServerFlight;
use self::hello::{Chosen, Offer};
pub use self::trust::Trust;
use crate::Drop;
pub use crate::association::Link;
use crate::association::{Association, Ended, Message, Side};
use crate::established::Established;
use crate::extension::fragment_bytes_max;
pub use crate::failure::Failure;
use crate::flight::MTU_MIN;
use crate::handshake::{Fragment, MessageType};
use crate::hello::{RANDOM_BYTES, parse_hello_verify_request};
use crate::key_schedule::{MasterSecret, add_message};
use crate::record::CID_BYTES_MAX;
use crate::resumption::Resumable;
use crate::suite::Suite;

/// What many handshakes of a client may have in common.
#[derive(Clone, Debug)]
pub struct Config {
    /// Offered in this order, as far as the credential can be used with them.
    pub suites: Vec<Suite>,
    /// For key agreements, in the order of preference; the curves of certificates' keys, the
    /// server's and ours, have to be among them (RFC 8422 section 5.1).
    pub groups: Vec<Group>,
    /// Offer `extended_master_secret` (RFC 7627); a server may decline.
    pub extended_master_secret: bool,
    /// Ask for short records: the code of RFC 6066 section 4, 1–4 for 512–4096 bytes.
    pub max_fragment_length: Option<u8>,
    /// What the server is called. Said in the hello unless it is an address (RFC 6066 section 3),
    /// and demanded of its certificate.
    pub server_name: Option<String>,
    /// Offer the check of RFC 9853, if there is a Connection ID to offer too.
    pub return_routability: bool,
    /// Whom to believe, when the server shows a certificate or a raw public key.
    pub trust: Trust,
    /// Datagram sizes and timers.
    pub link: Link,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            suites: Suite::ALL.to_vec(),
            groups: Group::ALL.to_vec(),
            extended_master_secret: true,
            max_fragment_length: None,
            server_name: None,
            return_routability: true,
            trust: Trust::default(),
            link: Link::default(),
        }
    }
}

/// Who the client is, for one handshake.
#[derive(Clone, Debug)]
pub enum Credential {
    /// For suites with a pre-shared key.
    Psk {
        /// At most 65535 bytes.
        identity: Vec<u8>,
        /// The pre-shared key.
        psk: Secret,
    },
    /// An X.509 certificate.
    Certificate {
        /// The key in the first certificate.
        key: Arc<SigningKey>,
        /// DER, leaf first.
        chain: Vec<Vec<u8>>,
    },
    /// A key that the server knows (RFC 7250).
    RawPublicKey {
        /// The private half.
        key: Arc<SigningKey>,
    },
    /// Nobody: an empty Certificate, if the server asks for one.
    Nobody,
}

/// Random bytes used nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Randoms {
    /// For the hello.
    pub random: [u8; RANDOM_BYTES],
    /// For the half of a key agreement.
    pub ephemeral_seed: Key<48>,
}

impl Randoms {
    /// Both from one seed that nobody else knows.
    pub fn expand(seed: &[u8; 32]) -> Self {
        let mut randoms = Self { random: [0; RANDOM_BYTES], ephemeral_seed: Key::new([0; 48]) };
        prf(Hash::Sha384, seed, b"client random", &[], &mut randoms.random);
        prf(Hash::Sha384, seed, b"client share", &[], randoms.ephemeral_seed.as_bytes_mut());
        randoms
    }
}

/// A session that may be resumed.
#[derive(Clone, Debug)]
pub struct Session {
    /// What the server called it: 1–32 bytes.
    pub id: Vec<u8>,
    /// Its secret and parameters.
    pub resumable: Resumable,
}

/// One handshake, from the first ClientHello to its end.
pub struct Handshake {
    association: Association,
    client: Client,
}

/// What the owner of a handshake has to know.
#[derive(Debug)]
pub enum Event {
    /// Done. Send what [`Handshake::poll_transmit`] still has, keep [`Handshake::session`] if
    /// wanted, then drop the handshake and use this.
    Established(Established),
    /// Over. Send what [`Handshake::poll_transmit`] still has, then drop the handshake.
    Failed(Failure),
}

impl Handshake {
    /// A handshake whose first ClientHello waits in [`poll_transmit`](Self::poll_transmit).
    /// `unix_s` is the time certificates are judged by. `own_cid`: `None` offers no Connection ID;
    /// empty offers to use the server's without wanting one; else at most 32 bytes that records
    /// toward us shall carry (RFC 9146 section 3). `session` is offered if it fits the
    /// configuration, and forgotten otherwise.
    ///
    /// # Panics
    /// If the configuration contradicts itself or the credential.
    pub fn new(
        config: &Arc<Config>,
        now_ms: u64,
        unix_s: u64,
        own_cid: Option<&[u8]>,
        randoms: &Randoms,
        credential: Credential,
        session: Option<&Session>,
    ) -> Self {
        assert!(own_cid.is_none_or(|cid| cid.len() <= CID_BYTES_MAX), "Connection ID of 32 bytes");
        assert!(config.link.mtu >= MTU_MIN, "a datagram holds no hello");
        let code = config.max_fragment_length;
        assert!(code.is_none_or(|code| fragment_bytes_max(code).is_some()), "code 1–4");
        let mut client = Client {
            offer: Offer::new(config, &credential, own_cid, session),
            config: Arc::clone(config),
            credential,
            unix_s,
            randoms: randoms.clone(),
            cookie: Vec::new(),
            hello: Vec::new(),
            hello_seq: 0,
            session: None,
            is_resumed: false,
            state: State::ServerHello,
        };
        let mut association = Association::new(config.link, now_ms);
        client.send_hello(&mut association, now_ms);
        Self { association, client }
    }

    /// Takes a datagram from the server and returns how many of its bytes were the handshake's.
    /// Less than all when a record completed it, and the rest is the session's; or when the next
    /// record names another association by its Connection ID.
    pub fn on_datagram(&mut self, now_ms: u64, datagram: &mut [u8]) -> usize {
        self.association.on_datagram(&mut self.client, now_ms, datagram)
    }

    /// The time [`due_ms`](Self::due_ms) named has come.
    pub fn on_due(&mut self, now_ms: u64) {
        if !self.association.on_due(now_ms, true) {
            let wrong_key = self.association.saw_wrong_key();
            let failure = if wrong_key { Failure::WrongKey } else { Failure::Timeout };
            self.association.fail(failure);
        }
    }

    /// When to call [`on_due`](Self::on_due); `None` when the handshake is over.
    pub fn due_ms(&self) -> Option<u64> {
        self.association.due_ms()
    }

    /// Writes the next datagram to send and returns its length. `out` has at least the configured
    /// MTU and 128 bytes.
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize> {
        self.association.poll_transmit(out)
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.association.poll_ended().map(|ended| match ended {
            Ended::Established(established) => Event::Established(established),
            Ended::Failed(failure) => Event::Failed(failure),
        })
    }

    /// Why something was ignored since the last call, for the counters; the last reason counts.
    pub fn take_drop(&mut self) -> Option<Drop> {
        self.association.take_drop()
    }

    /// Protected records that came before the server's Finished and follow it: once established,
    /// feed them to the session like a datagram. Mostly empty.
    pub fn take_held(&mut self) -> Vec<u8> {
        self.association.take_held()
    }

    /// Once established: what to offer the next time, if the server lets the session be resumed.
    pub fn session(&self) -> Option<&Session> {
        self.client.session.as_ref()
    }

    /// Whether the server took up the session that was offered.
    pub fn is_resumed(&self) -> bool {
        self.client.is_resumed
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("state", &self.client.state).finish_non_exhaustive()
    }
}

/// The client's side of the machine.
struct Client {
    config: Arc<Config>,
    credential: Credential,
    unix_s: u64,
    randoms: Randoms,
    offer: Offer,
    /// From the last HelloVerifyRequest.
    cookie: Vec<u8>,
    /// Body of the last ClientHello: the transcript begins with it once the hash is known.
    hello: Vec<u8>,
    hello_seq: u16,
    /// To be offered the next time; `None` before the end.
    session: Option<Session>,
    is_resumed: bool,
    state: State,
}

/// What the client waits for.
enum State {
    /// Or a HelloVerifyRequest.
    ServerHello,
    /// ServerHelloDone, or what may come before it.
    ServerHelloDone(Box<ServerFlight>),
    /// After a full handshake's flight 5.
    Finished { chosen: Chosen, master: MasterSecret },
    /// After the ServerHello of an abbreviated handshake.
    FinishedFirst { master: MasterSecret },
}

/// Adds a message of the server to the transcript.
fn hear(association: &mut Association, message: Message<'_>) {
    let Message { msg_type, message_seq, body } = message;
    add_message(&mut association.transcript, msg_type, message_seq, body);
}

impl Side for Client {
    fn on_message(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        match (&self.state, message.msg_type) {
            (State::ServerHello, MessageType::HELLO_VERIFY_REQUEST) => {
                self.on_hello_verify_request(association, now_ms, message.body)
            }
            (State::ServerHello, MessageType::SERVER_HELLO) => {
                self.on_server_hello(association, now_ms, message)
            }
            (State::ServerHelloDone(_), MessageType::SERVER_HELLO_DONE) => {
                self.on_server_hello_done(association, now_ms, message)
            }
            (State::ServerHelloDone(_), _) => self.on_server_flight(association, message),
            (State::Finished { .. }, MessageType::FINISHED) => {
                self.on_finished(association, message)
            }
            (State::FinishedFirst { .. }, MessageType::FINISHED) => {
                self.on_finished_first(association, message)
            }
            _ => Err(Failure::UnexpectedMessage),
        }
    }

    /// The server repeats flight 4: our flight 5 was lost. Or it has a new cookie for us and no
    /// memory of the one before, so its numbers begin again.
    fn on_repeated(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        fragment: &Fragment<'_>,
    ) -> Result<(), Failure> {
        match (&self.state, fragment.msg_type) {
            (State::ServerHello, MessageType::HELLO_VERIFY_REQUEST) if fragment.is_whole() => {
                let cookie = parse_hello_verify_request(fragment.body);
                if cookie.is_some_and(|cookie| cookie != self.cookie) {
                    association.reassembly.restart_at(u32::from(fragment.message_seq) + 1);
                    self.on_hello_verify_request(association, now_ms, fragment.body)?;
                }
            }
            (State::Finished { .. }, MessageType::SERVER_HELLO)
                if fragment.offset == 0 && association.retransmission.on_repeated(now_ms) =>
            {
                association.flight.rewind();
            }
            _ => {}
        }
        Ok(())
    }
}

impl std::ops::Drop for Session {
    fn drop(&mut self) {
        self.resumable.wipe();
    }
}

impl std::fmt::Debug for Randoms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Randoms(redacted)")
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ServerHello => "ServerHello",
            Self::ServerHelloDone(_) => "ServerHelloDone",
            Self::Finished { .. } | Self::FinishedFirst { .. } => "Finished",
        })
    }
}
