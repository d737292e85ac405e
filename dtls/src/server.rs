//! How does a server complete a handshake? One [`Handshake`] for each client with a proven cookie.
//!
//! ```text
//!   client                                     server
//!   ClientHello            ───────▶                            greet(): no state
//!                          ◀───────  HelloVerifyRequest
//!   ClientHello + cookie   ───────▶                            Handshake::new, then on_datagram
//!                          ◀───────  ServerHello
//!                          ◀───────  [ServerKeyExchange] ServerHelloDone   flight 4, by timer
//!   ClientKeyExchange      ───────▶                            Event::CredentialWanted
//!   [ChangeCipherSpec]     ───────▶                            (held until on_credential)
//!   Finished               ───────▶                            Event::Established
//!                          ◀───────  [ChangeCipherSpec] Finished           flight 6, on demand
//! ```
//!
//! An identity that nobody knows goes on with a random key: its client is told what one with a
//! wrong key is told (RFC 4279 section 2, RFC 7925 section 6), after the same work. Over DTLS that
//! is nothing: a Finished that does not authenticate is noise (RFC 6347 section 4.1.2.7).

use std::sync::Arc;

use tidegate_crypto::secret::{Key, equal};

use crate::Drop;
use crate::association::{Association, Ended, HELD_BYTES_MAX, Link, Message, Side};
use crate::cookie::FirstHello;
pub use crate::cookie::{CookieJar, Greeting, VERIFY_BYTES, greet};
use crate::established::{Established, Negotiated};
use crate::extension::Extensions;
pub use crate::failure::Failure;
use crate::flight::MTU_MIN;
use crate::handshake::{Fragment, MessageType};
use crate::hello::{ClientHello, RANDOM_BYTES, ServerHello};
use crate::key_exchange::ClientKeyExchange;
use crate::key_schedule::{MasterSecret, Role, VERIFY_DATA_BYTES, add_message, psk_premaster};
use crate::reassembly::Reassembly;
use crate::record::{CID_BYTES_MAX, DTLS_1_2};
use crate::suite::{EMPTY_RENEGOTIATION_INFO_SCSV, KeyExchange, Suite};

/// What all handshakes of a server have in common.
#[derive(Clone, Debug)]
pub struct Config {
    /// In the order of preference; the first one that the client offers is taken.
    pub suites: Vec<Suite>,
    /// Length of the Connection IDs we announce, at most 32 bytes; 0: records toward us carry
    /// none, and a client that offers the extension is told so.
    pub own_cid_len: usize,
    /// Refuse clients without `extended_master_secret` (RFC 7627 section 5.3).
    pub require_extended_master_secret: bool,
    /// Datagram sizes and timers.
    pub link: Link,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            suites: Suite::of(KeyExchange::Psk).collect(),
            own_cid_len: 0,
            require_extended_master_secret: false,
            link: Link::default(),
        }
    }
}

impl Config {
    /// Most heap bytes one handshake can make us hold, whatever its client sends.
    pub fn handshake_bytes_max(&self) -> usize {
        Reassembly::bytes_bound(self.link.message_bytes_max)
            + FLIGHT_BYTES_MAX
            + 2 * HELD_BYTES_MAX
            + CID_BYTES_MAX
            + IDENTITY_BYTES_MAX
    }
}

/// Longest PSK identity that is looked up, bytes; RFC 4279 section 5.3 asks for 128. A longer one
/// is an unknown one.
pub const IDENTITY_BYTES_MAX: usize = 256;
/// Bound: flight 4 of a pre-shared key (ServerHello under 160 bytes, ServerHelloDone none) and its
/// table, or the datagram of flight 6.
const FLIGHT_BYTES_MAX: usize = 1024;

/// One handshake, from the proven ClientHello to its end.
pub struct Handshake {
    association: Association,
    server: Server,
}

/// What the owner of a handshake has to know.
#[derive(Debug)]
pub enum Event {
    /// Look up [`Handshake::identity`] and call [`Handshake::on_credential`].
    CredentialWanted,
    /// Done. Send what [`Handshake::poll_transmit`] still has, then drop the handshake.
    Established(Established),
    /// Over. Send what [`Handshake::poll_transmit`] still has, then drop the handshake.
    Failed(Failure),
}

impl Handshake {
    /// A handshake that waits for its ClientHello: feed it the datagram that [`greet`] called
    /// proven. `own_cid` has the configured length; `random` and `fake_key` are random bytes used
    /// nowhere else.
    ///
    /// # Panics
    /// If the configuration contradicts itself or `own_cid`.
    pub fn new(
        config: &Arc<Config>,
        now_ms: u64,
        own_cid: &[u8],
        random: [u8; RANDOM_BYTES],
        fake_key: [u8; 32],
    ) -> Self {
        assert_eq!(own_cid.len(), config.own_cid_len, "Connection ID of another length");
        assert!(own_cid.len() <= CID_BYTES_MAX && config.link.mtu >= MTU_MIN, "configuration");
        let mut cid = [0; CID_BYTES_MAX];
        cid[..own_cid.len()].copy_from_slice(own_cid);
        let server = Server {
            config: Arc::clone(config),
            own_cid: cid,
            fake_key: Key::new(fake_key),
            random,
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

    /// The answer to [`Event::CredentialWanted`]; `None`: nobody has this identity. Ignored when
    /// nothing was asked, or not any more.
    pub fn on_credential(&mut self, now_ms: u64, psk: Option<&[u8]>) {
        self.server.on_credential(&mut self.association, now_ms, psk);
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

    /// The identity the client named; empty before [`Event::CredentialWanted`].
    pub fn identity(&self) -> &[u8] {
        match &self.server.state {
            State::Credential { identity, .. } | State::Finished { identity, .. } => identity,
            State::ClientHello | State::KeyExchange { .. } => &[],
        }
    }

    /// The client's random, once its hello was seen.
    pub fn client_random(&self) -> Option<&[u8; RANDOM_BYTES]> {
        self.server.client_random.as_ref()
    }

    /// Bytes this handshake occupies now, itself included.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.association.bytes() + self.identity().len()
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("state", &self.server.state).finish_non_exhaustive()
    }
}

/// The server's side of the machine.
struct Server {
    config: Arc<Config>,
    own_cid: [u8; CID_BYTES_MAX],
    fake_key: Key<32>,
    random: [u8; RANDOM_BYTES],
    /// `None` until the first datagram.
    client_random: Option<[u8; RANDOM_BYTES]>,
    /// The number of the proven ClientHello, and of our ServerHello.
    hello_seq: u16,
    state: State,
    credential_wanted: bool,
    /// Nobody knows the identity: going on for the look of it.
    is_unknown: bool,
}

/// What the server waits for.
enum State {
    ClientHello,
    KeyExchange { chosen: Chosen },
    Credential { chosen: Chosen, identity: Vec<u8> },
    Finished { master: MasterSecret, identity: Vec<u8> },
}

/// What the hellos agreed upon.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    suite: Suite,
    own_cid_len: usize,
    peer_cid: [u8; CID_BYTES_MAX],
    peer_cid_len: usize,
    extended_master_secret: bool,
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
        let chosen = self.choose(&hello)?;
        association.transcript.choose(chosen.suite.hash());
        add_message(
            &mut association.transcript,
            message.msg_type,
            message.message_seq,
            message.body,
        );
        association.own_cid = self.own_cid[..chosen.own_cid_len].to_vec();
        association.max_fragment_length = hello.extensions.max_fragment_length;

        let mut body = Vec::with_capacity(160);
        let extensions = self.answer(&hello, &chosen);
        ServerHello::new(&self.random, &[], chosen.suite, extensions).write(&mut body);
        association.send(MessageType::SERVER_HELLO, &body);
        association.send(MessageType::SERVER_HELLO_DONE, &[]);
        association.retransmission.start(now_ms);
        self.state = State::KeyExchange { chosen };
        Ok(())
    }

    fn choose(&self, hello: &ClientHello<'_>) -> Result<Chosen, Failure> {
        // One's complement: a smaller number is a newer version.
        if hello.head.version > DTLS_1_2 {
            return Err(Failure::Version);
        }
        let extensions = &hello.extensions;
        if extensions.renegotiation_info.is_some_and(|previous| !previous.is_empty()) {
            return Err(Failure::Renegotiation);
        }
        let extended_master_secret = extensions.extended_master_secret;
        if self.config.require_extended_master_secret && !extended_master_secret {
            return Err(Failure::NoExtendedMasterSecret);
        }
        let offered = |suite: &&Suite| hello.offers(suite.code());
        let suite = *self.config.suites.iter().find(offered).ok_or(Failure::NoCommonSuite)?;
        let mut peer_cid = [0; CID_BYTES_MAX];
        let cid = usable_cid(extensions);
        if let Some(cid) = cid {
            peer_cid[..cid.len()].copy_from_slice(cid);
        }
        Ok(Chosen {
            suite,
            own_cid_len: if cid.is_some() { self.config.own_cid_len } else { 0 },
            peer_cid,
            peer_cid_len: cid.map_or(0, <[u8]>::len),
            extended_master_secret,
        })
    }

    /// Only what was offered may be answered (RFC 5246 section 7.4.1.4).
    fn answer(&self, hello: &ClientHello<'_>, chosen: &Chosen) -> Extensions<'_> {
        let offered = &hello.extensions;
        let renegotiation =
            offered.renegotiation_info.is_some() || hello.offers(EMPTY_RENEGOTIATION_INFO_SCSV);
        Extensions {
            max_fragment_length: offered.max_fragment_length,
            extended_master_secret: chosen.extended_master_secret,
            connection_id: usable_cid(offered).map(|_| &self.own_cid[..self.config.own_cid_len]),
            renegotiation_info: renegotiation.then_some(&[]),
            ..Extensions::default()
        }
    }

    fn on_client_key_exchange(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::KeyExchange { chosen } = self.state else {
            return Err(Failure::UnexpectedMessage);
        };
        let ClientKeyExchange::Psk { identity } =
            ClientKeyExchange::parse(KeyExchange::Psk, message.body)?
        else {
            return Err(Failure::UnexpectedMessage);
        };
        add_message(
            &mut association.transcript,
            message.msg_type,
            message.message_seq,
            message.body,
        );
        let is_too_long = identity.len() > IDENTITY_BYTES_MAX;
        let identity = if is_too_long { Vec::new() } else { identity.to_vec() };
        self.state = State::Credential { chosen, identity };
        if is_too_long {
            self.on_credential(association, now_ms, None);
        } else {
            self.credential_wanted = true;
        }
        Ok(())
    }

    fn on_credential(&mut self, association: &mut Association, now_ms: u64, psk: Option<&[u8]>) {
        let State::Credential { chosen, identity } = &mut self.state else { return };
        let (chosen, identity) = (*chosen, std::mem::take(identity));
        self.is_unknown = psk.is_none();
        let premaster = psk_premaster(psk.unwrap_or(self.fake_key.as_bytes()));
        let client_random = self.client_random.as_ref().expect("seen in the first datagram");
        let hash = chosen.suite.hash();
        let master = if chosen.extended_master_secret {
            let session_hash = association.transcript.snapshot(hash);
            MasterSecret::derive_extended(hash, &premaster, &session_hash)
        } else {
            MasterSecret::derive(hash, &premaster, client_random, &self.random)
        };
        let key_block = master.key_block(chosen.suite, client_random, &self.random);
        let negotiated = Negotiated {
            suite: chosen.suite,
            own_cid_len: chosen.own_cid_len,
            peer_cid: &chosen.peer_cid[..chosen.peer_cid_len],
            extended_master_secret: chosen.extended_master_secret,
            max_fragment_length: association.max_fragment_length,
            return_routability: false,
        };
        let keys = Established::new(&negotiated, &key_block, Role::Server);
        self.state = State::Finished { master, identity };
        association.install_keys(self, now_ms, keys);
    }

    fn on_finished(
        &mut self,
        association: &mut Association,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::Finished { master, .. } = &self.state else {
            return Err(Failure::UnexpectedMessage);
        };
        let expected = master.verify_data(Role::Client, &association.transcript);
        // Whoever authenticates under the fake key is not let in either.
        if !equal(&expected, message.body) || self.is_unknown {
            return Err(Failure::Finished);
        }
        add_message(
            &mut association.transcript,
            message.msg_type,
            message.message_seq,
            message.body,
        );
        let verify_data: [u8; VERIFY_DATA_BYTES] =
            master.verify_data(Role::Server, &association.transcript);
        let message_seq = association.number_message(MessageType::FINISHED, &verify_data);
        let sequence = association.sequence as u32;
        let keys = association.keys_mut().expect("a Finished was opened with them");
        keys.keep_last_flight(verify_data, message_seq, sequence);
        let mut parting = [0; PARTING_BYTES_MAX];
        let len = keys.last_flight_again(&mut parting).expect("new keys have numbers and room");
        association.succeed(&parting[..len]);
        Ok(())
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
            (State::KeyExchange { .. }, MessageType::CLIENT_KEY_EXCHANGE) => {
                self.on_client_key_exchange(association, now_ms, message)
            }
            (State::Finished { .. }, MessageType::FINISHED) => {
                self.on_finished(association, message)
            }
            _ => Err(Failure::UnexpectedMessage),
        }
    }

    /// The proven ClientHello again: flight 4 was lost. An older one is an echo of the network.
    fn on_repeated(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        fragment: &Fragment<'_>,
    ) -> Result<(), Failure> {
        let is_hello = fragment.message_seq == self.hello_seq && fragment.offset == 0;
        if is_hello
            && matches!(self.state, State::KeyExchange { .. })
            && association.retransmission.on_repeated(now_ms)
        {
            association.flight.rewind();
        }
        Ok(())
    }
}

/// The client's Connection ID, unless it is longer than we can send: then we answer as if the
/// extension had not been offered.
fn usable_cid<'a>(offered: &Extensions<'a>) -> Option<&'a [u8]> {
    offered.connection_id.filter(|cid| cid.len() <= CID_BYTES_MAX)
}

/// Flight 6 under any suite with a Connection ID of 32 bytes: 14 + 106 bytes.
const PARTING_BYTES_MAX: usize = 128;

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ClientHello => "ClientHello",
            Self::KeyExchange { .. } => "KeyExchange",
            Self::Credential { .. } => "Credential",
            Self::Finished { .. } => "Finished",
        })
    }
}
