//! Any bytes on a connection of HTTP/1.1, through the whole gateway to an application: nothing panics, what arrives
//! is strict and nobody's, there are no more requests than a strict reader sees, and the connection ends.

#![no_main]

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

mod strict;
mod world;

static GATEWAY: LazyLock<SocketAddr> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("there is room").keep();
    world::start(&directory, "listen = \"127.0.0.1:0\"").0.expect("it listens")
});

fuzz_target!(|bytes: &[u8]| {
    let mut stream = world::connect(*GATEWAY, strict::heads(bytes));
    // What the gateway does not want any more is nobody's.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    world::read_to_the_end(&mut stream);
});
