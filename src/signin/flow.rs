//! The cookies of sign-ins under way: one for each tab, and never more than a few.
//!
//! What holds: a flow is known by an id in its forms and in its cookie's name; the cookie is for the
//! gateway's own paths alone, so no upstream ever sees it; a flow begun beyond the allowed number
//! ends the oldest.

use http::{HeaderMap, header};

use super::state::{Broken, LIFETIME, State, Step, random};
use super::{Desk, append_cookie};

const PREFIX: &str = "stytch_gateway_flow_";
/// Sign-ins under way at once, in as many tabs.
const MAX_FLOWS: usize = 4;
/// Says that this browser was sent away from the sign-in page as signed in, and how often.
const RETURNED: &str = "stytch_gateway_returned";
/// How soon it must be back for that to look like a circle, in seconds.
const RETURNED_SECONDS: u32 = 60;
/// So often it may come back.
pub(super) const MOST_RETURNS: u32 = 3;

/// A flow begun now.
pub(super) fn begin() -> String {
    random::<9>()
}

/// The state of a flow, from the cookie that came.
pub(super) fn open(desk: &Desk<'_>, id: &str) -> Result<State, Broken> {
    let name = format!("{PREFIX}{id}");
    let value = cookies(&desk.parts.headers).find(|(known, _)| *known == name).map(|(_, value)| value);
    let value = value.filter(|_| is_id(id)).ok_or(Broken::Unreadable)?;
    desk.common.sealer.open(value.as_bytes(), &desk.visit.host, &name, desk.now)
}

/// The flow of this browser that came last to a step of some kind, with its state.
pub(super) fn newest(desk: &Desk<'_>, wanted: impl Fn(&Step) -> bool) -> Option<(String, State)> {
    let ids = cookies(&desk.parts.headers).filter_map(|(name, _)| name.strip_prefix(PREFIX));
    let states = ids.filter_map(|id| Some((id.to_owned(), open(desk, id).ok()?)));
    states.filter(|(_, state)| wanted(&state.step)).max_by_key(|(_, state)| state.made_at)
}

/// Keeps a state in the browser. False when it cannot be kept.
pub(super) fn keep(desk: &Desk<'_>, id: &str, state: &State, headers: &mut HeaderMap) -> bool {
    let name = format!("{PREFIX}{id}");
    let Some(sealed) = desk.common.sealer.seal(state, &desk.visit.host, &name) else { return false };
    append_cookie(headers, format!("{name}={sealed}; {}; Max-Age={}", attributes(desk), LIFETIME.as_secs()));
    true
}

/// Ends a flow in the browser.
pub(super) fn end(desk: &Desk<'_>, id: &str, headers: &mut HeaderMap) {
    append_cookie(headers, format!("{PREFIX}{id}=; {}; Max-Age=0", attributes(desk)));
}

/// Ends what is no flow any more, and the oldest of what would be too many with one more.
pub(super) fn make_room(desk: &Desk<'_>, headers: &mut HeaderMap) {
    let mut living = Vec::new();
    let ids = cookies(&desk.parts.headers).filter_map(|(name, _)| name.strip_prefix(PREFIX));
    for id in ids.filter(|id| is_id(id)) {
        match open(desk, id) {
            Ok(state) => living.push((state.made_at, id)),
            Err(_) => end(desk, id, headers),
        }
    }
    living.sort_unstable();
    let surplus = (living.len() + 1).saturating_sub(MAX_FLOWS);
    living.iter().take(surplus).for_each(|(_, id)| end(desk, id, headers));
}

/// How often the browser was sent away as signed in, a moment ago.
pub(super) fn returned(desk: &Desk<'_>) -> u32 {
    let found = cookies(&desk.parts.headers).find(|(name, _)| *name == RETURNED);
    found.and_then(|(_, count)| count.parse().ok()).unwrap_or(0)
}

/// Notes that the browser is sent away as signed in once more.
pub(super) fn note_return(desk: &Desk<'_>, headers: &mut HeaderMap) {
    let count = returned(desk).saturating_add(1);
    append_cookie(headers, format!("{RETURNED}={count}; {}; Max-Age={RETURNED_SECONDS}", attributes(desk)));
}

/// Starts counting anew.
pub(super) fn forget_returns(desk: &Desk<'_>, headers: &mut HeaderMap) {
    if returned(desk) > 0 {
        append_cookie(headers, format!("{RETURNED}=; {}; Max-Age=0", attributes(desk)));
    }
}

/// Whoever signs in comes from this site, so `Lax` would do as well; a link from a mail must find
/// the cookie of the tab it leads back to.
fn attributes(desk: &Desk<'_>) -> String {
    let secure = if desk.config.session.cookies.secure { "; Secure" } else { "" };
    format!("Path={}; HttpOnly; SameSite=Lax{secure}", desk.signin.base_path)
}

/// As [`begin`] makes them.
fn is_id(id: &str) -> bool {
    id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
}
