//! What leaves the house, and may it go there? A sink is an action's destination with its
//! templates filled; a lane is what the operator has to have allowed for it.

use std::sync::Arc;

/// Where one message goes, its templates filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// By POST.
    Http {
        /// Whose origin is that of the lane.
        url: String,
        /// Of the request.
        headers: Vec<(String, String)>,
    },
    /// A record.
    Kafka {
        /// Of the cluster.
        topic: String,
        /// By it the partition is chosen.
        key: Option<String>,
        /// This one.
        partition: Option<i32>,
        /// Of the record.
        headers: Vec<(String, String)>,
    },
    /// An object.
    Object {
        /// In the bucket.
        key: String,
    },
    /// A message of a stream.
    Nats {
        /// That a stream takes.
        subject: String,
        /// Of the message.
        headers: Vec<(String, String)>,
    },
    /// A line.
    File {
        /// Below the root.
        path: String,
    },
}

/// Something the operator allows: each has a queue of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// `https://host[:port]`, lowercase.
    Http(Arc<str>),
    /// The name of a cluster.
    Kafka(Arc<str>),
    /// The name of a bucket.
    Object(Arc<str>),
    /// The name of a server.
    Nats(Arc<str>),
    /// The files.
    File,
}

impl Lane {
    /// `failedAction` of AWS's failure messages.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Http(_) => "HttpAction",
            Self::Kafka(_) => "KafkaAction",
            Self::Object(_) => "S3Action",
            Self::Nats(_) => "NatsAction",
            Self::File => "FileAction",
        }
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http(origin) => write!(f, "the origin {origin}"),
            Self::Kafka(name) => write!(f, "the Kafka cluster {name}"),
            Self::Object(name) => write!(f, "the bucket {name}"),
            Self::Nats(name) => write!(f, "the NATS server {name}"),
            Self::File => f.write_str("files"),
        }
    }
}

impl Sink {
    /// `failedResource` of AWS's failure messages.
    pub fn resource(&self, lane: &Lane) -> String {
        match (self, lane) {
            (_, Lane::Object(bucket)) => bucket.to_string(),
            (
                Self::Http { url: text, .. }
                | Self::Kafka { topic: text, .. }
                | Self::Nats { subject: text, .. }
                | Self::File { path: text }
                | Self::Object { key: text },
                _,
            ) => text.clone(),
        }
    }

    /// Why nothing can be sent there, in AWS's words of constraints.
    pub(in crate::rules) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Http { url, headers } => {
                let is_good = url.len() <= URL_BYTES_MAX && is_plain(url) && origin(url).is_some();
                (!is_good)
                    .then_some("Member must be a URL of at most 2000 bytes")
                    .or_else(|| fault_of(headers))
            }
            Self::Kafka { topic, headers, key, .. } => {
                let is_good = is_kafka_topic(topic) && fits(key.as_deref());
                (!is_good)
                    .then_some("Member must be a Kafka topic, keys have at most 16384 bytes")
                    .or_else(|| fault_of(headers))
            }
            Self::Nats { subject, headers } => {
                let fault = "Member must be a subject without wildcards that is not the server's";
                (!is_subject(subject)).then_some(fault).or_else(|| fault_of(headers))
            }
            Self::Object { key: path } | Self::File { path } => {
                let fault = "Member must be a relative path of at most 1024 bytes without . and ..";
                (!is_path(path)).then_some(fault)
            }
        }
    }
}

/// `https://host[:port]` of a URL, lowercase; `None`: there is none, or it has a user in it.
pub fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    let is_good = (scheme == "https" || scheme == "http")
        && !authority.is_empty()
        && authority.bytes().all(is_host);
    is_good.then(|| format!("{scheme}://{}", authority.to_ascii_lowercase()))
}

/// Is the origin written out before the first template?
pub(in crate::rules) fn has_fixed_origin(url: &str) -> bool {
    let Some((head, _)) = url.split_once("${") else { return true };
    head.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?', '#']))
}

/// May an action set a header of this name?
pub(in crate::rules) fn is_header_name(name: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let name = name.to_ascii_lowercase();
    (1..=256).contains(&name.len())
        && name.bytes().all(is_token)
        && !name.starts_with("proxy-")
        && !OURS.contains(&name.as_str())
}

/// Headers that are the connection's, or that would be a secret in the rule.
const OURS: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// AWS's longest URL.
const URL_BYTES_MAX: usize = 2_000;
/// AWS's longest header of Kafka; ours for every key and header.
const TEXT_BYTES_MAX: usize = 16_384;
/// S3's longest key.
const PATH_BYTES_MAX: usize = 1_024;
/// A file system's longest name.
const NAME_BYTES_MAX: usize = 255;
/// Kafka's longest topic.
const KAFKA_TOPIC_BYTES_MAX: usize = 249;
/// Longest subject, bytes: a server's control line has 4096.
const SUBJECT_BYTES_MAX: usize = 1_024;

fn is_plain(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || c == ' ')
}

fn fits(text: Option<&str>) -> bool {
    text.is_none_or(|text| text.len() <= TEXT_BYTES_MAX)
}

fn fault_of(headers: &[(String, String)]) -> Option<&'static str> {
    let is_good = |(key, value): &(String, String)| {
        let has_no_line = |text: &str| !text.contains(['\r', '\n', '\0']);
        fits(Some(key)) && fits(Some(value)) && has_no_line(key) && has_no_line(value)
    };
    let fault = "Member must have headers of one line and at most 16384 bytes";
    (!headers.iter().all(is_good)).then_some(fault)
}

fn is_kafka_topic(topic: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=KAFKA_TOPIC_BYTES_MAX).contains(&topic.len())
        && topic.bytes().all(is_good)
        && !matches!(topic, "." | "..")
}

/// What begins with `$` asks the server to do things, `_INBOX` answers somebody's question.
fn is_subject(subject: &str) -> bool {
    let is_token = |token: &str| {
        !token.is_empty() && !token.contains(|c: char| c.is_control() || " *>".contains(c))
    };
    subject.len() <= SUBJECT_BYTES_MAX
        && subject.split('.').all(is_token)
        && !subject.starts_with('$')
        && !subject.starts_with("_INBOX.")
}

fn is_path(path: &str) -> bool {
    let is_name = |name: &str| {
        (1..=NAME_BYTES_MAX).contains(&name.len())
            && !matches!(name, "." | "..")
            && !name.contains(|c: char| c.is_control() || c == '\\')
    };
    path.len() <= PATH_BYTES_MAX && path.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_user_and_no_surprise() {
        assert_eq!(origin("HTTPS://A.example:8443/x").as_deref(), Some("https://a.example:8443"));
        assert_eq!(origin("http://[::1]:80?x").as_deref(), Some("http://[::1]:80"));
        assert_eq!(origin("https://a#b@c").as_deref(), Some("https://a"));
        for bad in ["ftp://a", "https://", "https://a@b/", "a/b", "https:///x", "https://a b"] {
            assert_eq!(origin(bad), None, "{bad}");
        }
        assert_eq!(origin(r"https://a\@b").as_deref(), Some("https://a"));
    }

    #[test]
    fn an_origin_is_no_template() {
        for good in ["https://a/b", "https://a/${b}", "https://a?${b}"] {
            assert!(has_fixed_origin(good), "{good}");
        }
        for bad in ["${a}", "https://${a}", "https://a${b}/c", "https://a:${b}", "${a}://b/"] {
            assert!(!has_fixed_origin(bad), "{bad}");
        }
    }

    #[test]
    fn a_path_stays_below() {
        for good in ["a", "a/b.txt", ".hidden", "a/...", &"a/".repeat(511).as_str()[..1_021]] {
            assert!(is_path(good), "{good}");
        }
        let long = ["a".repeat(256), format!("{}a", "aaa/".repeat(256))];
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\0", "a\\..\\b", "a\n"] {
            assert!(!is_path(bad), "{bad:?}");
        }
        assert!(is_path(&"a".repeat(255)) && long.iter().all(|long| !is_path(long)));
    }

    #[test]
    fn a_subject_is_not_the_servers() {
        for good in ["a", "a.b.c", "a.$b", "INBOX.a"] {
            assert!(is_subject(good), "{good}");
        }
        for bad in ["", ".", "a.", "a..b", "a.*", ">", "a b", "$JS.API.STREAM.LIST", "_INBOX.x"] {
            assert!(!is_subject(bad), "{bad}");
        }
        assert!(is_subject(&"a".repeat(1_024)) && !is_subject(&"a".repeat(1_025)));
    }

    #[test]
    fn headers_are_not_the_connections() {
        for good in ["x-a", "Content-Type", "User-Agent"] {
            assert!(is_header_name(good), "{good}");
        }
        for bad in ["", "a b", "a:b", "Host", "AUTHORIZATION", "Content-Length", "Proxy-X"] {
            assert!(!is_header_name(bad), "{bad}");
        }
        let of = |value: String| {
            let headers = vec![("a".to_owned(), value)];
            Sink::Http { url: "https://a".to_owned(), headers }.fault()
        };
        assert_eq!(of("v".repeat(16_384)), None);
        for bad in ["v".repeat(16_385), "a\r\nb".to_owned()] {
            assert!(of(bad).is_some());
        }
    }

    #[test]
    fn a_topic_of_kafka_has_its_letters() {
        for (topic, is_good) in
            [("a.b-c_9", true), ("", false), (".", false), ("..", false), ("a/b", false)]
        {
            assert_eq!(is_kafka_topic(topic), is_good, "{topic}");
        }
        assert!(is_kafka_topic(&"a".repeat(249)) && !is_kafka_topic(&"a".repeat(250)));
    }
}
