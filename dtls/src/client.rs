//! How does a client complete a handshake? The mirror of `server`, for device fleets, tests and
//! sessions the edge opens itself.
//!
//! ```text
//!   client                                     server
//!   ClientHello            ───────▶                                       flight 1, by timer
//!                          ◀───────  HelloVerifyRequest                   (perhaps)
//!   ClientHello + cookie   ───────▶                                       flight 3, by timer
//!                          ◀───────  ServerHello
//!                          ◀───────  [ServerKeyExchange] ServerHelloDone
//!   ClientKeyExchange      ───────▶
//!   [ChangeCipherSpec]     ───────▶
//!   Finished               ───────▶                                       flight 5, by timer
//!                          ◀───────  [ChangeCipherSpec] Finished          Event::Established
//! ```

use std::sync::Arc;

use tidegate_crypto::secret::{Secret, equal};

use crate::Drop;
pub use crate::association::Link;
use crate::association::{Association, Ended, Message, Side};
use crate::established::{Established, Negotiated};
use crate::extension::{Extensions, fragment_bytes_max};
pub use crate::failure::Failure;
use crate::flight::MTU_MIN;
use crate::handshake::{Fragment, MessageType};
use crate::hello::parse_hello_verify_request;
use crate::hello::{ClientHello, ClientHelloHead, RANDOM_BYTES, ServerHello};
use crate::key_exchange::{ClientKeyExchange, ServerKeyExchange};
use crate::key_schedule::{MasterSecret, Role, add_message, psk_premaster};
use crate::record::{CID_BYTES_MAX, DTLS_1_2};
use crate::suite::{EMPTY_RENEGOTIATION_INFO_SCSV, KeyExchange, Suite};

/// What many handshakes of a client may have in common.
#[derive(Clone, Debug)]
pub struct Config {
    /// Offered in this order; those with a pre-shared key alone.
    pub suites: Vec<Suite>,
    /// Offer `extended_master_secret` (RFC 7627); a server may decline.
    pub extended_master_secret: bool,
    /// Ask for short records: the code of RFC 6066 section 4, 1–4 for 512–4096 bytes.
    pub max_fragment_length: Option<u8>,
    /// Datagram sizes and timers.
    pub link: Link,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            suites: Suite::of(KeyExchange::Psk).collect(),
            extended_master_secret: true,
            max_fragment_length: None,
            link: Link::default(),
        }
    }
}

/// Who the client is, for one handshake.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The PSK identity, at most 65535 bytes.
    pub identity: Vec<u8>,
    /// The pre-shared key.
    pub psk: Secret,
}

/// One handshake, from the first ClientHello to its end.
pub struct Handshake {
    association: Association,
    client: Client,
}

/// What the owner of a handshake has to know.
#[derive(Debug)]
pub enum Event {
    /// Done: drop the handshake and use this.
    Established(Established),
    /// Over. Send what [`Handshake::poll_transmit`] still has, then drop the handshake.
    Failed(Failure),
}

impl Handshake {
    /// A handshake whose first ClientHello waits in [`poll_transmit`](Self::poll_transmit).
    /// `random` are random bytes used nowhere else. `own_cid`: `None` offers no Connection ID;
    /// empty offers to use the server's without wanting one; else at most 32 bytes that records
    /// toward us shall carry (RFC 9146 section 3).
    ///
    /// # Panics
    /// If the configuration contradicts itself or the identity is too long to be sent.
    pub fn new(
        config: &Arc<Config>,
        now_ms: u64,
        random: [u8; RANDOM_BYTES],
        credential: Credential,
        own_cid: Option<&[u8]>,
    ) -> Self {
        assert!(own_cid.is_none_or(|cid| cid.len() <= CID_BYTES_MAX), "Connection ID of 32 bytes");
        assert!(config.link.mtu >= MTU_MIN && !config.suites.is_empty(), "configuration");
        let code = config.max_fragment_length;
        assert!(code.is_none_or(|code| fragment_bytes_max(code).is_some()), "code 1–4");
        let mut client = Client {
            config: Arc::clone(config),
            credential,
            own_cid: own_cid.map(<[u8]>::to_vec),
            random,
            cookie: Vec::new(),
            hello: Vec::new(),
            hello_seq: 0,
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
    own_cid: Option<Vec<u8>>,
    random: [u8; RANDOM_BYTES],
    /// From the last HelloVerifyRequest.
    cookie: Vec<u8>,
    /// Body of the last ClientHello: the transcript begins with it once the hash is known.
    hello: Vec<u8>,
    hello_seq: u16,
    state: State,
}

/// What the client waits for.
enum State {
    /// Or a HelloVerifyRequest.
    ServerHello,
    /// Or a ServerKeyExchange before it, once.
    ServerHelloDone {
        chosen: Chosen,
        had_key_exchange: bool,
    },
    Finished {
        master: MasterSecret,
    },
}

/// What the hellos agreed upon.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    suite: Suite,
    server_random: [u8; RANDOM_BYTES],
    peer_cid: [u8; CID_BYTES_MAX],
    peer_cid_len: usize,
    extended_master_secret: bool,
}

impl Client {
    /// Flight 1, and flight 3 when there is a cookie.
    fn send_hello(&mut self, association: &mut Association, now_ms: u64) {
        let codes = self.config.suites.iter().map(|suite| suite.code());
        let codes = codes.chain([EMPTY_RENEGOTIATION_INFO_SCSV]);
        let cipher_suites: Vec<u8> = codes.flat_map(u16::to_be_bytes).collect();
        let mut body = Vec::new();
        ClientHello {
            head: ClientHelloHead {
                version: DTLS_1_2,
                random: &self.random,
                session_id: &[],
                cookie: &self.cookie,
            },
            cipher_suites: &cipher_suites,
            compression: &[0],
            extensions: Extensions {
                max_fragment_length: self.config.max_fragment_length,
                extended_master_secret: self.config.extended_master_secret,
                connection_id: self.own_cid.as_deref(),
                ..Extensions::default()
            },
        }
        .write(&mut body);
        association.flight.clear();
        self.hello_seq = association.message_seq;
        association.message_seq += 1;
        association.flight.push(MessageType::CLIENT_HELLO, self.hello_seq, &body);
        association.retransmission.start(now_ms);
        self.hello = body;
    }

    fn on_hello_verify_request(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        body: &[u8],
    ) -> Result<(), Failure> {
        self.cookie = parse_hello_verify_request(body).ok_or(Failure::Decode)?.to_vec();
        self.send_hello(association, now_ms);
        Ok(())
    }

    fn on_server_hello(
        &mut self,
        association: &mut Association,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let hello = ServerHello::parse(message.body)?;
        let chosen = self.check(&hello)?;
        association.transcript.choose(chosen.suite.hash());
        let transcript = &mut association.transcript;
        add_message(transcript, MessageType::CLIENT_HELLO, self.hello_seq, &self.hello);
        add_message(transcript, message.msg_type, message.message_seq, message.body);
        self.hello = Vec::new();
        if hello.extensions.connection_id.is_some() {
            association.own_cid = self.own_cid.clone().unwrap_or_default();
        }
        association.max_fragment_length = hello.extensions.max_fragment_length;
        self.state = State::ServerHelloDone { chosen, had_key_exchange: false };
        Ok(())
    }

    /// What a ServerHello may say to ours (RFC 5246 section 7.4.1.3).
    fn check(&self, hello: &ServerHello<'_>) -> Result<Chosen, Failure> {
        if hello.version != DTLS_1_2 {
            return Err(Failure::Version);
        }
        let suite = Suite::from_code(hello.cipher_suite).ok_or(Failure::Illegal)?;
        let extensions = &hello.extensions;
        let unasked = extensions.others
            || extensions.supported_groups.is_some()
            || extensions.extended_master_secret && !self.config.extended_master_secret
            || extensions.connection_id.is_some() && self.own_cid.is_none()
            || extensions.max_fragment_length.is_some()
                && self.config.max_fragment_length.is_none();
        if unasked {
            return Err(Failure::UnsupportedExtension);
        }
        if extensions.renegotiation_info.is_some_and(|previous| !previous.is_empty()) {
            return Err(Failure::Renegotiation);
        }
        let echoed = extensions.max_fragment_length;
        let cid = extensions.connection_id.unwrap_or_default();
        if !self.config.suites.contains(&suite)
            || hello.compression != 0
            || echoed.is_some() && echoed != self.config.max_fragment_length
            || cid.len() > CID_BYTES_MAX
        {
            return Err(Failure::Illegal);
        }
        let mut peer_cid = [0; CID_BYTES_MAX];
        peer_cid[..cid.len()].copy_from_slice(cid);
        Ok(Chosen {
            suite,
            server_random: *hello.random,
            peer_cid,
            peer_cid_len: cid.len(),
            extended_master_secret: extensions.extended_master_secret,
        })
    }

    fn on_server_key_exchange(
        &mut self,
        association: &mut Association,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::ServerHelloDone { chosen, had_key_exchange: had @ false } = &mut self.state
        else {
            return Err(Failure::UnexpectedMessage);
        };
        ServerKeyExchange::parse(chosen.suite.key_exchange(), message.body)?;
        *had = true;
        let transcript = &mut association.transcript;
        add_message(transcript, message.msg_type, message.message_seq, message.body);
        Ok(())
    }

    /// Flight 5.
    fn on_server_hello_done(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::ServerHelloDone { chosen, .. } = &self.state else {
            return Err(Failure::UnexpectedMessage);
        };
        if !message.body.is_empty() {
            return Err(Failure::Decode);
        }
        let chosen = *chosen;
        let transcript = &mut association.transcript;
        add_message(transcript, message.msg_type, message.message_seq, message.body);
        association.flight.clear();
        let mut body = Vec::new();
        ClientKeyExchange::Psk { identity: &self.credential.identity }.write(&mut body);
        association.send(MessageType::CLIENT_KEY_EXCHANGE, &body);
        let premaster = psk_premaster(self.credential.psk.as_bytes());
        let master = self.master(association, &chosen, &premaster);

        let block = master.key_block(chosen.suite, &self.random, &chosen.server_random);
        let negotiated = Negotiated {
            suite: chosen.suite,
            own_cid_len: association.own_cid.len(),
            peer_cid: &chosen.peer_cid[..chosen.peer_cid_len],
            extended_master_secret: chosen.extended_master_secret,
            max_fragment_length: association.max_fragment_length,
            return_routability: false,
        };
        let keys = Established::new(&negotiated, &block, Role::Client);
        let verify_data = master.verify_data(Role::Client, &association.transcript);
        let message_seq = association.number_message(MessageType::FINISHED, &verify_data);
        association.flight.push_change_cipher_spec();
        association.flight.push_protected(MessageType::FINISHED, message_seq, &verify_data);
        association.retransmission.start(now_ms);
        self.state = State::Finished { master };
        association.install_keys(self, now_ms, keys);
        Ok(())
    }

    fn master(
        &self,
        association: &Association,
        chosen: &Chosen,
        premaster: &Secret,
    ) -> MasterSecret {
        let hash = chosen.suite.hash();
        if chosen.extended_master_secret {
            let session_hash = association.transcript.snapshot(hash);
            MasterSecret::derive_extended(hash, premaster, &session_hash)
        } else {
            MasterSecret::derive(hash, premaster, &self.random, &chosen.server_random)
        }
    }

    fn on_finished(
        &mut self,
        association: &mut Association,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::Finished { master } = &self.state else {
            return Err(Failure::UnexpectedMessage);
        };
        let expected = master.verify_data(Role::Server, &association.transcript);
        if !equal(&expected, message.body) {
            return Err(Failure::Finished);
        }
        association.succeed(&[]);
        Ok(())
    }
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
                self.on_server_hello(association, message)
            }
            (State::ServerHelloDone { .. }, MessageType::SERVER_KEY_EXCHANGE) => {
                self.on_server_key_exchange(association, message)
            }
            (State::ServerHelloDone { .. }, MessageType::SERVER_HELLO_DONE) => {
                self.on_server_hello_done(association, now_ms, message)
            }
            (State::Finished { .. }, MessageType::FINISHED) => {
                self.on_finished(association, message)
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

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ServerHello => "ServerHello",
            Self::ServerHelloDone { .. } => "ServerHelloDone",
            Self::Finished { .. } => "Finished",
        })
    }
}
