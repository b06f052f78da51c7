//! Tests that talk to a running gateway, as its clients, its upstreams and Stytch do.
//!
//! One binary, a file for each door or subject; `world` sets the scene.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail as a test does")]

mod access_tokens;
mod assertion;
mod attacks;
mod audit_log;
mod binary;
mod calls;
mod client;
mod credentials;
mod echo;
mod edge;
mod envoy;
mod explain;
mod ext_authz;
mod forward_auth;
mod forwarding;
mod gate;
mod harness;
mod headers;
mod http2;
mod keys;
mod operation;
mod outages;
mod parking;
mod permissions;
mod pki;
mod policies;
mod program;
mod properties;
#[path = "../../stytch-emulator/tests/it/published.rs"]
mod published;
mod rules;
mod sessions;
mod signin;
mod streams;
mod tidy;
mod tls;
mod upstreams;
mod webhook;
mod wire;
mod world;
