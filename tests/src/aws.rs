//! How do AWS's own clients speak to the edge? `aws` and boto3 from the pinned environment, with
//! the overlay of `deploy/aws` that teaches them the CoAP members.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::edge::{Edge, REGION};
use crate::repository::{cached, root};

/// AWS's clients, pointed at one edge with its root key.
#[derive(Clone, Debug)]
pub struct Aws {
    environment: Vec<(&'static str, String)>,
}

impl Aws {
    /// The environment that `make run` prints for people.
    pub fn of(edge: &Edge) -> Self {
        let key = edge.root_key();
        let environment = vec![
            ("AWS_ENDPOINT_URL_IOT_WIRELESS", format!("http://127.0.0.1:{}", edge.http_port)),
            ("AWS_ENDPOINT_URL_IOT", format!("http://127.0.0.1:{}", edge.http_port)),
            ("AWS_DATA_PATH", root().join("deploy/aws/models").display().to_string()),
            ("AWS_ACCESS_KEY_ID", key.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", key.secret_access_key),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            // Nothing of the person who runs the tests: no profile, no metadata service, no proxy.
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_MAX_ATTEMPTS", "1".to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ];
        Self { environment }
    }

    /// The same with another secret key.
    #[must_use]
    pub fn with_secret(mut self, secret: &str) -> Self {
        for (name, value) in &mut self.environment {
            if *name == "AWS_SECRET_ACCESS_KEY" {
                secret.clone_into(value);
            }
        }
        self
    }

    /// `aws iotwireless …`: its JSON (null for an empty answer), or what it said on stderr.
    pub fn cli(&self, arguments: &[&str]) -> Result<Value, String> {
        self.cli_of("iotwireless", arguments)
    }

    /// `aws <service> …`.
    pub fn cli_of(&self, service: &str, arguments: &[&str]) -> Result<Value, String> {
        let mut command = self.command("venv/bin/aws");
        command.args([service, "--output", "json"]).args(arguments);
        json(command.output().expect("timeout and aws can be run"))
    }

    /// A Python program that has `client` (boto3, iotwireless) and `core` (iot) and prints JSON, or
    /// its traceback.
    pub fn boto3(&self, program: &str) -> Result<Value, String> {
        let mut command = self.command("venv/bin/python");
        let head = "import boto3, json\nclient = boto3.client('iotwireless')\n\
            core = boto3.client('iot')\n";
        command.args(["-c", &format!("{head}{program}")]);
        json(command.output().expect("timeout and python can be run"))
    }

    /// Another program, with the environment that AWS's clients read.
    pub fn tell_all(&self, command: &mut Command) {
        command.envs(self.environment.clone());
        command.env_remove("AWS_PROFILE").env_remove("AWS_SESSION_TOKEN");
    }

    /// A program of `tests/foreign/python` that reads JSON and prints JSON, or its traceback.
    pub fn python(&self, program: &str, given: &Value) -> Result<Value, String> {
        let mut command = self.command("venv/bin/python");
        command.arg(root().join("tests/foreign/python").join(program));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("timeout and python can be run");
        let mut stdin = child.stdin.take().expect("it is piped");
        let written = stdin.write_all(given.to_string().as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        // A program that did not read on has said why.
        json(output).and_then(|said| written.map(|()| said).map_err(|e| e.to_string()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.arg(GIVE_UP_S).arg(cached(program, "aws"));
        self.tell_all(&mut command);
        command
    }
}

const GIVE_UP_S: &str = "240";

fn json(output: Output) -> Result<Value, String> {
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))
}
