//! Can a hello be read without harm, and is what we write of it read the same?

use tidegate_dtls::cookie::{CookieJar, Greeting, VERIFY_BYTES, greet};
use tidegate_dtls::hello::{ClientHello, ServerHello, parse_hello_verify_request};

pub(crate) fn run(data: &[u8]) {
    let jar = CookieJar::new(0, &[1; 32], 1_000);
    let mut out = [0; VERIFY_BYTES];
    match greet(&jar, 0, b"peer", data, &mut out) {
        Greeting::Verify(len) => assert!(len <= data.len(), "amplified"),
        Greeting::Proven => panic!("nobody can guess a cookie"),
        Greeting::Drop(_) => {}
    }
    if let Ok(hello) = ClientHello::parse(data) {
        let mut written = Vec::new();
        hello.write(&mut written);
        let again = ClientHello::parse(&written).expect("what we write is readable");
        assert_eq!(again.head, hello.head);
        let known = tidegate_dtls::extension::Extensions { others: false, ..hello.extensions };
        assert_eq!(again.extensions, known);
    }
    if let Ok(hello) = ServerHello::parse(data) {
        let mut written = Vec::new();
        hello.write(&mut written);
        assert!(ServerHello::parse(&written).is_ok());
    }
    let _ = parse_hello_verify_request(data);
}
