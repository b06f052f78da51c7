//! Accepts connections, holds them to their limits, and hands each request to its door.

pub mod connection;
mod corked;
pub mod descriptors;
pub mod framing;
pub mod gauge;
mod http1;
pub mod http2;
pub mod incoming;
pub mod inherited;
pub mod listener;
pub mod parking;
pub mod proxy_header;
pub mod record;
pub mod tls;
pub mod tracked;
pub mod worker;
