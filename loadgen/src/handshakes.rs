//! How many handshakes does a server complete, and what does one cost it? A storm of devices, so
//! many at a time, each with a socket and a source port of its own.
//!
//! Closed loop: a device that is done makes room for the next one, and comes back when all others
//! had their turn, perhaps with the session it got. One thread; with the server's process number
//! the report says what each handshake cost the server, and always what it cost us.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use hdrhistogram::Histogram;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use rand::random;
use tidegate_dtls::client::{Config, Credential, Randoms, Session};

use crate::cpu::{self, ProcessTimes};
use crate::device::{Device, End, OUT_BYTES};
use crate::profile::Profile;
use crate::request::resolve;

/// The storm.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The server, `host:port`.
    #[arg(value_name = "HOST:PORT")]
    pub server: String,
    /// How many handshakes.
    #[arg(short = 'n', long, default_value_t = 1_000, value_name = "N")]
    pub count: u64,
    /// How many at a time.
    #[arg(long, default_value_t = 64, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=4_096))]
    pub in_flight: u64,
    /// How many devices take turns, as many as handshakes at a time unless named: `{n}` in the PSK
    /// identity becomes 0, 1, … for each of them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub devices: Option<u64>,
    /// Percent of the handshakes in which a device offers the session it got before, if any.
    #[arg(long, default_value_t = 0, value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(0..=100))]
    pub resume_percent: u8,
    /// Leaves sessions open. Else each one is closed at once, which lets servers that serve one
    /// peer at a time (`openssl s_server`) go on with the next.
    #[arg(long)]
    pub leave_open: bool,
    /// The server's process number: its CPU time per handshake is reported. May be repeated.
    #[arg(long, value_name = "PID")]
    pub server_pid: Vec<u32>,
    /// The report as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Who the devices are.
    #[command(flatten)]
    pub profile: Profile,
}

/// Runs the storm and reports; false when a handshake failed.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<bool> {
    let server = resolve(&arguments.server)?;
    let mut storm = Storm::new(arguments, server)?;
    let before = cpu::of_all(&arguments.server_pid)?;
    let (begun, own_before) = (Instant::now(), cpu::of_this_process()?);
    storm.blow()?;
    let report = Report {
        wall: begun.elapsed(),
        own: cpu::of_this_process()? - own_before,
        server: cpu::of_all(&arguments.server_pid)? - before,
        has_server: !arguments.server_pid.is_empty(),
        storm: &storm,
    };
    out.write_all(if arguments.json { report.json() } else { report.table() }.as_bytes())?;
    Ok(storm.failures.is_empty() && storm.completed == arguments.count)
}

struct Storm<'a> {
    arguments: &'a Arguments,
    config: Arc<Config>,
    credential: Credential,
    server: SocketAddr,
    poll: Poll,
    /// One place for each handshake under way.
    places: Vec<Option<Attempt>>,
    begun: u64,
    completed: u64,
    resumed: u64,
    /// Devices whose turn comes, and the sessions they may resume.
    waiting: VecDeque<(u64, Option<Session>)>,
    /// Microseconds from the first ClientHello to the Finished.
    latency_us: Histogram<u64>,
    failures: BTreeMap<String, u64>,
    clock: Instant,
}

struct Attempt {
    number: u64,
    device: Device,
    socket: UdpSocket,
    began: Instant,
}

impl<'a> Storm<'a> {
    fn new(arguments: &'a Arguments, server: SocketAddr) -> io::Result<Self> {
        let devices = arguments.devices.unwrap_or(arguments.in_flight).max(arguments.in_flight);
        Ok(Self {
            config: Arc::new(arguments.profile.config(None)?),
            credential: arguments.profile.credential()?,
            arguments,
            server,
            poll: Poll::new()?,
            places: (0..arguments.in_flight).map(|_| None).collect(),
            begun: 0,
            completed: 0,
            resumed: 0,
            waiting: (0..devices).map(|number| (number, None)).collect(),
            latency_us: Histogram::new(3).expect("three digits"),
            failures: BTreeMap::new(),
            clock: Instant::now(),
        })
    }

    /// Until the last handshake is over.
    fn blow(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1_024);
        for place in 0..self.places.len() {
            self.begin(place)?;
        }
        while self.places.iter().any(Option::is_some) {
            self.poll.poll(&mut events, Some(TICK))?;
            for event in &events {
                self.on_readable(event.token().0)?;
            }
            self.on_tick()?;
        }
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// Starts the next handshake in a free place, if there is one left to start.
    fn begin(&mut self, place: usize) -> io::Result<()> {
        if self.begun == self.arguments.count {
            return Ok(());
        }
        let percent = u64::from(self.arguments.resume_percent);
        let resumes = self.begun * percent % 100 < percent; // spread evenly
        let (number, kept) = self.waiting.pop_front().expect("a device for each place");
        let session = kept.filter(|_| resumes);
        self.begun += 1;

        let unspecified = if self.server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = StdSocket::bind(unspecified)?;
        socket.connect(self.server)?;
        socket.set_nonblocking(true)?;
        let mut socket = UdpSocket::from_std(socket);
        self.poll.registry().register(&mut socket, Token(place), Interest::READABLE)?;
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let device = Device::new(
            &self.config,
            self.now_ms(),
            unix_s,
            self.arguments.profile.own_cid(),
            &Randoms::expand(&random()),
            numbered(&self.credential, number),
            session.as_ref(),
        );
        self.places[place] = Some(Attempt { number, device, socket, began: Instant::now() });
        self.step(place)
    }

    fn on_readable(&mut self, place: usize) -> io::Result<()> {
        let now_ms = self.now_ms();
        let Some(attempt) = &mut self.places[place] else { return Ok(()) };
        let mut datagram = [0; OUT_BYTES];
        loop {
            match attempt.socket.recv(&mut datagram) {
                Ok(len) => {
                    attempt.device.on_datagram(now_ms, &mut datagram[..len]);
                    if attempt.device.is_up() {
                        break; // what follows, perhaps a close_notify, is the session's
                    }
                }
                // Nobody listens there (yet): the flight's timer asks again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.step(place)
    }

    /// Timers, and devices that nobody answered for too long.
    fn on_tick(&mut self) -> io::Result<()> {
        let (now_ms, timeout) =
            (self.now_ms(), Duration::from_secs(self.arguments.profile.timeout));
        for place in 0..self.places.len() {
            let Some(attempt) = &mut self.places[place] else { continue };
            if attempt.began.elapsed() > timeout {
                self.fail(place, "no answer in time")?;
            } else if attempt.device.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                attempt.device.on_due(now_ms);
                self.step(place)?;
            }
        }
        Ok(())
    }

    /// Sends what the device wants sent, and sees whether it is over.
    fn step(&mut self, place: usize) -> io::Result<()> {
        let Some(attempt) = &mut self.places[place] else { return Ok(()) };
        let mut datagram = [0; OUT_BYTES];
        while let Some(len) = attempt.device.poll_transmit(&mut datagram) {
            match attempt.socket.send(&datagram[..len]) {
                // As on a real network, the timer knows.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if attempt.device.is_up() {
            return self.complete(place);
        }
        match attempt.device.end() {
            Some(End::Failed(failure)) => self.fail(place, &format!("{failure:?}")),
            Some(End::Closed) => self.fail(place, "closed"),
            None => Ok(()),
        }
    }

    fn complete(&mut self, place: usize) -> io::Result<()> {
        let mut attempt = self.places[place].take().expect("it is up");
        self.completed += 1;
        self.resumed += u64::from(attempt.device.is_resumed());
        let us = attempt.began.elapsed().as_micros() as u64;
        self.latency_us.record(us.max(1)).expect("a histogram that grows");
        self.waiting.push_back((attempt.number, attempt.device.resumable().cloned()));
        let mut datagram = [0; OUT_BYTES];
        if !self.arguments.leave_open
            && let Some(len) = attempt.device.close(&mut datagram)
        {
            // Lost or not, nobody waits for it.
            let _ = attempt.socket.send(&datagram[..len]);
        }
        self.begin(place)
    }

    fn fail(&mut self, place: usize, reason: &str) -> io::Result<()> {
        let number = self.places[place].take().expect("it failed").number;
        self.waiting.push_back((number, None));
        *self.failures.entry(reason.to_owned()).or_default() += 1;
        self.begin(place)
    }
}

/// How often timers are looked at: the shortest is a second.
const TICK: Duration = Duration::from_millis(50);

/// The credential of one device of many.
pub(crate) fn numbered(credential: &Credential, number: u64) -> Credential {
    match credential {
        Credential::Psk { identity, psk } => {
            let text = String::from_utf8_lossy(identity).replace("{n}", &number.to_string());
            Credential::Psk { identity: text.into_bytes(), psk: psk.clone() }
        }
        other => other.clone(),
    }
}

struct Report<'a> {
    storm: &'a Storm<'a>,
    wall: Duration,
    own: ProcessTimes,
    server: ProcessTimes,
    has_server: bool,
}

impl Report<'_> {
    /// `None` when nothing was completed.
    fn per_handshake_us(&self, times: ProcessTimes) -> Option<f64> {
        let completed = self.storm.completed;
        (completed > 0).then(|| times.total().as_secs_f64() * 1e6 / completed as f64)
    }

    fn per_second(&self) -> f64 {
        self.storm.completed as f64 / self.wall.as_secs_f64()
    }

    fn percentile_ms(&self, percentile: f64) -> f64 {
        self.storm.latency_us.value_at_percentile(percentile) as f64 / 1e3
    }

    fn failed(&self) -> u64 {
        self.storm.failures.values().sum()
    }

    fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            writeln!(text, "{name:<28}{value:>12}").expect("memory");
        };
        line("completed", self.storm.completed.to_string());
        line("  of these resumed", self.storm.resumed.to_string());
        line("failed", self.failed().to_string());
        for (reason, count) in &self.storm.failures {
            line(&format!("  {reason}"), count.to_string());
        }
        line("handshakes/s", format!("{:.0}", self.per_second()));
        for (name, percentile) in PERCENTILES {
            line(
                &format!("time to Finished {name}, ms"),
                format!("{:.2}", self.percentile_ms(percentile)),
            );
        }
        let us = |times| self.per_handshake_us(times).map_or("-".into(), |us| format!("{us:.1}"));
        if self.has_server {
            line("server CPU/handshake, us", us(self.server));
        }
        line("our CPU/handshake, us", us(self.own));
        text
    }

    fn json(&self) -> String {
        let mut latency = serde_json::Map::new();
        for (name, percentile) in PERCENTILES {
            latency.insert(name.to_owned(), self.percentile_ms(percentile).into());
        }
        let server = self.has_server.then(|| self.per_handshake_us(self.server)).flatten();
        let report = serde_json::json!({
            "completed": self.storm.completed,
            "resumed": self.storm.resumed,
            "failed": self.failed(),
            "failures": self.storm.failures,
            "handshakes_per_s": self.per_second(),
            "time_to_finished_ms": latency,
            "server_cpu_us_per_handshake": server,
            "own_cpu_us_per_handshake": self.per_handshake_us(self.own),
        });
        format!("{report}\n")
    }
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("max", 100.0)];
