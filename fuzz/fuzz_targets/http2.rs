//! Any frames on a connection of HTTP/2, through TLS and the whole gateway to an application: nothing panics, what
//! arrives is strict and nobody's, there are no more requests than streams were opened, and the connection ends.
//! What frames cost does not depend on how their bytes were split.

#![no_main]

use std::collections::HashSet;
use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
// What the included file calls its own crate.
use stytch_gateway::clock;

#[path = "../../src/server/http2/frames.rs"]
#[allow(dead_code, unused_imports, reason = "written for the gateway, which uses all of it")]
mod frames;
#[allow(dead_code, reason = "what counts heads is for HTTP/1.1")]
mod strict;
mod world;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The stream of the last request.
const LAST: [u8; 4] = [0x7f, 0xff, 0xff, 0xfd];
/// How long that may stay unanswered where the frames before it keep the connection from going on.
const A_WHILE: Duration = Duration::from_millis(300);

static GATEWAY: LazyLock<(SocketAddr, Arc<ClientConfig>)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("there is room").keep();
    let own = rcgen::generate_simple_self_signed(["app.test".to_owned()]).expect("a name");
    std::fs::write(directory.join("tls.crt"), own.cert.pem()).expect("there is room");
    std::fs::write(directory.join("tls.key"), own.signing_key.serialize_pem()).expect("there is room");
    let settings = "listen = []\n[server.tls]\nlisten = \"127.0.0.1:0\"\ncert = \"$DIR/tls.crt\"\nkey = \"$DIR/tls.key\"";
    let address = world::start(&directory, settings).1.expect("it listens");
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).expect("a certificate");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (address, Arc::new(config))
});

/// The frames that are whole, and how many streams they open at most.
fn whole(bytes: &[u8]) -> (&[u8], usize) {
    let (mut streams, mut rest) = (HashSet::new(), bytes);
    while let Some((head, behind)) = rest.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let Some(behind) = behind.get(length as usize..) else { break };
        if head[3] == HEADERS {
            streams.insert([head[5] & 0x7f, head[6], head[7], head[8]]);
        }
        rest = behind;
    }
    (&bytes[..bytes.len() - rest.len()], streams.len())
}

/// A request behind all others: `GET https://app.test/`, of HPACK's static table but for the name.
fn last() -> Vec<u8> {
    let block = b"\x82\x87\x84\x01\x08app.test";
    let length = u8::try_from(block.len()).expect("it is short");
    [&[0, 0, length, HEADERS, END_STREAM | END_HEADERS], &LAST[..], block].concat()
}

/// Reads until the last request is answered, the connection ends, or nothing comes for a while.
fn await_last(stream: &mut impl Read) {
    let (mut held, mut scratch) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut scratch) {
        held.extend_from_slice(&scratch[..read]);
        while let Some((head, behind)) = held.split_at_checked(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if behind.len() < length {
                break;
            }
            if head[3] == HEADERS && head[5..9] == LAST {
                return;
            }
            held.drain(..9 + length);
        }
    }
}

/// The two readings of the same frames.
fn count(bytes: &[u8]) {
    let (mut whole, mut split) = (frames::Frames::new(0), frames::Frames::new(0));
    let enough = |frames: &mut frames::Frames, bytes: &[u8]| !frames.judge(bytes, clock::Ticks::MIN);
    let together = enough(&mut whole, bytes);
    let apart = bytes.iter().any(|byte| enough(&mut split, &[*byte]));
    assert_eq!(together, apart);
    assert_eq!((whole.in_head(), whole.last_stream()), (split.in_head(), split.last_stream()));
}

fuzz_target!(|bytes: &[u8]| {
    count(&[PREFACE, bytes].concat());
    let (frames, streams) = whole(bytes);
    let (address, config) = &*GATEWAY;
    let mut socket = world::connect(*address, streams + 1);
    let name = ServerName::try_from("app.test").expect("a name");
    let mut tls = ClientConnection::new(Arc::clone(config), name).expect("a configuration");
    let mut stream = Stream::new(&mut tls, &mut socket);
    // What the gateway does not want any more is nobody's.
    let _ = stream.write_all(&[PREFACE, frames, &last()].concat()).and_then(|()| stream.flush());
    stream.sock.set_read_timeout(Some(A_WHILE)).expect("a socket");
    await_last(&mut stream);
    stream.conn.send_close_notify();
    let _ = stream.flush();
    let _ = socket.shutdown(Shutdown::Write);
    socket.set_read_timeout(Some(world::PATIENCE)).expect("a socket");
    world::read_to_the_end(&mut socket);
});
