//! What does a refused caller see? AWS's error shapes: status, `x-amzn-ErrorType`, JSON body.
//!
//! *Invariant:* no error text holds a secret or a payload: constraints name members and bounds,
//! never values.

use serde_json::{Map, Value, json};
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::Response;

use super::sigv4::Refusal;
use super::validate::Violation;
use crate::model::Refused;

/// Which service's error bodies a resource speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// AWS IoT Wireless: `Message`, `ResourceId`, `ResourceType`.
    Wireless,
    /// AWS IoT (rules): `message`, other shape names.
    Iot,
    /// The same of certificates, which calls a failure of its own otherwise.
    IotCertificates,
}

/// One refusal on its way to the caller.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    shape: &'static str,
    message: String,
    resource: Option<Box<Resource>>,
    violations: Vec<Violation>,
}

/// What is missing, or in the way.
#[derive(Clone, Debug)]
struct Resource {
    kind: &'static str,
    id: String,
    /// AWS IoT names it so too.
    arn: Option<String>,
    /// By `ResourceName`, its ARN, and nothing else.
    is_named: bool,
}

impl Resource {
    fn new(kind: &'static str, id: impl Into<String>) -> Self {
        Self { kind, id: id.into(), arn: None, is_named: false }
    }
}

impl ApiError {
    fn new(status: StatusCode, shape: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, shape, message, resource: None, violations: Vec::new() }
    }

    /// Constraints were violated; at least one.
    pub fn validation(violations: Vec<Violation>) -> Self {
        let count = violations.len();
        let plural = if count == 1 { "error" } else { "errors" };
        let each: Vec<String> = violations
            .iter()
            .map(|violation| {
                format!(
                    "Value at '{}' failed to satisfy constraint: {}",
                    violation.path, violation.constraint
                )
            })
            .collect();
        let message = format!("{count} validation {plural} detected: {}", each.join("; "));
        Self { violations, ..Self::new(StatusCode::BAD_REQUEST, "ValidationException", message) }
    }

    /// The body is not JSON, or a member has another JSON type than its shape.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "SerializationException", message)
    }

    /// No operation has this method and path.
    pub fn unknown_operation() -> Self {
        let message = "No operation of this service has this method and path.";
        Self::new(StatusCode::NOT_FOUND, "UnknownOperationException", message)
    }

    /// The body is longer than `bytes_max`.
    pub fn too_large(bytes_max: usize) -> Self {
        let message = format!("The request body may have at most {bytes_max} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", message)
    }

    /// The body did not come in time, or broke off.
    pub fn body_timeout() -> Self {
        let message = "The request body did not arrive in time.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException", message)
    }

    /// The body is said to be something else than JSON.
    pub fn unsupported_media() -> Self {
        let message = "The body must be application/json.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaTypeException", message)
    }

    /// There is no such resource.
    pub fn not_found(kind: &'static str, id: &str) -> Self {
        let message = format!("{kind} {id} does not exist");
        Self {
            resource: Some(Box::new(Resource::new(kind, id))),
            ..Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
        }
    }

    /// A policy does not allow it.
    pub fn access_denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDeniedException", message)
    }

    /// Too many requests at once, or a queue is full.
    pub fn throttled(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "ThrottlingException", message)
    }

    /// Names the resource in the way by its ARN too, as AWS IoT does.
    #[must_use]
    pub fn with_arn(mut self, arn: impl FnOnce(&str) -> String) -> Self {
        if let Some(resource) = &mut self.resource {
            resource.arn = Some(arn(&resource.id));
        }
        self
    }

    /// The shape's name, for logs and tests.
    pub fn shape(&self) -> &'static str {
        self.shape
    }

    /// The answer in the words of `dialect`.
    pub fn into_response(self, dialect: Dialect) -> Response {
        let shape = match dialect {
            Dialect::Wireless => self.shape,
            Dialect::IotCertificates if self.shape == "InternalServerException" => {
                "InternalFailureException"
            }
            Dialect::Iot | Dialect::IotCertificates => iot_shape(self.shape),
        };
        // AWS IoT's own status of it.
        let is_iot_throttling = dialect != Dialect::Wireless && shape == "ThrottlingException";
        let status = if is_iot_throttling { StatusCode::BAD_REQUEST } else { self.status };
        let mut response = json_response(status, &self.body(dialect));
        response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(shape));
        response
    }

    /// The body of [`ApiError::into_response`].
    pub fn body(&self, dialect: Dialect) -> Value {
        let mut body = Map::new();
        let message = if dialect == Dialect::Wireless { "Message" } else { "message" };
        body.insert(message.into(), json!(self.message));
        if let Some(resource) = &self.resource {
            let Resource { kind, id, arn, is_named } = &**resource;
            match dialect {
                Dialect::Wireless if *is_named => {
                    let name = arn.clone().unwrap_or_else(|| format!("{kind}/{id}"));
                    body.insert("ResourceName".into(), json!(name));
                }
                Dialect::Wireless => {
                    body.insert("ResourceId".into(), json!(id));
                    body.insert("ResourceType".into(), json!(kind));
                }
                // AWS IoT names what is in the way, not what is missing.
                Dialect::Iot | Dialect::IotCertificates if self.shape != "ConflictException" => {}
                Dialect::Iot | Dialect::IotCertificates => {
                    body.insert("resourceId".into(), json!(id));
                    if let Some(arn) = arn {
                        body.insert("resourceArn".into(), json!(arn));
                    }
                }
            }
        }
        if dialect == Dialect::Wireless && !self.violations.is_empty() {
            let fields = self.violations.iter().map(
                |violation| json!({ "path": violation.path, "message": violation.constraint }),
            );
            body.insert("fieldList".into(), fields.collect());
        }
        Value::Object(body)
    }
}

/// A JSON answer.
pub fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// AWS IoT's names for the same refusals.
fn iot_shape(shape: &'static str) -> &'static str {
    match shape {
        "ValidationException" | "SerializationException" => "InvalidRequestException",
        "ConflictException" => "ResourceAlreadyExistsException",
        "InternalServerException" => "InternalException",
        other => other,
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let text = refused.to_string();
        match refused {
            Refused::Validation { path, constraint } => {
                Self::validation(vec![Violation { path, constraint }])
            }
            Refused::NotFound { resource_type, resource_id } => Self {
                resource: Some(Box::new(Resource::new(resource_type.as_str(), resource_id))),
                ..Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", text)
            },
            Refused::Conflict { resource_type, resource_id, message } => Self {
                resource: Some(Box::new(Resource::new(resource_type.as_str(), resource_id))),
                ..Self::new(StatusCode::CONFLICT, "ConflictException", message)
            },
            Refused::Certificate { message } => {
                Self::new(StatusCode::BAD_REQUEST, "CertificateValidationException", message)
            }
            Refused::Sql { message } => {
                Self::new(StatusCode::BAD_REQUEST, "SqlParseException", message)
            }
            Refused::State { message } => {
                Self::new(StatusCode::NOT_ACCEPTABLE, "CertificateStateException", message)
            }
            Refused::Limit { message } => {
                Self::new(StatusCode::GONE, "LimitExceededException", message)
            }
            Refused::TooManyTags { resource } => {
                let id = resource.id.clone();
                let kind = resource.kind.as_str();
                let resource = Resource { is_named: true, ..Resource::new(kind, id) };
                Self {
                    resource: Some(Box::new(resource)),
                    ..Self::new(StatusCode::BAD_REQUEST, "TooManyTagsException", text)
                }
            }
            Refused::Throttled { message } => Self::throttled(message),
            Refused::Internal { message } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerException", message)
            }
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        const MISMATCH: &str = "The request signature we calculated does not match the signature \
            you provided. Check your AWS Secret Access Key and signing method. Consult the service \
            documentation for details.";
        let forbidden = |shape, text: String| Self::new(StatusCode::FORBIDDEN, shape, text);
        match refusal {
            Refusal::Missing => {
                forbidden("MissingAuthenticationToken", "Missing Authentication Token".into())
            }
            Refusal::Incomplete(text) => {
                Self::new(StatusCode::BAD_REQUEST, "IncompleteSignature", text)
            }
            Refusal::UnknownKey => forbidden(
                "InvalidClientTokenId",
                "The security token included in the request is invalid.".into(),
            ),
            Refusal::WrongScope(text) => forbidden("SignatureDoesNotMatch", text),
            Refusal::Expired(text) => forbidden("RequestExpired", text),
            Refusal::BodyChanged => forbidden(
                "SignatureDoesNotMatch",
                "The x-amz-content-sha256 header is not the hash of the body that arrived.".into(),
            ),
            Refusal::Mismatch => forbidden("SignatureDoesNotMatch", MISMATCH.into()),
        }
    }
}
