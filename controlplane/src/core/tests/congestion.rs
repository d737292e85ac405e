//! How much goes at once: to a device that does not respond, and to a cell that has no room.

use std::collections::BTreeMap;

use super::*;
use crate::core::probing::Probing;
use crate::model::{ApplicationProfile, ProfileId, ProfileTerms, Wait};

impl Story {
    fn sends_non(&mut self, payload: &[u8]) -> MessageId {
        let Request::Send { device, body: Body::Request(request) } =
            send(QueueMode::Immediate, payload)
        else {
            panic!("a request")
        };
        let message_type = MessageType::NonConfirmable;
        let body = Body::Request(DownlinkRequest { message_type, ..request });
        match self.asks(Request::Send { device, body }) {
            Some(Ok(Reply::Accepted(id))) => id,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// A NON leaves, something happens, and its time is over without a response.
    fn goes_unanswered(&mut self, payload: &[u8], meanwhile: impl FnOnce(&mut Self)) {
        let non = self.sends_non(payload);
        self.outcome(non, Step::Sent, false);
        meanwhile(self);
        self.waits_ms(60_000);
        self.outcome(non, Step::Sent, true);
        assert_eq!(self.state(non), MessageState::Sent);
    }

    fn waits_for(&mut self, id: MessageId) -> Option<Wait> {
        match self.asks(Request::Waits { device: DEVICE }) {
            Some(Ok(Reply::Waits(waits))) => {
                waits.into_iter().find(|(of, _)| *of == id).map(|(_, wait)| wait)
            }
            other => panic!("{other:?}"),
        }
    }

    /// A device to which 10 bytes a second may go, and a NON that it never answered: how long its
    /// bytes take, milliseconds from when it left.
    fn leaves_unanswered(&mut self) -> u64 {
        self.profile_says(ProfileTerms { probing_rate: Some(10), ..ProfileTerms::default() });
        self.session_up(1);
        self.waits_ms(1);
        self.goes_unanswered(&[0; 986], |_| ());
        // Header, token, Uri-Path "led", Content-Format 0, marker, payload: 1 000 bytes.
        let head = 4 + 4 + 4 + 1 + 1;
        (986 + head) * 1_000 / 10
    }
}

/// RFC 7252 section 4.7: on average no more than PROBING_RATE to a device that does not respond.
#[test]
fn a_device_that_does_not_respond_is_probed_slowly() {
    let mut story = Story::new();
    let takes_ms = story.leaves_unanswered();
    let next = story.sends(QueueMode::Immediate, b"1");
    assert_eq!(story.handed_over().len(), 1);
    assert_eq!(story.waits_for(next), Some(Wait::ProbingRate));
    assert_eq!(story.core.probing.due_ms(), Some(1 + takes_ms));
    story.waits_ms(takes_ms - 60_001);
    assert_eq!(story.handed_over().len(), 1, "not yet");
    story.waits_ms(1);
    assert_eq!(story.handed_over()[1], next);
}

/// Whatever it says shows that the device is there.
#[test]
fn a_sign_of_life_ends_the_pause() {
    let mut story = Story::new();
    story.leaves_unanswered();
    let next = story.sends(QueueMode::Immediate, b"1");
    story.uplink(1, Code::PUT, b"here");
    assert_eq!(story.handed_over()[1], next);
    assert_eq!(story.core.probing.due_ms(), None);
    // Heard of between the NON and its timeout: no pause at all.
    story.outcome(next, Step::Delivered, true);
    story.goes_unanswered(&[0; 986], |story| {
        story.waits_ms(10);
        story.uplink(2, Code::PUT, b"still here");
    });
    let last = story.sends(QueueMode::Immediate, b"2");
    assert_eq!(story.handed_over()[3], last);
}

/// By the default of 1 byte a second a short NON takes less than its own timeout.
#[test]
fn a_short_message_makes_no_pause() {
    let mut story = Story::new();
    story.session_up(1);
    story.waits_ms(1);
    story.goes_unanswered(&[0; 40], |_| ());
    let next = story.sends(QueueMode::Immediate, b"1");
    assert_eq!(story.handed_over()[1], next);
}

#[test]
fn pauses_have_a_bound() {
    let mut probing = Probing::default();
    let device = |number: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        DeviceId(id)
    };
    let most = 1 << 18;
    for number in 0..=most {
        probing.begin(device(number), 1_000 + u64::from(number));
    }
    assert!(!probing.is_paused(device(0)), "the one that is over first gave way");
    assert!(probing.is_paused(device(1)) && probing.is_paused(device(most)));
}

/// The window is the profile's at most, and the edge begins with ten; who waits says why, and goes
/// in the order in which it came.
#[test]
fn a_cell_has_only_so_many_messages_under_way() {
    for (most, first) in [(4, 4), (1_000, 10)] {
        let mut cell = Radio::new(20, Some(most));
        let ids = cell.sends_to_all();
        assert_eq!(cell.story.handed_over(), ids[..first]);
        let waits = cell.story.asks(Request::Waits { device: of(first) });
        let Some(Ok(Reply::Waits(waits))) = waits else { panic!("{waits:?}") };
        assert_eq!(waits, [(ids[first], Wait::CellWindow)]);
        // One that is acknowledged makes room for the next, and in time for one more.
        cell.tells(0, ids[0], Step::Sent);
        cell.tells(0, ids[0], Step::Delivered);
        let more = if most == 4 { 1 } else { 2 };
        assert_eq!(cell.story.handed_over(), ids[..first + more]);
        // One that ends makes room, too.
        cell.story.asks(Request::DeviceDeleted { device: of(1) });
        cell.story.waits_ms(0);
        assert_eq!(cell.story.handed_over(), ids[..=first + more]);
        // What is repeated backs off by itself: its place is free.
        cell.story.waits_ms(3_000);
        assert!(cell.story.handed_over().len() > first + more + 1);
    }
}

/// Two thousand devices behind a radio that carries twenty messages a second and holds forty: with
/// a window all of them have their message soon after it could be there at the earliest, and
/// hardly any is repeated; without, most copies are lost, and messages with them.
#[test]
fn a_window_keeps_a_cell_from_collapsing() {
    const DEVICES: usize = 2_000;
    let without = Radio::new(DEVICES, None).runs();
    let with = Radio::new(DEVICES, Some(1_000)).runs();
    println!("without: {without:?}\nwith: {with:?}");
    assert_eq!((with.delivered, with.failed), (DEVICES, 0));
    assert!(with.copies < DEVICES + DEVICES / 10, "{with:?}");
    assert!(with.last_ms < DEVICES as u64 * SERVICE_MS * 3 / 2, "{with:?}");
    assert!(without.copies > 2 * DEVICES && without.failed > 0, "{without:?}");
}

/// A radio cell: it carries a message in `SERVICE_MS`, and holds `HELD` that wait.
struct Radio {
    story: Story,
    devices: usize,
    /// What happens when.
    events: BTreeMap<(u64, usize), Event>,
    next_event: usize,
    busy_until_ms: u64,
    posts_seen: usize,
    came: Came,
}

#[derive(Clone, Copy)]
enum Event {
    /// This copy leaves the edge.
    Copy(MessageId, usize, u32),
    /// The device's ACK is there.
    Ack(MessageId, usize),
}

/// What came of it.
#[derive(Debug, Default)]
struct Came {
    delivered: usize,
    failed: usize,
    copies: usize,
    last_ms: u64,
}

const SERVICE_MS: u64 = 50;
const HELD: u64 = 40;
const LATENCY_MS: u64 = 100;
const CELL: ProfileId = ProfileId([4; 16]);

fn of(number: usize) -> DeviceId {
    let mut id = [9; 16];
    id[..4].copy_from_slice(&(number as u32).to_be_bytes());
    DeviceId(id)
}

impl Radio {
    fn new(devices: usize, cell_window: Option<u32>) -> Self {
        let mut story = Story::new();
        let terms = ProfileTerms { cell_window, ..ProfileTerms::default() };
        let (name, tags) = (None, Vec::new());
        let profile = ApplicationProfile { id: CELL, name, terms, tags, created_unix_ms: 1 };
        let mut tx = Transaction::new();
        tx.put(Table::Profiles, CELL.0, records::encode(&profile));
        story.store.submit(tx, Box::new(|result| assert!(result.is_ok())));
        for number in 0..devices {
            let id = of(number);
            let device = Device { id, application_profile: Some(CELL), ..device() };
            put_device(&story.store, None, &device, STAMP);
            story.session_up_with(1, |up| {
                (up.device, up.session) = (id.0, session_of(number).0.into());
            });
        }
        let (events, came) = (BTreeMap::new(), Came::default());
        Self { story, devices, events, next_event: 0, busy_until_ms: 0, posts_seen: 0, came }
    }

    fn sends_to_all(&mut self) -> Vec<MessageId> {
        let send_to = |number| {
            let Request::Send { body, .. } = send(QueueMode::Immediate, b"now") else {
                panic!("a message")
            };
            match self.story.asks(Request::Send { device: of(number), body }) {
                Some(Ok(Reply::Accepted(id))) => id,
                other => panic!("not accepted: {other:?}"),
            }
        };
        (0..self.devices).map(send_to).collect()
    }

    fn tells(&mut self, number: usize, id: MessageId, step: Step) {
        let failed = step == Step::Failed;
        let outcome = contract::Outcome {
            message_id: id.0,
            device: of(number).0,
            at_unix_ms: (UNIX_MS + self.story.ms).into(),
            step: step as u8,
            reason: (if failed { FailReason::Timeout } else { FailReason::None }) as u8,
            is_final: u8::from(step != Step::Sent),
            network: contract::Network::Cellular as u8,
            body_bytes: 0.into(),
        };
        self.story.entry(Kind::Outcome, &[outcome.as_bytes(), &[]]);
    }

    fn happens(&mut self, at_ms: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((at_ms, self.next_event), event);
    }

    /// What the core has handed over leaves.
    fn takes_posts(&mut self) {
        while let Some(post) = self.story.posts.get(self.posts_seen) {
            self.posts_seen += 1;
            if post.kind != Kind::Downlink {
                continue;
            }
            let (head, _) = contract::Downlink::split(&post.bytes).unwrap();
            let id = MessageId(head.message_id);
            let number = u32::from_be_bytes(head.device[..4].try_into().unwrap()) as usize;
            self.tells(number, id, Step::Sent);
            self.happens(self.story.ms, Event::Copy(id, number, 0));
        }
    }

    /// A copy is lost when the radio holds as many as it can; what is not acknowledged is repeated
    /// as RFC 7252 section 4.2 says, each device with a first timeout of its own.
    fn copy_leaves(&mut self, id: MessageId, number: usize, attempt: u32) {
        self.came.copies += 1;
        let now_ms = self.story.ms;
        let begins_ms = self.busy_until_ms.max(now_ms);
        if begins_ms - now_ms < HELD * SERVICE_MS {
            self.busy_until_ms = begins_ms + SERVICE_MS;
            self.happens(self.busy_until_ms + LATENCY_MS, Event::Ack(id, number));
        }
        let first_ms = 2_000 + (number as u64 * 7_919) % 1_000;
        self.happens(now_ms + (first_ms << attempt), Event::Copy(id, number, attempt + 1));
    }

    fn runs(mut self) -> Came {
        self.sends_to_all();
        self.takes_posts();
        let mut is_open = vec![true; self.devices];
        while let Some(((at_ms, _), event)) = self.events.pop_first() {
            // The core's own clock goes on between events.
            while let Some(due_ms) = self.story.core.cells.due_ms().filter(|due| *due <= at_ms) {
                self.story.waits_ms(due_ms.saturating_sub(self.story.ms));
                self.takes_posts();
            }
            self.story.ms = self.story.ms.max(at_ms);
            match event {
                Event::Copy(_, number, _) | Event::Ack(_, number) if !is_open[number] => continue,
                Event::Copy(id, number, 5) => {
                    is_open[number] = false;
                    self.came.failed += 1;
                    self.tells(number, id, Step::Failed);
                }
                Event::Copy(id, number, attempt) => self.copy_leaves(id, number, attempt),
                Event::Ack(id, number) => {
                    is_open[number] = false;
                    self.came.delivered += 1;
                    self.came.last_ms = self.story.ms;
                    self.tells(number, id, Step::Delivered);
                }
            }
            self.takes_posts();
        }
        self.came
    }
}

fn session_of(number: usize) -> SessionRef {
    SessionRef::new(0, 100 + number as u32, 1)
}
