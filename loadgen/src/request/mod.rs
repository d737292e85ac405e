//! How does one device look from a command line? Requests over DTLS with every credential and
//! suite, resumption and a new source port in mid-session, against any server.
//!
//! ```text
//! negotiated: handshake=full suite=TLS_PSK_WITH_AES_128_CCM_8 cid_out=6 cid_in=0 …
//! response: 2.05
//! payload: 21.5
//! ```

mod link;

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tidegate_coap::code::Code;
use tidegate_dtls::client::{Config, Credential, Session};
use tidegate_dtls::{Established, Suite};

use self::link::Link;
pub use self::link::Reply;
use crate::profile::Profile;

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

    /// As whom, and offering what.
    #[command(flatten)]
    pub profile: Profile,

    /// Closes and resumes the session so many times, with a request each time.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub resume: u32,
    /// Goes on from another source port after the request, and asks again.
    #[arg(long)]
    pub rebind: bool,
}

/// Does it all and says what happened; false when anything but a 2.xx came back.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<bool> {
    let config = Arc::new(arguments.profile.config(Some(&arguments.uri.host))?);
    let credential = arguments.profile.credential()?;
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
    let timeout = Duration::from_secs(arguments.profile.timeout);
    let own_cid = arguments.profile.own_cid();
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
        resolve(&(self.host.as_str(), self.port))
    }
}

/// The first address of a host.
pub(crate) fn resolve(host: &impl ToSocketAddrs) -> io::Result<SocketAddr> {
    let found = host.to_socket_addrs()?.next();
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coaps://{}:{}/{}", self.host, self.port, self.path.join("/"))
    }
}

fn parse_method(text: &str) -> Result<Code, String> {
    Code::parse_method(text).ok_or_else(|| "no known method".to_owned())
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
