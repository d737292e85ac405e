//! How do uplinks reach a broker? MQTT 3.1.1, QoS 1, each one confirmed by its own PUBACK.
//!
//! What is ordered in one turn of the edge leaves in one write, what the broker confirms is read
//! and told in one piece: per uplink that is a share of a system call. Every connection starts from
//! nothing (clean session): what is not confirmed when it breaks is published again, in order, on
//! the next one.

pub mod packet;
mod window;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use self::packet::Packet;
use self::window::{Publish, Window};
use super::broker_url::BrokerUrl;
use super::{Publisher, Said, Tell};
use crate::core::PublishId;
use crate::store::account::Account;

/// Publishes to a broker.
pub struct MqttPublisher {
    orders: mpsc::UnboundedSender<Vec<Order>>,
    /// Since the last flush.
    unflushed: Vec<Order>,
}

enum Order {
    Publish(Publish),
    Abandon(PublishId),
}

type Orders = mpsc::UnboundedReceiver<Vec<Order>>;

/// After a broken connection: at first, doubling up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_LONGEST: Duration = Duration::from_secs(8);
/// From the attempt until the broker has accepted.
const CONNECTING_MAX: Duration = Duration::from_secs(5);
/// The broker is told so; half of it passes between two pings.
const KEEP_ALIVE_S: u16 = 16;
const BEAT: Duration = Duration::from_secs(KEEP_ALIVE_S as u64 / 2);
/// A broker that says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(KEEP_ALIVE_S as u64 * 3 / 2);
/// Bound: encoded and not yet taken by the socket, bytes; one publish more than that at most.
const OUTGOING_BYTES_MAX: usize = 256 << 10;
/// Room for what the broker says at a time, bytes: four thousand PUBACKs.
const INCOMING_BYTES: usize = 16 << 10;

impl MqttPublisher {
    /// Starts publishing on the tokio runtime it is called in; ends when dropped.
    pub fn start(url: BrokerUrl, client_id: String, in_flight_max: usize, tell: Tell) -> Self {
        let (orders, incoming) = mpsc::unbounded_channel();
        let broker = Broker { url, client_id, tell };
        tokio::spawn(run(broker, incoming, Window::new(in_flight_max)));
        Self { orders, unflushed: Vec::new() }
    }
}

impl Publisher for MqttPublisher {
    fn publish(&mut self, id: PublishId, _: Account, topic: Arc<str>, payload: Vec<u8>) {
        self.unflushed.push(Order::Publish(Publish { id, topic, payload }));
    }

    fn abandon(&mut self, id: PublishId) {
        self.unflushed.push(Order::Abandon(id));
    }

    fn flush(&mut self) {
        if !self.unflushed.is_empty() {
            let _ = self.orders.send(std::mem::take(&mut self.unflushed));
        }
    }
}

impl Window {
    fn obey(&mut self, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Publish(publish) => self.order(publish),
                Order::Abandon(id) => self.abandon(id),
            }
        }
    }
}

/// Whom to connect to, and whom to tell.
struct Broker {
    url: BrokerUrl,
    client_id: String,
    tell: Tell,
}

async fn run(broker: Broker, mut orders: Orders, mut window: Window) {
    let mut backoff = BACKOFF_FIRST;
    let mut is_first_failure = true;
    loop {
        window.start_over();
        match timeout(CONNECTING_MAX, Connection::open(&broker)).await {
            Ok(Ok(mut connection)) => {
                tracing::info!("connected to the broker");
                (broker.tell)(Said::Up(true));
                let Err(why) = connection.carry(&mut orders, &mut window, &broker.tell).await
                else {
                    return;
                };
                (broker.tell)(Said::Up(false));
                tracing::warn!(broker = %broker.url, %why, "the broker is gone");
                (backoff, is_first_failure) = (BACKOFF_FIRST, true);
            }
            failed if is_first_failure => {
                let why = failed.map_or_else(
                    |_| "no answer".to_owned(),
                    |end| match end {
                        Err(why) => why.to_string(),
                        Ok(_) => String::new(),
                    },
                );
                tracing::warn!(broker = %broker.url, why, "the broker does not answer; trying on");
                is_first_failure = false;
            }
            _ => {}
        }
        if !waits(backoff, &mut orders, &mut window).await {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF_LONGEST);
    }
}

/// Waits before the next attempt, still taking orders; false: nobody wants one.
async fn waits(backoff: Duration, orders: &mut Orders, window: &mut Window) -> bool {
    let until = Instant::now() + backoff;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(until) => return true,
            some = orders.recv() => match some {
                Some(some) => window.obey(some),
                None => return false,
            },
        }
    }
}

/// One connection that the broker has accepted.
struct Connection {
    stream: TcpStream,
    incoming: BytesMut,
    outgoing: BytesMut,
    heard: Instant,
}

impl Connection {
    async fn open(broker: &Broker) -> io::Result<Self> {
        let stream = TcpStream::connect((broker.url.host.as_str(), broker.url.port)).await?;
        // What is written is a whole turn already.
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream,
            incoming: BytesMut::with_capacity(INCOMING_BYTES),
            outgoing: BytesMut::with_capacity(OUTGOING_BYTES_MAX),
            heard: Instant::now(),
        };
        let credentials = broker.url.credentials.as_ref();
        let credentials = credentials.map(|(name, password)| (name.as_str(), password.as_str()));
        // Not by `outgoing`: it holds a password.
        let mut hello = Zeroizing::new(Vec::with_capacity(packet::CONNECT_BYTES_MAX));
        packet::write_connect(&mut hello, &broker.client_id, KEEP_ALIVE_S, credentials);
        let mut rest = &hello[..];
        while !rest.is_empty() {
            connection.stream.writable().await?;
            match connection.stream.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        loop {
            connection.stream.readable().await?;
            connection.read()?;
            match Packet::take(&mut connection.incoming)? {
                Some(Packet::ConnAck(0)) => return Ok(connection),
                Some(Packet::ConnAck(code)) => {
                    return Err(io::Error::other(packet::why_refused(code)));
                }
                Some(_) => return Err(io::Error::other("it does not speak MQTT 3.1.1")),
                None => {}
            }
        }
    }

    /// Publishes until nobody orders any more; `Err`: the connection broke before.
    async fn carry(
        &mut self,
        orders: &mut Orders,
        window: &mut Window,
        tell: &Tell,
    ) -> io::Result<()> {
        let mut beat = tokio::time::interval_at(Instant::now() + BEAT, BEAT);
        loop {
            while let Ok(some) = orders.try_recv() {
                window.obey(some);
            }
            window.write(&mut self.outgoing, OUTGOING_BYTES_MAX);
            self.write()?;
            let confirmed = self.take_confirmations(window)?;
            if !confirmed.is_empty() {
                tell(Said::Confirmed(confirmed));
            }
            tokio::select! {
                readable = self.stream.readable() => {
                    readable?;
                    self.read()?;
                }
                writable = self.stream.writable(), if !self.outgoing.is_empty() => writable?,
                some = orders.recv() => {
                    let Some(some) = some else {
                        self.outgoing.extend_from_slice(&packet::DISCONNECT);
                        return self.write();
                    };
                    window.obey(some);
                }
                _ = beat.tick() => {
                    if self.heard.elapsed() > SILENCE_MAX {
                        return Err(io::Error::other("it says nothing"));
                    }
                    self.outgoing.extend_from_slice(&packet::PINGREQ);
                }
            }
        }
    }

    fn take_confirmations(&mut self, window: &mut Window) -> io::Result<Vec<PublishId>> {
        let mut confirmed = Vec::new();
        while let Some(packet) = Packet::take(&mut self.incoming)? {
            if let Packet::PubAck(packet) = packet {
                confirmed.extend(window.confirm(packet));
            }
        }
        Ok(confirmed)
    }

    /// Reads what is there.
    fn read(&mut self) -> io::Result<()> {
        self.incoming.reserve(INCOMING_BYTES);
        match self.stream.try_read_buf(&mut self.incoming) {
            Ok(0) => Err(io::Error::other("it closed the connection")),
            Ok(_) => {
                self.heard = Instant::now();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes what the socket takes.
    fn write(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.try_write(&self.outgoing) {
                Ok(written) => self.outgoing.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
