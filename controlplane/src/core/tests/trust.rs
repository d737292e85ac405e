//! The trust sheet: what stands on it, who gets it, and when.

use tidegate_ring::contract::{TRUST_BYTES_MAX, Trust as Piece};
use tidegate_ring::trust::{self, Item, NOSEC_MAX, NoSec, Redacted};

use super::*;
use crate::control::{AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX};
use crate::core::trust::IDENTITIES_BYTES_MAX;
use crate::model::{Fingerprint, SecurityMode};
use crate::store::records::{Authority, Der};

impl Story {
    /// Puts the sheets that were posted together again, as a worker does.
    fn sheets(&self, link: LinkId) -> Vec<(u64, Vec<u8>)> {
        let mut sheets: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut total = 0;
        for post in self.posted(Kind::Trust).iter().filter(|post| post.link == link) {
            let (piece, body) = Piece::split(&post.bytes).unwrap();
            if piece.offset.get() == 0 {
                assert!(sheets.last().is_none_or(|(_, sheet)| sheet.len() == total), "whole");
                total = piece.total.get() as usize;
                sheets.push((piece.generation.get(), Vec::new()));
            }
            let (generation, sheet) = sheets.last_mut().unwrap();
            assert_eq!((*generation, total), (piece.generation.get(), piece.total.get() as usize));
            assert_eq!(sheet.len(), piece.offset.get() as usize, "in order");
            sheet.extend_from_slice(body);
        }
        assert!(sheets.last().is_none_or(|(_, sheet)| sheet.len() == total), "whole");
        sheets
    }

    fn puts_authority(&mut self, certificate: &[u8], is_active: bool) {
        put_authority(&self.store, certificate, is_active);
        self.asks(Request::TrustChanged);
        self.waits_ms(50);
    }
}

fn put_authority(store: &MemoryStore, certificate: &[u8], is_active: bool) {
    let authority = Authority {
        certificate: Der(certificate.to_vec()),
        is_active,
        created_unix_ms: 0,
        changed_unix_ms: 0,
        version: 1,
    };
    let mut tx = Transaction::new();
    tx.put(Table::Authorities, Fingerprint::of(certificate).0, records::encode(&authority));
    store.submit(tx, Box::new(|_| ()));
}

/// The server's identity, as every sheet begins.
fn server() -> Vec<Item<'static>> {
    vec![
        Item::Key(Redacted(b"the server's key")),
        Item::Chain(b"its leaf"),
        Item::Chain(b"its issuer"),
        Item::Name("edge.example"),
    ]
}

#[test]
fn a_worker_gets_the_sheet_when_it_is_attached_and_when_it_says_hello() {
    let mut story = Story::new();
    story.settles();
    assert_eq!(story.sheets(story.link).len(), 1);
    story.hello(1);
    let sheets = story.sheets(story.link);
    assert_eq!(sheets.len(), 2);
    assert_eq!(sheets[0], sheets[1]);
    assert_eq!(trust::parse(&sheets[0].1).unwrap(), server());
}

#[test]
fn a_change_of_an_authority_reaches_every_worker() {
    let mut story = Story::new();
    let first = story.link;
    story.attaches(1);
    let second = story.link;
    story.puts_authority(b"an authority", true);
    for link in [first, second] {
        let sheets = story.sheets(link);
        assert_eq!(sheets.len(), 2);
        assert!(sheets[0].0 < sheets[1].0, "the later has the greater number");
        let mut expected = server();
        expected.push(Item::Authority(b"an authority"));
        assert_eq!(trust::parse(&sheets[1].1).unwrap(), expected);
    }
    story.puts_authority(b"an authority", false);
    let sheets = story.sheets(first);
    assert_eq!(trust::parse(&sheets[2].1).unwrap(), server(), "an inactive one does not vouch");
    story.asks(Request::TrustChanged);
    story.waits_ms(50);
    assert_eq!(story.sheets(first).len(), 3, "the same sheet is not sent again");
}

#[test]
fn changes_are_gathered_for_a_moment() {
    let mut story = Story::new();
    for certificate in [b"one", b"two"] {
        put_authority(&story.store, certificate, true);
        story.asks(Request::TrustChanged);
    }
    story.waits_ms(49);
    assert_eq!(story.sheets(story.link).len(), 1);
    assert_eq!(story.core.pending_ms(), Some(50));
    story.waits_ms(1);
    assert_eq!(story.sheets(story.link).len(), 2);
    assert_eq!(story.core.pending_ms(), None);
}

/// A device without security comes and goes with its record, its mode and its stamp.
#[test]
fn devices_without_security_are_on_the_sheet() {
    let mut story = Story::new();
    let nosec = |port, stamp| {
        let mut ip = [0; 16];
        ip[10..].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
        Item::NoSec(NoSec { ip, port, network: 1, device: DEVICE.0, stamp, class: 0 })
    };
    let last = |story: &mut Story| {
        story.waits_ms(50);
        story.sheets(story.link).last().unwrap().1.clone()
    };
    let from = |text: &str| Some(text.parse().unwrap());
    story.changes(STAMP, |block| block.source_address = from("192.0.2.1"));
    assert_eq!(trust::parse(&last(&mut story)).unwrap()[4..], [nosec(0, STAMP)]);
    story.changes(STAMP + 1, |block| block.source_address = from("192.0.2.1:5683"));
    assert_eq!(trust::parse(&last(&mut story)).unwrap()[4..], [nosec(5683, STAMP + 1)]);
    story.changes(9, |block| block.security_modes = Some(vec![SecurityMode::PreSharedKey]));
    assert_eq!(trust::parse(&last(&mut story)).unwrap(), server(), "it may not any more");
    story.changes(10, |block| block.security_modes = None);
    assert_eq!(trust::parse(&last(&mut story)).unwrap()[4..], [nosec(5683, 10)]);
    let before = read::<Device>(&*story.store, Table::Devices, &DEVICE.0).unwrap();
    let mut tx = Transaction::new();
    tx.changes = Replacement::new(before.as_ref(), None).changes;
    tx.delete(Table::Devices, DEVICE.0);
    story.store.submit(tx, Box::new(|_| ()));
    story.asks(Request::DeviceDeleted { device: DEVICE });
    assert_eq!(trust::parse(&last(&mut story)).unwrap(), server());
}

/// A device with security only costs no sheet.
#[test]
fn other_devices_do_not_touch_the_sheet() {
    let mut story = Story::new();
    story.changes(STAMP + 1, |block| block.certificate_name = Some("CN=x".to_owned()));
    assert_eq!(story.core.pending_ms(), None);
}

/// A worker that outlives us sees numbers grow, also when the clock went back.
#[test]
fn the_number_of_a_sheet_grows_over_restarts() {
    let mut story = Story::new();
    story.waits_ms(1_000_000);
    story.puts_authority(b"an authority", true);
    let before = story.sheets(story.link)[1].0;
    assert_eq!(before, UNIX_MS + 1_000_050);
    let mut story = Story::over(story.store, story.limits);
    story.attaches(0);
    story.settles();
    assert_eq!(story.sheets(story.link)[0].0, before + 1, "the clock says less");
}

/// One damaged record takes nobody else off the sheet; a store that fails is asked again.
#[test]
fn a_damaged_record_is_left_out() {
    let mut story = Story::new();
    let mut tx = Transaction::new();
    tx.put(Table::Authorities, [0; 32], b"{");
    tx.put(Table::Names, [crate::store::names::ADDRESSES, b"x"].concat(), b"?");
    story.store.submit(tx, Box::new(|_| ()));
    story.puts_authority(b"an authority", true);
    let sheets = story.sheets(story.link);
    assert_eq!(trust::parse(&sheets[1].1).unwrap().len(), 5);
    let Some(Ok(Reply::Health(health))) = story.asks(Request::Health) else { panic!("no health") };
    assert_eq!(health.trust_omitted, 2);
}

/// Everything at its bound fits; one more of each is left out, and said.
#[test]
fn the_most_that_is_accepted_fits() {
    for extra in [0, 1] {
        let store = Arc::new(MemoryStore::new(retention()));
        for at in 0..AUTHORITIES_MAX + extra {
            let mut certificate = vec![7; CERTIFICATE_BYTES_MAX];
            certificate[..8].copy_from_slice(&at.to_be_bytes());
            put_authority(&store, &certificate, true);
        }
        for at in 0..NOSEC_MAX + extra {
            let mut unsecured = device();
            unsecured.id.0[..8].copy_from_slice(&at.to_be_bytes());
            let ip = std::net::Ipv4Addr::from(0x0a00_0001 + at as u32);
            unsecured.cellular.as_mut().unwrap().source_address =
                Some(ip.to_string().parse().unwrap());
            put_device(&store, None, &unsecured, 2);
        }
        let mut identity = identities().remove(0);
        let rest: usize = identity.chain.iter().map(|der| der.len() + 5).sum::<usize>()
            + identity.names.iter().map(|name| name.len() + 5).sum::<usize>();
        identity.key = Secret::new(&vec![1; IDENTITIES_BYTES_MAX - rest - 5]);
        let now = Now { ms: 0, unix_ms: UNIX_MS };
        let (limits, identities) = (Limits::default(), vec![identity]);
        let mut story = Story::over(store.clone(), limits.clone());
        story.core = Core::new(now, store, vault(), limits, identities, [7; 32]).unwrap();
        story.attaches(0);
        story.settles();
        let sheets = story.sheets(story.link);
        assert!(sheets[0].1.len() <= TRUST_BYTES_MAX);
        let items = trust::parse(&sheets[0].1).unwrap().len();
        assert_eq!(items, 4 + AUTHORITIES_MAX + NOSEC_MAX);
        let Some(Ok(Reply::Health(health))) = story.asks(Request::Health) else {
            panic!("no health")
        };
        assert_eq!(health.trust_omitted, 2 * extra);
    }
}
