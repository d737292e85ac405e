//! GetMetricConfiguration, UpdateMetricConfiguration, GetMetrics: are summary metrics kept, and
//! what do they say?
//!
//! A question that can't be answered fails by itself, with its reason; the others are answered.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::error::ApiError;
use super::spec::{self, shapes};
use super::{Api, Call, Reply};
use crate::control::MetricQuery;
use crate::model::{Metric, MetricConfiguration, MetricOf, Period, Refused};

/// `GET /metric-configuration`
pub async fn get(api: &Api) -> Result<Reply, ApiError> {
    let held = api.control.metric_configuration().await?;
    Ok(Reply::json(StatusCode::OK, json!(held)))
}

/// `PUT /metric-configuration`
pub async fn put(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let held: MetricConfiguration = spec::input(call, shapes::METRIC_CONFIGURATION)?;
    api.control.configure_metrics(&held).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /metrics`
pub async fn summary(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let asked: Queries = spec::input(call, shapes::METRIC_QUERIES)?;
    let mut results = Vec::new();
    for query in asked.summary_metric_queries {
        results.push(answered(api, &query).await?);
    }
    Ok(Reply::json(StatusCode::OK, json!({ "SummaryMetricQueryResults": results })))
}

/// What is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Queries {
    summary_metric_queries: Vec<Query>,
}

/// One question, as its answer repeats it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Query {
    #[serde(rename = "QueryId", default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    metric_name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dimensions: Vec<Dimension>,
    aggregation_period: String,
    start_timestamp: f64,
    end_timestamp: f64,
}

#[derive(Deserialize, Serialize)]
struct Dimension {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

async fn answered(api: &Api, query: &Query) -> Result<Value, ApiError> {
    let mut answer = json!(query);
    let failed = |mut answer: Value, why: String| {
        answer["QueryStatus"] = json!("Failed");
        answer["Error"] = json!(why);
        Ok(answer)
    };
    let read = match read(query) {
        Ok(read) => read,
        Err(why) => return failed(answer, why),
    };
    let measured = match api.control.measured_of(&read).await {
        Ok(measured) => measured,
        Err(refused @ Refused::NotFound { .. }) => return failed(answer, refused.to_string()),
        Err(refused) => return Err(refused.into()),
    };
    answer["QueryStatus"] = json!("Succeeded");
    answer["Timestamps"] = measured.iter().map(|(begin_unix_s, _)| json!(begin_unix_s)).collect();
    let values = measured.iter().map(|(_, found)| {
        let mut value = json!({
            "Min": found.min, "Max": found.max, "Avg": found.avg, "Std": found.std,
            "P90": found.p90,
        });
        if let Some(sum) = found.sum {
            value["Sum"] = json!(sum);
        }
        value
    });
    answer["Values"] = values.collect();
    answer["Unit"] = json!(read.metric.unit());
    Ok(answer)
}

/// What can be looked up, or why it can't. (The shape has checked names and numbers.)
fn read(query: &Query) -> Result<MetricQuery, String> {
    let name = &query.metric_name;
    let Some((metric, of)) = Metric::named(name) else {
        return Err(format!("{name} is not measured: CoAP devices have no such metric"));
    };
    let device = query.dimensions.iter().find(|dimension| dimension.name == "DeviceId");
    let device = device.and_then(|dimension| dimension.value.clone());
    let device = match of {
        MetricOf::Device => {
            let missing = || format!("{name} needs the dimension DeviceId, with a value");
            Some(device.ok_or_else(missing)?)
        }
        MetricOf::Account if query.dimensions.is_empty() => None,
        MetricOf::Account => return Err(format!("{name} has no dimensions")),
    };
    if query.end_timestamp <= query.start_timestamp {
        return Err("EndTimestamp must be after StartTimestamp".to_owned());
    }
    let period = Period::named(&query.aggregation_period).unwrap_or(Period::Hour);
    let from_hour = (query.start_timestamp / HOUR_S).floor() as u32;
    let until_hour = (query.end_timestamp / HOUR_S).ceil() as u32;
    Ok(MetricQuery { metric, device, period, from_hour, until_hour })
}

const HOUR_S: f64 = 3_600.0;
