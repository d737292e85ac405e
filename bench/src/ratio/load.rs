//! What keeps a server busy in a side-by-side run? Devices that each have a socket and one request
//! on its way: bare datagrams for an echo, CON PUTs over DTLS with a Connection ID for an edge.
//!
//! The same loop sends both, so that two servers see the same load: a closed loop, whose replies
//! are all opened and looked at. It runs in this process, on the core the process is pinned to.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use tidegate_coap::code::Code;
use tidegate_coap::message::{self, Message, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::Established;
use tidegate_dtls::client::{Config, Credential, Randoms};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_loadgen::device::{Device, OUT_BYTES};

/// What the devices send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many devices, each with one request on its way.
    pub devices: usize,
    /// Uri-Path of the PUTs.
    pub path: &'static str,
    /// Their payload, bytes.
    pub payload_bytes: usize,
    /// The pre-shared key of all.
    pub key: &'static [u8],
    /// Whether a Connection ID is offered.
    pub connection_id: bool,
}

/// The devices of one server.
pub struct Load {
    poll: Poll,
    events: Events,
    speakers: Vec<Speaker>,
    path: &'static str,
    payload_bytes: usize,
}

/// One device.
struct Speaker {
    socket: UdpSocket,
    /// None: bare datagrams.
    session: Option<Box<Established>>,
    mid: u16,
    /// When it last sent.
    sent: Instant,
}

/// What came of one stretch of load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slice {
    /// Requests answered.
    pub completed: u64,
    /// Requests given up, and begun anew.
    pub lost: u64,
    /// How long it took.
    pub wall: Duration,
}

impl Load {
    /// Devices that send bare datagrams of `bytes` to an echo.
    pub fn bare(server: SocketAddr, devices: usize, bytes: usize) -> io::Result<Self> {
        let mut load = Self::new(devices, "", bytes)?;
        for number in 0..devices {
            let socket = connect(server)?;
            load.add(number, socket, None)?;
        }
        Ok(load)
    }

    /// Devices that have shaken hands with an edge.
    pub fn dtls(server: SocketAddr, plan: &Plan) -> io::Result<Self> {
        let mut load = Self::new(plan.devices, plan.path, plan.payload_bytes)?;
        let config = Arc::new(Config::default());
        for number in 0..plan.devices {
            let socket = connect(server)?;
            let session = shake_hands(&socket, &config, number, plan)?;
            load.add(number, socket, Some(Box::new(session)))?;
        }
        Ok(load)
    }

    fn new(devices: usize, path: &'static str, payload_bytes: usize) -> io::Result<Self> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(256));
        let speakers = Vec::with_capacity(devices);
        Ok(Self { poll, events, speakers, path, payload_bytes })
    }

    fn add(
        &mut self,
        number: usize,
        socket: StdSocket,
        session: Option<Box<Established>>,
    ) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let mut socket = UdpSocket::from_std(socket);
        self.poll.registry().register(&mut socket, Token(number), Interest::READABLE)?;
        self.speakers.push(Speaker { socket, session, mid: 0, sent: Instant::now() });
        Ok(())
    }

    /// How long a request and its reply are, bytes of UDP payload.
    pub fn datagram_bytes(&mut self) -> io::Result<(usize, usize)> {
        let first = &mut self.speakers[0];
        let sent = first.send(self.path, self.payload_bytes)?;
        let mut reply = [0; OUT_BYTES];
        let begun = Instant::now();
        loop {
            match first.socket.recv(&mut reply) {
                Ok(got) if first.accepts(&mut reply[..got]) => return Ok((sent, got)),
                Ok(_) => return Err(io::Error::other("an unexpected reply")),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if begun.elapsed() > PATIENCE => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => {}
            }
        }
    }

    /// Keeps every device's request on its way for so long, then waits for the last ones.
    pub fn run(&mut self, length: Duration) -> io::Result<Slice> {
        let mut slice = Slice::default();
        let (path, payload_bytes) = (self.path, self.payload_bytes);
        let begun = Instant::now();
        let mut on_their_way = 0;
        for speaker in &mut self.speakers {
            speaker.send(path, payload_bytes)?;
            on_their_way += 1;
        }
        let mut looked = begun;
        while on_their_way > 0 {
            self.poll.poll(&mut self.events, Some(TICK))?;
            let now = Instant::now();
            let goes_on = now - begun < length;
            for event in &self.events {
                let speaker = &mut self.speakers[event.token().0];
                while speaker.take_reply()? {
                    slice.completed += 1;
                    if goes_on {
                        speaker.sent = now;
                        speaker.send(path, payload_bytes)?;
                    } else {
                        on_their_way -= 1;
                    }
                }
            }
            if now - looked > TICK {
                looked = now;
                for speaker in &mut self.speakers {
                    // Of a stretch that is over nobody waits for lost ones longer than that.
                    if goes_on && now - speaker.sent > PATIENCE {
                        slice.lost += 1;
                        speaker.sent = now;
                        speaker.send(path, payload_bytes)?;
                    }
                }
                if !goes_on && now - begun > length + PATIENCE {
                    break;
                }
            }
        }
        slice.wall = begun.elapsed();
        Ok(slice)
    }
}

impl Speaker {
    /// Sends the next request; how long its datagram was.
    fn send(&mut self, path: &str, payload_bytes: usize) -> io::Result<usize> {
        let mut datagram = [0; OUT_BYTES];
        self.mid = self.mid.wrapping_add(1);
        let len = match &mut self.session {
            None => payload_bytes,
            Some(session) => {
                let mut message = [0; OUT_BYTES];
                let token = message::Token::new(&self.mid.to_be_bytes());
                let len = Writer::new(&mut message, Type::Con, Code::PUT, self.mid, &token)
                    .option(Number::URI_PATH, path.as_bytes())
                    .payload(&[b'x'; OUT_BYTES][..payload_bytes])
                    .finish()
                    .map_err(|error| io::Error::other(format!("{error:?}")))?;
                let content = &message[..len];
                let sealed = session.seal(ContentType::APPLICATION_DATA, content, &mut datagram);
                sealed.map_err(|error| io::Error::other(format!("{error:?}")))?
            }
        };
        match self.socket.send(&datagram[..len]) {
            // As on a network: whoever waits too long sends again.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(len),
        }
    }

    /// Whether the reply came.
    fn take_reply(&mut self) -> io::Result<bool> {
        let mut datagram = [0; OUT_BYTES];
        loop {
            match self.socket.recv(&mut datagram) {
                Ok(len) if self.accepts(&mut datagram[..len]) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a datagram answers the request on its way: from an edge, with 2.04.
    fn accepts(&mut self, datagram: &mut [u8]) -> bool {
        let Some(session) = &mut self.session else { return true };
        let Ok(record) = Record::parse(datagram, 0, 0) else { return false };
        let Ok(opened) = session.open(&record, datagram) else { return false };
        let message = Message::parse(&datagram[opened.content]);
        message.is_ok_and(|message| message.code == Code::CHANGED && message.mid == self.mid)
    }
}

fn connect(server: SocketAddr) -> io::Result<StdSocket> {
    let socket = StdSocket::bind(("127.0.0.1", 0))?;
    socket.connect(server)?;
    Ok(socket)
}

fn shake_hands(
    socket: &StdSocket,
    config: &Arc<Config>,
    number: usize,
    plan: &Plan,
) -> io::Result<Established> {
    let credential = Credential::Psk {
        identity: format!("bench-{number:08}").into_bytes(),
        psk: Secret::new(plan.key),
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let cid = plan.connection_id.then_some(&[][..]);
    let randoms = Randoms::expand(&seed);
    let mut device = Device::new(config, 0, unix_s, cid, &randoms, credential, None);
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut datagram = [0; OUT_BYTES];
    loop {
        while let Some(len) = device.poll_transmit(&mut datagram) {
            socket.send(&datagram[..len])?;
        }
        if let Some(session) = device.session() {
            return Ok(*session);
        }
        if let Some(end) = device.end() {
            return Err(io::Error::other(format!("a handshake: {end:?}")));
        }
        let len = socket.recv(&mut datagram)?;
        device.on_datagram(0, &mut datagram[..len]);
    }
}

const TICK: Duration = Duration::from_millis(100);
/// A request without reply is given up then.
const PATIENCE: Duration = Duration::from_millis(500);
