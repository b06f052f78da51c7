//! A reverse proxy that checks every request's Stytch session in front of services that know
//! nothing of Stytch.

pub mod cli;
pub mod config;

pub mod access;

pub mod identity;
