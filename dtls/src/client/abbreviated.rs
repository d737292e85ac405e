//! What does a client do when the server takes up the session it offered? (RFC 5246 section 7.3)
//!
//! No key exchange and no certificate: the old master secret and two new randoms make the keys.
//! The server's Finished comes first, and ours is the last message of all.

use tidegate_crypto::secret::equal;

use super::hello::Chosen;
use super::{Client, Session, State, hear};
use crate::association::{Association, Message};
use crate::failure::Failure;
use crate::handshake::MessageType;
use crate::key_schedule::Role;

impl Client {
    /// The ServerHello named the session.
    pub(super) fn resume(
        &mut self,
        association: &mut Association,
        now_ms: u64,
        chosen: &Chosen,
        session: Session,
    ) -> Result<(), Failure> {
        let master = session.resumable.master().ok_or(Failure::Illegal)?;
        association.max_fragment_length = session.resumable.max_fragment_length();
        let keys = self.established(association, chosen, &master);
        self.session = Some(session);
        self.is_resumed = true;
        self.state = State::FinishedFirst { master };
        association.install_keys(self, now_ms, keys);
        Ok(())
    }

    /// Flight 3 of an abbreviated handshake: sent once here, and again by the session.
    pub(super) fn on_finished_first(
        &mut self,
        association: &mut Association,
        message: Message<'_>,
    ) -> Result<(), Failure> {
        let State::FinishedFirst { master } = &self.state else {
            return Err(Failure::UnexpectedMessage);
        };
        let expected = master.verify_data(Role::Server, &association.transcript);
        if !equal(&expected, message.body) {
            return Err(Failure::Finished);
        }
        let master = master.clone();
        hear(association, message);
        let verify_data = master.verify_data(Role::Client, &association.transcript);
        let message_seq = association.number_message(MessageType::FINISHED, &verify_data);
        association.succeed_with_last_flight(verify_data, message_seq);
        Ok(())
    }
}
