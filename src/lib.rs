//! A reverse proxy that checks every request's Stytch session in front of services that know
//! nothing of Stytch.

pub mod access;
pub mod client;
pub mod config;

pub mod access;

pub mod identity;
