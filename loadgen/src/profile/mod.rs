//! As whom does a device come, and what does it offer? The part of a command line that all
//! commands with devices share.

mod credential;

use std::io;
use std::path::PathBuf;

use clap::Args;
use tidegate_crypto::agreement::Group;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::client::{Config, Credential, Link as LinkSettings};
use tidegate_dtls::{Suite, Timing};

/// Credential, trust and what is negotiated.
#[derive(Args, Clone, Debug)]
pub struct Profile {
    /// PSK identity.
    #[arg(long, requires = "psk", value_name = "TEXT")]
    pub psk_identity: Option<String>,
    /// The pre-shared key: text, or hex digits after 0x.
    #[arg(long, requires = "psk_identity", value_name = "TEXT|0xHEX", value_parser = parse_psk)]
    pub psk: Option<Secret>,
    /// Our X.509 chain, leaf first: PEM or DER.
    #[arg(long, requires = "key", conflicts_with = "psk", value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM or DER.
    #[arg(long, requires = "certificate", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Our raw public key's private half, PEM or DER.
    #[arg(long, conflicts_with_all = ["psk", "certificate"], value_name = "FILE")]
    pub raw_key: Option<PathBuf>,
    /// Whom to believe: X.509 certificates, PEM or DER. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub authority: Vec<PathBuf>,
    /// The server's raw public key: a file (PEM or DER of a SubjectPublicKeyInfo), or base64 of it.
    /// May be repeated.
    #[arg(long, value_name = "FILE|BASE64")]
    pub server_raw_key: Vec<String>,
    /// What the server is called, if it is not the URI's host.
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,

    /// Cipher suites in the order of preference, by their IANA names; all unless named.
    #[arg(long, value_name = "NAME", value_parser = parse_suite)]
    pub suite: Vec<Suite>,
    /// Groups in the order of preference: x25519, secp256r1, secp384r1; all unless named. With
    /// certificates and raw public keys, the curves of their keys have to be among them.
    #[arg(long, value_name = "NAME", value_parser = parse_group)]
    pub group: Vec<Group>,
    /// The Connection ID that records toward us shall carry; empty unless named.
    #[arg(long, value_name = "HEX", conflicts_with = "no_cid", value_parser = parse_cid)]
    pub cid: Option<Cid>,
    /// Does not offer a Connection ID.
    #[arg(long)]
    pub no_cid: bool,
    /// Does not offer the return routability check.
    #[arg(long)]
    pub no_rrc: bool,
    /// Does not offer extended_master_secret.
    #[arg(long)]
    pub no_ems: bool,
    /// Asks for records of at most 512, 1024, 2048 or 4096 bytes: the code, 1–4.
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub max_fragment_length: Option<u8>,
    /// Longest datagram of the handshake, bytes.
    #[arg(long, default_value_t = 1_200, value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(96..=1_500))]
    pub mtu: u64,

    /// How long to wait for the session, and for each response, seconds.
    #[arg(long, default_value_t = 10, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
}

/// A Connection ID.
#[derive(Clone, Debug)]
pub struct Cid(Vec<u8>);

impl Profile {
    /// What the device offers; `host` is what the server is called unless told otherwise.
    pub fn config(&self, host: Option<&str>) -> io::Result<Config> {
        let all = Config::default();
        let or =
            |named: &[Suite]| if named.is_empty() { all.suites.clone() } else { named.to_vec() };
        let groups = &self.group;
        let name = self.server_name.as_deref().or(host);
        Ok(Config {
            suites: or(&self.suite),
            groups: if groups.is_empty() { all.groups } else { groups.clone() },
            extended_master_secret: !self.no_ems,
            max_fragment_length: self.max_fragment_length,
            server_name: name.map(str::to_owned),
            return_routability: !self.no_rrc,
            trust: credential::trust(self)?,
            link: LinkSettings {
                mtu: self.mtu as usize,
                timing: Timing { retransmissions_max: 16, ..Timing::default() },
                ..LinkSettings::default()
            },
        })
    }

    /// Who the device is.
    pub fn credential(&self) -> io::Result<Credential> {
        credential::of(self)
    }

    /// The Connection ID it offers for records toward itself.
    pub fn own_cid(&self) -> Option<&[u8]> {
        let own_cid = self.cid.as_ref().map_or(&[][..], |cid| &cid.0);
        (!self.no_cid).then_some(own_cid)
    }
}

/// A pre-shared key on a command line: text, or hex digits after 0x.
pub fn parse_psk(text: &str) -> Result<Secret, String> {
    let bytes = match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).map_err(|error| error.to_string())?,
        None => text.as_bytes().to_vec(),
    };
    if bytes.is_empty() || bytes.len() > usize::from(u16::MAX) {
        return Err("a key has 1 to 65535 bytes".to_owned());
    }
    Ok(Secret::from(bytes))
}

pub(crate) fn parse_suite(name: &str) -> Result<Suite, String> {
    let known = Suite::from_name(name).or_else(|| Suite::from_name(&format!("TLS_{name}")));
    known.ok_or_else(|| "no known suite".to_owned())
}

pub(crate) fn parse_group(name: &str) -> Result<Group, String> {
    Group::from_name(name).ok_or_else(|| "no known group".to_owned())
}

pub(crate) fn parse_cid(digits: &str) -> Result<Cid, String> {
    let bytes = hex::decode(digits).map_err(|error| error.to_string())?;
    if bytes.len() > 32 { Err("at most 32 bytes".to_owned()) } else { Ok(Cid(bytes)) }
}
