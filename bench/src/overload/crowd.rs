//! How do devices offer requests at a rate of their own? Sessions that send, one after the other,
//! whether anything comes back or not, and note what does.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use tidegate_coap::code::Code;
use tidegate_coap::message::Message;
use tidegate_dtls::Established;
use tidegate_dtls::record::{ContentType, Record};
use tidegate_loadgen::device::OUT_BYTES;

use crate::ratio::load::{self, Plan, put};
use crate::ratio::steady::plan;

/// Devices with a session and a socket each.
pub struct Crowd {
    poll: Poll,
    events: Events,
    devices: Vec<Device>,
    /// Who sends next.
    turn: usize,
    /// When the requests of the last stretch left, and those that were answered, and when.
    notes: Option<Notes>,
    plan: Plan,
}

struct Device {
    socket: UdpSocket,
    session: Established,
    mid: u16,
    /// When the request with this Message ID left, by its last bits.
    sent: Vec<Option<(u16, Instant)>>,
}

/// Every request of a stretch.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// When each left.
    pub sent: Vec<Instant>,
    /// When those left that were answered, and when they were.
    pub answered: Vec<(Instant, Instant)>,
}

/// What came of a stretch.
pub struct Offered {
    sent: u64,
    answered: u64,
    wall: Duration,
    /// Microseconds.
    waits: Histogram<u64>,
}

impl Offered {
    /// Requests a second that were sent.
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.wall.as_secs_f64()
    }

    /// Requests a second that were answered 2.04.
    pub fn goodput(&self) -> f64 {
        self.answered as f64 / self.wall.as_secs_f64()
    }

    /// How long an answer took, ms.
    pub fn wait_ms(&self, quantile: f64) -> f64 {
        self.waits.value_at_quantile(quantile) as f64 / 1e3
    }
}

impl Crowd {
    /// Devices that have shaken hands.
    pub fn new(server: SocketAddr) -> io::Result<Self> {
        let plan = Plan { sockets: DEVICES, ..plan() };
        let poll = Poll::new()?;
        let mut devices = Vec::with_capacity(DEVICES);
        for number in 0..DEVICES {
            let (socket, session) = load::established(server, number, &plan)?;
            socket.set_nonblocking(true)?;
            let mut socket = UdpSocket::from_std(socket);
            poll.registry().register(&mut socket, Token(number), Interest::READABLE)?;
            devices.push(Device { socket, session, mid: 0, sent: vec![None; UNANSWERED_MAX] });
        }
        Ok(Self { poll, events: Events::with_capacity(256), devices, turn: 0, notes: None, plan })
    }

    /// Sends `rate` requests a second for so long, or as many as it can; then waits for answers
    /// that are late.
    pub fn offer(&mut self, rate: f64, length: Duration) -> io::Result<Offered> {
        self.offer_beside(rate, length, |_| Ok(()))
    }

    /// The same, every request noted, while something is done now and then, which must not take
    /// long and hears how much of the time is over.
    pub fn noted(
        &mut self,
        rate: f64,
        length: Duration,
        act: impl FnMut(Duration) -> io::Result<()>,
    ) -> io::Result<Notes> {
        self.notes = Some(Notes::default());
        let offered = self.offer_beside(rate, length, act);
        let notes = self.notes.take().unwrap_or_default();
        offered.map(|_| notes)
    }

    fn offer_beside(
        &mut self,
        rate: f64,
        length: Duration,
        mut act: impl FnMut(Duration) -> io::Result<()>,
    ) -> io::Result<Offered> {
        let waits = Histogram::new_with_bounds(1, 60_000_000, 3).map_err(io::Error::other)?;
        let mut offered = Offered { sent: 0, answered: 0, wall: length, waits };
        for device in &mut self.devices {
            device.sent.fill(None);
        }
        let begun = Instant::now();
        loop {
            let elapsed = begun.elapsed();
            if elapsed >= length {
                break;
            }
            act(elapsed)?;
            let due = (rate * elapsed.as_secs_f64()) as u64;
            for _ in 0..due.saturating_sub(offered.sent).min(BURST_MAX) {
                self.turn = (self.turn + 1) % self.devices.len();
                self.devices[self.turn].send(&self.plan)?;
                offered.sent += 1;
                if let Some(notes) = &mut self.notes {
                    notes.sent.push(Instant::now());
                }
            }
            self.take_answers(Duration::ZERO, &mut offered)?;
        }
        offered.wall = begun.elapsed();
        while self.take_answers(GRACE, &mut offered)? {}
        Ok(offered)
    }

    /// False when none came.
    fn take_answers(&mut self, patience: Duration, offered: &mut Offered) -> io::Result<bool> {
        self.poll.poll(&mut self.events, Some(patience))?;
        for event in &self.events {
            self.devices[event.token().0].take_answers(offered, &mut self.notes)?;
        }
        Ok(!self.events.is_empty())
    }
}

impl Device {
    fn send(&mut self, plan: &Plan) -> io::Result<()> {
        let (mut message, mut datagram) = ([0; OUT_BYTES], [0; OUT_BYTES]);
        self.mid = self.mid.wrapping_add(1);
        let len = put(self.mid, plan, &mut message);
        let content = &message[..len];
        let sealed = self.session.seal(ContentType::APPLICATION_DATA, content, &mut datagram);
        let len = sealed.map_err(|error| io::Error::other(format!("{error:?}")))?;
        self.sent[usize::from(self.mid) % UNANSWERED_MAX] = Some((self.mid, Instant::now()));
        match self.socket.send(&datagram[..len]) {
            Err(error) if !is_of_network(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn take_answers(&mut self, offered: &mut Offered, notes: &mut Option<Notes>) -> io::Result<()> {
        let mut datagram = [0; OUT_BYTES];
        loop {
            let len = match self.socket.recv(&mut datagram) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_of_network(&error) => continue,
                len => len?,
            };
            let datagram = &mut datagram[..len];
            let Ok(record) = Record::parse(datagram, 0, 0) else { continue };
            let Ok(opened) = self.session.open(&record, datagram) else { continue };
            let Ok(message) = Message::parse(&datagram[opened.content]) else { continue };
            let place = &mut self.sent[usize::from(message.mid) % UNANSWERED_MAX];
            let Some((mid, sent)) = *place else { continue };
            if mid == message.mid && message.code == Code::CHANGED {
                *place = None;
                offered.answered += 1;
                offered.waits.saturating_record(sent.elapsed().as_micros() as u64);
                if let Some(notes) = notes {
                    notes.answered.push((sent, Instant::now()));
                }
            }
        }
    }
}

/// What is lost on a network, or would find nobody: it was sent all the same.
fn is_of_network(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused)
}

/// So many that the answers still fit into their sockets when the generator is late.
const DEVICES: usize = 512;
/// Requests of one device whose answers count.
const UNANSWERED_MAX: usize = 1_024;
/// Requests between two looks at the answers.
const BURST_MAX: u64 = 64;
/// Whoever is answered at all is answered again within this.
const GRACE: Duration = Duration::from_millis(500);
