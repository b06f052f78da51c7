//! A whole gateway in this process, with an application behind it that reads as strictly as can be.
//!
//! What holds of whatever arrives there, or the process aborts: it is a request of RFC 9112 with nothing to repair,
//! no identity header is on it, for nobody is known here, and it was sent on a connection on which a strict
//! reader sees at least so many requests. Each input comes from an address of its own, and the gateway says which.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use stytch_gateway::app::App;
use stytch_gateway::config;

use crate::strict::{self, Framing};

/// How long anything may take that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

/// How many more requests may arrive from an address.
static EXPECTED: LazyLock<Mutex<HashMap<String, usize>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Starts the gateway for good. `more` is put behind `[server]`, and `$DIR` in it is a folder for files.
/// Returns where it listens in clear text, and for https.
pub(crate) fn start(directory: &Path, more: &str) -> (Option<SocketAddr>, Option<SocketAddr>) {
    start_before(serve, directory, more)
}

/// The same before an application of one's own, which is given each connection.
pub(crate) fn start_before(
    serve: fn(&TcpStream),
    directory: &Path,
    more: &str,
) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = upstream.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in upstream.incoming() {
            std::thread::spawn(move || serve(&stream.expect("the listener lives")));
        }
    });
    let settings = format!(
        r#"
[stytch]
project_id = "project-test-00000000-0000-0000-0000-000000000000"
secret = "secret-test-1"
api_url = "http://127.0.0.1:1"
[admin]
listen = "127.0.0.1:0"
[telemetry]
access_log = "off"
[upstreams.app]
url = "http://{address}"
[[routes]]
path = "/*"
upstream = "app"
auth = "none"
encoded_slashes = "keep"
[server]
workers = 1
{}"#,
        more.replace("$DIR", &directory.display().to_string())
    );
    let file = directory.join("gateway.toml");
    std::fs::write(&file, settings).expect("there is room");
    let loaded = config::load(&[file], std::iter::empty()).unwrap_or_else(|error| panic!("{error}"));
    let app = App::bind(loaded).expect("ports are free");
    let first = |addresses: &[String]| addresses.first().map(|address| address.parse().expect("an address"));
    let at = (first(app.addresses()), first(app.tls_addresses()));
    let (commands, receiver) = tokio::sync::mpsc::channel(1);
    std::mem::forget(commands);
    std::thread::spawn(move || app.serve(receiver));
    at
}

/// A connection from an address that nobody had before, on which so many requests may be seen.
pub(crate) fn connect(to: SocketAddr, requests: usize) -> TcpStream {
    let [_, b, c, d] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // 127.0.0.0/8 is all ours; its first 65 536 addresses are everybody's.
    let from = Ipv4Addr::new(127, b.saturating_add(1), c, d);
    EXPECTED.lock().expect("nobody panicked").insert(from.to_string(), requests);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
    socket.bind(&SockAddr::from(SocketAddr::from((from, 0)))).expect("the address is free");
    // Nothing of it lingers: there would be hundreds each second.
    socket.set_linger(Some(Duration::ZERO)).expect("a socket");
    socket.set_tcp_nodelay(true).expect("a socket");
    socket.connect(&SockAddr::from(to)).expect("the gateway listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// Reads until the gateway closes, which it must.
pub(crate) fn read_to_the_end(stream: &mut impl Read) {
    let mut scratch = [0; 4096];
    loop {
        match stream.read(&mut scratch) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the connection does not end")
            }
            Err(_) => return,
        }
    }
}

/// The application's side of one connection.
fn serve(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader) {
        let shown = head.escape_ascii().to_string();
        let head = strict::head(&head).unwrap_or_else(|| panic!("not strict: {shown}"));
        assert!(head.target.starts_with('/') || head.target == "*", "not in origin form: {shown}");
        assert_eq!(head.all("host").len(), 1, "{shown}");
        let owned = |name: &str| {
            name.replace(|mark: char| !mark.is_ascii_alphanumeric(), "-").starts_with("x-stytch")
        };
        assert!(!head.fields.iter().any(|(name, _)| owned(name)), "an identity that nobody has: {shown}");
        let &[from] = &head.all("x-forwarded-for")[..] else { panic!("whose is it? {shown}") };
        let mut expected = EXPECTED.lock().expect("nobody panicked");
        let left = expected.get_mut(from).unwrap_or_else(|| panic!("from nobody: {shown}"));
        *left = left.checked_sub(1).unwrap_or_else(|| panic!("more than a strict reader sees: {shown}"));
        drop(expected);
        if read_body(&mut reader, head.framing, &shown).is_none() {
            return;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if (&*stream).write_all(answer).is_err() {
            return;
        }
    }
}

/// The next head with the empty line at its end; nothing when the connection ends first.
pub(crate) fn read_head(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// Nothing when the connection ends within it.
fn read_body(reader: &mut impl BufRead, framing: Framing, shown: &str) -> Option<()> {
    let skip = |reader: &mut dyn BufRead, length: u64| {
        let read = std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
        (read == length).then_some(())
    };
    let Framing::Chunked = framing else {
        let Framing::Length(length) = framing else { return Some(()) };
        return skip(reader, length);
    };
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok().filter(|read| *read > 0)?;
        if !line.ends_with(b"\n") {
            return None;
        }
        let size = strict::chunk_size(&line)
            .unwrap_or_else(|| panic!("a chunk of {shown}: {}", line.escape_ascii()));
        if size == 0 {
            let mut trailers = Vec::new();
            while trailers != b"\r\n" && !trailers.ends_with(b"\r\n\r\n") {
                reader.read_until(b'\n', &mut trailers).ok().filter(|read| *read > 0)?;
            }
            let text = trailers.escape_ascii().to_string();
            let fields = strict::fields(&trailers).unwrap_or_else(|| panic!("trailers of {shown}: {text}"));
            let harmful = ["content-length", "transfer-encoding", "host", "authorization", "cookie"];
            assert!(!fields.iter().any(|(name, _)| harmful.contains(&name.as_str())), "{shown}: {text}");
            return Some(());
        }
        skip(reader, size)?;
        let mut end = [0; 2];
        reader.read_exact(&mut end).ok()?;
        assert_eq!(&end, b"\r\n", "{shown}");
    }
}
