//! What became of one captured DTLS association? Its handshake messages in order, its keys, and
//! what its records held.

use std::net::SocketAddr;

use tidegate_coap::message::Message;
use tidegate_crypto::secret::{self, Secret};
use tidegate_dtls::alert::Alert;
use tidegate_dtls::handshake::{Fragment, MessageType};
use tidegate_dtls::hello::{ClientHello, RANDOM_BYTES, ServerHello};
use tidegate_dtls::reassembly::{Offered, Reassembly, Whole};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::{Drop, Suite};

use super::keys::{Agreement, Keys, Messages};
use super::{Direction, What};

/// A device and its server, from one ClientHello on.
#[derive(Debug)]
pub struct Association {
    /// Where the ClientHello came from.
    pub client: SocketAddr,
    /// Where it went.
    pub server: SocketAddr,
    /// The PSK identity; empty until the ClientKeyExchange.
    pub identity: Vec<u8>,
    /// What became of the client's Finished.
    pub client_finished: Finished,
    /// What became of the server's.
    pub server_finished: Finished,
    /// What became of the protected records.
    pub records: Records,
    /// Why there are no keys, when there are none though the handshake went on.
    pub obstacle: Option<Obstacle>,
    client_random: [u8; RANDOM_BYTES],
    client_side: Reassembly,
    /// Starts with the first message that the server sent.
    server_side: Option<Reassembly>,
    messages: Messages,
    agreement: Option<Agreement>,
    /// One for each pre-shared key until a record tells which is the right one.
    keys: Vec<Keys>,
}

/// What became of a Finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finished {
    /// Not in the capture, or not opened.
    #[default]
    Missing,
    /// It opened, and fits the handshake before it.
    Verified,
    /// It opened, and does not.
    Wrong,
}

/// What became of the protected records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Records of type `application_data` that opened.
    pub application: usize,
    /// Records of any other type that opened.
    pub other: usize,
    /// Captured twice, or replayed.
    pub repeated: usize,
    /// Did not open.
    pub refused: usize,
}

/// Why no keys could be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A suite that is not PSK, or not known here: its code point.
    Suite(u16),
    /// It goes on with a session whose keys come from an earlier handshake.
    Resumed,
    /// Longer than 32 bytes.
    CidTooLong,
    /// A hello or the ClientKeyExchange can't be read.
    Malformed,
}

impl Association {
    /// From the fragment that starts its first ClientHello.
    pub(super) fn new(
        client: SocketAddr,
        server: SocketAddr,
        client_random: [u8; RANDOM_BYTES],
        first_seq: u16,
    ) -> Self {
        Self {
            client,
            server,
            identity: Vec::new(),
            client_finished: Finished::Missing,
            server_finished: Finished::Missing,
            records: Records::default(),
            obstacle: None,
            client_random,
            client_side: Reassembly::new(first_seq, MESSAGE_BYTES_MAX),
            server_side: None,
            messages: Messages::default(),
            agreement: None,
            keys: Vec::new(),
        }
    }

    /// The negotiated suite.
    pub fn suite(&self) -> Option<Suite> {
        self.agreement.as_ref().map(|agreement| agreement.suite)
    }

    /// Whether the master secret is bound to the handshake (RFC 7627).
    pub fn has_extended_master_secret(&self) -> bool {
        self.agreement.as_ref().is_some_and(|agreement| agreement.extended_master_secret)
    }

    /// What records in that direction carry; empty for none.
    pub fn cid(&self, direction: Direction) -> &[u8] {
        match (direction, &self.agreement) {
            (_, None) => &[],
            (Direction::ToServer, Some(agreement)) => &agreement.server_cid,
            (Direction::ToClient, Some(agreement)) => &agreement.client_cid,
        }
    }

    /// Both Finished verified, and every record opened.
    pub fn is_complete(&self) -> bool {
        let finished = [self.client_finished, self.server_finished];
        finished == [Finished::Verified; 2] && self.records.refused == 0
    }

    /// Whether a ClientHello with this random is one of this handshake (RFC 6347 section 4.2.1).
    pub(super) fn is_of(&self, client_random: &[u8; RANDOM_BYTES]) -> bool {
        self.client_random == *client_random
    }

    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Takes the content of a plaintext record.
    pub(super) fn on_plaintext(
        &mut self,
        direction: Direction,
        content_type: ContentType,
        content: &[u8],
        psks: &[Secret],
        said: &mut Vec<What>,
    ) {
        match content_type {
            ContentType::HANDSHAKE => self.on_handshake(direction, 0, content, psks, said),
            ContentType::CHANGE_CIPHER_SPEC => said.push(What::ChangeCipherSpec),
            ContentType::ALERT => {
                said.push(What::Alert { alert: Alert::parse(content), is_protected: false });
            }
            _ => said.push(What::Refused(Drop::ContentType)),
        }
    }

    /// Opens a protected record and takes its content. An error leaves everything as it was.
    pub(super) fn on_protected(
        &mut self,
        direction: Direction,
        record: &Record,
        datagram: &[u8],
        said: &mut Vec<What>,
    ) -> Result<(), Drop> {
        let (content_type, content) = self.open(direction, record, datagram)?;
        match content_type {
            ContentType::APPLICATION_DATA => self.records.application += 1,
            _ => self.records.other += 1,
        }
        match content_type {
            ContentType::HANDSHAKE => self.on_handshake(direction, 1, &content, &[], said),
            ContentType::ALERT => {
                said.push(What::Alert { alert: Alert::parse(&content), is_protected: true });
            }
            ContentType::APPLICATION_DATA if Message::parse(&content).is_ok() => {
                said.push(What::Coap(content));
            }
            ContentType::APPLICATION_DATA => said.push(What::NotCoap(content)),
            _ => said.push(What::Other { content_type, content_bytes: content.len() }),
        }
        Ok(())
    }

    /// With the first keys that fit; from then on with those alone.
    fn open(
        &mut self,
        direction: Direction,
        record: &Record,
        datagram: &[u8],
    ) -> Result<(ContentType, Vec<u8>), Drop> {
        let mut failure = Drop::Epoch;
        for index in 0..self.keys.len() {
            match self.keys[index].open(direction, record, datagram) {
                Ok(opened) => {
                    self.keys.swap(0, index);
                    self.keys.truncate(1);
                    return Ok(opened);
                }
                Err(drop) => failure = drop,
            }
        }
        Err(failure)
    }

    /// Takes the messages and fragments of one record's content.
    fn on_handshake(
        &mut self,
        direction: Direction,
        epoch: u16,
        content: &[u8],
        psks: &[Secret],
        said: &mut Vec<What>,
    ) {
        let mut rest = content;
        while !rest.is_empty() {
            let fragment = match Fragment::parse(rest) {
                Ok((fragment, after)) => {
                    rest = after;
                    fragment
                }
                Err(drop) => return said.push(What::Refused(drop)),
            };
            if fragment.msg_type == MessageType::HELLO_REQUEST {
                said.push(What::Handshake {
                    msg_type: fragment.msg_type,
                    message_seq: fragment.message_seq,
                    body_bytes: fragment.body.len(),
                });
                continue;
            }
            for message in self.put_together(direction, epoch, &fragment, said) {
                self.on_message(direction, message, psks, said);
            }
        }
    }

    /// The messages that are whole and due now.
    fn put_together(
        &mut self,
        direction: Direction,
        epoch: u16,
        fragment: &Fragment<'_>,
        said: &mut Vec<What>,
    ) -> Vec<Whole> {
        let Fragment { msg_type, message_seq, .. } = *fragment;
        let side = match direction {
            Direction::ToServer => &mut self.client_side,
            Direction::ToClient => self
                .server_side
                .get_or_insert_with(|| Reassembly::new(message_seq, MESSAGE_BYTES_MAX)),
        };
        let mut whole = Vec::new();
        match side.offer(fragment, epoch) {
            Ok(Offered::Due(body)) => {
                whole.push(Whole { msg_type, message_seq, body: body.to_vec() });
            }
            // A message that was sent again says nothing new.
            Ok(Offered::Kept) | Err(Drop::Repeated) => {}
            Err(drop) => said.push(What::Refused(drop)),
        }
        whole.extend(std::iter::from_fn(|| side.take_due()));
        whole
    }

    fn on_message(
        &mut self,
        direction: Direction,
        message: Whole,
        psks: &[Secret],
        said: &mut Vec<What>,
    ) {
        let Whole { msg_type, message_seq, .. } = message;
        if msg_type == MessageType::FINISHED {
            let is_verified = self.on_finished(direction, message);
            return said.push(What::Finished { is_verified });
        }
        said.push(What::Handshake { msg_type, message_seq, body_bytes: message.body.len() });
        match (direction, msg_type) {
            (_, MessageType::HELLO_VERIFY_REQUEST) => return,
            // Only the last ClientHello belongs to the transcript (RFC 6347 section 4.2.1).
            (Direction::ToServer, MessageType::CLIENT_HELLO) => self.messages.client.clear(),
            _ => {}
        }
        match direction {
            Direction::ToServer => self.messages.client.push(message),
            Direction::ToClient => self.messages.server.push(message),
        }
        let result = match msg_type {
            MessageType::SERVER_HELLO => self.agree(),
            MessageType::CLIENT_KEY_EXCHANGE => self.identify(),
            _ => Ok(()),
        };
        if let Err(obstacle) = result {
            self.obstacle.get_or_insert(obstacle);
        }
        if self.keys.is_empty() && self.obstacle.is_none() && self.messages.lead_to_keys() {
            let agreement = self.agreement.as_ref();
            let derive = |psk| Some(Keys::derive(psk, agreement?, &self.messages));
            self.keys = psks.iter().filter_map(derive).collect();
        }
    }

    fn agree(&mut self) -> Result<(), Obstacle> {
        let body = |msg_type| self.messages.of(msg_type).map(|message| message.body.as_slice());
        let hellos = body(MessageType::CLIENT_HELLO).zip(body(MessageType::SERVER_HELLO));
        let (client, server) = hellos.ok_or(Obstacle::Malformed)?;
        let client = ClientHello::parse(client).map_err(|_| Obstacle::Malformed)?;
        let server = ServerHello::parse(server).map_err(|_| Obstacle::Malformed)?;
        self.agreement = Some(Agreement::new(&client, &server)?);
        Ok(())
    }

    /// RFC 4279 section 2: the identity is all that a PSK ClientKeyExchange says.
    fn identify(&mut self) -> Result<(), Obstacle> {
        let message = self.messages.of(MessageType::CLIENT_KEY_EXCHANGE);
        let body = message.map(|message| message.body.as_slice()).unwrap_or_default();
        let (len, identity) = body.split_first_chunk::<2>().ok_or(Obstacle::Malformed)?;
        if identity.len() != usize::from(u16::from_be_bytes(*len)) {
            return Err(Obstacle::Malformed);
        }
        self.identity = identity.to_vec();
        Ok(())
    }

    fn on_finished(&mut self, direction: Direction, message: Whole) -> bool {
        let expected = self.keys.first().map(|keys| keys.verify_data(direction, &self.messages));
        let is_verified = expected.is_some_and(|expected| secret::equal(&expected, &message.body));
        let finished = if is_verified { Finished::Verified } else { Finished::Wrong };
        match direction {
            Direction::ToServer => {
                self.client_finished = finished;
                self.messages.client.push(message);
            }
            Direction::ToClient => {
                self.server_finished = finished;
                self.messages.server.push(message);
            }
        }
        is_verified
    }
}

/// Longest handshake message that is put together, bytes. *Why:* chains of certificates, which no
/// device sends; what is longer is refused and the association says so.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Suite(code) => write!(f, "cipher suite {code:#06x} is not one of PSK"),
            Self::Resumed => f.write_str("a resumed session, whose keys are older than this"),
            Self::CidTooLong => f.write_str("a Connection ID longer than 32 bytes"),
            Self::Malformed => f.write_str("a hello or the key exchange can't be read"),
        }
    }
}
