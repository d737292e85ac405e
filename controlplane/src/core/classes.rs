//! Which policies and quotas count for which device? Classes, numbered once, and the policy sheet
//! that says what they are.
//!
//! A class is whose device it is, by which profile, and with which policy of its own: thousands of
//! devices are in few of them. Its number goes with the credential and stays in the session; what
//! it stands for is on the sheet, which every worker gets when it is attached, when it says Hello,
//! and before anything that names a number it has not.
//!
//! A worker may know an older class of a device than the store does: a session that was resumed, an
//! order that was lost with a ring. Every uplink says by which class it was let through; when that
//! is not the device's, it is judged here, and the worker is told again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_coap::message::Message;
use tidegate_coap::option::Number;
use tidegate_ring::contract::{self, Kind, POLICIES_BYTES_MAX, Policies as Piece, TAIL_BYTES_MAX};
use tidegate_ring::policy::{self, CLASSES_MAX, Class, Item, POLICIES_MAX, Rate, Sheet};
use zerocopy::IntoBytes;

use super::{ByDevice, Core, LinkId, Now};
use crate::iam::directory::Directory;
use crate::iam::quota::Quota;
use crate::model::{ApplicationProfile, Device, DeviceId, ProfileId, Refused};
use crate::store::account::Account;
use crate::store::records::{self, Der, PolicyRecord, read};
use crate::store::{Store, StoreError, Table, Transaction, keys};

/// Bound: devices whose class is remembered; at the bound all are looked up anew.
const KNOWN_MAX: usize = 65_536;
const SCAN_ENTRIES: usize = 1_024;
/// Quotas of accounts are looked at this often, milliseconds.
const REFRESH_MS: u64 = 10_000;

/// What a class stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Content {
    /// Whose; `None`: the operator's own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<ProfileId>,
    /// The device's own policy, compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Compiled>,
}

/// A compiled policy; base64 as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Der", into = "Der")]
struct Compiled(Vec<u8>);

impl From<Der> for Compiled {
    fn from(der: Der) -> Self {
        Self(der.0)
    }
}

impl From<Compiled> for Der {
    fn from(compiled: Compiled) -> Self {
        Self(compiled.0)
    }
}

/// All classes.
pub(super) struct Classes {
    contents: Vec<Option<Content>>,
    numbers: HashMap<Content, u16>,
    known: ByDevice<u16>,
    /// What one device may send.
    device_rate: Rate,
    directory: Option<Arc<Directory>>,
    bytes: Vec<u8>,
    /// The same, to judge by.
    sheet: Sheet,
    generation: u64,
    refresh_ms: u64,
}

impl Classes {
    /// What the store remembers.
    pub(super) fn restore(
        store: &dyn Store,
        now: Now,
        device_rate: Rate,
    ) -> Result<Self, StoreError> {
        let mut classes = Self {
            contents: vec![Some(Content::default())],
            numbers: HashMap::from([(Content::default(), 0)]),
            known: ByDevice::default(),
            device_rate,
            directory: None,
            bytes: Vec::new(),
            sheet: Sheet::default(),
            generation: now.unix_ms,
            refresh_ms: now.ms,
        };
        for (key, value) in store.scan(Table::Policies, keys::CLASSES, None, CLASSES_MAX)? {
            let number = keys::class_number(&key).filter(|number| *number > 0);
            let content = records::decode::<Content>(&value, "class");
            if let (Some(number), Ok(content)) = (number, content) {
                classes.put(number, content);
            }
        }
        classes.make(store)?;
        Ok(classes)
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.refresh_ms
    }

    /// The class of a device, when there is one already; else 0, until its session is told.
    pub(super) fn find(&self, store: &dyn Store, device: DeviceId) -> u16 {
        let known = self.known.get(&device).copied();
        let find = || self.numbers.get(&content_of(store, device).ok()?).copied();
        known.or_else(find).unwrap_or(0)
    }

    fn put(&mut self, number: u16, content: Content) {
        let at = usize::from(number);
        if self.contents.len() <= at {
            self.contents.resize(at + 1, None);
        }
        self.numbers.insert(content.clone(), number);
        self.contents[at] = Some(content);
    }

    /// Writes the sheet anew. What does not fit is left out, and its devices wait: the facade
    /// accepts no more than fits.
    fn make(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let mut profiles: HashMap<ProfileId, Vec<u8>> = HashMap::new();
        for profile in self.contents.iter().flatten().filter_map(|c| c.profile) {
            let key = keys::policy_of_profile(profile);
            if let Some(record) = read::<PolicyRecord>(store, Table::Policies, &key)? {
                profiles.insert(profile, record.compiled.0);
            }
        }
        let mut told: HashMap<ProfileId, (u32, u32)> = HashMap::new();
        for content in self.contents.iter().flatten() {
            let Some(profile) = content.profile else { continue };
            let account = content.account.map_or(Account::ROOT, Account);
            let own = store.within(account);
            let own = own.as_deref().unwrap_or(store);
            let record = read::<ApplicationProfile>(own, Table::Profiles, &profile.0)?;
            let terms = record.map(|record| record.terms).unwrap_or_default();
            let or_own = |said: Option<u32>| said.unwrap_or(0);
            told.insert(profile, (or_own(terms.uplink_payload_bytes), or_own(terms.fresh_s)));
        }
        let own = self.contents.iter().flatten().filter_map(|c| c.policy.as_ref()).map(|p| &p.0);
        let policies: BTreeSet<&Vec<u8>> = own.chain(profiles.values()).collect();
        let policies: Vec<&Vec<u8>> = policies.into_iter().take(POLICIES_MAX).collect();
        let mut bytes = Vec::new();
        let written = policies.iter().take_while(|p| policy::write(&mut bytes, &Item::Policy(p)));
        let written = written.count();
        let number = |policy: &Vec<u8>| {
            let at = policies[..written].binary_search(&policy).ok()?;
            Some(at as u16 + 1)
        };
        let accounts: BTreeSet<_> = self.contents.iter().flatten().map(|c| c.account).collect();
        let limited = accounts.into_iter().map(|account| (account, self.rate_of(account)));
        let limited = limited.filter(|(_, rate)| rate.interval_us != 0);
        let limited: Vec<_> = limited.take(policy::ACCOUNTS_MAX).collect();
        for (_, rate) in &limited {
            policy::write(&mut bytes, &Item::Account(*rate));
        }
        for (at, content) in self.contents.iter().enumerate() {
            let Some(content) = content else { continue };
            let own = content.policy.as_ref().map_or(Some(0), |policy| number(&policy.0));
            let profile = content.profile.and_then(|profile| profiles.get(&profile));
            let (Some(own), Some(profile)) = (own, profile.map_or(Some(0), number)) else {
                continue;
            };
            let account =
                limited.binary_search_by_key(&content.account, |(account, _)| *account).ok();
            let account = account.map_or(0, |at| at as u16 + 1);
            let terms = content.profile.and_then(|profile| told.get(&profile).copied());
            let (body_bytes, fresh_s) = terms.unwrap_or_default();
            let device = self.device_rate;
            let class = Class { own, profile, account, device, body_bytes, fresh_s };
            policy::write(&mut bytes, &Item::Class(at as u16, class));
        }
        if bytes != self.bytes {
            self.sheet = Sheet::parse(&bytes).ok_or(StoreError::Corrupt("policy sheet"))?;
            self.bytes = bytes;
            self.generation += 1;
        }
        Ok(())
    }

    /// How many uplinks an account may send: what was set for it, else what the configuration has.
    fn rate_of(&self, account: Option<u64>) -> Rate {
        let account = account.map_or(Account::ROOT, Account);
        let quota = self.directory.as_ref().and_then(|directory| {
            let per_s = directory.quota(account, Quota::UplinksPerSecond)?;
            Some(per_s.clamp(1, 1_000_000) as u32)
        });
        quota.map_or_else(Rate::default, |per_s| Rate {
            interval_us: 1_000_000 / per_s,
            burst: per_s,
        })
    }

    /// A number nobody has; at the bound those go whose policy no device has any more.
    fn free(&mut self, store: &dyn Store) -> Result<Option<u16>, StoreError> {
        if let Some(at) = self.contents.iter().position(Option::is_none) {
            return Ok(Some(at as u16));
        }
        if self.contents.len() < CLASSES_MAX {
            return Ok(Some(self.contents.len() as u16));
        }
        let mut used = HashSet::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let prefix = keys::POLICIES_OF_DEVICES;
            let found = store.scan(Table::Policies, prefix, after.as_deref(), SCAN_ENTRIES)?;
            for (_, value) in &found {
                used.insert(records::decode::<PolicyRecord>(value, "policy")?.compiled.0);
            }
            match found.last() {
                Some((key, _)) if found.len() == SCAN_ENTRIES => after = Some(key.clone()),
                _ => break,
            }
        }
        for content in &mut self.contents {
            let policy = content.as_ref().and_then(|content| content.policy.as_ref());
            if policy.is_some_and(|policy| !used.contains(&policy.0)) {
                content.take().map(|content| self.numbers.remove(&content));
            }
        }
        Ok(self.contents.iter().position(Option::is_none).map(|at| at as u16))
    }
}

impl Core {
    /// For nobody: the same reads.
    pub(super) fn class_of_nobody(&self) -> Result<(), StoreError> {
        content_of(&*self.store, DeviceId::random()).map(|_| ())
    }

    /// Who knows the quotas of accounts.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.classes.directory = Some(directory);
        self.refresh_policies();
    }

    /// Quotas may have changed: an admin's order does not tell.
    pub(super) fn on_quotas_due(&mut self, now: Now) {
        if self.classes.refresh_ms <= now.ms {
            self.classes.refresh_ms = now.ms + REFRESH_MS;
            self.refresh_policies();
        }
    }

    fn refresh_policies(&mut self) {
        if let Err(error) = self.policies_changed() {
            tracing::error!(%error, "policies can't be read");
        }
    }

    /// The class of a device. A new one is on the sheet of every worker before this returns.
    pub(super) fn class_of(&mut self, device: DeviceId) -> Result<u16, StoreError> {
        if let Some(class) = self.classes.known.get(&device) {
            return Ok(*class);
        }
        let content = content_of(&*self.store, device)?;
        let number = match self.classes.numbers.get(&content) {
            Some(number) => *number,
            None => self.make_class(content)?,
        };
        if self.classes.known.len() >= KNOWN_MAX {
            self.classes.known.clear();
        }
        self.classes.known.insert(device, number);
        Ok(number)
    }

    fn make_class(&mut self, content: Content) -> Result<u16, StoreError> {
        let free = self.classes.free(&*self.store)?;
        let number = free.ok_or(StoreError::Failed("there are too many policies".to_owned()))?;
        let mut tx = Transaction::new();
        tx.put(Table::Policies, keys::class(number), records::encode(&content));
        tx.account = content.account.map(Account);
        self.classes.put(number, content);
        self.write(tx, None);
        self.policies_changed()?;
        Ok(number)
    }

    /// The sheet is made anew and sent, if it is another one.
    pub(super) fn policies_changed(&mut self) -> Result<(), StoreError> {
        let before = self.classes.generation;
        self.classes.make(&*self.store)?;
        if self.classes.generation != before {
            let links: Vec<_> = self.links.iter().map(|link| link.id).collect();
            for link in links {
                self.send_policies(link);
            }
        }
        Ok(())
    }

    /// The whole sheet.
    pub(super) fn send_policies(&mut self, link: LinkId) {
        let bytes = std::mem::take(&mut self.classes.bytes);
        let pieces = bytes.len().div_ceil(TAIL_BYTES_MAX).max(1);
        for at in 0..pieces {
            let offset = at * TAIL_BYTES_MAX;
            let body = &bytes[offset..bytes.len().min(offset + TAIL_BYTES_MAX)];
            let piece = Piece {
                generation: self.classes.generation.into(),
                offset: (offset as u32).into(),
                total: (bytes.len() as u32).into(),
            };
            self.post(link, Kind::Policies, &[piece.as_bytes(), body], None);
        }
        self.classes.bytes = bytes;
    }

    /// A device's policy, profile or owner may be another one.
    pub(super) fn reclass(&mut self, device: DeviceId) -> Result<(), StoreError> {
        let before = self.classes.known.remove(&device);
        let class = self.class_of(device)?;
        if before != Some(class) {
            self.tell_class(device, class);
        }
        Ok(())
    }

    /// The record of a device has changed: its profile may be another one.
    pub(super) fn reclass_known(&mut self, device: DeviceId) {
        // What the store can't say now is found at the next uplink.
        let _ = self.reclass(device);
    }

    pub(super) fn forget_class(&mut self, device: DeviceId) {
        self.classes.known.remove(&device);
    }

    fn tell_class(&mut self, device: DeviceId, class: u16) {
        let session = self.sessions.session(device).map_or(0, |session| session.0);
        let links: Vec<_> = self.links.iter().map(|link| link.id).collect();
        for link in links {
            let order =
                contract::Class { device: device.0, session: session.into(), class: class.into() };
            self.post(link, Kind::Class, &[order.as_bytes()], None);
        }
    }

    /// A worker knows the device in this class: was it told another one since?
    pub(super) fn check_class(&mut self, device: DeviceId, session: u64, told: u16) {
        if let Ok(class) = self.class_of(device)
            && class != told
            && let Some(link) = self.link_of_session(session)
        {
            let order =
                contract::Class { device: device.0, session: session.into(), class: class.into() };
            self.post(link, Kind::Class, &[order.as_bytes()], None);
        }
    }

    /// Whether an uplink that was let through by class `told` may be.
    pub(super) fn permits(&mut self, device: DeviceId, told: u16, request: &Message<'_>) -> bool {
        let Ok(class) = self.class_of(device) else { return false };
        if class == told {
            return true;
        }
        let Some(class) = self.classes.sheet.class(class) else { return false };
        let path = request.options.all(Number::URI_PATH);
        self.classes.sheet.allows(&class, &device.0, request.code.0, path)
    }

    /// Is there room for one more policy of so many bytes?
    pub(super) fn check_policy_fits(&self, bytes: usize) -> Result<(), Refused> {
        let classes = self.classes.contents.iter().flatten().count();
        let is_full = self.classes.bytes.len() + bytes + SPARE_BYTES > POLICIES_BYTES_MAX
            || classes >= CLASSES_MAX;
        if is_full {
            let message = "There are as many policies as there may be: no more are possible.";
            return Err(Refused::Limit { message: message.to_owned() });
        }
        Ok(())
    }

    fn link_of_session(&self, session: u64) -> Option<LinkId> {
        let worker = contract::SessionRef(session).worker();
        self.link_of_worker(worker).map(|link| link.id)
    }
}

fn content_of(store: &dyn Store, device: DeviceId) -> Result<Content, StoreError> {
    let key = keys::policy_of_device(device);
    let policy = read::<PolicyRecord>(store, Table::Policies, &key)?;
    let account = store.owner(device)?.filter(|owner| *owner != Account::ROOT).map(|owner| owner.0);
    let record = read::<Device>(store, Table::Devices, &device.0)?;
    let profile = record.and_then(|record| record.application_profile);
    Ok(Content { account, profile, policy: policy.map(|policy| Compiled(policy.compiled.0)) })
}

/// What a class and the heads of its items need on the sheet, bytes, and those of others that are
/// being made.
const SPARE_BYTES: usize = 4_096;
