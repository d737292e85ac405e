//! Which device does a line describe? CSV under a line of column names, or JSON as
//! CreateWirelessDevice reads it.

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::model::{NewDevice, NewNetwork, SecurityMode};

/// Longest line, bytes. *Why:* the longest members together, and JSON around them.
pub const LINE_BYTES_MAX: usize = 16_384;

/// The columns of CSV. IMEI and MAC address say which block the others belong to; with neither it
/// is `Cellular`.
const COLUMNS: [&str; 11] = [
    "Name",
    "Description",
    "Imei",
    "MacAddress",
    "PreSharedKeyIdentity",
    "PreSharedKeySecret",
    "RawPublicKey",
    "CertificateName",
    "CertificateFingerprint",
    "SourceAddress",
    "Endpoint",
];

/// The names of columns; `Err`: one is not known.
pub fn columns(line: &str) -> Result<Vec<String>, String> {
    let names = fields(line)?;
    match names.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        Some(unknown) => {
            let known = COLUMNS.join(", ");
            Err(format!("The column {} is not known. There are: {known}", unknown.as_str()))
        }
        None => Ok(names.iter().map(|name| name.to_string()).collect()),
    }
}

/// A line under these columns.
pub fn from_csv(columns: &[String], line: &str) -> Result<NewDevice, String> {
    let fields = fields(line)?;
    if fields.len() > columns.len() {
        return Err(format!("The line has {} columns, not {}.", fields.len(), columns.len()));
    }
    let get = |name: &str| {
        let at = columns.iter().position(|column| column == name)?;
        fields.get(at).filter(|field| !field.is_empty()).map(|field| field.to_string())
    };
    let imei = get("Imei");
    let mac = get("MacAddress");
    if imei.is_some() && mac.is_some() {
        return Err("A line has an Imei or a MacAddress, not both.".to_owned());
    }
    let is_wifi = mac.is_some();
    let block = NewNetwork {
        hardware: imei.or(mac),
        identity: get("PreSharedKeyIdentity"),
        secret: get("PreSharedKeySecret").map(Zeroizing::new),
        raw_public_key: get("RawPublicKey"),
        certificate_name: get("CertificateName"),
        certificate_fingerprint: get("CertificateFingerprint"),
        source_address: get("SourceAddress"),
        endpoint: get("Endpoint"),
        security_modes: None,
    };
    let (name, description) = (get("Name"), get("Description"));
    let (cellular, wifi) = if is_wifi { (None, Some(block)) } else { (Some(block), None) };
    Ok(NewDevice { name, description, cellular, wifi, ..NewDevice::default() })
}

/// The fields of a line (RFC 4180, without line breaks in fields).
fn fields(line: &str) -> Result<Vec<Zeroizing<String>>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let mut field = Zeroizing::new(String::new());
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let (before, after) = rest.split_once('"').ok_or("A quotation mark is missing.")?;
                field.push_str(before);
                let Some(after) = after.strip_prefix('"') else {
                    rest = after;
                    break;
                };
                field.push('"');
                rest = after;
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(rest[..end].trim());
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(fields),
            None => return Err("After a quotation mark comes a comma.".to_owned()),
        }
    }
}

/// A line as CreateWirelessDevice reads it; what the task says need not be there.
pub fn from_json(line: &str) -> Result<NewDevice, String> {
    let device: Device = serde_json::from_str(line)
        .map_err(|error| format!("The line is no such device: column {}.", error.column()))?;
    let block = |block: Block| {
        let dtls = block.dtls.unwrap_or_default();
        NewNetwork {
            hardware: block.imei.or(block.mac_address),
            identity: dtls.identity,
            secret: dtls.secret.map(Zeroizing::new),
            raw_public_key: dtls.raw_public_key,
            certificate_name: dtls.certificate_name,
            certificate_fingerprint: dtls.certificate_fingerprint,
            source_address: block.no_sec.and_then(|plain| plain.source_address),
            endpoint: block.endpoint,
            security_modes: block.security_modes,
        }
    };
    Ok(NewDevice {
        name: device.name,
        description: device.description,
        cellular: device.cellular.map(block),
        wifi: device.wifi.map(block),
        ..NewDevice::default()
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Device {
    name: Option<String>,
    description: Option<String>,
    cellular: Option<Block>,
    #[serde(rename = "WiFi")]
    wifi: Option<Block>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Block {
    imei: Option<String>,
    mac_address: Option<String>,
    #[serde(rename = "DtlsV1_2")]
    dtls: Option<Dtls>,
    no_sec: Option<NoSec>,
    endpoint: Option<String>,
    security_modes: Option<Vec<SecurityMode>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Dtls {
    #[serde(rename = "PreSharedKeyIdentity")]
    identity: Option<String>,
    #[serde(rename = "PreSharedKeySecret")]
    secret: Option<String>,
    raw_public_key: Option<String>,
    certificate_name: Option<String>,
    certificate_fingerprint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NoSec {
    source_address: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn csv_has_its_columns_and_quotes() {
        let columns = columns("Name,Imei,PreSharedKeyIdentity,PreSharedKeySecret").unwrap();
        let line = r#""a ""b"", c",123456789012345,i,s"#;
        let device = from_csv(&columns, line).unwrap();
        assert_eq!(device.name.as_deref(), Some("a \"b\", c"));
        let block = device.cellular.unwrap();
        assert_eq!(block.hardware.as_deref(), Some("123456789012345"));
        assert_eq!(block.secret.unwrap().as_str(), "s");
        assert!(device.wifi.is_none());
        assert!(from_csv(&columns, "a,b,c,d,e").is_err(), "a column too many");
        assert!(from_csv(&columns, "a").unwrap().cellular.unwrap().identity.is_none());
        for bad in ["\"a", "\"a\"b"] {
            assert!(from_csv(&columns, bad).is_err(), "{bad}");
        }
        assert!(super::columns("Name,Colour").unwrap_err().contains("Colour"));
    }

    #[test]
    fn json_is_as_create_reads_it() {
        let line = r#"{"Name":"n","WiFi":{"MacAddress":"00:1b:44:11:3a:b7","DtlsV1_2":
            {"PreSharedKeyIdentity":"i","PreSharedKeySecret":"s"}}}"#;
        let device = from_json(line).unwrap();
        let block = device.wifi.unwrap();
        assert_eq!((block.identity.as_deref(), device.name.as_deref()), (Some("i"), Some("n")));
        let refused = from_json(r#"{"Name":"n","WiFi":{"DtlsV1_2":{"PreSharedKeySecret":7}}}"#);
        assert!(!refused.unwrap_err().contains('7'), "an error never shows a value");
    }
}
