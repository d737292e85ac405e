//! May this request be served? What RFC 7252 lets a server refuse before it looks at its own
//! resources: methods, critical options, proxying, paths.

use crate::code::Code;
use crate::message::{Message, Type};
use crate::option::{self, Number, Understood};

/// Judges a request of a message that triage called one.
pub fn admit(request: &Message<'_>, understood: Understood) -> Admission {
    if let Some(option) = option::first_unrecognised(&request.options, understood) {
        return if request.ty == Type::Con {
            Admission::Refuse { code: Code::BAD_OPTION, option: Some(option) }
        } else {
            Admission::Reject
        };
    }
    let refuse = |code, option| Admission::Refuse { code, option };
    if !request.code.is_known_method() {
        return refuse(Code::METHOD_NOT_ALLOWED, None);
    }
    for entry in &request.options {
        match entry.number {
            Number::PROXY_URI | Number::PROXY_SCHEME => {
                return refuse(Code::PROXYING_NOT_SUPPORTED, Some(entry.number));
            }
            Number::URI_PATH if matches!(entry.value, b"." | b"..") => {
                return refuse(Code::BAD_REQUEST, Some(entry.number));
            }
            Number::URI_HOST | Number::URI_PATH | Number::URI_QUERY
                if core::str::from_utf8(entry.value).is_err() =>
            {
                return refuse(Code::BAD_REQUEST, Some(entry.number));
            }
            _ => {}
        }
    }
    Admission::Serve
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Serve it.
    Serve,
    /// Answer with an error, and nothing else.
    Refuse {
        /// 4.00, 4.02, 4.05 or 5.05.
        code: Code,
        /// The option that is to blame, for the diagnostic payload.
        option: Option<Number>,
    },
    /// Ignore it silently: a Non-confirmable message with an unrecognised critical option is not
    /// answered (section 5.4.1).
    Reject,
}
