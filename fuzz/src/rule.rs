//! Is any statement compiled or refused, and any message dealt with in bounded work? Input: the
//! statement and the topic of its action in a line each, then the payload.

use tidegate_controlplane::model::{Action, Rule};
use tidegate_controlplane::rules::{Compiled, Message, takes_topic};

pub(crate) fn run(input: &[u8]) {
    let ([sql, topic], payload) = crate::lines_and_rest(input);
    let _ = takes_topic(sql, topic);
    for version in ["2015-10-08", "2016-03-23"] {
        let topic = topic.to_owned();
        let rule = Rule {
            name: "made_up".to_owned(),
            sql: sql.to_owned(),
            description: None,
            disabled: false,
            sql_version: Some(version.to_owned()),
            actions: vec![Action::Republish { topic, qos: 1, role_arn: None }],
            error_action: None,
            created_unix_ms: 0,
        };
        let Ok(compiled) = Compiled::new(&rule) else { continue };
        let outcome = compiled.run(&Message {
            topic: "sensors/7/state",
            client_id: "device",
            account_id: "000000000000",
            principal: None,
            trace_id: "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
            now_unix_ms: 1_795_000_000_000,
            payload,
        });
        assert!(outcome.deliveries.len() <= rule.actions.len());
        assert_eq!(outcome.is_unhandled, !outcome.failures.is_empty(), "nobody takes failures");
    }
}
