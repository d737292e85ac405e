//! How do uplinks reach a broker? MQTT 3.1.1, QoS 1, each one confirmed by its own PUBACK.
//!
//! Every connection starts from nothing (clean session): what is not confirmed when it breaks is
//! published again, in order, on the next one. So `rumqttc` is used for what it does well (frames,
//! keep-alive, flow) and which message is confirmed is kept here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::broker_url::BrokerUrl;
use super::{Publisher, Said, Tell};
use crate::core::{PublishId, PublishResult};

/// Publishes to a broker.
pub struct MqttPublisher {
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    Publish(PublishId, Arc<str>, Bytes),
    Abandon(PublishId),
}

/// After a broken connection: at first, doubling up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_LONGEST: Duration = Duration::from_secs(8);
/// A broker that says nothing for one and a half of this is gone, seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Longest packet either way, bytes.
const PACKET_BYTES_MAX: usize = 256 << 10;

impl MqttPublisher {
    /// Starts publishing; needs a tokio runtime, ends when dropped.
    pub fn start(url: BrokerUrl, client_id: &str, in_flight_max: usize, tell: Tell) -> Self {
        let mut options = MqttOptions::new(client_id, url.host.clone(), url.port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_session(true);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        options.set_inflight(u16::try_from(in_flight_max).unwrap_or(u16::MAX - 1).max(1));
        if let Some((name, password)) = &url.credentials {
            options.set_credentials(name.clone(), password.to_string());
        }
        let (orders, incoming) = mpsc::unbounded_channel();
        let unconfirmed = Unconfirmed::new(in_flight_max.max(1));
        tokio::spawn(run(options, url, incoming, unconfirmed, tell));
        Self { orders }
    }
}

impl Publisher for MqttPublisher {
    fn publish(&mut self, id: PublishId, topic: Arc<str>, payload: Vec<u8>) {
        let _ = self.orders.send(Order::Publish(id, topic, payload.into()));
    }

    fn abandon(&mut self, id: PublishId) {
        let _ = self.orders.send(Order::Abandon(id));
    }
}

/// What was ordered and is not confirmed. *Bound:* the core's publishes in flight.
struct Unconfirmed {
    /// In the order they were ordered.
    publishes: BTreeMap<PublishId, (Arc<str>, Bytes)>,
    /// To be handed to the client of this connection.
    unsent: VecDeque<PublishId>,
    /// Handed over; the client takes them in this order and says each one's packet identifier.
    unnumbered: VecDeque<PublishId>,
    numbered: HashMap<u16, PublishId>,
    in_flight_max: usize,
}

impl Unconfirmed {
    fn new(in_flight_max: usize) -> Self {
        Self {
            publishes: BTreeMap::new(),
            unsent: VecDeque::new(),
            unnumbered: VecDeque::new(),
            numbered: HashMap::new(),
            in_flight_max,
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Publish(id, topic, payload) => {
                self.publishes.insert(id, (topic, payload));
                self.unsent.push_back(id);
            }
            Order::Abandon(id) => {
                self.publishes.remove(&id);
            }
        }
    }

    /// A new connection knows nothing.
    fn start_over(&mut self) {
        self.unsent = self.publishes.keys().copied().collect();
        self.unnumbered.clear();
        self.numbered.clear();
    }

    /// Hands over what fits.
    fn hand_over(&mut self, client: &AsyncClient) {
        while self.unnumbered.len() < self.in_flight_max {
            let Some(id) = self.unsent.front() else { return };
            if let Some((topic, payload)) = self.publishes.get(id) {
                let (topic, payload) = (topic.to_string(), payload.clone());
                let handed = client.try_publish(topic, QoS::AtLeastOnce, false, payload);
                if handed.is_err() {
                    return;
                }
                self.unnumbered.push_back(*id);
            }
            self.unsent.pop_front();
        }
    }

    fn on_numbered(&mut self, packet: u16) {
        if let Some(id) = self.unnumbered.pop_front() {
            self.numbered.insert(packet, id);
        }
    }

    /// The publish that this PUBACK confirms, unless it was abandoned.
    fn on_puback(&mut self, packet: u16) -> Option<PublishId> {
        let id = self.numbered.remove(&packet)?;
        self.publishes.remove(&id).map(|_| id)
    }
}

enum Heard {
    Connected,
    Numbered(u16),
    Puback(u16),
    Broken(String),
}

async fn run(
    options: MqttOptions,
    url: BrokerUrl,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut unconfirmed: Unconfirmed,
    tell: Tell,
) {
    let mut backoff = BACKOFF_FIRST;
    let mut is_first_failure = true;
    loop {
        unconfirmed.start_over();
        let (client, events) = AsyncClient::new(options.clone(), unconfirmed.in_flight_max);
        let (hear, heard) = mpsc::channel(256);
        let connection = Connection(tokio::spawn(listen(events, hear)));
        let end = connected(&client, heard, &mut orders, &mut unconfirmed, &tell).await;
        drop(connection);
        match end {
            End::Dropped => return,
            End::Broken { was_up, why } => {
                if was_up {
                    backoff = BACKOFF_FIRST;
                    tell(Said::Up(false));
                    tracing::warn!(broker = %url, why, "the broker is gone; uplinks get 5.03");
                } else if is_first_failure {
                    tracing::warn!(broker = %url, why, "the broker does not answer; trying on");
                }
                is_first_failure = was_up;
            }
        }
        if !waits(backoff, &mut orders, &mut unconfirmed).await {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF_LONGEST);
    }
}

enum End {
    Broken { was_up: bool, why: String },
    Dropped,
}

/// One connection, from its attempt to its end.
async fn connected(
    client: &AsyncClient,
    mut heard: mpsc::Receiver<Heard>,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    unconfirmed: &mut Unconfirmed,
    tell: &Tell,
) -> End {
    let mut is_up = false;
    loop {
        tokio::select! {
            said = heard.recv() => match said {
                Some(Heard::Connected) => {
                    is_up = true;
                    tracing::info!("connected to the broker");
                    tell(Said::Up(true));
                }
                Some(Heard::Numbered(packet)) => unconfirmed.on_numbered(packet),
                Some(Heard::Puback(packet)) => {
                    if let Some(id) = unconfirmed.on_puback(packet) {
                        tell(Said::Published(id, PublishResult::Confirmed));
                    }
                }
                Some(Heard::Broken(why)) => return End::Broken { was_up: is_up, why },
                None => return End::Broken { was_up: is_up, why: "it ended".to_owned() },
            },
            order = orders.recv() => {
                let Some(order) = order else {
                    let _ = client.try_disconnect();
                    return End::Dropped;
                };
                unconfirmed.order(order);
            }
        }
        if is_up {
            unconfirmed.hand_over(client);
        }
    }
}

/// Waits before the next attempt, still taking orders; false: nobody wants one.
async fn waits(
    backoff: Duration,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    unconfirmed: &mut Unconfirmed,
) -> bool {
    let until = tokio::time::Instant::now() + backoff;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(until) => return true,
            order = orders.recv() => match order {
                Some(order) => unconfirmed.order(order),
                None => return false,
            },
        }
    }
}

/// Drives the socket. A task of its own: [`EventLoop::poll`] must not be cancelled.
async fn listen(mut events: EventLoop, hear: mpsc::Sender<Heard>) {
    loop {
        let heard = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => Heard::Connected,
            Ok(Event::Incoming(Packet::PubAck(ack))) => Heard::Puback(ack.pkid),
            Ok(Event::Outgoing(Outgoing::Publish(packet))) => Heard::Numbered(packet),
            Ok(_) => continue,
            Err(error) => Heard::Broken(describe(&error)),
        };
        let is_last = matches!(heard, Heard::Broken(_));
        if hear.send(heard).await.is_err() || is_last {
            return;
        }
    }
}

fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => format!("refused: {code:?}"),
        other => other.to_string(),
    }
}

/// Ends the task that drives the socket when dropped.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(unconfirmed: &mut Unconfirmed, id: u64) {
        let payload = Bytes::from_static(b"{}");
        unconfirmed.order(Order::Publish(PublishId(id), "t".into(), payload));
    }

    #[test]
    fn a_puback_confirms_the_publish_with_its_number() {
        let mut unconfirmed = Unconfirmed::new(8);
        let (client, _events) = AsyncClient::new(MqttOptions::new("t", "127.0.0.1", 1), 8);
        for id in 1..=3 {
            publish(&mut unconfirmed, id);
        }
        unconfirmed.hand_over(&client);
        for packet in [11, 12, 13] {
            unconfirmed.on_numbered(packet);
        }
        assert_eq!(unconfirmed.on_puback(12), Some(PublishId(2)));
        assert_eq!(unconfirmed.on_puback(12), None, "once");
        unconfirmed.order(Order::Abandon(PublishId(1)));
        assert_eq!(unconfirmed.on_puback(11), None, "nobody waits for it");
        unconfirmed.start_over();
        assert_eq!(unconfirmed.unsent, [PublishId(3)], "only what is not confirmed goes again");
        assert_eq!(unconfirmed.on_puback(13), None, "numbers of another connection");
    }
}
