//! Can any sequence of datagrams harm a server's handshake or an established association?
//!
//! Input: how far a genuine client gets first and by which key exchange (1 byte), then datagrams,
//! each behind its length (2 bytes). The genuine client's own next datagram is fed in when a
//! length is 0xffff.

use std::sync::{Arc, LazyLock};

use tidegate_crypto::signature::SigningKey;
use tidegate_dtls::client::{Credential, Trust};
use tidegate_dtls::cookie::{CookieJar, Greeting, greet};
use tidegate_dtls::established::on_control;
use tidegate_dtls::record::{Record, protected_part};
use tidegate_dtls::server::{Answer, Claim, Identity};
use tidegate_dtls::suite::{KeyExchange, Suite};
use tidegate_dtls::{Established, client, server};
use zerocopy::FromBytes;

const CID: [u8; 6] = [7; 6];

/// The server's identity and a device's key, made anew in each run.
static KEYS: LazyLock<(Arc<Identity>, Arc<SigningKey>)> = LazyLock::new(|| {
    let key = || SigningKey::from_pkcs8(SigningKey::generate().as_bytes()).expect("a new key");
    let identity = Identity { key: key(), chain: Vec::new(), names: Vec::new() };
    (Arc::new(identity), Arc::new(key()))
});

struct Ends {
    jar: CookieJar,
    client: client::Handshake,
    server: Option<server::Handshake>,
    session: Option<Established>,
    config: Arc<server::Config>,
}

pub(crate) fn run(data: &[u8]) {
    let Some((steps, mut rest)) = data.split_first() else { return };
    if let Ok((garbage, datagram)) = Established::read_from_prefix(rest) {
        open_all(&mut { garbage }, &mut datagram.to_vec());
    }
    let key_exchange = [KeyExchange::Psk, KeyExchange::EcdhePsk, KeyExchange::EcdheEcdsa];
    let mut ends = Ends::new(key_exchange[usize::from(steps / 4 % 3)]);
    for _ in 0..steps % 4 {
        ends.genuine();
    }
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        if len == 0xffff {
            ends.genuine();
            rest = tail;
            continue;
        }
        let (datagram, tail) = tail.split_at(len.min(tail.len()));
        rest = tail;
        ends.the_server_hears(datagram);
        ends.client.on_datagram(0, &mut datagram.to_vec());
    }
}

impl Ends {
    fn new(key_exchange: KeyExchange) -> Self {
        let (server_key, device_key) = &*KEYS;
        let credential = if key_exchange.is_psk() {
            let psk = b"0123456789abcdef".to_vec().into();
            Credential::Psk { identity: b"device".to_vec(), psk }
        } else {
            Credential::RawPublicKey { key: Arc::clone(device_key) }
        };
        let raw_public_keys = vec![server_key.key.spki().to_vec()];
        let config = Arc::new(client::Config {
            suites: Suite::of(key_exchange).collect(),
            trust: Trust { raw_public_keys, ..Trust::default() },
            ..client::Config::default()
        });
        let (cid, randoms) = (Some(&b"me"[..]), client::Randoms::expand(&[1; 32]));
        let client = client::Handshake::new(&config, 0, 0, cid, &randoms, credential, None);
        let identities = vec![Arc::clone(server_key)];
        let own_cid_len = CID.len();
        let config = Arc::new(server::Config { own_cid_len, identities, ..Default::default() });
        let jar = CookieJar::new(0, &[3; 32], 1_000);
        Self { jar, client, server: None, session: None, config }
    }

    /// The genuine client's next flight, to the server and back.
    fn genuine(&mut self) {
        let mut out = [0; 2048];
        while let Some(len) = self.client.poll_transmit(&mut out) {
            self.the_server_hears(&out[..len]);
        }
        while let Some(len) = self.server.as_mut().and_then(|s| s.poll_transmit(&mut out)) {
            self.client.on_datagram(0, &mut out[..len]);
        }
    }

    fn the_server_hears(&mut self, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        if let (Some(session), Some(at)) = (&mut self.session, protected_part(&datagram, CID.len()))
        {
            open_all(session, &mut datagram[at..]);
        }
        let is_ours = self.server.as_ref().is_some_and(|s| !s.is_stranger(&datagram));
        if !is_ours {
            let mut out = [0; 64];
            match greet(&self.jar, 0, b"peer", &datagram, &mut out) {
                Greeting::Proven => {
                    let randoms = server::Randoms {
                        random: [2; 32],
                        fake_key: [9; 32],
                        ephemeral_seed: [4; 48],
                        session_id: None,
                    };
                    let new = server::Handshake::new(&self.config, 0, 0, &CID, &randoms, None);
                    self.server = Some(new);
                }
                Greeting::Verify(len) => {
                    assert!(len <= datagram.len(), "amplified");
                    self.client.on_datagram(0, &mut out[..len]);
                    return;
                }
                Greeting::Drop(_) => return,
            }
        }
        let Some(server) = &mut self.server else { return };
        let used = server.on_datagram(0, &mut datagram);
        assert!(used <= datagram.len());
        let bound = self.config.handshake_bytes_max() + size_of::<server::Handshake>();
        assert!(server.bytes() <= bound, "{} bytes", server.bytes());
        while let Some(event) = server.poll_event() {
            match event {
                server::Event::CredentialWanted => {
                    let answer = match server.claim() {
                        Some(Claim::Psk(b"device")) => Answer::Psk(b"0123456789abcdef"),
                        Some(Claim::RawPublicKey(spki)) => {
                            assert!(spki == KEYS.1.spki(), "proven without the private key");
                            Answer::Known
                        }
                        _ => Answer::Unknown,
                    };
                    server.on_credential(0, answer);
                }
                server::Event::Established(established) => self.session = Some(established),
                server::Event::Failed(_) => {}
            }
        }
    }
}

fn open_all(session: &mut Established, datagram: &mut [u8]) {
    let mut at = 0;
    while let Ok(record) = Record::parse(datagram, at, session.own_cid_len()) {
        at = record.end();
        if let Ok(opened) = session.open(&record, datagram) {
            on_control(opened.content_type, &datagram[opened.content]);
        }
    }
    let mut out = [0; 256];
    let _ = session.last_flight_again(&mut out);
    let _ = session.no_renegotiation(&mut out);
}
