//! What did the sockets go through? Every anomaly has a counter; none is logged or fatal.

use super::batch::Run;
use std::io;

/// Counts since the worker's sockets were opened. `u64`, never reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams handed to the worker, whole or not.
    pub received: u64,
    /// Their payload bytes, as far as they fit.
    pub received_bytes: u64,
    /// Of `received`: longer than `DATAGRAM_BYTES_MAX`; only the beginning was handed on.
    pub truncated: u64,
    /// Of `received`: without a single byte.
    pub zero_length: u64,
    /// Receives that failed for another reason than those below.
    pub receive_errors: u64,
    /// Datagrams the kernel dropped because a receive buffer was full: of those we know, or of
    /// plain CoAP.
    pub kernel_drops: u64,
    /// The same of strangers: handshakes, and what is none.
    pub stranger_drops: u64,
    /// io_uring: a multishot receive or poll ended and was begun again.
    pub rearms: u64,
    /// io_uring: the kernel found no free receive buffer; datagrams waited in the socket.
    pub buffers_exhausted: u64,
    /// io_uring: completions outran the completion queue (none was lost).
    pub completion_overflows: u64,
    /// Datagrams offered to the kernel.
    pub sent: u64,
    /// Their payload bytes.
    pub sent_bytes: u64,
    /// Of `sent`: those that left in one call with the one before, to the same peer.
    pub joined: u64,
    /// Of `sent`: refused by the kernel, and why.
    pub send_errors: SendErrors,
    /// Waits that ended by the bell.
    pub bells: u64,
    /// Waits that entered the kernel ready to sleep.
    pub sleeps: u64,
    /// Waits that slept for a moment under load, to find more.
    pub gathers: u64,
    /// Waits that found something while spinning, before they went to sleep.
    pub spins_paid: u64,
    /// The bell's descriptor broke (end of file, error) and is no longer watched.
    pub bells_lost: u64,
    /// xdp, of `received`: those that came in frames, past the kernel's network stack.
    pub xdp_received: u64,
    /// xdp, of `sent`: those that left in frames.
    pub xdp_sent: u64,
    /// xdp: frames with wrong lengths or checksums, which nobody hears of.
    pub xdp_malformed: u64,
    /// xdp: the interface went away; the ordinary sockets serve alone.
    pub interfaces_lost: u64,
}

/// Datagrams the kernel did not take, by reason. They are lost, as any datagram may be: what is
/// confirmable is sent again by its own timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendErrors {
    /// The send buffer or the kernel's memory was full (EAGAIN, ENOBUFS, ENOMEM).
    pub full: u64,
    /// No route, host or network down, or an ICMP error reported late (EHOSTUNREACH,
    /// ENETUNREACH, ENETDOWN, ECONNREFUSED …).
    pub unreachable: u64,
    /// Forbidden by a local firewall rule, or a broadcast address (EPERM, EACCES).
    pub forbidden: u64,
    /// Longer than the path takes (EMSGSIZE).
    pub too_long: u64,
    /// The peer belongs to a socket that this configuration no longer has.
    pub no_socket: u64,
    /// Anything else.
    pub other: u64,
}

impl SendErrors {
    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.full + self.unreachable + self.forbidden + self.too_long + self.no_socket + self.other
    }

    pub(super) fn count(&mut self, errno: i32, datagrams: usize) {
        let counter = match errno {
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => &mut self.full,
            libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ECONNREFUSED
            | libc::ECONNRESET
            | libc::EADDRNOTAVAIL
            | libc::ENODEV => &mut self.unreachable,
            libc::EPERM | libc::EACCES => &mut self.forbidden,
            libc::EMSGSIZE => &mut self.too_long,
            _ => &mut self.other,
        };
        *counter += datagrams as u64;
    }
}

impl Stats {
    pub(super) fn on_received(&mut self, bytes: usize, truncated: bool) {
        self.received += 1;
        self.received_bytes += bytes as u64;
        self.truncated += u64::from(truncated);
        self.zero_length += u64::from(bytes == 0);
    }

    pub(super) fn on_sent(&mut self, bytes: usize) {
        self.sent += 1;
        self.sent_bytes += bytes as u64;
    }

    pub(super) fn on_run_sent(&mut self, run: &Run<'_>) {
        run.datagrams().for_each(|bytes| self.on_sent(bytes.len()));
        self.joined += run.count as u64 - 1;
    }

    pub(super) fn on_send_error(&mut self, error: &io::Error, datagrams: usize) {
        self.send_errors.count(error.raw_os_error().unwrap_or(0), datagrams);
    }

    /// Name and value of every counter, for metrics.
    pub fn named(&self) -> [(&'static str, u64); 28] {
        [
            ("received", self.received),
            ("received_bytes", self.received_bytes),
            ("truncated", self.truncated),
            ("zero_length", self.zero_length),
            ("receive_errors", self.receive_errors),
            ("kernel_drops", self.kernel_drops),
            ("stranger_drops", self.stranger_drops),
            ("rearms", self.rearms),
            ("buffers_exhausted", self.buffers_exhausted),
            ("completion_overflows", self.completion_overflows),
            ("sent", self.sent),
            ("sent_bytes", self.sent_bytes),
            ("joined", self.joined),
            ("send_full", self.send_errors.full),
            ("send_unreachable", self.send_errors.unreachable),
            ("send_forbidden", self.send_errors.forbidden),
            ("send_too_long", self.send_errors.too_long),
            ("send_no_socket", self.send_errors.no_socket),
            ("send_other", self.send_errors.other),
            ("bells", self.bells),
            ("sleeps", self.sleeps),
            ("gathers", self.gathers),
            ("spins_paid", self.spins_paid),
            ("bells_lost", self.bells_lost),
            ("xdp_received", self.xdp_received),
            ("xdp_sent", self.xdp_sent),
            ("xdp_malformed", self.xdp_malformed),
            ("interfaces_lost", self.interfaces_lost),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_exactly_one_reason() {
        let mut errors = SendErrors::default();
        let errnos = [libc::EAGAIN, libc::ENETUNREACH, libc::EPERM, libc::EMSGSIZE, libc::EINVAL];
        for (times, errno) in errnos.into_iter().enumerate() {
            (0..=times).for_each(|_| errors.count(errno, 1));
        }
        let SendErrors { full, unreachable, forbidden, too_long, no_socket, other } = errors;
        assert_eq!([full, unreachable, forbidden, too_long, no_socket, other], [1, 2, 3, 4, 0, 5]);
        assert_eq!(errors.total(), 15);
    }
}
