//! Which keys does a captured handshake lead to? What an association's two ends would hold, for one
//! pre-shared key.

use tidegate_crypto::prf::Transcript;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::handshake::MessageType;
use tidegate_dtls::hello::{ClientHello, RANDOM_BYTES, ServerHello};
use tidegate_dtls::key_schedule::{MasterSecret, VERIFY_DATA_BYTES, add_message, psk_premaster};
use tidegate_dtls::reassembly::Whole;
use tidegate_dtls::record::{CID_BYTES_MAX, Record};
use tidegate_dtls::suite::KeyExchange;
use tidegate_dtls::{Drop, Established, Role, Suite, established};

use super::Direction;
use super::association::Obstacle;

/// What the two hellos agreed upon.
#[derive(Clone, Debug)]
pub(super) struct Agreement {
    pub(super) suite: Suite,
    pub(super) extended_master_secret: bool,
    /// In records toward the client; empty for none.
    pub(super) client_cid: Vec<u8>,
    /// In records toward the server; empty for none.
    pub(super) server_cid: Vec<u8>,
    client_random: [u8; RANDOM_BYTES],
    server_random: [u8; RANDOM_BYTES],
}

impl Agreement {
    pub(super) fn new(
        client: &ClientHello<'_>,
        server: &ServerHello<'_>,
    ) -> Result<Self, Obstacle> {
        if !server.session_id.is_empty() && server.session_id == client.head.session_id {
            return Err(Obstacle::Resumed);
        }
        // Why PSK alone: what is agreed upon by key agreement is not in a capture.
        let suite = Suite::from_code(server.cipher_suite)
            .filter(|suite| suite.key_exchange() == KeyExchange::Psk)
            .ok_or(Obstacle::Suite(server.cipher_suite))?;
        // Without the server's answer neither direction carries one (RFC 9146 section 3).
        let cids = client.extensions.connection_id.zip(server.extensions.connection_id);
        let (client_cid, server_cid) = cids.unwrap_or_default();
        if client_cid.len().max(server_cid.len()) > CID_BYTES_MAX {
            return Err(Obstacle::CidTooLong);
        }
        Ok(Self {
            suite,
            extended_master_secret: client.extensions.extended_master_secret
                && server.extensions.extended_master_secret,
            client_cid: client_cid.to_vec(),
            server_cid: server_cid.to_vec(),
            client_random: *client.head.random,
            server_random: *server.random,
        })
    }
}

/// The messages of one handshake that its transcript knows, by who sent them.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// From the last ClientHello on.
    pub(super) client: Vec<Whole>,
    /// From the ServerHello on.
    pub(super) server: Vec<Whole>,
}

impl Messages {
    /// The one of this type.
    pub(super) fn of(&self, msg_type: MessageType) -> Option<&Whole> {
        self.client.iter().chain(&self.server).find(|message| message.msg_type == msg_type)
    }

    /// Whether everything is there that the keys depend on.
    pub(super) fn lead_to_keys(&self) -> bool {
        self.of(MessageType::SERVER_HELLO_DONE).is_some()
            && self.of(MessageType::CLIENT_KEY_EXCHANGE).is_some()
    }

    /// The messages up to `until`, in the order of a full handshake: ClientHello, the server's
    /// flight, the client's flight, then what the server says last. *Why:* a capture may show the
    /// two directions in another order than the ends saw.
    pub(super) fn transcript(&self, suite: Suite, until: Until) -> Transcript {
        let mut transcript = Transcript::of(suite.hash());
        let mut add = |message: &Whole| {
            add_message(&mut transcript, message.msg_type, message.message_seq, &message.body);
        };
        let done = MessageType::SERVER_HELLO_DONE;
        let first_flight = self.server.iter().position(|message| message.msg_type == done);
        let (first, last) = self.server.split_at(first_flight.map_or(0, |index| index + 1));
        self.client.first().into_iter().chain(first).for_each(&mut add);
        for message in self.client.iter().skip(1) {
            if until == Until::ClientFinished && message.msg_type == MessageType::FINISHED {
                break;
            }
            add(message);
            if until == Until::KeyExchange && message.msg_type == MessageType::CLIENT_KEY_EXCHANGE {
                break;
            }
        }
        if until == Until::ServerFinished {
            let before = |message: &&Whole| message.msg_type != MessageType::FINISHED;
            last.iter().take_while(before).for_each(&mut add);
        }
        transcript
    }
}

/// Where a transcript ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// With ClientKeyExchange: the session hash (RFC 7627 section 3).
    KeyExchange,
    /// Before the client's Finished.
    ClientFinished,
    /// Before the server's Finished.
    ServerFinished,
}

/// Both ends of an association, under one pre-shared key.
#[derive(Debug)]
pub(super) struct Keys {
    suite: Suite,
    master: MasterSecret,
    /// Opens what travels toward it.
    client: Established,
    server: Established,
}

impl Keys {
    pub(super) fn derive(psk: &Secret, agreement: &Agreement, messages: &Messages) -> Self {
        let Agreement { suite, client_random, server_random, client_cid, server_cid, .. } =
            agreement;
        let premaster = psk_premaster(psk.as_bytes());
        let master = if agreement.extended_master_secret {
            let session = messages.transcript(*suite, Until::KeyExchange);
            let session_hash = session.snapshot(suite.hash());
            MasterSecret::derive_extended(suite.hash(), &premaster, &session_hash)
        } else {
            MasterSecret::derive(suite.hash(), &premaster, client_random, server_random)
        };
        let key_block = master.key_block(*suite, client_random, server_random);
        let end = |role, own_cid: &[u8], peer_cid: &[u8]| {
            let negotiated = established::Negotiated {
                suite: *suite,
                own_cid_len: own_cid.len(),
                peer_cid,
                extended_master_secret: agreement.extended_master_secret,
                max_fragment_length: None,
                return_routability: false,
            };
            Established::new(&negotiated, &key_block, role)
        };
        let client = end(Role::Client, client_cid, server_cid);
        let server = end(Role::Server, server_cid, client_cid);
        Self { suite: *suite, master, client, server }
    }

    /// Opens a copy of the record. A record that fails leaves no trace.
    pub(super) fn open(
        &mut self,
        direction: Direction,
        record: &Record,
        datagram: &[u8],
    ) -> Result<(tidegate_dtls::record::ContentType, Vec<u8>), Drop> {
        let end = match direction {
            Direction::ToServer => &mut self.server,
            Direction::ToClient => &mut self.client,
        };
        let (mut after, mut datagram) = (*end, datagram.to_vec());
        let opened = after.open(record, &mut datagram)?;
        *end = after;
        Ok((opened.content_type, datagram[opened.content].to_vec()))
    }

    /// What the Finished of that direction has to say.
    pub(super) fn verify_data(
        &self,
        direction: Direction,
        messages: &Messages,
    ) -> [u8; VERIFY_DATA_BYTES] {
        let (role, until) = match direction {
            Direction::ToServer => (Role::Client, Until::ClientFinished),
            Direction::ToClient => (Role::Server, Until::ServerFinished),
        };
        self.master.verify_data(role, &messages.transcript(self.suite, until))
    }
}

impl std::ops::Drop for Keys {
    fn drop(&mut self) {
        self.client.wipe();
        self.server.wipe();
    }
}
