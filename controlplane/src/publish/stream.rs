//! How are uplinks read without a broker? From a durable stream in the store, by cursor.
//!
//! A publish is confirmed when its entry is synced. An entry is
//! `unix_ms:8 | topic length:2 | topic | JSON`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::stream;
use tokio::sync::watch;

use super::{Publisher, Said, Tell};
use crate::control::UplinkStream;
use crate::core::{PublishId, PublishResult};
use crate::model::{Refused, StreamedUplink};
use crate::store::account::Account;
use crate::store::{Receipt, Store, StoreError, Table, Transaction};

/// Publishes to the stream of `store`.
pub struct StreamPublisher {
    store: Arc<dyn Store>,
    newest: watch::Sender<u64>,
    tell: Tell,
}

/// Reads the stream; any number of readers, each at its own pace.
#[derive(Clone)]
pub struct StreamReader {
    store: Arc<dyn Store>,
    newest: watch::Receiver<u64>,
}

/// Entries read at a time.
const PAGE_ENTRIES: usize = 64;

/// The two ends of the stream of `store`. The publisher is up from the start.
pub fn open(
    store: Arc<dyn Store>,
    tell: Tell,
) -> Result<(StreamPublisher, StreamReader), StoreError> {
    let ledger = store.get(Table::Meta, crate::store::rocks::LEDGER_KEY)?;
    let ledger = ledger.map(|bytes| crate::store::stream::Ledger::decode(&bytes)).transpose()?;
    let (newest, seen) = watch::channel(ledger.unwrap_or_default().last);
    tell(Said::Up(true));
    let reader = StreamReader { store: store.clone(), newest: seen };
    Ok((StreamPublisher { store, newest, tell }, reader))
}

impl Publisher for StreamPublisher {
    fn publish(&mut self, id: PublishId, account: Account, topic: Arc<str>, payload: Vec<u8>) {
        let mut tx = Transaction { account: Some(account), ..Transaction::new() };
        tx.append(encode(now_unix_ms(), &topic, &payload));
        let (newest, tell) = (self.newest.clone(), self.tell.clone());
        let done = move |result: Result<Receipt, StoreError>| {
            let result = match result {
                Ok(receipt) => {
                    newest.send_if_modified(|newest| {
                        let cursor = receipt.cursor.unwrap_or(*newest);
                        std::mem::replace(newest, cursor.max(*newest)) < cursor
                    });
                    PublishResult::Confirmed
                }
                Err(_) => PublishResult::Unavailable,
            };
            tell(Said::Published(id, result));
        };
        self.store.submit(tx, Box::new(done));
    }

    fn abandon(&mut self, _: PublishId) {}
}

impl StreamReader {
    /// The uplinks after cursor `after`; `None`: only those to come. What was trimmed is skipped.
    pub fn uplinks(&self, after: Option<u64>) -> UplinkStream {
        let mut reader = self.clone();
        let after = after.unwrap_or_else(|| *reader.newest.borrow_and_update());
        let start = (reader, after, Vec::new().into_iter());
        Box::pin(stream::unfold(Some(start), |state| async move {
            let (mut reader, mut after, mut page) = state?;
            loop {
                if let Some(uplink) = page.next() {
                    let uplink: StreamedUplink = uplink;
                    after = uplink.cursor;
                    return Some((Ok(uplink), Some((reader, after, page))));
                }
                // Seen before it is read: what is appended meanwhile wakes us again.
                reader.newest.borrow_and_update();
                let Ok(found) = reader.page(after) else {
                    let message = "the uplink stream can't be read".to_owned();
                    return Some((Err(Refused::Internal { message }), None));
                };
                page = found.into_iter();
                if page.len() == 0 && reader.newest.changed().await.is_err() {
                    return None;
                }
            }
        }))
    }

    /// The same, of what `store` shows.
    #[must_use]
    pub fn over(&self, store: Arc<dyn Store>) -> Self {
        Self { store, newest: self.newest.clone() }
    }

    fn page(&self, after: u64) -> Result<Vec<StreamedUplink>, StoreError> {
        let found =
            self.store.scan(Table::Stream, &[], Some(&after.to_be_bytes()), PAGE_ENTRIES)?;
        found.iter().map(|(key, value)| decode(key, value)).collect()
    }
}

fn encode(unix_ms: u64, topic: &str, json: &[u8]) -> Vec<u8> {
    let topic_len = u16::try_from(topic.len()).expect("Bound: expressions have 2048 characters");
    [&unix_ms.to_be_bytes()[..], &topic_len.to_be_bytes(), topic.as_bytes(), json].concat()
}

fn decode(key: &[u8], value: &[u8]) -> Result<StreamedUplink, StoreError> {
    let parts = || {
        let cursor = u64::from_be_bytes(key.try_into().ok()?);
        let (topic_len, rest) = value.get(8..)?.split_first_chunk::<2>()?;
        let (topic, json) = rest.split_at_checked(u16::from_be_bytes(*topic_len).into())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(StreamedUplink { cursor, topic: text(topic)?, json: text(json)? })
    };
    parts().ok_or(StoreError::Corrupt("stream entry"))
}

fn now_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
