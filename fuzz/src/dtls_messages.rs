//! Can a key exchange or certificate message be read without harm, and is what we write of it read
//! the same? Input: which message (1 byte), then its body.

use tidegate_dtls::certificate::{
    Certificate, CertificateRequest, CertificateType, CertificateVerify,
};
use tidegate_dtls::key_exchange::{ClientKeyExchange, ServerKeyExchange};
use tidegate_dtls::suite::KeyExchange;

pub(crate) fn run(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let key_exchange =
        [KeyExchange::Psk, KeyExchange::EcdhePsk, KeyExchange::EcdheEcdsa][usize::from(kind % 3)];
    let certificate_type =
        [CertificateType::X509, CertificateType::RawPublicKey][usize::from(kind % 2)];
    let mut written = Vec::new();
    match kind / 6 % 5 {
        0 => match ServerKeyExchange::parse(key_exchange, body) {
            Ok(message) => message.write(&mut written),
            Err(_) => return,
        },
        1 => match ClientKeyExchange::parse(key_exchange, body) {
            Ok(message) => message.write(&mut written),
            Err(_) => return,
        },
        2 => match Certificate::parse(certificate_type, body) {
            Ok(message) => message.write(&mut written),
            Err(_) => return,
        },
        3 => match CertificateRequest::parse(body) {
            Ok(message) => message.write(&mut written),
            Err(_) => return,
        },
        _ => match CertificateVerify::parse(body) {
            Ok(message) => message.write(&mut written),
            Err(_) => return,
        },
    }
    assert_eq!(written, body, "a message has one form alone");
}
