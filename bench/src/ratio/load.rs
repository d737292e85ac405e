//! What keeps a server busy in a side-by-side run? Sockets that each have one request on its way:
//! bare datagrams for an echo, CON PUTs in the clear or over DTLS for an edge.
//!
//! The same loop sends all of them, so that two servers see the same load: a closed loop, whose
//! replies are all opened and looked at. It runs in this process, on the core the process is
//! pinned to. *Why bare datagrams are sealed too, and a record opened for each that is back:* else
//! an echo's load would be faster than an edge's, and a busier server takes fuller batches.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use tidegate_coap::code::Code;
use tidegate_coap::message::{self, Message, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_crypto::secret::Secret;
use tidegate_dataplane::slab::CID_BYTES;
use tidegate_dtls::client::{Config, Credential, Randoms};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::{Established, Suite};
use tidegate_loadgen::device::{Device, OUT_BYTES};

use super::scale;

/// What is sent, and by how many.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many sockets.
    pub sockets: usize,
    /// How many of them have a request on its way at a time, at most all.
    pub outstanding: usize,
    /// Uri-Path of the PUTs.
    pub path: &'static str,
    /// Their payload, or the length of bare datagrams, bytes.
    pub payload_bytes: usize,
    /// PSK identity of the devices, their number behind it.
    pub identity: &'static str,
    /// The pre-shared key of all.
    pub key: &'static [u8],
    /// Whether a Connection ID is offered.
    pub connection_id: bool,
    /// How many devices a socket has, which take turns; more than one need a Connection ID.
    pub devices_each: usize,
}

/// The devices of one server.
pub struct Load {
    poll: Poll,
    events: Events,
    speakers: Vec<Speaker>,
    /// Speakers without a request on its way, the next one first.
    idle: VecDeque<usize>,
    plan: Plan,
    /// Datagrams of a handshake, ours and the server's.
    flights: (u64, u64),
    /// How long each answer of the last stretch took, microseconds.
    waits: Histogram<u64>,
}

/// One socket.
struct Speaker {
    socket: UdpSocket,
    speech: Speech,
    mid: u16,
    /// When the request on its way left, if there is one.
    sent: Option<Instant>,
}

/// How a socket's requests go.
enum Speech {
    Bare(Box<Effort>),
    Clear,
    /// Devices that take turns, and whose turn it is.
    Dtls(Vec<Established>, usize),
}

/// The work of a device that is not one.
struct Effort {
    device: Established,
    /// A reply of an edge, sealed.
    reply: [u8; 64],
    reply_bytes: usize,
}

impl Effort {
    fn new(number: usize) -> Self {
        let (mut edge, device) = scale::ends(number, &[0; CID_BYTES]);
        let (mut message, mut reply) = ([0; 16], [0; 64]);
        let len =
            Writer::new(&mut message, Type::Ack, Code::CHANGED, 0, &message::Token::new(&[0; 2]))
                .finish()
                .expect("room for a header");
        let sealed = edge.seal(ContentType::APPLICATION_DATA, &message[..len], &mut reply);
        Self { device, reply, reply_bytes: sealed.expect("room for a record") }
    }

    /// Seals a request of the right length, or a shorter one where there is no room for a record.
    fn seal(&mut self, mid: u16, plan: &Plan, datagram: &mut [u8; OUT_BYTES]) {
        let mut message = [0; OUT_BYTES];
        let room = plan.payload_bytes.saturating_sub(self.device.overhead());
        let len = put(mid, plan, &mut message).min(room);
        let _ = self.device.seal(ContentType::APPLICATION_DATA, &message[..len], datagram);
    }

    /// Opens the reply once more.
    fn open(&self) -> bool {
        let (mut device, mut reply) = (self.device, self.reply);
        let reply = &mut reply[..self.reply_bytes];
        let Ok(record) = Record::parse(reply, 0, 0) else { return false };
        let Ok(opened) = device.open(&record, reply) else { return false };
        Message::parse(&reply[opened.content]).is_ok_and(|message| message.code == Code::CHANGED)
    }
}

/// What came of one stretch of load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slice {
    /// Requests answered.
    pub completed: u64,
    /// Requests answered, but not with 2.04.
    pub refused: u64,
    /// Requests given up, and begun anew.
    pub lost: u64,
    /// How long it took.
    pub wall: Duration,
}

impl Load {
    /// Bare datagrams to an echo.
    pub fn bare(server: SocketAddr, plan: &Plan) -> io::Result<Self> {
        Self::with(server, plan, |number, _| Ok(Speech::Bare(Box::new(Effort::new(number)))))
    }

    /// CoAP without security.
    pub fn clear(server: SocketAddr, plan: &Plan) -> io::Result<Self> {
        Self::with(server, plan, |_, _| Ok(Speech::Clear))
    }

    /// Devices that have shaken hands, one at each socket.
    pub fn dtls(server: SocketAddr, plan: &Plan) -> io::Result<Self> {
        let config = client_config();
        let mut flights = (0, 0);
        let mut load = Self::with(server, plan, |number, socket| {
            let devices = number * plan.devices_each..(number + 1) * plan.devices_each;
            let shake = |device| shake_hands(socket, &config, device, plan, &mut flights);
            Ok(Speech::Dtls(devices.map(shake).collect::<io::Result<_>>()?, 0))
        })?;
        let each = (plan.sockets * plan.devices_each) as u64;
        load.flights = (flights.0 / each, flights.1 / each);
        Ok(load)
    }

    /// Devices with sessions of an earlier life, the same number at each socket.
    pub fn adopted(
        server: SocketAddr,
        sockets: Vec<StdSocket>,
        sessions: Vec<Vec<Established>>,
        plan: &Plan,
    ) -> io::Result<Self> {
        let mut load = Self::empty(plan)?;
        for (socket, sessions) in sockets.into_iter().zip(sessions) {
            socket.connect(server)?;
            load.add(socket, Speech::Dtls(sessions, 0))?;
        }
        Ok(load)
    }

    fn with(
        server: SocketAddr,
        plan: &Plan,
        mut speech: impl FnMut(usize, &StdSocket) -> io::Result<Speech>,
    ) -> io::Result<Self> {
        let mut load = Self::empty(plan)?;
        for number in 0..plan.sockets {
            let socket = bind(server.ip())?;
            socket.connect(server)?;
            let speech = speech(number, &socket)?;
            load.add(socket, speech)?;
        }
        Ok(load)
    }

    fn empty(plan: &Plan) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(256),
            speakers: Vec::with_capacity(plan.sockets),
            idle: VecDeque::with_capacity(plan.sockets),
            plan: plan.clone(),
            flights: (0, 0),
            waits: Histogram::new_with_bounds(1, 60_000_000, 3).map_err(io::Error::other)?,
        })
    }

    fn add(&mut self, socket: StdSocket, speech: Speech) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let mut socket = UdpSocket::from_std(socket);
        let number = self.speakers.len();
        self.poll.registry().register(&mut socket, Token(number), Interest::READABLE)?;
        self.speakers.push(Speaker { socket, speech, mid: 0, sent: None });
        self.idle.push_back(number);
        Ok(())
    }

    /// Datagrams of one handshake, ours and the server's.
    pub fn flights(&self) -> (u64, u64) {
        self.flights
    }

    /// Has so many requests on their way from now on, at most one of each socket.
    pub fn at_a_time(&mut self, outstanding: usize) {
        self.plan.outstanding = outstanding;
    }

    /// How long the answers of the last stretch took, ms.
    pub fn wait_ms(&self, quantile: f64) -> f64 {
        self.waits.value_at_quantile(quantile) as f64 / 1e3
    }

    /// How long a request and its reply are, bytes of UDP payload.
    pub fn datagram_bytes(&mut self) -> io::Result<(usize, usize)> {
        let first = &mut self.speakers[0];
        let request_bytes = first.send(&self.plan)?;
        let mut reply = [0; OUT_BYTES];
        let begun = Instant::now();
        loop {
            match first.socket.recv(&mut reply) {
                Ok(len) if first.reply(&mut reply[..len]) == Some(true) => {
                    first.sent = None;
                    return Ok((request_bytes, len));
                }
                Ok(_) => return Err(io::Error::other("an unexpected reply")),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if begun.elapsed() > PATIENCE => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => {}
            }
        }
    }

    /// Keeps requests on their way for so long, then waits for the last ones.
    pub fn run(&mut self, length: Duration) -> io::Result<Slice> {
        let mut slice = Slice::default();
        self.waits.reset();
        let begun = Instant::now();
        let mut on_their_way = 0;
        while on_their_way < self.plan.outstanding
            && let Some(number) = self.idle.pop_front()
        {
            self.speakers[number].send(&self.plan)?;
            on_their_way += 1;
        }
        let mut looked = begun;
        while on_their_way > 0 {
            self.poll.poll(&mut self.events, Some(TICK))?;
            let now = Instant::now();
            let goes_on = now - begun < length;
            for event in &self.events {
                let number = event.token().0;
                let Some((sent, is_changed)) = self.speakers[number].take_reply()? else {
                    continue;
                };
                if is_changed {
                    self.waits.saturating_record((now - sent).as_micros() as u64);
                    slice.completed += 1;
                } else {
                    slice.refused += 1;
                }
                self.idle.push_back(number);
                on_their_way -= 1;
                if goes_on && let Some(next) = self.idle.pop_front() {
                    self.speakers[next].send(&self.plan)?;
                    on_their_way += 1;
                }
            }
            if now - looked > TICK {
                looked = now;
                for (number, speaker) in self.speakers.iter_mut().enumerate() {
                    if speaker.sent.is_none_or(|sent| now - sent < PATIENCE) {
                        continue;
                    }
                    slice.lost += 1;
                    if goes_on {
                        speaker.send(&self.plan)?;
                    } else {
                        speaker.sent = None;
                        self.idle.push_back(number);
                        on_their_way -= 1;
                    }
                }
            }
        }
        slice.wall = begun.elapsed();
        Ok(slice)
    }
}

impl Speaker {
    /// Sends the next request, of the next device; how long its datagram was.
    fn send(&mut self, plan: &Plan) -> io::Result<usize> {
        let mut datagram = [0; OUT_BYTES];
        self.mid = self.mid.wrapping_add(1);
        self.sent = Some(Instant::now());
        let len = match &mut self.speech {
            Speech::Bare(effort) => {
                effort.seal(self.mid, plan, &mut datagram);
                plan.payload_bytes
            }
            Speech::Clear => put(self.mid, plan, &mut datagram),
            Speech::Dtls(sessions, turn) => {
                *turn = (*turn + 1) % sessions.len();
                let mut message = [0; OUT_BYTES];
                let len = put(self.mid, plan, &mut message);
                let content = &message[..len];
                let session = &mut sessions[*turn];
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

    /// When the request left whose reply came, and whether that is the one wanted.
    fn take_reply(&mut self) -> io::Result<Option<(Instant, bool)>> {
        let mut datagram = [0; OUT_BYTES];
        loop {
            match self.socket.recv(&mut datagram) {
                Ok(len) if self.sent.is_some() => {
                    if let Some(is_changed) = self.reply(&mut datagram[..len]) {
                        return Ok(self.sent.take().map(|sent| (sent, is_changed)));
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a datagram that answers the request on its way is what is wanted: if CoAP, a 2.04.
    /// `None`: it answers nothing yet.
    fn reply(&mut self, datagram: &mut [u8]) -> Option<bool> {
        let message = match &mut self.speech {
            Speech::Bare(effort) => return effort.open().then_some(true),
            Speech::Clear => datagram,
            Speech::Dtls(sessions, turn) => {
                let record = Record::parse(datagram, 0, 0).ok()?;
                let opened = sessions[*turn].open(&record, datagram).ok()?;
                &mut datagram[opened.content]
            }
        };
        let message = Message::parse(message).ok()?;
        let is_reply = message.mid == self.mid && message.code != Code::EMPTY;
        is_reply.then_some(message.code == Code::CHANGED)
    }
}

/// Writes a request.
pub fn put(mid: u16, plan: &Plan, out: &mut [u8; OUT_BYTES]) -> usize {
    let token = message::Token::new(&mid.to_be_bytes());
    Writer::new(out, Type::Con, Code::PUT, mid, &token)
        .option(Number::URI_PATH, plan.path.as_bytes())
        .payload(&[b'x'; OUT_BYTES][..plan.payload_bytes])
        .finish()
        .expect("payloads of a bench fit")
}

/// A socket from which a server at `server` is reached.
pub fn bind(server: IpAddr) -> io::Result<StdSocket> {
    // Loopback by name, so that no route is looked up for each datagram.
    let own = if server.is_loopback() { server } else { IpAddr::from([0, 0, 0, 0]) };
    StdSocket::bind((own, 0))
}

/// A device with its socket, after its handshake.
pub fn established(
    server: SocketAddr,
    number: usize,
    plan: &Plan,
) -> io::Result<(StdSocket, Established)> {
    let socket = bind(server.ip())?;
    socket.connect(server)?;
    let session = shake_hands(&socket, &client_config(), number, plan, &mut (0, 0))?;
    Ok((socket, session))
}

/// A device that is about to shake hands.
pub fn device(config: &Arc<Config>, number: usize, plan: &Plan) -> Device {
    let credential = Credential::Psk {
        identity: format!("{}{number}", plan.identity).into_bytes(),
        psk: Secret::new(plan.key),
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let cid = plan.connection_id.then_some(&[][..]);
    Device::new(config, 0, unix_s, cid, &Randoms::expand(&seed), credential, None)
}

/// The one suite of these devices.
pub fn client_config() -> Arc<Config> {
    Arc::new(Config { suites: vec![Suite::PskAes128Ccm8], ..Config::default() })
}

fn shake_hands(
    socket: &StdSocket,
    config: &Arc<Config>,
    number: usize,
    plan: &Plan,
    flights: &mut (u64, u64),
) -> io::Result<Established> {
    let mut device = device(config, number, plan);
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut datagram = [0; OUT_BYTES];
    loop {
        while let Some(len) = device.poll_transmit(&mut datagram) {
            socket.send(&datagram[..len])?;
            flights.0 += 1;
        }
        if let Some(session) = device.session() {
            return Ok(*session);
        }
        if let Some(end) = device.end() {
            return Err(io::Error::other(format!("a handshake: {end:?}")));
        }
        let len = socket.recv(&mut datagram)?;
        flights.1 += 1;
        device.on_datagram(0, &mut datagram[..len]);
    }
}

const TICK: Duration = Duration::from_millis(100);
/// A request without reply is given up then. *Why so long:* the slowest peer takes a quarter of a
/// millisecond for each of those before it.
const PATIENCE: Duration = Duration::from_secs(3);
