//! How does OpenSSL shake hands in memory? The server with the cookie exchange, as DTLS servers do.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::ssl::{
    ErrorCode, ShutdownState, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions,
    SslSessionCacheMode, SslStream, SslVerifyMode,
};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use tidegate_crypto::agreement::Group;
use tidegate_dtls::client::Session;

use super::modes::{Credentials, IDENTITY, Mode, PSK};
use super::{Client, Server};

struct Foreign {
    context: SslContext,
    stream: Option<SslStream<Link>>,
    is_established: bool,
}

/// Datagrams toward the server, and its own.
#[derive(Default)]
struct Link {
    inbox: VecDeque<Vec<u8>>,
    outbox: Vec<Vec<u8>>,
}

/// `None` when OpenSSL does not have the mode.
pub(super) fn server(mode: &Mode, credentials: &Credentials) -> Option<Box<dyn Server>> {
    let suite = mode.openssl?;
    let mut builder = context(SslMethod::dtls_server(), suite, mode.group);
    builder.set_options(SslOptions::COOKIE_EXCHANGE);
    let cache = if mode.resumes { SslSessionCacheMode::SERVER } else { SslSessionCacheMode::OFF };
    builder.set_session_cache_mode(cache);
    builder.set_session_id_context(b"bench").expect("a short one");
    let key = PKey::hmac(&[42; 32]).expect("a key");
    builder.set_cookie_generate_cb(move |_, cookie| {
        let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
        signer.update(b"\x7f\x00\x00\x01\x16\x34")?;
        signer.sign(cookie)
    });
    let key = PKey::hmac(&[42; 32]).expect("a key");
    builder.set_cookie_verify_cb(move |_, cookie| {
        let mac = Signer::new(MessageDigest::sha256(), &key).and_then(|mut signer| {
            signer.update(b"\x7f\x00\x00\x01\x16\x34")?;
            signer.sign_to_vec()
        });
        mac.is_ok_and(|mac| mac == cookie)
    });
    if mode.is_x509 {
        let x509 = |der: &[u8]| X509::from_der(der).expect("a certificate");
        let key = PKey::private_key_from_der(&credentials.server.key).expect("a key");
        builder.set_certificate(&x509(&credentials.server.certificate)).expect("a certificate");
        builder.set_private_key(&key).expect("its key");
        let mut store = X509StoreBuilder::new().expect("memory");
        store.add_cert(x509(&credentials.authority)).expect("an authority");
        builder.set_cert_store(store.build());
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    } else {
        builder.set_psk_server_callback(|_, _identity, out| {
            out[..PSK.len()].copy_from_slice(PSK);
            Ok(PSK.len())
        });
    }
    Some(Box::new(Foreign { context: builder.build(), stream: None, is_established: false }))
}

fn context(method: SslMethod, suite: &str, group: Group) -> SslContextBuilder {
    let mut builder = SslContext::builder(method).expect("DTLS");
    builder.set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_TICKET);
    // Level 0: OpenSSL thinks eight bytes of tag too few.
    builder.set_cipher_list(&format!("{suite}:@SECLEVEL=0")).expect("the suite");
    let group = if group == Group::X25519 { "X25519" } else { "P-256" };
    builder.set_groups_list(group).expect("the group");
    builder
}

fn stream(context: &SslContext) -> SslStream<Link> {
    let mut ssl = Ssl::new(context).expect("memory");
    ssl.set_mtu(1_280).expect("an MTU");
    SslStream::new(ssl, Link::default()).expect("memory")
}

impl Server for Foreign {
    fn begin(&mut self) {
        if let Some(stream) = &mut self.stream {
            // Else OpenSSL takes the session for a broken one and forgets it.
            stream.set_shutdown(ShutdownState::SENT | ShutdownState::RECEIVED);
        }
        self.stream = Some(stream(&self.context));
        self.is_established = false;
    }

    fn on_datagram(&mut self, datagram: &mut [u8], answers: &mut Vec<Vec<u8>>) {
        let stream = self.stream.as_mut().expect("begun");
        stream.get_mut().inbox.push_back(datagram.to_vec());
        self.is_established = is_done(stream.accept());
        answers.append(&mut stream.get_mut().outbox);
    }

    fn is_established(&mut self) -> Option<bool> {
        let stream = self.stream.as_ref()?;
        self.is_established.then(|| stream.ssl().session_reused())
    }
}

struct ForeignClient {
    stream: SslStream<Link>,
    is_established: bool,
}

/// Clients of the modes with `is_ours_alone`.
pub(super) fn clients(mode: &Mode) -> impl Fn(&[u8; 32], Option<&Session>) -> Box<dyn Client> {
    let suite = mode.openssl.expect("a mode it has");
    let mut builder = context(SslMethod::dtls_client(), suite, mode.group);
    builder.set_psk_client_callback(|_, _hint, identity, key| {
        identity[..IDENTITY.len()].copy_from_slice(IDENTITY);
        identity[IDENTITY.len()] = 0;
        key[..PSK.len()].copy_from_slice(PSK);
        Ok(PSK.len())
    });
    let context = builder.build();
    move |_seed, _session| {
        let mut stream = stream(&context);
        let is_established = is_done(stream.connect());
        Box::new(ForeignClient { stream, is_established })
    }
}

impl Client for ForeignClient {
    fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize> {
        let outbox = &mut self.stream.get_mut().outbox;
        let datagram = if outbox.is_empty() { return None } else { outbox.remove(0) };
        out[..datagram.len()].copy_from_slice(&datagram);
        Some(datagram.len())
    }

    fn on_datagram(&mut self, datagram: &mut [u8]) {
        self.stream.get_mut().inbox.push_back(datagram.to_vec());
        self.is_established = is_done(self.stream.connect());
    }

    fn is_established(&mut self) -> Option<bool> {
        self.is_established.then(|| self.stream.ssl().session_reused())
    }

    fn session(&self) -> Option<Session> {
        None
    }
}

fn is_done(result: Result<(), openssl::ssl::Error>) -> bool {
    if let Err(error) = &result {
        assert_eq!(error.code(), ErrorCode::WANT_READ, "{error}");
    }
    result.is_ok()
}

impl Read for Link {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let datagram = self.inbox.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let len = datagram.len().min(out.len());
        out[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }
}

impl Write for Link {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.outbox.push(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
