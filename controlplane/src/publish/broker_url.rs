//! Where is the broker, and who are we there? `mqtt://[user[:password]@]host[:port]`.

use std::fmt;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// A broker's address and our credentials.
#[derive(Clone)]
pub struct BrokerUrl {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Percent-decoded.
    pub credentials: Option<(String, Zeroizing<String>)>,
}

const PORT: u16 = 1883;

impl BrokerUrl {
    /// Reads a URL; `None`: it is none of ours.
    pub fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("mqtt://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let (host, port) = split_port(address)?;
        let is_plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
        is_plain.then_some(())?;
        let credentials = match user {
            Some(user) => Some(credentials(user)?),
            None => None,
        };
        Some(Self { host: host.to_owned(), port, credentials })
    }
}

/// Shows no password.
impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn split_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map_or(Some(PORT), |port| port.parse().ok().filter(|port| *port != 0))?;
    Some((host, port))
}

fn credentials(user: &str) -> Option<(String, Zeroizing<String>)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    Some((decode(name)?, Zeroizing::new(decode(password)?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_has_a_host_and_may_have_the_rest() {
        let plain = BrokerUrl::parse("mqtt://broker").unwrap();
        assert_eq!((plain.host.as_str(), plain.port), ("broker", 1883));
        assert!(plain.credentials.is_none());
        let full = BrokerUrl::parse("mqtt://me%40home:p%3Aw@[::1]:1884/").unwrap();
        assert_eq!((full.host.as_str(), full.port), ("::1", 1884));
        let (name, password) = full.credentials.clone().unwrap();
        assert_eq!((name.as_str(), password.as_str()), ("me@home", "p:w"));
        assert_eq!(format!("{full:?} {full}"), "mqtt://::1:1884 mqtt://::1:1884");
    }

    #[test]
    fn other_urls_are_refused() {
        for bad in
            ["", "mqtt://", "tcp://x", "mqtt://x:0", "mqtt://x:65536", "mqtt://[::1", "mqtt://a/b"]
        {
            assert!(BrokerUrl::parse(bad).is_none(), "{bad}");
        }
    }
}
