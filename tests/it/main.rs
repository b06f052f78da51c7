//! Tests that talk to a running gateway, as its clients, its upstreams and Stytch do.
//!
//! One binary, a file for each door or subject; `world` sets the scene.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail as a test does")]

mod attacks;
mod binary;
mod client;
mod credentials;
mod echo;
mod forwarding;
mod harness;
mod headers;
mod keys;
mod operation;
mod outages;
mod program;
mod rules;
mod sessions;
mod signin;
mod tidy;
mod upstreams;
mod world;
