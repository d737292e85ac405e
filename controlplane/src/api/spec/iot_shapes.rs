//! Which shapes have the requests and answers about rules and certificate authorities? Those of AWS
//! IoT, and ours for the actions that it has not.

use super::Kind::{Boolean, Integer, List, Map, Number, Structure, Text};
use super::{Kind, Member, may, must};
use crate::api::validate::{Form, Rule};

const ANY: Rule = Rule::length(0, 65_536);
const TEXT: Kind = Text(&ANY);
const ARN: Member = must("ruleArn", TEXT);

/// Names of rules.
pub const RULE_NAME: Rule =
    Rule { min: 1, max: 128, form: Form::Pattern("^[a-zA-Z0-9_]+$", is_rule_name) };
/// Ids of authorities: the SHA-256 of their certificates.
pub const CERTIFICATE_ID: Rule =
    Rule { min: 64, max: 64, form: Form::Pattern("(0x)?[a-fA-F0-9]+", is_certificate_id) };

const SQL: Rule = Rule::length(1, 262_144);
const DESCRIPTION: Rule = Rule::length(0, 1_000);
const SQL_VERSION: Rule = Rule::one_of(&["2015-10-08", "2016-03-23", "beta"]);
const TOPIC: Rule = Rule::length(1, 2_048);
const URL: Rule = Rule::length(1, 2_000);
const DESTINATION_ARN: Rule = Rule::length(1, 2_048);
const TEMPLATE: Rule = Rule::length(1, 16_384);
const HEADER_KEY: Rule = Rule::length(1, 256);
const HEADER_VALUE: Rule = Rule::length(0, 16_384);
const ACL: Rule = Rule::one_of(&["private"]);
const NAME: Rule = Rule { min: 1, max: 128, form: Form::Pattern("[a-zA-Z0-9._-]+", is_name) };
/// Bound: actions of a rule.
const ACTIONS_MAX: usize = 10;
/// Bound: headers of an action.
const HEADERS_MAX: usize = 100;

const HEADER: Kind =
    Structure(&[must("key", Text(&HEADER_KEY)), must("value", Text(&HEADER_VALUE))]);
const HEADERS: Member = may("headers", List(&HEADER, HEADERS_MAX));
const NOTHING: Kind = Structure(&[]);
const ROLE: Member = may("roleArn", TEXT);

/// One of these; the others are there to be refused by name.
const ACTION: Kind = Structure(&[
    may(
        "republish",
        Structure(&[must("topic", Text(&TOPIC)), may("qos", Integer(0, 1)), ROLE, REFUSED_HEADERS]),
    ),
    may(
        "http",
        Structure(&[
            must("url", Text(&URL)),
            may("confirmationUrl", Text(&URL)),
            HEADERS,
            may("auth", NOTHING),
            may("batchConfig", NOTHING),
            may("enableBatching", Boolean),
        ]),
    ),
    may(
        "kafka",
        Structure(&[
            must("destinationArn", Text(&DESTINATION_ARN)),
            must("topic", Text(&TEMPLATE)),
            may("key", Text(&TEMPLATE)),
            may("partition", Text(&TEMPLATE)),
            may("clientProperties", Map),
            HEADERS,
        ]),
    ),
    may(
        "s3",
        Structure(&[
            must("bucketName", Text(&NAME)),
            must("key", Text(&TEMPLATE)),
            ROLE,
            may("cannedAcl", Text(&ACL)),
        ]),
    ),
    may(
        "nats",
        Structure(&[must("server", Text(&NAME)), must("subject", Text(&TEMPLATE)), HEADERS]),
    ),
    may("file", Structure(&[must("path", Text(&TEMPLATE))])),
]);
const REFUSED_HEADERS: Member = may("headers", NOTHING);

macro_rules! rule {
    ($($more:expr),*) => {
        &[
            $($more,)*
            must("sql", Text(&SQL)),
            may("description", Text(&DESCRIPTION)),
            must("actions", List(&ACTION, ACTIONS_MAX)),
            may("ruleDisabled", Boolean),
            may("awsIotSqlVersion", Text(&SQL_VERSION)),
            may("errorAction", ACTION),
        ]
    };
}
/// CreateTopicRule, ReplaceTopicRule.
pub const RULE: &[Member] = rule!();
const HELD_RULE: &[Member] =
    rule!(must("ruleName", Text(&RULE_NAME)), must("createdAt", Integer(0, i64::MAX)));
/// GetTopicRule.
pub const ONE_RULE: &[Member] = &[ARN, must("rule", Structure(HELD_RULE))];
/// What ListTopicRules is asked.
pub const RULE_PAGE: &[Member] = &[
    may("maxResults", Integer(0, 250)),
    may("nextToken", super::shapes::NEXT_TOKEN),
    may("topic", TEXT),
    may("ruleDisabled", Boolean),
];
/// ListTopicRules.
pub const RULES: &[Member] = &[
    must(
        "rules",
        List(
            &Structure(&[
                ARN,
                must("ruleName", Text(&RULE_NAME)),
                may("topicPattern", TEXT),
                may("createdAt", Number),
                must("ruleDisabled", Boolean),
            ]),
            250,
        ),
    ),
    may("nextToken", TEXT),
];

const PEM: Rule = Rule::length(1, 65_536);
const MODE: Rule = Rule::one_of(&["DEFAULT", "SNI_ONLY"]);
const STATUS: Rule = Rule::one_of(&["ACTIVE", "INACTIVE"]);
const REGISTRATION: Rule = Rule::one_of(&["ENABLE", "DISABLE"]);

/// RegisterCACertificate.
pub const NEW_AUTHORITY: &[Member] = &[
    must("caCertificate", Text(&PEM)),
    may("verificationCertificate", Text(&PEM)),
    may("certificateMode", Text(&MODE)),
    may("registrationConfig", NOTHING),
    may("tags", List(&NOTHING, 50)),
];
/// Its query.
pub const NEW_AUTHORITY_QUERY: &[Member] =
    &[may("setAsActive", Boolean), may("allowAutoRegistration", Boolean)];
/// What it answers.
pub const MADE_AUTHORITY: &[Member] =
    &[must("certificateArn", TEXT), must("certificateId", Text(&CERTIFICATE_ID))];
/// UpdateCACertificate.
pub const AUTHORITY_CHANGE: &[Member] =
    &[may("registrationConfig", NOTHING), may("removeAutoRegistration", Boolean)];
/// Its query.
pub const AUTHORITY_CHANGE_QUERY: &[Member] =
    &[may("newStatus", Text(&STATUS)), may("newAutoRegistrationStatus", Text(&REGISTRATION))];

macro_rules! authority {
    ($($more:expr),*) => {
        &[
            must("certificateArn", TEXT),
            must("certificateId", Text(&CERTIFICATE_ID)),
            must("status", Text(&STATUS)),
            must("creationDate", Number),
            $($more,)*
        ]
    };
}
const LISTED_AUTHORITY: &[Member] = authority!();
const DESCRIBED_AUTHORITY: &[Member] = authority!(
    must("certificatePem", TEXT),
    must("ownedBy", TEXT),
    must("autoRegistrationStatus", Text(&REGISTRATION)),
    must("lastModifiedDate", Number),
    must("customerVersion", Integer(1, i64::MAX)),
    must("certificateMode", Text(&MODE)),
    must("validity", Structure(&[must("notBefore", Number), must("notAfter", Number)]))
);
/// DescribeCACertificate.
pub const AUTHORITY: &[Member] = &[must("certificateDescription", Structure(DESCRIBED_AUTHORITY))];
/// What ListCACertificates is asked.
pub const AUTHORITY_PAGE: &[Member] = &[
    may("pageSize", Integer(1, 250)),
    may("marker", TEXT),
    may("isAscendingOrder", Boolean),
    may("templateName", TEXT),
];
/// ListCACertificates.
pub const AUTHORITIES: &[Member] =
    &[must("certificates", List(&Structure(LISTED_AUTHORITY), 250)), may("nextMarker", TEXT)];

fn is_rule_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_certificate_id(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::validate::tests::allows;

    #[test]
    fn a_rule_name_has_1_to_128_letters_digits_and_underscores() {
        assert!(allows(&RULE_NAME, "a"));
        assert!(allows(&RULE_NAME, &"_9".repeat(64)));
        for bad in ["a".repeat(129), "a-b".to_owned(), String::new()] {
            assert!(!allows(&RULE_NAME, &bad), "{bad}");
        }
    }

    #[test]
    fn a_certificate_id_has_64_digits() {
        assert!(allows(&CERTIFICATE_ID, &"aF".repeat(32)));
        for bad in ["a".repeat(63), "a".repeat(65), "g".repeat(64), String::new()] {
            assert!(!allows(&CERTIFICATE_ID, &bad), "{bad}");
        }
    }
}
