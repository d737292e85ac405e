//! May a device ask for this, and how often? The policy sheet: what the control plane compiles and
//! both processes read.
//!
//! A session is in a *class*, a number that its credential came with. The sheet says of each class
//! which policies count for it and how many uplinks it may send; so a sheet changes what many
//! sessions may do, and thousands of devices share few lines of it.
//!
//! A sheet comes whole or not at all ([`Policies`]). An item is `kind` (1 byte), its length
//! (little-endian `u32`) and its body; every field is checked as if hostile, and one that does not
//! parse voids the sheet. A policy is a row of statements: `effect and methods` (1 byte), the
//! length of the pattern (little-endian `u16`) and the pattern.
//!
//! A pattern is matched against the path as a URI has it: segments joined by `/`, what is not
//! unreserved in RFC 3986 as `%XX`. `*` is any run of bytes, `?` one of them, [`DEVICE`] the
//! device's id as text.
//!
//! [`Policies`]: crate::contract::Policies

use crate::contract::{DeviceId, POLICIES_BYTES_MAX};

/// What counts for the classes of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    policies: Vec<Box<[u8]>>,
    accounts: Vec<Rate>,
    classes: Vec<Option<Class>>,
}

/// One line of the sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Statements; the first policy of the sheet is number 1.
    Policy(&'a [u8]),
    /// How many uplinks an account may send; the first one of the sheet is number 1.
    Account(Rate),
    /// What counts for a class. Its policies and its account stand before it.
    Class(u16, Class),
}

/// What counts for one class of devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Number of the device's own policy; 0: it has none.
    pub own: u16,
    /// Number of its application profile's; 0: it has none.
    pub profile: u16,
    /// Number of its account; 0: none that is limited.
    pub account: u16,
    /// How many uplinks each device may send.
    pub device: Rate,
    /// Longest body of a device's request, bytes; 0: as the worker has it.
    pub body_bytes: u32,
    /// A request that changes something has to be this fresh, seconds (RFC 9175 section 2.3); 0: it
    /// may be of any age.
    pub fresh_s: u32,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Microseconds between two, in the long run; 0: no limit.
    pub interval_us: u32,
    /// How many may come at once after a pause, at least 1.
    pub burst: u32,
}

/// What a statement says of the requests it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// May be.
    Allow,
    /// May not be, whatever another statement says.
    Deny,
}

/// Policies on one sheet.
pub const POLICIES_MAX: usize = 4_096;
/// Accounts on one sheet.
pub const ACCOUNTS_MAX: usize = 4_096;
/// Classes on one sheet; their numbers are below this.
pub const CLASSES_MAX: usize = 16_384;
/// Longest policy, compiled, bytes.
pub const POLICY_BYTES_MAX: usize = 4_096;
/// Longest pattern, bytes.
pub const PATTERN_BYTES_MAX: usize = 256;
/// How often [`DEVICE`] may stand in one pattern.
pub const DEVICES_PER_PATTERN_MAX: usize = 4;
/// Longest path that is judged, bytes; a longer one is allowed by no policy.
pub const PATH_BYTES_MAX: usize = 512;
/// In a pattern: the device's id.
pub const DEVICE: u8 = 1;
/// Every method a statement can name: GET, POST, PUT, DELETE, FETCH, PATCH, iPATCH.
pub const METHODS_ALL: u8 = 0x7f;

const DENY: u8 = 0x80;
const POLICY: u8 = 1;
const ACCOUNT: u8 = 2;
const CLASS: u8 = 3;
const CLASS_BYTES: usize = 2 * 4 + RATE_BYTES + 4 + 4;
const RATE_BYTES: usize = 8;
const DEVICE_TEXT_BYTES: usize = 36;

/// The bit of a method in a statement, from its CoAP code; none for what is not one.
pub fn method_bit(code: u8) -> u8 {
    if (1..=7).contains(&code) { 1 << (code - 1) } else { 0 }
}

/// Appends a statement to a policy. The pattern is of [`PATTERN_BYTES_MAX`] bytes at most.
pub fn write_statement(policy: &mut Vec<u8>, effect: Effect, methods: u8, pattern: &[u8]) {
    let deny = if effect == Effect::Deny { DENY } else { 0 };
    policy.push(deny | methods & METHODS_ALL);
    policy.extend_from_slice(&(pattern.len() as u16).to_le_bytes());
    policy.extend_from_slice(pattern);
}

/// Appends an item; false, and nothing written, when the sheet would become too long.
pub fn write(sheet: &mut Vec<u8>, item: &Item<'_>) -> bool {
    let mut class_body = [0; CLASS_BYTES];
    let mut account_body = [0; RATE_BYTES];
    let (kind, body): (u8, &[u8]) = match item {
        Item::Policy(statements) => (POLICY, statements),
        Item::Account(rate) => {
            account_body.copy_from_slice(&rate.to_bytes());
            (ACCOUNT, &account_body)
        }
        Item::Class(number, class) => {
            let numbers = [*number, class.own, class.profile, class.account];
            for (bytes, number) in class_body.chunks_exact_mut(2).zip(numbers) {
                bytes.copy_from_slice(&number.to_le_bytes());
            }
            let (rate, rest) = class_body[8..].split_at_mut(RATE_BYTES);
            rate.copy_from_slice(&class.device.to_bytes());
            rest[..4].copy_from_slice(&class.body_bytes.to_le_bytes());
            rest[4..].copy_from_slice(&class.fresh_s.to_le_bytes());
            (CLASS, &class_body)
        }
    };
    if sheet.len() + 5 + body.len() > POLICIES_BYTES_MAX {
        return false;
    }
    sheet.push(kind);
    sheet.extend_from_slice(&(body.len() as u32).to_le_bytes());
    sheet.extend_from_slice(body);
    true
}

impl Sheet {
    /// A whole sheet; `None` when it is not one.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut sheet = Self::default();
        while !bytes.is_empty() {
            let (kind, rest) = bytes.split_first()?;
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            bytes = rest;
            match *kind {
                POLICY if sheet.policies.len() < POLICIES_MAX && is_policy(body) => {
                    sheet.policies.push(body.into());
                }
                ACCOUNT if sheet.accounts.len() < ACCOUNTS_MAX => {
                    sheet.accounts.push(Rate::from_bytes(body)?);
                }
                CLASS => sheet.take_class(body)?,
                _ => return None,
            }
        }
        Some(sheet)
    }

    fn take_class(&mut self, body: &[u8]) -> Option<()> {
        let (numbers, rest) = body.split_first_chunk::<8>()?;
        let (rate, rest) = rest.split_first_chunk::<RATE_BYTES>()?;
        let (body_bytes, fresh_s) = rest.split_first_chunk::<4>()?;
        let body_bytes = u32::from_le_bytes(*body_bytes);
        let fresh_s = u32::from_le_bytes(fresh_s.try_into().ok()?);
        let [number, own, profile, account] =
            [0, 2, 4, 6].map(|at| u16::from_le_bytes([numbers[at], numbers[at + 1]]));
        let device = Rate::from_bytes(rate)?;
        let class = Class { own, profile, account, device, body_bytes, fresh_s };
        let is_known = usize::from(number) < CLASSES_MAX
            && usize::from(own.max(profile)) <= self.policies.len()
            && usize::from(account) <= self.accounts.len();
        if !is_known {
            return None;
        }
        let at = usize::from(number);
        if self.classes.len() <= at {
            self.classes.resize(at + 1, None);
        }
        self.classes[at].replace(class).is_none().then_some(())
    }

    /// A class; `None` when the sheet does not have it. Class 0, where the sheet is silent, is
    /// without policy and without limit.
    pub fn class(&self, number: u16) -> Option<Class> {
        let named = self.classes.get(usize::from(number)).copied().flatten();
        named.or_else(|| (number == 0).then(Class::default))
    }

    /// The rate of an account by its number on this sheet.
    pub fn account(&self, number: u16) -> Option<Rate> {
        let at = usize::from(number).checked_sub(1)?;
        self.accounts.get(at).copied()
    }

    /// How many accounts there are.
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// Whether any device of any class has a limit of its own.
    pub fn limits_devices(&self) -> bool {
        self.classes.iter().flatten().any(|class| class.device.interval_us != 0)
    }

    /// Whether a device of the class may send such a request. The device's policy and its
    /// profile's count together: one that denies denies, else one must allow; a device that has
    /// neither may do everything.
    #[inline]
    pub fn allows<'a>(
        &self,
        class: &Class,
        device: &DeviceId,
        method: u8,
        path: impl Iterator<Item = &'a [u8]>,
    ) -> bool {
        if class.own == 0 && class.profile == 0 {
            return true;
        }
        self.judge(class, device, method, &Path::of(path))
    }

    fn judge(&self, class: &Class, device: &DeviceId, method: u8, path: &Path) -> bool {
        let mut is_allowed = false;
        for number in [class.own, class.profile] {
            let Some(at) = usize::from(number).checked_sub(1) else { continue };
            let Some(policy) = self.policies.get(at) else { return false };
            match says(policy, device, method, path) {
                Some(Effect::Deny) => return false,
                Some(Effect::Allow) => is_allowed = true,
                None => {}
            }
        }
        is_allowed
    }
}

impl Rate {
    fn to_bytes(self) -> [u8; RATE_BYTES] {
        let mut bytes = [0; RATE_BYTES];
        bytes[..4].copy_from_slice(&self.interval_us.to_le_bytes());
        bytes[4..].copy_from_slice(&self.burst.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (interval_us, burst) = bytes.split_first_chunk::<4>()?;
        let burst = u32::from_le_bytes(burst.try_into().ok()?);
        Some(Self { interval_us: u32::from_le_bytes(*interval_us), burst })
    }
}

/// A path as patterns see it.
pub struct Path {
    bytes: [u8; PATH_BYTES_MAX],
    len: usize,
    is_whole: bool,
}

impl Path {
    /// The path of these Uri-Path options; cut, and then matched by nothing, when it is too long.
    pub fn of<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut path = Self { bytes: [0; PATH_BYTES_MAX], len: 0, is_whole: true };
        for (at, segment) in segments.enumerate() {
            if at > 0 {
                path.push(b"/");
            }
            for &byte in segment {
                if is_unreserved(byte) {
                    path.push(&[byte]);
                } else {
                    path.push(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                }
            }
        }
        path
    }

    /// As text: ASCII without control characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.len..self.len + bytes.len()) {
            Some(room) if self.is_whole => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => self.is_whole = false,
        }
    }
}

/// Whether a byte stands for itself in a path (RFC 3986 section 2.3).
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Statements one by one; `None` for the first that is cut off.
fn statements(policy: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8])>> {
    let mut rest = policy;
    std::iter::from_fn(move || {
        let (&head, after) = rest.split_first()?;
        let pattern = after
            .split_first_chunk::<2>()
            .and_then(|(len, after)| after.split_at_checked(usize::from(u16::from_le_bytes(*len))));
        rest = pattern.map_or(&[], |(_, after)| after);
        Some(pattern.map(|(pattern, _)| (head, pattern)))
    })
}

/// Whether these bytes are a policy.
pub fn is_policy(bytes: &[u8]) -> bool {
    let is_statement = |statement: Option<(u8, &[u8])>| {
        statement.is_some_and(|(_, pattern)| {
            let parts = pattern.split(|byte| *byte == DEVICE).count();
            pattern.len() <= PATTERN_BYTES_MAX && parts <= DEVICES_PER_PATTERN_MAX + 1
        })
    };
    bytes.len() <= POLICY_BYTES_MAX && statements(bytes).all(is_statement)
}

fn says(policy: &[u8], device: &DeviceId, method: u8, path: &Path) -> Option<Effect> {
    let mut said = None;
    if !path.is_whole {
        return said;
    }
    for (head, pattern) in statements(policy).flatten() {
        let is_meant = head & method_bit(method) != 0;
        let is_deny = head & DENY != 0;
        if !is_meant || (said.is_some() && !is_deny) || !fits(pattern, device, path.as_bytes()) {
            continue;
        }
        if is_deny {
            return Some(Effect::Deny);
        }
        said = Some(Effect::Allow);
    }
    said
}

fn fits(pattern: &[u8], device: &DeviceId, path: &[u8]) -> bool {
    if !pattern.contains(&DEVICE) {
        return matches(pattern, path);
    }
    let mut written = [0; PATTERN_BYTES_MAX + DEVICES_PER_PATTERN_MAX * DEVICE_TEXT_BYTES];
    let mut len = 0;
    for &byte in pattern {
        let text = device_text(device);
        let part: &[u8] = if byte == DEVICE { &text } else { std::slice::from_ref(&byte) };
        let Some(room) = written.get_mut(len..len + part.len()) else { return false };
        room.copy_from_slice(part);
        len += part.len();
    }
    matches(&written[..len], path)
}

/// A UUID as text (RFC 9562 section 4).
fn device_text(device: &DeviceId) -> [u8; DEVICE_TEXT_BYTES] {
    let mut text = [b'-'; DEVICE_TEXT_BYTES];
    let places = (0..DEVICE_TEXT_BYTES).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
    let digits = device.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for (place, digit) in places.zip(digits) {
        text[place] = HEX[usize::from(digit)].to_ascii_lowercase();
    }
    text
}

/// Whether the text is as the pattern has it. *Bound:* a step for each byte of the text and of the
/// pattern, multiplied: only the last `*` is ever tried again.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(t) {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(&wanted), _) if wanted == b'?' || wanted == byte => {
                p += 1;
                t += 1;
            }
            (_, Some((at, from))) => {
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests;
