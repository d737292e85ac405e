//! What does a rule do? For now `SELECT *` and republish; the SQL subset comes behind this door.
//!
//! A destination that names a rule runs it directly: the rule's FROM is ignored.

use crate::model::{Action, Refused, Rule};

/// Where the rule republishes to; `None` when it is disabled or has no action.
pub fn republish_topic(rule: &Rule) -> Option<&str> {
    if rule.disabled {
        return None;
    }
    let Action::Republish { topic, .. } = rule.actions.first()?;
    // `$$aws/…` is how a rule writes the reserved topic `$aws/…`.
    Some(if topic.starts_with("$$") { &topic[1..] } else { topic })
}

/// Is this a rule we can run?
pub fn check(rule: &Rule) -> Result<(), Refused> {
    check_name("ruleName", &rule.name)?;
    if !is_select_all(&rule.sql) {
        return Err(Refused::invalid("sql", "Member must be SELECT * [FROM '<topic filter>']"));
    }
    if rule.actions.len() != 1 {
        return Err(Refused::invalid("actions", "Member must have exactly 1 action"));
    }
    for Action::Republish { topic, qos, .. } in &rule.actions {
        check_topic("actions.1.member.republish.topic", topic)?;
        if *qos > 1 {
            return Err(Refused::invalid(
                "actions.1.member.republish.qos",
                "Member must have value less than or equal to 1",
            ));
        }
    }
    Ok(())
}

/// `[a-zA-Z0-9_]{1,128}`.
pub fn check_name(path: &str, name: &str) -> Result<(), Refused> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_word && (1..=128).contains(&name.len()) {
        return Ok(());
    }
    Err(Refused::invalid(
        path,
        "Member must satisfy regular expression pattern: ^[a-zA-Z0-9_]{1,128}$",
    ))
}

/// A topic to publish to (MQTT 3.1.1 section 4.7): no wildcards, no templates yet.
pub fn check_topic(path: &str, topic: &str) -> Result<(), Refused> {
    let topic = topic.strip_prefix("$$").map_or(topic, |reserved| reserved);
    let fault = if topic.is_empty() {
        "Member must have length greater than or equal to 1"
    } else if topic.contains(['+', '#', '\0']) {
        "Member must be a topic without wildcards"
    } else if topic.contains("${") {
        "Member must be a topic without substitution templates"
    } else {
        return Ok(());
    };
    Err(Refused::invalid(path, fault))
}

/// `SELECT *`, perhaps `FROM '…'`, words in any case.
fn is_select_all(sql: &str) -> bool {
    let mut words = sql.split_whitespace();
    let is = |word: Option<&str>, what: &str| word.is_some_and(|w| w.eq_ignore_ascii_case(what));
    if !(is(words.next(), "select") && is(words.next(), "*")) {
        return false;
    }
    match words.next() {
        None => true,
        from if is(from, "from") => {
            let filter = words.collect::<Vec<_>>().join(" ");
            let quoted =
                |quote: char| filter.strip_prefix(quote).and_then(|f| f.strip_suffix(quote));
            let filter = quoted('\'').or_else(|| quoted('"'));
            filter.is_some_and(|filter| !filter.contains(['\'', '"']))
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn select_all_is_understood_and_nothing_else_is() {
        for sql in
            ["SELECT *", " select * from 'a/+/b' ", "SELECT * FROM \"a/#\"", "SELECT * FROM ''"]
        {
            assert!(is_select_all(sql), "{sql}");
        }
        for sql in [
            "",
            "SELECT",
            "SELECT a FROM 'b'",
            "SELECT * FROM",
            "SELECT * FROM a",
            "SELECT * FROM 'a' WHERE 1 = 1",
            "SELECT * FROM 'a",
            "SELECT *, 1 AS b FROM 'a'",
        ] {
            assert!(!is_select_all(sql), "{sql}");
        }
    }

    #[test]
    fn topics_are_plain() {
        for topic in ["a", "/a/b ", "$aws/rules/x", "$$aws/things/y"] {
            assert!(check_topic("Expression", topic).is_ok(), "{topic}");
        }
        for topic in ["", "a/+", "#", "a/${topic(2)}", "a\0"] {
            assert!(check_topic("Expression", topic).is_err(), "{topic}");
        }
    }

    #[test]
    fn names_have_their_length() {
        assert!(check_name("p", &"a".repeat(128)).is_ok());
        assert!(check_name("p", &"a".repeat(129)).is_err());
        assert!(check_name("p", "").is_err());
        assert!(check_name("p", "a-b").is_err());
    }
}
