//! What is announced of which routes, and to whom; what refusals say.

use super::*;
use crate::config;

const SETTINGS: &str = r#"
[stytch]
project_id = "project-test-1"
secret = "secret-test-1"
domain = "login.example.com"
[server]
public_url = "https://App.example.com:8443"
[upstreams.app]
url = "http://127.0.0.1:3000"
"#;

fn announced(routes: &str) -> (Announced, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    std::fs::write(&file, format!("{SETTINGS}{routes}")).unwrap();
    let loaded = config::load(&[file], std::iter::empty()).unwrap_or_else(|error| panic!("{error}"));
    (loaded.config.announced, loaded.notes)
}

/// A route that admits Connected Apps, with these keys.
fn route(lines: &str) -> String {
    format!("[[routes]]\nupstream = \"app\"\nkinds = [\"connected_app\"]\n{lines}\n")
}

fn document(announced: &Announced, host: &str, rest: &str) -> Option<serde_json::Value> {
    match announced.find(host, &format!("{WELL_KNOWN}{rest}"))? {
        Found::Document(bytes) => Some(serde_json::from_slice(bytes).unwrap()),
        Found::Nothing => Some(serde_json::Value::Null),
    }
}

fn challenge(announced: &Announced, code: Code, route: usize) -> Option<String> {
    let value = announced.challenge(&Rejection::new(code, "a reason").on_route(route))?;
    Some(value.to_str().unwrap().to_owned())
}

#[test]
fn each_place_has_its_document() {
    let (announced, _) = announced(
        &[
            route("path = \"/mcp/*\"\nallow.scopes = [\"read:reports\", \"write:reports\"]"),
            route("path = \"/mcp/{tool}/run\"\nmethods = [\"POST\"]\nallow.scopes = [\"run:tools\"]"),
            route("path = \"/teams/{team}\""),
            route("host = \"mcp.example.com\"\npath = \"/*\"\nallow.scopes = [\"other\"]"),
            "[[routes]]\npath = \"/*\"\nupstream = \"app\"\n".to_owned(),
            "[[routes]]\nhost = \"plain.example.com\"\npath = \"/*\"\nupstream = \"app\"\n".to_owned(),
        ]
        .concat(),
    );
    let about = |path: &str, scopes: &[&str]| {
        let mut document = json!({
            "resource": format!("https://app.example.com:8443{path}"),
            "authorization_servers": ["https://login.example.com"],
            "bearer_methods_supported": ["header"],
        });
        if !scopes.is_empty() {
            document["scopes_supported"] = json!(scopes);
        }
        Some(document)
    };
    let all = ["read:reports", "run:tools", "write:reports"];
    assert_eq!(document(&announced, "app.example.com", ""), about("", &all));
    assert_eq!(document(&announced, "app.example.com", "/"), about("", &all));
    assert_eq!(document(&announced, "app.example.com", "/mcp"), about("/mcp", &all));
    assert_eq!(document(&announced, "app.example.com", "/mcp/"), about("/mcp", &all));
    assert_eq!(document(&announced, "app.example.com", "/teams"), about("/teams", &[]));
    // A host that only the routes for any host are for is told of the one address there is.
    assert_eq!(document(&announced, "evil.example", ""), about("", &all));
    for nothing in ["/teams/a", "/mcp/run", ";x", "%3Bx", "/%6dcp"] {
        assert_eq!(
            document(&announced, "app.example.com", nothing),
            Some(serde_json::Value::Null),
            "{nothing}"
        );
    }
    for other in ["x", "-server", "."] {
        assert_eq!(document(&announced, "app.example.com", other), None, "{other}");
    }
    let own = document(&announced, "mcp.example.com", "").unwrap();
    assert_eq!(own["resource"], "https://mcp.example.com:8443");
    assert_eq!(own["scopes_supported"], json!(["other"]));
}

#[test]
fn hosts_without_such_routes_are_not_known() {
    let (announced, notes) = announced(
        &[
            route("host = \"app.example.com\"\npath = \"/mcp/*\""),
            route("host = \"{team}.teams.example.com\"\npath = \"/mcp/*\""),
            "[[routes]]\npath = \"/*\"\nupstream = \"app\"\n".to_owned(),
        ]
        .concat(),
    );
    let resource = |host| document(&announced, host, "/mcp").map(|document| document["resource"].clone());
    let expected = Some(json!("https://app.example.com:8443/mcp"));
    assert_eq!(resource("app.example.com"), expected);
    assert_eq!(resource("a.teams.example.com"), expected);
    for host in ["evil.example", "", "teams.example.com", "app.example.com.evil.example"] {
        assert_eq!(resource(host), None, "{host}");
    }
    let told = notes.iter().filter(|note| note.contains("{team}.teams.example.com")).count();
    assert_eq!(told, 1, "{notes:?}");
}

#[test]
fn refusals_say_where_to_go() {
    let (announced, _) = announced(
        &[
            route("path = \"/mcp/*\"\nallow.scopes = [\"a\", \"b:c\"]"),
            "[[routes]]\npath = \"/m2m\"\nupstream = \"app\"\nkinds = [\"m2m\"]\nallow.scopes = [\"a\"]\n"
                .to_owned(),
            "[[routes]]\npath = \"/*\"\nupstream = \"app\"\n".to_owned(),
        ]
        .concat(),
    );
    let metadata =
        "resource_metadata=\"https://app.example.com:8443/.well-known/oauth-protected-resource/mcp\"";
    let scope = "scope=\"a b:c\"";
    for (code, route, expected) in [
        (Code::Unauthenticated, 0, Some(format!("Bearer {scope}, {metadata}"))),
        (Code::InvalidCredential, 0, Some(format!("Bearer error=\"invalid_token\", {scope}, {metadata}"))),
        (Code::AmbiguousCredential, 0, Some(format!("Bearer error=\"invalid_token\", {scope}, {metadata}"))),
        (Code::ScopeMissing, 0, Some(format!("Bearer error=\"insufficient_scope\", {scope}, {metadata}"))),
        (Code::KindNotAllowed, 0, None),
        (Code::StytchUnavailable, 0, None),
        (Code::Unauthenticated, 1, Some("Bearer scope=\"a\"".to_owned())),
        (Code::InvalidCredential, 1, Some("Bearer error=\"invalid_token\", scope=\"a\"".to_owned())),
        (Code::Unauthenticated, 2, None),
        (Code::InvalidCredential, 2, None),
    ] {
        assert_eq!(challenge(&announced, code, route), expected, "{code:?} on {route}");
    }
    assert_eq!(announced.challenge(&Rejection::new(Code::NoRoute, "no route")), None);
}

#[test]
fn nothing_is_announced_where_no_app_may_come() {
    let routes = "[[routes]]\npath = \"/*\"\nupstream = \"app\"\nkinds = [\"session\", \"m2m\"]\n";
    let (announced, _) = announced(routes);
    assert_eq!(document(&announced, "app.example.com", ""), None);
    let expected = Some("Bearer error=\"invalid_token\"".to_owned());
    assert_eq!(challenge(&announced, Code::InvalidCredential, 0), expected);
    assert_eq!(challenge(&announced, Code::Unauthenticated, 0), None);
}
