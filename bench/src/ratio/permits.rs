//! What does it cost to judge a request by a policy, and to tell the customer's log of one that is
//! refused? The worker in memory, against itself without.

use tidegate_dataplane::fate::Tally;

use super::figure::{Figure, median};
use crate::rig::{Rig, Route};

/// Both figures.
pub fn figures() -> Vec<Figure> {
    let rig = || Rig::new(SESSIONS, Route::Echo);
    let (mut free, mut judged, mut refused) = (rig(), rig(), rig());
    judged.judge(true);
    refused.judge(false);
    let (mut of_policy, mut of_notice) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let (plain, allowed) = (request_ns(&mut free), request_ns(&mut judged));
        of_policy.push((allowed, plain));
        of_notice.push((request_ns(&mut refused), allowed));
    }
    let told = refused.worker().counters().of(Tally::Notice);
    let shed = refused.worker().counters().of(Tally::NoticeShed);
    let share = told * 100 / (told + shed).max(1);
    vec![
        Figure::from_pairs(
            "worker in memory, CON PUT, batch 64: judged by a policy of eight statements, \
             against no policy",
            "ns",
            &of_policy,
            None,
        ),
        Figure::from_pairs(
            format!(
                "worker in memory, CON PUT, batch 64: refused by the policy and noted (told: \
                 {share} %, the rest counted), against allowed"
            ),
            "ns",
            &of_notice,
            None,
        ),
    ]
}

fn request_ns(rig: &mut Rig) -> f64 {
    median((0..BATCHES).map(|_| {
        rig.fill(BATCH, super::steady::PAYLOAD_BYTES);
        rig.turn(BATCH).as_nanos() as f64 / BATCH as f64
    }))
}

/// A round of them is 4 ms of the rig's time, in which four notices may be told.
const SESSIONS: usize = 1_000;
const SAMPLES: usize = 15;
const BATCHES: usize = 500;
const BATCH: usize = 64;
