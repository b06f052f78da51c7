//! One question for every door: may this request pass?
//!
//! This part is pure: it reads a request's head and answers, without sockets or bodies.

pub mod host;
pub mod path;
pub mod rejection;
pub mod route;
