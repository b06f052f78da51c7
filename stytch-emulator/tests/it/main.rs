//! The emulator, tested from outside: over HTTP, through its library, and with Stytch's Rust SDK.
//!
//! Every answer a test receives is held against Stytch's published schemas (see `schema`), so a
//! test need only say what is particular about it.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod published;
mod schema;
mod support;

mod connected_apps;
mod control;
mod devices;
mod discovery;
mod faults;
mod keys;
mod links;
mod lookups;
mod m2m;
mod otps;
mod program;
mod providers;
mod rbac;
mod sdk;
mod seed;
mod sessions;
mod sign_in;
mod totps;
mod webhooks;
