//! GetMetricConfiguration, UpdateMetricConfiguration: are summary metrics kept?

use serde_json::json;
use warp::http::StatusCode;

use super::error::ApiError;
use super::spec::{self, shapes};
use super::{Api, Call, Reply};
use crate::model::MetricConfiguration;
use crate::store::keys;

/// `GET /metric-configuration`
pub async fn get(api: &Api) -> Result<Reply, ApiError> {
    let held: MetricConfiguration = api.control.setting(keys::METRICS).await?;
    Ok(Reply::json(StatusCode::OK, json!(held)))
}

/// `PUT /metric-configuration`
pub async fn put(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let held: MetricConfiguration = spec::input(call, shapes::METRIC_CONFIGURATION)?;
    api.control.set(keys::METRICS, &held).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
