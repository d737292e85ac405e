//! How do two ends behave on a link that a test controls? Both roles as an owner would drive them,
//! a clock that jumps, and a link that loses, repeats and reorders by a seed.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // every test file takes what it needs

pub mod credential;
pub mod peer;
pub mod weather;

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_crypto::secret::Secret;
use tidegate_dtls::cookie::{CookieJar, Greeting, PERIOD_MS, greet};
use tidegate_dtls::established::{Control, on_control};
use tidegate_dtls::handshake::Fragment;
use tidegate_dtls::hello::ClientHello;
use tidegate_dtls::record::{ContentType, Record, protected_part};
use tidegate_dtls::resumption::Resumable;
use tidegate_dtls::return_routability::PathMessage;
use tidegate_dtls::server::{Answer, Claim};
use tidegate_dtls::{Drop, Established, Failure, client, server};

pub const IDENTITY: &[u8] = b"device-0001";
pub const PSK: &[u8] = b"0123456789abcdef";
pub const PEER: &[u8] = b"\x7f\x00\x00\x01\x16\x34";
/// When certificates are judged.
pub const UNIX_S: u64 = 1_800_000_000;
pub const OUT_BYTES: usize = 2048;

/// A server as its owner drives it, for one client address.
pub struct ServerEnd {
    pub config: Arc<server::Config>,
    pub jar: CookieJar,
    pub handshake: Option<server::Handshake>,
    pub session: Option<Established>,
    pub session_cid: Vec<u8>,
    /// Answers [`server::Event::CredentialWanted`] by itself.
    pub answers_credentials: bool,
    /// When it judges certificates.
    pub unix_s: u64,
    /// Names its sessions, so that they can be resumed.
    pub keeps_sessions: bool,
    /// What can be resumed, by session id.
    pub sessions: HashMap<Vec<u8>, Resumable>,
    /// Whether the session was made by resuming an earlier one.
    pub was_resumed: bool,
    pub log: Log,
    /// How many handshakes were begun.
    made: u8,
}

/// A client as its owner drives it.
#[derive(Default)]
pub struct ClientEnd {
    pub handshake: Option<client::Handshake>,
    pub session: Option<Established>,
    /// What may be resumed.
    pub kept: Option<client::Session>,
    pub is_resumed: bool,
    pub log: Log,
}

/// What an end saw and wants to send.
#[derive(Default)]
pub struct Log {
    pub outbox: Vec<Vec<u8>>,
    pub drops: Vec<Drop>,
    pub failure: Option<Failure>,
    pub application: Vec<Vec<u8>>,
    pub newest: Vec<bool>,
    pub controls: Vec<Control>,
}

impl ServerEnd {
    pub fn new(config: server::Config) -> Self {
        Self {
            config: Arc::new(config),
            jar: CookieJar::new(0, &[42; 32], PERIOD_MS),
            handshake: None,
            session: None,
            session_cid: Vec::new(),
            answers_credentials: true,
            unix_s: UNIX_S,
            keeps_sessions: false,
            sessions: HashMap::new(),
            was_resumed: false,
            log: Log::default(),
            made: 0,
        }
    }

    /// The protected part of a datagram is the session's if it can be; the rest, and what the
    /// session can't open, belongs to the handshake or to the door.
    pub fn on_datagram(&mut self, now_ms: u64, datagram: &[u8]) {
        let mut rest = datagram.to_vec();
        if let Some(at) = protected_part(&rest, self.config.own_cid_len)
            && self.is_for_session(&rest, at)
        {
            let mut protected = rest.split_off(at);
            self.log.feed(self.session.as_mut(), &mut protected, self.config.own_cid_len);
        }
        if rest.is_empty() {
            return;
        }
        match &self.handshake {
            Some(handshake) if !handshake.is_stranger(&rest) => {
                self.feed_handshake(now_ms, &mut rest);
            }
            _ => self.greet(now_ms, &mut rest),
        }
    }

    /// By Connection ID; without one by trying, if there is a handshake it could be for.
    fn is_for_session(&self, datagram: &[u8], at: usize) -> bool {
        let Some(mut session) = self.session else { return false };
        let record = Record::parse(datagram, at, self.config.own_cid_len).unwrap();
        if session.own_cid_len() > 0 {
            return datagram[record.cid()] == self.session_cid;
        }
        self.handshake.is_none() || session.open(&record, &mut datagram.to_vec()).is_ok()
    }

    fn greet(&mut self, now_ms: u64, datagram: &mut [u8]) {
        let mut out = [0; OUT_BYTES];
        match greet(&self.jar, now_ms, PEER, datagram, &mut out) {
            Greeting::Verify(len) => {
                assert!(len <= datagram.len(), "no amplification");
                self.log.outbox.push(out[..len].to_vec());
            }
            Greeting::Proven => {
                self.made += 1;
                let cid = self.own_cid();
                let earlier = server::session_id(datagram).and_then(|id| self.sessions.get(id));
                self.handshake = Some(server::Handshake::new(
                    &self.config,
                    now_ms,
                    self.unix_s,
                    &cid,
                    &self.randoms(),
                    earlier,
                ));
                self.feed_handshake(now_ms, datagram);
            }
            Greeting::Drop(drop) => self.log.drops.push(drop),
        }
    }

    fn randoms(&self) -> server::Randoms {
        server::Randoms {
            random: [self.made; 32],
            fake_key: [self.made ^ 0x80; 32],
            ephemeral_seed: [self.made ^ 0x40; 48],
            session_id: self.keeps_sessions.then_some([self.made; 32]),
        }
    }

    /// The Connection ID of the newest handshake.
    pub fn own_cid(&self) -> Vec<u8> {
        vec![self.made; self.config.own_cid_len]
    }

    fn feed_handshake(&mut self, now_ms: u64, datagram: &mut [u8]) {
        let handshake = self.handshake.as_mut().unwrap();
        let used = handshake.on_datagram(now_ms, datagram);
        self.settle(now_ms);
        if used < datagram.len() {
            self.log.feed(self.session.as_mut(), &mut datagram[used..], self.config.own_cid_len);
        }
    }

    /// Polls everything.
    pub fn settle(&mut self, now_ms: u64) {
        let Some(handshake) = &mut self.handshake else { return };
        let mut is_over = false;
        let mut held = Vec::new();
        while let Some(event) = handshake.poll_event() {
            match event {
                server::Event::CredentialWanted if self.answers_credentials => {
                    let answer = match handshake.claim().unwrap() {
                        Claim::Psk(IDENTITY) => Answer::Psk(PSK),
                        Claim::Psk(_) => Answer::Unknown,
                        Claim::RawPublicKey(_) | Claim::Certificate(_) => Answer::Known,
                    };
                    handshake.on_credential(now_ms, answer);
                }
                server::Event::CredentialWanted => {}
                server::Event::Established(established) => {
                    self.session = Some(established);
                    self.was_resumed = handshake.is_resumed();
                    if let Some(resumable) = handshake.resumable() {
                        self.sessions.insert(vec![self.made; 32], resumable);
                    }
                    self.session_cid = vec![self.made; self.config.own_cid_len];
                    is_over = true;
                }
                server::Event::Failed(failure) => {
                    self.log.failure = Some(failure);
                    is_over = true;
                }
            }
        }
        self.log.drops.extend(handshake.take_drop());
        let mut out = [0; OUT_BYTES];
        while let Some(len) = handshake.poll_transmit(&mut out) {
            self.log.outbox.push(out[..len].to_vec());
        }
        if is_over {
            held = handshake.take_held();
            assert_eq!(handshake.due_ms(), None, "nothing is due after the end");
            self.handshake = None;
        }
        self.log.feed(self.session.as_mut(), &mut held, self.config.own_cid_len);
    }

    pub fn on_due(&mut self, now_ms: u64) {
        if let Some(handshake) = &mut self.handshake {
            handshake.on_due(now_ms);
            self.settle(now_ms);
        }
    }

    pub fn due_ms(&self) -> Option<u64> {
        self.handshake.as_ref().and_then(server::Handshake::due_ms)
    }
}

impl ClientEnd {
    pub fn new(config: client::Config, now_ms: u64, seed: u8, own_cid: Option<&[u8]>) -> Self {
        Self::with_credential(config, now_ms, seed, own_cid, IDENTITY, PSK)
    }

    pub fn with_credential(
        config: client::Config,
        now_ms: u64,
        seed: u8,
        own_cid: Option<&[u8]>,
        identity: &[u8],
        psk: &[u8],
    ) -> Self {
        let (identity, psk) = (identity.to_vec(), Secret::new(psk));
        let credential = client::Credential::Psk { identity, psk };
        Self::start(config, now_ms, seed, own_cid, credential, None)
    }

    pub fn start(
        config: client::Config,
        now_ms: u64,
        seed: u8,
        own_cid: Option<&[u8]>,
        credential: client::Credential,
        session: Option<&client::Session>,
    ) -> Self {
        let (config, randoms) = (Arc::new(config), client::Randoms::expand(&[seed; 32]));
        let handshake =
            client::Handshake::new(&config, now_ms, UNIX_S, own_cid, &randoms, credential, session);
        let mut end = Self { handshake: Some(handshake), ..Self::default() };
        end.settle();
        end
    }

    pub fn on_datagram(&mut self, now_ms: u64, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        let mut at = 0;
        if let Some(handshake) = &mut self.handshake {
            at = handshake.on_datagram(now_ms, &mut datagram);
            self.log.drops.extend(handshake.take_drop());
            self.settle();
        }
        let own_cid_len = self.session.map_or(0, |session| session.own_cid_len());
        if at < datagram.len()
            && let Some(protected) = protected_part(&datagram[at..], own_cid_len)
        {
            self.log.feed(self.session.as_mut(), &mut datagram[at + protected..], own_cid_len);
        }
    }

    /// Polls everything.
    pub fn settle(&mut self) {
        let Some(handshake) = &mut self.handshake else { return };
        let mut is_over = true;
        match handshake.poll_event() {
            None => is_over = false,
            Some(client::Event::Established(established)) => {
                self.session = Some(established);
                self.kept = handshake.session().cloned();
                self.is_resumed = handshake.is_resumed();
            }
            Some(client::Event::Failed(failure)) => self.log.failure = Some(failure),
        }
        let mut out = [0; OUT_BYTES];
        while let Some(len) = handshake.poll_transmit(&mut out) {
            self.log.outbox.push(out[..len].to_vec());
        }
        if is_over {
            let mut held = handshake.take_held();
            self.handshake = None;
            let own_cid_len = self.session.map_or(0, |session| session.own_cid_len());
            self.log.feed(self.session.as_mut(), &mut held, own_cid_len);
        }
    }

    pub fn on_due(&mut self, now_ms: u64) {
        if let Some(handshake) = &mut self.handshake {
            handshake.on_due(now_ms);
            self.settle();
        }
    }

    pub fn due_ms(&self) -> Option<u64> {
        self.handshake.as_ref().and_then(client::Handshake::due_ms)
    }
}

impl Log {
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.outbox)
    }

    /// What an owner does with the records of a session.
    pub fn feed(
        &mut self,
        session: Option<&mut Established>,
        datagram: &mut [u8],
        own_cid_len: usize,
    ) {
        let Some(session) = session else { return };
        let mut at = 0;
        while at < datagram.len() {
            let record = match Record::parse(datagram, at, own_cid_len) {
                Ok(record) => record,
                Err(drop) => return self.drops.push(drop),
            };
            at = record.end();
            match session.open(&record, datagram) {
                Err(drop) => self.drops.push(drop),
                Ok(opened) if opened.content_type == ContentType::APPLICATION_DATA => {
                    self.newest.push(opened.is_newest);
                    self.application.push(datagram[opened.content].to_vec());
                }
                Ok(opened) => {
                    let control = on_control(opened.content_type, &datagram[opened.content]);
                    self.controls.push(control);
                    self.answer(control, session);
                }
            }
        }
    }

    fn answer(&mut self, control: Control, session: &mut Established) {
        let mut out = [0; OUT_BYTES];
        let len = match control {
            Control::Ignored(drop) => return self.drops.push(drop),
            Control::CloseNotify => session.close_notify(&mut out).ok(),
            Control::FinishedAgain => session.last_flight_again(&mut out),
            Control::Renegotiation => session.no_renegotiation(&mut out).ok(),
            Control::Path(PathMessage::Challenge(cookie)) => {
                session.path_message(PathMessage::Response(cookie), &mut out)
            }
            Control::FatalAlert(_) | Control::Path(_) => return,
        };
        self.outbox.extend(len.map(|len| out[..len].to_vec()));
    }
}

/// The PSK identity that was claimed.
pub fn identity(handshake: &server::Handshake) -> &[u8] {
    match handshake.claim() {
        Some(Claim::Psk(identity)) => identity,
        other => panic!("{other:?}"),
    }
}

/// A client and a server, nothing lost: both established, or what they became.
pub fn shake_hands(
    server_config: server::Config,
    client_config: client::Config,
    own_cid: Option<&[u8]>,
) -> (ClientEnd, ServerEnd) {
    let mut server = ServerEnd::new(server_config);
    let mut client = ClientEnd::new(client_config, 0, 9, own_cid);
    exchange(&mut client, &mut server, 0);
    (client, server)
}

/// Passes on everything both ends have to say, in order, until they are silent.
pub fn exchange(client: &mut ClientEnd, server: &mut ServerEnd, now_ms: u64) {
    loop {
        let up = client.log.take();
        let down = server.log.take();
        if up.is_empty() && down.is_empty() {
            return;
        }
        for datagram in &up {
            server.on_datagram(now_ms, datagram);
        }
        for datagram in &down {
            client.on_datagram(now_ms, datagram);
        }
    }
}

/// Seals application data of an end.
pub fn application(session: &mut Established, content: &[u8]) -> Vec<u8> {
    let mut out = vec![0; OUT_BYTES];
    let len = session.seal(ContentType::APPLICATION_DATA, content, &mut out).unwrap();
    out.truncate(len);
    out
}

/// The first bytes of each record in a datagram: type and epoch, as a figure would show them.
pub fn records(datagram: &[u8], cid_len: usize) -> Vec<(u8, u16)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < datagram.len() {
        let record = Record::parse(datagram, at, cid_len).unwrap();
        found.push((record.content_type.0, record.epoch));
        at = record.end();
    }
    found
}

/// A ClientHello's body in one record of epoch 0.
pub fn hello_datagram(hello: &ClientHello<'_>, message_seq: u16, sequence: u64) -> Vec<u8> {
    let mut body = Vec::new();
    hello.write(&mut body);
    message_datagram(1, message_seq, sequence, &body)
}

/// A whole handshake message in one record of epoch 0.
pub fn message_datagram(msg_type: u8, message_seq: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    let mut datagram = vec![22, 0xfe, 0xfd, 0, 0];
    datagram.extend_from_slice(&sequence.to_be_bytes()[2..]);
    datagram.extend_from_slice(&(body.len() as u16 + 12).to_be_bytes());
    datagram.push(msg_type);
    datagram.extend_from_slice(&len[1..]);
    datagram.extend_from_slice(&message_seq.to_be_bytes());
    datagram.extend_from_slice(&[0; 3]);
    datagram.extend_from_slice(&len[1..]);
    datagram.extend_from_slice(body);
    datagram
}

/// The first whole handshake message of a datagram: its type, number and body.
pub fn first_message(datagram: &[u8]) -> (u8, u16, &[u8]) {
    let record = Record::parse(datagram, 0, 0).unwrap();
    let (fragment, _) = Fragment::parse(&datagram[record.fragment()]).unwrap();
    assert!(fragment.is_whole());
    (fragment.msg_type.0, fragment.message_seq, fragment.body)
}

/// Small reproducible randomness (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound.max(1) as u64) as usize
    }
    pub fn percent(&mut self, chance: u64) -> bool {
        self.roll() % 100 < chance
    }
}
