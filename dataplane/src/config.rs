//! What may an operator set, and is it in range? One TOML file; unknown keys are errors.
//! Every knob is documented in `deploy/dataplane.toml`.

use crate::bounds;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tidegate_coap::block::BlockSize;
use tidegate_crypto::agreement::Group;
use tidegate_dtls::Suite;
use tidegate_ring::contract::BODY_BYTES_MAX;

/// The whole configuration of one dataplane process.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses of the CoAP-over-DTLS sockets; each worker has one socket per address.
    pub listen: Vec<SocketAddr>,
    /// Worker threads, 0..=64; 0 = one per core this process may run on.
    pub workers: u8,
    /// Directory of rings, doorbells and session slabs; on a tmpfs, mode 0700.
    pub run_dir: PathBuf,
    /// `[nosec]`
    pub nosec: NoSecConfig,
    /// `[net]`
    pub net: NetConfig,
    /// `[sessions]`
    pub sessions: SessionsConfig,
    /// `[resumption]`
    pub resumption: ResumptionConfig,
    /// `[handshake]`
    pub handshake: HandshakeConfig,
    /// `[coap]`
    pub coap: CoapConfig,
    /// `[echo]`
    pub echo: EchoConfig,
    /// `[confine]`
    pub confine: ConfineConfig,
}

/// What the process gives up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfineConfig {
    /// The user to become, when the process is root's; empty: stay.
    pub user: String,
    /// Whether capabilities, files and most system calls are given up once it serves.
    pub sandbox: bool,
    /// Whether memory is locked, where the limit allows it.
    pub lock_memory: bool,
}

impl Default for ConfineConfig {
    fn default() -> Self {
        Self { user: String::new(), sandbox: true, lock_memory: true }
    }
}

/// Plain CoAP for devices known by their source address (RFC 7252 section 9, NoSec).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoSecConfig {
    /// Addresses of the plain CoAP sockets, each named by the operator; none: no such socket.
    pub listen: Vec<SocketAddr>,
}

/// How datagrams move.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetConfig {
    /// `auto`, `io_uring`, `mmsg` or `xdp`.
    pub backend: Backend,
    /// The interface that `xdp` takes packets from.
    pub xdp_interface: String,
    /// Microseconds to look for work before sleeping, 0..=1000.
    pub spin_us: u32,
    /// Most microseconds to wait for a fuller batch under load, 0..=1000; 0 = never.
    pub gather_us: u32,
    /// Whether datagrams to one peer, one behind the other, leave in one call (UDP_SEGMENT).
    pub gso: bool,
}

/// Which system calls carry datagrams.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// io_uring where the kernel allows it, else `mmsg`.
    Auto,
    /// io_uring or an error.
    IoUring,
    /// recvmmsg and sendmmsg.
    Mmsg,
    /// AF_XDP on one interface where that can be had, else `auto`.
    Xdp,
}

/// How many sessions, how long.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionsConfig {
    /// Slots in each worker's slab, 1..=16777216, 240 bytes each.
    pub per_worker: u32,
    /// Seconds without an authentic record after which a session is forgotten; 0 = never.
    pub idle_timeout_s: u32,
    /// How long a device has to answer at a new address (RFC 9853), ms, 100..=60000.
    pub path_timeout_ms: u32,
}

/// How many sessions can be resumed, how long.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResumptionConfig {
    /// Sessions each worker keeps the secret of, 0..=16777216, 128 bytes each; 0 = none.
    pub per_worker: u32,
    /// Seconds after its full handshake in which a session can be resumed, 1..=86400.
    pub age_s: u32,
}

/// How handshakes are served.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HandshakeConfig {
    /// Cipher suites by IANA name without `TLS_`, most preferred first.
    pub suites: Vec<String>,
    /// Groups of key agreement by IANA name, most preferred first; none: no ECDHE suites.
    pub groups: Vec<String>,
    /// Whether a Connection ID is offered to devices that support it (RFC 9146).
    pub connection_id: bool,
    /// Whether a moved device that can be asked is asked before replies follow it (RFC 9853).
    pub return_routability: bool,
    /// Refuse devices without the extended master secret (RFC 7627).
    pub require_extended_master_secret: bool,
    /// Handshakes in progress per worker, 1..=65536.
    pub half_open: u32,
    /// How many of them one source may have (an IPv4 address, an IPv6 /64), 1..=65536.
    pub half_open_per_source: u32,
    /// Largest datagram of a handshake flight, bytes, 256..=1280.
    pub mtu: usize,
    /// When a flight without answer is sent again first, ms, 100..=60000; doubles each time.
    pub retransmit_ms: u32,
    /// How often it is sent again, 0..=10; one timeout later the handshake has failed.
    pub retransmissions: u32,
}

impl HandshakeConfig {
    /// The suites that are named.
    pub fn suites(&self) -> Result<Vec<Suite>, String> {
        let suite = |name: &String| {
            Suite::from_name(&format!("TLS_{name}"))
                .ok_or_else(|| format!("handshake.suites: {name} is not a suite we speak"))
        };
        self.suites.iter().map(suite).collect()
    }

    /// The groups that are named.
    pub fn groups(&self) -> Result<Vec<Group>, String> {
        let group = |name: &String| {
            Group::from_name(name)
                .ok_or_else(|| format!("handshake.groups: {name} is not a group we speak"))
        };
        self.groups.iter().map(group).collect()
    }
}

/// How requests are answered.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoapConfig {
    /// How long a PUT or DELETE waits for its publication before an empty ACK, ms, 0..=1900.
    pub publish_window_ms: u32,
    /// How long a GET or POST waits for the application before an empty ACK, ms, 0..=1900.
    pub answer_window_ms: u32,
    /// When a request without outcome is answered 5.04 (5.03 for PUT, DELETE), ms, 1000..=240000.
    pub response_timeout_ms: u32,
    /// ACK_TIMEOUT towards devices, ms, 1000..=60000 (RFC 7252 section 4.8).
    pub ack_timeout_ms: u32,
    /// MAX_RETRANSMIT towards devices, 0..=10.
    pub max_retransmit: u8,
    /// Max-Age of a 5.03 for a full ring, s.
    pub busy_max_age_s: u32,
    /// Requests of devices waiting for an outcome, per worker, 1..=1048576.
    pub exchanges: u32,
    /// Downlinks in progress or waiting, per worker, 1..=1048576.
    pub downlinks: u32,
    /// Largest block of a body, in either direction, bytes: 16, 32 … 1024 (RFC 7959).
    pub block_bytes: u16,
    /// Longest body of a request that comes block by block, bytes, 16..=1048576.
    pub upload_bytes: u32,
    /// Memory for bodies that are not whole yet, per worker, KiB, 1..=4194303.
    pub uploads_kib: u32,
    /// Seconds without a new block after which a body is forgotten, 1..=86400.
    pub upload_idle_s: u32,
}

/// A path that the dataplane answers by itself.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EchoConfig {
    /// A PUT to this Uri-Path is answered 2.04 and published nowhere; segments are separated by
    /// slashes. Empty: no such path.
    pub path: String,
}

impl EchoConfig {
    /// Whether every segment fits an option and none would be refused on its way in.
    fn check(&self) -> Result<(), String> {
        let is_bad = |segment: &str| matches!(segment, "" | "." | "..") || segment.len() > 255;
        if !self.path.is_empty() && self.path.split('/').any(is_bad) {
            return Err(format!(
                "echo.path = {:?}: segments of 1 to 255 bytes, separated by single slashes, none \
                 of them a dot or two",
                self.path
            ));
        }
        Ok(())
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let config: Self = toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        config.check().map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(config)
    }

    /// Says which value is out of its range.
    pub fn check(&self) -> Result<(), String> {
        fn within<T: PartialOrd + std::fmt::Display>(
            name: &str,
            value: T,
            low: T,
            high: T,
        ) -> Result<(), String> {
            if value < low || value > high {
                return Err(format!("{name} = {value} is outside {low}..={high}"));
            }
            Ok(())
        }
        within("listen: number of addresses", self.listen.len(), 1, 8)?;
        within("nosec.listen: number of addresses", self.nosec.listen.len(), 0, 8)?;
        self.nosec.listen.iter().try_for_each(|address| self.check_nosec(address))?;
        within("workers", self.workers, 0, bounds::WORKERS_MAX)?;
        if self.net.backend == Backend::Xdp && self.net.xdp_interface.is_empty() {
            return Err("net.xdp_interface: backend = \"xdp\" wants the name of one".into());
        }
        within("net.spin_us", self.net.spin_us, 0, 1_000)?;
        within("net.gather_us", self.net.gather_us, 0, 1_000)?;
        within("sessions.per_worker", self.sessions.per_worker, 1, bounds::SESSIONS_MAX)?;
        within("sessions.path_timeout_ms", self.sessions.path_timeout_ms, 100, 60_000)?;
        within("resumption.per_worker", self.resumption.per_worker, 0, bounds::RESUMPTIONS_MAX)?;
        within("resumption.age_s", self.resumption.age_s, 1, bounds::RESUMPTION_AGE_S_MAX)?;
        within("handshake.half_open", self.handshake.half_open, 1, 65_536)?;
        let per_source = self.handshake.half_open_per_source;
        within("handshake.half_open_per_source", per_source, 1, 65_536)?;
        within("handshake.mtu", self.handshake.mtu, 256, 1_280)?;
        within("handshake.retransmit_ms", self.handshake.retransmit_ms, 100, 60_000)?;
        within("handshake.retransmissions", self.handshake.retransmissions, 0, 10)?;
        within("handshake.suites: number", self.handshake.suites.len(), 1, Suite::ALL.len())?;
        self.handshake.suites()?;
        within("handshake.groups: number", self.handshake.groups.len(), 0, Group::ALL.len())?;
        self.handshake.groups()?;
        within("coap.publish_window_ms", self.coap.publish_window_ms, 0, 1_900)?;
        within("coap.answer_window_ms", self.coap.answer_window_ms, 0, 1_900)?;
        within("coap.response_timeout_ms", self.coap.response_timeout_ms, 1_000, 240_000)?;
        within("coap.ack_timeout_ms", self.coap.ack_timeout_ms, 1_000, 60_000)?;
        within("coap.max_retransmit", self.coap.max_retransmit, 0, 10)?;
        within("coap.busy_max_age_s", self.coap.busy_max_age_s, 1, 86_400)?;
        within("coap.exchanges", self.coap.exchanges, 1, 1 << 20)?;
        within("coap.downlinks", self.coap.downlinks, 1, 1 << 20)?;
        if BlockSize::exactly(self.coap.block_bytes.into()).is_none() {
            let bytes = self.coap.block_bytes;
            return Err(format!("coap.block_bytes = {bytes} is not one of 16, 32 … 1024"));
        }
        let longest = BODY_BYTES_MAX as u32;
        within("coap.upload_bytes", self.coap.upload_bytes, 16, longest)?;
        within("coap.uploads_kib", self.coap.uploads_kib, 1, bounds::UPLOADS_KIB_MAX)?;
        within("coap.upload_idle_s", self.coap.upload_idle_s, 1, 86_400)?;
        self.echo.check()
    }

    /// Plain CoAP is served where the operator says so and nowhere else.
    fn check_nosec(&self, address: &SocketAddr) -> Result<(), String> {
        if address.ip().is_unspecified() {
            return Err(format!(
                "nosec.listen: {address} would take plain CoAP on every interface; name the \
                 address of the network whose devices need it"
            ));
        }
        if address.ip().is_multicast() {
            return Err(format!("nosec.listen: {address} is a multicast address"));
        }
        if address.port() != 0 && self.listen.iter().any(|dtls| dtls.port() == address.port()) {
            return Err(format!("nosec.listen: {address} has the port of the DTLS sockets"));
        }
        Ok(())
    }

    /// Whether socket number `socket` of a worker carries plain CoAP: those of `nosec.listen` come
    /// after those of `listen`.
    pub fn is_nosec(&self, socket: u8) -> bool {
        usize::from(socket) >= self.listen.len()
    }

    /// The configuration as TOML, defaults filled in.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field has a TOML form")
    }

    /// How many workers to run on this machine.
    pub fn worker_count(&self) -> u8 {
        let cores = || {
            std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(bounds::WORKERS_MAX.into()) as u8
        };
        if self.workers == 0 { cores() } else { self.workers }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![
                "0.0.0.0:5684".parse().expect("a literal"),
                "[::]:5684".parse().expect("a literal"),
            ],
            workers: 0,
            run_dir: PathBuf::from("/run/tidegate"),
            nosec: NoSecConfig::default(),
            net: NetConfig::default(),
            sessions: SessionsConfig::default(),
            resumption: ResumptionConfig::default(),
            handshake: HandshakeConfig::default(),
            coap: CoapConfig::default(),
            echo: EchoConfig::default(),
            confine: ConfineConfig::default(),
        }
    }
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            backend: Backend::Auto,
            xdp_interface: String::new(),
            spin_us: 0,
            gather_us: 200,
            gso: true,
        }
    }
}

impl Default for SessionsConfig {
    fn default() -> Self {
        let per_worker = bounds::SESSIONS_DEFAULT;
        Self { per_worker, idle_timeout_s: 30 * 24 * 3_600, path_timeout_ms: 1_000 }
    }
}

impl Default for ResumptionConfig {
    fn default() -> Self {
        Self { per_worker: bounds::RESUMPTIONS_DEFAULT, age_s: bounds::RESUMPTION_AGE_S_MAX }
    }
}

impl Default for HandshakeConfig {
    fn default() -> Self {
        let names = Suite::ALL.iter().map(|suite| suite.name().trim_start_matches("TLS_"));
        Self {
            suites: names.map(String::from).collect(),
            groups: Group::ALL.iter().map(|group| group.name().into()).collect(),
            connection_id: true,
            return_routability: true,
            require_extended_master_secret: false,
            half_open: bounds::HANDSHAKES_DEFAULT,
            half_open_per_source: bounds::HANDSHAKES_PER_SOURCE_DEFAULT,
            mtu: 1_200,
            retransmit_ms: 1_000,
            retransmissions: 5,
        }
    }
}

impl Default for CoapConfig {
    fn default() -> Self {
        Self {
            publish_window_ms: 1_500,
            answer_window_ms: 0,
            response_timeout_ms: 60_000,
            ack_timeout_ms: 2_000,
            max_retransmit: 4,
            busy_max_age_s: 5,
            exchanges: bounds::INBOUND_DEFAULT,
            downlinks: bounds::OUTBOUND_DEFAULT,
            block_bytes: 1_024,
            upload_bytes: bounds::UPLOAD_BYTES_DEFAULT,
            uploads_kib: bounds::UPLOADS_KIB_DEFAULT,
            upload_idle_s: bounds::UPLOAD_IDLE_S_DEFAULT,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_passes_its_own_check_and_survives_printing() {
        let config = Config::default();
        config.check().unwrap();
        let again: Config = toml::from_str(&config.to_toml()).unwrap();
        assert_eq!(again.to_toml(), config.to_toml());
    }

    #[test]
    fn the_documented_values_are_the_defaults() {
        let documented = include_str!("../../deploy/dataplane.toml");
        let config: Config = toml::from_str(documented).unwrap();
        assert_eq!(config.to_toml(), Config::default().to_toml());
        let sections = |text: &str| text.lines().filter(|line| line.starts_with('[')).count();
        assert_eq!(sections(documented), sections(&config.to_toml()), "a section is missing");
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = toml::from_str::<Config>("[coap]\nack_timeout = 2").unwrap_err();
        assert!(error.to_string().contains("ack_timeout"), "{error}");
    }

    #[test]
    fn each_range_ends_where_it_says() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check()
        };
        assert!(with(|c| c.coap.publish_window_ms = 1_900).is_ok());
        assert!(with(|c| c.coap.publish_window_ms = 1_901).is_err());
        assert!(with(|c| c.net.gather_us = 1_000).is_ok());
        assert!(with(|c| c.net.gather_us = 1_001).is_err());
        let named = |name: &str| {
            let mut config = Config::default();
            (config.net.backend, config.net.xdp_interface) = (Backend::Xdp, name.into());
            config.check()
        };
        assert!(named("eth0").is_ok() && named("").unwrap_err().contains("xdp_interface"));
        assert!(with(|c| c.sessions.per_worker = bounds::SESSIONS_MAX).is_ok());
        assert!(with(|c| c.sessions.per_worker = bounds::SESSIONS_MAX + 1).is_err());
        assert!(with(|c| c.sessions.per_worker = 0).is_err());
        assert!(with(|c| c.workers = 64).is_ok());
        assert!(with(|c| c.workers = 65).is_err());
        assert!(with(|c| c.sessions.path_timeout_ms = 100).is_ok());
        assert!(with(|c| c.sessions.path_timeout_ms = 99).is_err());
        assert!(with(|c| c.sessions.path_timeout_ms = 60_001).is_err());
        assert!(with(|c| c.resumption.per_worker = 0).is_ok());
        assert!(with(|c| c.resumption.per_worker = bounds::RESUMPTIONS_MAX).is_ok());
        assert!(with(|c| c.resumption.per_worker = bounds::RESUMPTIONS_MAX + 1).is_err());
        assert!(with(|c| c.resumption.age_s = 86_400).is_ok());
        assert!(with(|c| c.resumption.age_s = 86_401).is_err());
        assert!(with(|c| c.resumption.age_s = 0).is_err());
        assert!(with(|c| c.handshake.mtu = 255).is_err());
        assert!(with(|c| c.handshake.retransmit_ms = 100).is_ok());
        assert!(with(|c| c.handshake.retransmit_ms = 99).is_err());
        assert!(with(|c| c.handshake.retransmit_ms = 60_001).is_err());
        assert!(with(|c| c.handshake.retransmissions = 10).is_ok());
        assert!(with(|c| c.handshake.retransmissions = 11).is_err());
        assert!(with(|c| c.handshake.half_open_per_source = 1).is_ok());
        assert!(with(|c| c.handshake.half_open_per_source = 0).is_err());
        assert!(with(|c| c.listen.clear()).is_err());
    }

    #[test]
    fn blocks_and_bodies_have_the_sizes_of_rfc_7959_and_of_the_ring() {
        let with = |block_bytes, upload_bytes, uploads_kib| {
            let mut config = Config::default();
            config.coap = CoapConfig { block_bytes, upload_bytes, uploads_kib, ..config.coap };
            config.check()
        };
        for block_bytes in [16, 64, 512, 1_024] {
            assert!(with(block_bytes, 16, 1).is_ok());
        }
        for block_bytes in [0, 8, 100, 1_000, 2_048] {
            assert!(with(block_bytes, 16, 1).unwrap_err().contains("block_bytes"));
        }
        assert!(with(1_024, 1 << 20, bounds::UPLOADS_KIB_MAX).is_ok());
        assert!(with(1_024, (1 << 20) + 1, 1).is_err() && with(1_024, 15, 1).is_err());
        assert!(with(1_024, 16, bounds::UPLOADS_KIB_MAX + 1).is_err());
        assert!(with(1_024, 16, 0).is_err());
    }

    #[test]
    fn a_suite_is_one_we_speak() {
        let with = |suites: &[&str]| {
            let mut config = Config::default();
            config.handshake.suites = suites.iter().map(|name| (*name).into()).collect();
            config.check()
        };
        assert!(with(&["ECDHE_PSK_WITH_AES_256_GCM_SHA384"]).is_ok());
        assert!(with(&["ECDHE_PSK_WITH_AES_256_GCM_SHA378"]).is_ok(), "as a library writes it");
        let error = with(&["PSK_WITH_AES_128_CCM_8", "PSK_WITH_NULL_SHA"]).unwrap_err();
        assert!(error.contains("PSK_WITH_NULL_SHA"), "{error}");
        assert!(with(&[]).is_err() && with(&["PSK_WITH_AES_128_CCM"; 15]).is_err());
    }

    #[test]
    fn a_group_is_one_we_speak() {
        let with = |groups: &[&str]| {
            let mut config = Config::default();
            config.handshake.groups = groups.iter().map(|name| (*name).into()).collect();
            config.check()
        };
        assert!(with(&["secp384r1", "x25519"]).is_ok() && with(&[]).is_ok());
        assert!(with(&["secp521r1"]).unwrap_err().contains("secp521r1"));
        assert!(with(&["x25519"; 4]).is_err());
    }

    /// NoSec is off until the operator names an address, and no wildcard is a name.
    #[test]
    fn plain_coap_is_served_only_where_the_operator_says() {
        assert!(Config::default().nosec.listen.is_empty());
        let with = |listen: &[&str]| {
            let listen = listen.iter().map(|text| text.parse().unwrap()).collect();
            Config { nosec: NoSecConfig { listen }, ..Config::default() }.check()
        };
        assert!(with(&["192.0.2.1:5683", "[2001:db8::1]:5683"]).is_ok());
        for wildcard in ["0.0.0.0:5683", "[::]:5683"] {
            let error = with(&[wildcard]).unwrap_err();
            assert!(error.contains(wildcard) && error.contains("every interface"), "{error}");
        }
        assert!(with(&["224.0.1.187:5683"]).is_err() && with(&["[ff02::fd]:5683"]).is_err());
        assert!(with(&["192.0.2.1:5684"]).unwrap_err().contains("DTLS"));
        assert!(with(&["127.0.0.1:0"; 8]).is_ok() && with(&["127.0.0.1:0"; 9]).is_err());
    }

    #[test]
    fn the_echo_path_is_one_that_a_request_can_name() {
        let with = |path: &str| {
            Config { echo: EchoConfig { path: path.into() }, ..Config::default() }.check()
        };
        assert!(with("").is_ok() && with("echo").is_ok() && with("a/b").is_ok());
        assert!(with(&"x".repeat(255)).is_ok() && with(&"x".repeat(256)).is_err());
        for path in ["/echo", "echo/", "a//b", ".", "a/.."] {
            assert!(with(path).is_err(), "{path}");
        }
    }

    #[test]
    fn sockets_of_plain_coap_come_after_those_of_dtls() {
        let config = Config::default();
        assert_eq!([0, 1, 2].map(|socket| config.is_nosec(socket)), [false, false, true]);
    }
}
