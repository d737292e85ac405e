//! GetMetrics and the quotas of accounts over HTTP.

use serde_json::{Value, json};

use super::harness::Server;
use crate::iam::directory::NewKey;
use crate::model::DeviceId;
use crate::store::account::Account;
use crate::store::measured::{Counts, Subject};
use crate::store::{Table, Transaction};

/// Unix time, hours.
fn this_hour() -> u32 {
    (std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 3_600) as u32
}

impl Server {
    /// What the root account and one device of it did in an hour.
    async fn counted(&self, subject: Subject, hour: u32, counts: Counts) {
        let (done, wrote) = tokio::sync::oneshot::channel();
        let mut tx = Transaction::new();
        tx.put(Table::Measured, subject.key(hour), counts.encode());
        let raw = self.directory().records().raw().clone();
        raw.submit(tx, Box::new(move |result| done.send(result.is_ok()).unwrap()));
        assert!(wrote.await.unwrap());
    }

    async fn asks_metrics(&self, queries: Value) -> Vec<Value> {
        let body = json!({ "SummaryMetricQueries": queries });
        let answer = self.send("POST", "/metrics", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json["SummaryMetricQueryResults"].as_array().unwrap().clone()
    }
}

fn query(name: &str, device: Option<&str>, period: &str, hours: (u32, u32)) -> Value {
    let dimensions: Vec<Value> =
        device.iter().map(|id| json!({ "name": "DeviceId", "value": id })).collect();
    json!({
        "QueryId": "q", "MetricName": name, "Dimensions": dimensions, "AggregationPeriod": period,
        "StartTimestamp": u64::from(hours.0) * 3_600, "EndTimestamp": u64::from(hours.1) * 3_600,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_what_was_counted() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let id = server.make_device(1).await;
    let device = Subject::Device(id.parse::<DeviceId>().unwrap());
    let midnight = this_hour() / 24 * 24 - 48;
    let of = |uplinks, uplinks_lost| Counts { uplinks, uplinks_lost, ..Counts::default() };
    server.counted(device, midnight, of(4, 0)).await;
    server.counted(device, midnight + 2, of(2, 2)).await;
    server.counted(device, midnight + 24, of(1, 0)).await;
    let days = (midnight + 1, midnight + 48);
    let hours = (midnight, midnight + 3);
    let own = Some(id.as_str());
    let results = server
        .asks_metrics(json!([
            query("DeviceUplinkCount", own, "OneDay", days),
            query("DeviceUplinkLostRate", own, "OneHour", hours),
            query("DeviceUplinkCount", own, "OneWeek", (midnight, midnight + 48)),
        ]))
        .await;
    let at = |hour: u32| u64::from(hour) * 3_600;
    assert_eq!(results[0]["QueryStatus"], "Succeeded");
    assert_eq!((&results[0]["QueryId"], &results[0]["Unit"]), (&json!("q"), &json!("Count")));
    assert_eq!(results[0]["Timestamps"], json!([at(midnight), at(midnight + 24)]));
    let first = json!({
        "Min": 2.0, "Max": 4.0, "Sum": 6.0, "Avg": 3.0, "Std": 1.0, "P90": 4.0,
    });
    assert_eq!(results[0]["Values"][0], first);
    assert_eq!(results[1]["Timestamps"], json!([at(midnight), at(midnight + 2)]));
    assert_eq!(results[1]["Values"][1]["Avg"], 50.0);
    assert_eq!(
        (&results[1]["Values"][1]["Sum"], &results[1]["Unit"]),
        (&Value::Null, &json!("Percent"))
    );
    assert_eq!(results[2]["Values"][0]["Sum"], 7.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_can_not_be_answered_fails_by_itself() {
    let server = Server::start().await;
    let hours = (this_hour() - 1, this_hour());
    let none = "00000000-0000-4000-8000-000000000000";
    let questions = [
        (query("GatewayUpTime", None, "OneHour", hours), "is not measured"),
        (query("DeviceUplinkCount", None, "OneHour", hours), "needs the dimension DeviceId"),
        (query("DeviceUplinkCount", Some(none), "OneHour", hours), "does not exist"),
        (query("AwsAccountUplinkCount", Some(none), "OneHour", hours), "has no dimensions"),
        (query("AwsAccountUplinkCount", None, "OneHour", (5, 5)), "must be after StartTimestamp"),
    ];
    let mut asked: Vec<Value> = questions.iter().map(|(question, _)| question.clone()).collect();
    asked.push(query("AwsAccountUplinkCount", None, "OneHour", hours));
    let results = server.asks_metrics(json!(asked)).await;
    for ((_, why), result) in questions.iter().zip(&results) {
        assert_eq!(result["QueryStatus"], "Failed");
        assert!(result["Error"].as_str().unwrap().contains(why), "{result}");
    }
    let last = results.last().unwrap();
    assert_eq!((&last["QueryStatus"], &last["Values"]), (&json!("Succeeded"), &json!([])));
    assert_eq!(server.asks_metrics(json!([])).await, Vec::<Value>::new());
    for bad in [
        json!([{ "MetricName": "Nothing", "AggregationPeriod": "OneHour",
            "StartTimestamp": 1, "EndTimestamp": 2 }]),
        json!([{ "MetricName": "DeviceRSSI", "AggregationPeriod": "OneYear",
            "StartTimestamp": 1, "EndTimestamp": 2 }]),
        json!([{ "MetricName": "DeviceRSSI", "AggregationPeriod": "OneHour", "EndTimestamp": 2 }]),
        json!(vec![query("DeviceRSSI", None, "OneHour", hours); 51]),
    ] {
        let body = json!({ "SummaryMetricQueries": bad });
        assert_eq!(server.send("POST", "/metrics", body).await.shape(), "ValidationException");
    }
    server.stop().await;
}

/// From the moment that metrics are wanted.
#[tokio::test(flavor = "multi_thread")]
async fn the_devices_of_an_account_are_counted() {
    let server = Server::start().await;
    server.make_destination("d").await;
    server.make_device(1).await;
    server.make_device(2).await;
    let question = query("AwsAccountDeviceCount", None, "OneWeek", (this_hour(), u32::MAX / 2));
    let none = server.asks_metrics(json!([question])).await;
    assert_eq!(none[0]["Values"], json!([]));
    let on = json!({ "SummaryMetric": { "Status": "Enabled" } });
    assert_eq!(server.send("PUT", "/metric-configuration", on).await.status, 204);
    let counted = server.asks_metrics(json!([question])).await;
    assert_eq!(counted[0]["Values"][0]["Max"], 2.0);
    server.control.count_all_devices().await;
    server.stop().await;
}

async fn tenant(server: &Server) -> (Account, NewKey) {
    server.directory().create_account("tenant").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_read_by_their_account_and_set_by_the_operator_s() {
    let server = Server::start().await;
    let (account, key) = tenant(&server).await;
    let own = server.get("/account-quotas").await.json;
    assert_eq!(own, json!({ "AccountId": "123456789012", "Quotas": {} }), "the root has none");
    let own = server.call_as(&key, "GET", "/account-quotas", &Value::Null).await.json;
    assert_eq!(
        (&own["AccountId"], &own["Quotas"]["ApplicationProfiles"]),
        (&json!(account.to_string()), &json!(1_000))
    );

    let target = format!("/account-quotas?accountId={account}");
    let set = json!({ "Quotas": { "ApplicationProfiles": 1, "Devices": 5 } });
    let answer = server.send("PATCH", &target, set.clone()).await;
    assert_eq!((answer.status, &answer.json["Quotas"]["Devices"]), (200, &json!(5)));
    let profile = json!({ "Name": "p" });
    let make = || server.call_as(&key, "POST", "/application-profiles", &profile);
    let first = make().await;
    assert_eq!(first.status, 201);
    let second = make().await;
    assert_eq!((second.status, second.shape()), (410, "LimitExceededException"));
    let path = format!("/application-profiles/{}", first.json["Id"].as_str().unwrap());
    assert_eq!(server.call_as(&key, "DELETE", &path, &Value::Null).await.status, 204);
    assert_eq!(make().await.status, 201, "there is room again");
    let back = json!({ "Quotas": { "ApplicationProfiles": 0 } });
    let answer = server.send("PATCH", &target, back).await.json;
    assert_eq!(answer["Quotas"]["ApplicationProfiles"], 1_000);

    for (target, body) in
        [("/account-quotas", set.clone()), ("/account-quotas?accountId=123456789012", set)]
    {
        let refused = server.call_as(&key, "PATCH", target, &body).await;
        assert_eq!((refused.status, refused.shape()), (403, "AccessDeniedException"), "{target}");
    }
    let others = "/account-quotas?accountId=123456789012";
    assert_eq!(server.call_as(&key, "GET", others, &Value::Null).await.status, 403);
    assert_eq!(server.get("/account-quotas?accountId=999999999998").await.status, 404);
    for bad in
        [json!({}), json!({ "Quotas": { "Rules": 10_001 } }), json!({ "Quotas": { "Rules": -1 } })]
    {
        assert_eq!(server.send("PATCH", &target, bad).await.shape(), "ValidationException");
    }
    server.stop().await;
}
