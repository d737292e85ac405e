//! Whom to load, and as whom? The server's URI, credentials, and what the devices offer.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidegate_crypto::agreement::Group;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::Suite;
use zeroize::Zeroizing;

use super::phase::Phase;
use super::within;
use crate::profile::{Profile, parse_cid, parse_group, parse_psk, parse_suite};

/// The server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `coaps://host[:port]` CoAP over DTLS, `coap://host[:port]` plain CoAP, `udp://host:port`
    /// bare datagrams against an echo.
    pub server: String,
    /// Processes whose CPU time is the server's; `--server-pid` on the command line.
    #[serde(default)]
    pub server_pid: Vec<u32>,
}

/// What a URI says about a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The scheme.
    pub transport: Transport,
    /// Name or address, without brackets.
    pub host: String,
    /// 5684 or 5683 unless named.
    pub port: u16,
}

/// What carries the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// CoAP over DTLS 1.2.
    Dtls,
    /// Plain CoAP.
    Coap,
    /// Bare datagrams that come back as they are.
    Udp,
}

/// As whom the devices come, and what they offer: as on the command line of `request`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dtls {
    /// PSK identity; `{n}` becomes the device's number, from 0.
    pub psk_identity: Option<String>,
    /// The pre-shared key, the same for all: text, or hex digits after 0x.
    #[serde(skip_serializing)]
    pub psk: Option<Psk>,
    /// X.509 chain of all devices, leaf first: PEM or DER.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// A raw public key's private half.
    pub raw_key: Option<PathBuf>,
    /// X.509 certificates to believe.
    pub authority: Vec<PathBuf>,
    /// The server's raw public key: files, or base64.
    pub server_raw_key: Vec<String>,
    /// What the server is called, if it is not the URI's host.
    pub server_name: Option<String>,
    /// Cipher suites by IANA name, `TLS_` left out or not, in the order of preference; empty: all.
    pub suites: Vec<String>,
    /// Groups in the order of preference; empty: all.
    pub groups: Vec<String>,
    /// Whether a Connection ID is offered (RFC 9146).
    pub connection_id: bool,
    /// The Connection ID for records toward the devices, hex digits; empty: of no length.
    pub own_cid: String,
    /// Whether the return routability check is offered (RFC 9853).
    pub return_routability: bool,
    /// Whether the extended master secret is offered (RFC 7627).
    pub extended_master_secret: bool,
    /// Asks for records of at most 512, 1024, 2048 or 4096 bytes: the code, 1..=4.
    pub max_fragment_length: Option<u8>,
    /// Longest datagram of a handshake, bytes, 96..=1500.
    pub mtu: u64,
    /// When a handshake is given up, s, 1..=600.
    pub timeout_s: u64,
}

/// A key: text, or hex digits after 0x. Never printed.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Psk(Secret);

impl TryFrom<String> for Psk {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_psk(&Zeroizing::new(text)).map(Self)
    }
}

impl Target {
    /// What the URI says.
    pub fn address(&self) -> Result<Address, String> {
        let bad = |what: &str| format!("target.server = {:?}: {what}", self.server);
        let (scheme, rest) = self.server.split_once("://").unwrap_or(("", ""));
        let (transport, port) = match scheme {
            "coaps" => (Transport::Dtls, Some(5_684)),
            "coap" => (Transport::Coap, Some(5_683)),
            "udp" => (Transport::Udp, None),
            _ => return Err(bad("begins with coaps://, coap:// or udp://")),
        };
        let authority = rest.trim_end_matches('/');
        if authority.contains('/') {
            return Err(bad("paths stand in a phase's requests"));
        }
        let (host, named) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => authority.rsplit_once(':').map_or((authority, None), |(h, p)| (h, Some(p))),
        };
        if host.is_empty() {
            return Err(bad("names no host"));
        }
        let port = match named {
            Some(port) => port.parse().map_err(|_| bad("a port is a number"))?,
            None => port.ok_or_else(|| bad("udp has no port of its own: name one"))?,
        };
        Ok(Address { transport, host: host.to_owned(), port })
    }
}

impl Dtls {
    pub(super) fn check(&self, transport: Transport) -> Result<(), String> {
        within("dtls.mtu", self.mtu, 96, 1_500)?;
        within("dtls.timeout_s", self.timeout_s, 1, 600)?;
        if let Some(code) = self.max_fragment_length {
            within("dtls.max_fragment_length", code, 1, 4)?;
        }
        let credentials = [
            self.psk.is_some(),
            self.certificate.is_some(),
            self.raw_key.is_some(),
            !self.authority.is_empty() || !self.server_raw_key.is_empty(),
        ];
        if transport == Transport::Dtls && !credentials.contains(&true) {
            return Err("dtls: psk_identity and psk, or keys and whom to believe".to_owned());
        }
        for (both, one, other) in [
            ("psk_identity and psk", self.psk_identity.is_some(), self.psk.is_some()),
            ("certificate and key", self.certificate.is_some(), self.key.is_some()),
        ] {
            if one != other {
                return Err(format!("dtls: {both} belong together"));
            }
        }
        if credentials[..3].iter().filter(|&&is| is).count() > 1 {
            return Err("dtls: one of psk, certificate and raw_key".to_owned());
        }
        self.to_profile().map(drop)
    }

    /// What the devices offer in one phase.
    #[must_use]
    pub fn of(&self, phase: &Phase) -> Self {
        let suites = if phase.suites.is_empty() { &self.suites } else { &phase.suites };
        let connection_id = phase.connection_id.unwrap_or(self.connection_id);
        Self { suites: suites.clone(), connection_id, ..self.clone() }
    }

    /// The same as a command line has it.
    pub fn to_profile(&self) -> Result<Profile, String> {
        let suite = |name: &String| {
            parse_suite(name).map_err(|_| format!("dtls.suites: {name} is not a suite we speak"))
        };
        let group = |name: &String| {
            parse_group(name).map_err(|_| format!("dtls.groups: {name} is not a group we speak"))
        };
        let cid = parse_cid(&self.own_cid).map_err(|error| format!("dtls.own_cid: {error}"))?;
        Ok(Profile {
            psk_identity: self.psk_identity.clone(),
            psk: self.psk.as_ref().map(|psk| psk.0.clone()),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            raw_key: self.raw_key.clone(),
            authority: self.authority.clone(),
            server_raw_key: self.server_raw_key.clone(),
            server_name: self.server_name.clone(),
            suite: self.suites.iter().map(suite).collect::<Result<Vec<Suite>, _>>()?,
            group: self.groups.iter().map(group).collect::<Result<Vec<Group>, _>>()?,
            cid: Some(cid),
            no_cid: !self.connection_id,
            no_rrc: !self.return_routability,
            no_ems: !self.extended_master_secret,
            max_fragment_length: self.max_fragment_length,
            mtu: self.mtu,
            timeout: self.timeout_s,
        })
    }
}

/// What a command line says.
impl From<&Profile> for Dtls {
    fn from(profile: &Profile) -> Self {
        Self {
            psk_identity: profile.psk_identity.clone(),
            psk: profile.psk.clone().map(Psk),
            certificate: profile.certificate.clone(),
            key: profile.key.clone(),
            raw_key: profile.raw_key.clone(),
            authority: profile.authority.clone(),
            server_raw_key: profile.server_raw_key.clone(),
            server_name: profile.server_name.clone(),
            suites: profile.suite.iter().map(|suite| suite.name().to_owned()).collect(),
            groups: profile.group.iter().map(|group| group.name().to_owned()).collect(),
            connection_id: !profile.no_cid,
            own_cid: profile.own_cid().map(hex::encode).unwrap_or_default(),
            return_routability: !profile.no_rrc,
            extended_master_secret: !profile.no_ems,
            max_fragment_length: profile.max_fragment_length,
            mtu: profile.mtu,
            timeout_s: profile.timeout,
        }
    }
}

impl Default for Dtls {
    fn default() -> Self {
        Self {
            psk_identity: None,
            psk: None,
            certificate: None,
            key: None,
            raw_key: None,
            authority: Vec::new(),
            server_raw_key: Vec::new(),
            server_name: None,
            suites: Vec::new(),
            groups: Vec::new(),
            connection_id: true,
            own_cid: String::new(),
            return_routability: true,
            extended_master_secret: true,
            max_fragment_length: None,
            mtu: 1_200,
            timeout_s: 10,
        }
    }
}

impl Address {
    /// The first socket address of the host.
    pub fn resolve(&self) -> io::Result<std::net::SocketAddr> {
        crate::request::resolve(&(self.host.as_str(), self.port))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(server: &str) -> Result<Address, String> {
        Target { server: server.to_owned(), server_pid: Vec::new() }.address()
    }

    #[test]
    fn the_scheme_says_what_carries_the_requests() {
        let of = |server| address(server).map(|a| (a.transport, a.host, a.port)).unwrap();
        assert_eq!(of("coaps://edge.example"), (Transport::Dtls, "edge.example".into(), 5_684));
        assert_eq!(of("coap://127.0.0.1/"), (Transport::Coap, "127.0.0.1".into(), 5_683));
        assert_eq!(of("coaps://[::1]:7000"), (Transport::Dtls, "::1".into(), 7_000));
        assert_eq!(of("udp://127.0.0.1:7"), (Transport::Udp, "127.0.0.1".into(), 7));
        for bad in
            ["127.0.0.1:5684", "http://a", "coaps://", "coaps://a:b", "coap://a/path", "udp://a"]
        {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        let text = "psk_identity = \"a\"\npsk = \"hush-hush\"";
        let dtls: Dtls = toml::from_str(text).unwrap();
        assert!(!format!("{dtls:?}").contains("hush"));
        assert!(!toml::to_string(&dtls).unwrap().contains("hush"));
        assert_eq!(dtls.to_profile().unwrap().psk.unwrap().as_bytes(), b"hush-hush");
    }

    #[test]
    fn a_command_line_says_the_same_as_a_file() {
        let text = "psk_identity = 'a'\npsk = '0x0102'\nserver_name = 'b'\nauthority = ['c']\n\
            suites = ['TLS_PSK_WITH_AES_128_CCM']\ngroups = ['x25519']\nown_cid = '0a0b'\n\
            return_routability = false\nextended_master_secret = false\nmtu = 512\n\
            max_fragment_length = 2\ntimeout_s = 3";
        let dtls: Dtls = toml::from_str(text).unwrap();
        let again = Dtls::from(&dtls.to_profile().unwrap());
        assert_eq!(toml::to_string(&again).unwrap(), toml::to_string(&dtls).unwrap());
        assert_eq!(again.to_profile().unwrap().psk.unwrap().as_bytes(), [1, 2]);
    }

    #[test]
    fn a_dtls_target_needs_credentials_that_fit_together() {
        let check = |text: &str| toml::from_str::<Dtls>(text).unwrap().check(Transport::Dtls);
        assert!(check("psk_identity = 'a'\npsk = '0x00ff'").is_ok());
        assert!(check("authority = ['ca.pem']").is_ok());
        assert!(check("certificate = 'a.pem'\nkey = 'a.key'\nauthority = ['ca.pem']").is_ok());
        assert!(check("").unwrap_err().contains("psk_identity"));
        assert!(check("psk_identity = 'a'").is_err() && check("psk = 'a'").is_err());
        assert!(toml::from_str::<Dtls>("psk_identity = 'a'\npsk = '0xf'").is_err());
        assert!(check("psk_identity = 'a'\npsk = 'b'\nraw_key = 'c'").is_err());
        assert!(check("certificate = 'a.pem'").is_err());
        let with = |text: &str| check(&format!("psk_identity = 'a'\npsk = 'b'\n{text}"));
        assert!(with("suites = ['PSK_WITH_AES_128_CCM_8', 'TLS_PSK_WITH_AES_128_CCM']").is_ok());
        assert!(with("suites = ['PSK_WITH_NULL_SHA']").unwrap_err().contains("NULL"));
        assert!(with("groups = ['secp521r1']").unwrap_err().contains("secp521r1"));
        assert!(with("own_cid = '0102'").is_ok() && with("own_cid = '1'").is_err());
        assert!(with("mtu = 96").is_ok() && with("mtu = 95").is_err());
        assert!(
            with("max_fragment_length = 4").is_ok() && with("max_fragment_length = 5").is_err()
        );
        assert!(Dtls::default().check(Transport::Coap).is_ok(), "plain CoAP has no credentials");
    }
}
