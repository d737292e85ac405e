//! `GET /health`: is everything well? Answered without a signature, so it tells no name, no id and
//! no address.

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::{Api, Reply};

/// 200 while the store answers, 503 when not; `Status` also minds the workers and the broker.
///
/// A worker is `Greeted` once it said Hello to this process: one that was there before is not, and
/// serves all the same.
pub async fn get(api: &Api) -> Reply {
    let health = api.control.health().await;
    let well = health.store_ok && health.publisher.connected && !health.workers.is_empty();
    let workers: Vec<Value> = health
        .workers
        .iter()
        .map(|worker| json!({ "Worker": worker.worker, "Greeted": worker.greeted }))
        .collect();
    let body = json!({
        "Status": if well { "ok" } else { "degraded" },
        "Version": env!("CARGO_PKG_VERSION"),
        "Store": health.store_ok,
        "Publisher": {
            "Kind": health.publisher.kind,
            "Connected": health.publisher.connected,
            "InFlight": health.publisher.in_flight,
            "Confirmed": health.publisher.confirmed,
            "Unavailable": health.publisher.unavailable,
        },
        "Outbox": {
            "Entries": health.outbox.entries,
            "Bytes": health.outbox.bytes,
            "Devices": health.outbox.devices,
        },
        "Workers": workers,
        "Sessions": health.sessions,
        "OpenMessages": health.open_messages,
        "TrustOmitted": health.trust_omitted,
        "RulesFailed": health.rules_failed,
    });
    let status = if health.store_ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Reply::json(status, body)
}
