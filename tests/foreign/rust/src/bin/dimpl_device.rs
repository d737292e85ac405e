//! How does dimpl carry a device's bytes? PSK and X.509; the application judges the server's
//! certificate, here with rustls's verifier.

use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use dimpl::crypto::Dtls12CipherSuite;
use dimpl::{Config, Dtls, DtlsCertificate, Output, PskResolver};
use foreign_devices::{Fallible, Options, end};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

fn main() -> ! {
    end(run())
}

fn run() -> Fallible<()> {
    let options = Options::from_command_line()?;
    let mut builder =
        Config::builder().dtls12_cipher_suites(&[Dtls12CipherSuite::from_u16(options.code()?)]);
    builder = builder.dtls13_cipher_suites(&[]);
    if let Some((identity, key)) = options.psk()? {
        builder = builder.with_psk_client(identity, Arc::new(Key(key)));
    }
    let config = Arc::new(builder.build()?);
    if options.again() {
        let (_never, silent) = channel();
        Session::start(&options, &config)?.runs(&silent, true)?;
    }
    Session::start(&options, &config)?.runs(&stdin(), false)
}

/// Chunks of stdin; disconnected at its end.
fn stdin() -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 1500];
        while let Ok(n @ 1..) = std::io::stdin().read(&mut bytes) {
            if send.send(bytes[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    receive
}

struct Key(Vec<u8>);

impl PskResolver for Key {
    fn resolve(&self, _identity: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.clone())
    }
}

struct Session<'a> {
    options: &'a Options,
    dtls: Dtls,
    socket: UdpSocket,
    is_connected: bool,
    is_closed: bool,
}

impl<'a> Session<'a> {
    fn start(options: &'a Options, config: &Arc<Config>) -> Fallible<Self> {
        let mut dtls = if options.psk()?.is_some() {
            Dtls::new_12_psk(Arc::clone(config), Instant::now())
        } else {
            let (certificate, key) = options.certified()?;
            let certificate = DtlsCertificate {
                certificate: certificate.to_vec(),
                private_key: key.secret_pkcs8_der().to_vec(),
            };
            Dtls::new_12(Arc::clone(config), certificate, Instant::now())
        };
        dtls.set_active(true);
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(options.server)?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        Ok(Self { options, dtls, socket, is_connected: false, is_closed: false })
    }

    /// Shakes hands and carries bytes until either side ends it, or until the handshake is done.
    fn runs(&mut self, input: &Receiver<Vec<u8>>, only_handshake: bool) -> Fallible<()> {
        let mut datagram = [0; 2048];
        while !self.is_closed {
            self.dtls.handle_timeout(Instant::now())?;
            self.takes_output()?;
            if self.is_connected {
                match input.try_recv() {
                    Ok(bytes) => _ = self.dtls.send_application_data(&bytes)?,
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => return self.closes(),
                }
            }
            self.takes_output()?;
            if only_handshake && self.is_connected {
                return self.closes();
            }
            match self.socket.recv(&mut datagram) {
                Ok(n) => self.dtls.handle_packet(&datagram[..n])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn closes(&mut self) -> Fallible<()> {
        self.dtls.close()?;
        self.takes_output()
    }

    fn takes_output(&mut self) -> Fallible<()> {
        let mut buffer = vec![0; 4096];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => _ = self.socket.send(packet)?,
                Output::Connected => self.is_connected = true,
                Output::CloseNotify => self.is_closed = true,
                Output::PeerCert(leaf) => {
                    let name = ServerName::try_from(self.options.get("sni")?)?;
                    let leaf = CertificateDer::from_slice(leaf);
                    let verifier = self.options.verifier()?;
                    verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now())?;
                }
                Output::ApplicationData(bytes) => {
                    std::io::stdout().write_all(bytes)?;
                    std::io::stdout().flush()?;
                }
                Output::Timeout(_) => return Ok(()),
                _ => {}
            }
        }
    }
}
