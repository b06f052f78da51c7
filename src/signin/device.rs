//! The device that somebody signs in from: by which id Stytch knows it, what Stytch says of it, and
//! what the session keeps of that.
//!
//! What holds: the id comes from a script in a browser, so it is no proof of anything, and a sign-in
//! without it is one like any other; what Stytch says in answer counts for the person it was said
//! of; a session says of a device what its last sign-in was told, or nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Desk;
use super::form::Fields;
use super::login::SignedIn;
use super::state::{State, Step};
use crate::config::Secret;
use crate::identity::device::{CLAIM, COUNTRY, IS_NEW, KNOWN_FOR, VISITOR_ID};
use crate::stytch::types::DeviceInfo;
use crate::stytch::{Along, Client, Credential};
use crate::telemetry::audit_log::Seen;

/// The field of a form that the script adds.
const FIELD: &str = "telemetry_id";
/// A UUID in Stytch's documents.
const MAX_ID: usize = 128;
const MAX_CITY: usize = 64;

/// What is known of a device while somebody signs in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// As the script has named it last.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    telemetry_id: Option<String>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    device: Option<Device>,
}

/// What Stytch says of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Device {
    /// Whose sign-in it was said of.
    of: String,
    visitor_id: String,
    is_new: bool,
    /// Seconds since it was seen first. None where nobody says, or it is new.
    known_for: Option<u64>,
    country: Option<String>,
    city: Option<String>,
}

impl Trace {
    pub(super) const fn is_empty(&self) -> bool {
        self.telemetry_id.is_none() && self.device.is_none()
    }
}

impl Step {
    /// Whether its page may run the script that tells devices apart, which comes from elsewhere: never
    /// beside a secret, or where nothing is proved.
    pub(super) fn asks_for_device(&self) -> bool {
        match self {
            Self::Start(_)
            | Self::Code(_)
            | Self::Choose { .. }
            | Self::Create(_)
            | Self::Switch
            | Self::Away(_)
            | Self::Connect { .. }
            | Self::StepUp(_) => true,
            Self::Second(second) => second.enrolling.as_ref().is_none_or(|it| it.setup.is_none()),
            Self::Keep(_) | Self::Left(_) => false,
        }
    }
}

/// Goes on with what a flow knows of the device, and with the id that came along with a form.
pub(super) fn resume(desk: &Desk<'_>, state: &State, form: Option<&Fields<'_>>) {
    if desk.signin.device.is_none() {
        return;
    }
    let mut trace = state.trace.clone();
    let given = form.and_then(|form| form.get(FIELD)).filter(|id| is_id(id));
    trace.telemetry_id = given.map(str::to_owned).or(trace.telemetry_id);
    desk.trace.replace(trace);
}

fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(plain)
}

/// Through which Stytch is told of the device with each proof.
pub(super) fn client(desk: &Desk<'_>) -> Client {
    desk.common.client.at_device(desk.trace.borrow().telemetry_id.as_deref())
}

/// Notes what an answer says of the device. To the second factor a device is known already that the
/// first has just made known: it stays as new as it was.
pub(super) fn saw(desk: &Desk<'_>, subject: &str, info: Option<DeviceInfo>) {
    let Some(mut seen) = info.and_then(|info| Device::read(subject, info, desk.now)) else { return };
    let mut trace = desk.trace.borrow_mut();
    let earlier = trace.device.take().filter(|it| it.of == seen.of && it.visitor_id == seen.visitor_id);
    if earlier.is_some_and(|earlier| earlier.is_new) {
        (seen.is_new, seen.known_for) = (true, None);
    }
    trace.device = Some(seen);
}

/// Has the session that was begun say what its device is. Where that cannot be done the session says
/// nothing of a device, and rules about it do not hold.
pub(super) async fn keep(desk: &Desk<'_>, signed_in: &mut SignedIn) {
    let device = desk.trace.borrow().device.clone();
    let Some(device) = device.filter(|device| device.of == signed_in.subject) else { return };
    let claims = Map::from_iter([(CLAIM.to_owned(), device.claim())]);
    let session = Credential::Token(signed_in.fresh.session_token.expose().to_owned());
    let along = Along { claims: Some(&claims), ..Along::default() };
    let call = desk.common.client.authenticate(&session, &along);
    match desk.common.ask("sessions_authenticate", call).await {
        Ok(answered) => {
            signed_in.fresh.session_token = Secret::new(answered.session_token);
            signed_in.fresh.session_jwt = Secret::new(answered.session_jwt);
        }
        Err(_) => tracing::warn!("a session does not say from which device it was signed in"),
    }
    signed_in.device = Some(device.seen());
}

impl Device {
    /// None where there is no telling it from another.
    fn read(subject: &str, info: DeviceInfo, now: i64) -> Option<Self> {
        if !is_id(&info.visitor_id) {
            return None;
        }
        let details = info.visitor_id_details;
        let is_new = details.as_ref().is_none_or(|details| details.is_new);
        let first = details.and_then(|details| details.first_seen_at?.parse::<Timestamp>().ok());
        let known_for = first.and_then(|first| u64::try_from(now / 1000 - first.as_second()).ok());
        let is_country =
            |text: &String| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_city = |text: &String| text.chars().count() <= MAX_CITY && !text.contains(char::is_control);
        Some(Self {
            of: subject.to_owned(),
            visitor_id: info.visitor_id,
            is_new,
            known_for: known_for.filter(|_| !is_new),
            country: info.ip_geo_country.filter(is_country).map(|country| country.to_ascii_uppercase()),
            city: info.ip_geo_city.filter(is_city),
        })
    }

    fn claim(&self) -> Value {
        let mut claim = json!({
            VISITOR_ID: self.visitor_id,
            IS_NEW: self.is_new,
            KNOWN_FOR: self.known_for,
            COUNTRY: self.country,
        });
        if let Some(claim) = claim.as_object_mut() {
            claim.retain(|_, value| !value.is_null());
        }
        claim
    }

    fn seen(&self) -> Seen {
        Seen {
            visitor_id: self.visitor_id.clone(),
            is_new: self.is_new,
            country: self.country.clone(),
            city: self.city.clone(),
        }
    }
}
