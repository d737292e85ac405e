//! What happens where io_uring is forbidden, as in many containers? `auto` serves with recvmmsg and
//! says why; `io_uring` is an error, not a surprise.
//!
//! A seccomp filter on the test's own thread forbids io_uring_setup, as Docker's default does.
#![allow(clippy::unwrap_used, unsafe_code)]

mod net_rig;

use net_rig::{Rig, client, hear};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use tidegate_dataplane::config::{Backend, Config};
use tidegate_dataplane::net::Net;

#[test]
fn auto_falls_back_to_mmsg_and_says_why() {
    without_io_uring(|| {
        let mut rig = Rig::open(Backend::Auto, &["127.0.0.1:0"]);
        assert!(rig.net.describe().starts_with("mmsg (no io_uring: "), "{}", rig.net.describe());
        let client = client(rig.addresses[0]);
        client.send(b"hello").unwrap();
        let one = rig.receive(1).remove(0);
        rig.post(one.peer, &one.bytes);
        rig.flush();
        assert_eq!(hear(&client), b"hello");
    });
}

#[test]
fn io_uring_by_name_is_an_error() {
    without_io_uring(|| {
        let mut config =
            Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
        config.net.backend = Backend::IoUring;
        let refused = Net::open(&config, 0, net_rig::bell().as_fd()).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    });
}

/// The control: without the filter the first choice serves.
#[test]
fn auto_takes_io_uring_where_it_can() {
    if net_rig::has_io_uring() {
        let rig = Rig::open(Backend::Auto, &["127.0.0.1:0"]);
        assert!(rig.net.describe().starts_with("io_uring"), "{}", rig.net.describe());
    }
}

/// Tells the story on a thread that may not set up an io_uring.
fn without_io_uring(story: fn()) {
    let told = std::thread::spawn(move || {
        forbid_io_uring();
        story();
    });
    told.join().unwrap();
}

/// A filter of system calls for this thread and its children; it goes with the thread.
fn forbid_io_uring() {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = libc::SYS_io_uring_setup as u32;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    // Load the system call's number; if it is the one, refuse, else allow.
    let mut filter = [
        step(0x20, 0, 0, 0),
        step(0x15, 0, 1, number),
        step(0x06, 0, 0, refuse),
        step(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: takes integers only.
    let no_new = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the kernel copies the program, which outlives the call.
    let filtered = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!((no_new, filtered), (0, 0), "{}", std::io::Error::last_os_error());
}
