//! What is on a trust sheet? Whom the edge trusts, who it says it is, and who needs no security.
//!
//! The control plane writes a sheet whole and sends it in pieces ([`Trust`]); a worker parses it
//! when it is whole. An item is `kind` (1 byte), its length (little-endian `u32`) and its body;
//! every field is checked as if hostile, and one that does not parse voids the sheet.
//!
//! [`Trust`]: crate::contract::Trust

use crate::contract::{DeviceId, TRUST_BYTES_MAX};

/// One line of the sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A certificate authority that may vouch for devices: the DER of its certificate.
    Authority(&'a [u8]),
    /// A key of this server. An [`Item::Chain`] or [`Item::Name`] after it belongs to it. It can
    /// always be shown as a raw public key.
    Key(Redacted<'a>),
    /// The certificates of the last key, leaf first: each the DER of one.
    Chain(&'a [u8]),
    /// A server name (SNI) for which the last key is shown; the first key of the sheet serves all
    /// names that no key claims.
    Name(&'a str),
    /// A device that speaks plain CoAP from one address.
    NoSec(NoSec),
}

/// PKCS #8; prints nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Redacted<'a>(pub &'a [u8]);

impl std::fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redacted")
    }
}

/// A device known by its source address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSec {
    /// IPv4 as mapped IPv6.
    pub ip: [u8; 16],
    /// 0: any port of that address.
    pub port: u16,
    /// `contract::Network`.
    pub network: u8,
    /// Which device.
    pub device: DeviceId,
    /// As in `contract::Credential`.
    pub stamp: u64,
    /// As in `contract::Credential`.
    pub class: u16,
}

/// Devices without security on one sheet. *Why:* they are the exception, and the sheet is sent
/// whole when one of them changes.
pub const NOSEC_MAX: usize = 4_096;

const AUTHORITY: u8 = 1;
const KEY: u8 = 2;
const CHAIN: u8 = 3;
const NAME: u8 = 4;
const NOSEC: u8 = 5;
const NOSEC_BYTES: usize = 16 + 2 + 1 + 16 + 8 + 2;

/// Appends an item; false, and nothing written, when the sheet would become too long.
pub fn write(sheet: &mut Vec<u8>, item: &Item<'_>) -> bool {
    let mut nosec = [0; NOSEC_BYTES];
    let (kind, body): (u8, &[u8]) = match item {
        Item::Authority(der) => (AUTHORITY, der),
        Item::Key(pkcs8) => (KEY, pkcs8.0),
        Item::Chain(der) => (CHAIN, der),
        Item::Name(name) => (NAME, name.as_bytes()),
        Item::NoSec(device) => {
            nosec[..16].copy_from_slice(&device.ip);
            nosec[16..18].copy_from_slice(&device.port.to_le_bytes());
            nosec[18] = device.network;
            nosec[19..35].copy_from_slice(&device.device);
            nosec[35..43].copy_from_slice(&device.stamp.to_le_bytes());
            nosec[43..].copy_from_slice(&device.class.to_le_bytes());
            (NOSEC, &nosec)
        }
    };
    if sheet.len() + 5 + body.len() > TRUST_BYTES_MAX {
        return false;
    }
    sheet.push(kind);
    sheet.extend_from_slice(&(body.len() as u32).to_le_bytes());
    sheet.extend_from_slice(body);
    true
}

/// The items of a whole sheet; `None` when it is not one.
pub fn parse(mut sheet: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut items = Vec::new();
    let (mut has_key, mut devices) = (false, 0);
    while !sheet.is_empty() {
        let (kind, rest) = sheet.split_first()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        sheet = rest;
        items.push(match *kind {
            AUTHORITY => Item::Authority(body),
            KEY => {
                has_key = true;
                Item::Key(Redacted(body))
            }
            CHAIN if has_key => Item::Chain(body),
            NAME if has_key => Item::Name(std::str::from_utf8(body).ok()?),
            NOSEC if devices < NOSEC_MAX => {
                devices += 1;
                Item::NoSec(parse_nosec(body)?)
            }
            _ => return None,
        });
    }
    Some(items)
}

fn parse_nosec(body: &[u8]) -> Option<NoSec> {
    let (ip, rest) = body.split_first_chunk::<16>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (network, rest) = rest.split_first()?;
    let (device, rest) = rest.split_first_chunk::<16>()?;
    let (stamp, rest) = rest.split_first_chunk::<8>()?;
    let (stamp, port) = (u64::from_le_bytes(*stamp), u16::from_le_bytes(*port));
    let class = u16::from_le_bytes(rest.try_into().ok()?);
    Some(NoSec { ip: *ip, port, network: *network, device: *device, stamp, class })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn all() -> Vec<Item<'static>> {
        let (ip, device, stamp) = ([1; 16], [9; 16], 1 << 40);
        let device = NoSec { ip, port: 5683, network: 2, device, stamp, class: 515 };
        vec![
            Item::Authority(b"ca"),
            Item::Key(Redacted(b"secret")),
            Item::Chain(b"leaf"),
            Item::Chain(b"intermediate"),
            Item::Name("edge.example"),
            Item::NoSec(device),
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut sheet = Vec::new();
        assert!(all().iter().all(|item| write(&mut sheet, item)));
        assert_eq!(parse(&sheet).unwrap(), all());
        assert!(!format!("{:?}", parse(&sheet)).contains("secret"));
    }

    #[test]
    fn no_part_of_a_sheet_but_whole_items_is_one() {
        let mut sheet = Vec::new();
        let mut ends = vec![0];
        for item in all() {
            write(&mut sheet, &item);
            ends.push(sheet.len());
        }
        for cut in 0..sheet.len() {
            assert_eq!(parse(&sheet[..cut]).is_some(), ends.contains(&cut), "{cut}");
        }
        assert!(parse(&[9, 0, 0, 0, 0]).is_none(), "an unknown kind");
        assert!(parse(&[CHAIN, 0, 0, 0, 0]).is_none(), "certificates of no key");
        assert!(parse(&[KEY, 0, 0, 0, 0, NAME, 1, 0, 0, 0, 0xff]).is_none(), "not UTF-8");
    }

    #[test]
    fn a_sheet_is_full_at_its_bound() {
        let body = vec![0; TRUST_BYTES_MAX - 5];
        let mut sheet = Vec::new();
        assert!(write(&mut sheet, &Item::Authority(&body)) && sheet.len() == TRUST_BYTES_MAX);
        assert!(!write(&mut sheet, &Item::Authority(b"")));
        let mut sheet = Vec::new();
        assert!(!write(&mut sheet, &Item::Authority(&vec![0; TRUST_BYTES_MAX - 4])));
        assert!(sheet.is_empty());
    }
}
