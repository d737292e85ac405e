//! How does webrtc-dtls carry a device's bytes? PSK and X.509. Its `psk_identity_hint` is the
//! client's identity.

use std::sync::Arc;

use foreign_devices::{Fallible, Options, end};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use webrtc_dtls::cipher_suite::CipherSuiteId;
use webrtc_dtls::config::{Config, ExtendedMasterSecretType};
use webrtc_dtls::conn::DTLSConn;
use webrtc_dtls::crypto::{Certificate, CryptoPrivateKey, CryptoPrivateKeyKind};

fn main() -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    end(runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run())))
}

async fn run() -> Fallible<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = Options::from_command_line()?;
    let config = config(&options)?;
    if options.again() {
        connect(&options, &config).await?.close().await?;
    }
    let session = connect(&options, &config).await?;
    let (mut typed, mut heard) = ([0; 1500], [0; 1500]);
    let (mut stdin, mut stdout) = (tokio::io::stdin(), tokio::io::stdout());
    loop {
        tokio::select! {
            n = stdin.read(&mut typed) => match n? {
                0 => return Ok(session.close().await?),
                n => _ = session.write(&typed[..n], None).await?,
            },
            n = session.read(&mut heard, None) => {
                stdout.write_all(&heard[..n?]).await?;
                stdout.flush().await?;
            }
        }
    }
}

fn config(options: &Options) -> Fallible<Config> {
    let mut config = Config {
        cipher_suites: vec![CipherSuiteId::from(options.code()?)],
        extended_master_secret: ExtendedMasterSecretType::Require,
        ..Config::default()
    };
    if let Some((identity, key)) = options.psk()? {
        config.psk = Some(Arc::new(move |_hint: &[u8]| Ok(key.clone())));
        config.psk_identity_hint = Some(identity);
        return Ok(config);
    }
    let (certificate, key) = options.certified()?;
    let der = key.secret_pkcs8_der().to_vec();
    config.certificates =
        vec![Certificate { certificate: vec![certificate], private_key: private_key(der)? }];
    config.roots_cas = options.roots()?;
    options.get("sni")?.clone_into(&mut config.server_name);
    Ok(config)
}

fn private_key(der: Vec<u8>) -> Fallible<CryptoPrivateKey> {
    let random = ring::rand::SystemRandom::new();
    let algorithm = &ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let pair = ring::signature::EcdsaKeyPair::from_pkcs8(algorithm, &der, &random)
        .map_err(|error| error.to_string())?;
    Ok(CryptoPrivateKey { kind: CryptoPrivateKeyKind::Ecdsa256(pair), serialized_der: der })
}

async fn connect(options: &Options, config: &Config) -> Fallible<DTLSConn> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(options.server).await?;
    Ok(DTLSConn::new(Arc::new(socket), config.clone(), true, None).await?)
}
