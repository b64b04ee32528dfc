//! Clients that are slow, many or too wordy do not starve the others.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use tempfile::tempdir;

use crate::support::server::{Server, eventually};

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url("").replace("http://", "")).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    stream
}

#[test]
fn a_client_that_does_not_say_what_it_wants_is_cut_off() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    // Silent; the first letter of both protocols; a request whose first line never ends.
    for begun in ["", "P", "GET /"] {
        let mut stream = connect(&server);
        stream.write_all(begun.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Closed by the server before our own timeout, whether in order or by a reset.
        let read = stream.read_to_end(&mut answer);
        let timed_out = read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "`{begun}` is still connected");
    }
}

#[test]
fn connections_beyond_the_limit_are_refused_until_others_end() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let healthy = || {
        let mut stream = connect(&server);
        let asked = stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.starts_with("HTTP/1.1 200 ")
    };
    assert!(healthy());
    // Each has said what it wants, so that none is cut off before the last has come, however slow the machine.
    let seated = |_| {
        let mut stream = connect(&server);
        // Those beyond the limit may be refused already.
        let _ = stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n");
        stream
    };
    let crowd: Vec<TcpStream> = (0..streamgauge::http::listen::CONNECTIONS_MAX + 8).map(seated).collect();
    eventually(|| (!healthy()).then_some(())).expect("the crowd has every seat");
    drop(crowd);
    eventually(|| healthy().then_some(())).expect("seats are free again");
    let metrics = server.get("/metrics", None).body;
    let refused = metrics.lines().find_map(|line| line.strip_prefix("streamgauge_http_connections_refused_total "));
    assert!(refused.and_then(|count| count.parse::<f64>().ok()).is_some_and(|count| count >= 1.0), "{refused:?}");
}

#[test]
fn headers_without_end_are_refused() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut stream = connect(&server);
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n").unwrap();
    let line = format!("X-Padding: {}\r\n", "x".repeat(4000));
    // The server stops reading at some point; what matters is that it answers with a refusal or closes.
    for _ in 0..1000 {
        if stream.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(server.get("/-/healthy", None).status, 200);
}
