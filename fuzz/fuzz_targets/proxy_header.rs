//! Any bytes as the header of a connection from a proxy: read in bounds, and not a byte too far.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stytch_gateway::server::proxy_header::{Header, parse};

fuzz_target!(|bytes: &[u8]| {
    let mut read = 0;
    while let Ok(Header::Needs(more)) = parse(&bytes[..read]) {
        assert!(more > 0 && read + more <= 16 + 8 * 1024);
        read += more;
        if read > bytes.len() {
            return;
        }
    }
    // A header that is whole has no room for another byte.
    if let Ok(Header::Whole(_)) = parse(&bytes[..read]) {
        assert!(read == bytes.len() || parse(&bytes[..read + 1]).is_err());
    }
});
