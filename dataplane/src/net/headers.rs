//! What does the kernel read to send a datagram? A message header that points at a name, a piece of
//! memory and perhaps a source address; all of them live here, one set for each outbox slot.

use super::Ends;
use super::fixed::Fixed;
use super::name::{Control, Name};
use super::peer::Peer;

/// Message headers and what they point at.
///
/// *Invariant:* the pointers in `messages[i]` are null or lead to index `i` of the other arrays,
/// and `vectors[i]` to the bytes given to the last `set(i, …)`.
pub(super) struct SendHeaders {
    messages: Fixed<libc::mmsghdr>,
    names: Fixed<Name>,
    vectors: Fixed<libc::iovec>,
    controls: Fixed<Control>,
}

impl SendHeaders {
    pub(super) fn new(len: usize) -> Self {
        let nowhere = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self {
            messages: Fixed::new(empty_message(), len),
            names: Fixed::new(Name::EMPTY, len),
            vectors: Fixed::new(nowhere, len),
            controls: Fixed::new(Control::EMPTY, len),
        }
    }

    /// Makes header `index` say: these bytes, to `peer`, from the address it wrote to. False if its
    /// socket can't reach it.
    pub(super) fn set(&mut self, index: usize, peer: Peer, bytes: &[u8], ends: &Ends) -> bool {
        let Some(socket) = ends.sockets.get(usize::from(peer.socket())) else { return false };
        let Some(name) = Name::of(peer, socket.is_ipv6) else { return false };
        *self.names.get_mut(index) = name;
        *self.vectors.get_mut(index) =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let message = libc::msghdr {
            msg_name: self.names.pointer(index).cast(),
            msg_namelen: name.len(),
            msg_iov: self.vectors.pointer(index),
            msg_iovlen: 1,
            ..empty_message().msg_hdr
        };
        self.messages.get_mut(index).msg_hdr = message;
        if socket.is_wildcard
            && let Some(source) = ends.sources.address(peer.local())
        {
            self.leave_from(index, source, socket.is_ipv6);
        }
        true
    }

    fn leave_from(&mut self, index: usize, source: [u8; 16], is_ipv6: bool) {
        let is_mapped = std::net::Ipv6Addr::from(source).to_ipv4_mapped().is_some();
        if is_mapped != is_ipv6 {
            let (control, len) = Control::leave_from(source, is_ipv6);
            *self.controls.get_mut(index) = control;
            let message = &mut self.messages.get_mut(index).msg_hdr;
            message.msg_control = self.controls.pointer(index).cast();
            message.msg_controllen = len as _;
        }
    }

    /// Header `index` and all behind it, for sendmmsg.
    pub(super) fn messages_from(&mut self, index: usize) -> *mut libc::mmsghdr {
        self.messages.pointer(index)
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
