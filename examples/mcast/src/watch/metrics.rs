//! A small HTTP server for the counters. It runs on threads of its own, and whatever its clients do, the watching goes on: the number of
//! connections, the length of a request and the time for each are limited, and the text is made by the watcher, once a second.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::stop::{Stop, failed};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The longest request, in bytes.
const MAX_REQUEST: usize = 8_192;
const MAX_HEADERS: usize = 64;
const MAX_CONNECTIONS: usize = 16;
/// The time for a connection, from the first byte of its request to the last one of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait after a failed `accept(2)`, as when there is no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);
/// More than a connection needs, with its buffers.
const STACK: usize = 128 << 10;

/// The address to serve on: `ADDRESS:PORT`; `:PORT` and `PORT` are of 127.0.0.1.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| format!("{text}: give ADDRESS:PORT, [IPV6]:PORT, or PORT for one on 127.0.0.1"))
}

/// The text that is served at the moment.
#[derive(Clone)]
struct Page(Arc<Mutex<Arc<str>>>);

impl Page {
    fn get(&self) -> Arc<str> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }
}

/// The server. It serves until the process ends.
pub(super) struct Server {
    page: Page,
    pub(super) address: SocketAddr,
}

impl Server {
    /// Starts to serve this text.
    #[inline(never)]
    pub(super) fn start(address: SocketAddr, text: String) -> Result<Self, Stop> {
        let listener = TcpListener::bind(address).map_err(failed(&format!("--metrics {address}")))?;
        let address = listener.local_addr().map_err(failed("--metrics"))?;
        let page = Page(Arc::new(Mutex::new(text.into())));
        let served = page.clone();
        let accept = move || accept(&listener, &served);
        let thread = thread::Builder::new().name("metrics".to_owned()).stack_size(STACK).spawn(accept);
        thread.map_err(failed("start a thread for --metrics"))?;
        Ok(Self { page, address })
    }

    /// Serves this text from now on.
    pub(super) fn publish(&self, text: String) {
        self.page.set(text);
    }
}

fn accept(listener: &TcpListener, page: &Page) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((mut connection, _)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        let place = Place::take(&open);
        if place.number > MAX_CONNECTIONS {
            // It fits into the buffer of a new connection, so it does not block.
            let _ = connection.write_all(answer("503 Service Unavailable", "too many connections\n", true).as_bytes());
            continue;
        }
        let page = page.clone();
        let serve = move || {
            // What a client does wrong is its own affair.
            let _ = serve(&mut connection, &page);
            drop(place);
        };
        // Without a thread, the connection is closed, and so is its place.
        let _ = thread::Builder::new().name("metrics".to_owned()).stack_size(STACK).spawn(serve);
    }
}

/// The place of a connection among those that are open.
struct Place {
    open: Arc<AtomicUsize>,
    number: usize,
}

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        Self { open: Arc::clone(open), number: open.fetch_add(1, Ordering::Relaxed).saturating_add(1) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    /// It is not complete yet.
    Partial,
    Metrics {
        with_body: bool,
    },
    /// The status and the text of the answer.
    Refused(&'static str, &'static str),
}

fn understand(bytes: &[u8]) -> Request {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if bytes.len() < MAX_REQUEST => return Request::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Request::Refused("431 Request Header Fields Too Large", "the request is too long\n");
        }
        Err(_) => return Request::Refused("400 Bad Request", "this is not HTTP\n"),
    }
    let path = request.path.and_then(|path| path.split(['?', '#']).next());
    match (request.method, path) {
        (Some(method @ ("GET" | "HEAD")), Some("/metrics")) => Request::Metrics { with_body: method == "GET" },
        (Some("GET" | "HEAD"), _) => Request::Refused("404 Not Found", "the counters are at /metrics\n"),
        _ => Request::Refused("405 Method Not Allowed", "only GET and HEAD\n"),
    }
}

fn serve(connection: &mut TcpStream, page: &Page) -> std::io::Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut buffer = [0; MAX_REQUEST];
    let mut length = 0;
    let answer = loop {
        connection.set_read_timeout(Some(left(end)?))?;
        let read = match connection.read(buffer.get_mut(length..).unwrap_or_default()) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        length = length.saturating_add(read);
        match understand(buffer.get(..length).unwrap_or(&buffer)) {
            Request::Partial => {}
            Request::Metrics { with_body } => {
                let body = page.get();
                break answer_of_type("200 OK", CONTENT_TYPE, &body, with_body);
            }
            Request::Refused(status, reason) => break answer(status, reason, true),
        }
    };
    write(connection, answer.as_bytes(), end)?;
    connection.shutdown(Shutdown::Write)?;
    // If a connection is closed while bytes of the client are unread, the kernel may discard the answer: `tcp(7)`.
    for _ in 0..16 {
        connection.set_read_timeout(Some(left(end)?))?;
        if connection.read(&mut buffer)? == 0 {
            break;
        }
    }
    Ok(())
}

fn write(connection: &mut TcpStream, bytes: &[u8], end: Instant) -> std::io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        connection.set_write_timeout(Some(left(end)?))?;
        match connection.write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time until `end`, or an error if it is over.
fn left(end: Instant) -> std::io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn answer(status: &str, text: &str, with_body: bool) -> String {
    answer_of_type(status, "text/plain; charset=utf-8", text, with_body)
}

fn answer_of_type(status: &str, content_type: &str, body: &str, with_body: bool) -> String {
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let length = body.len();
    let body = if with_body { body } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{allow}Connection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
