//! How does a server take what a client of this crate would never say? A client whose every
//! message a test writes itself; it keeps the transcript and nothing else in order.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // every test file takes what it needs

use tidegate_crypto::prf::Transcript;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::alert::Alert;
use tidegate_dtls::established::Negotiated;
use tidegate_dtls::handshake::{Fragment, MessageType};
use tidegate_dtls::hello::{ClientHello, ClientHelloHead, ServerHello, parse_hello_verify_request};
use tidegate_dtls::key_schedule::{MasterSecret, add_message};
use tidegate_dtls::reassembly::{Offered, Reassembly};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::{Established, Role, Suite};

use super::{OUT_BYTES, ServerEnd, first_message, hello_datagram, message_datagram};

/// A client that says what it is told to.
pub struct Peer {
    pub server: ServerEnd,
    pub transcript: Transcript,
    /// The same, unhashed.
    pub messages: Vec<u8>,
    /// What the server said since the hello: types and bodies.
    pub heard: Vec<(MessageType, Vec<u8>)>,
    /// Alerts in the clear.
    pub alerts: Vec<Alert>,
    /// Everything the server sent, unread.
    pub datagrams: Vec<Vec<u8>>,
    pub keys: Option<Established>,
    /// Messages in the clear travel in fragments of this many bytes: the first one first, then the
    /// others from the last on, each twice.
    pub fragment_bytes: usize,
    random: [u8; 32],
    client_cid: Vec<u8>,
    message_seq: u16,
    sequence: u64,
    /// The last message in the clear, without its record's header.
    last: Vec<u8>,
    reassembly: Reassembly,
    protected: Vec<Vec<u8>>,
}

impl Peer {
    /// Passes the door and says `hello`, with the cookie in it.
    pub fn says(server: ServerEnd, hello: &ClientHello<'_>) -> Self {
        Self::says_in_fragments(server, hello, usize::MAX)
    }

    /// The same, in fragments of at most this many bytes.
    pub fn says_in_fragments(
        mut server: ServerEnd,
        hello: &ClientHello<'_>,
        fragment_bytes: usize,
    ) -> Self {
        server.on_datagram(0, &hello_datagram(hello, 0, 0));
        let verify = server.log.take().pop().unwrap();
        let cookie = parse_hello_verify_request(first_message(&verify).2).unwrap().to_vec();
        let head = ClientHelloHead { cookie: &cookie, ..hello.head };
        let mut peer = Self {
            server,
            transcript: Transcript::new(),
            messages: Vec::new(),
            heard: Vec::new(),
            alerts: Vec::new(),
            datagrams: Vec::new(),
            keys: None,
            fragment_bytes,
            random: *hello.head.random,
            client_cid: hello.extensions.connection_id.unwrap_or_default().to_vec(),
            message_seq: 1,
            sequence: 1,
            last: Vec::new(),
            reassembly: Reassembly::new(1, 1 << 14),
            protected: Vec::new(),
        };
        let mut body = Vec::new();
        ClientHello { head, ..*hello }.write(&mut body);
        peer.sends(MessageType::CLIENT_HELLO, &body);
        peer
    }

    /// One handshake message in the clear.
    pub fn sends(&mut self, msg_type: MessageType, body: &[u8]) {
        self.notes(msg_type, self.message_seq, body);
        let message = message_datagram(msg_type.0, self.message_seq, 0, body)[13..].to_vec();
        self.message_seq += 1;
        self.last.clone_from(&message);
        let mut fragments = fragments(&message, self.fragment_bytes);
        if fragments.len() > 1 {
            fragments[1..].reverse();
            fragments = fragments.into_iter().flat_map(|f| [f.clone(), f]).collect();
        }
        for fragment in fragments {
            let datagram = self.record(&fragment);
            self.server.on_datagram(0, &datagram);
        }
        self.hears();
    }

    /// The last message again, in a new record.
    pub fn repeats(&mut self, now_ms: u64) {
        let datagram = self.record(&self.last.clone());
        self.server.on_datagram(now_ms, &datagram);
        self.hears();
    }

    fn record(&mut self, content: &[u8]) -> Vec<u8> {
        let mut datagram = vec![22, 0xfe, 0xfd, 0, 0];
        datagram.extend_from_slice(&self.sequence.to_be_bytes()[2..]);
        datagram.extend_from_slice(&(content.len() as u16).to_be_bytes());
        datagram.extend_from_slice(content);
        self.sequence += 1;
        datagram
    }

    /// The ServerHello.
    pub fn server_hello(&self) -> ServerHello<'_> {
        ServerHello::parse(self.body(MessageType::SERVER_HELLO)).unwrap()
    }

    /// The body of the message of this type.
    #[track_caller]
    pub fn body(&self, msg_type: MessageType) -> &[u8] {
        let found = self.heard.iter().find(|(heard, _)| *heard == msg_type);
        &found
            .unwrap_or_else(|| {
                panic!(
                    "no {msg_type:?} among {:?}, {:?}, {:?}",
                    self.types(),
                    self.server.log.failure,
                    self.server.log.drops
                )
            })
            .1
    }

    /// What the server said, by type.
    pub fn types(&self) -> Vec<u8> {
        self.heard.iter().map(|(msg_type, _)| msg_type.0).collect()
    }

    /// From a premaster secret, with the extension if both sides have it.
    pub fn master(&self, premaster: &Secret) -> MasterSecret {
        let hello = self.server_hello();
        let hash = Suite::from_code(hello.cipher_suite).unwrap().hash();
        if hello.extensions.extended_master_secret {
            MasterSecret::derive_extended(hash, premaster, &self.transcript.snapshot(hash))
        } else {
            MasterSecret::derive(hash, premaster, &self.random, hello.random)
        }
    }

    /// ChangeCipherSpec and Finished; whether the server's Finished, perhaps heard before, fits.
    pub fn finishes(&mut self, master: &MasterSecret) -> bool {
        let abbreviated = !self.types().contains(&MessageType::SERVER_HELLO_DONE.0);
        self.installs(master);
        let heard_first = abbreviated && self.hears_finished(master);
        let verify_data = master.verify_data(Role::Client, &self.transcript);
        self.sends_finished(&verify_data);
        heard_first || !abbreviated && self.hears_finished(master)
    }

    /// Records of epoch 1 from now on.
    pub fn installs(&mut self, master: &MasterSecret) {
        let hello = self.server_hello();
        let suite = Suite::from_code(hello.cipher_suite).unwrap();
        let block = master.key_block(suite, &self.random, hello.random);
        let peer_cid = hello.extensions.connection_id;
        let negotiated = Negotiated {
            suite,
            own_cid_len: peer_cid.map_or(0, |_| self.client_cid.len()),
            peer_cid: peer_cid.unwrap_or_default(),
            extended_master_secret: hello.extensions.extended_master_secret,
            max_fragment_length: hello.extensions.max_fragment_length,
            return_routability: hello.extensions.return_routability_check,
        };
        self.keys = Some(Established::new(&negotiated, &block, Role::Client));
    }

    pub fn sends_finished(&mut self, verify_data: &[u8]) {
        let mut datagram = vec![20, 0xfe, 0xfd, 0, 0];
        datagram.extend_from_slice(&self.sequence.to_be_bytes()[2..]);
        datagram.extend_from_slice(&[0, 1, 1]);
        self.sequence += 1;
        let finished = &message_datagram(20, self.message_seq, 0, verify_data)[13..];
        self.notes(MessageType::FINISHED, self.message_seq, verify_data);
        self.message_seq += 1;
        let mut out = [0; OUT_BYTES];
        let keys = self.keys.as_mut().unwrap();
        let len = keys.seal(ContentType::HANDSHAKE, finished, &mut out).unwrap();
        datagram.extend_from_slice(&out[..len]);
        self.server.on_datagram(0, &datagram);
        self.hears();
    }

    /// Opens the server's Finished and says whether it is the right one.
    pub fn hears_finished(&mut self, master: &MasterSecret) -> bool {
        let expected = master.verify_data(Role::Server, &self.transcript);
        let Some(mut record) = self.protected.pop() else { return false };
        let keys = self.keys.as_mut().unwrap();
        let parsed = Record::parse(&record, 0, keys.own_cid_len()).unwrap();
        let Ok(opened) = keys.open(&parsed, &mut record) else { return false };
        let (fragment, _) = Fragment::parse(&record[opened.content]).unwrap();
        let (msg_type, message_seq) = (fragment.msg_type, fragment.message_seq);
        let body = fragment.body.to_vec();
        self.notes(msg_type, message_seq, &body);
        msg_type == MessageType::FINISHED && body == expected
    }

    fn notes(&mut self, msg_type: MessageType, message_seq: u16, body: &[u8]) {
        add_message(&mut self.transcript, msg_type, message_seq, body);
        self.messages.extend(&message_datagram(msg_type.0, message_seq, 0, body)[13..]);
    }

    /// Takes apart what the server sent.
    pub fn hears(&mut self) {
        for datagram in self.server.log.take() {
            let mut at = 0;
            while at < datagram.len() {
                let cid_len = self.client_cid.len();
                let record = Record::parse(&datagram, at, cid_len).unwrap();
                at = record.end();
                let content = &datagram[record.fragment()];
                match (record.epoch, record.content_type) {
                    (0, ContentType::HANDSHAKE) => self.hears_messages(content),
                    (0, ContentType::ALERT) => self.alerts.extend(Alert::parse(content)),
                    (0, _) => {}
                    _ => self.protected.push(datagram[record.start()..record.end()].to_vec()),
                }
            }
            self.datagrams.push(datagram);
        }
    }

    fn hears_messages(&mut self, mut content: &[u8]) {
        while !content.is_empty() {
            let (fragment, rest) = Fragment::parse(content).unwrap();
            content = rest;
            match self.reassembly.offer(&fragment, 0) {
                Ok(Offered::Due(body)) => {
                    let body = body.to_vec();
                    self.hears_message(fragment.msg_type, fragment.message_seq, body);
                }
                Ok(Offered::Kept) | Err(_) => {}
            }
            while let Some(whole) = self.reassembly.take_due() {
                self.hears_message(whole.msg_type, whole.message_seq, whole.body);
            }
        }
    }

    fn hears_message(&mut self, msg_type: MessageType, message_seq: u16, body: Vec<u8>) {
        self.notes(msg_type, message_seq, &body);
        self.heard.push((msg_type, body));
    }
}

/// A message with its header, cut into fragments of at most `bytes` of its body.
pub fn fragments(message: &[u8], bytes: usize) -> Vec<Vec<u8>> {
    let (header, body) = message.split_at(12);
    if body.is_empty() {
        return vec![message.to_vec()];
    }
    let piece = |(index, piece): (usize, &[u8])| {
        let (offset, len) = (index * bytes, piece.len());
        let places = [offset, len].map(|n| (n as u32).to_be_bytes());
        [&header[..6], &places[0][1..], &places[1][1..], piece].concat()
    };
    body.chunks(bytes).enumerate().map(piece).collect()
}
