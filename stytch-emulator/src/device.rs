//! Devices, as Stytch's device fingerprinting tells them apart: who signed in from which, and since
//! when.
//!
//! A browser's script submits what it has found and gets a telemetry id for it; a sign-in that names
//! the id is answered with the device's history with that person. An id that nobody got is passed
//! over, and the answer tells of no device.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ids;
use crate::state::State;

/// Where people are who submit something, by the address that is seen of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) ip_address: String,
    pub(crate) city: String,
    pub(crate) region: String,
    pub(crate) country: String,
}

impl Default for Place {
    /// An address that nobody has (RFC 5737).
    fn default() -> Self {
        Self {
            ip_address: "192.0.2.7".into(),
            city: "London".into(),
            region: "England".into(),
            country: "GB".into(),
        }
    }
}

/// What was submitted under a telemetry id.
#[derive(Debug, Clone)]
struct Submitted {
    visitor_id: String,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
struct Sighting {
    first: Timestamp,
    last: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Devices {
    /// Where whoever submits something next is.
    pub(crate) place: Place,
    submitted: HashMap<String, Submitted>,
    /// By whom and what of theirs: a device, an address or a country.
    sightings: HashMap<(String, &'static str, String), Sighting>,
}

impl Devices {
    /// A new telemetry id for what a script has found.
    pub(crate) fn submit(&mut self, visitor_id: &str) -> String {
        let id = ids::plain();
        let submitted = Submitted { visitor_id: visitor_id.into(), place: self.place.clone() };
        self.submitted.insert(id.clone(), submitted);
        id
    }

    /// Has somebody been seen with a device for the first time at that time.
    pub(crate) fn remember(&mut self, subject: &str, visitor_id: &str, first: Timestamp) {
        self.sightings
            .insert((subject.into(), "visitor", visitor_id.into()), Sighting { first, last: first });
    }

    fn see(&mut self, subject: &str, kind: &'static str, what: &str, now: Timestamp) -> Value {
        let key = (subject.to_owned(), kind, what.to_owned());
        let known = self.sightings.get(&key).copied();
        let first = known.map_or(now, |known| known.first);
        self.sightings.insert(key, Sighting { first, last: now });
        let last = known.map_or(now, |known| known.last);
        json!({ "is_new": known.is_none(), "first_seen_at": first, "last_seen_at": last })
    }
}

impl State {
    /// The device of somebody who signs in, as the API shows it; null where none is known.
    pub(crate) fn device_of(&mut self, subject: &str, telemetry_id: Option<&str>) -> Value {
        let now = self.now();
        let devices = &mut self.devices;
        let Some(submitted) = telemetry_id.and_then(|id| devices.submitted.get(id).cloned()) else {
            return Value::Null;
        };
        let Submitted { visitor_id, place } = submitted;
        json!({
            "visitor_id": visitor_id,
            "visitor_id_details": devices.see(subject, "visitor", &visitor_id, now),
            "ip_address": place.ip_address,
            "ip_address_details": devices.see(subject, "address", &place.ip_address, now),
            "ip_geo_city": place.city,
            "ip_geo_region": place.region,
            "ip_geo_country": place.country,
            "ip_geo_country_details": devices.see(subject, "country", &place.country, now),
        })
    }
}
