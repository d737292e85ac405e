//! What shall a fleet do to a server? One TOML file: target, devices, phases, thresholds. Unknown
//! keys are errors; `docs/loadgen.md` documents every key, `deploy/scenarios/` has examples.

mod phase;
mod target;
mod thresholds;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use self::phase::{Kind, Load, Method, Payload, Phase, Request, Type, Wake};
pub use self::target::{Address, Dtls, Psk, Target, Transport};
pub use self::thresholds::Thresholds;

/// The whole of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What the report is headed by.
    #[serde(default = "untitled")]
    pub title: String,
    /// `[target]`: whom to load.
    pub target: Target,
    /// `[dtls]`: as whom the devices come and what they offer; of `coaps` targets only.
    #[serde(default)]
    pub dtls: Dtls,
    /// `[coap]`
    #[serde(default)]
    pub coap: Coap,
    /// `[fleet]`
    #[serde(default)]
    pub fleet: Fleet,
    /// `[[phase]]`, one after the other.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
    /// `[thresholds]`: of every phase, unless it has the same key itself.
    #[serde(default)]
    pub thresholds: Thresholds,
}

/// How devices repeat themselves and give up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Coap {
    /// ACK_TIMEOUT, ms, 100..=60000 (RFC 7252 section 4.8).
    pub ack_timeout_ms: u32,
    /// MAX_RETRANSMIT, 0..=10.
    pub max_retransmit: u8,
    /// Requests that one device may have outstanding (NSTART, RFC 7252 section 4.7), 1..=64.
    pub nstart: u8,
    /// When a request without response is given up, whatever its timers say, ms, 10..=600000.
    pub timeout_ms: u32,
}

/// How many devices there are and where they come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fleet {
    /// 1..=1000000.
    pub devices: u32,
    /// Addresses to send from: one (`127.0.0.1`), or a block to go around in (`127.0.0.0/8`).
    /// Empty: 127.0.0.0/8 toward a server on it, else whatever the kernel takes.
    pub source: String,
    /// The same seed, the same run as far as the server plays along.
    pub seed: u64,
}

/// 1 M: their sessions take about 300 MB.
pub const DEVICES_MAX: u32 = 1_000_000;
const PHASES_MAX: usize = 64;

impl Scenario {
    /// Reads and checks a file.
    pub fn load(path: &Path, changes: &[String]) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Self::parse(&text, changes).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Reads and checks a file's text; each change is a `key=value` that goes before what the
    /// file says: `target.server="coaps://192.0.2.1"`, `phase.1.rate_per_s=2000` (from 0).
    pub fn parse(text: &str, changes: &[String]) -> Result<Self, String> {
        Self::parse_as(text, changes, None)
    }

    /// The same with a `[dtls]` that comes from elsewhere: keys are not written to be read again.
    pub fn parse_as(text: &str, changes: &[String], dtls: Option<Dtls>) -> Result<Self, String> {
        if let Some(change) = changes.iter().find(|change| change.starts_with("dtls."))
            && dtls.is_some()
        {
            return Err(format!("{change}: here it is a flag of the command line"));
        }
        let mut scenario: Self = if changes.is_empty() {
            // Its errors have lines and columns.
            toml::from_str(text).map_err(|e| e.to_string())?
        } else {
            let mut table: toml::Value = toml::from_str(text).map_err(|e| e.to_string())?;
            changes.iter().try_for_each(|text| change(&mut table, text))?;
            table.try_into().map_err(|e: toml::de::Error| e.to_string())?
        };
        scenario.dtls = dtls.unwrap_or(scenario.dtls);
        scenario.check()?;
        Ok(scenario)
    }

    /// Says which value is out of its range.
    pub fn check(&self) -> Result<(), String> {
        within("fleet.devices", self.fleet.devices, 1, DEVICES_MAX)?;
        self.fleet.sources()?;
        within("coap.ack_timeout_ms", self.coap.ack_timeout_ms, 100, 60_000)?;
        within("coap.max_retransmit", self.coap.max_retransmit, 0, 10)?;
        within("coap.nstart", self.coap.nstart, 1, 64)?;
        within("coap.timeout_ms", self.coap.timeout_ms, 10, 600_000)?;
        let transport = self.target.address()?.transport;
        self.dtls.check(transport)?;
        within("phase: number", self.phases.len(), 1, PHASES_MAX)?;
        self.thresholds.check("thresholds")?;
        let mut names: Vec<&str> = Vec::new();
        for phase in &self.phases {
            let named = |error| format!("phase \"{}\": {error}", phase.name);
            phase.check(transport).map_err(named)?;
            self.dtls.of(phase).check(transport).map_err(named)?;
            if names.contains(&phase.name.as_str()) {
                return Err(format!("phase \"{}\": there is another one of that name", phase.name));
            }
            names.push(&phase.name);
        }
        Ok(())
    }

    /// What the phase has to fulfil: its own thresholds and those of every phase.
    pub fn thresholds_of(&self, phase: &Phase) -> Thresholds {
        phase.thresholds.or(&self.thresholds)
    }

    /// The scenario as TOML, defaults filled in, the pre-shared key left out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field has a TOML form")
    }
}

impl Fleet {
    /// First address and number of addresses to send from; `None`: whatever the kernel takes.
    pub fn sources(&self) -> Result<Option<(std::net::IpAddr, u128)>, String> {
        if self.source.is_empty() {
            return Ok(None);
        }
        let bad = |what: &str| format!("fleet.source = {:?}: {what}", self.source);
        let (address, prefix) = match self.source.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (self.source.as_str(), None),
        };
        let address: std::net::IpAddr = address.parse().map_err(|_| bad("no address"))?;
        let bits: u32 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| bad("no prefix length"))?;
        if prefix > bits || prefix == 0 {
            return Err(bad("a prefix length is from 1 to the address's bits"));
        }
        Ok(Some((address, 1 << (bits - prefix))))
    }
}

impl Default for Coap {
    fn default() -> Self {
        Self { ack_timeout_ms: 2_000, max_retransmit: 4, nstart: 1, timeout_ms: 10_000 }
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self { devices: 100, source: String::new(), seed: 1 }
    }
}

fn untitled() -> String {
    "Load test".to_owned()
}

/// Puts one `key=value` into a file's table.
fn change(table: &mut toml::Value, text: &str) -> Result<(), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text}: no key=value"))?;
    // What is no TOML value is text: `title=Nightly` needs no quotes.
    let value = format!("value = {value}")
        .parse::<toml::Table>()
        .map_or_else(|_| value.into(), |mut parsed| parsed.remove("value").expect("as written"));
    let (path, last) = key.trim().rsplit_once('.').unwrap_or(("", key.trim()));
    let mut place = table;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        place = match place {
            toml::Value::Array(items) => {
                let index: Option<usize> = name.parse().ok();
                let item = index.and_then(|index| items.get_mut(index));
                item.ok_or_else(|| format!("{key}: there is no number {name}"))?
            }
            toml::Value::Table(entries) => {
                entries.entry(name).or_insert_with(|| toml::Table::new().into())
            }
            _ => return Err(format!("{key}: {name} is in no table")),
        };
    }
    let toml::Value::Table(entries) = place else { return Err(format!("{key}: not in a table")) };
    entries.insert(last.to_owned(), value);
    Ok(())
}

fn within<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    low: T,
    high: T,
) -> Result<(), String> {
    if value < low || value > high {
        return Err(format!("{name} = {value} is outside {low}..={high}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
