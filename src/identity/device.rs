//! What a session says of the device it was signed in from: a custom claim of the gateway's own.
//!
//! Stytch tells of a device once, in the answer to a sign-in, and never again of the session. So the
//! gateway has it keep what rules ask about, in a claim that Stytch signs: there for every replica,
//! for JWTs that are checked here, and for templates (`{claims.stytch_gateway_device.country}`).
//!
//! What holds: what is not there, or not in this form, is unknown, and an unknown device meets no
//! rule.

use serde_json::{Map, Value};

use super::Identity;

/// The claim's name. No setting may give it to sessions.
pub const CLAIM: &str = "stytch_gateway_device";

/// Fields of the claim.
pub const VISITOR_ID: &str = "visitor_id";
pub const IS_NEW: &str = "is_new";
/// Seconds.
pub const KNOWN_FOR: &str = "known_for";
pub const COUNTRY: &str = "country";

/// The device of a session's last sign-in.
#[derive(Clone, Copy)]
pub struct Device<'a>(&'a Map<String, Value>);

impl Identity {
    /// None where the session says nothing of a device, and for tokens that are no session's.
    #[must_use]
    pub fn device(&self) -> Option<Device<'_>> {
        self.session.as_ref()?;
        let claim = self.claims.get(CLAIM)?.as_object()?;
        claim.get(VISITOR_ID)?.as_str().filter(|id| !id.is_empty())?;
        Some(Device(claim))
    }
}

impl<'a> Device<'a> {
    /// Whether the person had signed in from it before.
    #[must_use]
    pub fn is_known(self) -> bool {
        self.0.get(IS_NEW).and_then(Value::as_bool) == Some(false)
    }

    /// For how many seconds it had been known at the sign-in. None where it was new, or nobody says
    /// since when.
    #[must_use]
    pub fn known_for(self) -> Option<u64> {
        self.0.get(KNOWN_FOR).and_then(Value::as_u64).filter(|_| self.is_known())
    }

    /// Of the address at the sign-in, as Stytch names countries: `DE`.
    #[must_use]
    pub fn country(self) -> Option<&'a str> {
        self.0.get(COUNTRY)?.as_str().filter(|country| !country.is_empty())
    }
}
