//! A local stand-in for Stytch's API, for tests and demonstrations.
//!
//! It serves both verticals, B2B and Consumer, well enough for the official SDKs, makes its keys
//! at start, keeps nothing on disk, and takes orders through a control API under `/emulator/` and,
//! in the same process, through [`Emulator`]. Whoever can reach it can sign in as anyone, so it has
//! no place in what ships.
//!
//! A call is taken in by `server`, which notes it and lets ordered faults strike; goes to a
//! function in `api` or `control`, which works on the `state`; and leaves in the JSON of `wire`, or
//! as an `error`.

// In process, or over HTTP:
mod emulator;
mod server;

// what a call may meet first,
mod fault;
mod journal;

// who answers it,
mod api;
mod control;

// on what ground,
mod access_token;
mod clock;
mod device;
mod grant;
mod login;
mod outbox;
mod passcode;
mod pkce;
mod provider;
mod redirect;
mod session;
mod state;
mod totp;
mod webhook;
mod world;

// and how it is said.
mod error;
mod ids;
mod jwt;
mod keys;
mod page;
mod wire;

pub use control::{ControlError, Session};
pub use emulator::{
    AppTokenBuilder, Emulator, M2mTokenBuilder, SessionBuilder, StartError, TokenBuilder, WebhookBuilder,
};
pub use fault::Fault;
pub use journal::{Body, Request};
pub use keys::Key;
pub use outbox::Message;
pub use webhook::Webhook;
pub use world::{SeedError, World};
