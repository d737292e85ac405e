//! Which frames are ours and which the kernel's? The kernel verifies the program and runs it on
//! frames made here; without a socket it says `OURS` where it would redirect.

use super::super::bpf;
use super::super::frames::tests::frame;
use super::*;
use std::os::fd::{AsRawFd, OwnedFd};

const OURS: u32 = 3;
const KERNELS: u32 = PASS.cast_unsigned();
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const V4: (&str, &str) = ("198.51.100.7:40000", "192.0.2.1:5684");
const V6: (&str, &str) = ("[2001:db8::7]:40000", "[2001:db8::1]:5684");

/// A loaded program, where the kernel lets us.
struct Program {
    loaded: OwnedFd,
    _sockets: OwnedFd,
}

impl Program {
    fn of(workers: u8) -> Option<Self> {
        let both = ["192.0.2.1:5684", "255.0.2.1:5684", "[2001:db8::1]:5684", "[fe80::2]:60000"];
        Self::listening(&both, workers)
    }

    fn listening(addresses: &[&str], workers: u8) -> Option<Self> {
        let sockets = match bpf::socket_map(4) {
            Err(refused) if refused.raw_os_error() == Some(libc::EPERM) => {
                eprintln!("not root ({refused}): the program is not tried");
                return None;
            }
            map => map.expect("a map"),
        };
        let parsed = addresses.iter().map(|text| text.parse().expect("an address"));
        let loaded = bpf::load(&program(&Wanted {
            mac: MAC,
            addresses: &parsed.collect::<Vec<_>>(),
            sockets: sockets.as_raw_fd(),
            workers,
            without_socket: OURS.cast_signed(),
        }));
        Some(Self { loaded: loaded.expect("the verifier is content"), _sockets: sockets })
    }

    fn says(&self, frame: &[u8]) -> u32 {
        bpf::try_out(&self.loaded, frame).expect("a run")
    }
}

#[test]
fn datagrams_to_our_addresses_are_ours() {
    let Some(program) = Program::of(1) else { return };
    let far = "[fe80::9]:1";
    for (from, to) in [V4, V6, (V4.0, "255.0.2.1:5684"), (far, "[fe80::2]:60000")] {
        for len in [0, 1, 12, 13, 77, 1_452] {
            assert_eq!(program.says(&frame(from, to, &vec![25; len])), OURS, "{to} {len}");
        }
    }
    for (from, to) in [
        (V4.0, "192.0.2.1:5683"),
        (V4.0, "192.0.2.2:5684"),
        (V4.0, "192.0.2.1:60000"),
        (V6.0, "[2001:db8::1]:5683"),
        (V6.0, "[2001:db8::2]:5684"),
        (V6.0, "[2001:db8:1::1]:5684"),
        (V6.0, "[2001:db8::1:0:0:1]:5684"),
        (V6.0, "[fe80::2]:5684"),
    ] {
        assert_eq!(program.says(&frame(from, to, b"hello")), KERNELS, "{to}");
    }
}

#[test]
fn one_family_alone_is_served_and_the_other_is_the_kernels() {
    for (ours, theirs) in [(V4, V6), (V6, V4)] {
        for workers in [1, 2] {
            let Some(program) = Program::listening(&[ours.1], workers) else { return };
            assert_eq!(program.says(&frame(ours.0, ours.1, b"hello")), OURS);
            assert_eq!(program.says(&frame(theirs.0, theirs.1, b"hello")), KERNELS);
        }
    }
}

/// Every byte that decides, changed one at a time.
#[test]
fn a_frame_that_is_not_a_plain_datagram_is_the_kernels() {
    let Some(program) = Program::of(1) else { return };
    let changed = |(from, to): (&str, &str), at: usize, bytes: &[u8]| {
        let mut frame = frame(from, to, &[25; 40]);
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        program.says(&frame)
    };
    for pair in [V4, V6] {
        for at in 0..6 {
            assert_eq!(changed(pair, at, &[0x99]), KERNELS, "another's MAC");
        }
        for ether_type in [[0x81, 0x00], [0x08, 0x06], [0x88, 0xa8], [0, 46]] {
            assert_eq!(changed(pair, 12, &ether_type), KERNELS, "a tag, ARP, a length");
        }
    }
    assert_eq!(changed(V4, 14, &[0x46]), KERNELS, "options");
    assert_eq!(changed(V4, 20, &[0x20, 0]), KERNELS, "more fragments");
    assert_eq!(changed(V4, 20, &[0, 1]), KERNELS, "a later fragment");
    assert_eq!(changed(V4, 20, &[0x1f, 0xff]), KERNELS, "the last possible fragment");
    assert_eq!(changed(V4, 20, &[0x40, 0]), OURS, "don't fragment");
    assert_eq!(changed(V4, 23, &[6]), KERNELS, "TCP");
    assert_eq!(changed(V6, 14, &[0x40]), KERNELS, "version 4");
    assert_eq!(changed(V6, 14, &[0x6f, 0xff]), OURS, "a class and a label");
    for header in [0, 6, 43, 44, 58, 60] {
        assert_eq!(changed(V6, 20, &[header]), KERNELS, "extension, fragment, ICMPv6");
    }
}

#[test]
fn a_source_that_nobody_may_answer_is_the_kernels_to_judge() {
    let Some(program) = Program::of(1) else { return };
    let from = |source: &str, to| program.says(&frame(source, to, b"hello"));
    for source in ["0.0.0.1", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
        assert_eq!(from(&format!("{source}:9"), V4.1), KERNELS, "{source}");
    }
    for source in ["1.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255"] {
        assert_eq!(from(&format!("{source}:9"), V4.1), OURS, "{source}");
    }
    for source in ["::", "::1", "ff02::1", "::7f00:1", "0:0:0:0:1::"] {
        assert_eq!(from(&format!("[{source}]:9"), V6.1), KERNELS, "{source}");
    }
    for source in ["fe80::1", "2001::", "0:0:0:1::"] {
        assert_eq!(from(&format!("[{source}]:9"), V6.1), OURS, "{source}");
    }
}

#[test]
fn a_frame_too_short_or_too_long_is_the_kernels() {
    let Some(program) = Program::of(2) else { return };
    for ((from, to), shortest) in [(V4, IPV4_PAYLOAD), (V6, IPV6_PAYLOAD)] {
        let whole = frame(from, to, &[25; 1_472]);
        let says = |len: i16| program.says(&whole[..len as usize]);
        // The kernel's test run wants an Ethernet header.
        assert!((14..shortest).all(|len| says(len) == KERNELS), "{to}");
        // Shorter than a record: no Connection ID is looked for.
        assert!((shortest..shortest + 12).all(|len| says(len) == OURS), "{to}");
    }
    let longest = frame(V4.0, V4.1, &[25; 1_472]);
    assert_eq!((longest.len(), program.says(&longest)), (FRAME_BYTES_MAX as usize, OURS));
    let longer = [&longest[..], &[0]].concat();
    assert_eq!(program.says(&longer), KERNELS);
}

/// On queue 0. A record of another worker goes to the kernel, whose steering finds its socket.
#[test]
fn a_record_of_another_worker_is_not_for_this_queue() {
    let (Some(alone), Some(three)) = (Program::of(1), Program::of(3)) else { return };
    for (from, to) in [V4, V6] {
        let record = |content_type: u8, worker: u8| {
            let mut payload = [0x5a; 40];
            (payload[0], payload[11]) = (content_type, worker);
            frame(from, to, &payload)
        };
        let says = |content_type, worker| three.says(&record(content_type, worker));
        assert_eq!([0, 1, 2, 3, 255].map(|w| says(25, w)), [OURS, KERNELS, KERNELS, OURS, OURS]);
        assert_eq!([20, 22, 23].map(|kind| says(kind, 1)), [OURS; 3], "no Connection ID");
        assert_eq!(alone.says(&record(25, 1)), OURS, "the only worker takes all");
    }
}
