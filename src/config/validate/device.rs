//! `[signin.device]`: the script that tells devices apart, and where it sends what it finds.

use http::Uri;

use super::Findings;
use super::urls::{Origin, is_host_name, quoted};
use crate::config::problems::{KeyPath, Problems};
use crate::config::{DeviceScript, raw};

/// `None` where there is a problem; `Some(None)` where there is no script.
pub(super) fn script(all: &raw::Raw, findings: &mut Findings) -> Option<Option<DeviceScript>> {
    let (raw, key) = (&all.signin.device, KeyPath::of("signin.device"));
    let asked = all.routes.iter().filter_map(|route| route.allow.as_ref()?.device.as_ref()).count() > 0;
    let Some(script) = &raw.script else {
        if asked {
            findings.notes.push(
                "signin.device.script is not set: sessions begun here say nothing of a device, and none of them \
                 meets allow.device"
                    .to_owned(),
            );
        }
        return Some(None);
    };
    let problems = &mut findings.problems;
    let script = problems.keep(&key.key("script"), url(script).map(|_| script.clone()));
    let collector = problems.keep(&key.key("submit"), url(&raw.submit));
    let public_token = public_token(all, problems);
    if !all.signin.enabled {
        findings.notes.push("signin.device.script has no effect: signin.enabled is false".to_owned());
    }
    let (script, collector, public_token) = (script?, collector?, public_token?);
    Some(Some(DeviceScript { script, submit: raw.submit.clone(), collector, public_token }))
}

fn public_token(all: &raw::Raw, problems: &mut Problems) -> Option<String> {
    if all.stytch.public_token.is_none() {
        let message = "missing; signin.device.script tells Stytch by it which project it asks for";
        problems.missing(&KeyPath::of("stytch.public_token"), message);
    }
    all.stytch.public_token.clone()
}

/// The origin of a URL that pages may name: whoever is on the way to it could run scripts of their
/// own there.
fn url(text: &str) -> Result<String, String> {
    let quoted = quoted(text);
    let uri: Uri = text.parse().map_err(|_| format!("{quoted} is not a URL"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("{quoted} is not a whole URL; it must begin with https://"));
    };
    let origin = Origin::parse(&format!("{scheme}://{authority}"))?;
    let is_address = origin.host().parse::<std::net::IpAddr>().is_ok();
    if !is_address && !is_host_name(origin.host()) {
        return Err(format!("{quoted} names no host"));
    }
    if origin.scheme != "https" && !(origin.scheme == "http" && origin.is_loopback()) {
        return Err("must be https: what runs on the sign-in pages must come from whom it says".to_owned());
    }
    if text.contains('#') {
        return Err(format!("{quoted} has a fragment, which is sent nowhere; remove it"));
    }
    Ok(origin.to_string())
}
