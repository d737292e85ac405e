//! Which topics and topic filters are there, and which filter takes which topic? (MQTT 3.1.1
//! section 4.7)

use crate::model::Refused;

/// Longest topic, bytes (section 4.7.3).
const TOPIC_BYTES_MAX: usize = 65_535;

/// Why a text is no topic to publish to, or `None`.
pub(in crate::rules) fn fault(topic: &str) -> Option<&'static str> {
    if topic.is_empty() {
        Some("Member must have length greater than or equal to 1")
    } else if topic.contains(['+', '#', '\0']) {
        Some("Member must be a topic without wildcards")
    } else if topic.len() > TOPIC_BYTES_MAX {
        Some("Member must have length less than or equal to 65535")
    } else {
        None
    }
}

/// A topic to publish to: no wildcards, no templates.
pub fn check_topic(path: &str, topic: &str) -> Result<(), Refused> {
    let topic = topic.strip_prefix("$$").map_or(topic, |reserved| reserved);
    let template = topic.contains("${");
    let template = template.then_some("Member must be a topic without substitution templates");
    match fault(topic).or(template) {
        Some(fault) => Err(Refused::invalid(path, fault)),
        None => Ok(()),
    }
}

/// `$$aws/…` is how a rule writes the reserved topic `$aws/…`.
pub(in crate::rules) fn unreserve(topic: String) -> String {
    if topic.starts_with("$$") { topic[1..].to_owned() } else { topic }
}

/// Is it a filter: `+` and `#` alone in their level, `#` last?
pub(in crate::rules) fn is_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    let mut is_good =
        !filter.is_empty() && !filter.contains('\0') && filter.len() <= TOPIC_BYTES_MAX;
    while let Some(level) = levels.next() {
        is_good &= match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            other => !other.contains(['+', '#']),
        };
    }
    is_good
}

/// Does the filter take the topic?
pub(in crate::rules) fn takes(filter: &str, topic: &str) -> bool {
    // Section 4.7.2: a wildcard does not stand for what begins with $.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filters, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (filters.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(filter), Some(level)) if filter == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_plain() {
        for topic in ["a", "/a/b ", "$aws/rules/x", "$$aws/things/y"] {
            assert!(check_topic("Expression", topic).is_ok(), "{topic}");
        }
        for topic in ["", "a/+", "#", "a/${topic(2)}", "a\0"] {
            assert!(check_topic("Expression", topic).is_err(), "{topic}");
        }
        assert!(check_topic("Expression", &"a".repeat(65_535)).is_ok());
        assert!(check_topic("Expression", &"a".repeat(65_536)).is_err());
    }

    /// MQTT 3.1.1 section 4.7.1.
    #[test]
    fn wildcards_stand_alone_in_their_level() {
        for filter in ["#", "+", "a/#", "+/a/+", "/+", "a//b", "$aws/#"] {
            assert!(is_filter(filter), "{filter}");
        }
        for filter in ["", "a#", "a/#/b", "a+/b", "a/b+", "\0"] {
            assert!(!is_filter(filter), "{filter}");
        }
    }

    /// The examples of sections 4.7.1.2, 4.7.1.3 and 4.7.2.
    #[test]
    fn a_filter_takes_its_topics() {
        let tennis = "sport/tennis/player1";
        for (filter, topic, is_taken) in [
            ("sport/tennis/player1/#", tennis, true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/#", "sport", true),
            ("#", tennis, true),
            ("sport/tennis/+", tennis, true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/a", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/a", true),
            ("a", "b", false),
        ] {
            assert_eq!(takes(filter, topic), is_taken, "{filter} {topic}");
        }
    }
}
