//! What was counted in an hour, of a device or of a whole account? One record each.
//!
//! Hours come first in the keys, so that the oldest lie together; the value says whose they are.

use super::account::Account;
use super::{Store, StoreError, Table};
use crate::model::DeviceId;

/// Of what something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One device.
    Device(DeviceId),
    /// All devices of an account.
    Account(Account),
}

/// What happened in an hour. Counts stop at their greatest value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests of devices that were published.
    pub uplinks: u32,
    /// Those that could not be published.
    pub uplinks_lost: u32,
    /// Messages that were sent to devices.
    pub downlinks: u32,
    /// Handshakes that devices began, as far as the device is known.
    pub join_requests: u32,
    /// Those that came to a session.
    pub join_accepts: u32,
    /// Devices that sent something; of an account.
    pub active_devices: u32,
    /// Devices that there are, when they were counted; of an account.
    pub devices: Option<u32>,
}

impl Subject {
    fn bytes(self) -> [u8; 16] {
        match self {
            Self::Device(device) => device.0,
            // No device's id begins so: a UUID has a version.
            Self::Account(account) => {
                let mut bytes = [0; 16];
                bytes[8..].copy_from_slice(&account.0.to_be_bytes());
                bytes
            }
        }
    }

    /// Where its record of an hour (Unix time, hours) lies.
    pub fn key(self, hour: u32) -> Vec<u8> {
        [&hour.to_be_bytes()[..], &self.bytes()].concat()
    }

    /// What is stored of an hour.
    pub fn counts(self, store: &dyn Store, hour: u32) -> Result<Option<Counts>, StoreError> {
        let found = store.get(Table::Measured, &self.key(hour))?;
        found.map(|value| Counts::decode(&value)).transpose()
    }
}

/// The hour of a key.
pub fn hour_of(key: &[u8]) -> u32 {
    key.first_chunk::<4>().map_or(0, |hour| u32::from_be_bytes(*hour))
}

/// No such number of devices is stored.
const NOT_COUNTED: u32 = u32::MAX;

impl Counts {
    /// As stored: seven numbers.
    pub fn encode(&self) -> Vec<u8> {
        let devices = self.devices.unwrap_or(NOT_COUNTED);
        let numbers = [
            self.uplinks,
            self.uplinks_lost,
            self.downlinks,
            self.join_requests,
            self.join_accepts,
            self.active_devices,
            devices,
        ];
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        let [uplinks, uplinks_lost, downlinks, join_requests, join_accepts, active, devices] =
            *numbers
        else {
            return Err(StoreError::Corrupt("counts"));
        };
        if !rest.is_empty() {
            return Err(StoreError::Corrupt("counts"));
        }
        let devices = u32::from_be_bytes(devices);
        Ok(Self {
            uplinks: u32::from_be_bytes(uplinks),
            uplinks_lost: u32::from_be_bytes(uplinks_lost),
            downlinks: u32::from_be_bytes(downlinks),
            join_requests: u32::from_be_bytes(join_requests),
            join_accepts: u32::from_be_bytes(join_accepts),
            active_devices: u32::from_be_bytes(active),
            devices: (devices != NOT_COUNTED).then_some(devices),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn counts_are_read_as_they_were_written() {
        for devices in [None, Some(0), Some(u32::MAX - 1)] {
            let written = Counts {
                uplinks: 1,
                uplinks_lost: 2,
                downlinks: 3,
                join_requests: 4,
                join_accepts: 5,
                active_devices: 6,
                devices,
            };
            assert_eq!(Counts::decode(&written.encode()).unwrap(), written);
            for damaged in [&written.encode()[1..], &[&written.encode()[..], &[0]].concat()[..]] {
                assert!(Counts::decode(damaged).is_err());
            }
        }
    }

    #[test]
    fn no_account_has_the_key_of_a_device() {
        let device = DeviceId::random();
        assert_ne!(Subject::Device(device).key(1)[4..12], [0; 8]);
        let key = Subject::Account(Account(7)).key(498_611);
        assert_eq!((key.len(), hour_of(&key)), (20, 498_611));
    }
}
