//! Which publishes are not confirmed, and which packet identifier has each? A slot per identifier,
//! and behind them a queue of what has none yet.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::packet;
use crate::core::PublishId;

/// What is to be published.
pub(super) struct Publish {
    pub(super) id: PublishId,
    pub(super) topic: Arc<str>,
    pub(super) payload: Vec<u8>,
}

/// What was ordered and is not confirmed. *Bound:* the core's publishes in flight.
pub(super) struct Window {
    /// By packet identifier less one.
    slots: Vec<Slot>,
    /// Where the next identifier is looked for.
    next: usize,
    in_flight: usize,
    /// In the order they were ordered.
    waiting: VecDeque<Publish>,
}

enum Slot {
    Free,
    Sent(Publish),
    /// Nobody waits for it, but its identifier is in use until the PUBACK (section 2.3.1).
    Abandoned,
}

impl Window {
    pub(super) fn new(in_flight_max: usize) -> Self {
        let slots = in_flight_max.clamp(1, usize::from(u16::MAX));
        Self {
            slots: std::iter::repeat_with(|| Slot::Free).take(slots).collect(),
            next: 0,
            in_flight: 0,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn order(&mut self, publish: Publish) {
        self.waiting.push_back(publish);
    }

    /// Rare: a broker that is there but does not confirm in time.
    pub(super) fn abandon(&mut self, id: PublishId) {
        self.waiting.retain(|publish| publish.id != id);
        let is_it = |slot: &&mut Slot| matches!(slot, Slot::Sent(publish) if publish.id == id);
        if let Some(slot) = self.slots.iter_mut().find(is_it) {
            *slot = Slot::Abandoned;
        }
    }

    /// A new connection knows nothing: all goes again, in order.
    pub(super) fn start_over(&mut self) {
        let slots = self.slots.iter_mut();
        let sent = slots.filter_map(|slot| match std::mem::replace(slot, Slot::Free) {
            Slot::Sent(publish) => Some(publish),
            Slot::Free | Slot::Abandoned => None,
        });
        let mut again: Vec<Publish> = sent.collect();
        again.sort_by_key(|publish| publish.id);
        for publish in again.into_iter().rev() {
            self.waiting.push_front(publish);
        }
        (self.in_flight, self.next) = (0, 0);
    }

    /// Writes what has an identifier, until `out` has so many bytes.
    pub(super) fn write(&mut self, out: &mut BytesMut, bytes_max: usize) {
        while self.in_flight < self.slots.len() && out.len() < bytes_max {
            let Some(publish) = self.waiting.pop_front() else { return };
            // One is free. Confirmed in order, it is the first.
            while !matches!(self.slots[self.next], Slot::Free) {
                self.next = (self.next + 1) % self.slots.len();
            }
            let packet = u16::try_from(self.next + 1).expect("Bound: slots");
            packet::write_publish(out, packet, &publish.topic, &publish.payload);
            self.slots[self.next] = Slot::Sent(publish);
            self.next = (self.next + 1) % self.slots.len();
            self.in_flight += 1;
        }
    }

    /// The publish that this PUBACK confirms, unless it was abandoned.
    pub(super) fn confirm(&mut self, packet: u16) -> Option<PublishId> {
        let slot = self.slots.get_mut(usize::from(packet).checked_sub(1)?)?;
        let before = std::mem::replace(slot, Slot::Free);
        self.in_flight -= usize::from(!matches!(before, Slot::Free));
        match before {
            Slot::Sent(publish) => Some(publish.id),
            Slot::Free | Slot::Abandoned => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ordered(in_flight_max: usize, ids: std::ops::RangeInclusive<u64>) -> Window {
        let mut window = Window::new(in_flight_max);
        for id in ids {
            window.order(Publish { id: PublishId(id), topic: "t".into(), payload: vec![id as u8] });
        }
        window
    }

    /// Packet identifier and payload of each publish written.
    fn written(window: &mut Window) -> Vec<(u16, u8)> {
        let mut out = BytesMut::new();
        window.write(&mut out, usize::MAX);
        // 0x32, length, topic of one letter, identifier, one byte.
        out.chunks(8).map(|p| (u16::from_be_bytes([p[5], p[6]]), p[7])).collect()
    }

    #[test]
    fn a_puback_confirms_the_publish_with_its_identifier() {
        let mut window = ordered(8, 1..=3);
        assert_eq!(written(&mut window), [(1, 1), (2, 2), (3, 3)]);
        assert_eq!(window.confirm(2), Some(PublishId(2)));
        assert_eq!(window.confirm(2), None, "once");
        for never in [0, 4, 8, 9, u16::MAX] {
            assert_eq!(window.confirm(never), None, "{never}");
        }
        window.abandon(PublishId(1));
        assert_eq!(window.confirm(1), None, "nobody waits for it");
        window.start_over();
        assert_eq!(window.confirm(3), None, "an identifier of another connection");
        assert_eq!(written(&mut window), [(1, 3)], "only what is not confirmed goes again");
    }

    #[test]
    fn an_identifier_is_used_again_only_after_its_puback() {
        let mut window = ordered(3, 1..=6);
        assert_eq!(written(&mut window), [(1, 1), (2, 2), (3, 3)], "the window is full");
        assert!(written(&mut window).is_empty());
        window.abandon(PublishId(2));
        assert!(written(&mut window).is_empty(), "an abandoned one keeps its identifier");
        window.confirm(3);
        assert_eq!(written(&mut window), [(3, 4)], "whichever is free");
        window.abandon(PublishId(5));
        assert_eq!((window.confirm(1), window.confirm(2)), (Some(PublishId(1)), None));
        assert_eq!(written(&mut window), [(1, 6)], "what was abandoned before is never sent");
    }

    #[test]
    fn a_new_connection_gets_everything_in_the_order_it_was_ordered() {
        let mut window = ordered(3, 1..=5);
        written(&mut window);
        window.confirm(1);
        written(&mut window);
        window.start_over();
        let ids: Vec<u8> = written(&mut window).into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, [2, 3, 4]);
    }

    #[test]
    fn no_more_is_encoded_than_the_socket_may_wait_for() {
        let mut window = ordered(8, 1..=8);
        let mut out = BytesMut::new();
        window.write(&mut out, 15);
        assert_eq!(out.len(), 16, "two of eight bytes");
        window.write(&mut out, 17);
        assert_eq!(out.len(), 24);
    }
}
