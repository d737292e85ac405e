//! What does one action do with one message? Its texts are compiled once, and filled each time.

use std::sync::Arc;

use super::evaluate::Scene;
use super::sink::{self, Lane, Sink};
use super::template::Template;
use super::topic;
use crate::model::{Action, Header, Refused};

/// An action that can be run.
#[derive(Debug)]
pub(in crate::rules) struct Act {
    kind: Kind,
    lane: Option<Lane>,
    /// As the rule writes it: the topic, URL, path …
    text: String,
    /// The topic, when it is the same for every message.
    plain: Option<Arc<str>>,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this topic, by the publisher.
    Topic(Arc<str>),
    /// Out of the house.
    Sink(Lane, Sink),
}

#[derive(Debug)]
enum Kind {
    Republish(Template),
    Http { url: Template, headers: Headers },
    Kafka { topic: Template, key: Option<Template>, partition: Option<Template>, headers: Headers },
    Object(Template),
    Nats { subject: Template, headers: Headers },
    File(Template),
}

type Headers = Vec<(String, Template)>;

/// Longest topic with its templates, bytes.
const TOPIC_TEXT_BYTES_MAX: usize = 2_048;
/// Longest topic that templates make, bytes; the stream keeps its length in 16 bits.
const FILLED_BYTES_MAX: usize = 2_048;
/// Longest other text with its templates, bytes.
const TEXT_BYTES_MAX: usize = 16_384;
/// Most headers.
const HEADERS_MAX: usize = 100;
/// What AWS's clientProperties may say here. *Why:* it can't be a secret, and what it asks for is
/// done anyway (`acks`) or the operator's (the rest).
const PROPERTIES: &[&str] = &[
    "acks",
    "bootstrap.servers",
    "client.id",
    "compression.type",
    "key.serializer",
    "security.protocol",
    "value.serializer",
];

impl Act {
    /// Compiles an action of a rule; `path`: where it stands there, for people.
    pub(in crate::rules) fn new(action: &Action, path: &str) -> Result<Self, Refused> {
        let reader = Reader { path };
        let (kind, lane, text) = match action {
            Action::Republish { topic, qos, .. } => {
                let path = format!("{path}.republish");
                return Self::republish(topic, *qos, &path);
            }
            Action::Http { url, confirmation_url, headers } => {
                let lane = reader.check_url(url, confirmation_url.as_deref())?;
                let headers = reader.headers("http", headers, sink::is_header_name)?;
                (Kind::Http { url: reader.text("http.url", url)?, headers }, lane, url)
            }
            Action::Kafka {
                destination_arn,
                topic,
                key,
                partition,
                client_properties,
                headers,
            } => {
                reader.check_properties(client_properties.keys())?;
                let cluster = destination_arn.rsplit('/').next().unwrap_or_default();
                let kind = Kind::Kafka {
                    topic: reader.text("kafka.topic", topic)?,
                    key: reader.optional("kafka.key", key.as_deref())?,
                    partition: reader.optional("kafka.partition", partition.as_deref())?,
                    headers: reader.headers("kafka", headers, |_| true)?,
                };
                (kind, Lane::Kafka(cluster.into()), topic)
            }
            Action::S3 { bucket, key, canned_acl, .. } => {
                if canned_acl.as_deref().is_some_and(|acl| acl != "private") {
                    let constraint = "Member must be private: a bucket's policy is its owner's";
                    return Err(reader.invalid("s3.cannedAcl", constraint));
                }
                let kind = Kind::Object(reader.text("s3.key", key)?);
                (kind, Lane::Object(bucket.as_str().into()), key)
            }
            Action::Nats { server, subject, headers } => {
                let headers = reader.headers("nats", headers, sink::is_header_name)?;
                let subject_text = reader.text("nats.subject", subject)?;
                let lane = Lane::Nats(server.as_str().into());
                (Kind::Nats { subject: subject_text, headers }, lane, subject)
            }
            Action::File { path: file } => {
                (Kind::File(reader.text("file.path", file)?), Lane::File, file)
            }
        };
        let act = Self { kind, lane: Some(lane), text: text.clone(), plain: None };
        act.check_plain(path)?;
        Ok(act)
    }

    fn republish(text: &str, qos: u8, path: &str) -> Result<Self, Refused> {
        let path_of_topic = format!("{path}.topic");
        if qos > 1 {
            let constraint = "Member must have value less than or equal to 1";
            return Err(Refused::invalid(&format!("{path}.qos"), constraint));
        }
        if text.len() > TOPIC_TEXT_BYTES_MAX {
            let constraint = format!("Member must have at most {TOPIC_TEXT_BYTES_MAX} bytes");
            return Err(Refused::invalid(&path_of_topic, &constraint));
        }
        let topic = Template::parse(text).map_err(|fault| fault.refused(&path_of_topic))?;
        let plain = topic.plain().map(|plain| topic::unreserve(plain.to_owned()));
        if let Some(fault) = plain.as_deref().and_then(topic::fault) {
            return Err(Refused::invalid(&path_of_topic, fault));
        }
        let plain = plain.map(Into::into);
        Ok(Self { kind: Kind::Republish(topic), lane: None, text: text.to_owned(), plain })
    }

    /// A text without templates can be judged now.
    fn check_plain(&self, path: &str) -> Result<(), Refused> {
        let filled = self.filled(&|template: &Template| {
            template.plain().map(|plain| Some(plain.to_owned())).ok_or_else(String::new)
        });
        match filled {
            Ok(Target::Sink(_, sink)) => match sink.fault() {
                Some(fault) => Err(Refused::invalid(path, fault)),
                None => Ok(()),
            },
            Err(why) if !why.is_empty() => Err(Refused::invalid(path, &why)),
            _ => Ok(()),
        }
    }

    /// Whom the operator must have allowed.
    pub(in crate::rules) fn lane(&self) -> Option<&Lane> {
        self.lane.as_ref()
    }

    /// `failedAction` and `failedResource`.
    pub(in crate::rules) fn names(&self) -> (&'static str, &str) {
        match &self.lane {
            None => ("RepublishAction", &self.text),
            Some(Lane::Object(bucket)) => ("S3Action", bucket),
            Some(lane) => (lane.action(), &self.text),
        }
    }

    /// Where this message goes, or why nowhere.
    pub(in crate::rules) fn fill(&self, scene: &Scene<'_>) -> Result<Target, String> {
        if let Some(plain) = &self.plain {
            return Ok(Target::Topic(plain.clone()));
        }
        let target = self.filled(&|template: &Template| {
            template.fill(scene).map_err(|failure| failure.to_string())
        })?;
        match &target {
            Target::Topic(topic)
                if topic.len() > FILLED_BYTES_MAX || topic::fault(topic).is_some() =>
            {
                Err("The substitution templates do not make a topic to publish to.".to_owned())
            }
            Target::Sink(_, sink) => match sink.fault() {
                Some(fault) => Err(format!("The substitution templates do not fit: {fault}.")),
                None => Ok(target),
            },
            Target::Topic(_) => Ok(target),
        }
    }

    fn filled(&self, fill: Fill<'_>) -> Result<Target, String> {
        let must = |template: &Template, what: &str| {
            let undefined = || format!("A substitution template of the {what} is Undefined.");
            fill(template)?.ok_or_else(undefined)
        };
        let one = |(key, value): &(String, Template)| -> Result<_, String> {
            Ok((key.clone(), must(value, "headers")?))
        };
        let all = |headers: &Headers| headers.iter().map(one).collect::<Result<Vec<_>, _>>();
        let sink = match &self.kind {
            Kind::Republish(topic) => {
                return Ok(Target::Topic(topic::unreserve(must(topic, "topic")?).into()));
            }
            Kind::Http { url, headers } => {
                Sink::Http { url: must(url, "url")?, headers: all(headers)? }
            }
            Kind::Kafka { topic, key, partition, headers } => Sink::Kafka {
                topic: must(topic, "topic")?,
                key: key.as_ref().map(|key| must(key, "key")).transpose()?,
                partition: match partition {
                    Some(partition) => Some(number(&must(partition, "partition")?)?),
                    None => None,
                },
                headers: all(headers)?,
            },
            Kind::Object(key) => Sink::Object { key: must(key, "key")? },
            Kind::Nats { subject, headers } => {
                Sink::Nats { subject: must(subject, "subject")?, headers: all(headers)? }
            }
            Kind::File(path) => Sink::File { path: must(path, "path")? },
        };
        let lane = self.lane.clone().expect("everything but republish has one");
        Ok(Target::Sink(lane, sink))
    }
}

/// What a template comes to; `None`: Undefined.
type Fill<'a> = &'a dyn Fn(&Template) -> Result<Option<String>, String>;

fn number(text: &str) -> Result<i32, String> {
    let number = text.trim().parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| "Member must be the number of a partition".to_owned())
}

/// Reads the texts of one action.
struct Reader<'a> {
    path: &'a str,
}

impl Reader<'_> {
    fn invalid(&self, member: &str, constraint: &str) -> Refused {
        Refused::invalid(&format!("{}.{member}", self.path), constraint)
    }

    fn text(&self, member: &str, text: &str) -> Result<Template, Refused> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            let constraint = format!("Member must have length between 1 and {TEXT_BYTES_MAX}");
            return Err(self.invalid(member, &constraint));
        }
        Template::parse(text).map_err(|fault| fault.refused(&format!("{}.{member}", self.path)))
    }

    fn optional(&self, member: &str, text: Option<&str>) -> Result<Option<Template>, Refused> {
        text.map(|text| self.text(member, text)).transpose()
    }

    fn headers(
        &self,
        action: &str,
        headers: &[Header],
        is_name: fn(&str) -> bool,
    ) -> Result<Headers, Refused> {
        let member = format!("{action}.headers");
        if headers.len() > HEADERS_MAX {
            let constraint = format!("Member must have length less than or equal to {HEADERS_MAX}");
            return Err(self.invalid(&member, &constraint));
        }
        let mut all = Vec::with_capacity(headers.len());
        for Header { key, value } in headers {
            if !is_name(key) {
                let constraint = "Member must be a header that an action may set: credentials are \
                                  the operator's, the connection is ours";
                return Err(self.invalid(&format!("{member}.key"), constraint));
            }
            let value = Template::parse(value)
                .map_err(|fault| fault.refused(&format!("{}.{member}.value", self.path)))?;
            all.push((key.clone(), value));
        }
        Ok(all)
    }

    /// Templates stand behind the origin: whom we ask is never a message's choice.
    fn check_url(&self, url: &str, confirmation_url: Option<&str>) -> Result<Lane, Refused> {
        let origin = sink::origin(url).filter(|_| sink::has_fixed_origin(url));
        let Some(origin) = origin else {
            let constraint = "Member must begin with https://host/ before the first template";
            return Err(self.invalid("http.url", constraint));
        };
        if confirmation_url.is_some_and(|prefix| !url.starts_with(prefix)) {
            let constraint = "Member must be a prefix of url";
            return Err(self.invalid("http.confirmationUrl", constraint));
        }
        Ok(Lane::Http(origin.into()))
    }

    fn check_properties<'k>(
        &self,
        mut keys: impl Iterator<Item = &'k String>,
    ) -> Result<(), Refused> {
        if keys.all(|key| PROPERTIES.contains(&key.as_str())) {
            return Ok(());
        }
        let constraint = format!(
            "Member must have no keys but {}: credentials are the operator's",
            PROPERTIES.join(", ")
        );
        Err(self.invalid("kafka.clientProperties", &constraint))
    }
}
