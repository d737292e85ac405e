//! Do short texts of operators and callers parse or not? Input: one, read as all it could be.

use tidegate_coap::code::Code;
use tidegate_coap::content_format;
use tidegate_controlplane::core::token::ResponseToken;
use tidegate_controlplane::customer_log::otlp;
use tidegate_controlplane::model::DeviceId;
use tidegate_controlplane::publish::broker_url::BrokerUrl;
use tidegate_controlplane::rules::{check_topic, origin};
use tidegate_crypto::cookie::CookieKey;
use tidegate_loadgen::profile::parse_psk;
use tidegate_loadgen::request::Uri;

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(url) = BrokerUrl::parse(text) {
        assert!(!url.host.is_empty());
    }
    let _ = (otlp::Target::parse(text), origin(text), check_topic("topic", text));
    let _ = (content_format::parse(text), Code::parse_response(text), Code::parse_method(text));
    let _ = (parse_psk(text), text.parse::<Uri>());
    let token = ResponseToken::decode(text, &CookieKey::new(&[5; 32]), DeviceId([1; 16]));
    assert!(token.is_none(), "made without the key");
}
