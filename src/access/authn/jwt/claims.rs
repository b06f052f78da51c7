//! The claims of a token, as far apart as they have to be taken.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

const SESSION: &str = "https://stytch.com/session";

/// Of claims that are repeated the last counts (RFC 7519 section 4).
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The session claim, most of a token, as it came.
    pub(super) session: Option<Box<RawValue>>,
    pub(super) others: Map<String, Value>,
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the claims of a token")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut claims = Claims::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == SESSION {
                        claims.session = Some(map.next_value()?);
                    } else {
                        claims.others.insert(name, map.next_value()?);
                    }
                }
                Ok(claims)
            }
        }

        deserializer.deserialize_map(Read)
    }
}
