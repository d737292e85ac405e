//! How does dimpl shake hands in memory? A sans-IO server as ours is, on the RustCrypto crates,
//! which are its fastest for a pre-shared key; it has that one suite of ours.

use std::sync::Arc;
use std::time::Instant;

use dimpl::crypto::rust_crypto::default_provider;
use dimpl::{Config, Dtls, Output, PskResolver};

use super::Server;
use super::modes::{IDENTITY, Mode, PSK};
use tidegate_dtls::Suite;

struct Foreign {
    config: Arc<Config>,
    dtls: Option<Dtls>,
    is_established: bool,
}

/// Everybody's key.
struct OneKey;

impl PskResolver for OneKey {
    fn resolve(&self, identity: &[u8]) -> Option<Vec<u8>> {
        (identity == IDENTITY).then(|| PSK.to_vec())
    }
}

/// `None` when dimpl does not have the mode.
pub(super) fn server(mode: &Mode) -> Option<Box<dyn Server>> {
    if mode.suite != Suite::PskAes128Ccm8 || mode.resumes {
        return None;
    }
    let config = Config::builder()
        .with_crypto_provider(default_provider())
        .with_psk_server(None, Arc::new(OneKey))
        .build()
        .expect("a configuration");
    Some(Box::new(Foreign { config: Arc::new(config), dtls: None, is_established: false }))
}

impl Server for Foreign {
    fn begin(&mut self) {
        let mut dtls = Dtls::new_12_psk(Arc::clone(&self.config), Instant::now());
        dtls.set_active(false);
        (self.dtls, self.is_established) = (Some(dtls), false);
    }

    fn on_datagram(&mut self, datagram: &mut [u8], answers: &mut Vec<Vec<u8>>) {
        let dtls = self.dtls.as_mut().expect("begun");
        dtls.handle_packet(datagram).expect("a handshake");
        dtls.handle_timeout(Instant::now()).expect("a handshake");
        let mut out = [0; 2_048];
        loop {
            match dtls.poll_output(&mut out) {
                Output::Packet(packet) => answers.push(packet.to_vec()),
                Output::Connected => self.is_established = true,
                Output::Timeout(_) => return,
                _ => {}
            }
        }
    }

    fn is_established(&mut self) -> Option<bool> {
        self.is_established.then_some(false)
    }
}
