//! How does a message get into a stream of NATS? By a publish that the stream confirms (JetStream's
//! PubAck); a subject that no stream takes is a failure.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, HeaderMap};
use bytes::Bytes;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::settings::NatsSettings;
use super::{Fault, causes, tls};
use crate::private_file;

/// One server.
pub(super) struct NatsOutlet {
    url: String,
    attempt: Duration,
    tls: rustls::ClientConfig,
    login: Login,
    connected: OnceCell<(Client, jetstream::Context)>,
}

enum Login {
    Nobody,
    Credentials(Zeroizing<String>),
    User(String, Zeroizing<String>),
    Token(Zeroizing<String>),
}

impl NatsOutlet {
    pub(super) fn open(settings: &NatsSettings, attempt: Duration) -> Result<Self, String> {
        let is_url = settings.url.starts_with("nats://") || settings.url.starts_with("tls://");
        if !is_url || settings.url.contains('@') {
            return Err(format!(
                "actions.nats: {} must be nats://host or tls://host",
                settings.name
            ));
        }
        let secret = |path: &std::path::Path| -> Result<_, String> {
            Ok(Zeroizing::new(private_file::read(path)?.trim().to_owned()))
        };
        let login = match (&settings.credentials_file, &settings.user, &settings.password_file) {
            (Some(path), None, None) => Login::Credentials(private_file::read(path)?),
            (None, Some(user), Some(path)) => Login::User(user.clone(), secret(path)?),
            (None, None, Some(path)) => Login::Token(secret(path)?),
            (None, None, None) => Login::Nobody,
            _ => {
                let name = &settings.name;
                return Err(format!(
                    "actions.nats: {name} takes credentials_file, or user and password_file"
                ));
            }
        };
        let tls = tls::client_config(settings.ca_file.as_deref())?;
        let url = settings.url.clone();
        Ok(Self { url, attempt, tls, login, connected: OnceCell::new() })
    }

    pub(super) async fn publish(
        &self,
        subject: &str,
        headers: &[(String, String)],
        payload: &Bytes,
    ) -> Result<(), Fault> {
        let connected = self.connected.get_or_try_init(|| self.connect()).await;
        let (client, stream) =
            connected.map_err(|error| Fault::passing(format!("NATS: {}", causes(&*error))))?;
        // Otherwise the client would keep it and send it whenever it is connected.
        if client.connection_state() != State::Connected {
            return Err(Fault::passing("NATS: not connected"));
        }
        let mut all = HeaderMap::new();
        for (key, value) in headers {
            all.append(key.as_str(), value.as_str());
        }
        let subject = subject.to_owned();
        let sent = stream.publish_with_headers(subject, all, payload.clone()).await;
        let kept = match sent {
            Ok(kept) => kept.await,
            Err(error) => Err(error),
        };
        kept.map(|_| ()).map_err(|error| Fault::passing(format!("NATS: {}", causes(&error))))
    }

    async fn connect(
        &self,
    ) -> Result<(Client, jetstream::Context), Box<dyn std::error::Error + Send + Sync>> {
        let options = match &self.login {
            Login::Nobody => ConnectOptions::new(),
            Login::Credentials(text) => ConnectOptions::with_credentials(text)?,
            Login::User(user, password) => {
                ConnectOptions::with_user_and_password(user.clone(), password.to_string())
            }
            Login::Token(token) => ConnectOptions::with_token(token.to_string()),
        };
        let options = options
            .name("tidegate")
            .require_tls(self.url.starts_with("tls://"))
            .tls_client_config(self.tls.clone())
            .connection_timeout(self.attempt);
        let client = options.connect(self.url.as_str()).await?;
        let context = ContextBuilder::new().timeout(self.attempt).ack_timeout(self.attempt);
        Ok((client.clone(), context.build(client)))
    }
}
