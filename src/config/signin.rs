//! The settings of the sign-in pages.

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OauthProvider, RoundTrips, Secret};
use crate::access::host::Authority;
use crate::signin::texts::Texts;

/// The pages on which people sign in.
#[derive(Debug, Clone)]
pub struct Signin {
    pub enabled: bool,
    /// What the gateway's own endpoints are under, enabled or not. Without a slash at the end.
    pub base_path: String,
    pub methods: Vec<SigninMethod>,
    /// In the order in which they are shown.
    pub oauth_providers: Vec<OauthProvider>,
    /// None where no way to sign in leaves the gateway.
    pub round_trips: Option<RoundTrips>,
    /// Of a new session, in the unit that Stytch takes.
    pub session_minutes: u32,
    /// That every session begun here gets.
    pub custom_claims: serde_json::Map<String, serde_json::Value>,
    /// Whether whoever has proved an address may make an organization. Members alone.
    pub create_organizations: bool,
    pub brand: Brand,
    /// None: no script runs on the pages.
    pub device: Option<DeviceScript>,
    pub texts: Arc<Texts>,
    /// Hosts other than the request's own that one may return to.
    pub redirects: Vec<Authority<'static>>,
    /// None: one is made at the start.
    pub state_key: Option<Secret>,
}

/// The script that tells devices apart, as the pages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceScript {
    pub script: String,
    /// Where it sends what it has found.
    pub submit: String,
    /// The origin of that.
    pub collector: String,
    pub public_token: String,
}

/// How the sign-in pages look.
#[derive(Debug, Clone, Default)]
pub struct Brand {
    /// None: the host.
    pub name: Option<String>,
    /// Red, green and blue.
    pub accent: Option<[u8; 3]>,
    pub logo: Option<Logo>,
}

/// An image for the sign-in pages.
#[derive(Debug, Clone)]
pub struct Logo {
    pub image: Bytes,
    /// Of the bytes, whatever the file is called.
    pub media_type: &'static str,
    /// What the image can be told from another by, in hexadecimal.
    pub version: String,
}

/// A way to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SigninMethod {
    EmailOtp,
    SmsOtp,
    WhatsappOtp,
    MagicLink,
    Oauth,
    Sso,
}
