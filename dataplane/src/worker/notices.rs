//! What is told for the customer's log? That a device was refused something, or could not come in.
//!
//! *Bound:* `NOTICES_PER_S_MAX` a second, and none when the ring is as full as uplinks may make
//! it: what is left out is counted. Nothing waits for a notice.

use super::Worker;
use crate::bounds::{NOTICE_PATH_BYTES_MAX, NOTICES_BURST, NOTICES_PER_S_MAX, RING_HEADROOM_BYTES};
use crate::clock::Now;
use crate::fate::Tally;
use crate::rates::Meter;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Type};
use tidegate_coap::option::Number;
use tidegate_dtls::Failure;
use tidegate_ring::contract::{self as wire, Event, Mishap};
use tidegate_ring::policy::{Path, Rate};
use zerocopy::IntoBytes;

/// How many notices were told lately.
#[derive(Debug, Default)]
pub(super) struct Notices {
    told: Meter,
}

impl Worker {
    /// A request was refused by this worker; `code` is what it was answered, or would have been.
    pub(super) fn note_refused(
        &mut self,
        now: Now,
        slot: u32,
        request: &Message<'_>,
        code: Code,
        is_answered: bool,
    ) {
        let path = Path::of(request.options.all(Number::URI_PATH));
        let path = path.as_bytes();
        let notice = wire::Notice {
            event: Event::Refused as u8,
            method: request.code.0,
            code: if is_answered { code.0 } else { 0 },
            detail: code.0,
            confirmable: (request.ty == Type::Con).into(),
            mid: request.mid.into(),
            ..self.notice_of(now, slot)
        };
        self.tell_notice(now, &notice, &path[..path.len().min(NOTICE_PATH_BYTES_MAX)]);
    }

    /// A notice about the session in `slot`, to be filled in.
    pub(super) fn notice_of(&self, now: Now, slot: u32) -> wire::Notice {
        let entry = self.slab.get(slot);
        let session = self.slab.session(slot).0.into();
        wire::Notice {
            device: entry.device,
            session,
            class: entry.class.into(),
            ..empty_notice(now)
        }
    }

    /// Tells it, if there is room for it.
    pub(super) fn tell_notice(&mut self, now: Now, notice: &wire::Notice, tail: &[u8]) {
        let told = match self.notices.told.after(now.ms.saturating_mul(1_000), RATE) {
            Ok(meter) => {
                self.notices.told = meter;
                let parts = [notice.as_bytes(), tail];
                self.up.push(wire::Kind::Notice, &parts, RING_HEADROOM_BYTES).is_ok()
            }
            Err(_) => false,
        };
        self.counters.tally(if told { Tally::Notice } else { Tally::NoticeShed });
    }
}

/// A notice that says nothing yet.
pub(super) fn empty_notice(now: Now) -> wire::Notice {
    wire::Notice {
        device: [0; 16],
        session: 0.into(),
        at_unix_ms: now.unix_ms.into(),
        class: 0.into(),
        event: 0,
        method: 0,
        code: 0,
        detail: 0,
        confirmable: 0,
        mid: 0.into(),
    }
}

/// What a failure is called in the log.
pub(super) fn mishap(failure: Failure) -> Mishap {
    match failure {
        Failure::Timeout | Failure::UnknownIdentity => Mishap::Timeout,
        Failure::WrongKey => Mishap::WrongKey,
        Failure::CertificateExpired => Mishap::CertificateExpired,
        Failure::UnknownAuthority => Mishap::UnknownAuthority,
        Failure::NoCertificate
        | Failure::BadCertificate
        | Failure::UnsupportedCertificate
        | Failure::CertificateUnknown => Mishap::BadCertificate,
        Failure::UnknownKey | Failure::AccessDenied => Mishap::AccessDenied,
        Failure::Version
        | Failure::NoCommonSuite
        | Failure::NoExtendedMasterSecret
        | Failure::ResumedWithoutExtendedMasterSecret
        | Failure::NoCommonCertificateType => Mishap::NothingCommon,
        Failure::Renegotiation
        | Failure::Decode
        | Failure::Illegal
        | Failure::UnsupportedExtension
        | Failure::UnexpectedMessage
        | Failure::Signature
        | Failure::Finished => Mishap::Malformed,
        Failure::PeerAlert(_) => Mishap::PeerAlert,
    }
}

const RATE: Rate = Rate { interval_us: 1_000_000 / NOTICES_PER_S_MAX, burst: NOTICES_BURST };
