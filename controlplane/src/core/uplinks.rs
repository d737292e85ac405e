//! How does a request become a message? Route, publish, and when that is confirmed, tell the
//! worker; only then the ring entry is finished.

use std::collections::{HashMap, VecDeque};

use tidegate_coap::message::Message;
use tidegate_coap::option::Number;
use tidegate_faults::{Bug, has};
use tidegate_ring::Seq;
use tidegate_ring::contract::{
    self, Answer, EndReason, Kind, OWN_WINDOW, Publication, Published, SessionRef, Uplink,
};
use zerocopy::IntoBytes;

use super::credentials::from_the_wire;
use super::edge_resources::Asked;
use super::events::Told;
use super::group::{Ended, Group, Part, Run};
use super::kept::{Asker, Promise};
use super::layouts;
use super::outbox::{ConfirmedBy, Kept};
use super::routes::Route;
use super::ruled::{Ran, Said};
use super::terms::Terms;
use super::token::ResponseToken;
use super::uplink_json::{Circumstances, uplink_json};
use super::{Core, Effect, LinkId, Now, PublishId, PublishResult, RequestId};
use crate::model::{DeviceId, Holds, LayoutRow, MessageId, Network};
use crate::store::account::Account;

/// Publishes under way, uplinks and device responses alike.
pub(super) struct Uplinks {
    /// In the order of their ids and so of their deadlines: every publish has the same time. One
    /// that has ended is `None` until those before it have ended too; the first never is.
    pending: VecDeque<(u64, Option<Pending>)>,
    /// What is confirmed once several deliveries are, by the first of them.
    pub(super) groups: HashMap<PublishId, Group>,
    /// The id of the first of them.
    first: u64,
    in_flight: usize,
    in_flight_max: usize,
}

pub(super) enum Pending {
    /// A device's request: the worker waits.
    Uplink(Asker),
    /// It stays in the outbox until it is confirmed.
    Kept(Kept),
    /// A message that the API has made to see what becomes of it.
    Trial(RequestId),
    /// An event, kept until it is confirmed.
    Event(Told),
    /// One of several deliveries; the group of that name has the rest.
    Part(PublishId, Part),
}

/// A request as a worker hands it up.
#[derive(Clone, Copy)]
pub(super) struct Received {
    from: (LinkId, Seq),
    pub(super) uplink: Uplink,
    network: Network,
    speech: Speech,
    /// An application is to answer it.
    answer_awaited: bool,
    promise: Promise,
}

/// How a device's profile has a request responded to, as it crosses.
#[derive(Clone, Copy)]
pub(super) struct Speech {
    /// Window of the ACK.
    piggyback_window_ms: u32,
    terms: contract::Terms,
}

impl Speech {
    /// Without a profile.
    const OWN: Self = Self { piggyback_window_ms: OWN_WINDOW, terms: contract::Terms::OWN };

    fn of(terms: &Terms) -> Self {
        Self { piggyback_window_ms: terms.piggyback_window_ms, terms: terms.wire }
    }
}

impl Uplinks {
    pub(super) fn new(in_flight_max: usize) -> Self {
        Self {
            pending: VecDeque::new(),
            groups: HashMap::new(),
            first: 1,
            in_flight: 0,
            in_flight_max,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight < self.in_flight_max
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.pending.front().map(|(due_ms, _)| *due_ms)
    }

    pub(super) fn begin(&mut self, due_ms: u64, pending: Pending) -> PublishId {
        let id = self.next();
        self.pending.push_back((due_ms, Some(pending)));
        self.in_flight += 1;
        id
    }

    fn next(&self) -> PublishId {
        PublishId(self.first + self.pending.len() as u64)
    }

    /// Begins these deliveries (one or more), confirmed together.
    pub(super) fn begin_all(
        &mut self,
        due_ms: u64,
        pending: Pending,
        parts: &[Part],
        of: (Account, Vec<Run>),
    ) -> Vec<PublishId> {
        if parts == [Part::Publish] {
            return vec![self.begin(due_ms, pending)];
        }
        let first = self.next();
        self.groups.insert(first, Group::new(parts.len(), pending, of));
        parts.iter().map(|part| self.begin(due_ms, Pending::Part(first, *part))).collect()
    }

    /// The deadline of a publish under way.
    fn due_of(&self, id: PublishId) -> Option<u64> {
        let at = usize::try_from(id.0.checked_sub(self.first)?).ok()?;
        self.pending.get(at).filter(|(_, pending)| pending.is_some()).map(|(due_ms, _)| *due_ms)
    }

    fn end(&mut self, id: PublishId) -> Option<Pending> {
        let at = usize::try_from(id.0.checked_sub(self.first)?).ok()?;
        let ended = self.pending.get_mut(at)?.1.take();
        self.in_flight -= usize::from(ended.is_some());
        while let Some((_, None)) = self.pending.front() {
            self.pending.pop_front();
            self.first += 1;
        }
        ended
    }

    /// The first whose deadline has come.
    fn due(&self, now: Now) -> Option<PublishId> {
        self.due_ms().filter(|due_ms| *due_ms <= now.ms).map(|_| PublishId(self.first))
    }
}

impl Core {
    pub(super) fn on_uplink(&mut self, now: Now, from: (LinkId, Seq), bytes: &[u8]) -> Option<()> {
        let (uplink, raw) = Uplink::split(bytes)?;
        let network = from_the_wire(uplink.network)?;
        let mut message = Message::parse(raw).ok()?;
        let (exchange, body_bytes) = (uplink.exchange.get(), uplink.body_bytes.get());
        let body = self.body_of(from.0, exchange, body_bytes, message.payload)?;
        message.payload = &body;
        let (device, session) = (DeviceId(uplink.device), uplink.session.get());
        let terms = self.terms(device).ok().flatten();
        let longest = terms.as_ref().map(|terms| terms.uplink_payload_bytes);
        let speech = terms.as_deref().map_or(Speech::OWN, Speech::of);
        let row = terms.as_deref().and_then(|terms| layouts::row_of(&terms.layout, &message));
        let writes_row = row.filter(|_| layouts::writes(message.code));
        let answer_awaited = uplink.answer_awaited != 0 && writes_row.is_none();
        // Of a last value the store decides.
        let is_value = writes_row.is_some_and(|row| row.holds == Holds::LastValue);
        let promise = self.promise_of(from, !answer_awaited && !is_value);
        let received = Received { from, uplink: *uplink, network, speech, answer_awaited, promise };
        let (is_permitted, asked) = self.asked(now, &received, &message, row);
        if let Asked::Answer(message_id, answer, body_bytes) = asked {
            self.post_answer(&received, message_id, &answer, body_bytes);
            self.showed_itself(now, device, session, network);
            return Some(());
        }
        let refusal = match self.judge(&received, &message, (is_permitted, &asked), longest) {
            Err(refusal) => Some(refusal),
            Ok(route) => {
                if let (Asked::Keep(path), Some(row)) = (asked, row) {
                    self.keep_value(now, &received, (path, row), raw, &message)
                } else {
                    self.take_in(now, &received, route, &message)
                }
            }
        };
        if let Some(refusal) = refusal {
            self.say_publication(now, &received, refusal);
        }
        if refusal == Some(Publication::Forbidden) && is_permitted {
            // The worker may never have got the first order to end it.
            self.end_session(device, SessionRef(session), EndReason::CredentialDropped);
        } else {
            self.showed_itself(now, device, session, network);
        }
        Some(())
    }

    /// Where an uplink goes, or what speaks against it. Nothing does against one that its device
    /// may have been told is there (its worker found that it might say this, and policies that
    /// changed since do not take that back), unless the device is gone.
    fn judge(
        &mut self,
        of: &Received,
        message: &Message<'_>,
        (is_permitted, asked): (bool, &Asked),
        longest: Option<usize>,
    ) -> Result<Route, Publication> {
        let (device, session) = (DeviceId(of.uplink.device), of.uplink.session.get());
        let route = self.route(device);
        if of.promise == Promise::Before {
            if matches!(route, Ok(Route::Stranger)) {
                self.drops_uplink();
                return Err(Publication::Forbidden);
            }
            return Ok(route.unwrap_or(Route::Nowhere));
        }
        match route {
            Ok(_) if *asked == Asked::NotFulfilled => Err(Publication::NotFulfilled),
            Ok(_) if longest.is_some_and(|longest| message.payload.len() > longest) => {
                Err(Publication::TooLarge)
            }
            Ok(_) if !is_permitted || self.sessions.is_ending(device, session) => {
                Err(Publication::Forbidden)
            }
            Ok(route @ (Route::Topic(_) | Route::Rules(_))) if self.takes_uplink(&route) => {
                Ok(route)
            }
            Ok(Route::Topic(_) | Route::Rules(_)) | Err(_) => Err(Publication::Unavailable),
            Ok(Route::Nowhere) => Err(Publication::NoRoute),
            Ok(Route::Stranger) => Err(Publication::Forbidden),
        }
    }

    /// What its device knows of an uplink before the store has it.
    fn promise_of(&self, (link, seq): (LinkId, Seq), is_early: bool) -> Promise {
        let before = self.link(link).map(|link| link.committed);
        match self.limits.confirmed_by {
            ConfirmedBy::Ring if is_early && before.is_some_and(|before| seq <= before) => {
                Promise::Before
            }
            // *Why not always:* devices that hear at once bring the next at once, until nothing has
            // room; those that wait for the store keep its pace.
            ConfirmedBy::Ring if is_early && self.store_keeps_pace() => Promise::Now,
            _ => Promise::Later,
        }
    }

    /// Whether the device may ask that, and what it asks of the edge.
    fn asked(
        &mut self,
        now: Now,
        of: &Received,
        message: &Message<'_>,
        row: Option<&LayoutRow>,
    ) -> (bool, Asked) {
        let (device, session) = (DeviceId(of.uplink.device), of.uplink.session.get());
        let told = of.uplink.class.get();
        self.check_class(device, session, told);
        let is_permitted = self.permits(device, told, message);
        if !is_permitted || self.sessions.is_ending(device, session) {
            return (is_permitted, Asked::Elsewhere);
        }
        (true, self.ask_edge(now, (device, session), message, row))
    }

    /// What an edge resource says to a device.
    fn post_answer(&mut self, of: &Received, message: MessageId, answer: &[u8], bytes: usize) {
        let head = Answer {
            exchange: of.uplink.exchange,
            message_id: message.0,
            device: of.uplink.device,
            terms: of.speech.terms,
            body_bytes: (bytes as u32).into(),
        };
        let (link, seq) = of.from;
        self.post(link, Kind::Answer, &[head.as_bytes(), answer], Some(seq));
    }

    /// An uplink that nothing speaks against goes on its way, or it is said at once what became of
    /// it.
    pub(super) fn take_in(
        &mut self,
        now: Now,
        of: &Received,
        route: Route,
        message: &Message<'_>,
    ) -> Option<Publication> {
        let (uplink, from, answer_awaited) = (&of.uplink, of.from, of.answer_awaited);
        let (device, exchange) = (DeviceId(uplink.device), uplink.exchange.get());
        let about = Circumstances {
            device,
            message: self.uplink_id(uplink),
            received_unix_ms: uplink.received_unix_ms.get(),
            network: of.network,
            security_mode: self.sessions.mode(device, uplink.session.get()),
            response_token: self.response_token(from.0, device, exchange, answer_awaited),
        };
        let asker = Asker { from, device, exchange, answer_awaited, speech: of.speech };
        let confirmed_by = self.limits.confirmed_by;
        let is_early = match confirmed_by {
            ConfirmedBy::Destination => has(Bug::ConfirmedBeforePublished),
            ConfirmedBy::Store => has(Bug::ConfirmedBeforeStored),
            ConfirmedBy::Ring => false,
        };
        if is_early && !answer_awaited {
            self.publication(from, exchange, Publication::Confirmed, of.speech);
        }
        if confirmed_by != ConfirmedBy::Destination {
            return self.keep_uplink(now, message, &about, asker, of.promise);
        }
        self.publish_uplink(now, route, message, &about, Pending::Uplink(asker))
    }

    /// Counts what became of an uplink, and tells the worker.
    pub(super) fn say_publication(&mut self, now: Now, of: &Received, publication: Publication) {
        self.count_publication(now, DeviceId(of.uplink.device), publication);
        self.publication(of.from, of.uplink.exchange.get(), publication, of.speech);
    }

    /// Whether an uplink that goes this way is taken on now.
    pub(super) fn takes_uplink(&self, route: &Route) -> bool {
        match self.limits.confirmed_by {
            ConfirmedBy::Destination => {
                (self.publisher_up || !route.wants_publisher()) && self.uplinks.has_room()
            }
            // It waits in the store.
            ConfirmedBy::Store | ConfirmedBy::Ring => true,
        }
    }

    fn showed_itself(&mut self, now: Now, device: DeviceId, session: u64, network: Network) {
        self.saw_uplink(now, device, session, network);
        // Anybody could have sent it: no sign that the device is there.
        if !self.sessions.is_beside(device, session) {
            self.on_awake(now, device);
        }
    }

    /// Publishes an uplink, or says at once what became of it.
    pub(super) fn publish_uplink(
        &mut self,
        now: Now,
        route: Route,
        message: &Message<'_>,
        about: &Circumstances,
        pending: Pending,
    ) -> Option<Publication> {
        let payload = uplink_json(message, about);
        match route {
            Route::Topic(topic) => {
                let due_ms = now.ms + self.limits.publish_timeout_ms;
                let id = self.uplinks.begin(due_ms, pending);
                let account = self.account_of(about.device);
                self.out.push(Effect::Publish { id, account, topic, payload });
                None
            }
            Route::Rules(ruled) => {
                let said = Said {
                    device: about.device,
                    message: about.message,
                    path: &path_of(message),
                    json: &payload,
                    unix_ms: now.unix_ms,
                };
                match self.run_rules_over(now, &ruled, &said, pending) {
                    Ran::Publishing => None,
                    // The rule wants no more of it, and nobody will answer.
                    Ran::Filtered => Some(Publication::Confirmed),
                    Ran::Failed => Some(Publication::Unavailable),
                }
            }
            Route::Nowhere | Route::Stranger => Some(Publication::NoRoute),
        }
    }

    /// What became of a publish. An id that is not pending is of the past, and ignored.
    pub fn on_published(&mut self, now: Now, id: PublishId, result: PublishResult) {
        self.on_ended(now, id, Ended::Published(result));
    }

    pub(super) fn on_ended(&mut self, now: Now, id: PublishId, ended: Ended) {
        if matches!(ended, Ended::Published(PublishResult::Confirmed))
            && let Some(due_ms) = self.uplinks.due_of(id)
        {
            let began_ms = due_ms.saturating_sub(self.limits.publish_timeout_ms);
            self.counts.publish_latency.add(now.ms.saturating_sub(began_ms));
        }
        let over = match (self.uplinks.end(id), ended) {
            (Some(Pending::Part(first, part)), ended) => self.end_part(now, first, part, ended),
            (Some(pending), Ended::Published(result)) => Some((pending, result)),
            // A sink's delivery is a part always.
            (Some(pending), Ended::Failed(_)) => Some((pending, PublishResult::Failed)),
            (None, _) => None,
        };
        let Some((over, result)) = over else { return };
        match over {
            Pending::Uplink(asker) => {
                self.tell_asker(now, asker, result == PublishResult::Confirmed);
            }
            Pending::Kept(kept) => self.on_kept_published(now, kept, result),
            Pending::Event(told) => self.on_event_published(now, told, result),
            Pending::Trial(to) => self.on_trial_published(to, result),
            Pending::Part(..) => {}
        }
    }

    /// The device hears what became of its uplink.
    pub(super) fn tell_asker(&mut self, now: Now, asker: Asker, is_confirmed: bool) {
        let Asker { from, device, exchange, answer_awaited, speech } = asker;
        let publication = match is_confirmed {
            true if answer_awaited => Publication::AwaitingAnswer,
            true => Publication::Confirmed,
            false => Publication::Unavailable,
        };
        self.count_publication(now, device, publication);
        self.publication(from, exchange, publication, speech);
    }

    /// Nobody waits longer than this for a broker.
    pub(super) fn give_up_publishes(&mut self, now: Now) {
        while let Some(id) = self.uplinks.due(now) {
            self.out.push(Effect::Abandon { id });
            self.on_published(now, id, PublishResult::Unavailable);
        }
    }

    fn publication(
        &mut self,
        (link, seq): (LinkId, Seq),
        exchange: u64,
        publication: Publication,
        speech: Speech,
    ) {
        match publication {
            Publication::Confirmed | Publication::AwaitingAnswer => self.counts.confirmed += 1,
            Publication::Unavailable => self.counts.unavailable += 1,
            Publication::NoRoute
            | Publication::Forbidden
            | Publication::TooLarge
            | Publication::NotFulfilled => {}
        }
        let is_lost = has(Bug::ReleaseLost) && publication == Publication::Unavailable;
        let finishes = Some(seq).filter(|_| !is_lost);
        self.post_publication(link, exchange, (publication, speech), finishes);
    }

    /// Its device hears that an uplink is there, whose entry is finished later.
    pub(super) fn promise(&mut self, now: Now, asker: Asker) {
        let confirmed = Publication::Confirmed;
        self.counts.confirmed += 1;
        self.count_publication(now, asker.device, confirmed);
        let (link, seq) = asker.from;
        let finishes = has(Bug::PromiseReleased).then_some(seq);
        self.post_publication(link, asker.exchange, (confirmed, asker.speech), finishes);
    }

    fn post_publication(
        &mut self,
        link: LinkId,
        exchange: u64,
        (publication, speech): (Publication, Speech),
        finishes: Option<Seq>,
    ) {
        let max_age_s = self.limits.unavailable_max_age_s;
        let mut published = Published::new(exchange.into(), max_age_s, publication);
        published.piggyback_window_ms = speech.piggyback_window_ms.into();
        published.terms = speech.terms;
        self.post(link, Kind::Published, &[published.as_bytes()], finishes);
    }

    fn response_token(
        &self,
        link: LinkId,
        device: DeviceId,
        exchange: u64,
        answer_awaited: bool,
    ) -> Option<String> {
        let link = self.link(link).filter(|_| answer_awaited)?;
        let incarnation = link.incarnation.unwrap_or(0);
        let token = ResponseToken { worker: link.worker, incarnation, exchange };
        Some(token.encode(self.vault.tokens(), device))
    }

    /// The same for the same entry, also when it is read and published again after a restart.
    fn uplink_id(&self, uplink: &Uplink) -> MessageId {
        let what = [uplink.session.as_bytes(), uplink.exchange.as_bytes()].concat();
        let when = uplink.received_unix_ms.as_bytes();
        let mac = self.vault.tokens().mac(&[b"uplink id", &uplink.device, &what, when]);
        let mut id = [0; 16];
        id.copy_from_slice(&mac[..16]);
        // RFC 9562 section 5.8: version 8, made by our own rules.
        id[6] = id[6] & 0x0f | 0x80;
        id[8] = id[8] & 0x3f | 0x80;
        MessageId(id)
    }
}

/// The path of a request, as rules know it where no topic is.
pub(super) fn path_of(message: &Message<'_>) -> Vec<u8> {
    let segments: Vec<_> = message.options.all(Number::URI_PATH).collect();
    segments.join(&b'/')
}
