//! How does the API send? Validated here, accepted by the core.

use std::collections::HashMap;

use super::devices::device_id;
use super::draft::refuse;
use super::{Control, PAYLOAD_BYTES_MAX, validate};
use crate::core::{self, Body, Reply, Request};
use crate::model::{
    DeviceId, Downlink, DownlinkRequest, DownlinkResponse, MessageId, MessageState, MessageStatus,
    Page, PageRequest, QueuedMessage, Refused, ResourceType, TTL_S_MAX, Wait,
};
use crate::store::queue::{Queued, Waiting};
use crate::store::records::{Message, read};
use crate::store::{StoreError, Table};

impl Control {
    /// Accepts a message for a device. QueueMode 1: durable when this returns.
    pub async fn send(&self, device: &str, downlink: Downlink) -> Result<MessageId, Refused> {
        let device = device_id(device)?;
        // Of this account: the core knows all devices.
        self.read_device(device)?;
        let body = match downlink {
            Downlink::Request(mut request) => {
                check_request(&request)?;
                self.find_payload(&mut request.reference, REFERENCE).await?;
                Body::Request(request)
            }
            Downlink::Response(mut response) => {
                check_response(&response)?;
                self.find_payload(&mut response.reference, REFERENCE).await?;
                Body::Response(response)
            }
        };
        match self.held.edge.ask(Request::Send { device, body }).await? {
            Reply::Accepted(id) => Ok(id),
            other => unreachable!("a Send is answered by Accepted, not {other:?}"),
        }
    }

    /// Lists the open messages of a device in delivery order.
    pub async fn queued_messages(
        &self,
        device: &str,
        page: PageRequest,
    ) -> Result<Page<QueuedMessage>, Refused> {
        let device = device_id(device)?;
        self.read_device(device)?;
        let mut page = self.page(Table::Queue, &device.0, &page, |(key, value)| {
            let queued = Queued::decode(&key, &value)?;
            self.queued_message(&queued)
        })?;
        if page.items.iter().any(|message| message.state == MessageState::Queued) {
            let waits = self.waits(device).await?;
            for message in &mut page.items {
                message.wait = waits.get(&message.id).copied();
            }
        }
        Ok(page)
    }

    /// Why the open messages of a device wait.
    async fn waits(&self, device: DeviceId) -> Result<HashMap<MessageId, Wait>, Refused> {
        match self.held.edge.ask(Request::Waits { device }).await? {
            Reply::Waits(waits) => Ok(waits.into_iter().collect()),
            other => unreachable!("a Waits is answered by Waits, not {other:?}"),
        }
    }

    /// Deletes one open message; a message already under way is a Conflict.
    pub async fn delete_queued_message(&self, device: &str, message: &str) -> Result<(), Refused> {
        let device = device_id(device)?;
        self.read_device(device)?;
        let message = Some(message_id(message)?);
        self.ask(Request::Delete { device, message }).await
    }

    /// Deletes every message of the device that is not under way (`messageId=*`).
    pub async fn delete_queued_messages(&self, device: &str) -> Result<(), Refused> {
        let device = device_id(device)?;
        self.read_device(device)?;
        self.ask(Request::Delete { device, message: None }).await
    }

    /// The life of a message so far, and why it waits when it does.
    pub async fn message_status(
        &self,
        device: &str,
        message: &str,
    ) -> Result<(MessageStatus, Option<Wait>), Refused> {
        let (device, id) = (device_id(device)?, message_id(message)?);
        let found = read::<Message>(&*self.held.store, Table::Messages, &id.0).map_err(refuse)?;
        let status = found.map(|found| found.status).filter(|status| status.device == device);
        let missing = || Refused::not_found(ResourceType::Message, message);
        let status = status.ok_or_else(missing)?;
        let wait = match status.state {
            MessageState::Queued => self.waits(device).await?.get(&id).copied(),
            _ => None,
        };
        Ok((status, wait))
    }

    /// An entry of the queue as the API lists it; an answer is none.
    fn queued_message(&self, queued: &Queued) -> Result<Option<QueuedMessage>, StoreError> {
        if queued.waiting == Waiting::Answer {
            return Ok(None);
        }
        // It may end between the two reads.
        let found = read::<Message>(&*self.held.store, Table::Messages, &queued.id.0)?;
        let Some(status) = found.map(|found| found.status) else { return Ok(None) };
        Ok(Some(QueuedMessage {
            id: queued.id,
            device: queued.device,
            accepted_unix_ms: status.accepted_unix_ms,
            expires_unix_ms: status.expires_unix_ms,
            request: queued.request()?,
            state: status.state,
            wait: None,
        }))
    }
}

/// Where a payload lies is said by this member.
const REFERENCE: &str = "CoAP.PayloadReference";

fn message_id(text: &str) -> Result<MessageId, Refused> {
    text.parse().map_err(|_| Refused::not_found(ResourceType::Message, text))
}

fn check_request(request: &DownlinkRequest) -> Result<(), Refused> {
    validate::within("CoAP.TtlSeconds", request.ttl_s, &(1..=TTL_S_MAX))?;
    option_texts("CoAP.UriPaths", &request.uri_paths)?;
    option_texts("CoAP.UriQuery", &request.uri_query)?;
    payload(&request.payload)?;
    core::check_request(request).map_err(|_| not_one_message())
}

fn check_response(response: &DownlinkResponse) -> Result<(), Refused> {
    if !tidegate_coap::code::Code(response.status).is_response() {
        let constraint = "Member must be a response code, such as CONTENT(2.05)";
        return Err(Refused::invalid("CoAP.ResponseStatus", constraint));
    }
    option_texts("CoAP.LocationPath", &response.location_path)?;
    payload(&response.payload)?;
    core::check_response(response).map_err(|_| not_one_message())
}

/// Each is one option (RFC 7252 section 5.10.1).
fn option_texts(path: &str, texts: &[String]) -> Result<(), Refused> {
    if texts.iter().any(|text| text.len() > 255) {
        return Err(validate::too_long(path, 255));
    }
    Ok(())
}

fn payload(payload: &[u8]) -> Result<(), Refused> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        let constraint = format!("Member must decode to at most {PAYLOAD_BYTES_MAX} bytes");
        return Err(Refused::invalid("PayloadData", constraint));
    }
    Ok(())
}

fn not_one_message() -> Refused {
    Refused::invalid("CoAP", "Its options must fit one CoAP message")
}
