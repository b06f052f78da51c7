//! What a session lacks that its owner can give it by signing in again, as links say it.
//!
//! What holds: what a link asks for is read into one of a few known needs, or it is none; it opens
//! nothing and decides nothing, since the route that asked judges again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::access::rejection::StepUp;
use crate::identity::{FACTORS, Session};

const MFA: &str = "mfa";
const RECENT: &str = "recent";
const DEVICE: &str = "device";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Needed {
    /// Types of factor, all of them (REFERENCE.md 2.3).
    Factors(Vec<String>),
    /// Factors of two types.
    Mfa,
    /// Any factor, now.
    Recent,
    /// Any factor, from a device that Stytch recognises.
    Device,
}

impl Needed {
    /// As [`fmt::Display`] writes it: `mfa`, `recent`, `device`, or types of factor with commas between them.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text {
            MFA => return Some(Self::Mfa),
            RECENT => return Some(Self::Recent),
            DEVICE => return Some(Self::Device),
            _ => {}
        }
        let mut factors = Vec::new();
        for name in text.split(',') {
            let known = FACTORS.iter().find(|known| **known == name)?;
            if !factors.iter().any(|factor| factor == known) {
                factors.push((*known).to_owned());
            }
        }
        Some(Self::Factors(factors))
    }

    #[must_use]
    pub fn of(wanted: &StepUp) -> Self {
        match wanted {
            StepUp { factors, .. } if !factors.is_empty() => Self::Factors(factors.clone()),
            StepUp { mfa: true, .. } => Self::Mfa,
            StepUp { device: true, .. } => Self::Device,
            _ => Self::Recent,
        }
    }

    /// Whether a factor of this type is (a part of) what the session lacks.
    #[must_use]
    pub fn is_met_by(&self, kind: &str, session: &Session) -> bool {
        match self {
            Self::Factors(factors) => {
                factors.iter().any(|wanted| wanted == kind) && !session.has_factor(kind)
            }
            Self::Mfa => !session.has_factor(kind),
            Self::Recent | Self::Device => true,
        }
    }

    /// Whether the session has it already. How old a factor may be, and what a device must be, only
    /// the route knows.
    #[must_use]
    pub fn is_had_by(&self, session: &Session) -> bool {
        match self {
            Self::Factors(factors) => factors.iter().all(|wanted| session.has_factor(wanted)),
            Self::Mfa => session.is_multi_factor(),
            Self::Recent | Self::Device => false,
        }
    }
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Factors(factors) => f.write_str(&factors.join(",")),
            Self::Mfa => f.write_str(MFA),
            Self::Recent => f.write_str(RECENT),
            Self::Device => f.write_str(DEVICE),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_rules_want_comes_back_from_a_link() {
        let factors = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (wanted, text) in [
            (StepUp { mfa: true, ..StepUp::default() }, "mfa"),
            (StepUp { max_auth_age: Some(60), ..StepUp::default() }, "recent"),
            (StepUp { device: true, ..StepUp::default() }, "device"),
            (StepUp { factors: factors(&["totp", "sso"]), ..StepUp::default() }, "totp,sso"),
        ] {
            let needed = Needed::of(&wanted);
            assert_eq!(needed.to_string(), text);
            assert_eq!(Needed::read(text), Some(needed));
        }
    }

    #[test]
    fn nothing_else_is_asked_for() {
        for text in
            ["", "MFA", "mfa ", "totp,", "totp,mfa", "topt", "<script>", "1", "recent,totp", ",", "\0"]
        {
            assert_eq!(Needed::read(text), None, "{text:?}");
        }
        assert_eq!(Needed::read("totp,totp"), Needed::read("totp"));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_of_known_words(text in "[a-z_,<\"]{0,20}|.{0,10}") {
            if let Some(needed) = Needed::read(&text) {
                prop_assert_eq!(Needed::read(&needed.to_string()), Some(needed));
            }
        }
    }
}
