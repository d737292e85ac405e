//! What can an operator order, with a daemon and without one?
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

struct Place {
    dir: PathBuf,
    config: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir =
            std::env::temp_dir().join(format!("tidegate-admin-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(dir.join("run")).unwrap();
        let config = dir.join("controlplane.toml");
        let text = format!(
            "run_dir = \"{0}/run\"\ndata_dir = \"{0}/data\"\nhttp.listen = \"127.0.0.1:0\"\n\
             aws.account_id = \"123456789012\"\n",
            dir.display()
        );
        fs::write(&config, text).unwrap();
        Self { dir, config }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-controlplane"));
        command.arg("--config").arg(&self.config);
        command
    }

    /// What an order says, or why it was refused.
    fn admin(&self, order: &[&str]) -> Result<Value, String> {
        let output = self.command().arg("admin").args(order).output().unwrap();
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).unwrap())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }

    fn daemon(&self) -> Daemon {
        let child = self.command().arg("serve").stderr(Stdio::piped()).spawn().unwrap();
        let socket = self.dir.join("data").join("admin.sock");
        let daemon = Daemon(child);
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(start.elapsed() < Duration::from_mins(1), "the daemon does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o600);
        daemon
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Daemon(Child);

impl Daemon {
    /// What it wrote to standard error.
    fn stop(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        self.0.wait().unwrap();
        said
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap()
}

/// The whole life of an account.
fn live(place: &Place) -> Vec<String> {
    let made = place.admin(&["account", "create", "acme"]).unwrap();
    let (account, secret) = (text(&made, "AccountId"), text(&made, "SecretAccessKey").to_owned());
    assert!(account.len() == 12 && secret.len() == 40 && text(&made, "AccessKeyId").len() == 20);
    let of = ["--account", account];
    let with = |order: &[&str]| place.admin(&[order, &of[..]].concat());
    let accounts = place.admin(&["account", "list"]).unwrap();
    let ids: Vec<_> = accounts["Accounts"].as_array().unwrap().iter().collect();
    assert_eq!(ids.len(), 2);
    assert_eq!((&ids[0]["AccountId"], &ids[1]["Name"]), (&json!("123456789012"), &json!("acme")));

    with(&["user", "create", "ann"]).unwrap();
    assert!(with(&["user", "create", "ANN"]).unwrap_err().contains("there is a user"));
    let policy = place.dir.join("policy.json");
    let document = json!({ "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": "iotwireless:Get*", "Resource": "*" }] });
    fs::write(&policy, document.to_string()).unwrap();
    let at = format!("@{}", policy.display());
    let attach = ["policy", "attach", "--user", "ann", "--name", "read", "--document"];
    with(&[&attach[..], &[&at]].concat()).unwrap();
    assert!(with(&[&attach[..], &["{}"]].concat()).unwrap_err().contains("Version"));
    let policies = with(&["policy", "list", "--user", "ann"]).unwrap();
    assert_eq!(policies["Policies"][0]["Document"], document);
    let key = with(&["key", "create", "--user", "ann"]).unwrap();
    let next = place.admin(&["key", "rotate", text(&key, "AccessKeyId")]).unwrap();
    assert_ne!(key, next);
    assert!(place.admin(&["key", "rotate", text(&key, "AccessKeyId")]).is_err(), "it is gone");
    let keys = with(&["key", "list"]).unwrap().to_string();
    assert!(keys.contains(text(&next, "AccessKeyId")) && !keys.contains("Secret"));

    with(&["quota", "set", "devices", "7"]).unwrap();
    assert!(with(&["quota", "set", "devices", "0"]).is_err());
    assert_eq!(with(&["quota", "get"]).unwrap()["Quotas"]["devices"], 7);
    with(&["quota", "set", "devices", "default"]).unwrap();
    assert_eq!(with(&["quota", "get"]).unwrap()["Quotas"]["devices"], 100_000);
    let of_root = place.admin(&["quota", "get"]).unwrap();
    assert_eq!(of_root["Quotas"]["devices"], Value::Null, "the root has none");

    assert!(place.admin(&["account", "terminate", "123456789012"]).is_err(), "the root stays");
    place.admin(&["account", "terminate", account]).unwrap();
    assert!(with(&["user", "list"]).unwrap_err().contains("no such account"));
    let proof = place.admin(&["erasure-proof", "--marker", text(&next, "AccessKeyId")]).unwrap();
    assert!(proof["Files"].as_u64().unwrap() > 3, "{proof}");
    let left = place.admin(&["erasure-proof", "--marker", "account-of-nobody"]);
    assert!(left.is_ok(), "{left:?}");
    vec![secret, text(&next, "SecretAccessKey").to_owned()]
}

#[test]
fn an_account_lives_and_ends_without_a_daemon() {
    live(&Place::new());
}

#[test]
fn an_account_lives_and_ends_in_a_running_daemon_whose_log_has_no_secret() {
    let place = Place::new();
    let daemon = place.daemon();
    let secrets = live(&place);
    let said = daemon.stop();
    assert!(said.contains("an account was terminated"), "{said}");
    assert!(secrets.iter().all(|secret| !said.contains(secret)));
}

/// What was made without a daemon is there with one, and the other way about.
#[test]
fn both_ways_see_the_same() {
    let place = Place::new();
    let made = place.admin(&["account", "create", "one"]).unwrap();
    let daemon = place.daemon();
    place.admin(&["user", "create", "ann", "--account", text(&made, "AccountId")]).unwrap();
    daemon.stop();
    let users = place.admin(&["user", "list", "--account", text(&made, "AccountId")]).unwrap();
    assert_eq!(users["Users"].as_array().unwrap().len(), 2, "its root and ann: {users}");
}
