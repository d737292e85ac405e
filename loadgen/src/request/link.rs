//! How does a device reach its server from a command line? A blocking socket, the DTLS machine and
//! one CoAP exchange at a time (RFC 7252 sections 4.2 and 5.2).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::Rng as _;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::option::Number;
use tidegate_coap::triage::{Triage, triage};
use tidegate_coap::writer::Writer;
use tidegate_dtls::Failure;
use tidegate_dtls::client::{Config, Credential, Randoms, Session};

use super::Uri;
use crate::device::{Device, End, OUT_BYTES};

/// A device and its socket.
pub(super) struct Link {
    pub(super) device: Device,
    socket: UdpSocket,
    server: SocketAddr,
    started: Instant,
    mid: u16,
}

/// What came back.
pub struct Reply {
    /// `None` when it was no CoAP.
    pub code: Option<Code>,
    /// As it came.
    pub payload: Vec<u8>,
}

/// First timeout of a Confirmable request; doubles (RFC 7252 section 4.8, without the jitter).
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// What is waited for more when something came back without CoAP: a server may write in pieces.
const RAW_PAUSE: Duration = Duration::from_millis(300);

impl Link {
    pub(super) fn connect(
        server: SocketAddr,
        config: &Arc<Config>,
        credential: Credential,
        own_cid: Option<&[u8]>,
        session: Option<&Session>,
    ) -> io::Result<Self> {
        let mut rng = rand::rng();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let (unix_s, randoms) = (since_1970.as_secs(), Randoms::expand(&rng.random()));
        let device = Device::new(config, 0, unix_s, own_cid, &randoms, credential, session);
        let socket = socket(server)?;
        Ok(Self { device, socket, server, started: Instant::now(), mid: rng.random() })
    }

    /// Runs the handshake to its end.
    pub(super) fn shake_hands(&mut self, timeout: Duration) -> io::Result<Result<(), Failure>> {
        let deadline = Instant::now() + timeout;
        while !self.device.is_up() {
            if let Some(End::Failed(failure)) = self.device.end() {
                self.flush()?;
                return Ok(Err(failure));
            }
            if !self.wait(deadline)? {
                return Ok(Err(Failure::Timeout));
            }
        }
        self.flush()?;
        Ok(Ok(()))
    }

    /// Asks, and again until it is acknowledged, and waits for the response.
    pub(super) fn exchange(
        &mut self,
        uri: &Uri,
        method: Code,
        payload: &[u8],
        timeout: Duration,
    ) -> io::Result<Option<Reply>> {
        let deadline = Instant::now() + timeout;
        let token = Token::new(&rand::rng().random::<[u8; 4]>());
        self.mid = self.mid.wrapping_add(1);
        let request = request(uri, method, self.mid, &token, payload)?;
        let (mut again, mut pause) = (Some(Instant::now()), ACK_TIMEOUT);
        loop {
            if again.is_some_and(|again| Instant::now() >= again) {
                self.send(&request)?;
                again = Some(Instant::now() + pause);
                pause *= 2;
            }
            while let Some(bytes) = self.device.take_message() {
                let Ok(message) = Message::parse(&bytes) else { continue };
                match triage(&message) {
                    Triage::EmptyAck if message.mid == self.mid => again = None,
                    Triage::Reset if message.mid == self.mid => return Ok(None),
                    Triage::Response if message.token == token => {
                        if message.ty == Type::Con {
                            self.send(&empty(Type::Ack, message.mid))?;
                        }
                        let payload = message.payload.to_vec();
                        return Ok(Some(Reply { code: Some(message.code), payload }));
                    }
                    Triage::Request | Triage::Ping => self.send(&empty(Type::Rst, message.mid))?,
                    _ => {}
                }
            }
            let until = again.map_or(deadline, |again| again.min(deadline));
            if !self.device.is_up() || (!self.wait(until)? && Instant::now() >= deadline) {
                return Ok(None);
            }
        }
    }

    /// Sends bytes that are no CoAP and returns what comes back.
    pub(super) fn exchange_raw(
        &mut self,
        payload: &[u8],
        timeout: Duration,
    ) -> io::Result<Option<Reply>> {
        self.send(payload)?;
        let mut deadline = Instant::now() + timeout;
        let mut heard: Option<Vec<u8>> = None;
        loop {
            while let Some(bytes) = self.device.take_message() {
                heard.get_or_insert_default().extend(bytes);
                deadline = deadline.min(Instant::now() + RAW_PAUSE);
            }
            if !self.device.is_up() || !self.wait(deadline)? {
                return Ok(heard.map(|payload| Reply { code: None, payload }));
            }
        }
    }

    /// From now on another source port.
    pub(super) fn rebind(&mut self) -> io::Result<()> {
        self.socket = socket(self.server)?;
        Ok(())
    }

    /// Says close_notify.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let mut out = [0; OUT_BYTES];
        if let Some(len) = self.device.close(&mut out) {
            self.put(&out[..len])?;
        }
        Ok(())
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut out = [0; OUT_BYTES];
        if let Some(len) = self.device.seal(message, &mut out) {
            self.put(&out[..len])?;
        }
        Ok(())
    }

    /// Sends what the device has to say by itself.
    fn flush(&mut self) -> io::Result<()> {
        let mut out = [0; OUT_BYTES];
        while let Some(len) = self.device.poll_transmit(&mut out) {
            self.put(&out[..len])?;
        }
        Ok(())
    }

    fn put(&self, datagram: &[u8]) -> io::Result<()> {
        match self.socket.send(datagram) {
            // Nobody was at that port: the timers decide.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            sent => sent.map(|_| ()),
        }
    }

    /// Until the next datagram, the device's timer or the deadline; false at the deadline.
    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        self.flush()?;
        let due = self.device.due_ms().map(|ms| self.started + Duration::from_millis(ms));
        let until = due.map_or(deadline, |due| due.min(deadline));
        let pause = until.saturating_duration_since(Instant::now());
        self.socket.set_read_timeout(Some(pause.max(Duration::from_millis(1))))?;
        let mut datagram = [0; 1 << 14];
        match self.socket.recv(&mut datagram) {
            Ok(len) => self.device.on_datagram(self.now_ms(), &mut datagram[..len]),
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error),
        }
        let now_ms = self.now_ms();
        if self.device.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            self.device.on_due(now_ms);
        }
        self.flush()?;
        Ok(Instant::now() < deadline)
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

fn request(
    uri: &Uri,
    method: Code,
    mid: u16,
    token: &Token,
    payload: &[u8],
) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 1_280];
    let mut writer = Writer::new(&mut buffer, Type::Con, method, mid, token);
    for segment in &uri.path {
        writer.option(Number::URI_PATH, segment.as_bytes());
    }
    for part in &uri.query {
        writer.option(Number::URI_QUERY, part.as_bytes());
    }
    if !payload.is_empty() {
        writer.payload(payload);
    }
    let len = writer.finish().map_err(|_| io::Error::other("the request is too long"))?;
    Ok(buffer[..len].to_vec())
}

fn socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    Ok(socket)
}

fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | ConnectionRefused)
}
