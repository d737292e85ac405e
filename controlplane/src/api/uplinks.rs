//! `GET /uplinks`: the embedded stream as server-sent events, resumable.
//!
//! One event an uplink: `id` is its cursor, `data` the uplink JSON as a broker would get it, and a
//! comment names the topic. `Last-Event-ID` (what a reconnecting client sends by itself) or
//! `?from=` says where to go on: after that cursor, `0` for the oldest kept, nothing for only new
//! ones.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use warp::Reply as _;
use warp::sse::{self, Event};

use super::error::ApiError;
use super::{Api, Call, Reply};
use crate::control::UplinkStream;

/// Follows the stream.
pub async fn follow(api: &Api, call: &Call) -> Result<Reply, ApiError> {
    let after = cursor(call)?;
    let permit = std::sync::Arc::clone(&api.streams).try_acquire_owned().map_err(|_| {
        ApiError::throttled("Too many followers of /uplinks. Try again when one has gone.")
    })?;
    let uplinks = api.control.uplinks(after).await?;
    let mut stopping = api.stopping.clone();
    let stopped = async move {
        // The sender is gone: the process is on its way out too.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let events =
        Events { uplinks: Mutex::new(uplinks), _permit: permit }.take_until(Box::pin(stopped));
    let events = sse::keep_alive().interval(KEEP_ALIVE).stream(events);
    Ok(Reply(sse::reply(events).into_response()))
}

/// How often a quiet stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

fn cursor(call: &Call) -> Result<Option<u64>, ApiError> {
    let header = call.headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let Some(text) = header.filter(|text| !text.is_empty()).or(call.query.first("from")) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        ApiError::serialization("The cursor must be the id of an event, or 0 for the oldest.")
    })
}

/// The stream as events. *Why a mutex:* a response body must be `Sync`; it is never contended,
/// `get_mut` does not even lock.
struct Events {
    uplinks: Mutex<UplinkStream>,
    _permit: OwnedSemaphorePermit,
}

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let uplinks = self.uplinks.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        match uplinks.poll_next_unpin(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(uplink))) => {
                // A line break would end the comment and begin a field.
                let topic = uplink.topic.replace(char::is_control, "\u{fffd}");
                let event = Event::default()
                    .comment(format!("topic {topic}"))
                    .id(uplink.cursor.to_string())
                    .data(uplink.json);
                Poll::Ready(Some(Ok(event)))
            }
            Poll::Ready(Some(Err(refused))) => {
                tracing::warn!(%refused, "an uplink stream ended");
                Poll::Ready(None)
            }
            Poll::Ready(None) => Poll::Ready(None),
        }
    }
}
