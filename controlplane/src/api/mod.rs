//! How does a request become an answer? The HTTP API in the shapes of AWS IoT Wireless.
//!
//! ```text
//! warp ─▶ slot free? ─▶ body (bounded, in time) ─▶ signature ─▶ route ─▶ rate ─▶ policies ─▶ …
//!           429           413, 408                  403, 400     404     429      403
//! … one operation, on the records of the caller's account alone ─▶ JSON
//!     400 404 409 410 429 500
//! ```
//!
//! Every path but `GET /health` needs a signature; what routes exist is told only to those who
//! have a key.

pub mod access_key;
pub mod authorities;
pub mod customer_logs;
pub mod destinations;
pub mod devices;
pub mod downlink;
pub mod endpoint;
pub mod error;
pub mod events;
pub mod health;
pub mod imports;
pub mod logs;
pub mod metrics;
pub mod options;
pub mod page;
pub mod payloads;
pub mod policies;
pub mod profiles;
pub mod query;
pub mod queue;
pub mod quotas;
pub mod radio_profiles;
pub mod resources;
pub mod route;
mod rule_actions;
pub mod rules;
pub mod serve;
pub mod shape;
pub mod sigv4;
pub mod spec;
pub mod tags;
pub mod things;
pub mod uplinks;
pub mod validate;

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;
use warp::Filter;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode};
use warp::path::FullPath;
use warp::reply::Response;
use zeroize::Zeroizing;

use self::error::{ApiError, Dialect};
use self::query::Query;
use self::route::Operation;
use self::sigv4::canonical::Signed;
use self::sigv4::{Expected, KeyLookup, Refusal};
use self::validate::{Members, parse_body};
use crate::control::Control;
use crate::iam::caller::{Caller, Peer};
use crate::iam::quota::Quota;
use crate::iam::throttle::Throttle;
use crate::store::account::Account;

/// What the API needs to answer.
#[derive(Clone)]
pub struct Api {
    /// The control plane.
    pub control: Control,
    /// The key pair of the installation's root; the others are in the directory.
    pub keys: Arc<dyn KeyLookup>,
    /// How resources are named.
    pub aws: Aws,
    /// What GetServiceEndpoint tells.
    pub endpoints: Arc<endpoint::Endpoints>,
    /// Bounds.
    pub bounds: Bounds,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    throttle: Arc<Throttle>,
    started: Instant,
    stopping: watch::Receiver<bool>,
}

/// Where this installation pretends to be: the parts of its ARNs and signatures.
#[derive(Clone, Debug)]
pub struct Aws {
    /// `aws`.
    pub partition: String,
    /// `us-east-1` …
    pub region: String,
    /// Twelve digits.
    pub account_id: String,
}

impl Aws {
    /// `arn:<partition>:iotwireless:<region>:<account>:<kind>/<id>`
    pub fn arn(&self, kind: &str, id: &str) -> String {
        format!(
            "arn:{}:iotwireless:{}:{}:{kind}/{id}",
            self.partition, self.region, self.account_id
        )
    }
}

/// Bounds of the API.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest request body, bytes.
    pub body_bytes_max: usize,
    /// The head of a request must have arrived after so long.
    pub head_timeout: Duration,
    /// A body must have arrived after so long.
    pub body_timeout: Duration,
    /// Requests answered at the same time; one more gets 429.
    pub requests_max: usize,
    /// Followers of `/uplinks` at the same time; one more gets 429.
    pub streams_max: usize,
}

/// A request whose signer is known, its path split and decoded.
#[derive(Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Decoded segments of the path.
    pub path: Vec<String>,
    /// The decoded query.
    pub query: Query,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The same as JSON, or why it is none.
    pub json: Result<Map<String, Value>, ApiError>,
}

impl Call {
    /// The members of the body; none while it is no JSON, which its shape has refused.
    pub fn members(&self) -> Members<'_> {
        Members::of_body(self.json.as_ref().unwrap_or(&NO_MEMBERS))
    }
}

static NO_MEMBERS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// What an operation answers.
pub struct Reply(Response);

impl Reply {
    /// JSON.
    pub fn json(status: StatusCode, body: Value) -> Self {
        Self(error::json_response(status, &body))
    }

    /// No body at all.
    pub fn empty(status: StatusCode) -> Self {
        let mut response = Response::default();
        *response.status_mut() = status;
        Self(response)
    }
}

impl Api {
    /// An API over a running control plane; its streams end when `stopping` turns true.
    pub fn new(
        control: Control,
        keys: Box<dyn KeyLookup>,
        aws: Aws,
        endpoints: endpoint::Endpoints,
        bounds: Bounds,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let requests = Arc::new(Semaphore::new(bounds.requests_max));
        let streams = Arc::new(Semaphore::new(bounds.streams_max));
        let (keys, endpoints) = (Arc::from(keys), Arc::new(endpoints));
        let (throttle, started) = (Arc::default(), Instant::now());
        Self {
            control,
            keys,
            aws,
            endpoints,
            bounds,
            requests,
            streams,
            throttle,
            started,
            stopping,
        }
    }

    /// The same, of one account.
    fn within(&self, account: Account) -> Self {
        let control = self.control.within(account);
        let aws = Aws { account_id: account.to_string(), ..self.aws.clone() };
        Self { control, aws, ..self.clone() }
    }

    async fn answer<B, E>(
        &self,
        head: Head,
        peer: Peer,
        body: impl Stream<Item = Result<B, E>>,
    ) -> Response
    where
        B: Buf,
    {
        let Head { method, path, raw_query, headers, authority } = head;
        let dialect = route::dialect(&path);
        let answered = async {
            let _slot = self.requests.try_acquire().map_err(|_| {
                ApiError::throttled("Too many requests are being answered. Try again.")
            })?;
            if method == Method::GET && path == "/health" {
                return Ok(health::get(self).await);
            }
            let body = self.read_body(body).await?;
            let signed = Signed {
                method: method.as_str(),
                path: &path,
                query: &raw_query,
                headers: &headers,
                authority: authority.as_deref(),
                body: &body,
            };
            let caller = self.authenticate(&signed, dialect)?;
            check_media_type(&headers, &body)?;
            let path = route::segments(&path);
            let operation = Operation::of(method.as_str(), &path);
            let operation = operation.ok_or_else(ApiError::unknown_operation)?;
            let call = Call {
                method: method.clone(),
                path,
                query: Query::parse(&raw_query),
                headers: headers.clone(),
                json: parse_body(&body),
                body,
            };
            self.operate(&caller, operation, &call, peer).await
        };
        let mut response = match answered.await {
            Ok(Reply(response)) => response,
            Err(refused) => {
                tracing::debug!(%method, path, shape = refused.shape(), "request refused");
                refused.into_response(dialect)
            }
        };
        let id = Uuid::new_v4().to_string();
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-amzn-requestid", id);
        }
        response
    }

    /// Runs the operation on what belongs to the caller's account, when it may.
    async fn operate(
        &self,
        caller: &Caller,
        operation: &Operation,
        call: &Call,
        peer: Peer,
    ) -> Result<Reply, ApiError> {
        let account = caller.account();
        let rate = self.control.directory().quota(account, Quota::ApiRate);
        let now_ms = self.started.elapsed().as_millis() as u64;
        if rate.is_some_and(|rate| !self.throttle.admits(account, operation.action, rate, now_ms)) {
            return Err(ApiError::throttled("Rate exceeded"));
        }
        let own = (account != Account::ROOT).then(|| self.within(account));
        let api = own.as_ref().unwrap_or(self);
        caller.authorize(api, operation, call, peer).await?;
        spec::check_call(operation, call)?;
        operation.run(api, call).await
    }

    fn authenticate(&self, signed: &Signed<'_>, dialect: Dialect) -> Result<Caller, Refusal> {
        let expected =
            Expected { region: &self.aws.region, services: route::signing_names(dialect) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let directory = self.control.directory();
        let keys = Keys { first: self.keys.as_ref(), others: directory.as_ref() };
        let signer = sigv4::verify(signed, now.as_secs().cast_signed(), &expected, &keys)?;
        if self.keys.secret(&signer.access_key_id).is_some() {
            return Ok(Caller { user: None });
        }
        // The key may have been deleted since.
        let user = directory.holder(&signer.access_key_id).ok_or(Refusal::UnknownKey)?;
        Ok(Caller { user: Some(user) })
    }

    async fn read_body<B: Buf, E>(
        &self,
        body: impl Stream<Item = Result<B, E>>,
    ) -> Result<Bytes, ApiError> {
        let bytes_max = self.bounds.body_bytes_max;
        let read = async {
            let mut body = std::pin::pin!(body);
            let mut all = BytesMut::new();
            while let Some(part) = body.next().await {
                let part = part.map_err(|_| ApiError::body_timeout())?;
                if all.len() + part.remaining() > bytes_max {
                    return Err(ApiError::too_large(bytes_max));
                }
                bytes::BufMut::put(&mut all, part);
            }
            Ok(all.freeze())
        };
        tokio::time::timeout(self.bounds.body_timeout, read)
            .await
            .unwrap_or_else(|_| Err(ApiError::body_timeout()))
    }
}

/// A request without its body, as it came.
struct Head {
    method: Method,
    path: String,
    raw_query: String,
    headers: HeaderMap,
    authority: Option<String>,
}

/// The root's key pair, then those of the directory.
struct Keys<'a> {
    first: &'a dyn KeyLookup,
    others: &'a dyn KeyLookup,
}

impl KeyLookup for Keys<'_> {
    fn secret(&self, access_key_id: &str) -> Option<Zeroizing<String>> {
        self.first.secret(access_key_id).or_else(|| self.others.secret(access_key_id))
    }
}

/// The whole API as one warp filter, for requests that come from `peer`.
pub fn filter(
    api: Arc<Api>,
    peer: Peer,
) -> impl Filter<Extract = (Response,), Error = warp::Rejection> + Clone + Send + Sync + 'static {
    let raw_query = warp::query::raw().or_else(|_| async { Ok::<_, Infallible>((String::new(),)) });
    let authority = warp::host::optional()
        .map(|authority: Option<warp::host::Authority>| authority.map(|a| a.to_string()))
        .or_else(|_| async { Ok::<_, Infallible>((None,)) });
    warp::method()
        .and(warp::path::full())
        .and(raw_query)
        .and(warp::header::headers_cloned())
        .and(authority)
        .and(warp::body::stream())
        .then(move |method, path: FullPath, query, headers, authority, body| {
            let api = Arc::clone(&api);
            async move {
                let (path, raw_query) = (path.as_str().to_owned(), query);
                let head = Head { method, path, raw_query, headers, authority };
                api.answer(head, peer, body).await
            }
        })
}

/// A body must be JSON, when it says what it is. Clients that send none say nothing.
fn check_media_type(headers: &HeaderMap, body: &Bytes) -> Result<(), ApiError> {
    let Some(said) = headers.get("content-type").filter(|_| !body.is_empty()) else {
        return Ok(());
    };
    let said = said.to_str().unwrap_or_default();
    let kind = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = kind == "application/json" || kind == "application/x-amz-json-1.1";
    // curl -d says this unless told otherwise; the body is parsed as JSON all the same.
    let curl = kind == "application/x-www-form-urlencoded";
    if json || curl { Ok(()) } else { Err(ApiError::unsupported_media()) }
}

#[cfg(test)]
mod tests;
