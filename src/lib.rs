//! A reverse proxy that checks every request's Stytch session in front of services that know
//! nothing of Stytch.
//!
//! The modules stand in the order in which a request meets them; see ARCHITECTURE.md.

pub mod cli;
pub mod config;

pub mod app;

// A connection arrives,
pub mod server;

// a door turns its requests into questions,
pub mod endpoints;
pub mod exchange;
pub mod ext_authz;
pub mod fields;
pub mod passage;
pub mod proxy;

// one place answers them,
pub mod access;

// and the request goes on, or is turned back.
pub mod client;
pub mod identity;
pub mod protected_resource;
pub mod refusal;
pub mod reply;
pub mod signin;
pub mod site;
pub mod upstream;

// Beside the path.
pub mod admin;
pub mod clock;
pub mod explain;
pub mod field_lines;
pub mod intake;
pub mod limiter;
pub mod metrics;
pub mod outbox;
pub mod readiness;
pub mod sending;
pub mod stytch;
pub mod telemetry;
