//! How large may anything in the dataplane grow? Every queue, table and loop has its bound here.
//!
//! Where a bound is a knob, the value here is its default and `config` holds its range.

/// Workers of one process: who has mail is a bit for each.
pub const WORKERS_MAX: u8 = 64;
/// Datagrams taken from the network in one turn. *Why:* measured flat above 64, and one turn's
/// records fit the first-level cache.
pub const BATCH_MAX: usize = 64;
/// Datagrams of strangers in one turn while those we know have something to say. *Why:* so known
/// devices have three quarters of a worker's time at least, however many strangers there are.
pub const STRANGERS_MAX: usize = BATCH_MAX / 4;
/// Places of a batch that are kept for strangers who wait. *Why:* a device that nobody knows yet
/// must get through when all others are busy.
pub const STRANGERS_MIN: usize = BATCH_MAX / 8;
/// Datagrams one turn may send before it flushes. *Why:* every received datagram can cause two,
/// and timers get as much again.
pub const OUTBOX_SLOTS: usize = 4 * BATCH_MAX;
/// Largest datagram received or sent, bytes: IPv4 over Ethernet without fragmentation.
pub const DATAGRAM_BYTES_MAX: usize = 1472;
/// Records looked at in one datagram; what follows is dropped with it.
pub const RECORDS_PER_DATAGRAM_MAX: usize = 8;
/// Entries taken from the control plane's ring in one turn.
pub const ENTRIES_PER_TURN_MAX: usize = BATCH_MAX;
/// Timers fired in one turn; later ones wait for the next.
pub const TIMERS_PER_TURN_MAX: usize = BATCH_MAX;
/// Slab slots looked at for idle expiry in one turn of the clock (one second).
pub const IDLE_SWEEP_SLOTS: u32 = 16_384;
/// Slots compared when the slab is full and an idle session must give way.
pub const EVICTION_SAMPLES: usize = 16;

/// Sessions of one worker, default of `[sessions] per_worker`.
pub const SESSIONS_DEFAULT: u32 = 65_536;
/// Most sessions a worker may be configured for: the slot index has 24 bits.
pub const SESSIONS_MAX: u32 = 1 << 24;
/// Resumable sessions of one worker, default of `[resumption] per_worker`.
pub const RESUMPTIONS_DEFAULT: u32 = 65_536;
/// Most resumable sessions a worker may be configured for: the index in a session id has 24 bits.
pub const RESUMPTIONS_MAX: u32 = 1 << 24;
/// Seconds a session can be resumed at most (RFC 5246 section F.1.4).
pub const RESUMPTION_AGE_S_MAX: u32 = 86_400;
/// Resumable sessions looked at for their age in one turn of the clock (one second).
pub const RESUMPTION_SWEEP: usize = 4_096;
/// Handshakes in progress in one worker, default of `[handshake] half_open`.
pub const HANDSHAKES_DEFAULT: u32 = 1_024;
/// How many of them one source may have, default of `[handshake] half_open_per_source`. *Why half:*
/// a carrier's translator is one source for a whole fleet, and nobody may take all.
pub const HANDSHAKES_PER_SOURCE_DEFAULT: u32 = HANDSHAKES_DEFAULT / 2;
/// A handshake that is not complete by then is forgotten, milliseconds. *Why:* RFC 6347 section
/// 4.2.4 timers double from 1 s; five repetitions are over by 63 s.
pub const HANDSHAKE_LIFETIME_MS: u64 = 65_000;
/// New addresses checked at once in one worker (RFC 9853).
pub const PATHS_MAX: u32 = 1_024;
/// Sessions being opened to devices at once; the worker that opens them all is the first one.
pub const CONNECTS_MAX: u32 = 256;
/// Requests of devices waiting for an outcome in one worker, default of `[coap] exchanges`.
pub const INBOUND_DEFAULT: u32 = 16_384;
/// Longest part of a request's path kept until its outcome, for the customer's log, bytes.
pub const EXCHANGE_PATH_BYTES_MAX: usize = 64;
/// Answers of applications kept for copies of their request, in one worker; the oldest gives way.
pub const KEPT_REPLIES: u32 = 2_048;
/// Downlink requests in progress or waiting in one worker, default of `[coap] downlinks`.
pub const OUTBOUND_DEFAULT: u32 = 4_096;
/// Downlink requests one device may have waiting behind the one in progress. *Why:* the store is
/// the queue; the worker holds only what was sent straight on.
pub const OUTBOUND_PER_DEVICE_MAX: u32 = 16;
/// Resources of devices that applications observe, in one worker.
pub const OBSERVATIONS_MAX: u32 = 65_536;
/// Those of one device.
pub const OBSERVATIONS_PER_DEVICE_MAX: usize = 16;
/// Longest body of a request, bytes, default of `[coap] upload_bytes`.
pub const UPLOAD_BYTES_DEFAULT: u32 = 256 << 10;
/// Memory for bodies that are not whole yet, in one worker, KiB, default of `[coap] uploads_kib`.
/// Taken when it is first used.
pub const UPLOADS_KIB_DEFAULT: u32 = 32 << 10;
/// Most of it that may be configured: 4 GiB.
pub const UPLOADS_KIB_MAX: u32 = (4 << 20) - 1;
/// A body without a new block for so long is forgotten, seconds, default of `[coap] upload_idle_s`:
/// EXCHANGE_LIFETIME of RFC 7252 section 4.8.2.
pub const UPLOAD_IDLE_S_DEFAULT: u32 = 247;
/// Bodies one device may have under way; its oldest gives way. *Why:* a device sends one at a time
/// (NSTART is 1); what it gave up stays for a while.
pub const UPLOADS_PER_DEVICE_MAX: usize = 4;
/// Where there is no room, the body that was idle longest gives way if it was for so long,
/// milliseconds; else the new one is refused. *Why:* nobody who is at it is pushed out by
/// newcomers, and a device is at it for MAX_TRANSMIT_SPAN (RFC 7252 section 4.8.2) when only the
/// last copy of a block arrives.
pub const UPLOAD_GRACE_MS: u64 = 45_000;
/// Bodies remembered that came whole in any order of their blocks, in one worker: 16 a second for
/// as long as late blocks may come.
pub const FINISHED_MAX: usize = 4_096;
/// Long bodies on their way to devices in one worker, 2 KiB of each at hand.
pub const BODIES_MAX: u32 = 2_048;
/// Answers that devices read block by block, in one worker.
pub const ANSWERS_MAX: u32 = 1_024;
/// Longest options of such an answer, bytes.
pub const ANSWER_OPTIONS_BYTES_MAX: usize = 128;
/// Bodies forgotten for their age in one turn of the clock (one second).
pub const UPLOAD_SWEEP: usize = 4_096;
/// Credentials a worker remembers.
pub const CREDENTIALS_MAX: usize = 4_096;
/// Seconds a remembered credential serves before the control plane is asked again.
pub const CREDENTIAL_AGE_S: u32 = 300;
/// Longest PSK identity, bytes (the service document's limit; RFC 4279 section 5.3 asks for 128).
pub const IDENTITY_BYTES_MAX: usize = 256;
/// Datagrams waiting for another worker.
pub const HANDOVER_MAX: usize = 1_024;

/// Notices for the customer's log that one worker tells in a second, in the long run.
pub const NOTICES_PER_S_MAX: u32 = 1_000;
/// And at once, after a pause.
pub const NOTICES_BURST: u32 = 1_000;
/// Longest part of a path in a notice, bytes.
pub const NOTICE_PATH_BYTES_MAX: usize = 256;

/// Capacity of each ring between a worker and the control plane, bytes.
pub const RING_BYTES: usize = 4 << 20;
/// Part of the uplink ring that uplinks leave free, bytes, so that outcomes and credential
/// requests still pass when uplinks have filled it.
pub const RING_HEADROOM_BYTES: usize = 256 << 10;
