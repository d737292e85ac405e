//! Does a fleet do what its scenario says, and is it told how that went? Against a server of ours
//! behind a real socket; each rescue with a control that goes without.

mod server;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use server::{Habits, PSK, Server, Speaks};
use tidegate_coap::code::Code;
use tidegate_loadgen::fleet::{self, Options};
use tidegate_loadgen::measurement::{ErrorKind, Measurement};
use tidegate_loadgen::progress::Progress;
use tidegate_loadgen::scenario::Scenario;

/// Runs phases; `fleet` are more lines of `[fleet]`, `coap` of `[coap]`.
fn run_as(server: &Server, scheme: &str, lines: &str, phases: &str) -> Vec<Measurement> {
    run_on(&[], server, scheme, lines, phases)
}

fn run_on(
    cores: &[usize],
    server: &Server,
    scheme: &str,
    lines: &str,
    phases: &str,
) -> Vec<Measurement> {
    let text = format!(
        "{lines}\n[target]\nserver = '{scheme}://{}'\n\
         [dtls]\npsk_identity = 'dev-{{n}}'\npsk = '{PSK}'\ntimeout_s = 5\n{phases}",
        server.address
    );
    let scenario = Scenario::parse(&text, &[]).expect("a scenario");
    let (progress, told) = mpsc::channel();
    let options = Options { cores: cores.to_vec() };
    let measurements = fleet::run(&scenario, &options, &AtomicBool::new(false), &progress)
        .expect("it could be carried out");
    drop(progress);
    let over = told.iter().filter(|progress| matches!(progress, Progress::PhaseOver(_)));
    assert_eq!((over.count(), measurements.len()), (scenario.phases.len(), scenario.phases.len()));
    measurements
}

fn errors(measurement: &Measurement, kind: ErrorKind) -> u64 {
    let total = measurement.total();
    assert_eq!(total.errors(), total.error(kind), "no others: {:?}", total.errors);
    total.error(kind)
}

const FAST: &str = "coap = { ack_timeout_ms = 100, timeout_ms = 3000 }";

fn counted(more: &str) -> String {
    format!("[[phase]]\nname = 'it'\nkind = 'requests'\noutstanding = 8\ncount = 200\n{more}")
}

#[test]
fn every_device_has_an_address_and_its_turn() {
    let server = Server::new(Speaks::Coap, Habits::default());
    let phase = counted("request = [{ path = '/t/{n}', payload_bytes = [10, 20] }]");
    let [done] = &run_as(&server, "coap", "fleet = { devices = 40 }", &phase)[..] else { panic!() };
    let total = done.total();
    assert_eq!((total.requests, total.completed, total.errors()), (200, 200, 0));
    assert_eq!((total.datagrams_out, total.datagrams_in), (200, 200));
    assert_eq!((done.latency_ns.len(), done.codes[usize::from(Code::CHANGED.0)]), (200, 200));
    let seen = server.seen();
    assert_eq!((seen.peers.len(), seen.paths.len()), (40, 40));
    let addresses: HashSet<_> = seen.peers.iter().map(SocketAddr::ip).collect();
    assert_eq!(addresses.len(), 40, "each its own, in 127.0.0.0/8");
    assert!(seen.bodies.iter().all(|len| (10..=20).contains(len)));
    assert!((10..=20).all(|len| seen.bodies.contains(&len)), "200 bodies of eleven lengths");
}

#[test]
fn devices_of_one_address_have_ports_of_their_own() {
    let server = Server::new(Speaks::Coap, Habits::default());
    let fleet = "fleet = { devices = 20, source = '127.0.0.1' }";
    let [done] = &run_as(&server, "coap", fleet, &counted("request = [{}]"))[..] else { panic!() };
    assert_eq!((done.total().completed, done.total().errors()), (200, 0));
    let seen = server.seen();
    assert_eq!(seen.peers.len(), 20);
    assert!(seen.peers.iter().all(|peer| peer.ip().to_string() == "127.0.0.1"));
}

#[test]
fn bare_datagrams_come_back_and_lost_ones_are_told() {
    let scenario = |bytes| counted(&format!("request = [{{ payload_bytes = {bytes} }}]"));
    for bytes in [1, 3, 4, 77, 1_400] {
        let server = Server::new(Speaks::Echo, Habits::default());
        let [done] = &run_as(&server, "udp", "", &scenario(bytes))[..] else { panic!() };
        assert_eq!((done.total().completed, done.total().errors()), (200, 0));
        assert_eq!(done.total().bytes_out, 200 * bytes as u64);
        assert!(server.seen().bodies.iter().all(|len| *len == bytes));
    }
    let server = Server::new(Speaks::Echo, Habits { deaf_every: 10, ..Habits::default() });
    let [done] = &run_as(&server, "udp", FAST, &scenario(77))[..] else { panic!() };
    assert_eq!((done.total().completed, errors(done, ErrorKind::Timeout)), (180, 20));
}

/// RFC 7252 section 4.2; and without retransmissions, for control.
#[test]
fn lost_confirmable_requests_are_repeated() {
    let habits = Habits { deaf_every: 10, ..Habits::default() };
    let server = Server::new(Speaks::Coap, habits);
    let [done] = &run_as(&server, "coap", FAST, &counted("request = [{}]"))[..] else { panic!() };
    let total = done.total();
    assert_eq!((total.completed, total.errors()), (200, 0));
    assert!(total.retransmissions >= 20, "{}", total.retransmissions);
    assert_eq!(server.seen().requests, 200 + total.retransmissions);

    let once = "coap = { ack_timeout_ms = 100, timeout_ms = 3000, max_retransmit = 0 }";
    for (coap, request) in [(once, "{}"), (FAST, "{ type = 'NON' }")] {
        let server = Server::new(Speaks::Coap, habits);
        let phase = counted(&format!("request = [{request}]"));
        let [done] = &run_as(&server, "coap", coap, &phase)[..] else { panic!() };
        assert_eq!((done.total().completed, errors(done, ErrorKind::Timeout)), (180, 20));
        assert_eq!(done.total().retransmissions, 0);
    }
}

#[test]
fn separate_responses_are_confirmed() {
    let server = Server::new(Speaks::Coap, Habits { separate: true, ..Habits::default() });
    let [done] = &run_as(&server, "coap", "", &counted("request = [{}]"))[..] else { panic!() };
    assert_eq!((done.total().completed, done.total().errors()), (200, 0));
    // The last ones may still be on their way.
    drop(run_as(&server, "coap", "", &counted("request = [{}]")));
    assert!(server.seen().confirmed >= 200);
}

#[test]
fn refusals_and_resets_are_told_apart() {
    for (habits, kind) in [
        (Habits { code: Some(Code::NOT_FOUND), ..Habits::default() }, ErrorKind::Response4xx),
        (
            Habits { code: Some(Code::SERVICE_UNAVAILABLE), ..Habits::default() },
            ErrorKind::Response5xx,
        ),
        (Habits { resets: true, ..Habits::default() }, ErrorKind::Reset),
        (Habits { code: Some(Code::CONTINUE), ..Habits::default() }, ErrorKind::Malformed),
    ] {
        let server = Server::new(Speaks::Coap, habits);
        let [done] = &run_as(&server, "coap", "", &counted("request = [{}]"))[..] else { panic!() };
        assert_eq!((done.total().completed, errors(done, kind)), (0, 200));
        assert_eq!(done.latency_ns.len(), 0, "a refusal has no latency");
    }
}

/// RFC 7959 sections 2.3 and 2.5.
#[test]
fn long_bodies_arrive_whole_in_blocks_of_the_size_that_both_like() {
    for (block_bytes, datagrams) in [(None, 4), (Some(64), 15)] {
        let server = Server::new(Speaks::Dtls, Habits { block_bytes, ..Habits::default() });
        let phase = "[[phase]]\nname = 'it'\nkind = 'requests'\noutstanding = 4\ncount = 20\n\
            request = [{ payload_bytes = 1000, block_bytes = 256 }]";
        let [done] = &run_as(&server, "coaps", "", phase)[..] else { panic!() };
        let total = done.total();
        assert_eq!((total.requests, total.completed, total.errors()), (20, 20, 0));
        assert!(server.seen().bodies.iter().all(|len| *len == 1_000));
        // 256 bytes, then as many as it takes.
        let blocks = if block_bytes.is_some() { 1 + 744_u64.div_ceil(64) } else { datagrams };
        assert_eq!(server.seen().requests, 20 * blocks);
    }
}

/// RFC 7959 section 2.4.
#[test]
fn long_responses_are_asked_for_to_their_end() {
    for (content_bytes, blocks) in [(64, 1), (65, 2), (200, 4)] {
        let server = Server::new(Speaks::Coap, Habits { content_bytes, ..Habits::default() });
        let phase = counted("request = [{ method = 'GET', path = '/long' }]");
        let [done] = &run_as(&server, "coap", "", &phase)[..] else { panic!() };
        let total = done.total();
        assert_eq!((total.requests, total.completed, total.errors()), (200, 200, 0));
        assert_eq!(server.seen().requests, 200 * blocks);
        assert!(total.bytes_in > 200 * content_bytes as u64);
    }
}

#[test]
fn devices_answer_what_the_server_asks_unless_they_shall_not() {
    for (answers, expected) in [("", 200), ("answer_downlinks = false\n", 0)] {
        let server = Server::new(Speaks::Dtls, Habits { asks: true, ..Habits::default() });
        let phase = counted(&format!("{answers}request = [{{}}]"));
        let [done] = &run_as(&server, "coaps", "", &phase)[..] else { panic!() };
        assert_eq!((done.total().completed, done.total().downlinks), (200, expected));
        let seen = server.seen();
        assert!(seen.answers.iter().all(|code| *code == Code::CONTENT));
        assert_eq!(seen.answers.is_empty(), expected == 0);
    }
}

const CONNECT: &str = "[[phase]]\nname = 'connect'\nkind = 'connect'\noutstanding = 16\n";

#[test]
fn a_fleet_connects_once_and_then_sends() {
    let server = Server::new(Speaks::Dtls, Habits::default());
    let phases = format!("{CONNECT}{}", counted("request = [{}, { method = 'GET', weight = 3 }]"));
    for cores in [&[][..], &[0, 0, 0]] {
        let fleet = "fleet = { devices = 50 }";
        let [connect, requests] = &run_on(cores, &server, "coaps", fleet, &phases)[..] else {
            panic!()
        };
        let total = connect.total();
        assert_eq!((total.handshakes_begun, total.handshakes_full, total.errors()), (50, 50, 0));
        assert_eq!(connect.handshake_ns.len(), 50);
        let total = requests.total();
        assert_eq!((total.completed, total.handshakes_begun, total.errors()), (200, 0, 0));
        assert_eq!(requests.threads as usize, cores.len().max(1));
        assert!(total.own_cpu_ns > 0);
        assert_eq!(server.seen().identities.len(), 50);
    }
}

#[test]
fn devices_without_a_session_shake_hands_before_their_first_request() {
    let server = Server::new(Speaks::Dtls, Habits { closes_after: 10, ..Habits::default() });
    let fleet = "fleet = { devices = 5 }";
    let phase = "[[phase]]\nname = 'it'\nkind = 'requests'\noutstanding = 2\ncount = 110\n\
        request = [{}]";
    let [done] = &run_as(&server, "coaps", fleet, phase)[..] else { panic!() };
    let total = done.total();
    // The eleventh request of a session ends it, and the twelfth makes a new one.
    assert_eq!((total.completed, errors(done, ErrorKind::SessionClosed)), (100, 10));
    assert_eq!(total.handshakes_full, 10);
}

#[test]
fn strangers_get_no_session_and_that_is_told() {
    let server = Server::new(Speaks::Dtls, Habits::default());
    let text = format!(
        "[target]\nserver = 'coaps://{}'\n[fleet]\ndevices = 3\n\
         [dtls]\npsk_identity = 'stranger'\npsk = '{PSK}'\ntimeout_s = 1\n{CONNECT}",
        server.address
    );
    let scenario = Scenario::parse(&text, &[]).expect("a scenario");
    let (progress, _) = mpsc::channel();
    let done = fleet::run(&scenario, &Options::default(), &AtomicBool::new(false), &progress);
    let done = done.expect("carried out");
    assert_eq!(errors(&done[0], ErrorKind::HandshakeTimeout), 3);
    assert_eq!(done[0].total().handshakes(), 0);
}

/// RFC 9146 section 6; without a Connection ID the server does not know whose records they are.
#[test]
fn devices_with_a_connection_id_survive_a_new_binding() {
    let rebinds = "[[phase]]\nname = 'it'\nkind = 'requests'\noutstanding = 4\ncount = 100\n\
        rebind_every = 5\nrequest = [{}]";
    for source in ["", ", source = '127.0.0.1'"] {
        let server = Server::new(Speaks::Dtls, Habits::default());
        let fleet = format!("fleet = {{ devices = 4{source} }}");
        let [done] = &run_as(&server, "coaps", &fleet, rebinds)[..] else { panic!() };
        let total = done.total();
        assert_eq!((total.completed, total.errors(), total.handshakes_full), (100, 0, 4));
        assert!(total.rebinds >= 12, "25 requests each: {}", total.rebinds);
        assert!(server.seen().peers.len() > 4);
    }
    let server = Server::new(Speaks::Dtls, Habits { no_cid: true, ..Habits::default() });
    let lines = "fleet = { devices = 4 }\n\
        coap = { ack_timeout_ms = 100, timeout_ms = 300, max_retransmit = 1 }";
    let [done] = &run_as(&server, "coaps", lines, rebinds)[..] else { panic!() };
    let (lost, handshakes) = (errors(done, ErrorKind::Timeout), done.total().handshakes_full);
    assert!(lost > 0 && server.seen().stray > 0);
    // Who is not heard any more makes a new session; four may be just about to.
    assert!((lost..=lost + 4).contains(&handshakes), "{lost} lost, {handshakes} handshakes");
}

#[test]
fn storms_are_full_or_resumed_and_leave_sessions_open_if_asked() {
    let storm = |more: &str| {
        format!("[[phase]]\nname = 'it'\nkind = 'storm'\noutstanding = 4\ncount = 60\n{more}")
    };
    let fleet = "fleet = { devices = 10 }";
    let server = Server::new(Speaks::Dtls, Habits::default());
    let [done] = &run_as(&server, "coaps", fleet, &storm(""))[..] else { panic!() };
    let total = done.total();
    assert_eq!((total.handshakes_full, total.handshakes_resumed, total.errors()), (60, 0, 0));

    let resumed = storm("resume_percent = 100");
    let [done] = &run_as(&server, "coaps", fleet, &resumed)[..] else { panic!() };
    let total = done.total();
    assert_eq!((total.handshakes_full, total.handshakes_resumed), (10, 50), "the first is full");
    assert!(server.seen().closed > 100);

    let server = Server::new(Speaks::Dtls, Habits::default());
    let [done] = &run_as(&server, "coaps", fleet, &storm("leave_open = true"))[..] else {
        panic!()
    };
    assert_eq!((done.total().handshakes_full, server.seen().closed), (60, 0));
}

/// A server that has a session at a port may ignore a ClientHello from there (libcoap does).
#[test]
fn each_handshake_comes_from_a_port_of_its_own_unless_it_is_to_keep_it() {
    let storm = |more: &str| {
        format!("[[phase]]\nname = 'it'\nkind = 'storm'\noutstanding = 2\ncount = 12\n{more}")
    };
    // In a range, with one address, and with a socket for each device.
    for (source, places) in [("127.0.0.0/8", 12), ("127.0.0.0/30", 8), ("127.0.0.1", 12)] {
        for (more, expected) in
            [("leave_open = true", places), ("leave_open = true\nkeep_port = true", 2)]
        {
            let server = Server::new(Speaks::Dtls, Habits::default());
            let fleet = format!("fleet = {{ devices = 2, source = '{source}' }}");
            let [done] = &run_as(&server, "coaps", &fleet, &storm(more))[..] else { panic!() };
            assert_eq!((done.total().handshakes_full, done.total().errors()), (12, 0), "{source}");
            assert_eq!(server.seen().callers.len(), expected, "{source} {more}");
        }
    }
}

#[test]
fn a_phase_may_have_suites_and_connection_ids_of_its_own() {
    let phases = "[[phase]]\nname = 'one'\nkind = 'storm'\noutstanding = 1\ncount = 2\n\
        suites = ['PSK_WITH_AES_256_CCM_8']\nconnection_id = false\n\
        [[phase]]\nname = 'two'\nkind = 'storm'\noutstanding = 1\ncount = 2\n";
    let server = Server::new(Speaks::Dtls, Habits::default());
    let done = run_as(&server, "coaps", "fleet = { devices = 1 }", phases);
    assert!(done.iter().all(|done| done.total().handshakes_full == 2));
    let made = &server.seen().sessions;
    assert_eq!(made[..2], [("TLS_PSK_WITH_AES_256_CCM_8", false); 2]);
    assert!(made[2..].iter().all(|(suite, has_cid)| *suite != made[0].0 && *has_cid), "{made:?}");
}

#[test]
fn sleepy_devices_wake_one_after_the_other_and_come_back_as_told() {
    let sleepy = |more: &str| {
        format!(
            "{CONNECT}[[phase]]\nname = 'it'\nkind = 'sleepy'\nwake_every_s = 1\nduration_s = 2\n\
             {more}\nrequest = [{{}}]"
        )
    };
    for (wake, full, resumed, closed) in [
        ("", 0, 0, 0),
        ("wake = 'resumed'", 0, 40, 40),
        ("wake = 'full'", 40, 0, 40),
        ("wake = 'full'\nleave_open = true", 40, 0, 0),
    ] {
        let server = Server::new(Speaks::Dtls, Habits::default());
        let fleet = "fleet = { devices = 20 }";
        let [_, done] = &run_as(&server, "coaps", fleet, &sleepy(wake))[..] else { panic!() };
        let total = done.total();
        assert_eq!((total.requests, total.completed, total.errors()), (40, 40, 0));
        assert_eq!((total.handshakes_full, total.handshakes_resumed), (full, resumed), "{wake}");
        assert_eq!(server.seen().closed, closed, "{wake}");
    }
}

/// No coordinated omission: who could not be served when it was due waited.
#[test]
fn an_open_loop_counts_from_the_intended_instant() {
    let phase = "[[phase]]\nname = 'it'\nkind = 'requests'\nrate_per_s = 200\nduration_s = 1\n\
        request = [{}]";
    let habits = Habits { deaf_every: 20, ..Habits::default() };
    let server = Server::new(Speaks::Coap, habits);
    // One device, one at a time: a lost request holds up those behind it for 100 ms.
    let lines = "fleet = { devices = 1 }\ncoap = { ack_timeout_ms = 100, timeout_ms = 3000 }";
    let [done] = &run_as(&server, "coap", lines, phase)[..] else { panic!() };
    let total = done.total();
    let unsent = total.error(ErrorKind::Unsent);
    assert_eq!(total.requests + unsent, 200, "as many as were due");
    assert_eq!((total.completed, total.errors()), (total.requests, unsent));
    assert_eq!(done.since_sent_ns.len(), total.completed);
    let late = done.latency_ns.mean() > 2.0 * done.since_sent_ns.mean();
    assert!(late, "{} {}", done.latency_ns.mean(), done.since_sent_ns.mean());

    let server = Server::new(Speaks::Coap, Habits::default());
    let many = "fleet = { devices = 100 }";
    let [done] = &run_as(&server, "coap", many, phase)[..] else { panic!() };
    assert_eq!((done.total().requests, done.total().completed), (200, 200));
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let server = Server::new(Speaks::Coap, Habits::default());
    let text = |fleet: &str| {
        format!(
            "{fleet}\ncoap = {{ timeout_ms = 200 }}\n\
             [target]\nserver = 'coap://127.0.0.1:9'\n{}",
            counted("request = [{}]").replace("200", "10")
        )
    };
    drop(server);
    for fleet in ["", "fleet = { source = '127.0.0.1' }"] {
        let scenario = Scenario::parse(&text(fleet), &[]).expect("a scenario");
        let (progress, _) = mpsc::channel();
        let done = fleet::run(&scenario, &Options::default(), &AtomicBool::new(false), &progress);
        let total = done.expect("carried out")[0].total();
        assert_eq!((total.completed, total.error(ErrorKind::Unreachable)), (0, 10));
        assert_eq!(total.errors(), 10);
    }
}

#[test]
fn a_run_that_is_stopped_tells_what_it_has() {
    let server = Server::new(Speaks::Coap, Habits::default());
    let text = format!(
        "[target]\nserver = 'coap://{}'\n{}",
        server.address,
        counted("request = [{}]").replace("count = 200", "duration_s = 600")
    );
    let scenario = Scenario::parse(&text, &[]).expect("a scenario");
    let (progress, told) = mpsc::channel();
    let stop = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        let running = scope.spawn(|| fleet::run(&scenario, &Options::default(), &stop, &progress));
        for progress in &told {
            if matches!(progress, Progress::Interval(_)) {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
                break;
            }
        }
        running.join().expect("no panic").expect("carried out")
    });
    assert_eq!(done.len(), 1);
    assert!(done[0].total().completed > 0);
}
