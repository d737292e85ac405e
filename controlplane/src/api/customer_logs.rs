//! ListCustomerLogs, which is ours: what stands in the customer's log? Answered as CloudWatch Logs
//! answers FilterLogEvents; `follow=true` as server-sent events that go on.

use std::convert::Infallible;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use warp::Reply as _;
use warp::http::StatusCode;
use warp::sse::{self, Event};

use super::error::ApiError;
use super::validate::Violations;
use super::{Api, Call, Reply};
use crate::control::{FoundEntry, LogQuery};
use crate::customer_log::Logged;
use crate::model::DeviceId;

/// `GET /customer-logs?wirelessDeviceId=&startTime=&endTime=&maxResults=&nextToken=&follow=`
pub async fn list(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let mut violations = Violations::default();
    let number = |name: &str| call.query.first(name).and_then(|text| text.parse::<u64>().ok());
    let entries_max = number("maxResults").unwrap_or(ENTRIES_DEFAULT);
    let after = call.query.first("nextToken").map(|token| {
        let after = place_of(token);
        if after.is_none() {
            violations.add("nextToken", "Member must be a nextToken that this operation returned");
        }
        after.unwrap_or_default()
    });
    let device = call.query.first("wirelessDeviceId").map(str::parse::<DeviceId>);
    if let Some(Err(_)) = device {
        violations.add("wirelessDeviceId", "Member must be the id of a wireless device");
    }
    let device = device.and_then(Result::ok);
    violations.check()?;
    if call.query.first("follow") == Some("true") {
        return follow(api, device);
    }
    let query = LogQuery {
        device,
        from_ms: number("startTime").unwrap_or(0),
        until_ms: number("endTime").unwrap_or(u64::MAX),
        after,
        entries_max: entries_max as usize,
    };
    let (entries, has_more) = api.control.log_entries(query).await?;
    let mut body = json!({ "events": entries.iter().map(shown).collect::<Vec<Value>>() });
    if let Some((at, _)) = entries.last().filter(|_| has_more) {
        body["nextToken"] = json!(token_of(*at));
    }
    Ok(Reply::json(StatusCode::OK, body))
}

fn follow(api: &Api, device: Option<DeviceId>) -> Result<Reply, ApiError> {
    let permit = std::sync::Arc::clone(&api.streams)
        .try_acquire_owned()
        .map_err(|_| ApiError::throttled("Too many followers. Try again when one has gone."))?;
    let (control, mut stopping) = (api.control.clone(), api.stopping.clone());
    let stopped = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let is_wanted = move |logged: &Logged| {
        device.is_none_or(|device| device == logged.entry.wireless_device_id)
            && control.sees_entry(logged)
    };
    let follower = (api.control.follow_log(), permit);
    let events = futures_util::stream::unfold(follower, |(mut follower, permit)| async move {
        follower.next().await.map(|logged| (logged, (follower, permit)))
    });
    let events = events.filter_map(move |logged| {
        let event = is_wanted(&logged).then(|| Ok::<_, Infallible>(event(&logged)));
        std::future::ready(event)
    });
    let events = events.take_until(Box::pin(stopped));
    let events = sse::keep_alive().interval(KEEP_ALIVE).stream(Box::pin(events));
    Ok(Reply(sse::reply(events).into_response()))
}

fn event(logged: &Logged) -> Event {
    let text = serde_json::to_string(&logged.entry).unwrap_or_default();
    Event::default().id(token_of(logged.at)).data(text)
}

fn shown((at, entry): &FoundEntry) -> Value {
    json!({
        "eventId": token_of(*at),
        "logStreamName": entry.wireless_device_id.to_string(),
        "timestamp": at.0,
        "ingestionTime": at.0,
        "message": serde_json::to_string(entry).unwrap_or_default(),
    })
}

fn token_of((unix_ms, number): (u64, u64)) -> String {
    URL_SAFE_NO_PAD.encode([unix_ms.to_be_bytes(), number.to_be_bytes()].concat())
}

fn place_of(token: &str) -> Option<(u64, u64)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (unix_ms, number) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*unix_ms), u64::from_be_bytes(number.try_into().ok()?)))
}

/// How often a quiet stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const ENTRIES_DEFAULT: u64 = 100;
