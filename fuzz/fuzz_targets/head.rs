//! Any bytes, read by the framing guard and by hyper: what the guard lets pass, hyper reads as the
//! same requests with the same bodies, and refuses nothing of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stytch_gateway::server::framing::{Framing, Stop};

#[path = "../../src/server/framing/tests/beside_hyper.rs"]
mod beside_hyper;

fuzz_target!(|bytes: &[u8]| {
    beside_hyper::compare(bytes);
});
