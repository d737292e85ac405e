//! What does the command say of the server's keys before anything serves?
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::KeyPair;

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("tidegate-command-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A private file.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A configuration with this certificate and key.
    fn config(&self, certificate: &Path, key: &Path) -> PathBuf {
        let data_dir = self.0.join("data");
        let (data_dir, certificate, key) =
            (data_dir.display(), certificate.display(), key.display());
        let text = format!(
            "data_dir = \"{data_dir}\"\n[[server_identity]]\n\
             certificate = \"{certificate}\"\nkey = \"{key}\"\n"
        );
        self.write("controlplane.toml", &text)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What it said, and whether all was well.
fn run(action: &str, config: &Path) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-controlplane"));
    let output = command.arg(action).arg("--config").arg(config).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.success())
}

#[test]
fn a_check_reads_the_certificates_and_keys() {
    let place = Place::new();
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let params = rcgen::CertificateParams::new(vec!["edge.example".to_owned()]).unwrap();
    let certificate = place.write("edge.pem", &params.self_signed(&key).unwrap().pem());
    let good = place.write("edge.key", &key.serialize_pem());
    let wrong = place.write("other.key", &other.serialize_pem());

    let (said, is_good) = run("check", &place.config(&certificate, &good));
    assert!(is_good && said.ends_with(": good\n"), "{said}");
    let (printed, _) = run("print", &place.config(&certificate, &good));
    assert!(printed.contains("[[server_identity]]") && !printed.contains("BEGIN"), "{printed}");
    for (key, fault) in [(&wrong, "is not of the key"), (&place.0.join("none"), "No such file")] {
        let (said, is_good) = run("check", &place.config(&certificate, key));
        assert!(!is_good && said.contains(fault), "{said}");
    }
}

#[test]
fn the_raw_key_is_shown_once_there_is_one() {
    let place = Place::new();
    let config =
        place.write("controlplane.toml", &format!("data_dir = \"{}\"\n", place.0.display()));
    let (said, is_good) = run("server-key", &config);
    assert!(!is_good && said.contains("has the control plane run"), "{said}");
    let key = KeyPair::generate().unwrap();
    place.write("server-key.pem", &key.serialize_pem());
    let (said, is_good) = run("server-key", &config);
    assert!(is_good, "{said}");
    let pem = key.public_key_pem().replace("\r\n", "\n");
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    assert!(said.contains(&format!("SubjectPublicKeyInfo: {base64}\n")), "{said}");
    assert!(said.ends_with(&pem), "{said}");
    assert!(!said.contains("PRIVATE"), "{said}");
}
