//! What does the kernel read to send datagrams? A message header that points at a name, at one
//! piece of memory for each datagram of a run, and perhaps at control messages; all of them live
//! here, one set for each outbox slot.

use super::Ends;
use super::batch::Run;
use super::fixed::Fixed;
use super::name::{Name, Orders};

/// Message headers and what they point at.
///
/// *Invariant:* the pointers in `messages[i]` are null or lead to index `i` of `names` and `orders`
/// and to as many of `vectors` as the run of the last `set(i, …)` had datagrams; those lead to
/// them.
pub(super) struct SendHeaders {
    messages: Fixed<libc::mmsghdr>,
    names: Fixed<Name>,
    vectors: Fixed<libc::iovec>,
    orders: Fixed<Orders>,
}

impl SendHeaders {
    pub(super) fn new(len: usize) -> Self {
        let nowhere = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self {
            messages: Fixed::new(empty_message(), len),
            names: Fixed::new(Name::EMPTY, len),
            vectors: Fixed::new(nowhere, len),
            orders: Fixed::new(Orders::NONE, len),
        }
    }

    /// Makes header `index` say: these datagrams, to their peer, from the address it wrote to.
    /// Their places are kept from index `at` on. False if the peer's socket can't reach it.
    pub(super) fn set(&mut self, index: usize, at: usize, run: &Run<'_>, ends: &Ends) -> bool {
        let Some(socket) = ends.sockets.get(usize::from(run.peer.socket())) else { return false };
        let Some(name) = Name::of(run.peer, socket.is_ipv6) else { return false };
        *self.names.get_mut(index) = name;
        for (offset, bytes) in run.datagrams().enumerate() {
            *self.vectors.get_mut(at + offset) =
                libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        }
        let message = libc::msghdr {
            msg_name: self.names.pointer(index).cast(),
            msg_namelen: name.len(),
            msg_iov: self.vectors.pointer(at),
            msg_iovlen: run.count as _,
            ..empty_message().msg_hdr
        };
        self.messages.get_mut(index).msg_hdr = message;
        let source = if socket.is_wildcard { ends.sources.address(run.peer.local()) } else { None };
        let source = source.filter(|source| {
            std::net::Ipv6Addr::from(*source).to_ipv4_mapped().is_some() != socket.is_ipv6
        });
        if source.is_some() || run.count > 1 {
            self.order(index, source, socket.is_ipv6, run);
        }
        true
    }

    fn order(&mut self, index: usize, source: Option<[u8; 16]>, is_ipv6: bool, run: &Run<'_>) {
        let mut orders = Orders::NONE;
        if let Some(source) = source {
            orders.leave_from(source, is_ipv6);
        }
        if run.count > 1 {
            orders.cut_every(run.each_bytes);
        }
        *self.orders.get_mut(index) = orders;
        let message = &mut self.messages.get_mut(index).msg_hdr;
        message.msg_control = self.orders.pointer(index).cast();
        message.msg_controllen = orders.len() as _;
    }

    /// Header `index` and all behind it, for sendmmsg.
    pub(super) fn messages_from(&mut self, index: usize) -> *mut libc::mmsghdr {
        self.messages.pointer(index)
    }

    /// How many datagrams header `index` has.
    pub(super) fn count(&self, index: usize) -> usize {
        self.message(index).msg_iovlen
    }

    /// Header `index`.
    pub(super) fn message(&self, index: usize) -> &libc::msghdr {
        &self.messages.get(index).msg_hdr
    }
}

/// A header that points nowhere.
pub(super) const fn empty_message() -> libc::mmsghdr {
    let msg_hdr = libc::msghdr {
        msg_name: std::ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: std::ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: std::ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    };
    libc::mmsghdr { msg_hdr, msg_len: 0 }
}
