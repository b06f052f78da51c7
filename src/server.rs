//! Accepts connections, holds them to their limits, and hands each request to its door.

pub mod connection;
pub mod framing;
pub mod gauge;
pub mod io;
pub mod listener;
pub mod record;
pub mod worker;
