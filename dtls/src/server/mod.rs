//! How does a server complete a handshake? One [`Handshake`] for each client with a proven cookie.
//!
//! ```text
//!   client                                     server
//!   ClientHello            ───────▶                            greet(): no state
//!                          ◀───────  HelloVerifyRequest
//!   ClientHello + cookie   ───────▶                            Handshake::new, then on_datagram
//! ```
//!
//! - `full`: keys from a pre-shared key, a key agreement, or both;
//! - `abbreviated`: keys from an earlier session;
//! - `negotiation`: which of them, and on what terms; `config`: what we have to offer;
//! - `owner`: what the handshake's owner brings and is asked.

mod abbreviated;
mod config;
mod full;
mod negotiation;
mod owner;

use std::sync::Arc;

use tidegate_crypto::agreement::Ephemeral;
use tidegate_crypto::certificate::Leaf;
use tidegate_crypto::secret::{Key, Secret};

pub use self::config::{
    Config, IDENTITY_BYTES_MAX, Identity, RAW_PUBLIC_KEY_BYTES_MAX, SERVER_NAME_BYTES_MAX,
};
use self::negotiation::{Agreed, Terms};
use self::owner::Claimed;
pub use self::owner::{Answer, Claim, Event, Randoms};
use crate::Drop;
use crate::association::{Association, Ended, Message, Side};
use crate::cookie::FirstHello;
pub use crate::cookie::{CookieJar, Greeting, VERIFY_BYTES, greet, session_id};
pub use crate::failure::Failure;
use crate::flight::MTU_MIN;
use crate::handshake::{Fragment, MessageType};
use crate::hello::{ClientHello, RANDOM_BYTES, SESSION_ID_BYTES_MAX};
use crate::key_schedule::{KeyBlock, MasterSecret, add_message};
use crate::record::CID_BYTES_MAX;
use crate::resumption::{Decision, Parameters, Resumable};
use crate::suite::Suite;

/// One handshake, from the proven ClientHello to its end.
pub struct Handshake {
    association: Association,
    server: Server,
}

impl Handshake {
    /// A handshake that waits for its ClientHello: feed it the datagram that [`greet`] called
    /// proven. `own_cid` has the configured length; `unix_s` is the time by which certificates are
    /// judged. `resumable`: what the owner keeps under the hello's [`session_id`], if the
    /// credential behind it is still good.
    ///
    /// # Panics
    /// If the configuration contradicts itself or `own_cid`.
    pub fn new(
        config: &Arc<Config>,
        now_ms: u64,
        unix_s: u64,
        own_cid: &[u8],
        randoms: &Randoms,
        resumable: Option<&Resumable>,
    ) -> Self {
        assert_eq!(own_cid.len(), config.own_cid_len, "Connection ID of another length");
        assert!(own_cid.len() <= CID_BYTES_MAX && config.link.mtu >= MTU_MIN, "configuration");
        let mut cid = [0; CID_BYTES_MAX];
        cid[..own_cid.len()].copy_from_slice(own_cid);
        let server = Server {
            config: Arc::clone(config),
            unix_s,
            own_cid: cid,
            fake_key: Key::new(randoms.fake_key),
            ephemeral_seed: Key::new(randoms.ephemeral_seed),
            random: randoms.random,
            session_id: randoms.session_id,
            earlier: resumable.copied().map(Earlier),
            server_name: None,
            refused: None,
            client_random: None,
            hello_seq: 0,
            state: State::ClientHello,
            credential_wanted: false,
            is_unknown: false,
        };
        Self { association: Association::new(config.link, now_ms), server }
    }

    /// Takes a datagram from the client and returns how many of its bytes were the handshake's.
    /// Less than all when a record completed it, and the rest is the session's; or when the next
    /// record names another association by its Connection ID.
    pub fn on_datagram(&mut self, now_ms: u64, datagram: &mut [u8]) -> usize {
        if self.server.client_random.is_none() {
            match FirstHello::parse(datagram) {
                Ok(hello) => self.server.begin(&mut self.association, &hello),
                Err(drop) => {
                    self.association.ignore(drop);
                    return datagram.len();
                }
            }
        } else if self.is_stranger(datagram) {
            self.association.ignore(Drop::OtherHello);
            return datagram.len();
        }
        self.association.on_datagram(&mut self.server, now_ms, datagram)
    }

    /// Whether a datagram from the same address begins with another client's ClientHello, or with
    /// one the client made after losing this handshake: it belongs to [`greet`].
    pub fn is_stranger(&self, datagram: &[u8]) -> bool {
        let hello = FirstHello::parse(datagram).ok();
        hello.is_some_and(|hello| self.server.client_random.as_ref() != Some(hello.head.random))
    }

    /// The answer to [`Event::CredentialWanted`]. Ignored when nothing was asked, or not any more;
    /// one that does not fit the claim counts as unknown.
    pub fn on_credential(&mut self, now_ms: u64, answer: Answer<'_>) {
        let answered = self.server.on_credential(&mut self.association, now_ms, answer);
        if let Err(failure) = answered {
            self.association.fail(failure);
        }
    }

    /// The time [`due_ms`](Self::due_ms) named has come.
    pub fn on_due(&mut self, now_ms: u64) {
        let may_send = !matches!(self.server.state, State::Credential { .. });
        if !self.association.on_due(now_ms, may_send) {
            let failure = self.server.silence(&self.association);
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
        if std::mem::take(&mut self.server.credential_wanted) {
            return Some(Event::CredentialWanted);
        }
        self.association.poll_ended().map(|ended| match ended {
            Ended::Established(established) => Event::Established(established),
            Ended::Failed(failure) => Event::Failed(failure),
        })
    }

    /// Why something was ignored since the last call, for the counters; the last reason counts.
    /// Ask after a datagram and after a credential.
    pub fn take_drop(&mut self) -> Option<Drop> {
        self.association.take_drop()
    }

    /// Protected records that came before the handshake was ready and follow its Finished: once
    /// established, feed them to the session like a datagram. Mostly empty.
    pub fn take_held(&mut self) -> Vec<u8> {
        self.association.take_held()
    }

    /// Who the client says it is; `None` before [`Event::CredentialWanted`], and when a session is
    /// resumed: then it is whoever the session was made with.
    pub fn claim(&self) -> Option<Claim<'_>> {
        match &self.server.state {
            State::Credential { claim, .. } | State::Finished { claim: Some(claim), .. } => {
                Some(claim.view())
            }
            _ => None,
        }
    }

    /// Whether an earlier session is resumed; known as soon as the ClientHello is taken.
    pub fn is_resumed(&self) -> bool {
        matches!(self.server.state, State::Finished { claim: None, .. })
    }

    /// What to keep under the session id of [`Randoms`] once established; `None` when the session
    /// can't be resumed, or is a resumed one itself and kept already.
    pub fn resumable(&self) -> Option<Resumable> {
        let State::Finished { suite, terms, master, claim: Some(_) } = &self.server.state else {
            return None;
        };
        if !self.association.is_established() || self.server.offered_session_id(terms).is_empty() {
            return None;
        }
        let parameters = Parameters {
            suite: *suite,
            extended_master_secret: terms.extended_master_secret,
            max_fragment_length: terms.max_fragment_length,
            server_name: self.server.server_name.as_deref(),
        };
        Some(Resumable::new(master, &parameters))
    }

    /// The client's random, once its hello was seen.
    pub fn client_random(&self) -> Option<&[u8; RANDOM_BYTES]> {
        self.server.client_random.as_ref()
    }

    /// The certificate for which it failed: out of its time, or of no authority of ours. Nothing in
    /// it is proven.
    pub fn refused_certificate(&self) -> Option<&Leaf> {
        self.server.refused.as_deref()
    }

    /// Bytes this handshake occupies now, itself included.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.association.bytes() + self.server.bytes()
    }
}

/// The server's side of the machine.
#[allow(clippy::struct_field_names)] // the RFC calls it server_name
struct Server {
    config: Arc<Config>,
    unix_s: u64,
    own_cid: [u8; CID_BYTES_MAX],
    fake_key: Key<32>,
    ephemeral_seed: Key<48>,
    random: [u8; RANDOM_BYTES],
    session_id: Option<[u8; SESSION_ID_BYTES_MAX]>,
    /// Until the ClientHello says whether it is resumed.
    earlier: Option<Earlier>,
    /// What the client called us.
    server_name: Option<Box<[u8]>>,
    /// `None` until the first datagram.
    client_random: Option<[u8; RANDOM_BYTES]>,
    /// The number of the proven ClientHello, and of our ServerHello.
    hello_seq: u16,
    state: State,
    credential_wanted: bool,
    /// Nobody knows the identity: going on for the look of it.
    is_unknown: bool,
    /// A certificate that was out of its time, or of nobody's who is trusted.
    refused: Option<Box<Leaf>>,
}

/// What the server waits for.
enum State {
    ClientHello,
    /// The client's certificate or raw public key.
    Certificate {
        agreed: Agreed,
        terms: Terms,
        ephemeral: Ephemeral,
    },
    KeyExchange {
        agreed: Agreed,
        terms: Terms,
        ephemeral: Option<Ephemeral>,
        shown: Option<Claimed>,
    },
    CertificateVerify {
        suite: Suite,
        terms: Terms,
        master: MasterSecret,
        shown: Claimed,
    },
    /// The owner's answer.
    Credential {
        suite: Suite,
        terms: Terms,
        keying: Keying,
        claim: Claimed,
    },
    /// Without a claim it is an earlier session's.
    Finished {
        suite: Suite,
        terms: Terms,
        master: MasterSecret,
        claim: Option<Claimed>,
    },
}

/// What the owner's answer completes.
enum Keying {
    /// Wants the pre-shared key; with what a key agreement gave, if there was one.
    Psk(Option<Secret>),
    /// Wants a word only.
    Master(MasterSecret),
}

/// A copy of a session that is wiped when it is dropped.
struct Earlier(Resumable);

impl std::ops::Drop for Earlier {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl Server {
    /// The first datagram says where both sides' numbers begin.
    fn begin(&mut self, association: &mut Association, hello: &FirstHello<'_>) {
        self.client_random = Some(*hello.head.random);
        self.hello_seq = hello.message_seq;
        association.reassembly.restart_at(hello.message_seq.into());
        association.message_seq = hello.message_seq;
        association.sequence = hello.record.sequence;
    }

    fn on_client_hello(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let hello = ClientHello::parse(message.body)?;
        if self.client_random.as_ref() != Some(hello.head.random) {
            return Err(Failure::Illegal);
        }
        let terms = Terms::agree(&self.config, &hello)?;
        let name = hello.extensions.server_name;
        self.server_name = name.map(|name| name[..name.len().min(SERVER_NAME_BYTES_MAX)].into());
        if name.is_some_and(|name| name.len() > SERVER_NAME_BYTES_MAX) {
            self.session_id = None;
        }
        association.max_fragment_length = terms.max_fragment_length;
        let earlier = self.earlier.take().filter(|_| !hello.head.session_id.is_empty());
        if let Some(Earlier(earlier)) = &earlier {
            match earlier.decide(&self.config.suites, &hello) {
                Decision::Resume => {
                    self.resume(association, now_ms, message, &hello, terms, earlier);
                    return Ok(());
                }
                Decision::Refuse => return Err(Failure::ResumedWithoutExtendedMasterSecret),
                Decision::Full => {}
            }
        }
        self.begin_full(association, now_ms, message, &hello, terms)
    }

    /// The session id of a full handshake's ServerHello. *Why* empty without the extension: the
    /// session would never be resumed.
    fn offered_session_id(&self, terms: &Terms) -> &[u8] {
        let session_id = self.session_id.as_ref().filter(|_| terms.extended_master_secret);
        session_id.map_or(&[], |session_id| session_id)
    }

    fn client_random(&self) -> &[u8; RANDOM_BYTES] {
        self.client_random.as_ref().expect("seen in the first datagram")
    }

    fn key_block(&self, suite: Suite, master: &MasterSecret) -> KeyBlock {
        master.key_block(suite, self.client_random(), &self.random)
    }

    /// What the client's silence means.
    fn silence(&self, association: &Association) -> Failure {
        if self.is_unknown {
            Failure::UnknownIdentity
        } else if association.saw_wrong_key() {
            Failure::WrongKey
        } else {
            Failure::Timeout
        }
    }

    fn bytes(&self) -> usize {
        let claim = match &self.state {
            State::ClientHello | State::Certificate { .. } => 0,
            State::KeyExchange { shown: claim, .. } | State::Finished { claim, .. } => {
                claim.as_ref().map_or(0, Claimed::bytes)
            }
            State::CertificateVerify { shown: claim, .. } | State::Credential { claim, .. } => {
                claim.bytes()
            }
        };
        claim + self.server_name.as_ref().map_or(0, |name| name.len())
    }
}

impl Side for Server {
    fn on_message(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        match (&self.state, message.msg_type) {
            (State::ClientHello, MessageType::CLIENT_HELLO) => {
                self.on_client_hello(association, now_ms, message)
            }
            (State::Certificate { .. }, MessageType::CERTIFICATE) => {
                self.on_certificate(association, message)
            }
            (State::KeyExchange { .. }, MessageType::CLIENT_KEY_EXCHANGE) => {
                self.on_client_key_exchange(association, now_ms, message)
            }
            (State::CertificateVerify { .. }, MessageType::CERTIFICATE_VERIFY) => {
                self.on_certificate_verify(association, message)
            }
            (State::Finished { .. }, MessageType::FINISHED) => {
                self.on_finished(association, message)
            }
            _ => Err(Failure::UnexpectedMessage),
        }
    }

    /// The proven ClientHello again: our flight was lost. An older one is an echo of the network.
    fn on_repeated(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        fragment: &Fragment<'_>,
    ) -> Result<(), Failure> {
        let is_hello = fragment.message_seq == self.hello_seq && fragment.offset == 0;
        let is_answer_unheard = matches!(
            self.state,
            State::Certificate { .. }
                | State::KeyExchange { .. }
                | State::Finished { claim: None, .. }
        );
        if is_hello && is_answer_unheard && association.retransmission.on_repeated(now_ms) {
            association.flight.rewind();
        }
        Ok(())
    }
}

/// Adds a message of the client to the transcript.
fn hear(association: &mut Association, message: Message<'_>) {
    let Message { msg_type, message_seq, body } = message;
    add_message(&mut association.transcript, msg_type, message_seq, body);
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("state", &self.server.state).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ClientHello => "ClientHello",
            Self::Certificate { .. } => "Certificate",
            Self::KeyExchange { .. } => "KeyExchange",
            Self::CertificateVerify { .. } => "CertificateVerify",
            Self::Credential { .. } => "Credential",
            Self::Finished { .. } => "Finished",
        })
    }
}
