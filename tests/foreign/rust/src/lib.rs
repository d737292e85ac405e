//! What is a device told on its command line? `HOST PORT [OPTION=VALUE …]`, the options being
//! those of `../coap_device.c`; bytes from stdin then go into the session and back to stdout.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

pub type Fallible<T> = Result<T, Box<dyn Error>>;

/// A command line.
pub struct Options {
    pub server: SocketAddr,
    values: HashMap<String, String>,
}

impl Options {
    pub fn from_command_line() -> Fallible<Self> {
        let mut arguments = std::env::args().skip(1);
        let mut next = || arguments.next().ok_or("HOST PORT [OPTION=VALUE …]");
        let server = format!("{}:{}", next()?, next()?).parse()?;
        let pair = |argument: String| {
            let (name, value) = argument.split_once('=').unwrap_or((&argument, ""));
            (name.to_owned(), value.to_owned())
        };
        Ok(Self { server, values: arguments.map(pair).collect() })
    }

    pub fn get(&self, name: &str) -> Fallible<&str> {
        self.values.get(name).map(String::as_str).ok_or_else(|| format!("no {name}=").into())
    }

    /// Whether a second session is wanted, made of what the library kept of the first.
    pub fn again(&self) -> bool {
        self.values.contains_key("again")
    }

    /// The one suite, as on the wire.
    pub fn code(&self) -> Fallible<u16> {
        Ok(u16::from_str_radix(self.get("code")?, 16)?)
    }

    /// Identity and key.
    pub fn psk(&self) -> Fallible<Option<(Vec<u8>, Vec<u8>)>> {
        let Ok(psk) = self.get("psk") else { return Ok(None) };
        let (identity, key) = psk.split_once(':').ok_or("psk=IDENTITY:KEYHEX")?;
        let digits = |at| u8::from_str_radix(&key[at..at + 2], 16);
        let key: Result<_, _> = (0..key.len()).step_by(2).map(digits).collect();
        Ok(Some((identity.as_bytes().to_vec(), key?)))
    }

    /// Our certificate and its key.
    pub fn certified(&self) -> Fallible<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>)> {
        let certificate = CertificateDer::from_pem_slice(&fs::read(self.get("cert")?)?)?;
        Ok((certificate, PrivatePkcs8KeyDer::from_pem_slice(&fs::read(self.get("key")?)?)?))
    }

    /// Whom to trust.
    pub fn roots(&self) -> Fallible<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&fs::read(self.get("ca")?)?)?)?;
        Ok(roots)
    }

    /// Judges the server's chain and name.
    pub fn verifier(&self) -> Fallible<Arc<WebPkiServerVerifier>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots()?), provider)
            .build()?)
    }
}

/// Ends the program with the library's own words on stderr.
pub fn end(result: Fallible<()>) -> ! {
    match result {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1)
        }
    }
}
