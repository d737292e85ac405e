//! Does a sheet of policies or of trust parse, whatever its bytes are, and is what parses of use?
//! An entry of any kind splits or does not.

use tidegate_ring::contract as wire;
use tidegate_ring::policy::{self, Sheet};
use tidegate_ring::trust;

pub(crate) fn run(input: &[u8]) {
    if let Some(sheet) = Sheet::parse(input) {
        for class in (0..16).filter_map(|number| sheet.class(number)) {
            let path = [&b"sensors"[..], b"7"].into_iter();
            let _ = sheet.allows(&class, &[7; 16], 1, path);
        }
    }
    if let Some(items) = trust::parse(input) {
        let mut sheet = Vec::new();
        assert!(items.iter().all(|item| trust::write(&mut sheet, item)), "what parses fits");
        assert_eq!(trust::parse(&sheet).expect("ours parses").len(), items.len());
    }
    if let Some((pattern, text)) = input.split_at_checked(input.len() / 2) {
        let _ = policy::matches(pattern, text);
        let _ = policy::is_policy(text);
    }
    let _ = wire::Uplink::split(input);
    let _ = wire::Outcome::split(input);
    let _ = wire::Published::split(input);
    let _ = wire::Downlink::split(input);
}
