//! Can a signed request harm the API before its operation runs? Input: method, raw path and query
//! in a line each, then the body.

use tidegate_controlplane::api::Call;
use tidegate_controlplane::api::query::Query;
use tidegate_controlplane::api::route::{Operation, segments};
use tidegate_controlplane::api::spec;
use tidegate_controlplane::api::validate::parse_body;
use warp::http::{HeaderMap, Method};

pub(crate) fn run(input: &[u8]) {
    let ([method, path, query], body) = crate::lines_and_rest(input);
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let call = Call {
        path: segments(path),
        query: Query::parse(query),
        headers: HeaderMap::new(),
        body: body.to_vec().into(),
        json: parse_body(body),
        method,
    };
    let Some(operation) = Operation::of(call.method.as_str(), &call.path) else { return };
    let allowed = spec::check_call(operation, &call).is_ok();
    let wants_body =
        spec::operations::of(operation.name()).is_some_and(|spec| spec.input.is_some());
    assert!(!allowed || !wants_body || call.json.is_ok(), "no JSON, and let through");
}
