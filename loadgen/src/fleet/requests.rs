//! What becomes of a device's requests, and of what the server asks it? (RFC 7252 sections 4 and 5,
//! RFC 7959)

use std::io;

use tidegate_coap::block::{Block, Step, Upload};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, Writer, empty};
use tidegate_coap::option::Number;
use tidegate_coap::triage::{Triage, triage};
use tidegate_dtls::control::{Control, on_control};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_dtls::return_routability::PathMessage;

use super::engine::Engine;
use super::exchanges::{Found, NONE, State};
use super::inbox::Content;
use super::messages::Parts;
use crate::measurement::{ErrorKind, Latency};
use crate::scenario::Transport;

impl Engine {
    /// A device sends a request that should have been sent at `due_ns`.
    pub(super) fn request(&mut self, device: u32, due_ns: u64) -> io::Result<()> {
        self.move_if_due(device)?;
        let template = self.phase.template(&mut self.dice);
        let row = self.devices.row_mut(device);
        row.since_rebind = row.since_rebind.saturating_add(1);
        let Some(place) = self.exchanges.open(device, &mut row.first) else {
            self.measurement.record_error(ErrorKind::Unsent);
            self.phase.pace.end();
            return Ok(());
        };
        row.in_flight += 1;
        let kind = &self.phase.templates[usize::from(template)];
        let (body_bytes, upload) = kind.body(&mut self.dice);
        let confirms = kind.message_type == Type::Con && self.setup.transport != Transport::Udp;
        let exchange = &mut self.exchanges[place];
        exchange.template = template;
        exchange.state = if confirms { State::Confirming } else { State::Expecting };
        (exchange.body_bytes, exchange.upload) = (body_bytes, upload);
        (exchange.due_ns, exchange.sent_ns) = (due_ns, self.now_ns);
        self.measurement.record_request();
        self.send_first(place)
    }

    /// The device's NAT forgets it, every so many requests.
    fn move_if_due(&mut self, device: u32) -> io::Result<()> {
        let every = self.phase.phase.rebind_every;
        let row = self.devices.row(device);
        if every == 0 || u64::from(row.since_rebind) < every || row.in_flight > 0 {
            return Ok(());
        }
        self.flush()?;
        let row = self.devices.row_mut(device);
        row.plane = self.sockets.rebind(device, row.plane);
        row.since_rebind = 0;
        self.measurement.record_rebind();
        Ok(())
    }

    /// Sends a message of a request that was not sent before, with a Message ID of its own.
    fn send_first(&mut self, place: u32) -> io::Result<()> {
        let device = self.exchanges[place].device;
        let mid = self.devices.next_mid(device);
        let now_ms = self.now_ns / 1_000_000;
        let give_up_ms = now_ms + u64::from(self.setup.scenario.coap.timeout_ms);
        let jitter = self.dice.roll() as u16;
        let exchange = &mut self.exchanges[place];
        exchange.mid = mid;
        exchange.start(now_ms, &self.setup.timing, jitter, give_up_ms);
        self.arm(place);
        self.send(place)
    }

    fn arm(&mut self, place: u32) {
        let exchange = &mut self.exchanges[place];
        if exchange.armed_ms == 0 || exchange.timer_ms < exchange.armed_ms {
            exchange.armed_ms = self.timers.arm(place, exchange.timer_ms);
        }
    }

    /// Queues the current message of a request.
    fn send(&mut self, place: u32) -> io::Result<()> {
        self.make_room()?;
        let exchange = self.exchanges[place];
        let token = self.exchanges.token(place);
        let template = &self.phase.templates[usize::from(exchange.template)];
        let number = self.share.first + exchange.device;
        let range = exchange.upload.map_or(0..exchange.body_bytes as usize, |up| up.range());
        let payload = self.filler.part(range.start as u32, range.len());
        let parts = Parts {
            upload: exchange.upload.map(|upload| (upload.block(), exchange.body_bytes)),
            wanted: exchange.wanted,
        };
        let is_bare = self.setup.transport == Transport::Udp;
        let is_queued = self.outbox.message(&mut self.devices, exchange.device, |out| {
            if is_bare {
                return bare(out, &token, payload);
            }
            template.write(out, exchange.mid, &token, number, payload, parts)
        });
        if !is_queued {
            self.fail(place, ErrorKind::SessionClosed);
        }
        Ok(())
    }

    pub(super) fn on_request_timer(&mut self, place: u32) -> io::Result<()> {
        let now_ms = self.now_ns / 1_000_000;
        let exchange = &mut self.exchanges[place];
        if exchange.armed_ms > now_ms {
            return Ok(()); // It is in the wheel once more.
        }
        exchange.armed_ms = 0;
        if exchange.state == State::Free {
            return Ok(());
        }
        if exchange.timer_ms <= now_ms {
            if !exchange.on_due(now_ms, &self.setup.timing) {
                let is_refused = self.devices.row(exchange.device).is_refused;
                let kind = if is_refused { ErrorKind::Unreachable } else { ErrorKind::Timeout };
                let (device, tries) = (exchange.device, exchange.tries);
                self.fail(place, kind);
                return self.doubt(device, tries);
            }
            self.measurement.record_retransmission();
            self.arm(place);
            return self.send(place);
        }
        self.arm(place);
        Ok(())
    }

    /// A device whose repeated requests are not answered takes its session for lost, as devices
    /// do: the server may have been started again, or may not know its new address.
    fn doubt(&mut self, device: u32, tries: u8) -> io::Result<()> {
        let is_idle = self.devices.row(device).in_flight == 0;
        if tries > 0 && is_idle { self.leave(device) } else { Ok(()) }
    }

    /// Something came for a device.
    pub(super) fn on_datagram(
        &mut self,
        device: u32,
        content: Content,
        datagram: &mut [u8],
    ) -> io::Result<()> {
        self.devices.row_mut(device).is_refused = false;
        match content {
            Content::Nothing => Ok(()),
            Content::Handshake => self.on_handshake(device, datagram),
            Content::Record { kind, bytes, end } => {
                self.on_record(device, kind, &datagram[bytes])?;
                self.on_more_records(device, end, datagram)
            }
        }
    }

    /// Servers may put several records into one datagram.
    fn on_more_records(
        &mut self,
        device: u32,
        mut at: usize,
        datagram: &mut [u8],
    ) -> io::Result<()> {
        while at < datagram.len() {
            let Some(session) = self.devices.session_mut(device) else { return Ok(()) };
            let Ok(record) = Record::parse(datagram, at, session.own_cid_len()) else {
                return Ok(());
            };
            at = record.end();
            if let Ok(opened) = session.open(&record, datagram) {
                self.on_record(device, opened.content_type, &datagram[opened.content])?;
            }
        }
        Ok(())
    }

    fn on_record(&mut self, device: u32, kind: ContentType, content: &[u8]) -> io::Result<()> {
        if kind != ContentType::APPLICATION_DATA {
            return self.on_control(device, on_control(kind, content));
        }
        if self.setup.transport == Transport::Udp {
            self.on_bare(device, content);
            return Ok(());
        }
        match Message::parse(content) {
            Ok(message) => self.on_message(device, &message),
            Err(error) => match error.reset_mid {
                Some(mid) => self.reply(device, &empty(Type::Rst, mid)),
                None => Ok(()),
            },
        }
    }

    fn on_control(&mut self, device: u32, control: Control) -> io::Result<()> {
        self.make_room()?;
        let Some(session) = self.devices.session_mut(device) else { return Ok(()) };
        match control {
            Control::CloseNotify | Control::FatalAlert(_) => {
                if matches!(control, Control::FatalAlert(_)) {
                    self.devices.forget(device);
                }
                return self.lose_session(device);
            }
            Control::Path(PathMessage::Challenge(cookie)) => {
                let answer = PathMessage::Response(cookie);
                self.outbox.ready(device, |out| session.path_message(answer, out));
            }
            Control::FinishedAgain => {
                self.outbox.ready(device, |out| session.last_flight_again(out));
            }
            Control::Renegotiation => {
                self.outbox.ready(device, |out| session.no_renegotiation(out).ok());
            }
            Control::Path(_) | Control::Ignored(_) => {}
        }
        Ok(())
    }

    /// The server ended it.
    fn lose_session(&mut self, device: u32) -> io::Result<()> {
        self.leave(device)?;
        let mut place = self.devices.row(device).first;
        if place == NONE {
            self.measurement.record_error(ErrorKind::SessionClosed);
        }
        while place != NONE {
            self.fail(place, ErrorKind::SessionClosed);
            place = self.devices.row(device).first;
        }
        Ok(())
    }

    /// RFC 7252 sections 4.2 and 5.2.
    fn on_message(&mut self, device: u32, message: &Message<'_>) -> io::Result<()> {
        match triage(message) {
            Triage::Response => self.on_response(device, message),
            Triage::EmptyAck => {
                let first = self.devices.row(device).first;
                if let Some(place) = self.exchanges.with_mid(first, message.mid) {
                    let exchange = &mut self.exchanges[place];
                    exchange.state = State::Expecting;
                    exchange.timer_ms = exchange.give_up_ms;
                }
                Ok(())
            }
            Triage::Reset => {
                let first = self.devices.row(device).first;
                if let Some(place) = self.exchanges.with_mid(first, message.mid) {
                    self.fail(place, ErrorKind::Reset);
                }
                Ok(())
            }
            Triage::Request => self.on_downlink(device, message),
            Triage::Ping | Triage::Reject { reset: true } => {
                self.reply(device, &empty(Type::Rst, message.mid))
            }
            Triage::AckWithRequest | Triage::Reject { reset: false } | Triage::Ignore => Ok(()),
        }
    }

    fn on_response(&mut self, device: u32, message: &Message<'_>) -> io::Result<()> {
        let found = self.exchanges.find(device, message.token.as_bytes());
        if message.ty == Type::Con {
            // A response that comes again was confirmed before, and the ACK was lost.
            let ty = if found == Found::Unknown { Type::Rst } else { Type::Ack };
            self.reply(device, &empty(ty, message.mid))?;
        }
        let Found::Open(place) = found else { return Ok(()) };
        let exchange = self.exchanges[place];
        if message.ty == Type::Ack && message.mid != exchange.mid {
            return Ok(()); // of an earlier block
        }
        let code = message.code;
        if let Some(mut upload) = exchange.upload {
            let is_part = upload.block().more;
            match upload.on_response(code, Block::of(&message.options, Number::BLOCK1)) {
                Step::Next => return self.send_block(place, upload),
                // The server took a part for the whole.
                Step::Done if is_part && code.is_success() => {
                    self.fail(place, ErrorKind::Malformed);
                    return Ok(());
                }
                Step::Done => {}
            }
        }
        if code.is_success() && code != Code::CONTINUE {
            match next_part(message, exchange.wanted) {
                Ok(Some(next)) => return self.ask_on(place, next),
                Ok(None) => self.complete(place, Some(code)),
                Err(()) => self.fail(place, ErrorKind::Malformed),
            }
        } else if code.is_success() {
            self.fail(place, ErrorKind::Malformed);
        } else {
            self.measurement.record_refusal(code.0);
            self.end(place);
        }
        Ok(())
    }

    fn send_block(&mut self, place: u32, upload: Upload) -> io::Result<()> {
        let exchange = &mut self.exchanges[place];
        exchange.upload = Some(upload);
        self.send_anew(place)
    }

    /// Sends the next message of the same request.
    fn send_anew(&mut self, place: u32) -> io::Result<()> {
        let exchange = &mut self.exchanges[place];
        let template = &self.phase.templates[usize::from(exchange.template)];
        if template.message_type == Type::Con {
            exchange.state = State::Confirming;
        }
        self.send_first(place)
    }

    /// The next part of a response that is too long for one message.
    fn ask_on(&mut self, place: u32, next: Block) -> io::Result<()> {
        let exchange = &mut self.exchanges[place];
        // The body of the request, if it had one, is the server's already.
        (exchange.wanted, exchange.upload, exchange.body_bytes) = (Some(next), None, 0);
        self.send_anew(place)
    }

    /// A datagram of an echo is what was sent.
    fn on_bare(&mut self, device: u32, datagram: &[u8]) {
        let first = self.devices.row(device).first;
        let place = match datagram.first_chunk::<4>() {
            Some(token) => match self.exchanges.find(device, token) {
                Found::Open(place) => place,
                Found::Over | Found::Unknown => return,
            },
            // Too short for a name: whichever.
            None if first != NONE => first,
            None => return,
        };
        self.complete(place, None);
    }

    /// Answered well; `code` is none of a bare datagram.
    fn complete(&mut self, place: u32, code: Option<Code>) {
        let exchange = &self.exchanges[place];
        let since_sent_ns = self.now_ns.saturating_sub(exchange.sent_ns);
        let latency = Latency {
            since_due_ns: self.now_ns.saturating_sub(exchange.due_ns),
            since_sent_ns: self.phase.is_open_loop.then_some(since_sent_ns),
        };
        match code {
            Some(code) => self.measurement.record_response(code.0, latency),
            None => self.measurement.record_completed(latency),
        }
        self.end(place);
    }

    fn fail(&mut self, place: u32, kind: ErrorKind) {
        self.measurement.record_error(kind);
        self.end(place);
    }

    fn end(&mut self, place: u32) {
        let row = self.devices.row_mut(self.exchanges[place].device);
        row.in_flight -= 1;
        self.exchanges.close(place, &mut row.first);
        self.phase.pace.end();
    }

    /// The server asks the device something.
    fn on_downlink(&mut self, device: u32, message: &Message<'_>) -> io::Result<()> {
        if !self.phase.phase.answer_downlinks {
            return Ok(());
        }
        let is_new = self.devices.row_mut(device).heard.replace(message.mid) != Some(message.mid);
        if is_new {
            self.measurement.record_downlink();
        }
        let (ty, mid) = match message.ty {
            Type::Con => (Type::Ack, message.mid),
            _ => (Type::Non, self.devices.next_mid(device)),
        };
        let code = match message.code {
            Code::GET => Code::CONTENT,
            Code::DELETE => Code::DELETED,
            _ => Code::CHANGED,
        };
        let mut out = [0; 16];
        let written = Writer::new(&mut out, ty, code, mid, &message.token).finish();
        let len = written.expect("a header and a token");
        self.reply(device, &out[..len])
    }

    fn reply(&mut self, device: u32, message: &[u8]) -> io::Result<()> {
        self.make_room()?;
        self.outbox.message(&mut self.devices, device, |out| {
            out.get_mut(..message.len())?.copy_from_slice(message);
            Some(message.len())
        });
        Ok(())
    }
}

/// What to ask for after this response: `Ok(None)` when it was all (RFC 7959 section 2.4), an error
/// when it is another part than was asked for.
fn next_part(message: &Message<'_>, wanted: Option<Block>) -> Result<Option<Block>, ()> {
    let Some(part) = Block::of(&message.options, Number::BLOCK2) else {
        return if wanted.is_none_or(|block| block.number() == 0) { Ok(None) } else { Err(()) };
    };
    if part.offset() != wanted.map_or(0, Block::offset) {
        return Err(());
    }
    let next = part.offset() + part.size.bytes();
    if part.more { Block::at(next, false, part.size).map(Some).ok_or(()) } else { Ok(None) }
}

/// A bare datagram begins with what finds its request again.
fn bare(out: &mut [u8], token: &Token, payload: &[u8]) -> Option<usize> {
    let room = out.get_mut(..payload.len())?;
    room.copy_from_slice(payload);
    let named = token.as_bytes().len().min(room.len());
    room[..named].copy_from_slice(&token.as_bytes()[..named]);
    Some(payload.len())
}
