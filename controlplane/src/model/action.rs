//! What may a rule do with a message? AWS IoT's actions as a rule has them, and two of our own.
//!
//! Every text but names of what the operator configured may have `${…}`. None of them holds a
//! secret: whom an action authenticates as is the operator's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a rule does with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Publishes to another topic.
    Republish {
        /// A topic, perhaps with `${…}`.
        topic: String,
        /// 0 or 1; sent with QoS 1 either way, since a 2.xx promises a PUBACK.
        qos: u8,
        /// Kept, no meaning here.
        role_arn: Option<String>,
    },
    /// Sends it by POST.
    Http {
        /// Where to; no `${…}` before the path.
        url: String,
        /// A prefix of `url`. Kept: who may be asked is the operator's list.
        confirmation_url: Option<String>,
        /// Of the request.
        headers: Vec<Header>,
    },
    /// Appends it to a topic of a Kafka cluster.
    Kafka {
        /// Ends with `/` and the name of a configured cluster.
        destination_arn: String,
        /// A topic.
        topic: String,
        /// The record's key; by it the partition is chosen.
        key: Option<String>,
        /// A number: this partition.
        partition: Option<String>,
        /// AWS's; nothing in it can be a secret.
        client_properties: BTreeMap<String, String>,
        /// Of the record.
        headers: Vec<Header>,
    },
    /// Writes it as an object.
    S3 {
        /// The name of a configured bucket.
        bucket: String,
        /// The object.
        key: String,
        /// Kept, no meaning here.
        role_arn: Option<String>,
        /// `private`, or nothing.
        canned_acl: Option<String>,
    },
    /// Publishes it to a stream of a NATS server (ours, not AWS's).
    Nats {
        /// The name of a configured server.
        server: String,
        /// A subject that a stream takes.
        subject: String,
        /// Of the message.
        headers: Vec<Header>,
    },
    /// Appends it as a line to a file (ours, not AWS's).
    File {
        /// Below the configured directory.
        path: String,
    },
}

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// As it is.
    pub key: String,
    /// Perhaps with `${…}`.
    pub value: String,
}
