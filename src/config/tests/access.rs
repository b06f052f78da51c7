//! The hash of who may reach what: what it depends on, and what not.

use super::super::{access, access_hash};
use super::outcome;

/// As much as can be said about access, to be changed here and there.
const FULL: &str = r#"
[stytch]
project_id = "project-test-1"
secret = "secret-test-not-to-be-seen"
issuers = ["one.test", "two.test"]

[server]
public_url = "https://app.test"
trusted_proxies = ["10.0.0.0/8", "192.168.0.0/16"]

[session]
header = "X-Session"
websocket_query = "session"
max_staleness = "1m"
outage_grace = "30s"

[upstreams.app]
urls = ["http://127.0.0.1:3000", "http://127.0.0.1:3001"]

[upstreams.other]
url = "http://127.0.0.1:4000"

[[routes]]
path = "/*"
upstream = "app"

[[routes]]
host = "{org}.app.test"
path = "/reports/{id}"
methods = ["GET", "POST"]
upstream = "app"
auth = "optional"

[[routes]]
path = "/public/*"
upstream = "other"
auth = "none"
"#;

fn hash(text: &str) -> String {
    access_hash(&outcome(&[text], &[]).unwrap().config)
}

/// The text with one change that must have been possible.
#[track_caller]
fn with(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "{from}");
    FULL.replacen(from, to, 1)
}

#[test]
fn whatever_opens_or_closes_something_changes_the_hash() {
    let original = hash(FULL);
    assert!(original.len() == 16 && original.bytes().all(|byte| byte.is_ascii_hexdigit()), "{original}");
    let mut seen = vec![original];
    for (from, to) in [
        ("project-test-1", "project-test-2"),
        ("\"project-test-1\"", "\"project-test-1\"\nvertical = \"consumer\""),
        ("\"two.test\"", "\"two.test\", \"three.test\""),
        ("\"10.0.0.0/8\", ", ""),
        ("https://app.test", "https://www.app.test"),
        ("header = \"X-Session\"", "header = \"X-Other\""),
        ("header = \"X-Session\"", "bearer = false\nheader = \"X-Session\""),
        ("header = \"X-Session\"", "cookie = \"mine\"\nheader = \"X-Session\""),
        ("websocket_query = \"session\"", ""),
        ("max_staleness = \"1m\"", "max_staleness = \"2m\""),
        ("outage_grace = \"30s\"", ""),
        ("outage_grace = \"30s\"", "outage_grace = \"30s\"\nleeway = \"20s\""),
        ("127.0.0.1:4000", "127.0.0.1:4001"),
        ("[session]", "[forward_auth]\nenabled = true\n[session]"),
        ("[session]", "[ext_authz]\nenabled = true\n[session]"),
        ("path = \"/*\"", "path = \"/app/*\""),
        ("path = \"/*\"", "path = \"/*\"\nauth = \"none\""),
        ("path = \"/*\"", "path = \"/*\"\ncors_preflight = \"forward\""),
        ("path = \"/*\"", "path = \"/*\"\nencoded_slashes = \"keep\""),
        ("path = \"/*\"", "host = \"app.test\"\npath = \"/*\""),
        ("methods = [\"GET\", \"POST\"]", "methods = [\"GET\"]"),
        ("methods = [\"GET\", \"POST\"]", ""),
        ("auth = \"optional\"", ""),
        ("upstream = \"other\"\nauth", "upstream = \"app\"\nauth"),
        ("path = \"/public/*\"", "path = \"/public/*\"\nstrip_prefix = \"/public\""),
    ] {
        let changed = hash(&with(from, to));
        assert!(!seen.contains(&changed), "{from:?} became {to:?} unseen");
        seen.push(changed);
    }
}

#[test]
fn what_says_the_same_has_the_same_hash() {
    let (head, routes) = FULL.split_at(FULL.find("[[routes]]").unwrap());
    let mut turned: Vec<&str> = routes.split("[[routes]]").skip(1).collect();
    turned.reverse();
    let turned: String = turned.into_iter().map(|route| format!("[[routes]]\n{route}\n")).collect();
    for same in [
        format!("{head}{turned}"),
        with("[\"one.test\", \"two.test\"]", "[ \"two.test\", \"one.test\" ] # as before"),
        with("[\"10.0.0.0/8\", \"192.168.0.0/16\"]", "[\"192.168.7.7/16\", \"10.0.0.0/8\"]"),
        with("[\"GET\", \"POST\"]", "[\"POST\", \"GET\"]"),
        with("\"1m\"", "\"60s\""),
        with("auth = \"optional\"", "auth = \"optional\"\nmax_body = \"1KiB\""),
        FULL.replace("upstreams.other", "upstreams.another").replace("\"other\"", "\"another\""),
        with("secret-test-not-to-be-seen", "secret-test-not-to-be-seen-either"),
        format!("{FULL}\n[telemetry]\nlevel = \"warn\"\n[admin]\nlisten = \"127.0.0.1:9191\""),
    ] {
        assert_eq!(hash(&same), hash(FULL), "{same}");
    }
}

#[test]
fn the_table_is_in_the_order_in_which_routes_win() {
    let table = access(&outcome(&[FULL], &[]).unwrap().config);
    let expected = "\
METHODS   HOST            PATH           UPSTREAM  ENFORCE  WHO
GET,POST  {org}.app.test  /reports/{id}  app       on       anyone; with a credential: any session
any       any             /public/*      other     on       anyone
any       any             /*             app       on       any session

everything else: 404 no_route
";
    assert!(table.starts_with(expected), "{table}");
    assert!(table.ends_with(&format!("\naccess hash: {}", hash(FULL))), "{table}");
}

const RULED: &str = r#"
[stytch]
project_id = "project-test-1"
secret = "secret-test-not-to-be-seen"

[upstreams.app]
url = "http://127.0.0.1:3000"

[[routes]]
path = "/org/{org}/*"
upstream = "app"
kinds = ["session", "m2m"]
allow.organizations = ["{org}", "acme"]
allow.claims = { plan = ["pro", "team"], seats = 3 }
allow.impersonated = false

[[routes]]
path = "/admin/*"
upstream = "app"
enforce = "observe"
allow.roles = ["admin", "owner"]
allow.permission = { resource = "documents", action = "write" }
allow.email_domains = ["acme.example", "globex.example"]
allow.factors = ["email_otp", "totp"]
allow.mfa = true
allow.max_auth_age = "10m"

[[routes]]
path = "/machines"
upstream = "app"
kinds = ["m2m"]
allow.scopes = ["read:a", "write:a"]
"#;

#[test]
fn every_rule_is_in_the_hash_and_the_order_of_its_values_is_not() {
    let mut seen = vec![hash(RULED)];
    for (from, to) in [
        ("[\"session\", \"m2m\"]", "[\"session\"]"),
        ("[\"{org}\", \"acme\"]", "[\"{org}\"]"),
        ("\"pro\", \"team\"", "\"pro\""),
        ("seats = 3", "seats = \"3\""),
        ("allow.impersonated = false", ""),
        ("enforce = \"observe\"", ""),
        ("\"admin\", \"owner\"", "\"admin, owner\""),
        ("action = \"write\"", "action = \"read\""),
        ("action = \"write\"", "action = \"write\", check = \"remote\""),
        ("\"acme.example\", ", ""),
        ("\"totp\"", "\"oauth\""),
        ("allow.mfa = true", ""),
        ("10m", "11m"),
        ("\"write:a\"", "\"write:*\""),
    ] {
        assert!(RULED.contains(from), "{from}");
        let changed = hash(&RULED.replacen(from, to, 1));
        assert!(!seen.contains(&changed), "{from:?} became {to:?} unseen");
        seen.push(changed);
    }
    for (from, to) in [
        ("\"session\", \"m2m\"", "\"m2m\", \"session\""),
        ("\"{org}\", \"acme\"", "\"acme\", \"{org}\""),
        ("\"pro\", \"team\"", "\"team\", \"pro\""),
        ("\"admin\", \"owner\"", "\"owner\", \"admin\""),
        ("10m", "600s"),
        ("action = \"write\"", "action = \"write\", check = \"local\""),
    ] {
        assert_eq!(hash(&RULED.replacen(from, to, 1)), seen[0], "{from:?} became {to:?}");
    }
}

#[test]
fn the_table_says_who_in_words() {
    let table = access(&outcome(&[RULED], &[]).unwrap().config);
    for line in [
        "any      any   /admin/*      app       observe  session; email_domains acme.example, globex.example; \
         roles admin, owner; permission write on documents; factors email_otp, totp; mfa true; max_auth_age 600s",
        "any      any   /machines     app       on       m2m; scopes read:a, write:a",
        "any      any   /org/{org}/*  app       on       session, m2m; organizations {org}, acme; claims plan = \
         \"pro\", \"team\"; claims seats = 3; impersonated false",
    ] {
        assert!(table.lines().any(|each| each == line), "{line}\nis not in\n{table}");
    }
}
