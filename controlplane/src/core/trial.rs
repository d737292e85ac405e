//! What would become of a message of a device? TestWirelessDevice publishes one for it, as AWS
//! does: payload `Hello`, by the device's destination and rules. Nothing is sent to the device.

use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_ring::contract::Publication;

use super::routes::Route;
use super::uplink_json::Circumstances;
use super::uplinks::Pending;
use super::{Core, Now, PublishResult, Reply, RequestId, effect};
use crate::model::{DeviceId, MessageId, Network};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It was published, or a rule wanted no more of it.
    Published,
    /// The device's destination leads nowhere.
    NoRoute,
    /// It could not be published.
    Unavailable,
}

const PAYLOAD: &[u8] = b"Hello";
/// Longer than the message.
const MESSAGE_BYTES: usize = 32;

impl Core {
    /// Publishes a PUT of `/test`, as the device would send it.
    pub(super) fn test(&mut self, now: Now, to: RequestId, device: DeviceId, network: Network) {
        let mut buffer = [0; MESSAGE_BYTES];
        let mut writer = Writer::new(&mut buffer, Type::Con, Code::PUT, 0, &Token::EMPTY);
        writer.option(Number::URI_PATH, b"test");
        writer.option_uint(Number::CONTENT_FORMAT, 0);
        let written = writer.payload(PAYLOAD).finish().ok();
        let message = written.and_then(|len| Message::parse(&buffer[..len]).ok());
        let (Some(message), Ok(route)) = (message, self.route(device)) else {
            return self.reply(to, Err(effect::store_failed()));
        };
        let is_open = self.publisher_up || !route.wants_publisher();
        let said = match route {
            Route::Nowhere | Route::Stranger => Some(Trial::NoRoute),
            _ if !is_open || !self.uplinks.has_room() => Some(Trial::Unavailable),
            route => {
                let about = Circumstances {
                    device,
                    message: MessageId::random(),
                    received_unix_ms: now.unix_ms,
                    network,
                    security_mode: None,
                    response_token: None,
                };
                let pending = Pending::Trial(to);
                let refused = self.publish_uplink(now, route, &message, &about, pending);
                refused.map(|publication| match publication {
                    Publication::Confirmed | Publication::AwaitingAnswer => Trial::Published,
                    Publication::NoRoute => Trial::NoRoute,
                    _ => Trial::Unavailable,
                })
            }
        };
        if let Some(said) = said {
            self.reply(to, Ok(Reply::Tested(said)));
        }
    }

    pub(super) fn on_trial_published(&mut self, to: RequestId, result: PublishResult) {
        let is_published = result == PublishResult::Confirmed;
        let said = if is_published { Trial::Published } else { Trial::Unavailable };
        self.reply(to, Ok(Reply::Tested(said)));
    }
}
