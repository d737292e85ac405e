//! Where do the tests' keys and certificates come from? Made by `openssl` for each run, in a
//! directory of their own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::place::Directory;
use crate::process::Process;

/// A certificate authority on P-256, and what it has signed.
#[derive(Debug)]
pub struct Pki {
    directory: Directory,
    serial: AtomicU32,
}

/// A key pair as files, in every form a foreign program asks for.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// Private key, PKCS #8, PEM.
    pub key: PathBuf,
    /// Private key, SEC1 DER.
    pub key_sec1: PathBuf,
    /// SubjectPublicKeyInfo, DER.
    pub public: PathBuf,
    /// SubjectPublicKeyInfo, PEM.
    pub public_pem: PathBuf,
    /// Private and public key one after the other, PEM.
    pub both_pem: PathBuf,
    /// Certificate, PEM; only [`Pki::certified`] fills the file.
    pub certificate: PathBuf,
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

impl Pki {
    /// An authority of its own.
    pub fn new() -> Self {
        let pki = Self { directory: Directory::new("pki"), serial: AtomicU32::new(2) };
        let ca = pki.key_pair("ca");
        pki.openssl(&format!(
            "req -x509 -new -key {} -out {} -subj /CN=tests -days 2 \
             -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign",
            ca.key.display(),
            ca.certificate.display()
        ));
        pki
    }

    /// The authority's certificate, PEM.
    pub fn authority(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// A fresh key pair on P-256, without a certificate.
    pub fn key_pair(&self, name: &str) -> KeyPair {
        let file = |extension| self.file(&format!("{name}.{extension}"));
        let pair = KeyPair {
            key: file("key"),
            key_sec1: file("sec1"),
            public: file("spki"),
            public_pem: file("pub"),
            both_pem: file("both"),
            certificate: file("crt"),
        };
        let key = pair.key.display();
        self.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {key}"));
        self.openssl(&format!("ec -in {key} -outform DER -out {}", pair.key_sec1.display()));
        self.openssl(&format!(
            "pkey -in {key} -pubout -outform DER -out {}",
            pair.public.display()
        ));
        self.openssl(&format!("pkey -in {key} -pubout -out {}", pair.public_pem.display()));
        let read = |path: &PathBuf| fs::read_to_string(path).expect("openssl wrote it");
        let both = read(&pair.key) + &read(&pair.public_pem);
        fs::write(&pair.both_pem, both).expect("our directory");
        pair
    }

    /// A key pair with a certificate for `CN=<name>` and `DNS:<name>`, for both ends of a session.
    pub fn certified(&self, name: &str) -> KeyPair {
        let pair = self.key_pair(name);
        let request = self.file(&format!("{name}.csr"));
        let extensions = self.directory.write(
            &format!("{name}.ext"),
            &format!(
                "subjectAltName=DNS:{name}\nbasicConstraints=CA:false\n\
                 keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n"
            ),
        );
        let (key, request) = (pair.key.display(), request.display());
        self.openssl(&format!("req -new -key {key} -subj /CN={name} -out {request}"));
        self.openssl(&format!(
            "x509 -req -in {request} -CA {} -CAkey {} -set_serial {} -days 2 -extfile {} -out {}",
            self.authority().display(),
            self.file("ca.key").display(),
            self.serial.fetch_add(1, Ordering::Relaxed),
            extensions.display(),
            pair.certificate.display()
        ));
        pair
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.directory.path());
        Process::run("openssl", &mut command).unwrap_or_else(|e| panic!("{arguments}: {e}"));
    }
}
