//! Tests of the HTTP server, with real connections on loopback.

use super::*;

fn server() -> Server {
    Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "# EOF\n".to_owned()).ok().expect("a server")
}

fn connect(server: &Server) -> TcpStream {
    let connection = TcpStream::connect(server.address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    connection
}

/// The answer to these bytes.
fn ask(server: &Server, bytes: &[u8]) -> String {
    let mut connection = connect(server);
    connection.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A server that refuses a connection need not read what came.
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n";

#[test]
fn addresses_without_a_host_are_loopback() {
    for text in ["9100", ":9100", "127.0.0.1:9100"] {
        assert_eq!(address(text).unwrap().to_string(), "127.0.0.1:9100");
    }
    assert_eq!(address("[::1]:9100").unwrap().to_string(), "[::1]:9100");
    assert_eq!(address("0.0.0.0:0").unwrap().to_string(), "0.0.0.0:0");
    for text in ["", ":", "here:9100", "127.0.0.1", "65536", "::1:9100:", "127.0.0.1:"] {
        assert!(address(text).is_err(), "{text}");
    }
}

#[test]
fn the_newest_text_is_served_with_its_type_and_length() {
    let server = server();
    assert!(ask(&server, GET).ends_with("Content-Length: 6\r\nConnection: close\r\n\r\n# EOF\n"));
    server.publish("mcast_packets_total 1\n# EOF\n".to_owned());
    let answer = ask(&server, GET);
    assert!(answer.starts_with(&format!("HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\n")), "{answer}");
    assert!(answer.ends_with("\r\n\r\nmcast_packets_total 1\n# EOF\n"), "{answer}");
    let head = ask(&server, b"HEAD /metrics?x=1 HTTP/1.0\r\n\r\n");
    assert!(head.contains("Content-Length: 28\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = server();
    let mut connection = connect(&server);
    for byte in GET {
        connection.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[test]
fn other_requests_are_refused_with_a_reason() {
    let server = server();
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "405"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "400"),
        (b"GET /metrics HTTP/9.9\r\n\r\n", "400"),
    ] {
        let answer = ask(&server, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let headers = |count| [b"GET /metrics HTTP/1.1\r\n".to_vec(), b"A: b\r\n".repeat(count), b"\r\n".to_vec()].concat();
    assert!(ask(&server, &headers(MAX_HEADERS)).starts_with("HTTP/1.1 200 "));
    assert!(ask(&server, &headers(MAX_HEADERS + 1)).starts_with("HTTP/1.1 431 "));
    let long = [b"GET /".to_vec(), vec![b'a'; MAX_REQUEST]].concat();
    assert!(ask(&server, &long).starts_with("HTTP/1.1 431 "));
}

#[test]
fn clients_that_say_nothing_are_few_and_lose_their_places() {
    let server = server();
    let silent: Vec<_> = (0..MAX_CONNECTIONS).map(|_| connect(&server)).collect();
    // All places are taken, as soon as the server has accepted them.
    let end = Instant::now() + PATIENCE;
    while !ask(&server, GET).starts_with("HTTP/1.1 503 ") {
        assert!(Instant::now() < end, "there is no limit");
    }
    let end = Instant::now() + 4 * PATIENCE;
    while !ask(&server, GET).starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < end, "the places are not given back");
        thread::sleep(PAUSE);
    }
    drop(silent);
}
