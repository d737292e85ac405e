//! Where does the API listen? On loopback and a Unix socket in the clear, elsewhere only over TLS.
//! Who is slow to ask is cut off: the head of a request has its time, as has an idle connection.
//!
//! *Why not warp's own server:* it takes no TLS, and an operation wants to know where its caller
//! is.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::{Api, filter};
use crate::config::TlsConfig;
use crate::iam::caller::Peer;
use crate::private_file;

/// One place where the API listens.
pub enum Listener {
    /// On an address, over TLS when there is a configuration for it.
    Tcp(TcpListener, Option<Arc<ServerConfig>>),
    /// On a path.
    Unix(UnixListener),
}

/// A TLS handshake must have ended after so long.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections at the same time, of one listener. *Bound:* each holds a buffer or two.
const CONNECTIONS_MAX: usize = 4_096;
/// What an HTTP/2 client begins with (RFC 9113 section 3.4), bytes.
const PREFACE_BYTES: usize = 24;
/// Longest head of a request over HTTP/2, bytes; HTTP/1's is hyper's own.
const HEAD_BYTES_MAX: u32 = 64 << 10;
/// After an accept that failed for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stopping` turns true and what was under way has ended.
pub async fn serve(listener: Listener, api: Arc<Api>, mut stopping: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let stopped = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let mut stopped = std::pin::pin!(stopped);
    loop {
        let accept = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stopped => break,
        };
        let Ok(accepted) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (api, watcher) = (api.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _slot = slot;
            accepted.serve(api, watcher).await;
        });
    }
    graceful.shutdown().await;
}

/// Makes the socket, for its owner and group: who may open it may ask, with a key.
pub fn bind_unix(path: &Path) -> Result<UnixListener, String> {
    let say = |e: io::Error| format!("http.unix_socket {}: {e}", path.display());
    match fs::symlink_metadata(path) {
        Ok(about) if about.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(say(io::ErrorKind::AddrInUse.into()));
            }
            fs::remove_file(path).map_err(say)?;
        }
        Ok(_) => return Err(say(io::ErrorKind::AlreadyExists.into())),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(say)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(say)?;
    Ok(listener)
}

/// Reads certificate, key and, when clients must have one, the authorities of their certificates.
pub fn tls(config: &TlsConfig) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(&config.certificate)?;
    let of = |what: &dyn std::fmt::Display| format!("{}: {what}", config.key.display());
    let key = private_file::read_of_group(&config.key)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| of(&e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| of(&e))?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let say = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| say(&e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|e| say(&e))?)
        }
    };
    let mut tls = builder.with_single_cert(chain, key).map_err(|e| of(&e))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let say = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| say(&e))?.collect();
    let found = found.map_err(|e| say(&e))?;
    if found.is_empty() { Err(say(&"there is no certificate in it")) } else { Ok(found) }
}

/// A connection, before any TLS.
enum Accepted {
    Tcp(tokio::net::TcpStream, SocketAddr, Option<Arc<ServerConfig>>),
    Unix(tokio::net::UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, tls) => {
                let (stream, from) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream, from, tls.clone()))
            }
            Self::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

impl Accepted {
    async fn serve(self, api: Arc<Api>, watcher: Watcher) {
        match self {
            Self::Unix(stream) => of_http1(stream, Peer::default(), api, watcher).await,
            Self::Tcp(stream, from, None) => {
                let peer = Peer { address: Some(from.ip().to_canonical()), is_secure: false };
                of_http1(stream, peer, api, watcher).await;
            }
            Self::Tcp(stream, from, Some(tls)) => {
                let peer = Peer { address: Some(from.ip().to_canonical()), is_secure: true };
                let handshake = TlsAcceptor::from(tls).accept(stream);
                match tokio::time::timeout(HANDSHAKE, handshake).await {
                    Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                        of_http2(stream, peer, api, watcher).await;
                    }
                    Ok(Ok(stream)) => of_http1(stream, peer, api, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%from, %error, "no TLS with this client"),
                    Err(_) => tracing::debug!(%from, "a TLS handshake took too long"),
                }
            }
        }
    }
}

/// HTTP/1: the time for a head begins with the connection, and anew when an answer has left.
async fn of_http1(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    api: Arc<Api>,
    watcher: Watcher,
) {
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(api.bounds.head_timeout);
    connection(server, stream, peer, api, watcher).await;
}

/// HTTP/2: who does not begin in that time, or does not answer a PING in it, is gone. Nothing may
/// stand between the frames of a head (RFC 9113 section 6.10), so half a head answers no PING.
async fn of_http2(
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    api: Arc<Api>,
    watcher: Watcher,
) {
    let head_timeout = api.bounds.head_timeout;
    let mut preface = [0; PREFACE_BYTES];
    match tokio::time::timeout(head_timeout, stream.read_exact(&mut preface)).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return tracing::debug!("a client said nothing"),
    }
    let (read, write) = tokio::io::split(stream);
    let stream = tokio::io::join(io::Cursor::new(preface).chain(read), write);
    let mut server = auto::Builder::new(TokioExecutor::new()).http2_only();
    let mut http2 = server.http2();
    http2.timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES_MAX);
    http2.keep_alive_interval(head_timeout).keep_alive_timeout(head_timeout);
    connection(server, stream, peer, api, watcher).await;
}

/// Answers what one connection asks, each request with where it came from.
async fn connection(
    server: auto::Builder<TokioExecutor>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    api: Arc<Api>,
    watcher: Watcher,
) {
    let service = TowerToHyperService::new(warp::service(filter(api, peer)));
    let served = server.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served.into_owned()).await {
        tracing::debug!(error, "a client went away");
    }
}
