//! Any bytes as the answer of an upstream, through the whole gateway: what the client gets whole is what hyper reads in
//! them, or a refusal; an answer that breaks off breaks off for the client too.

#![no_main]

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{LazyLock, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

#[allow(dead_code, reason = "requests are read here by nobody")]
mod strict;
#[allow(dead_code, reason = "its own application is not asked")]
mod world;

/// What the application answers with.
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

static GATEWAY: LazyLock<SocketAddr> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("there is room").keep();
    world::start_before(answer, &directory, "listen = \"127.0.0.1:0\"").0.expect("it listens")
});

fn answer(mut stream: &TcpStream) {
    if world::read_head(&mut BufReader::new(stream)).is_none() {
        return;
    }
    let bytes = ANSWER.lock().expect("nobody panicked").clone();
    // In two pieces, for what is cut is read alike.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let _ = stream.write_all(first).and_then(|()| stream.write_all(second));
    let _ = stream.shutdown(Shutdown::Write);
}

/// Status and body of the answer to a GET, as hyper's client reads it.
fn read(bytes: &[u8]) -> Option<(u16, Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (near, mut far) = duplex(1 << 20);
        let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.ok()?;
        let driven = tokio::spawn(connection);
        let answering = async {
            let _request = far.read(&mut [0; 1024]).await;
            let _ = far.write_all(bytes).await;
            let _ = far.shutdown().await;
            far
        };
        let asking = async {
            let request = hyper::Request::get("/").header("host", "a").body(Empty::<Bytes>::new()).ok()?;
            let response = sender.send_request(request).await.ok()?;
            Some((response.status().as_u16(), response.into_body().collect().await.ok()?.to_bytes()))
        };
        let (_far, read) = tokio::join!(answering, asking);
        driven.abort();
        read
    })
}

fuzz_target!(|bytes: &[u8]| {
    *ANSWER.lock().expect("nobody panicked") = bytes.to_vec();
    let mut stream = world::connect(*GATEWAY, usize::MAX);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut text = Vec::new();
    let whole = stream.read_to_end(&mut text);
    assert!(!whole.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it does not end");
    // What hyper takes and we do not is refused, or breaks off.
    if let Some(passed) = read(&text).filter(|(status, _)| *status != 502) {
        assert_eq!(Some(passed), read(bytes), "{}", text.escape_ascii());
    }
});
