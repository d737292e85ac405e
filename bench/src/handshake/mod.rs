//! What does a handshake cost a server in memory? Ours, OpenSSL's and dimpl's answer the same
//! client of ours (where OpenSSL lacks our suites, one of its own); only the time inside the
//! server's calls counts, from the cookie exchange to the last flight.

mod dimpl;
mod modes;
mod openssl;
mod ours;

use std::time::{Duration, Instant};

use tidegate_dtls::client::Session;

pub use self::modes::{Credentials, MODES, Mode};

/// A server in memory that shakes hands with one client after the other.
trait Server {
    /// Another client comes.
    fn begin(&mut self);
    /// Takes a datagram and appends its answers.
    fn on_datagram(&mut self, datagram: &mut [u8], answers: &mut Vec<Vec<u8>>);
    /// Whether the handshake is complete, and whether it resumed a session.
    fn is_established(&mut self) -> Option<bool>;
}

/// A client that shakes hands once.
trait Client {
    fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize>;
    fn on_datagram(&mut self, datagram: &mut [u8]);
    /// Whether the handshake is complete, and whether it resumed a session.
    fn is_established(&mut self) -> Option<bool>;
    /// What can be resumed.
    fn session(&self) -> Option<Session>;
}

/// Makes a client from a seed; it offers the session, if there is one.
type Clients<'a> = dyn Fn(&[u8; 32], Option<&Session>) -> Box<dyn Client> + 'a;

/// Where the time of one handshake went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// In the server's calls.
    pub server: Duration,
    /// In the client's.
    pub client: Duration,
}

/// A server and the clients it shakes hands with, over and over.
pub struct Rig<'a> {
    mode: &'static Mode,
    server: Box<dyn Server>,
    clients: Box<Clients<'a>>,
    session: Option<Session>,
    count: u64,
}

impl<'a> Rig<'a> {
    /// Our server.
    pub fn ours(mode: &'static Mode, credentials: &'a Credentials) -> Self {
        let clients = Box::new(ours::clients(mode, credentials));
        Self::new(mode, ours::server(mode, credentials), clients)
    }

    /// `None` when OpenSSL does not have the mode.
    pub fn openssl(mode: &'static Mode, credentials: &'a Credentials) -> Option<Self> {
        let server = openssl::server(mode, credentials)?;
        Some(if mode.is_ours_alone {
            Self::new(mode, server, Box::new(openssl::clients(mode)))
        } else {
            Self::new(mode, server, Box::new(ours::clients(mode, credentials)))
        })
    }

    /// `None` when dimpl does not have the mode.
    pub fn dimpl(mode: &'static Mode, credentials: &'a Credentials) -> Option<Self> {
        let clients = Box::new(ours::clients(mode, credentials));
        Some(Self::new(mode, dimpl::server(mode)?, clients))
    }

    fn new(mode: &'static Mode, server: Box<dyn Server>, clients: Box<Clients<'a>>) -> Self {
        let mut rig = Self { mode, server, clients, session: None, count: 0 };
        if mode.resumes {
            rig.shake();
            assert!(rig.session.is_some(), "{}: the server keeps sessions", mode.name);
        }
        rig
    }

    /// One handshake, which succeeds.
    pub fn shake(&mut self) -> Cost {
        self.count += 1;
        let mut seed = [0x5a; 32];
        seed[..8].copy_from_slice(&self.count.to_le_bytes());
        let mut cost = Cost::default();
        let server = &mut self.server;
        timed(&mut cost.server, || server.begin());
        let mut client = timed(&mut cost.client, || (self.clients)(&seed, self.session.as_ref()));
        let (mut out, mut answers) = ([0; 2048], Vec::new());
        while let Some(len) = timed(&mut cost.client, || client.poll_transmit(&mut out)) {
            timed(&mut cost.server, || server.on_datagram(&mut out[..len], &mut answers));
            for mut answer in answers.drain(..) {
                timed(&mut cost.client, || client.on_datagram(&mut answer));
            }
        }
        let is_resumed = Some(self.session.is_some());
        assert_eq!(client.is_established(), is_resumed, "{}: the client", self.mode.name);
        assert_eq!(server.is_established(), is_resumed, "{}: the server", self.mode.name);
        if self.mode.resumes && self.session.is_none() {
            self.session = client.session();
        }
        cost
    }

    /// Microseconds of the server in a handshake during which the kernel ran nobody else in our
    /// place, if one of a hundred was such.
    pub fn uninterrupted_us(&mut self) -> f64 {
        let mut cost = Cost::default();
        for _ in 0..100 {
            let before = turns_on_the_cpu();
            cost = self.shake();
            if turns_on_the_cpu() == before {
                break;
            }
        }
        cost.server.as_secs_f64() * 1e6
    }
}

fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *sum += start.elapsed();
    result
}

/// How often the kernel has put this thread on a CPU (third field; empty where Linux does not say).
fn turns_on_the_cpu() -> String {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().nth(2).unwrap_or_default().to_owned()
}
