//! How is a long list read? Page by page, each naming the key the next one starts behind.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Control;
use super::draft::refuse;
use crate::model::{Page, PageRequest, Refused};
use crate::store::{Entry, StoreError, Table};

const ITEMS_DEFAULT: usize = 50;
const ITEMS_MAX: usize = 250;

impl Control {
    /// One page of the entries under `prefix`; `read` makes an item of an entry, or skips it.
    pub(super) fn page<T>(
        &self,
        table: Table,
        prefix: &[u8],
        request: &PageRequest,
        mut read: impl FnMut(Entry) -> Result<Option<T>, StoreError>,
    ) -> Result<Page<T>, Refused> {
        let items_max = items_max(request)?;
        let mut after = after(request)?;
        let mut items = Vec::new();
        loop {
            // One more than wanted: is there a next page?
            let wanted = items_max + 1 - items.len();
            let found = self.held.store.scan(table, prefix, after.as_deref(), wanted);
            let found = found.map_err(refuse)?;
            let is_last = found.len() < wanted;
            for entry in found {
                if items.len() == items_max {
                    let next = after.as_ref().map(|after| URL_SAFE_NO_PAD.encode(after));
                    return Ok(Page { items, next });
                }
                after = Some(entry.0.clone());
                items.extend(read(entry).map_err(refuse)?);
            }
            if is_last {
                return Ok(Page { items, next: None });
            }
        }
    }
}

fn items_max(request: &PageRequest) -> Result<usize, Refused> {
    match request.items_max {
        None | Some(0) => Ok(ITEMS_DEFAULT),
        Some(items) if items <= ITEMS_MAX => Ok(items),
        Some(_) => Err(Refused::invalid(
            "maxResults",
            format!("Member must have value less than or equal to {ITEMS_MAX}"),
        )),
    }
}

fn after(request: &PageRequest) -> Result<Option<Vec<u8>>, Refused> {
    let decode = |next: &String| {
        let decoded = URL_SAFE_NO_PAD.decode(next);
        decoded
            .map_err(|_| Refused::invalid("nextToken", "Member must be a NextToken of this list"))
    };
    request.next.as_ref().map(decode).transpose()
}
