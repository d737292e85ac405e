//! How does a message become a record? On one partition, acknowledged by all replicas in sync.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rskafka::BackoffConfig;
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::settings::{KafkaSettings, Sasl};
use super::{Fault, causes, tls};
use crate::private_file;

/// One cluster.
pub(super) struct KafkaOutlet {
    brokers: Vec<String>,
    attempt: Duration,
    tls: Option<Arc<rustls::ClientConfig>>,
    login: Option<(Sasl, String, Zeroizing<String>)>,
    client: OnceCell<Client>,
    known: Mutex<Known>,
    /// For records without a key: one partition after the other.
    turn: AtomicUsize,
}

#[derive(Default)]
struct Known {
    /// Partitions by topic, in order, and when we asked.
    topics: HashMap<String, Vec<i32>>,
    asked: Option<Instant>,
    partitions: HashMap<(String, i32), Arc<PartitionClient>>,
}

/// How long the list of topics is believed. A topic that is not in it is asked for at once, but
/// not more often than once in a second.
const TOPICS_BELIEVED: Duration = Duration::from_mins(1);
const TOPICS_PAUSE: Duration = Duration::from_secs(1);
/// Bound: partitions with a client; at the bound all are made anew.
const PARTITIONS_MAX: usize = 4_096;
/// Bound: what a broker may answer, bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;

impl KafkaOutlet {
    pub(super) fn open(settings: &KafkaSettings, attempt: Duration) -> Result<Self, String> {
        let name = &settings.name;
        if settings.brokers.is_empty() {
            return Err(format!("actions.kafka: {name} has no brokers"));
        }
        let login = match (settings.sasl, &settings.user, &settings.password_file) {
            (Some(sasl), Some(user), Some(path)) => {
                let password = Zeroizing::new(private_file::read(path)?.trim().to_owned());
                Some((sasl, user.clone(), password))
            }
            (None, None, None) => None,
            _ => return Err(format!("actions.kafka: {name}: sasl, user and password_file")),
        };
        let tls = if settings.tls {
            Some(Arc::new(tls::client_config(settings.ca_file.as_deref())?))
        } else {
            None
        };
        Ok(Self {
            brokers: settings.brokers.clone(),
            attempt,
            tls,
            login,
            client: OnceCell::new(),
            known: Mutex::default(),
            turn: AtomicUsize::new(0),
        })
    }

    pub(super) async fn produce(
        &self,
        topic: &str,
        key: Option<&str>,
        partition: Option<i32>,
        record: Record,
    ) -> Result<(), Fault> {
        let client = self.client.get_or_try_init(|| self.connect()).await.map_err(fault)?;
        let partition = if let Some(partition) = partition {
            partition
        } else {
            let partitions = self.partitions(client, topic).await?;
            let count = partitions.len();
            partitions[match key {
                Some(key) => (murmur2(key.as_bytes()) & 0x7fff_ffff) as usize % count,
                None => self.turn.fetch_add(1, Ordering::Relaxed) % count,
            }]
        };
        let partition = self.partition(client, topic, partition).await?;
        let produced = partition.produce(vec![record], Compression::NoCompression).await;
        produced.map(|_| ()).map_err(fault)
    }

    async fn connect(&self) -> Result<Client, rskafka::client::error::Error> {
        let backoff = BackoffConfig { deadline: Some(self.attempt), ..BackoffConfig::default() };
        let mut builder = ClientBuilder::new(self.brokers.clone())
            .client_id("tidegate")
            .max_message_size(ANSWER_BYTES_MAX)
            .backoff_config(backoff);
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(tls.clone());
        }
        if let Some((sasl, user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.to_string());
            builder = builder.sasl_config(match sasl {
                Sasl::Plain => SaslConfig::Plain(credentials),
                Sasl::ScramSha256 => SaslConfig::ScramSha256(credentials),
                Sasl::ScramSha512 => SaslConfig::ScramSha512(credentials),
            });
        }
        builder.build().await
    }

    /// The partitions of a topic: one at least.
    async fn partitions(&self, client: &Client, topic: &str) -> Result<Vec<i32>, Fault> {
        let believed = self.with_known(|known| {
            let age = known.asked.map(|asked| asked.elapsed());
            let found = known.topics.get(topic).cloned();
            match (found, age) {
                (Some(found), Some(age)) if age < TOPICS_BELIEVED => Some(Ok(found)),
                (None, Some(age)) if age < TOPICS_PAUSE => Some(Err(no_topic(topic))),
                _ => None,
            }
        });
        if let Some(believed) = believed {
            return believed;
        }
        let listed = client.list_topics().await.map_err(fault)?;
        self.with_known(|known| {
            known.asked = Some(Instant::now());
            let topics = listed.into_iter().filter(|topic| !topic.partitions.is_empty());
            known.topics =
                topics.map(|topic| (topic.name, topic.partitions.into_iter().collect())).collect();
            known.topics.get(topic).cloned().ok_or_else(|| no_topic(topic))
        })
    }

    async fn partition(
        &self,
        client: &Client,
        topic: &str,
        partition: i32,
    ) -> Result<Arc<PartitionClient>, Fault> {
        let name = (topic.to_owned(), partition);
        if let Some(found) = self.with_known(|known| known.partitions.get(&name).cloned()) {
            return Ok(found);
        }
        let made = client.partition_client(topic, partition, UnknownTopicHandling::Error).await;
        let made = Arc::new(made.map_err(fault)?);
        self.with_known(|known| {
            if known.partitions.len() >= PARTITIONS_MAX {
                known.partitions.clear();
            }
            known.partitions.insert(name, made.clone());
        });
        Ok(made)
    }

    fn with_known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is produced. A header that is there twice has its last value.
pub(super) fn record(key: Option<&str>, headers: &[(String, String)], payload: &Bytes) -> Record {
    Record {
        key: key.map(|key| key.as_bytes().to_vec()),
        value: Some(payload.to_vec()),
        headers: headers.iter().map(|(k, v)| (k.clone(), v.clone().into_bytes())).collect(),
        timestamp: std::time::SystemTime::now().into(),
    }
}

fn no_topic(topic: &str) -> Fault {
    Fault::passing(format!("Kafka: there is no topic {topic}"))
}

fn fault(error: rskafka::client::error::Error) -> Fault {
    Fault::passing(format!("Kafka: {}", causes(&error)))
}

/// Kafka's hash of keys (MurmurHash2, seed 0x9747b28c), by which its own clients choose.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in chunks.by_ref() {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k = (k ^ k >> 24).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    for (at, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h = (h ^ h >> 13).wrapping_mul(M);
    h ^ h >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own test (UtilsTest.testMurmur2).
    #[test]
    fn keys_are_hashed_as_by_kafkas_clients() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
