//! Where browsers are sent, and what they come back to.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::*;
use crate::access::rejection::StepUp;

fn config(more: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.toml");
    let text = format!(
        "[stytch]\nproject_id = \"project-test-1\"\nsecret = \"secret-test-1\"\n\
         [upstreams.app]\nurl = \"http://127.0.0.1:1\"\n\
         [[routes]]\npath = \"/*\"\nupstream = \"app\"\n{more}"
    );
    std::fs::write(&path, text).unwrap();
    crate::config::load(&[path], std::iter::empty()).unwrap().config
}

fn browser() -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("text/html"))])
}

fn sent(config: &Config, code: Code, path: &str, origin: Option<Origin<'_>>) -> Option<HeaderValue> {
    let (method, headers) = (Method::GET, browser());
    let came = Came { method: &method, headers: &headers, whither: Whither { path, origin } };
    after(&Rejection::new(code, "").on_route(0), config, &came)
}

#[test]
fn to_the_page_and_back() {
    let config = config("[signin]\nenabled = true\nbase_path = \"/own\"\n");
    let at = |path: &str| sent(&config, Code::Unauthenticated, path, None).unwrap();
    assert_eq!(at("/a?b=c&d"), "/own/login?return_to=%2Fa%3Fb%3Dc%26d");
    assert_eq!(at("/"), "/own/login");
    assert_eq!(at(&format!("/{}", "a".repeat(MAX_LENGTH))), "/own/login", "too long to come back to");
}

#[test]
fn for_another_server_it_is_a_whole_url() {
    let here = config("[signin]\nenabled = true\n");
    let at = |config: &Config, authority| {
        let origin = Some(Origin { https: true, authority });
        sent(config, Code::InvalidCredential, "/a", origin).unwrap()
    };
    assert_eq!(at(&here, "app.test"), "https://app.test/_stytch/login?return_to=%2Fa");
    let public = config("[server]\npublic_url = \"https://login.test\"\n[signin]\nenabled = true\n");
    assert_eq!(
        at(&public, "app.test:8443"),
        "https://login.test/_stytch/login?return_to=https%3A%2F%2Fapp.test%3A8443%2Fa"
    );
    assert_eq!(at(&public, "LOGIN.test"), "https://LOGIN.test/_stytch/login?return_to=%2Fa");
}

#[test]
fn nowhere_without_pages_or_where_signing_in_is_no_answer() {
    assert_eq!(sent(&config(""), Code::Unauthenticated, "/a", None), None);
    let config = config("[signin]\nenabled = true\n");
    for code in Code::ALL.into_iter().filter(|code| !code.asks_for_sign_in()) {
        assert_eq!(sent(&config, code, "/a", None), None, "{code:?}");
    }
}

#[test]
fn the_way_on_says_what_is_missing() {
    let config = config("[signin]\nenabled = true\n");
    let (method, headers) = (Method::GET, browser());
    let whither = Whither { path: "/a?b", origin: None };
    let came = Came { method: &method, headers: &headers, whither };
    let at =
        |rejection: Rejection| way_on(&rejection.on_route(0), &config, &came).map(|way_on| way_on.location);
    let wanted = Arc::new(StepUp { mfa: true, ..StepUp::default() });
    let step_up = Rejection::new(Code::StepUpRequired, "").step_up(&wanted);
    assert_eq!(at(step_up).unwrap(), "/_stytch/login?return_to=%2Fa%3Fb&step_up=mfa");
    let elsewhere = |slug| Rejection::new(Code::OrganizationNotAllowed, "").for_organization(slug);
    assert_eq!(
        at(elsewhere(Some("globex"))).unwrap(),
        "/_stytch/organizations?return_to=%2Fa%3Fb&organization=globex"
    );
    assert_eq!(at(elsewhere(None)), None);
    assert_eq!(at(elsewhere(Some("<script>"))), None, "no name of an organization");
    assert_eq!(at(Rejection::new(Code::RoleNotAllowed, "")), None);
}
