//! `POST …/oauth2/register`: an app introduces itself (RFC 7591). At Stytch a project has to allow
//! it; here it is always allowed.

use serde_json::{Map, json};
use url::Url;

use super::metadata::AUTH_METHODS;
use super::{Answer, Call, Reply};
use crate::error::OAuth2Error;
use crate::ids;
use crate::state::State;
use crate::world::ConnectedApp;

pub(super) fn answer(state: &mut State, call: Call) -> Reply {
    let redirect_urls = redirect_urls(call.field("redirect_uris").unwrap_or_default())?;
    let method = call.field("token_endpoint_auth_method").unwrap_or(AUTH_METHODS[0]);
    if !AUTH_METHODS.contains(&method) {
        let why = format!("there is no token_endpoint_auth_method {method}");
        return Err(OAuth2Error::new("invalid_client_metadata", why));
    }
    let public = method == "none";
    let app = ConnectedApp {
        name: call.field("client_name").unwrap_or_default().into(),
        client_type: if public { "third_party_public" } else { "third_party" }.into(),
        secret: (!public).then(ids::secret),
        redirect_urls,
        ..ConnectedApp::new()
    };
    let mut fields = Map::from_iter([
        ("client_id".into(), json!(app.id)),
        ("client_id_issued_at".into(), json!(state.now().as_second())),
        ("client_name".into(), json!(app.name)),
        ("redirect_uris".into(), json!(app.redirect_urls)),
        ("token_endpoint_auth_method".into(), json!(method)),
        ("grant_types".into(), json!(["authorization_code", "refresh_token"])),
        ("response_types".into(), json!(["code"])),
    ]);
    if let Some(secret) = &app.secret {
        fields.insert("client_secret".into(), json!(secret));
        fields.insert("client_secret_expires_at".into(), json!(0));
    }
    fields.extend(call.field("scope").map(|scope| ("scope".into(), json!(scope))));
    state.world.connected_apps.push(app);
    Ok(Answer::created(fields))
}

/// At least one, each a URL without a fragment, and plain http on this machine only.
fn redirect_urls(list: &str) -> Result<Vec<String>, OAuth2Error> {
    let wrong = |why: String| OAuth2Error::new("invalid_redirect_uri", why);
    let urls: Vec<String> = list.split_ascii_whitespace().map(str::to_owned).collect();
    if urls.is_empty() {
        return Err(wrong("redirect_uris has to name at least one".into()));
    }
    for text in &urls {
        let url = Url::parse(text).map_err(|error| wrong(format!("{text}: {error}")))?;
        if url.fragment().is_some() {
            return Err(wrong(format!("{text}: has a fragment")));
        }
        if url.scheme() == "http" && !is_loopback(&url) {
            return Err(wrong(format!("{text}: plain http is for loopback addresses only")));
        }
    }
    Ok(urls)
}

pub(super) fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}
