//! Who gets through to the API: over TLS, with a client's certificate, over a Unix socket?

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::harness::Server;
use crate::api::serve::{self, Listener};
use crate::config::TlsConfig;

/// An authority, and what it signed, as files.
struct Pki {
    dir: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new(dir: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(dir.join("ca.pem"), issuer.pem()).unwrap();
        Self { dir: dir.to_owned(), issuer }
    }

    /// Certificate and key of `name`, as PEM.
    fn leaf(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn config(&self, with_clients: bool) -> TlsConfig {
        let (certificate, key) = self.leaf("edge.test");
        let at = |name: &str| self.dir.join(name);
        std::fs::write(at("api.pem"), certificate).unwrap();
        crate::private_file::write(&at("api.key"), &key).unwrap();
        let client_ca = with_clients.then(|| at("ca.pem"));
        TlsConfig { certificate: at("api.pem"), key: at("api.key"), client_ca }
    }

    fn client(&self, own: Option<(String, String)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.issuer.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder =
            builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

/// The first line of the answer to `GET /health`, or why there is none.
async fn health(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<String> {
    stream.write_all(b"GET /health HTTP/1.0\r\nhost: edge.test\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

async fn over_tls(port: u16, config: ClientConfig) -> std::io::Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("edge.test").unwrap();
    health(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?).await
}

impl Server {
    async fn listen_with_tls(&self, config: &TlsConfig) -> u16 {
        let (listener, port) = listener().await;
        self.listens(Listener::Tcp(listener, Some(serve::tls(config).unwrap())));
        port
    }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Says this and waits for the other side to close; what it said until then.
async fn until_closed(mut stream: impl AsyncRead + AsyncWrite + Unpin, said: &[u8]) -> Vec<u8> {
    stream.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    // A close is one, however it is done.
    let _ = stream.read_to_end(&mut heard).await;
    heard
}

const HEAD: &str = "GET /health HTTP/1.1\r\nhost: edge.test\r\n\r\n";

/// Half a head, none at all, or none after an answer: the connection is closed, and only then.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_to_ask_is_cut_off() {
    let server = Server::start().await;
    let (listener, port) = listener().await;
    server.listens_for(Listener::Tcp(listener, None), Duration::from_millis(300));
    let open = || async move { TcpStream::connect(("127.0.0.1", port)).await.unwrap() };
    for (said, answers) in [(&HEAD[..20], 0), ("", 0), (HEAD, 1), (&[HEAD, "GET"].concat(), 1)] {
        let heard = until_closed(open().await, said.as_bytes()).await;
        let heard = String::from_utf8_lossy(&heard);
        assert_eq!(heard.matches("HTTP/1.1 200 ").count(), answers, "{said:?}: {heard}");
    }

    // The control: with more time half a head is waited for, and its other half answered.
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(&HEAD.as_bytes()[..20]).await.unwrap();
    until_closed(open().await, HEAD.as_bytes()).await;
    let rest = HEAD[20..].replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let heard = until_closed(slow, rest.as_bytes()).await;
    assert!(heard.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&heard));
    server.stop().await;
}

/// HTTP/2: no preface, a preface and no word after it, a head that does not end.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_over_http2_is_cut_off() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    /// HEADERS on stream 1 without END_HEADERS: `:method GET` and no more.
    const HEADERS: &[u8] = b"\0\0\x01\x01\x01\0\0\0\x01\x82";
    /// A frame of type PING begins so.
    const PING: &[u8] = b"\0\0\x08\x06\0";
    let server = Server::start().await;
    let pki = Pki::new(&server.data_dir());
    let (listener, port) = listener().await;
    let tls = serve::tls(&pki.config(false)).unwrap();
    server.listens_for(Listener::Tcp(listener, Some(tls)), Duration::from_millis(300));
    for (said, is_asked) in
        [(b"PRI".to_vec(), false), (PREFACE.to_vec(), true), ([PREFACE, HEADERS].concat(), true)]
    {
        let mut config = pki.client(None);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from("edge.test").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let heard = until_closed(connector.connect(name, stream).await.unwrap(), &said).await;
        let pinged = heard.windows(PING.len()).any(|window| window == PING);
        assert_eq!(pinged, is_asked, "{said:?}: {heard:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_api_answers_and_in_the_clear_it_does_not() {
    let server = Server::start().await;
    let pki = Pki::new(&server.data_dir());
    let port = server.listen_with_tls(&pki.config(false)).await;
    let answer = over_tls(port, pki.client(None)).await.unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
    let clear = health(TcpStream::connect(("127.0.0.1", port)).await.unwrap()).await;
    assert!(!clear.is_ok_and(|answer| answer.starts_with("HTTP")));
    let stranger = Pki::new(&server.data_dir());
    assert!(over_tls(port, stranger.client(None)).await.is_err(), "not its authority");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_the_certificate_asked_for_gets_no_answer() {
    let server = Server::start().await;
    let pki = Pki::new(&server.data_dir());
    let port = server.listen_with_tls(&pki.config(true)).await;
    let known = pki.client(Some(pki.leaf("client.test")));
    assert!(over_tls(port, known).await.unwrap().contains(" 200 "));
    let nobody = over_tls(port, pki.client(None)).await;
    assert!(!nobody.is_ok_and(|answer| answer.starts_with("HTTP")));
    let other = Pki::new(&std::env::temp_dir()).leaf("client.test");
    let stranger = over_tls(port, pki.client(Some(other))).await;
    assert!(!stranger.is_ok_and(|answer| answer.starts_with("HTTP")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_made_anew_and_never_taken_from_a_living_one() {
    let server = Server::start().await;
    let path = server.data_dir().join("api.sock");
    server.listens(Listener::Unix(serve::bind_unix(&path).unwrap()));
    let answer = health(UnixStream::connect(&path).await.unwrap()).await.unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
    assert!(serve::bind_unix(&path).is_err(), "somebody listens there");
    let left = server.data_dir().join("left.sock");
    drop(serve::bind_unix(&left).unwrap());
    assert!(serve::bind_unix(&left).is_ok(), "what a dead process left is replaced");
    let file = server.data_dir().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(serve::bind_unix(&file).is_err(), "no socket: it stays");
    server.stop().await;
}

#[test]
fn what_can_t_be_read_is_said_with_its_file() {
    let dir = std::env::temp_dir().join(format!("tidegate-tls-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&dir).unwrap();
    let good = Pki::new(&dir).config(true);
    assert!(serve::tls(&good).is_ok());
    let says = |config: &TlsConfig| serve::tls(config).err().unwrap_or_default();
    let missing = dir.join("none.pem");
    for config in [
        TlsConfig { certificate: missing.clone(), ..good.clone() },
        TlsConfig { key: missing.clone(), ..good.clone() },
        TlsConfig { client_ca: Some(missing), ..good.clone() },
    ] {
        assert!(says(&config).contains("none.pem"), "{}", says(&config));
    }
    let empty = TlsConfig { certificate: good.key.clone(), ..good };
    assert!(says(&empty).contains("no certificate"), "{}", says(&empty));
    std::fs::remove_dir_all(&dir).unwrap();
}
