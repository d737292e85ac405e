//! What came in? Datagrams of many devices, opened together.

use std::ops::Range;

use arrayvec::ArrayVec;
use tidegate_crypto::aead;
use tidegate_dtls::established::OpenPlan;
use tidegate_dtls::record::{ContentType, Record};

use super::devices::{Devices, State};
use super::sockets::{BATCH_MAX, Inbox};

/// What is in a datagram.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Something of a session.
    Record {
        kind: ContentType,
        bytes: Range<usize>,
        /// Where the datagram's next record starts.
        end: usize,
    },
    /// It is a handshake's, all of it.
    Handshake,
    /// Nothing that can be used.
    Nothing,
}

/// What is in each datagram of the batch.
pub(super) type Contents = ArrayVec<Content, BATCH_MAX>;

struct Planned {
    plan: OpenPlan,
    end: usize,
    is_good: bool,
}

/// Opens the first record of each datagram.
pub(super) fn open(inbox: &mut Inbox, devices: &mut Devices, own_cid_len: usize) -> Contents {
    let mut planned: ArrayVec<Option<Planned>, BATCH_MAX> = inbox
        .got
        .iter()
        .zip(inbox.buffers.iter())
        .map(|(got, buffer)| {
            let datagram = &buffer[..got.len.into()];
            let session = devices.session(got.device)?;
            let record = Record::parse(datagram, 0, own_cid_len).ok()?;
            let plan = session.plan_open(&record).ok()?;
            Some(Planned { plan, end: record.end(), is_good: false })
        })
        .collect();
    let mut jobs: ArrayVec<aead::Job<'_>, BATCH_MAX> = planned
        .iter()
        .zip(&inbox.got)
        .zip(inbox.buffers.iter_mut())
        .filter_map(|((planned, got), buffer)| {
            let session = devices.session(got.device)?;
            Some(session.open_job(&planned.as_ref()?.plan, &mut buffer[..got.len.into()]))
        })
        .collect();
    aead::open(&mut jobs);
    let done: ArrayVec<bool, BATCH_MAX> = jobs.iter().map(|job| job.done).collect();
    drop(jobs);
    for (planned, is_good) in planned.iter_mut().flatten().zip(done) {
        planned.is_good = is_good;
    }
    let each = planned.iter().zip(&inbox.got).zip(inbox.buffers.iter());
    each.map(|((planned, got), buffer)| {
        let datagram = &buffer[..got.len.into()];
        match (devices.row(got.device).state, planned) {
            (State::ShakingHands, _) => Content::Handshake,
            (State::Up, Some(Planned { plan, end, is_good })) => {
                let session = devices.session_mut(got.device).expect("planned with it");
                let opened = session.finish_open(plan, *is_good, datagram);
                opened.map_or(Content::Nothing, |opened| Content::Record {
                    kind: opened.content_type,
                    bytes: opened.content,
                    end: *end,
                })
            }
            _ => Content::Nothing,
        }
    })
    .collect()
}

/// Datagrams without security are what they are.
pub(super) fn clear(inbox: &Inbox) -> Contents {
    let each = inbox.got.iter().map(|got| Content::Record {
        kind: ContentType::APPLICATION_DATA,
        bytes: 0..got.len.into(),
        end: got.len.into(),
    });
    each.collect()
}
