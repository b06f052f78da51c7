//! From every door to the sign-in pages, by one rule; and which organization goes along.

use serde_json::json;

use super::browser::Browser;
use super::{MEMBERS, session, told};
use crate::client::Request;
use crate::envoy::{Check, Envoy, values};
use crate::forward_auth::{ASKED, Front};
use crate::world::World;

const EXT_AUTHZ: &str = "[ext_authz]\nenabled = true\nlisten = \"127.0.0.1:0\"\n";
const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// Routes that say in each way who is sent to sign in, and two that are for one organization.
const ROUTES: &str = r#"
[[routes]]
path = "/api/*"
upstream = "app"
on_unauthenticated = "401"
[[routes]]
path = "/machines/*"
upstream = "app"
kinds = ["m2m"]
[[routes]]
path = "/public/*"
upstream = "app"
auth = "none"
[[routes]]
path = "/*"
upstream = "app"
[[routes]]
path = "/of/{org}/*"
upstream = "app"
allow.organizations = ["{org}"]
[[routes]]
path = "/mfa"
upstream = "app"
allow.mfa = true
[[routes]]
host = "{org}.app.test"
path = "/*"
upstream = "app"
allow.organizations = ["{org}"]
[[routes]]
host = "one.test"
path = "/*"
upstream = "app"
allow.organizations = ["globex"]
[[routes]]
host = "some.test"
path = "/*"
upstream = "app"
allow.organizations = ["globex", "acme"]
"#;

fn settings(more: &str) -> String {
    format!("{}{EXT_AUTHZ}{ASKED}{more}{ROUTES}", MEMBERS)
}

#[tokio::test]
async fn each_door_sends_whom_the_proxy_sends() {
    let world = World::with(&settings("")).await;
    let envoy = Envoy::to(world.ext_authz_address()).await;
    for (method, target, accept, is_sent) in [
        ("GET", "/reports?year=2026&q=a%20b", HTML, true),
        ("HEAD", "/reports?year=2026&q=a%20b", HTML, true),
        ("POST", "/reports", HTML, false),
        ("GET", "/reports", "*/*", false),
        ("GET", "/reports", "application/json", false),
        ("GET", "/api/x", HTML, false),
        ("GET", "/machines/x", HTML, false),
    ] {
        let proxied = world.request(method, target).header("Accept", accept).send().await;
        assert_eq!(proxied.status, if is_sent { 303 } else { 401 }, "{method} {target}");
        let relative = proxied.header("location").map(str::to_owned);
        let absolute = relative.as_ref().map(|path| format!("http://app.test{path}"));
        for front in Front::ALL {
            let asked = front.asks(&world, method, target).header("Accept", accept).send().await;
            let may_redirect = !matches!(front, Front::Nginx);
            assert_eq!(
                asked.status,
                if is_sent && may_redirect { 303 } else { 401 },
                "{front:?} {method} {target}"
            );
            assert_eq!(asked.header("location").map(str::to_owned), absolute, "{front:?}");
            assert_eq!(asked.header("x-stytch-code"), Some("unauthenticated"));
            assert_eq!(asked.header("cache-control"), Some("no-store"));
        }
        let check = envoy.check(Check::new(method, target).header("accept", accept)).await;
        let denied = check.denied("unauthenticated");
        assert_eq!(denied.status.as_ref().unwrap().code, if is_sent { 303 } else { 401 });
        assert_eq!(values(&denied.headers, "location").first().map(|at| (*at).to_owned()), absolute);
    }
    let lines = world.logged();
    assert!(lines.iter().any(|line| line["status"] == 303 && line["code"] == "unauthenticated"));
    assert_eq!(world.upstream_traffic(), [(0, 0); 2]);
}

#[tokio::test]
async fn without_pages_no_door_sends_anybody_anywhere() {
    let world = World::with(&format!("{EXT_AUTHZ}{ASKED}")).await;
    for front in Front::ALL {
        let asked =
            front.asks(&world, "GET", "/x").header("Accept", HTML).refused(401, "unauthenticated").await;
        assert_eq!(asked.header("location"), None);
    }
    let envoy = Envoy::to(world.ext_authz_address()).await;
    envoy.check(Check::get("/x").header("accept", HTML)).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn scheme_and_port_are_those_of_the_browser() {
    let world = World::with(&settings("")).await;
    fn at(request: Request<'_>) -> Request<'_> {
        request.header("Accept", HTML)
    }
    let nginx = world.get("/_stytch/auth").header("X-Original-Method", "GET");
    let nginx =
        at(nginx.header("X-Original-URL", "https://app.test:8443/x?y").header("X-Forwarded-Proto", "http"));
    let traefik = world.get("/_stytch/auth/redirect").header("X-Forwarded-Method", "GET");
    let traefik = traefik.header("X-Forwarded-Proto", "wss").header("X-Forwarded-Host", "app.test:8443");
    let traefik = at(traefik.header("X-Forwarded-Uri", "/x?y"));
    let envoy = world.get("/_stytch/auth/ext_authz/x?y").host("app.test:8443");
    let envoy = at(envoy.header("X-Forwarded-Proto", "https"));
    for request in [nginx, traefik, envoy] {
        let answer = request.send().await;
        let expected = "https://app.test:8443/_stytch/login?return_to=%2Fx%3Fy";
        assert_eq!(answer.header("location"), Some(expected));
    }
    let grpc = Envoy::to(world.ext_authz_address()).await;
    let mut check = Check::get("/x?y").host("app.test:8443").header("accept", HTML);
    check.http.scheme = "https".to_owned();
    let answer = grpc.check(check).await;
    let location = values(&answer.denied("unauthenticated").headers, "location");
    assert_eq!(location, ["https://app.test:8443/_stytch/login?return_to=%2Fx%3Fy"]);
}

/// People sign in under one address, and come back to the host they came from if it is allowed.
#[tokio::test]
async fn signing_in_on_another_host_leads_back_to_the_first() {
    let public = "[server]\npublic_url = \"https://login.test\"\ntrusted_proxies = [\"127.0.0.1\"]\n\
                  [forward_auth]\nenabled = true\n";
    let redirects = MEMBERS.replace("enabled = true", "enabled = true\nredirects = [\"app.test\"]");
    let world = World::with(&format!("{redirects}{public}")).await;
    let asked = world.get("/_stytch/auth").header("X-Original-Method", "GET");
    let asked = asked.header("X-Original-URL", "https://app.test/x?y").header("Accept", HTML).send().await;
    let location = asked.header("location").unwrap();
    let path = location.strip_prefix("https://login.test").unwrap();
    assert_eq!(path, "/_stytch/login?return_to=https%3A%2F%2Fapp.test%2Fx%3Fy");
    let mut browser = Browser::new(&world);
    let page = browser.visit(path).await;
    let page = browser.send(&page, &[("action", "email"), ("email", "ben@acme.example")]).await;
    let code = browser.code("ben@acme.example");
    let page = browser.send_only(&page, &[("action", "code"), ("code", &code)]).await.status(303);
    // The test's browser is at app.test itself, so this is a place of its own.
    assert_eq!(page.response.header("location"), Some("/x?y"));
}

#[tokio::test]
async fn nginx_is_told_where_a_refused_person_can_go() {
    let world = World::with(&settings("")).await;
    let minted =
        world.emulator.session("cho@acme.example").organization("acme").factors(["email_otp"]).mint();
    let asked =
        |front: Front, target: &str| front.asks(&world, "GET", target).jwt(&minted).header("Accept", HTML);
    for (target, location) in [
        ("/mfa", Some("http://app.test/_stytch/login?return_to=%2Fmfa&step_up=mfa")),
        (
            "/of/globex/x",
            Some("http://app.test/_stytch/organizations?return_to=%2Fof%2Fglobex%2Fx&organization=globex"),
        ),
        ("/machines/x", None),
    ] {
        for front in Front::ALL {
            let answer = asked(front, target).send().await;
            assert_eq!(answer.status, 403, "{front:?}");
            let told = answer.header("location");
            assert_eq!(told, location.filter(|_| matches!(front, Front::Nginx)), "{front:?}");
            let shown = location.map(|location| location.replace('&', "&amp;"));
            assert!(shown.is_none_or(|shown| answer.text().contains(&shown)), "{}", answer.text());
        }
    }
    let script = Front::Nginx.asks(&world, "GET", "/mfa").jwt(&minted).refused(403, "step_up_required").await;
    assert_eq!(script.header("location"), None);
}

#[tokio::test]
async fn the_page_at_envoys_door_has_the_link_too() {
    let world = World::with(&settings("")).await;
    let envoy = Envoy::to(world.ext_authz_address()).await;
    let minted =
        world.emulator.session("cho@acme.example").organization("acme").factors(["email_otp"]).mint();
    let answer = envoy.check(Check::get("/mfa").with(&minted).header("accept", HTML)).await;
    let denied = answer.refused(403, "step_up_required");
    assert!(
        denied.body.contains("http://app.test/_stytch/login?return_to=%2Fmfa&amp;step_up=mfa"),
        "{}",
        denied.body
    );
    assert!(values(&denied.headers, "content-security-policy")[0].contains("frame-ancestors 'none'"));
    let challenge = values(&denied.headers, "www-authenticate");
    assert_eq!(challenge, ["Bearer error=\"insufficient_user_authentication\""]);
}

#[tokio::test]
async fn the_organization_of_the_host_or_path_goes_along() {
    let world = World::with(&settings("")).await;
    for (host, target, location) in [
        ("globex.app.test", "/x", "/_stytch/login?return_to=%2Fx&organization=globex"),
        ("app.test", "/of/globex/x", "/_stytch/login?return_to=%2Fof%2Fglobex%2Fx&organization=globex"),
        ("one.test", "/", "/_stytch/login?organization=globex"),
        ("some.test", "/x", "/_stytch/login?return_to=%2Fx"),
        ("app.test", "/x", "/_stytch/login?return_to=%2Fx"),
        ("a.app.test", "/x", "/_stytch/login?return_to=%2Fx"),
    ] {
        let answer = world.get(target).host(host).header("Accept", HTML).send().await;
        assert_eq!((answer.status, answer.header("location")), (303, Some(location)), "{host}{target}");
    }
    // So whoever belongs to two is not asked which.
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/of/globex/x", "ana@acme.example").await.status(200);
    assert_eq!(page.at, "/of/globex/x");
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("globex"));
}

#[tokio::test]
async fn somebody_of_another_organization_may_switch() {
    let world = World::with(&settings("")).await;
    let mut browser = Browser::new(&world);
    browser.holds(&world.session_of("ana@acme.example", "acme"));
    let page = browser.open("/of/globex/x").await.status(403).says("This page is for globex");
    let page = page.says("organization_not_allowed");
    let page = browser.open(&page.link("Switch to globex")).await.status(200).says("Globex");
    assert!(!page.text().contains("Acme"), "only the one that is asked for");
    let globex = page.button("Globex");
    let page = browser.send(&page, &[("organization", &globex)]).await.status(200);
    assert_eq!(page.at, "/of/globex/x");
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("globex"));
    // Whoever belongs to one alone can sign in with another address.
    let mut ben = Browser::new(&world);
    ben.holds(&world.session_of("ben@acme.example", "acme"));
    let link = ben.open("/of/globex/x").await.status(403).link("Switch to globex");
    let page = ben.visit(&link).await.says("E-mail address");
    let page = ben.send(&page, &[("action", "email"), ("email", "gil@globex.example")]).await;
    let code = ben.code("gil@globex.example");
    assert_eq!(ben.send(&page, &[("action", "code"), ("code", &code)]).await.status(200).at, "/of/globex/x");
    assert_eq!(session(&world, &ben).await["organization_slug"], json!("globex"));
    // And a link that nobody is signed in for leads to the same page.
    Browser::new(&world).visit(&link).await.says("E-mail address");
}

#[tokio::test]
async fn a_name_that_is_none_is_no_link() {
    let world = World::with(&settings("")).await;
    let mut browser = Browser::new(&world);
    browser.holds(&world.session_of("ana@acme.example", "acme"));
    for name in ["x", "%3Cscript%3E", "a%20b", "a+b"] {
        let page = browser.open(&format!("/of/{name}/x")).await.status(403);
        assert!(!page.text().contains("/_stytch/") && !page.text().contains("<script"), "{}", page.text());
    }
}

fn bearing<'w>(request: Request<'w>, bearer: Option<&str>) -> Request<'w> {
    match bearer {
        Some(bearer) => request.header("Authorization", bearer),
        None => request,
    }
}

/// The challenge for OAuth clients is the same wherever they are refused.
#[tokio::test]
async fn every_door_challenges_alike() {
    let apps = "[stytch]\ndomain = \"https://login.example.com\"\n[server]\npublic_url = \"http://app.test\"\n\
                trusted_proxies = [\"127.0.0.1\"]\n[forward_auth]\nenabled = true\n\
                [[routes]]\nhost = \"app.test\"\npath = \"/mcp/*\"\nupstream = \"app\"\n\
                kinds = [\"connected_app\", \"m2m\"]\nallow.scopes = [\"read:tools\"]\n";
    let world = World::with(&format!("{EXT_AUTHZ}{apps}")).await;
    let envoy = Envoy::to(world.ext_authz_address()).await;
    let weak = world.emulator.m2m_token("m2m-client-test-reports").scopes(["read:reports"]).mint();
    for (token, code, word) in [
        (None, "unauthenticated", "resource_metadata=\"http://app.test/.well-known/"),
        (Some("e30.e30.e30"), "invalid_credential", "invalid_token"),
        (Some(weak.as_str()), "scope_missing", "insufficient_scope"),
    ] {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let proxied = bearing(world.get("/mcp/x"), bearer.as_deref()).send().await;
        let challenge = proxied.header("www-authenticate").unwrap().to_owned();
        assert!(challenge.contains(word), "{challenge}");
        for front in Front::ALL {
            let request = bearing(front.asks(&world, "GET", "/mcp/x"), bearer.as_deref());
            let refused = request.refused(if code == "scope_missing" { 403 } else { 401 }, code).await;
            assert_eq!(refused.all("www-authenticate"), [challenge.as_str()], "{front:?}");
        }
        let mut check = Check::get("/mcp/x");
        if let Some(bearer) = &bearer {
            check = check.header("authorization", bearer);
        }
        let answer = envoy.check(check).await;
        assert_eq!(values(&answer.denied(code).headers, "www-authenticate"), [challenge.as_str()]);
    }
}
