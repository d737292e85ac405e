//! What may an operator set, and is it in range? One TOML file; unknown keys are errors.
//! Every knob is documented in `deploy/controlplane.toml`.

mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::endpoint::Endpoints;
use crate::api::{Aws, Bounds};
use crate::control::{Limits, MqttSettings, Settings};
use crate::core::{ConfirmedBy, OutboxLimits};
use crate::iam::quota::Quotas;
use crate::identity::{IDENTITIES_MAX, ServerIdentity, ServerPublicKey};
use crate::payloads;
use crate::sinks;
pub use watch::{CustomerLogConfig, DeviceQuotasConfig, MetricsConfig, SummaryMetricsConfig};

/// The whole configuration of the control plane.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the dataplane keeps its rings.
    pub run_dir: PathBuf,
    /// Where the store, its key file and the root credentials live.
    pub data_dir: PathBuf,
    /// `[http]`
    pub http: HttpConfig,
    /// `[aws]`
    pub aws: AwsConfig,
    /// `[endpoints]`
    pub endpoints: EndpointsConfig,
    /// `[[server_identity]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_identity: Vec<ServerIdentityConfig>,
    /// `[mqtt]`; absent: the embedded stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<MqttConfig>,
    /// `[publish]`
    pub publish: PublishConfig,
    /// `[outbox]`
    pub outbox: OutboxConfig,
    /// `[actions]`: what rules may reach.
    pub actions: sinks::Settings,
    /// `[payloads]`: what messages may refer to.
    pub payloads: payloads::Settings,
    /// `[queue]`
    pub queue: QueueConfig,
    /// `[stream]`
    pub stream: StreamConfig,
    /// `[account_quotas]`
    pub account_quotas: Quotas,
    /// `[log]`
    pub log: LogConfig,
    /// `[device_quotas]`
    pub device_quotas: DeviceQuotasConfig,
    /// `[customer_log]`
    pub customer_log: CustomerLogConfig,
    /// `[summary_metrics]`
    pub summary_metrics: SummaryMetricsConfig,
    /// `[metrics]`
    pub metrics: MetricsConfig,
    /// `[confine]`
    pub confine: ConfineConfig,
}

/// What the process gives up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfineConfig {
    /// Whether capabilities, other directories and other programs are out of reach once it serves.
    pub sandbox: bool,
}

impl Default for ConfineConfig {
    fn default() -> Self {
        Self { sandbox: true }
    }
}

/// The HTTP API.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port; another than loopback needs `tls`.
    pub listen: SocketAddr,
    /// A Unix socket to listen on too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_socket: Option<PathBuf>,
    /// Longest request body, bytes, 4096..=1048576.
    pub body_bytes_max: usize,
    /// The head of a request must have arrived after so long, ms, 100..=600000.
    pub head_timeout_ms: u64,
    /// A request body must have arrived after so long, ms, 100..=60000.
    pub body_timeout_ms: u64,
    /// Requests answered at the same time, 1..=65536.
    pub requests_max: usize,
    /// Followers of `/uplinks` at the same time, 1..=4096.
    pub followers_max: usize,
    /// `[http.tls]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
}

/// TLS of the API.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM: the certificate, then those between it and the root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: authorities; present: clients must have a certificate of one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// Where this installation pretends to be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AwsConfig {
    /// Region of ARNs and signatures.
    pub region: String,
    /// Twelve digits.
    pub account_id: String,
    /// Partition of ARNs.
    pub partition: String,
}

/// What GetServiceEndpoint tells.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointsConfig {
    /// `coaps://host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coap: Option<String>,
    /// A LoRaWAN configuration server run beside this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cups: Option<String>,
    /// A LoRaWAN network server run beside this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lns: Option<String>,
}

/// A certificate that devices are shown, and its key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerIdentityConfig {
    /// PEM: the certificate, then those between it and the root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// Server names (SNI) for which it is shown; absent: the DNS names of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
}

/// The broker.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// `mqtt://[user[:password]@]host[:1883]`.
    pub url: String,
    /// MQTT client id, 1–23 characters; absent: `tidegate-` and a random suffix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// How uplinks are published.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublishConfig {
    /// Publishes waiting for their confirmation, 1..=60000.
    pub in_flight_max: usize,
    /// A publish unconfirmed for so long is answered 5.03, ms, 100..=240000.
    pub timeout_ms: u64,
    /// Max-Age of a 5.03, s, 1..=86400.
    pub unavailable_max_age_s: u32,
    /// When a device hears 2.xx to an uplink.
    pub confirmed_by: ConfirmedBy,
}

/// What waits in the store to be published.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutboxConfig {
    /// Uplinks and responses kept, 10..=1000000000.
    pub entries_max: u64,
    /// Bytes kept, 1048576..=1099511627776.
    pub bytes_max: u64,
    /// An uplink that its rule still refuses after so long is dropped, s, 1..=31536000.
    pub give_up_s: u64,
}

/// Messages towards devices.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Open messages of one device, 1..=10000.
    pub messages_per_device_max: usize,
    /// A queued message older than this expires, s, 1..=31536000.
    pub ttl_s: u64,
    /// How long the final state of a message can be asked for, s, 1..=31536000.
    pub history_s: u64,
}

/// The embedded stream of uplinks.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamConfig {
    /// Entries kept, 1..=1000000000.
    pub entries_max: u64,
    /// Bytes kept, 1048576..=1099511627776.
    pub bytes_max: u64,
    /// Age of the oldest entry kept, s, 1..=31536000.
    pub age_max_s: u64,
}

/// What is logged.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A filter as `RUST_LOG` takes it.
    pub filter: String,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Self::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Parses and checks TOML.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        config.check()?;
        Ok(config)
    }

    /// Says which value is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let http = &self.http;
        if !http.listen.ip().is_loopback() && http.tls.is_none() {
            return Err(format!(
                "http.listen = {} is not a loopback address: there the API needs [http.tls]",
                http.listen
            ));
        }
        within("http.body_bytes_max", http.body_bytes_max as u64, 4_096, 1 << 20)?;
        within("http.head_timeout_ms", http.head_timeout_ms, 100, 600_000)?;
        within("http.body_timeout_ms", http.body_timeout_ms, 100, 60_000)?;
        within("http.requests_max", http.requests_max as u64, 1, 65_536)?;
        within("http.followers_max", http.followers_max as u64, 1, 4_096)?;
        self.account_quotas.check()?;
        within("publish.in_flight_max", self.publish.in_flight_max as u64, 1, 60_000)?;
        within("publish.timeout_ms", self.publish.timeout_ms, 100, 240_000)?;
        let max_age_s = u64::from(self.publish.unavailable_max_age_s);
        within("publish.unavailable_max_age_s", max_age_s, 1, 86_400)?;
        within("outbox.entries_max", self.outbox.entries_max, 10, 1_000_000_000)?;
        within("outbox.bytes_max", self.outbox.bytes_max, 1 << 20, 1 << 40)?;
        within("outbox.give_up_s", self.outbox.give_up_s, 1, YEAR_S)?;
        let per_device = self.queue.messages_per_device_max as u64;
        within("queue.messages_per_device_max", per_device, 1, 10_000)?;
        within("queue.ttl_s", self.queue.ttl_s, 1, YEAR_S)?;
        within("queue.history_s", self.queue.history_s, 1, YEAR_S)?;
        within("stream.entries_max", self.stream.entries_max, 1, 1_000_000_000)?;
        within("stream.bytes_max", self.stream.bytes_max, 1 << 20, 1 << 40)?;
        within("stream.age_max_s", self.stream.age_max_s, 1, YEAR_S)?;
        self.actions.check(self.publish.timeout_ms)?;
        self.payloads.check()?;
        self.device_quotas.check()?;
        self.customer_log.check()?;
        self.summary_metrics.check()?;
        self.metrics.check()?;
        self.aws.check()?;
        self.endpoints.check()?;
        let identities = self.server_identity.len() as u64;
        within("the number of [[server_identity]]", identities, 0, IDENTITIES_MAX as u64)?;
        if let Some(mqtt) = &self.mqtt {
            mqtt.check()?;
        }
        Ok(())
    }

    /// The configuration as TOML, defaults filled in, the broker's password left out.
    pub fn to_toml(&self) -> String {
        let mut shown = self.clone();
        if let Some(mqtt) = &mut shown.mqtt {
            mqtt.url = without_password(&mqtt.url);
        }
        toml::to_string(&shown).expect("every field has a TOML form")
    }

    /// What the control plane behind the API needs, beside the keys it reads from files.
    pub fn settings(&self, identities: Vec<ServerIdentity>) -> Settings {
        Settings {
            identities,
            actions: self.actions.clone(),
            payloads: self.payloads.clone(),
            account_id: self.aws.account_id.clone(),
            run_dir: self.run_dir.clone(),
            data_dir: self.data_dir.clone(),
            mqtt: self.mqtt.as_ref().map(|mqtt| MqttSettings {
                url: mqtt.url.clone(),
                client_id: mqtt.client_id.clone(),
            }),
            limits: Limits {
                publishes_in_flight_max: self.publish.in_flight_max,
                publish_timeout_ms: self.publish.timeout_ms,
                unavailable_max_age_s: self.publish.unavailable_max_age_s,
                confirmed_by: self.publish.confirmed_by,
                outbox: OutboxLimits {
                    entries_max: self.outbox.entries_max,
                    bytes_max: self.outbox.bytes_max,
                    give_up_ms: self.outbox.give_up_s * 1_000,
                },
                queue_messages_per_device_max: self.queue.messages_per_device_max,
                queue_ttl_ms: self.queue.ttl_s * 1_000,
                message_history_ms: self.queue.history_s * 1_000,
                stream_entries_max: self.stream.entries_max,
                stream_bytes_max: self.stream.bytes_max,
                stream_age_max_ms: self.stream.age_max_s * 1_000,
                account_quotas: self.account_quotas,
                device_uplinks: self.device_quotas.uplinks(),
                log: self.customer_log.limits(),
                metrics: self.summary_metrics.limits(),
            },
        }
    }

    /// The parts of ARNs and signatures.
    pub fn aws(&self) -> Aws {
        Aws {
            partition: self.aws.partition.clone(),
            region: self.aws.region.clone(),
            account_id: self.aws.account_id.clone(),
        }
    }

    /// What GetServiceEndpoint tells.
    pub fn endpoints(&self, raw_key: ServerPublicKey) -> Endpoints {
        let raw_key = Some(raw_key);
        let EndpointsConfig { coap, cups, lns } = self.endpoints.clone();
        Endpoints { coap, cups, lns, raw_key }
    }

    /// Bounds of the API.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            body_bytes_max: self.http.body_bytes_max,
            head_timeout: Duration::from_millis(self.http.head_timeout_ms),
            body_timeout: Duration::from_millis(self.http.body_timeout_ms),
            requests_max: self.http.requests_max,
            streams_max: self.http.followers_max,
        }
    }
}

impl AwsConfig {
    fn check(&self) -> Result<(), String> {
        let id = &self.account_id;
        if id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("aws.account_id = \"{id}\" must be 12 digits"));
        }
        for (name, text) in [("region", &self.region), ("partition", &self.partition)] {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if text.is_empty() || text.len() > 32 || !text.bytes().all(good) {
                return Err(format!("aws.{name} = \"{text}\" must be 1 to 32 of a-z, 0-9 and -"));
            }
        }
        Ok(())
    }
}

impl EndpointsConfig {
    fn check(&self) -> Result<(), String> {
        for (name, url) in [("coap", &self.coap), ("cups", &self.cups), ("lns", &self.lns)] {
            if let Some(url) = url
                && !(1..=256).contains(&url.chars().count())
            {
                return Err(format!("endpoints.{name} must have 1 to 256 characters"));
            }
        }
        Ok(())
    }
}

impl MqttConfig {
    fn check(&self) -> Result<(), String> {
        if !self.url.starts_with("mqtt://") || self.url.len() <= "mqtt://".len() {
            return Err("mqtt.url must be mqtt://[user[:password]@]host[:1883]".to_owned());
        }
        if let Some(id) = &self.client_id
            && !(1..=23).contains(&id.len())
        {
            return Err(format!("mqtt.client_id = \"{id}\" must have 1 to 23 characters"));
        }
        Ok(())
    }
}

fn within(name: &str, value: u64, low: u64, high: u64) -> Result<(), String> {
    if value < low || value > high {
        return Err(format!("{name} = {value} is outside {low}..={high}"));
    }
    Ok(())
}

/// `mqtt://user:password@host` with the password as dots.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{scheme}://{user}:…@{host}"),
        None => url.to_owned(),
    }
}

const YEAR_S: u64 = 31_536_000;

impl Default for Config {
    fn default() -> Self {
        Self {
            run_dir: PathBuf::from("/run/tidegate"),
            data_dir: PathBuf::from("/var/lib/tidegate"),
            http: HttpConfig::default(),
            aws: AwsConfig::default(),
            endpoints: EndpointsConfig::default(),
            server_identity: Vec::new(),
            mqtt: None,
            publish: PublishConfig::default(),
            outbox: OutboxConfig::default(),
            actions: sinks::Settings::default(),
            payloads: payloads::Settings::default(),
            queue: QueueConfig::default(),
            stream: StreamConfig::default(),
            account_quotas: Quotas::default(),
            log: LogConfig::default(),
            device_quotas: DeviceQuotasConfig::default(),
            customer_log: CustomerLogConfig::default(),
            summary_metrics: SummaryMetricsConfig::default(),
            metrics: MetricsConfig::default(),
            confine: ConfineConfig::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            unix_socket: None,
            body_bytes_max: 524_288,
            head_timeout_ms: 30_000,
            body_timeout_ms: 10_000,
            requests_max: 1_024,
            followers_max: 64,
            tls: None,
        }
    }
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            partition: "aws".to_owned(),
        }
    }
}

impl Default for PublishConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            in_flight_max: limits.publishes_in_flight_max,
            timeout_ms: limits.publish_timeout_ms,
            unavailable_max_age_s: limits.unavailable_max_age_s,
            confirmed_by: limits.confirmed_by,
        }
    }
}

impl Default for OutboxConfig {
    fn default() -> Self {
        let OutboxLimits { entries_max, bytes_max, give_up_ms } = Limits::default().outbox;
        Self { entries_max, bytes_max, give_up_s: give_up_ms / 1_000 }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            messages_per_device_max: limits.queue_messages_per_device_max,
            ttl_s: limits.queue_ttl_ms / 1_000,
            history_s: limits.message_history_ms / 1_000,
        }
    }
}

impl Default for StreamConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            entries_max: limits.stream_entries_max,
            bytes_max: limits.stream_bytes_max,
            age_max_s: limits.stream_age_max_ms / 1_000,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned() }
    }
}

#[cfg(test)]
mod tests;
