//! How does one device look from a command line? Requests over DTLS with every credential and
//! suite, resumption and a new source port in mid-session, against any server.
//!
//! ```text
//! negotiated: handshake=full suite=TLS_PSK_WITH_AES_128_CCM_8 cid_out=6 cid_in=0 …
//! response: 2.05
//! payload: 21.5
//! ```

mod credential;
mod link;

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tidegate_coap::code::Code;
use tidegate_crypto::agreement::Group;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::client::{Config, Credential, Link as LinkSettings, Session};
use tidegate_dtls::{Established, Suite, Timing};

use self::link::Link;
pub use self::link::Reply;

/// What to ask, of whom, and as whom.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Where: `coaps://host[:port]/path[?query]`.
    #[arg(value_name = "URI")]
    pub uri: Uri,
    /// GET, PUT, POST, DELETE…
    #[arg(short, long, default_value = "GET", value_name = "METHOD", value_parser = parse_method)]
    pub method: Code,
    /// The payload, as text.
    #[arg(short = 'e', long, default_value = "", value_name = "TEXT")]
    pub payload: String,
    /// Sends the payload as it is, without CoAP around it, and prints what comes back.
    #[arg(long)]
    pub raw: bool,

    /// PSK identity.
    #[arg(long, requires = "psk", value_name = "TEXT")]
    pub psk_identity: Option<String>,
    /// The pre-shared key: text, or hex digits after 0x.
    #[arg(long, requires = "psk_identity", value_name = "TEXT|0xHEX", value_parser = parse_psk)]
    pub psk: Option<Secret>,
    /// Our X.509 chain, leaf first: PEM or DER.
    #[arg(long, requires = "key", conflicts_with = "psk", value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Its private key: PKCS#8, PEM or DER.
    #[arg(long, requires = "certificate", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Our raw public key's private half: PKCS#8, PEM or DER.
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
    /// Groups in the order of preference: x25519, secp256r1, secp384r1; all unless named.
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

    /// Closes and resumes the session so many times, with a request each time.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub resume: u32,
    /// Goes on from another source port after the request, and asks again.
    #[arg(long)]
    pub rebind: bool,
    /// How long to wait for the session, and for each response, seconds.
    #[arg(long, default_value_t = 10, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
}

/// A Connection ID.
#[derive(Clone, Debug)]
pub struct Cid(Vec<u8>);

/// Does it all and says what happened; false when anything but a 2.xx came back.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<bool> {
    let config = Arc::new(config(arguments)?);
    let credential = credential::of(arguments)?;
    let server = arguments.uri.resolve()?;
    let mut session: Option<Session> = None;
    let mut is_good = true;
    for _ in 0..=arguments.resume {
        let asked = ask(arguments, &config, &credential, server, session.as_ref(), out)?;
        is_good &= asked.is_good;
        session = asked.session;
    }
    Ok(is_good)
}

/// What one session left behind.
struct Asked {
    is_good: bool,
    session: Option<Session>,
}

/// One session from its handshake to its close.
fn ask(
    arguments: &Arguments,
    config: &Arc<Config>,
    credential: &Credential,
    server: SocketAddr,
    session: Option<&Session>,
    out: &mut dyn Write,
) -> io::Result<Asked> {
    let timeout = Duration::from_secs(arguments.timeout);
    let own_cid = arguments.cid.as_ref().map_or(&[][..], |cid| &cid.0);
    let own_cid = (!arguments.no_cid).then_some(own_cid);
    let mut link = Link::connect(server, config, credential.clone(), own_cid, session)?;
    if let Err(failure) = link.shake_hands(timeout)? {
        writeln!(out, "failed: {failure:?}")?;
        return Ok(Asked { is_good: false, session: None });
    }
    let is_resumed = link.device.is_resumed();
    let kept = link.device.resumable().cloned();
    if let Some(established) = link.device.session() {
        writeln!(out, "negotiated: {}", negotiated(established, is_resumed, kept.is_some()))?;
    }
    let mut is_good = exchange(arguments, &mut link, timeout, out)?;
    if arguments.rebind {
        link.rebind()?;
        is_good &= exchange(arguments, &mut link, timeout, out)?;
        writeln!(out, "rebound: challenges={}", link.device.challenges())?;
    }
    link.close()?;
    Ok(Asked { is_good, session: kept })
}

fn exchange(
    arguments: &Arguments,
    link: &mut Link,
    timeout: Duration,
    out: &mut dyn Write,
) -> io::Result<bool> {
    let payload = arguments.payload.as_bytes();
    let reply = if arguments.raw {
        link.exchange_raw(payload, timeout)?
    } else {
        link.exchange(&arguments.uri, arguments.method, payload, timeout)?
    };
    let Some(Reply { code, payload }) = reply else {
        writeln!(out, "response: none")?;
        return Ok(false);
    };
    match code {
        Some(code) => writeln!(out, "response: {}.{:02}", code.class(), code.detail())?,
        None => writeln!(out, "response: raw")?,
    }
    match str::from_utf8(&payload) {
        Ok(text) => writeln!(out, "payload: {}", text.trim_end())?,
        Err(_) => writeln!(out, "payload: 0x{}", hex::encode(&payload))?,
    }
    Ok(code.is_none_or(Code::is_success))
}

fn negotiated(session: &Established, is_resumed: bool, is_resumable: bool) -> String {
    let yes = |is| if is { "yes" } else { "no" };
    format!(
        "handshake={} suite={} cid_out={} cid_in={} extended_master_secret={} \
         return_routability={} resumable={} record_bytes_max={}",
        if is_resumed { "resumed" } else { "full" },
        session.suite().map_or("none", Suite::name),
        session.peer_cid().len(),
        session.own_cid_len(),
        yes(session.has_extended_master_secret()),
        yes(session.has_return_routability()),
        yes(is_resumable),
        session.content_bytes_max(),
    )
}

fn config(arguments: &Arguments) -> io::Result<Config> {
    let all = Config::default();
    let or = |named: &[Suite]| if named.is_empty() { all.suites.clone() } else { named.to_vec() };
    let groups = &arguments.group;
    let host = arguments.server_name.as_ref().unwrap_or(&arguments.uri.host);
    Ok(Config {
        suites: or(&arguments.suite),
        groups: if groups.is_empty() { all.groups } else { groups.clone() },
        extended_master_secret: !arguments.no_ems,
        max_fragment_length: arguments.max_fragment_length,
        server_name: Some(host.clone()),
        return_routability: !arguments.no_rrc,
        trust: credential::trust(arguments)?,
        link: LinkSettings {
            mtu: arguments.mtu as usize,
            timing: Timing { retransmissions_max: 16, ..Timing::default() },
            ..LinkSettings::default()
        },
    })
}

/// Where to send a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// Name or address, without brackets.
    pub host: String,
    /// 5684 unless named.
    pub port: u16,
    /// Segments of the path, as they are.
    pub path: Vec<String>,
    /// Parts of the query.
    pub query: Vec<String>,
}

impl FromStr for Uri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("coaps://").ok_or("a URI begins with coaps://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => authority.rsplit_once(':').map_or((authority, None), |(h, p)| (h, Some(p))),
        };
        let port = port.map_or(Ok(5684), str::parse).map_err(|_| "a port is a number")?;
        if host.is_empty() {
            return Err("a URI names a host".to_owned());
        }
        let parts = |text: &str, by: char| {
            text.split(by).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let (path, query) = (parts(path, '/'), parts(query, '&'));
        Ok(Self { host: host.to_owned(), port, path, query })
    }
}

impl Uri {
    fn resolve(&self) -> io::Result<SocketAddr> {
        let mut found = (self.host.as_str(), self.port).to_socket_addrs()?;
        found.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coaps://{}:{}/{}", self.host, self.port, self.path.join("/"))
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

fn parse_method(text: &str) -> Result<Code, String> {
    Code::parse_method(text).ok_or_else(|| "no known method".to_owned())
}

fn parse_suite(name: &str) -> Result<Suite, String> {
    let known = Suite::from_name(name).or_else(|| Suite::from_name(&format!("TLS_{name}")));
    known.ok_or_else(|| "no known suite".to_owned())
}

fn parse_group(name: &str) -> Result<Group, String> {
    Group::from_name(name).ok_or_else(|| "no known group".to_owned())
}

fn parse_cid(digits: &str) -> Result<Cid, String> {
    let bytes = hex::decode(digits).map_err(|error| error.to_string())?;
    if bytes.len() > 32 { Err("at most 32 bytes".to_owned()) } else { Ok(Cid(bytes)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_uri_is_host_port_path_and_query() {
        let uri: Uri = "coaps://edge.example/a/b?c=1&d".parse().unwrap();
        assert_eq!((uri.host.as_str(), uri.port), ("edge.example", 5684));
        assert_eq!(
            (uri.path, uri.query),
            (vec!["a".into(), "b".into()], vec!["c=1".into(), "d".into()])
        );
        let six: Uri = "coaps://[::1]:7000".parse().unwrap();
        assert_eq!((six.host.as_str(), six.port, six.path.len()), ("::1", 7000, 0));
        for bad in ["coap://a", "coaps://", "coaps://a:x/"] {
            assert!(bad.parse::<Uri>().is_err(), "{bad}");
        }
    }
}
