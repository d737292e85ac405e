//! Which devices are there? Create, find, list, change, delete.

use tidegate_crypto::cookie::CookieKey;
use tidegate_ring::trust::NOSEC_MAX;
use zeroize::Zeroizing;

use super::Control;
use super::draft::{Committed, Draft, TRIES_MAX, contended, refuse};
use super::network_block::{Door, Wanted, changes_credentials};
use super::profiles::profile_id;
use super::things::thing_name;
use super::validate::{self, required};
use crate::core::{Reply, Request};
use crate::edge::TOKEN_WINDOW_MS;
use crate::model::{
    Device, DeviceChange, DeviceFilter, DeviceId, DeviceKey, DeviceSummary, Network, NetworkBlock,
    NewDevice, NewNetwork, Page, PageRequest, ProfileId, Refused, ResourceType, SourceAddress,
};
use crate::store::records::{self, Identity, TokenUse, read};
use crate::store::{Guard, StoreError, Table, keys, names};

const OPERATION: &str = "CreateWirelessDevice";

impl Control {
    /// Creates a device. `token` is the ClientRequestToken: the same token with the same
    /// parameters within 10 minutes gives the same device, with others a Conflict.
    pub async fn create_device(
        &self,
        new: NewDevice,
        token: Option<&str>,
    ) -> Result<Device, Refused> {
        let parameters = parameters_of_device(self.held.vault.tokens(), &new);
        for _ in 0..TRIES_MAX {
            let mut draft = Draft::default();
            let id = DeviceId::random();
            let made =
                self.use_token(&mut draft, OPERATION, token, &parameters, &id.to_string())?;
            let made = made.and_then(|made| made.parse::<DeviceId>().ok());
            if let Some(made) = made.map(|made| self.read_device(made)) {
                return made;
            }
            let device = self.draft_device(&mut draft, id, &new)?;
            if let Committed::Done = self.commit(draft).await? {
                self.ask(Request::DeviceCreated { device: id }).await?;
                return Ok(device);
            }
        }
        Err(contended())
    }

    /// Everything that makes a device.
    pub(super) fn draft_device(
        &self,
        draft: &mut Draft,
        id: DeviceId,
        new: &NewDevice,
    ) -> Result<Device, Refused> {
        check_new(new)?;
        let blocks = wanted(Door::Create, new.cellular.as_ref(), new.wifi.as_ref())?;
        let profile = new.application_profile.as_deref().map(profile_id).transpose()?;
        let mut device = Device {
            id,
            name: new.name.clone(),
            description: new.description.clone(),
            destination: new.destination.clone(),
            cellular: None,
            wifi: None,
            positioning: new.positioning.clone(),
            application_profile: profile,
            thing_arn: None,
            tags: new.tags.clone(),
            created_unix_ms: now_unix_ms(),
        };
        for (network, block) in &blocks {
            let block = self.draft_block(draft, id, *network, None, block)?;
            *block_of(&mut device, *network) = Some(block);
        }
        self.draft_names(draft, None, &device)?;
        draft_destination(draft, &device.destination);
        draft.tx.put(Table::Index, keys::user_of(&device.destination, id), []);
        draft_profile(draft, id, None, profile);
        draft.tx.put(Table::Devices, id.0, records::encode(&device));
        Ok(device)
    }

    /// Finds one device.
    pub async fn device(&self, key: DeviceKey) -> Result<Device, Refused> {
        let (found, asked) = match &key {
            DeviceKey::Id(text) => (text.parse().ok(), text),
            DeviceKey::Imei(text) => (self.by_hardware(Network::Cellular, text)?, text),
            DeviceKey::MacAddress(text) => {
                let canonical = validate::mac_address("Identifier", text)?;
                (self.by_hardware(Network::WiFi, &canonical)?, text)
            }
            DeviceKey::Identity(text) => {
                let stored = self.held.store.get(Table::Identities, text.as_bytes());
                let stored = stored.map_err(refuse)?;
                let identity = stored.map(|stored| Identity::decode(&stored)).transpose();
                (identity.map_err(refuse)?.map(|identity| identity.device), text)
            }
            DeviceKey::Thing(name) => (self.indexed(&keys::thing(name))?, name),
        };
        let missing = || Refused::not_found(ResourceType::WirelessDevice, asked);
        let device = found.map(|id| self.read_device(id)).ok_or_else(missing)?;
        std::future::ready(device.map_err(|refused| match refused {
            Refused::NotFound { .. } => missing(),
            other => other,
        }))
        .await
    }

    /// Lists devices in id order.
    pub async fn devices(
        &self,
        filter: DeviceFilter,
        page: PageRequest,
    ) -> Result<Page<DeviceSummary>, Refused> {
        let profile = filter.application_profile.as_deref().map(str::parse::<ProfileId>);
        let profile = profile.map(Result::ok);
        let users = match (&filter.destination, profile) {
            // No device refers to what is no id.
            (_, Some(None)) => return Ok(Page { items: Vec::new(), next: None }),
            (Some(destination), _) => Some(keys::users_of(destination)),
            (None, Some(Some(profile))) => Some(keys::profile_users_of(profile)),
            (None, None) => None,
        };
        let profile = profile.flatten();
        let is_wanted =
            |device: &Device| profile.is_none() || device.application_profile == profile;
        let found = match users {
            None => self.page(Table::Devices, &[], &page, |(_, value)| {
                records::decode::<Device>(&value, "device").map(Some)
            })?,
            Some(prefix) => self.page(Table::Index, &prefix, &page, |(key, _)| {
                let id = key[prefix.len()..].try_into();
                let id = id.map_err(|_| StoreError::Corrupt("index"))?;
                let device = read::<Device>(&*self.held.store, Table::Devices, id)?;
                Ok(device.filter(is_wanted))
            })?,
        };
        let devices = found.items.iter().map(|device| device.id).collect();
        let last = match self.held.edge.ask(Request::LastUplinks { devices }).await? {
            Reply::LastUplinks(last) => last,
            _ => Vec::new(),
        };
        let last = last.into_iter().chain(std::iter::repeat(None));
        let items = found.items.into_iter().zip(last);
        let items = items
            .map(|(device, last_uplink_unix_ms)| DeviceSummary { device, last_uplink_unix_ms });
        Ok(Page { items: items.collect(), next: found.next })
    }

    /// When a device last sent something, Unix milliseconds.
    pub async fn last_uplink(&self, id: &str) -> Result<Option<u64>, Refused> {
        let id = device_id(id)?;
        self.read_device(id)?;
        match self.held.edge.ask(Request::LastUplinks { devices: vec![id] }).await? {
            Reply::LastUplinks(last) => Ok(last.into_iter().next().flatten()),
            _ => Ok(None),
        }
    }

    /// Changes a device; when a credential or mode changes, its sessions end.
    pub async fn update_device(&self, id: &str, change: DeviceChange) -> Result<(), Refused> {
        check_change(&change)?;
        let blocks = wanted(Door::Update, change.cellular.as_ref(), change.wifi.as_ref())?;
        let id = device_id(id)?;
        let profile = change.application_profile.as_deref();
        let profile = profile
            .map(|text| if text.is_empty() { Ok(None) } else { profile_id(text).map(Some) })
            .transpose()?;
        for _ in 0..TRIES_MAX {
            let raw = self.raw_device(id)?;
            let mut device: Device = records::decode(&raw, "device").map_err(refuse)?;
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Devices, id.0.to_vec(), raw));
            let before = device.clone();
            for (network, block) in &blocks {
                let was = block_of(&mut device, *network).take();
                let after = self.draft_block(&mut draft, id, *network, was.as_ref(), block)?;
                *block_of(&mut device, *network) = Some(after);
            }
            let credentials = blocks.iter().any(|(_, block)| block.secret.is_some())
                || changes_credentials(before.cellular.as_ref(), device.cellular.as_ref())
                || changes_credentials(before.wifi.as_ref(), device.wifi.as_ref());
            if credentials {
                self.draft_names(&mut draft, Some(&before), &device)?;
            }
            if let Some(destination) = &change.destination {
                draft.tx.delete(Table::Index, keys::user_of(&device.destination, id));
                device.destination.clone_from(destination);
                draft_destination(&mut draft, destination);
                draft.tx.put(Table::Index, keys::user_of(destination, id), []);
            }
            if let Some(profile) = profile {
                draft_profile(&mut draft, id, device.application_profile, profile);
                device.application_profile = profile;
            }
            device.name = change.name.clone().or(device.name);
            device.description = change.description.clone().or(device.description);
            device.positioning = change.positioning.clone().or(device.positioning);
            draft.tx.put(Table::Devices, id.0, records::encode(&device));
            if let Committed::Done = self.commit(draft).await? {
                return self.ask(Request::DeviceChanged { device: id, credentials }).await;
            }
        }
        Err(contended())
    }

    /// Deletes a device, its queue and its sessions.
    pub async fn delete_device(&self, id: &str) -> Result<(), Refused> {
        let id = device_id(id)?;
        for _ in 0..TRIES_MAX {
            let raw = self.raw_device(id)?;
            let device: Device = records::decode(&raw, "device").map_err(refuse)?;
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Devices, id.0.to_vec(), raw));
            let blocks = [(Network::Cellular, &device.cellular), (Network::WiFi, &device.wifi)];
            for (network, block) in blocks {
                let Some(block) = block else { continue };
                if let Some(hardware) = &block.hardware {
                    draft.tx.delete(Table::Index, keys::hardware(network, hardware));
                }
                if let Some(identity) = &block.identity {
                    draft.tx.delete(Table::Identities, identity.as_bytes());
                }
            }
            draft.tx.delete(Table::Index, keys::user_of(&device.destination, id));
            draft_profile(&mut draft, id, device.application_profile, None);
            if let Some(thing) = device.thing_arn.as_deref().and_then(thing_name) {
                draft.tx.delete(Table::Index, keys::thing(thing));
            }
            draft.replaces(Some(&device), None);
            draft.tx.delete(Table::Devices, id.0);
            draft.tx.delete(Table::Policies, keys::policy_of_device(id));
            if let Committed::Done = self.commit(draft).await? {
                return self.ask(Request::DeviceDeleted { device: id }).await;
            }
        }
        Err(contended())
    }

    /// Adds a block's records to the draft, and takes those of the block before it out.
    fn draft_block(
        &self,
        draft: &mut Draft,
        id: DeviceId,
        network: Network,
        before: Option<&NetworkBlock>,
        wanted: &Wanted,
    ) -> Result<NetworkBlock, Refused> {
        let after = wanted.upon(before)?;
        let old = before.and_then(|before| before.hardware.as_ref());
        if after.hardware.as_ref() != old {
            if let Some(hardware) = &after.hardware {
                let key = keys::hardware(network, hardware);
                let taken = in_the_way("Another device has this hardware address.");
                draft.or_refuse(Guard::Absent(Table::Index, key.clone()), taken);
                draft.tx.put(Table::Index, key, id.0);
            }
            if let Some(old) = old {
                draft.tx.delete(Table::Index, keys::hardware(network, old));
            }
        }
        let old = before.and_then(|before| before.identity.as_ref());
        let is_renamed = after.identity.as_ref() != old;
        if let Some(identity) = after.identity.as_ref().filter(|_| is_renamed) {
            let key = identity.as_bytes().to_vec();
            let taken = in_the_way("Another device has this PreSharedKeyIdentity.");
            draft.or_refuse(Guard::Absent(Table::Identities, key), taken);
        }
        if let (Some(identity), true) = (&after.identity, is_renamed || wanted.secret.is_some()) {
            let secret = match (&wanted.secret, old) {
                (Some(secret), _) => secret.clone(),
                (None, Some(old)) => self.secret_of(draft, old)?,
                // `Wanted::upon` has refused it.
                (None, None) => return Err(required("PreSharedKeySecret")),
            };
            let sealed = Identity::seal(&self.held.vault, identity, (id, network), &secret);
            draft.tx.put(Table::Identities, identity.as_bytes(), sealed.encode());
        }
        if let Some(old) = old.filter(|_| is_renamed) {
            draft.tx.delete(Table::Identities, old.as_bytes());
        }
        Ok(after)
    }

    /// From now on the device is known by the names in its record.
    fn draft_names(
        &self,
        draft: &mut Draft,
        before: Option<&Device>,
        after: &Device,
    ) -> Result<(), Refused> {
        let identities = [&after.cellular, &after.wifi];
        let [one, other] = identities.map(|block| block.as_ref().and_then(|b| b.identity.as_ref()));
        if one.is_some() && one == other {
            return Err(in_the_way("The device's other block has this PreSharedKeyIdentity."));
        }
        let addresses_before = before.map(addresses_of).unwrap_or_default();
        let is_new = |address: &&SourceAddress| !addresses_before.contains(address);
        let new = addresses_of(after).iter().filter(is_new).count();
        if new > 0 {
            self.draft_addresses(draft, new)?;
        }
        draft.replaces(before, Some(after));
        Ok(())
    }

    /// Room for so many more source addresses; all of them stand on one sheet.
    fn draft_addresses(&self, draft: &mut Draft, new: usize) -> Result<(), Refused> {
        const CHANGES: &[u8] = b"source addresses";
        let raw = self.held.store.get(Table::Meta, CHANGES).map_err(refuse)?;
        draft.or_again(match raw {
            Some(raw) => Guard::Unchanged(Table::Meta, CHANGES.to_vec(), raw),
            None => Guard::Absent(Table::Meta, CHANGES.to_vec()),
        });
        draft.tx.put(Table::Meta, CHANGES, rand::random::<[u8; 16]>());
        let found = self.held.store.scan(Table::Names, names::ADDRESSES, None, NOSEC_MAX);
        if found.map_err(refuse)?.len() + new > NOSEC_MAX {
            let message = format!("There are {NOSEC_MAX} source addresses: no more are possible.");
            return Err(in_the_way(&message));
        }
        Ok(())
    }

    /// The secret of an identity, to be sealed again under another name.
    fn secret_of(&self, draft: &mut Draft, identity: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let key = identity.as_bytes();
        let raw = self.held.store.get(Table::Identities, key).map_err(refuse)?;
        let raw = raw.ok_or(StoreError::Corrupt("identity")).map_err(refuse)?;
        draft.or_again(Guard::Unchanged(Table::Identities, key.to_vec(), raw.clone()));
        let stored = Identity::decode(&raw);
        let secret = stored.and_then(|stored| stored.open(&self.held.vault, key));
        Ok(Zeroizing::new(secret.map_err(refuse)?.as_bytes().to_vec()))
    }

    /// Was this ClientRequestToken used? Then what it made; else the draft notes `makes`.
    pub(super) fn use_token(
        &self,
        draft: &mut Draft,
        operation: &str,
        token: Option<&str>,
        parameters: &str,
        makes: &str,
    ) -> Result<Option<String>, Refused> {
        let Some(token) = token else { return Ok(None) };
        validate::request_token(token)?;
        let key = keys::token(operation, token);
        let now_unix_ms = now_unix_ms();
        let raw = self.held.store.get(Table::Tokens, &key).map_err(refuse)?;
        match raw {
            None => draft.or_again(Guard::Absent(Table::Tokens, key.clone())),
            Some(raw) => {
                let used: TokenUse = records::decode(&raw, "token").map_err(refuse)?;
                if now_unix_ms.saturating_sub(used.at_unix_ms) < TOKEN_WINDOW_MS {
                    if used.parameters == parameters {
                        return Ok(Some(used.made));
                    }
                    let message = "This ClientRequestToken was used with other parameters.";
                    let of = match operation {
                        OPERATION => ResourceType::WirelessDevice,
                        "CreateApplicationProfile" => ResourceType::ApplicationProfile,
                        "CreateDestination" => ResourceType::Destination,
                        _ => ResourceType::ImportTask,
                    };
                    return Err(Refused::conflict(of, used.made, message));
                }
                draft.or_again(Guard::Unchanged(Table::Tokens, key.clone(), raw));
            }
        }
        let used = TokenUse {
            parameters: parameters.to_owned(),
            made: makes.to_owned(),
            at_unix_ms: now_unix_ms,
        };
        draft.tx.put(Table::Tokens, key, records::encode(&used));
        Ok(None)
    }

    pub(super) fn read_device(&self, id: DeviceId) -> Result<Device, Refused> {
        records::decode(&self.raw_device(id)?, "device").map_err(refuse)
    }

    /// Tells the core, which answers with nothing but that it knows.
    pub(super) async fn ask(&self, request: Request) -> Result<(), Refused> {
        self.held.edge.ask(request).await.map(|_| ())
    }

    pub(super) fn raw_device(&self, id: DeviceId) -> Result<Vec<u8>, Refused> {
        let raw = self.held.store.get(Table::Devices, &id.0).map_err(refuse)?;
        raw.ok_or_else(|| Refused::not_found(ResourceType::WirelessDevice, id))
    }

    fn by_hardware(&self, network: Network, hardware: &str) -> Result<Option<DeviceId>, Refused> {
        self.indexed(&keys::hardware(network, hardware))
    }

    /// The device under a key of the index.
    fn indexed(&self, key: &[u8]) -> Result<Option<DeviceId>, Refused> {
        let found = self.held.store.get(Table::Index, key).map_err(refuse)?;
        Ok(found.and_then(|id| Some(DeviceId(id.try_into().ok()?))))
    }
}

/// A device id as it came; one that is none names no device.
pub(super) fn device_id(text: &str) -> Result<DeviceId, Refused> {
    text.parse().map_err(|_| Refused::not_found(ResourceType::WirelessDevice, text))
}

pub(super) fn now_unix_ms() -> u64 {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    unix.map_or(0, |since| since.as_millis() as u64)
}

fn check_new(new: &NewDevice) -> Result<(), Refused> {
    validate::text_max("Name", new.name.as_ref(), 256)?;
    validate::text_max("Description", new.description.as_ref(), 2048)?;
    validate::destination_name("DestinationName", &new.destination)?;
    validate::positioning(new.positioning.as_ref())?;
    validate::tags(&new.tags)?;
    if new.cellular.is_none() && new.wifi.is_none() {
        return Err(Refused::invalid("Cellular", "Member must not be null unless WiFi is given"));
    }
    Ok(())
}

fn check_change(change: &DeviceChange) -> Result<(), Refused> {
    validate::text_max("Name", change.name.as_ref(), 256)?;
    validate::text_max("Description", change.description.as_ref(), 2048)?;
    validate::positioning(change.positioning.as_ref())?;
    if let Some(destination) = &change.destination {
        validate::destination_name("DestinationName", destination)?;
    }
    Ok(())
}

/// The blocks that were given, read.
fn wanted(
    door: Door,
    cellular: Option<&NewNetwork>,
    wifi: Option<&NewNetwork>,
) -> Result<Vec<(Network, Wanted)>, Refused> {
    let blocks = [(Network::Cellular, cellular), (Network::WiFi, wifi)];
    let given = blocks.into_iter().filter_map(|(network, block)| Some((network, block?)));
    given.map(|(network, block)| Ok((network, Wanted::read(network, door, block)?))).collect()
}

fn addresses_of(device: &Device) -> Vec<SourceAddress> {
    let blocks = [&device.cellular, &device.wifi].into_iter().flatten();
    blocks.filter_map(|block| block.source_address).collect()
}

/// From now on the device refers to this profile, which must exist.
fn draft_profile(
    draft: &mut Draft,
    device: DeviceId,
    before: Option<ProfileId>,
    after: Option<ProfileId>,
) {
    if let Some(before) = before {
        draft.tx.delete(Table::Index, keys::profile_user_of(before, device));
    }
    if let Some(after) = after {
        let missing = Refused::not_found(ResourceType::ApplicationProfile, after);
        draft.or_refuse(Guard::Present(Table::Profiles, after.0.to_vec()), missing);
        draft.tx.put(Table::Index, keys::profile_user_of(after, device), []);
    }
}

fn draft_destination(draft: &mut Draft, destination: &str) {
    let guard = Guard::Present(Table::Destinations, destination.as_bytes().to_vec());
    draft.or_refuse(guard, Refused::not_found(ResourceType::Destination, destination));
}

fn in_the_way(message: &str) -> Refused {
    Refused::conflict(ResourceType::WirelessDevice, "", message)
}

fn block_of(device: &mut Device, network: Network) -> &mut Option<NetworkBlock> {
    match network {
        Network::Cellular => &mut device.cellular,
        Network::WiFi => &mut device.wifi,
    }
}

/// A MAC: equal parameters are known again, and nothing of a secret is stored.
fn parameters_of_device(key: &CookieKey, new: &NewDevice) -> String {
    let plain = (&new.name, &new.description, &new.destination, &new.positioning);
    let plain = (plain, &new.application_profile, &new.tags);
    let plain = records::encode(&plain);
    let mut parts: Vec<&[u8]> = vec![b"CreateWirelessDevice", &plain];
    // Without the secrets, which are no part of the JSON.
    let blocks = [&new.cellular, &new.wifi];
    let plains = blocks.map(records::encode);
    for (block, plain) in blocks.into_iter().zip(&plains) {
        let Some(block) = block else {
            parts.push(b"none");
            continue;
        };
        parts.push(plain);
        parts.push(block.secret.as_ref().map(|secret| secret.as_bytes()).unwrap_or_default());
    }
    hex::encode(key.mac(&parts))
}
