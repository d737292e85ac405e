//! Can every example be read, and is every key documented?

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_dtls::Suite;
use tidegate_loadgen::scenario::{Kind, Load, Scenario};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn examples() -> Vec<(String, Scenario)> {
    let directory = repository().join("deploy/scenarios");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, Scenario::load(&path, &[]).unwrap_or_else(|error| panic!("{error}")))
    };
    paths.map(read).collect()
}

#[test]
fn every_example_can_be_read_and_printed() {
    let examples = examples();
    assert!(examples.len() >= 8, "the examples were found");
    for (name, scenario) in examples {
        let key = ["dtls.psk=x".to_owned()];
        let changes = if scenario.dtls.psk.is_some() { &key[..] } else { &[] };
        let again = Scenario::parse(&scenario.to_toml(), changes).unwrap();
        assert_eq!(again.to_toml(), scenario.to_toml(), "{name}");
    }
}

#[test]
fn the_examples_show_every_kind_of_phase_and_both_loops() {
    let examples = examples();
    let phases: Vec<_> = examples.iter().flat_map(|(_, scenario)| &scenario.phases).collect();
    for kind in [Kind::Connect, Kind::Requests, Kind::Sleepy, Kind::Storm] {
        assert!(phases.iter().any(|phase| phase.kind == kind), "{kind:?}");
    }
    let open = |load: Load| matches!(load, Load::Open { .. });
    assert!(phases.iter().any(|phase| open(phase.load(1))));
    assert!(phases.iter().any(|phase| !open(phase.load(1))));
    assert!(phases.iter().any(|phase| phase.requests.iter().any(|r| r.block_bytes > 0)));
    assert!(phases.iter().any(|phase| phase.rebind_every > 0));
}

/// Those of certificates need some.
#[test]
fn one_example_has_a_storm_of_every_suite_with_a_pre_shared_key() {
    let examples = examples();
    let (_, scenario) = examples.iter().find(|(name, _)| name == "suites.toml").unwrap();
    for suite in Suite::ALL.into_iter().filter(|suite| suite.key_exchange().is_psk()) {
        let has = |resume_percent| {
            scenario.phases.iter().any(|phase| {
                let is_it = Suite::from_name(&format!("TLS_{}", phase.suites[0])) == Some(suite);
                is_it && phase.resume_percent == resume_percent
            })
        };
        assert!(has(0) && has(100), "{}", suite.name());
    }
}

/// Each begins with what it is for and how it is run.
#[test]
fn every_example_says_how_to_run_it() {
    for (name, _) in examples() {
        let text = fs::read_to_string(repository().join("deploy/scenarios").join(&name)).unwrap();
        assert!(text.starts_with("# "), "{name}");
        assert!(text.contains(&format!("run deploy/scenarios/{name}")), "{name}");
        let is_short = |line: &str| line.chars().count() <= 100;
        assert!(text.lines().all(is_short), "{name}");
    }
}

/// Keys as the parser knows them: it names them all when it meets one that it doesn't.
fn keys(table: &str) -> Vec<String> {
    let text = format!(
        "[target]\nserver = 'coap://a'\n{}\n[[phase]]\nname = 'a'\nkind = 'requests'\n{}",
        if table.starts_with("phase") || table == "root" { "" } else { "[TABLE]\nunheard_of = 1" },
        match table {
            "phase" => "unheard_of = 1",
            "phase.request" => "[[phase.request]]\nunheard_of = 1",
            _ => "",
        }
    );
    let text = match table {
        "root" => format!("unheard_of = 1\n{text}"),
        "target" => text.replacen("[TABLE]\n", "", 1),
        other => text.replacen("TABLE", other, 1),
    };
    let error = Scenario::parse(&text, &[]).unwrap_err();
    let expected = error.split("expected one of").nth(1);
    let expected = expected.or_else(|| error.split("expected").nth(1));
    let expected = expected.unwrap_or_else(|| panic!("{table}: {error}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_key_is_documented() {
    let guide = fs::read_to_string(repository().join("docs/loadgen.md")).unwrap();
    let tables =
        ["root", "target", "dtls", "coap", "fleet", "phase", "phase.request", "thresholds"];
    let mut all = 0;
    for table in tables {
        let keys = keys(table);
        assert!(keys.len() >= 2, "{table}: {keys:?}");
        all += keys.len();
        for key in keys {
            let is_table =
                guide.contains(&format!("[{key}]")) || guide.contains(&format!("[[{key}]]"));
            let is_nested = guide.contains(&format!("[[phase.{key}]]"));
            let is_documented = guide.contains(&format!("| `{key}` |")) || is_table || is_nested;
            assert!(is_documented, "{table}: {key} is not in docs/loadgen.md");
        }
    }
    assert!(all > 60, "{all} keys");
}
