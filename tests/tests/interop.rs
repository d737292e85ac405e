//! Which foreign clients does the edge serve, with which suites and credentials, with and without
//! Connection ID and resumption? Everything is tried; `docs/interop.md` must say what came out.

#![forbid(unsafe_code)]

use tidegate_tests::api::{coap, payload, text};
use tidegate_tests::client_hello;
use tidegate_tests::coap_tool::CoapTool;
use tidegate_tests::document;
use tidegate_tests::edge::Edge;
use tidegate_tests::fleet::Fleet;
use tidegate_tests::foreign::{self, Client, Target};
use tidegate_tests::matrix::{Attempt, Matrix, Way};
use tidegate_tests::suite::Credential;

#[test]
fn foreign_clients_and_our_edge() {
    let mut fleet = Fleet::default();
    let mut edge = fleet.edge();
    let mut matrix = Matrix::default();
    for row in rows_of_clients(&fleet, &edge) {
        matrix.append(row);
    }
    // These can't be told one suite: the edge is.
    for (number, tool) in CoapTool::ALL.into_iter().enumerate() {
        let target = fleet.provision(&edge, Client::ALL.len() + number);
        matrix.append(Matrix::row(tool.name(), |what| {
            tool.can(&target, what)?;
            edge.restart_dataplane_with(&format!("suites = [{:?}]", what.suite.name));
            let payload = unique(tool.name(), what);
            tool.puts(&target, what.credential, &payload)?;
            was_published(&edge, &target, what, &payload);
            Ok(())
        }));
    }
    let text = matrix.to_markdown();
    let failures = matrix.failures();
    assert!(failures.is_empty(), "{}\n\n{text}", failures.join("\n\n"));
    document::says("interop.md", "clients", &text);
}

/// The reason given in the tables for the lack of Connection IDs, from the tools' own mouths. (The
/// other rows look into each ClientHello.)
#[test]
fn openssl_and_gnutls_offer_no_connection_id() {
    let mut fleet = Fleet::default();
    let edge = fleet.edge();
    let mut target = fleet.provision(&edge, 0);
    let credential = Credential::Psk;
    let way = Way { cid: false, resumed: false };
    let what = Attempt { credential, suite: &credential.suites()[0], way };
    let hellos = [foreign::openssl_command, foreign::gnutls_command].map(|command| {
        client_hello::of(|port| {
            target.port = port;
            command(&target, &what)
        })
    });
    for hello in hellos {
        assert!(hello.suites.contains(&what.suite.code), "a whole hello: {hello:?}");
        assert!(hello.extensions.contains(&EXTENDED_MASTER_SECRET), "{hello:?}");
        assert!(!hello.extensions.contains(&CONNECTION_ID), "{hello:?}");
    }
}

/// What this attempt alone puts.
fn unique(program: &str, what: &Attempt) -> String {
    format!("{program} {:?} {} {:?}", what.credential, what.suite.name, what.way)
}

/// The uplink is in the event stream, which is replayed from its start, and is the device's that
/// the credential stands for.
fn was_published(edge: &Edge, target: &Target, what: &Attempt, wanted: &str) {
    let mut uplinks = edge.api().events("/uplinks?from=0");
    let uplink = loop {
        let uplink = uplinks.next_event().data;
        if payload(&uplink) == wanted {
            break uplink;
        }
    };
    let said = (text(&uplink, "WirelessDeviceId"), text(coap(&uplink), "SecurityMode"));
    let (device, mode) = target.device(what.credential);
    assert_eq!(said, (device.to_owned(), mode.to_owned()), "{uplink}");
}

/// All at once: they wait more than they compute.
fn rows_of_clients(fleet: &Fleet, edge: &Edge) -> Vec<Matrix> {
    let row = |number: usize, client: Client| {
        let target = fleet.provision(edge, number);
        Matrix::row(client.name(), |what| {
            let payload = unique(client.name(), what);
            client.attempt(&target, what, &payload)?;
            was_published(edge, &target, what, &payload);
            Ok(())
        })
    };
    std::thread::scope(|scope| {
        let numbered = Client::ALL.into_iter().enumerate();
        let rows: Vec<_> =
            numbered.map(|(n, client)| scope.spawn(move || row(n, client))).collect();
        rows.into_iter().map(|row| row.join().expect("no panic in a row")).collect()
    })
}

const EXTENDED_MASTER_SECRET: u16 = 23;
const CONNECTION_ID: u16 = 54;
