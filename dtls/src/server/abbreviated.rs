//! How is an earlier session resumed? (RFC 5246 section 7.3, RFC 7627 section 5.3, RFC 9146
//! section 3)
//!
//! ```text
//!   client                                     server
//!   ClientHello + cookie   ───────▶                            with the session's id
//!                          ◀───────  ServerHello               with the same
//!                          ◀───────  [ChangeCipherSpec] Finished           flight 2, by timer
//!   [ChangeCipherSpec]     ───────▶
//!   Finished               ───────▶                            Event::Established
//! ```
//!
//! Same master secret and suite, new randoms, new keys, new Connection IDs. Whether it happens is
//! decided by [`Resumable::decide`]; if not, the same ClientHello begins a full handshake. The last
//! flight is the client's: it repeats it when it hears flight 2 again.

use super::negotiation::Terms;
use super::{Server, State, hear};
use crate::association::{Association, Message};
use crate::established::Established;
use crate::handshake::MessageType;
use crate::hello::{ClientHello, ServerHello};
use crate::key_schedule::Role;
use crate::resumption::Resumable;

impl Server {
    /// Flight 2.
    pub(super) fn resume(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        message: Message<'_>,
        hello: &ClientHello<'_>,
        terms: Terms,
        earlier: &Resumable,
    ) {
        let (suite, master) = earlier.suite().zip(earlier.master()).expect("decided to resume it");
        let terms = terms.with(suite);
        association.own_cid = terms.own_cid(&self.own_cid).to_vec();
        association.transcript.choose(suite.hash());
        hear(association, message);
        let mut body = Vec::with_capacity(200);
        let extensions = terms.answer(&self.own_cid);
        ServerHello::new(&self.random, hello.head.session_id, suite, extensions).write(&mut body);
        association.send(MessageType::SERVER_HELLO, &body);

        let block = self.key_block(suite, &master);
        let keys = Established::new(&terms.negotiated(suite), &block, Role::Server);
        let verify_data = master.verify_data(Role::Server, &association.transcript);
        let message_seq = association.number_message(MessageType::FINISHED, &verify_data);
        association.flight.push_change_cipher_spec();
        association.flight.push_protected(MessageType::FINISHED, message_seq, &verify_data);
        association.retransmission.start(now_ms);
        self.state = State::Finished { suite, terms, master, claim: None };
        association.install_keys(self, now_ms, keys);
    }
}
