//! Do the reports say what was measured? A run that was made up, told three ways.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tidegate_loadgen::measurement::{ErrorKind, Latency, Measurement};
use tidegate_loadgen::report::Run;
use tidegate_loadgen::scenario::Scenario;

const SCENARIO: &str = r#"
title = "A <made-up> run"
[target]
server = "coaps://127.0.0.1"
[dtls]
psk_identity = "device-{n}"
psk = "hush-hush"
[fleet]
devices = 1000
[[phase]]
name = "connect"
kind = "connect"
outstanding = 64
[[phase]]
name = "steady"
kind = "requests"
rate_per_s = 1000
duration_s = 30
[[phase.request]]
path = "/t"
payload_bytes = [40, 60]
[phase.thresholds]
p99_ms = 20
error_ratio = 0.0001
[thresholds]
completed_min = 1000
"#;

const SECOND_NS: u64 = 1_000_000_000;

/// 1 000 handshakes of 2 to 12 ms in two seconds.
fn connect() -> Measurement {
    let mut measurement = Measurement::new();
    for number in 0..1_000 {
        measurement.advance(number * 2_000_000);
        measurement.record_handshake_begun();
        measurement.record_handshake(false, 2_000_000 + number * number * 10);
        measurement.record_out(3, 500);
        measurement.record_in(3, 400);
        measurement.record_own_cpu(60_000);
    }
    measurement.finish(2 * SECOND_NS);
    measurement
}

/// 1 000 requests a second with a stall between the 12th and the 14th, and 28 errors.
fn steady() -> Measurement {
    let mut measurement = Measurement::new();
    let mut noise = 1_u64;
    for number in 0..30_000_u64 {
        let due_ns = number * 1_000_000;
        measurement.advance(due_ns);
        measurement.record_request();
        measurement.record_out(1, 77);
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut service_ns = 150_000 + (noise >> 44);
        if noise >> 54 == 7 {
            service_ns += 9_000_000;
        }
        let stall_end_ns = 14 * SECOND_NS;
        let waits_ns = if (12..14).contains(&(number / 1_000)) { stall_end_ns - due_ns } else { 0 };
        match number {
            _ if number % 2_000 == 7 => measurement.record_error(ErrorKind::Timeout),
            _ if number % 3_000 == 9 => measurement.record_refusal(0xa3),
            20_100..20_103 => measurement.record_error(ErrorKind::Reset),
            _ => {
                let since_due_ns = waits_ns + service_ns;
                let latency = Latency { since_due_ns, since_sent_ns: Some(service_ns) };
                measurement.record_response(0x44, latency);
                measurement.record_in(1, 48);
            }
        }
        measurement.record_own_cpu(3_000);
        measurement.record_server_cpu(3_400 + (noise >> 54));
    }
    measurement.finish(30 * SECOND_NS);
    measurement
}

fn run(phases: impl IntoIterator<Item = Measurement>) -> Run {
    let mut run = Run::new(Scenario::parse(SCENARIO, &[]).unwrap());
    run.measurements.extend(phases);
    run
}

#[test]
fn the_text_names_what_was_missed() {
    let text = run([connect(), steady()]).to_text();
    assert!(text.contains("connect: 1 000 devices shake hands, 64 at a time"), "{text}");
    assert!(text.contains("1 000 full, 0 resumed"), "{text}");
    assert!(text.contains("1 000/s (open loop), for 30 s"), "{text}");
    assert!(
        text.contains("15 no response in time, 3 answered by a Reset, 10 answered by a 5.xx"),
        "{text}"
    );
    assert!(text.contains("LIMIT MISSED      p99_ms: "), "{text}");
    assert!(text.ends_with("failed: 2 of 4 limits missed\n"), "{text}");
}

#[test]
fn json_has_every_figure() {
    let json = run([connect(), steady()]).to_json();
    assert_eq!(json["passed"], false);
    let [connect, steady] = &json["phases"].as_array().unwrap()[..] else { panic!("two phases") };
    assert_eq!(
        (&connect["completed"], &connect["handshakes"]["full"]),
        (&1_000.into(), &1_000.into())
    );
    assert_eq!(connect["latency_ms"], serde_json::Value::Null, "no requests");
    assert_eq!(connect["cpu"]["server_us_each"], serde_json::Value::Null, "not measured");
    assert_eq!(
        steady["errors"],
        serde_json::json!({ "timeout": 15, "reset": 3, "response_5xx": 10 })
    );
    assert_eq!(steady["responses"], serde_json::json!({ "2.04": 29_972, "5.03": 10 }));
    let ms = |name: &str, percentile: &str| steady[name][percentile].as_f64().unwrap();
    assert!(ms("latency_ms", "p99") > 1_000.0, "the stall is seen by those who had to wait");
    assert!(ms("since_sent_ms", "p99") < 20.0, "and not by those who were sent after it");
    let intervals = steady["intervals"].as_array().unwrap();
    assert_eq!(intervals.len(), 30);
    let completed: u64 = intervals.iter().map(|i| i["completed"].as_u64().unwrap()).sum();
    assert_eq!(completed, 29_972);
    assert!(!json.to_string().contains("hush"), "the key stays out");
}

#[test]
fn a_run_that_was_broken_off_has_not_passed() {
    let part = run([connect()]);
    assert!(!part.is_passed() && !part.is_whole());
    assert!(part.to_text().ends_with("broken off: 1 of 2 phases were begun\n"));
    assert_eq!(part.to_json()["phases"].as_array().unwrap().len(), 1);
    let mut stopped = run([connect(), connect()]);
    stopped.is_stopped = true;
    assert!(!stopped.is_whole(), "in its last phase");
}

/// Phases stand beside each other where there are several with requests.
#[test]
fn the_page_compares_phases() {
    let again = "[[phase]]\nname = 'later'\nkind = 'requests'\noutstanding = 9\ncount = 9\n\
        [[phase.request]]\n[thresholds]";
    let scenario = SCENARIO.replacen("[thresholds]", again, 1);
    let mut both = Run::new(Scenario::parse(&scenario, &[]).unwrap());
    both.measurements = vec![connect(), steady(), steady()];
    let page = both.to_html();
    assert_eq!(page.matches("<svg class=\"plot\"").count(), 13, "four of each phase, and one");
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compared.html"), &page).unwrap();
}

/// The page is kept, to be looked at.
#[test]
fn the_page_needs_nothing_beside_itself() {
    let page = run([connect(), steady()]).to_html();
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("report.html"), &page).unwrap();
    for foreign in ["<script", "src=", "href=\"http", "url(", "@import"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("A &lt;made-up&gt; run") && !page.contains("<made-up>"));
    assert!(page.contains("failed: 2 of 4 limits missed") && !page.contains("hush"));
    assert_eq!(page.matches("<svg class=\"plot\"").count(), 8, "four of each phase");
    assert_eq!(page.matches("aria-label").count(), page.matches("<svg").count());
    for element in ["section", "figure", "table", "details", "svg", "g", "p", "dl"] {
        let (begun, ended) = (format!("<{element}"), format!("</{element}>"));
        let begun = page
            .match_indices(&begun)
            .filter(|(at, found)| page[at + found.len()..].starts_with([' ', '>']));
        assert_eq!(begun.count(), page.matches(&ended).count(), "{element}");
    }
}
