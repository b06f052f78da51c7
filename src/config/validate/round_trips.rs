//! What ways to sign in that leave the gateway need: providers, the public token, and addresses to
//! come back to.

use http::Uri;

use super::Findings;
use crate::access::host;
use crate::config::problems::{KeyPath, did_you_mean};
use crate::config::{
    Callback, OauthProvider, RoundTrips, Route, Server, SigninMethod, Stytch, Vertical, raw,
};

/// The providers offered, as far as the section itself tells. None where OAuth is off.
pub(super) fn providers(
    raw: &raw::Signin,
    vertical: Vertical,
    findings: &mut Findings,
) -> Vec<OauthProvider> {
    let key = KeyPath::of("signin.oauth_providers");
    let is_on = raw.methods.contains(&SigninMethod::Oauth);
    if is_on && raw.oauth_providers.is_empty() {
        let message =
            "missing; with \"oauth\" among signin.methods name at least one provider, such as \"google\"";
        findings.problems.missing(&key, message);
    }
    if !is_on && !raw.oauth_providers.is_empty() {
        let note = "signin.oauth_providers has no effect: \"oauth\" is not among signin.methods";
        findings.notes.push(note.to_owned());
    }
    for (index, provider) in raw.oauth_providers.iter().enumerate() {
        let key = key.index(index);
        if raw.oauth_providers[..index].contains(provider) {
            findings.problems.add(&key, "listed twice");
        }
        if let Some(message) = foreign(*provider, vertical) {
            findings.problems.add(&key, message);
        }
    }
    if is_on { raw.oauth_providers.clone() } else { Vec::new() }
}

/// What is wrong with a provider that there is for the other vertical alone.
fn foreign(provider: OauthProvider, vertical: Vertical) -> Option<String> {
    let (whose, knows): (_, fn(OauthProvider) -> bool) = match vertical {
        Vertical::B2b => ("members", OauthProvider::has_members),
        Vertical::Consumer => ("users", OauthProvider::has_users),
    };
    if knows(provider) {
        return None;
    }
    let known = OauthProvider::ALL.into_iter().filter(|one| knows(*one)).map(OauthProvider::slug);
    let (slug, known): (_, Vec<&str>) = (provider.slug(), known.collect());
    let hint = did_you_mean(slug, known.iter().copied());
    Some(format!("at Stytch no {whose} come from {slug:?}{hint}; there are {}", known.join(", ")))
}

fn has(raw: &raw::Signin, methods: &[SigninMethod]) -> bool {
    raw.enabled && raw.methods.iter().any(|method| methods.contains(method))
}

/// What such methods need of other sections.
pub(super) fn needs(raw: &raw::Raw, findings: &mut Findings) {
    let with_token = has(&raw.signin, &[SigninMethod::Oauth, SigninMethod::Sso]);
    if with_token && raw.stytch.public_token.is_none() {
        let message = "missing; browsers begin OAuth and SSO with it, and Stytch's dashboard shows it among the API keys";
        findings.problems.missing(&KeyPath::of("stytch.public_token"), message);
    }
    if !with_token && raw.stytch.public_token.is_some() && raw.signin.device.script.is_none() {
        let note = "stytch.public_token has no effect: neither \"oauth\" nor \"sso\" nor signin.device is on";
        findings.notes.push(note.to_owned());
    }
    let key = KeyPath::of("server.public_url");
    if (with_token || has(&raw.signin, &[SigninMethod::MagicLink]))
        && raw.server.public_url.is_none()
        && !findings.problems.covers(&key)
    {
        let message = "missing; \"magic_link\", \"oauth\" and \"sso\" send people away, and this is where they come \
                       back to: the host that a request names could be anybody's invention";
        findings.problems.missing(&key, message);
    }
}

/// What they go by. None where there are none, or where something is missing.
pub(super) fn round_trips(
    raw: &raw::Signin,
    server: &Server,
    stytch: &Stytch,
    routes: &[Route],
) -> Option<RoundTrips> {
    if !has(raw, &[SigninMethod::MagicLink, SigninMethod::Oauth, SigninMethod::Sso]) {
        return None;
    }
    let start = stytch.domain.clone().unwrap_or_else(|| stytch.api_url.to_string());
    Some(RoundTrips {
        public_token: stytch.public_token.clone(),
        start: start.trim_end_matches('/').to_owned(),
        callbacks: callbacks(server.public_url.as_ref()?, routes, &raw.base_path)?,
    })
}

/// One for the gateway's own address, and one for each further host that a route names.
fn callbacks(public: &Uri, routes: &[Route], base_path: &str) -> Option<Vec<Callback>> {
    let own = host::parse(public.authority()?.as_str().as_bytes()).ok()?;
    let scheme = public.scheme_str()?;
    let port = own.port.map(|port| format!(":{port}")).unwrap_or_default();
    let mut hosts = vec![own.host.to_string()];
    for host in routes.iter().filter_map(|route| route.host.exact()) {
        if !hosts.iter().any(|known| known == host) {
            hosts.push(host.to_owned());
        }
    }
    let callback =
        |host: String| Callback { url: format!("{scheme}://{host}{port}{base_path}/callback"), host };
    Some(hosts.into_iter().map(callback).collect())
}
