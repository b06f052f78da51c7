//! `stytch-gateway explain` and `routes`: what they say, how they end, and that the gateway does as
//! they say.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use stytch_emulator::{Fault, Session};
use stytch_gateway::config;
use stytch_gateway::explain::{Asked, Outcome, explain};
use tokio::runtime::Builder;

use crate::assertion::KeyFile;
use crate::program::{Ended, Site, ended, program};
use crate::world::World;

/// Rules of each kind that a session of the built-in world can meet or miss.
const ROUTES: &str = "[[routes]]\npath = \"/admin/*\"\nupstream = \"app\"\nallow.roles = [\"admin\"]\n\
    [[routes]]\npath = \"/org/{org}/*\"\nmethods = [\"GET\"]\nupstream = \"app\"\n\
    allow.organizations = [\"{org}\"]\nallow.mfa = true\n\
    [[routes]]\nhost = \"other.test\"\npath = \"/reports/*\"\nupstream = \"app\"\n";

/// What `explain` says with these arguments.
fn told(settings: &Path, arguments: &[&str]) -> Ended {
    let before = ["explain", "-c", settings.to_str().unwrap()];
    ended(before.into_iter().chain(arguments.iter().copied()))
}

/// The text of the first line about a step, mark included.
#[track_caller]
fn line<'t>(told: &'t Ended, mark: &str, step: &str) -> &'t str {
    let begin = format!("{mark:<2}  {step} ");
    let mut lines = told.stdout.lines().filter_map(|line| line.strip_prefix(&begin));
    lines.next().unwrap_or_else(|| panic!("no {begin:?} in {told:?}")).trim()
}

fn cookie(session: &Session) -> String {
    format!("Cookie: theme=dark; stytch_session_jwt={}", session.session_jwt)
}

#[tokio::test]
async fn an_allowed_request_is_told_with_its_headers() {
    let site = Site::new().await;
    let settings = site.write("gateway.toml", &site.settings(ROUTES));
    let session = site.emulator.session("ana@acme.example").organization("acme").mint();
    let spoofed = "X-Stytch-Member-Id: member-test-of-my-own";
    let told = told(
        &settings,
        &["-H", &cookie(&session), "-H", spoofed, "https://app.test/%61dmin/x?session=1#part"],
    );
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(line(&told, "ok", "request"), "GET /%61dmin/x");
    assert_eq!(line(&told, "ok", "target"), "host app.test, path /admin/x, which came as /%61dmin/x");
    assert_eq!(line(&told, "ok", "route"), "/admin/*, to the upstream app");
    assert_eq!(line(&told, "ok", "credential"), "session JWT in the cookie stytch_session_jwt");
    assert_eq!(line(&told, "ok", "verification"), "verified here with the project's keys");
    assert_eq!(line(&told, "ok", "allow.roles"), "wants admin; has stytch_member, admin");
    assert_eq!(line(&told, "ok", "outcome"), "allowed: GET /admin/x goes to the upstream app");
    for text in [
        "x-stytch-organization-slug: acme\n",
        "x-stytch-roles: stytch_member,admin\n",
        "/*: would take it too, and is less specific\n",
        "the client may not set x-stytch-member-id\n",
        "headers changed  cookie\n",
    ] {
        assert!(told.stdout.contains(text), "{text} is not in {}", told.stdout);
    }
    assert!(!told.stdout.contains("my-own") && !told.stdout.contains("session=1"), "{}", told.stdout);
}

#[tokio::test]
async fn a_refused_request_is_told_with_the_rule_that_refuses_it() {
    let site = Site::new().await;
    let settings = site.write("gateway.toml", &site.settings(ROUTES));
    let session = site.emulator.session("ben@acme.example").organization("acme").mint();
    let cookie = cookie(&session);
    let forged = format!("Authorization: Bearer {}A", session.session_jwt);
    let anywhere = "http://app.test";
    // Arguments, the step that says no and why, and the code.
    let cases: [(&[&str], &str, &str, &str); 9] = [
        (&["/x"], "credential", "none, and the route asks for one", "401 unauthenticated"),
        (&["-H", &forged, "/x"], "verification", "the signature does not verify", "401 invalid_credential"),
        (
            &["-H", "Cookie: stytch_session=x", "/x"],
            "credential",
            "the credential has the form",
            "401 invalid_credential",
        ),
        (
            &["-H", &cookie, "/admin/x"],
            "allow.roles",
            "wants admin; has stytch_member, editor",
            "403 role_not_allowed",
        ),
        (
            &["-H", &cookie, "/org/globex/x"],
            "allow.organizations",
            "wants {org}; has acme (organization-test-",
            "403 organization_not_allowed",
        ),
        (&["-H", &cookie, "/org/acme/x"], "allow.mfa", "wants true; has email_otp", "403 step_up_required"),
        (
            &["-H", &cookie, "-H", "Origin: https://evil.test", "-X", "POST", "/x"],
            "origin",
            "a cookie credential from another site",
            "403 cross_site_request",
        ),
        (&["/a/../b"], "target", "a dot segment stands in the path", "400 ambiguous_path"),
        (&["-X", "TRACE", "/x"], "target", "a method that is never forwarded", "405 method_not_allowed"),
    ];
    for (arguments, step, why, code) in cases {
        let (path, others) = arguments.split_last().unwrap();
        let url = format!("{anywhere}{path}");
        let told = told(&settings, &[others, &[url.as_str()]].concat());
        assert_eq!(told.code, Some(3), "{told:?}");
        assert!(line(&told, "no", step).starts_with(why), "{told:?}");
        assert!(line(&told, "no", "outcome").starts_with(&format!("refused: {code}, \"")), "{told:?}");
        assert!(!told.stdout.contains("headers set"), "{told:?}");
    }
}

#[tokio::test]
async fn a_route_that_was_nearly_met_is_named() {
    let site = Site::new().await;
    let text = site.settings(ROUTES).replace("path = \"/*\"", "path = \"/app/*\"");
    let settings = site.write("gateway.toml", &text);
    for (arguments, why) in [
        (&["-X", "POST", "http://app.test/org/acme/x"][..], "/org/{org}/* [GET]: is for GET, not POST"),
        (&["http://app.test/reports/x"], "other.test /reports/*: is for the host other.test, not app.test"),
        (&["http://app.test/adminx"], "/admin/*: does not take /adminx"),
    ] {
        let told = told(&settings, arguments);
        assert_eq!(told.code, Some(3), "{told:?}");
        assert_eq!(line(&told, "no", "route"), "no route matches");
        assert!(told.stdout.contains(&format!("  {why}\n")), "{why} is not in {}", told.stdout);
    }
}

/// With keys on disk no call is made; `--offline` makes none at all, and says which it would make.
#[tokio::test]
async fn what_can_be_verified_here_is() {
    let site = Site::new().await;
    let cached = site.path("keys.json");
    let with_cache = format!("[stytch]\nkey_cache_file = \"{}\"\n", cached.display());
    let text = site.settings(ROUTES).replacen("[stytch]\n", &with_cache, 1);
    let settings = site.write("gateway.toml", &text);
    let session = site.emulator.session("ana@acme.example").organization("acme").mint();
    let (cookie, opaque) = (cookie(&session), format!("Cookie: stytch_session={}", session.session_token));
    let url = "http://app.test/admin/x";
    let calls = || site.emulator.requests("/v1/").len();
    let open = told(&settings, &["--offline", "-H", &cookie, url]);
    assert_eq!((open.code, calls()), (Some(1), 0), "{open:?}");
    assert_eq!(
        line(&open, "", "outcome"),
        "open: the gateway would fetch the project's keys, which --offline forbids"
    );
    let fetched = told(&settings, &["-H", &cookie, url]);
    assert_eq!((fetched.code, calls()), (Some(0), 1), "{fetched:?}");
    assert!(!cached.exists(), "looking leaves nothing behind");
    let mut gateway = crate::program::Program::run(&settings).await;
    gateway.stop().await;
    let before = calls();
    for arguments in [&["-H", &cookie, url][..], &["--offline", "-H", &cookie, url]] {
        let here = told(&settings, arguments);
        assert_eq!((here.code, calls()), (Some(0), before), "{here:?}");
        assert_eq!(line(&here, "", "keys"), "2, of stytch.key_cache_file");
    }
    let open = told(&settings, &["--offline", "-H", &opaque, url]);
    assert_eq!((open.code, calls()), (Some(1), before), "{open:?}");
    assert_eq!(
        line(&open, "", "outcome"),
        "open: the gateway would ask Stytch about the credential, which --offline forbids"
    );
    let asked = told(&settings, &["-H", &opaque, url]);
    assert_eq!((asked.code, calls()), (Some(0), before + 1), "{asked:?}");
    assert_eq!(line(&asked, "ok", "verification"), "Stytch was asked, and says yes");
}

/// Permissions are judged by the policy on disk or, where there is none, by Stytch's.
#[tokio::test]
async fn a_permission_is_judged_as_the_gateway_judges_it() {
    let site = Site::new().await;
    let permission = "allow.permission = { resource = \"documents\", action = \"delete\" }";
    let routes = format!("[[routes]]\npath = \"/documents/*\"\nupstream = \"app\"\n{permission}\n");
    let settings = site.write("gateway.toml", &site.settings(&routes));
    let mint = |email: &str| cookie(&site.emulator.session(email).organization("acme").mint());
    let (ana, ben) = (mint("ana@acme.example"), mint("ben@acme.example"));
    let url = "http://app.test/documents/1";
    let wants = "wants delete on documents by this gateway's copy of the policy; ";
    let allowed = told(&settings, &["-H", &ana, url]);
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
    assert_eq!(line(&allowed, "ok", "allow.permission"), format!("{wants}permitted"));
    let refused = told(&settings, &["-H", &ben, url]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let why = "no role of the session permits it";
    assert_eq!(line(&refused, "no", "allow.permission"), format!("{wants}{why}"));
    site.emulator.fault(Fault { status: Some(500), ..Fault::on("/v1/b2b/rbac") });
    let unknown = told(&settings, &["-H", &ana, url]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
    assert!(line(&unknown, "no", "outcome").starts_with("refused: 503 stytch_unavailable"), "{unknown:?}");
}

#[tokio::test]
async fn an_outage_is_no_refusal_of_the_credential() {
    let site = Site::new().await;
    let settings = site.write("gateway.toml", &site.settings(""));
    let session = site.emulator.session("ana@acme.example").organization("acme").mint();
    site.emulator.fault(Fault { status: Some(500), ..Fault::on("/v1/") });
    let opaque = format!("Cookie: stytch_session={}", session.session_token);
    for (cookie, code) in [(cookie(&session), "keys_unavailable"), (opaque, "stytch_unavailable")] {
        let told = told(&settings, &["-H", &cookie, "http://app.test/"]);
        assert_eq!(told.code, Some(3), "{told:?}");
        assert!(line(&told, "no", "verification").starts_with("could not be checked: "), "{told:?}");
        assert!(line(&told, "no", "outcome").starts_with(&format!("refused: 503 {code}, ")), "{told:?}");
        assert!(told.stderr.contains("could not be"), "what went wrong is told too: {}", told.stderr);
    }
}

#[tokio::test]
async fn a_route_in_observe_says_what_it_would_have_said() {
    let site = Site::new().await;
    let observed = ROUTES.replace("allow.roles", "enforce = \"observe\"\nallow.roles");
    let settings = site.write("gateway.toml", &site.settings(&observed));
    let session = site.emulator.session("ben@acme.example").organization("acme").mint();
    let told = told(&settings, &["-H", &cookie(&session), "http://app.test/admin/x"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    line(&told, "no", "allow.roles");
    assert!(line(&told, "ok", "outcome").starts_with("allowed in observe, in spite of 403 role_not_allowed"));
}

/// Neither on a good day nor on a bad one.
#[tokio::test]
async fn nothing_secret_is_shown() {
    let site = Site::new().await;
    let more = "[identity.headers]\nAuthorization = \"Basic {\\\"{member.member_id}:hidden\\\"|base64}\"\n\
                [session]\nheader = \"X-Session\"\nwebsocket_query = \"session\"\n";
    let settings = site.write("gateway.toml", &site.settings(more));
    let session = site.emulator.session("ana@acme.example").organization("acme").mint();
    let junk = "j".repeat(44);
    for secret in [&session.session_jwt, &session.session_token, &junk, &format!("{}x", session.session_jwt)]
    {
        let headers = [
            format!("Cookie: stytch_session={secret}"),
            format!("Authorization: Bearer {secret}"),
            format!("X-Session: {secret}"),
            format!("X-Session {secret}"),
        ];
        let query = format!("http://app.test/?session={secret}");
        let upgrade = ["-H", "Upgrade: websocket", "-H", "Connection: upgrade", query.as_str()];
        let mut all: Vec<Ended> =
            headers.iter().map(|header| told(&settings, &["-H", header, "http://app.test/"])).collect();
        all.push(told(&settings, &upgrade));
        for told in all {
            let text = told.stdout + &told.stderr;
            for part in secret.split('.').skip(usize::from(secret.contains('.'))) {
                assert!(!text.contains(part), "{text}");
            }
            assert!(!text.contains(site.emulator.secret()) && !text.contains("Basic "), "{text}");
        }
    }
}

/// What is pasted into a ticket must open no door: its claims are told, and nobody can make it whole.
#[tokio::test]
async fn an_assertion_is_shown_without_what_makes_it_one() {
    let (site, keys) = (Site::new().await, KeyFile::new());
    let signing = format!("[identity.assertion]\nkey_file = {:?}\n", keys.path());
    let settings = site.write("gateway.toml", &site.settings(&signing));
    let session = site.emulator.session("ana@acme.example").organization("acme").mint();
    let told = told(&settings, &["-H", &cookie(&session), "http://app.test/"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let (_, shown) = told.stdout.split_once("x-stytch-assertion: ").expect("the header is named");
    let claims = shown.lines().next().unwrap().strip_prefix("(signature not shown) ").unwrap();
    let claims: serde_json::Value = serde_json::from_str(claims).unwrap();
    assert_eq!(claims["aud"], "app");
    assert!(claims["sub"].as_str().unwrap().starts_with("member-"));
    assert!(!told.stdout.contains("eyJ"), "no part of a token: {}", told.stdout);
}

#[tokio::test]
async fn arguments_that_are_no_request_are_a_mistake() {
    let site = Site::new().await;
    let settings = site.write("gateway.toml", &site.settings(""));
    for arguments in [&["/x"][..], &["app.test/x"], &["-H", "Cookie", "http://app.test/"], &[], &["--no"]] {
        let told = told(&settings, arguments);
        assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""), "{told:?}");
        assert!(!told.stderr.is_empty());
    }
    let invalid = site.write("invalid.toml", "[server]\nlisten = 7");
    assert_eq!(told(&invalid, &["http://app.test/"]).code, Some(2));
    let public = site.settings("").replace("[server]\n", "[server]\npublic_url = \"https://app.test\"\n");
    let settings = site.write("public.toml", &public);
    assert_eq!(line(&told(&settings, &["/open/x"]), "ok", "target"), "host app.test, path /open/x");
}

/// A credential on a command line is in every list of processes.
#[tokio::test]
async fn headers_can_come_from_standard_input() {
    let site = Site::new().await;
    let settings = site.write("gateway.toml", &site.settings(""));
    let session = site.emulator.session("ana@acme.example").organization("acme").mint();
    let arguments = ["explain", "-c", settings.to_str().unwrap(), "-H", "@-", "/x"];
    let mut child = program(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = format!("Host: app.test\r\n{}\n\n", cookie(&session));
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn routes_are_shown_with_the_hash_that_log_metric_and_status_have() {
    let site = Site::new().await;
    let settings = site.write("gateway.toml", &site.settings(ROUTES));
    let file = settings.to_str().unwrap();
    let (table, hash) = (ended(["routes", "-c", file]), ended(["routes", "--hash", "-c", file]));
    let hash = hash.stdout.trim();
    assert!(
        table.stdout.contains("/org/{org}/*") && table.stdout.contains(&format!("access hash: {hash}\n")),
        "{table:?}"
    );
    let gateway = crate::program::Program::run(&settings).await;
    let metric = async |hash: &str| {
        gateway
            .admin("/metrics")
            .await
            .text()
            .contains(&format!("stytch_gateway_access_info{{hash=\"{hash}\"}} 1\n"))
    };
    assert!(metric(hash).await);
    assert_eq!(gateway.admin("/status").await.json()["config"]["access"], hash);
    assert!(gateway.log().iter().any(|line| line["message"] == "serving" && line["access"] == hash));
    // What changes nothing of who may reach what is no news.
    site.write("gateway.toml", &site.settings(&format!("{ROUTES}[server.timeouts]\ndrain = \"1s\"\n")));
    gateway.signal("HUP");
    gateway.until_logged("is in force").await;
    assert!(!gateway.stderr().contains("who may reach what has changed"));
    site.write(
        "gateway.toml",
        &site.settings(&ROUTES.replace("allow.roles = [\"admin\"]", "auth = \"none\"")),
    );
    gateway.signal("HUP");
    gateway.until_logged("who may reach what has changed").await;
    let log = gateway.log();
    let change = log.iter().find(|line| line["message"] == "who may reach what has changed").unwrap();
    assert_eq!((&change["level"], change["was"].as_str()), (&"WARN".into(), Some(hash)));
    let new = change["access"].as_str().unwrap();
    assert!(new != hash && metric(new).await && !metric(hash).await);
}

/// Routes of every sort that a generated request can come upon.
const MANY: &str = r#"
[session]
websocket_query = "session_jwt"

[[routes]]
path = "/*"
upstream = "app"

[[routes]]
host = "app.test"
path = "/public/*"
methods = ["GET", "HEAD", "POST"]
upstream = "app"
auth = "none"

[[routes]]
path = "/optional/*"
upstream = "app"
auth = "optional"
strip_prefix = "/optional"

[[routes]]
path = "/admin/*"
upstream = "app"
allow.roles = ["admin"]
cors_preflight = "forward"

[[routes]]
path = "/org/{org}/*"
upstream = "app"
allow.organizations = ["{org}"]
encoded_slashes = "keep"
max_body = "1KiB"

[[routes]]
path = "/watched/*"
upstream = "app"
enforce = "observe"
allow.mfa = true

[[routes]]
path = "/write/*"
upstream = "app"
allow.permission = { resource = "documents", action = "write" }

[[routes]]
path = "/asked/*"
upstream = "app"
allow.permission = { resource = "documents", action = "write", check = "remote" }
"#;

/// One request: method, host, path and headers.
type Generated = (&'static str, &'static str, String, Vec<(String, String)>);

fn generated(secrets: &[String]) -> impl Strategy<Value = Generated> + use<> {
    let method =
        prop::sample::select(vec!["GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE", "TRACE", "get"]);
    let host = prop::sample::select(vec!["app.test", "app.test:80", "OTHER.test", "a..b", ""]);
    let piece = prop::sample::select(vec![
        "/",
        "/",
        "public",
        "optional",
        "admin",
        "org",
        "acme",
        "globex",
        "watched",
        "x",
        "%61",
        "..",
        "%2F",
        ";x",
        "%",
        "_stytch",
        "?session_jwt=1",
        "#",
    ]);
    let path = prop_oneof![
        prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("/{}", pieces.concat())),
        prop::sample::select(vec![
            "/x",
            "/public/x",
            "/optional/x",
            "/admin/x",
            "/org/acme/x",
            "/org/globex/x",
            "/watched/x",
            "/write/x",
            "/asked/x",
        ])
        .prop_map(str::to_owned),
    ];
    let name = prop::sample::select(vec![
        ("Cookie", "stytch_session_jwt="),
        ("Cookie", "stytch_session="),
        ("Cookie", "a=b; stytch_session_jwt="),
        ("Authorization", "Bearer "),
    ]);
    let credential = (name, prop::sample::select(secrets.to_vec()))
        .prop_map(|((name, before), secret)| (name.to_owned(), format!("{before}{secret}")));
    let other = prop::sample::select(vec![
        ("Origin", "https://evil.test"),
        ("Origin", "http://app.test"),
        ("Access-Control-Request-Method", "PUT"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Connection", "upgrade"),
        ("Upgrade", "websocket"),
        ("X-Stytch-Roles", "admin"),
        ("Content-Length", "0"),
        ("Content-Length", "5000"),
        ("Transfer Encoding", "x"),
        ("X-Forwarded-Host", "other.test"),
    ])
    .prop_map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers = (prop::collection::vec(credential, 0..3), prop::collection::vec(other, 0..4)).prop_map(
        |(mut credentials, mut others)| {
            credentials.append(&mut others);
            credentials
        },
    );
    (method, host, path, headers)
}

/// Whatever is asked: what `explain` says is what the gateway does.
#[test]
fn what_is_told_is_what_is_done() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::with(MANY));
    let (ana, cho) = (world.session_of("ana@acme.example", "acme"), world.session());
    let revoked = world.session();
    runtime.block_on(world.revoke(&revoked));
    let secrets = vec![
        ana.session_jwt.clone(),
        ana.session_token.clone(),
        cho.session_jwt.clone(),
        cho.session_token.clone(),
        world.aged(&cho, 4000),
        format!("{}x", ana.session_jwt),
        revoked.session_token,
        "0".repeat(44),
        "a.b.c".to_owned(),
        String::new(),
    ];
    let files: Vec<_> = ["0.toml", "1.toml"].map(|name| world.directory().join(name)).into();
    let seen = RefCell::new(BTreeSet::new());
    let mut runner = TestRunner::new(Cases { cases: 250, failure_persistence: None, ..Cases::default() });
    let outcome = runner.run(&generated(&secrets), |(method, host, path, headers)| {
        let arguments: Vec<String> = [("Host".to_owned(), host.to_owned())]
            .into_iter()
            .chain(headers.clone())
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let asked = Asked::new(method, &path, &arguments, None).unwrap();
        let config = config::load(&files, std::iter::empty()).unwrap().config;
        let told = explain(config, &asked, false).unwrap().outcome;
        let before = world.upstream_traffic()[0].1;
        let head: String = arguments.iter().map(|line| format!("{line}\r\n")).collect();
        let body =
            if headers.iter().any(|(_, value)| value == "5000") { "b".repeat(5000) } else { String::new() };
        let response = runtime.block_on(async {
            let mut connection = world.connect().await;
            connection.send(format!("{method} {path} HTTP/1.1\r\n{head}\r\n{body}")).await;
            connection.response_to(method).await.unwrap()
        });
        let passed = world.upstream_traffic()[0].1 > before;
        match told {
            Outcome::Allowed => prop_assert!(passed, "{:?}", response),
            Outcome::Refused(code) => {
                prop_assert!(!passed, "{} was passed on: {:?}", code.as_str(), response);
                prop_assert_eq!(response.status, code.status().as_u16());
                if method != "HEAD" {
                    let answer = response.json();
                    prop_assert_eq!(answer["code"].as_str(), Some(code.as_str()));
                }
            }
            Outcome::Own | Outcome::Open => prop_assert!(false, "{:?}", told),
        }
        seen.borrow_mut().insert(format!("{told:?}"));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let kinds = seen.into_inner();
    assert!(kinds.len() >= 8, "too few kinds of outcome to tell: {kinds:?}");
}
