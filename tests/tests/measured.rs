//! Do the tools measure what they say? An import small enough for every run: each line of the file
//! is a device afterwards, and each figure is there.

#![forbid(unsafe_code)]

use std::process::Command;

use serde_json::Value;
use tidegate_tests::place::Directory;
use tidegate_tests::repository::binary;

/// Enough for more than one batch of each tenth.
const DEVICES: &str = "20000";

#[test]
fn an_import_is_measured_from_its_order_to_a_restart_with_its_devices() {
    let place = Directory::new("import");
    let mut command = Command::new(binary("tidegate-ratio"));
    command.args(["import", DEVICES]).env("TIDEGATE_RATIO_DATA", place.path());
    let output = command.output().expect("it can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{error}");
    let figures: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let ours = |what: &str| {
        let name = |figure: &Value| figure["figure"].as_str().unwrap_or_default().contains(what);
        let figure = figures.iter().find(|figure| name(figure));
        figure
            .and_then(|figure| figure["ours"].as_f64())
            .unwrap_or_else(|| panic!("{what}: {said}"))
    };
    for what in ["devices a second", "against the time it took", "until the API is well"] {
        assert!(ours(what) > 0.0, "{said}");
    }
    // Its record, its identity with the sealed key, its standing, its index, its line of the task.
    assert!(ours("a device in the store") > 50.0, "{said}");
    let left = std::fs::read_dir(place.path()).expect("it is there").count();
    assert_eq!(left, 0, "it takes its data away");
}
