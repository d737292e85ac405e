//! What do people and devices do? Actions of the plan, what devices say, what the application makes
//! of events, what a stranger sends.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_coap::code::Code;
use tidegate_coap::option::Number;
use tidegate_controlplane::core::{Body, ConfirmedBy, Reply, Request, RequestId};
use tidegate_controlplane::model::{
    CoapOption, DownlinkRequest, DownlinkResponse, MessageType, Method, NewEdgeResource, Priority,
    QueueMode, Refused,
};
use tidegate_dataplane::net::peer::Peer;
use tidegate_dtls::record::Record;

use super::super::checks::Event as Published;
use super::super::checks::{Downlinks, answer_text, downlink_text, value_text};
use super::super::dataplane::{Datagram, Origin};
use super::super::device::{Device, Said, Wish};
use super::super::plan::What;
use super::super::provision::{VALUE_PATH, device_id, set_policy, set_security};
use super::super::seed;
use super::super::stranger::is_strangers;
use super::super::unsecured::is_plain;
use super::{Event, World};

/// The application behind the API.
pub(super) struct Application {
    /// Messages sent to each device so far.
    numbers: BTreeMap<usize, u32>,
    /// Requests without a reply, and whether each is the last word to a device.
    asked: HashMap<RequestId, Option<(usize, String)>>,
    /// Devices whose last word is accepted, and what it says.
    pub(super) last_words: BTreeMap<usize, String>,
    random: StdRng,
    /// Bytes that a stranger's address sent and got.
    given: BTreeMap<SocketAddr, usize>,
}

impl Application {
    pub(super) fn new(run_seed: u64) -> Self {
        Self {
            numbers: BTreeMap::new(),
            asked: HashMap::new(),
            last_words: BTreeMap::new(),
            random: seed::stream(run_seed, "application", 0),
            given: BTreeMap::new(),
        }
    }

    /// The control plane is gone: nobody will reply.
    pub(super) fn hears_no_more(&mut self) {
        self.asked.clear();
    }

    pub(super) fn on_reply(
        &mut self,
        to: RequestId,
        reply: &Result<Reply, Refused>,
        downlinks: &mut Downlinks,
    ) -> Result<(), String> {
        let Some(last_word) = self.asked.remove(&to) else {
            return Err(format!("{to:?} was answered twice, or never asked"));
        };
        if let Ok(Reply::Accepted(id)) = reply {
            downlinks.on_accepted(*id)?;
            if let Some((device, said)) = last_word {
                self.last_words.entry(device).or_insert(said);
            }
        }
        Ok(())
    }
}

impl World {
    pub(super) fn note(&mut self, what: &str, who: usize, bytes: &[u8]) {
        self.trace.note(self.now_ms, what, who, bytes);
    }

    /// Where the device of this number stands, unless it was left out.
    pub(super) fn place(&self, number: usize) -> Option<usize> {
        self.devices.iter().position(|device| device.number == number)
    }

    pub(super) fn acts(&mut self, number: usize) {
        let action = self.plan.actions[number];
        let Some(place) = self.place(action.device) else { return };
        match action.what {
            What::Uplink { confirmable, method } => {
                self.devices[place].wishes(self.now_ms, Wish { confirmable, method });
                self.follows_device(place);
            }
            What::Downlink { confirmable, queued } => {
                self.application_sends('d', action.device, confirmable, queued);
            }
            What::Delete => {
                let device = device_id(action.device);
                self.requests(Request::Delete { device, message: None }, None);
            }
            What::Policy { allows } => self.sets_policy(action.device, allows),
            What::Odd(odd) => {
                self.devices[place].says_odd(self.now_ms, odd);
                self.follows_device(place);
            }
            What::Watch => {
                self.devices[place].wants_watch(self.now_ms);
                self.follows_device(place);
            }
            What::Value => self.sets_value(action.device),
            What::Observe => {
                self.application_asks(action.device);
            }
            What::Security { allows } => self.sets_security(place, allows),
            What::State => {
                self.checks.states.on_changed(action.device);
                self.devices[place].changes(self.now_ms);
                self.follows_device(place);
            }
        }
    }

    /// The application changes what a device may ask, if there is somebody to take it.
    pub(super) fn sets_policy(&mut self, device: usize, allows: bool) {
        if self.control.is_full || !self.is_heard() {
            return;
        }
        self.note("policy", device, &[u8::from(allows)]);
        set_policy(&*self.control.store, device, allows);
        self.checks.uplinks.on_policy(device, self.now_ms, allows);
        self.requests(Request::PolicyOfDevice { device: device_id(device) }, None);
    }

    /// The application takes from a plain device the right to be one, or gives it back.
    pub(super) fn sets_security(&mut self, place: usize, allows: bool) {
        if self.control.is_full || !self.is_heard() {
            return;
        }
        let plan = &self.plan.devices[place];
        let number = plan.number;
        let stamp = self.turns.plain.on_ordered(number, allows);
        self.checks.uplinks.on_standing(number);
        set_security(&*self.control.store, plan, allows, stamp);
        self.note("security", number, &[u8::from(allows)]);
        self.requests(
            Request::DeviceChanged { device: device_id(number), credentials: true },
            None,
        );
    }

    /// The application sets what the edge has for a device.
    pub(super) fn sets_value(&mut self, device: usize) {
        let number = self.checks.values.next(device);
        self.note("value", device, &number.to_be_bytes());
        let resource = NewEdgeResource {
            path: vec![VALUE_PATH.to_owned()],
            content_format: None,
            max_age_s: 86_400,
            payload: value_text(device, number).into_bytes(),
            reference: None,
        };
        let device = device_id(device);
        self.requests(Request::SetResource { device, resource }, None);
    }

    /// Whether the control plane takes requests of applications.
    fn is_heard(&self) -> bool {
        let is_up = self.control.core.is_some() && self.control.is_open(self.now_ms);
        is_up && self.now_ms >= self.control.stalls_until_ms
    }

    /// The application asks, if there is somebody to ask.
    pub(super) fn requests(
        &mut self,
        request: Request,
        last_word: Option<(usize, String)>,
    ) -> bool {
        if !self.is_heard() {
            return false;
        }
        let now = self.control.now(self.now_ms, self.unix_ms());
        let to = self.control.next_request();
        let Some(core) = &mut self.control.core else { return false };
        self.application.asked.insert(to, last_word);
        core.on_request(now, to, request);
        self.carries_out();
        self.wake_control();
        true
    }

    pub(super) fn application_sends(
        &mut self,
        letter: char,
        device: usize,
        confirmable: bool,
        queued: bool,
    ) -> bool {
        let message_type =
            if confirmable { MessageType::Confirmable } else { MessageType::NonConfirmable };
        let queue_mode = if queued { QueueMode::Queued } else { QueueMode::Immediate };
        let path = vec!["led".to_owned()];
        let put = DownlinkRequest { message_type, queue_mode, ..request_of(Method::Put, path) };
        self.sends_request(letter, device, put)
    }

    /// The application observes the device's state from now on.
    fn application_asks(&mut self, device: usize) {
        let options = vec![CoapOption::uint(Number::OBSERVE, 0)];
        let fetch = request_of(Method::Fetch, vec!["state".to_owned()]);
        self.sends_request('d', device, DownlinkRequest { options, ..fetch });
    }

    /// The application's next message for a device.
    fn sends_request(&mut self, letter: char, device: usize, request: DownlinkRequest) -> bool {
        let number = self.application.numbers.entry(device).or_insert(0);
        *number += 1;
        let payload = downlink_text(letter, device, *number);
        self.note("the application sends", device, payload.as_bytes());
        let is_queued = request.queue_mode == QueueMode::Queued;
        let observes = !request.options.is_empty();
        self.checks.downlinks.on_sent(payload.clone(), is_queued, observes);
        let last_word = (letter == 'z').then_some((device, payload.clone()));
        let body = Body::Request(DownlinkRequest { payload: payload.into_bytes(), ..request });
        self.requests(Request::Send { device: device_id(device), body }, last_word)
    }

    /// The subscriber has an event: the application may answer it.
    pub(super) fn subscriber_reads(&mut self, event: &Published) {
        let (Some(token), Some(serial)) = (&event.token, event.serial()) else { return };
        let drawn: u64 = self.application.random.random_range(0..100);
        let after_ms = match drawn {
            0..=9 => return,
            10..=79 => drawn * 10,
            _ => drawn * 300,
        };
        let token = token.clone();
        self.after(after_ms, Event::Answers { token, device: event.device, serial });
    }

    pub(super) fn answers(&mut self, token: String, device: usize, serial: u32) {
        let response = DownlinkResponse {
            token,
            status: 2 << 5 | 5,
            location_path: Vec::new(),
            content_format: None,
            options: Vec::new(),
            payload: answer_text(device, serial).into_bytes(),
            reference: None,
        };
        let body = Body::Response(response);
        self.requests(Request::Send { device: device_id(device), body }, None);
    }

    /// What a device wants to say and to send.
    pub(super) fn follows_device(&mut self, place: usize) {
        let number = self.devices[place].number;
        for said in std::mem::take(&mut self.devices[place].said) {
            let held = self.hears_device(place, number, said);
            self.checks.blame(held);
        }
        for bytes in std::mem::take(&mut self.devices[place].out) {
            self.device_sends(place, &bytes);
        }
        if let Some(due_ms) = self.devices[place].due_ms() {
            let due_ms = due_ms.max(self.now_ms);
            if self.device_turns_ms[place].is_none_or(|turn_ms| due_ms < turn_ms) {
                self.device_turns_ms[place] = Some(due_ms);
                self.at(due_ms, Event::Device(place));
            }
        }
    }

    fn hears_device(&mut self, place: usize, number: usize, said: Said) -> Result<(), String> {
        match said {
            Said::Up => {
                let cid_len = self.devices[place].cid_len();
                if let Some(session) = self.devices[place].session() {
                    let session = self.checks.wire.on_session(number, *session, cid_len)?;
                    self.sessions[place] = Some(session);
                    self.note("is up", number, &[]);
                }
                Ok(())
            }
            Said::Asked { serial, method, confirmable, in_bursts } => {
                self.hears_request(place, (number, serial), method, (confirmable, in_bursts));
                Ok(())
            }
            Said::AskedToWatch { serial } => {
                self.checks.quota.on_asked((number, serial), self.now_ms);
                Ok(())
            }
            Said::AskedForRest { serial } => {
                self.checks.quota.on_asked((number, serial), self.now_ms);
                self.checks.uplinks.on_asked_for_rest((number, serial));
                Ok(())
            }
            Said::Answered { serial, code, payload } => {
                self.note("is answered", number, &[code.0]);
                if code == Code::TOO_MANY_REQUESTS {
                    let is_plain = self.devices[place].is_plain();
                    self.checks.quota.on_limited((number, serial), is_plain)?;
                }
                let is_kept = self.plan.confirmed_by == ConfirmedBy::Ring
                    || self.checks.outbox.has_had((number, serial));
                self.checks.uplinks.on_answered((number, serial), (code, &payload), is_kept)
            }
            Said::Saw { payload } => {
                self.note("gets", number, &payload);
                self.checks.downlinks.on_saw(number, &payload)
            }
            Said::Rejected => {
                self.note("rejects", number, &[]);
                self.checks.states.on_rejected(number);
                Ok(())
            }
            Said::Told { state } => {
                self.note("has told", number, &state.to_be_bytes());
                self.checks.states.on_acknowledged(number, state);
                Ok(())
            }
            Said::Heard { payload, begins } => {
                self.note("hears of", number, &payload);
                self.checks.values.on_heard(number, &payload, begins)
            }
            Said::Refused => {
                self.note("refuses", number, &[]);
                self.checks.downlinks.on_refused(number);
                Ok(())
            }
            Said::Silence => {
                self.note("hears nothing", number, &[]);
                self.sessions[place] = None;
                Ok(())
            }
        }
    }

    fn hears_request(
        &mut self,
        place: usize,
        (number, serial): (usize, u32),
        method: u8,
        how: (bool, bool),
    ) {
        self.note("asks", number, &serial.to_be_bytes());
        self.checks.quota.on_asked((number, serial), self.now_ms);
        let before = self.checks.interruptions;
        let device = &mut self.devices[place];
        let sent = (method, device.spoken(), device.late(self.now_ms));
        self.checks.uplinks.on_asked((number, serial), sent, how, before);
    }

    fn device_sends(&mut self, place: usize, bytes: &[u8]) {
        let from = self.devices[place].address;
        self.note("sends", place, bytes);
        let origin = self.origin(place, bytes);
        let is_plain = self.devices[place].is_plain();
        self.stranger.hears(Datagram { from, is_plain, bytes: bytes.to_vec(), origin });
        for arrival in self.network.up(self.now_ms, place, bytes) {
            if is_plain && !arrival.is_whole {
                // Its checksum would not fit (RFC 768).
                continue;
            }
            let is_itself = arrival.is_whole || origin == Origin::Handshake;
            let origin = if is_itself { origin } else { Origin::Damaged };
            let datagram = Datagram { from, is_plain, bytes: arrival.bytes, origin };
            self.after(arrival.after_ms, Event::ToEdge(datagram));
        }
    }

    /// One protected record of a session that is up, or else a handshake's.
    fn origin(&mut self, place: usize, bytes: &[u8]) -> Origin {
        const EDGE_CID_BYTES: usize = 6;
        if self.devices[place].is_plain() {
            return Origin::Plain(self.devices[place].number);
        }
        let is_up = self.devices[place].session().is_some();
        let record = Record::parse(bytes, 0, EDGE_CID_BYTES).ok();
        let record = record.filter(|record| record.epoch == 1 && record.end() == bytes.len());
        match (record, self.sessions[place].filter(|_| is_up)) {
            (Some(record), Some(session)) => Origin::Record(session, record.sequence),
            _ => Origin::Handshake,
        }
    }

    /// Who has this address: plain CoAP is for those who speak it, and comes from its own socket.
    pub(super) fn place_at(&self, peer: &Peer) -> Option<usize> {
        let (address, is_plain) = (peer.address(), is_plain(peer));
        let is_it = |device: &Device| device.address == address && device.is_plain() == is_plain;
        self.devices.iter().position(is_it)
    }

    pub(super) fn arrives_at_device(&mut self, peer: Peer, mut bytes: Vec<u8>) {
        // Another may have the address by now: it gets what it can't read.
        let Some(place) = self.place_at(&peer) else { return };
        self.note("reaches", place, &bytes);
        self.devices[place].on_datagram(self.now_ms, &mut bytes);
        self.follows_device(place);
    }

    pub(super) fn stranger_sends(&mut self, until_ms: u64, every_ms: u64) {
        if self.is_healed || self.now_ms >= until_ms {
            return;
        }
        let turns = &self.turns;
        let datagram = self.stranger.sends(|origin| turns.knows(origin), &turns.unsecured);
        if is_strangers(datagram.from) && self.dataplane.is_alive() {
            *self.application.given.entry(datagram.from).or_insert(0) += datagram.bytes.len();
        }
        self.arrives_at_edge(datagram);
        self.after(every_ms, Event::Stranger { until_ms, every_ms });
    }

    /// The edge sends to an address that no device has.
    pub(super) fn strangers_get(&mut self, address: SocketAddr, bytes: usize) {
        if !is_strangers(address) {
            return;
        }
        let given = self.application.given.get_mut(&address);
        match given.and_then(|given| given.checked_sub(bytes).map(|rest| (given, rest))) {
            Some((given, rest)) => *given = rest,
            None => self.checks.blame(Err(format!("{address} got more than it sent"))),
        }
    }
}

/// A message that waits for its device until it is acknowledged.
fn request_of(method: Method, uri_paths: Vec<String>) -> DownlinkRequest {
    DownlinkRequest {
        message_type: MessageType::Confirmable,
        method,
        uri_paths,
        uri_query: Vec::new(),
        content_format: None,
        accept: None,
        queue_mode: QueueMode::Queued,
        priority: Priority::Normal,
        ttl_s: None,
        options: Vec::new(),
        payload: Vec::new(),
        reference: None,
    }
}
