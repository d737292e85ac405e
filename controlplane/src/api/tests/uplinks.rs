//! The embedded stream over HTTP.

use super::harness::{FOLLOWERS_MAX, Server};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

/// Opens the stream and reads the head of the answer; returns the status line.
async fn follow(server: &Server, query: &str) -> (String, BufReader<TcpStream>) {
    let headers = server.signed_headers("GET", "/uplinks", query, b"");
    let stream = server.open("GET", &format!("/uplinks?{query}"), &headers, 0).await;
    let mut stream = BufReader::new(stream);
    let mut status = String::new();
    stream.read_line(&mut status).await.unwrap();
    (status, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_are_bounded_and_end_with_the_server() {
    let server = Server::start().await;
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS_MAX {
        let (status, stream) = follow(&server, "from=0").await;
        assert!(status.contains(" 200 "), "{status}");
        followers.push(stream);
    }
    let answer = server.get("/uplinks?from=0").await;
    assert_eq!((answer.status, answer.shape()), (429, "ThrottlingException"));
    // Stopping waits for the streams, so that it returns shows that they ended.
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_a_number() {
    let server = Server::start().await;
    for query in ["from=x", "from=-1", "from="] {
        let answer = server.get(&format!("/uplinks?{query}")).await;
        assert_eq!((answer.status, answer.shape()), (400, "SerializationException"), "{query}");
    }
    server.stop().await;
}
