//! How do our server and our client shake hands in memory? The server as a worker drives it: the
//! door, then a handshake.

use std::sync::Arc;

use rand::RngCore;
use tidegate_dtls::client::{self, Session};
use tidegate_dtls::cookie::{CookieJar, Greeting, PERIOD_MS, greet};
use tidegate_dtls::resumption::Resumable;
use tidegate_dtls::server::{self, Answer, Claim, Config, Event, Handshake, Randoms};

use super::modes::{Credentials, IDENTITY, Mode, PSK, UNIX_S};
use super::{Client, Server};

struct Ours {
    config: Arc<Config>,
    jar: CookieJar,
    keeps_sessions: bool,
    /// The session that can be resumed, by its id.
    kept: Option<([u8; 32], Resumable)>,
    /// The id of the session being made.
    session_id: Option<[u8; 32]>,
    handshake: Option<Handshake>,
    established: Option<bool>,
}

pub(super) fn server(mode: &Mode, credentials: &Credentials) -> Box<dyn Server> {
    Box::new(Ours {
        config: Arc::new(mode.server_config(credentials)),
        jar: CookieJar::new(0, &[42; 32], PERIOD_MS),
        keeps_sessions: mode.resumes,
        kept: None,
        session_id: None,
        handshake: None,
        established: None,
    })
}

/// An address and a port.
const PEER: &[u8] = b"\x7f\x00\x00\x01\x16\x34";

impl Server for Ours {
    fn begin(&mut self) {
        (self.handshake, self.established) = (None, None);
    }

    fn on_datagram(&mut self, datagram: &mut [u8], answers: &mut Vec<Vec<u8>>) {
        let mut out = [0; 2048];
        if self.handshake.is_none() {
            match greet(&self.jar, 0, PEER, datagram, &mut out) {
                Greeting::Verify(len) => return answers.push(out[..len].to_vec()),
                Greeting::Proven => self.open(datagram),
                Greeting::Drop(drop) => panic!("{drop:?}"),
            }
        }
        let Some(handshake) = &mut self.handshake else { return };
        handshake.on_datagram(0, datagram);
        while let Some(event) = handshake.poll_event() {
            match event {
                Event::CredentialWanted => {
                    let answer = match handshake.claim().expect("a claim") {
                        Claim::Psk(identity) if identity == IDENTITY => Answer::Psk(PSK),
                        Claim::Psk(_) => Answer::Unknown,
                        Claim::RawPublicKey(_) | Claim::Certificate(_) => Answer::Known,
                    };
                    handshake.on_credential(0, answer);
                }
                Event::Established(_) => {
                    self.established = Some(handshake.is_resumed());
                    if let (Some(id), Some(kept)) = (self.session_id, handshake.resumable()) {
                        self.kept = Some((id, kept));
                    }
                }
                Event::Failed(failure) => panic!("{failure:?}"),
            }
        }
        while let Some(len) = handshake.poll_transmit(&mut out) {
            answers.push(out[..len].to_vec());
        }
    }

    fn is_established(&mut self) -> Option<bool> {
        self.established
    }
}

impl Ours {
    fn open(&mut self, datagram: &[u8]) {
        let mut random = [0; 144];
        rand::rng().fill_bytes(&mut random);
        let part = |at: usize| random[at..at + 32].try_into().expect("32 bytes");
        self.session_id = self.keeps_sessions.then(|| part(112));
        let randoms = Randoms {
            random: part(0),
            fake_key: part(32),
            ephemeral_seed: random[64..112].try_into().expect("48 bytes"),
            session_id: self.session_id,
        };
        let offered = server::session_id(datagram);
        let kept = self.kept.as_ref().filter(|(id, _)| offered == Some(id.as_slice()));
        let kept = kept.map(|(_, resumable)| resumable);
        self.handshake = Some(Handshake::new(&self.config, 0, UNIX_S, &[], &randoms, kept));
    }
}

struct OurClient {
    handshake: client::Handshake,
    established: Option<bool>,
}

pub(super) fn clients(
    mode: &Mode,
    credentials: &Credentials,
) -> impl Fn(&[u8; 32], Option<&Session>) -> Box<dyn Client> + use<> {
    let config = Arc::new(mode.client_config(credentials));
    let credential = mode.credential(credentials);
    move |seed, session| {
        let randoms = client::Randoms::expand(seed);
        let credential = credential.clone();
        let handshake =
            client::Handshake::new(&config, 0, UNIX_S, None, &randoms, credential, session);
        Box::new(OurClient { handshake, established: None })
    }
}

impl Client for OurClient {
    fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize> {
        self.handshake.poll_transmit(out)
    }

    fn on_datagram(&mut self, datagram: &mut [u8]) {
        self.handshake.on_datagram(0, datagram);
        match self.handshake.poll_event() {
            Some(client::Event::Established(_)) => {
                self.established = Some(self.handshake.is_resumed());
            }
            Some(client::Event::Failed(failure)) => panic!("{failure:?}"),
            None => {}
        }
    }

    fn is_established(&mut self) -> Option<bool> {
        self.established
    }

    fn session(&self) -> Option<Session> {
        self.handshake.session().cloned()
    }
}
