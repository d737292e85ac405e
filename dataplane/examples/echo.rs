//! What does bare datagram I/O cost on this machine? An echo over either backend, and its load.
//!
//! ```text
//! cargo build --release -p tidegate-dataplane --example echo
//! taskset -c 0 target/release/examples/echo serve io_uring 127.0.0.1:5690 &
//! taskset -c 1 target/release/examples/echo load 127.0.0.1:5690
//! ```
//!
//! The server prints its CPU time (user and system, of its one thread) per datagram every second,
//! and ends when its input does (`</dev/null` would end it at once). Compare only runs with the
//! same load, taken in turns: one machine drifts by a fifth within the hour.
#![allow(clippy::unwrap_used)]

use rustix::time::{ClockId, clock_gettime};
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidegate_dataplane::config::{Backend, Config};
use tidegate_dataplane::net::Net;
use tidegate_dataplane::net::batch::Outbox;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", backend, listen] => serve(backend, listen, 0),
        ["serve", backend, listen, spin_us] => serve(backend, listen, spin_us.parse().unwrap()),
        ["load", server] => load(server, 256, 8, 5),
        ["load", server, peers, outstanding, seconds] => load(
            server,
            peers.parse().unwrap(),
            outstanding.parse().unwrap(),
            seconds.parse().unwrap(),
        ),
        _ => {
            eprintln!("echo serve auto|io_uring|mmsg ADDRESS [SPIN_US]");
            eprintln!("echo load ADDRESS [PEERS OUTSTANDING SECONDS]");
            std::process::exit(2);
        }
    }
}

/// Sends everything back until the input ends.
fn serve(backend: &str, listen: &str, spin_us: u32) {
    let mut config = Config { listen: vec![listen.parse().unwrap()], ..Config::default() };
    config.net.spin_us = spin_us;
    config.net.backend = match backend {
        "io_uring" => Backend::IoUring,
        "mmsg" => Backend::Mmsg,
        _ => Backend::Auto,
    };
    let (bell, other) = std::os::unix::net::UnixStream::pair().unwrap();
    bell.set_nonblocking(true).unwrap();
    let should_stop: &'static AtomicBool = Box::leak(Box::default());
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        should_stop.store(true, Ordering::Relaxed);
        drop(other);
    });
    let mut net = Net::open(&config, 0, bell.as_fd()).unwrap();
    println!("{} on {}", net.describe(), net.local_addresses().unwrap()[0]);
    let mut outbox = Outbox::new();
    let mut meter = Meter::new();
    while !should_stop.load(Ordering::Relaxed) {
        net.wait(Duration::from_secs(1));
        let mut batch = net.reap();
        meter.turn(batch.len());
        for datagram in batch.iter_mut() {
            let index = outbox.begin(datagram.peer).expect("an outbox takes a batch");
            outbox.buffer_mut(index)[..datagram.bytes.len()].copy_from_slice(datagram.bytes);
            outbox.commit(index, datagram.bytes.len());
        }
        drop(batch);
        net.flush(&mut outbox);
        meter.tell();
    }
    println!("{:?}", net.stats());
}

/// Keeps `outstanding` datagrams of each of `peers` sockets on their way, and says how many came
/// back.
fn load(server: &str, peers: usize, outstanding: usize, seconds: u64) {
    let server: SocketAddr = server.parse().unwrap();
    let any = if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let connect = |_| {
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(server).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let sockets: Vec<UdpSocket> = (0..peers).map(connect).collect();
    let payload = [0x5a; PAYLOAD_BYTES];
    let mut buffer = [0; 2_048];
    let (mut returned, mut last_heard) = (0u64, vec![Instant::now(); peers]);
    let begun = Instant::now();
    let send = |socket: &UdpSocket| drop(socket.send(&payload));
    for socket in &sockets {
        (0..outstanding).for_each(|_| send(socket));
    }
    while begun.elapsed() < Duration::from_secs(seconds) {
        for (socket, heard) in sockets.iter().zip(&mut last_heard) {
            let mut came = 0;
            while socket.recv(&mut buffer).is_ok() {
                came += 1;
            }
            (0..came).for_each(|_| send(socket));
            returned += came;
            if came > 0 {
                *heard = Instant::now();
            } else if heard.elapsed() > LOST_AFTER {
                // Some were dropped: begin again, or the load would dry up.
                (0..outstanding).for_each(|_| send(socket));
                *heard = Instant::now();
            }
        }
    }
    let rate = returned as f64 / begun.elapsed().as_secs_f64();
    println!("{returned} came back, {rate:.0}/s");
}

/// CPU time per datagram, told every second.
struct Meter {
    began: Instant,
    cpu: Duration,
    datagrams: u64,
    turns: u64,
}

impl Meter {
    fn new() -> Self {
        Self { began: Instant::now(), cpu: cpu_time(), datagrams: 0, turns: 0 }
    }

    fn turn(&mut self, datagrams: usize) {
        self.datagrams += datagrams as u64;
        self.turns += u64::from(datagrams > 0);
    }

    fn tell(&mut self) {
        let elapsed = self.began.elapsed();
        if elapsed < Duration::from_secs(1) {
            return;
        }
        let cpu = cpu_time();
        if self.datagrams > 0 {
            let used = cpu.saturating_sub(self.cpu);
            let each = used.as_nanos() as f64 / self.datagrams as f64;
            let rate = self.datagrams as f64 / elapsed.as_secs_f64();
            let batch = self.datagrams as f64 / self.turns as f64;
            let busy = used.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
            println!("{each:.0} ns each, {rate:.0}/s, {batch:.1} a turn, {busy:.0} % busy");
        }
        *self = Self { began: Instant::now(), cpu, datagrams: 0, turns: 0 };
    }
}

/// User and system time of this thread.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

/// A CoAP POST with 16 bytes of payload in a record with a Connection ID is about as long.
const PAYLOAD_BYTES: usize = 77;
const LOST_AFTER: Duration = Duration::from_millis(200);
