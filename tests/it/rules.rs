//! May they? Each rule of DESIGN.md section 6 through the whole gateway, with its code.

use jiff::Timestamp;
use serde_json::json;

use crate::client::Response;
use crate::world::World;

/// A route under `path` with these lines, beside one for everything else.
async fn world(path: &str, lines: &str) -> World {
    World::with(&routes(path, lines)).await
}

fn routes(path: &str, lines: &str) -> String {
    format!(
        "[[routes]]\nhost = \"app.test\"\npath = \"{path}\"\nupstream = \"app\"\n{lines}\n\
         [[routes]]\npath = \"/*\"\nupstream = \"app\"\n"
    )
}

#[tokio::test]
async fn roles_are_those_of_the_session() {
    let world = world("/admin/*", "allow.roles = [\"admin\", \"owner\"]").await;
    world.get("/admin/x").jwt(&world.session_of("ana@acme.example", "acme")).expect(200).await;
    for (email, organization) in
        [("ben@acme.example", "acme"), ("cho@acme.example", "acme"), ("ana@acme.example", "globex")]
    {
        let session = world.session_of(email, organization);
        world.get("/admin/x").jwt(&session).refused(403, "role_not_allowed").await;
        world.get("/other").jwt(&session).expect(200).await;
    }
    world.get("/admin/x").refused(401, "unauthenticated").await;
}

#[tokio::test]
async fn an_organization_is_named_by_its_slug() {
    let world = world("/acme/*", "allow.organizations = [\"acme\", \"initech\"]").await;
    world.get("/acme/x").jwt(&world.session()).expect(200).await;
    let other = world.session_of("gil@globex.example", "globex");
    world.get("/acme/x").jwt(&other).refused(403, "organization_not_allowed").await;
}

/// `{org}` in the path or the host admits only the organization of that name.
#[tokio::test]
async fn a_tenant_is_captured_from_path_or_host() {
    let world = World::with(
        "[[routes]]\npath = \"/org/{org}/*\"\nupstream = \"app\"\nallow.organizations = [\"{org}\"]\n\
         [[routes]]\nhost = \"{org}.app.test\"\npath = \"/*\"\nupstream = \"app\"\nallow.organizations = [\"{org}\"]\n",
    )
    .await;
    let (acme, globex) = (world.session(), world.session_of("gil@globex.example", "globex"));
    let id = world.emulator.organization_id("acme").unwrap();
    world.get("/org/acme/x").jwt(&acme).expect(200).await;
    world.get(&format!("/org/{id}/x")).jwt(&acme).expect(200).await;
    world.get("/org/%61cme/x").jwt(&acme).expect(200).await;
    world.get("/").host("acme.app.test").jwt(&acme).expect(200).await;
    world.get("/").host("ACME.app.test:80").jwt(&acme).expect(200).await;
    for target in ["/org/acme/x", "/org/acme/../acme/x", "/org/globex%2facme/x"] {
        let response = world.get(target).jwt(&globex).send().await;
        assert!([400, 403].contains(&response.status), "{target}: {}", response.text());
    }
    for target in ["/org/globex/x", "/org/ACME/x", "/org/acme%20/x", "/org/acmf/x"] {
        world.get(target).jwt(&acme).refused(403, "organization_not_allowed").await;
    }
    world.get("/").host("globex.app.test").jwt(&acme).refused(403, "organization_not_allowed").await;
    world.get("/").host("acme.app.test").jwt(&globex).refused(403, "organization_not_allowed").await;
}

#[tokio::test]
async fn claims_are_equal_or_one_of_several() {
    let world =
        world("/pro/*", "allow.claims = { plan = [\"pro\", \"enterprise\"], seats = 7, beta = true }").await;
    let mint = |claims: serde_json::Value| {
        world.emulator.session("cho@acme.example").organization("acme").custom_claims(claims).mint()
    };
    let good = mint(json!({ "plan": "enterprise", "seats": 7, "beta": true, "more": [1] }));
    world.get("/pro/x").jwt(&good).expect(200).await;
    for claims in [
        json!({}),
        json!({ "plan": "free", "seats": 7, "beta": true }),
        json!({ "plan": "pro", "seats": "7", "beta": true }),
        json!({ "plan": "pro", "seats": 7, "beta": "true" }),
        json!({ "plan": ["pro"], "seats": 7, "beta": true }),
        json!({ "Plan": "pro", "seats": 7, "beta": true }),
        json!({ "plan": null, "seats": 7, "beta": true }),
    ] {
        world.get("/pro/x").jwt(&mint(claims)).refused(403, "claim_mismatch").await;
    }
}

/// The current, verified address counts, whatever case it is written in.
#[tokio::test]
async fn an_email_domain_is_that_of_the_verified_address() {
    let world = world("/staff/*", "allow.email_domains = [\"ACME.example\"]").await;
    let ana = world.session();
    world.get("/staff/x").jwt(&ana).expect(200).await;
    world.get("/staff/x").jwt(&ana).expect(200).await;
    assert_eq!(world.stytch_calls(), 1, "the profile is asked for once");
    let gil = world.session_of("gil@globex.example", "globex");
    world.get("/staff/x").jwt(&gil).refused(403, "email_domain_not_allowed").await;
    let ben = world.emulator.member_id("acme", "ben@acme.example").unwrap();
    for address in ["ben@sub.acme.example", "ben@acme.example.evil.test", "ben@notacme.example"] {
        world.emulator.patch_member(&ben, json!({ "email_address": address })).unwrap();
        let session = world.emulator.session(address).organization("acme").mint();
        world.get("/staff/x").jwt(&session).refused(403, "email_domain_not_allowed").await;
    }
    world.emulator.patch_member(&ben, json!({ "email_address": "Ben@Acme.Example" })).unwrap();
    let session = world.emulator.session("Ben@Acme.Example").organization("acme").mint();
    world.get("/staff/x").jwt(&session).expect(200).await;
}

fn required(response: &Response) -> serde_json::Value {
    let challenge = response.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer error=\"insufficient_user_authentication\""), "{challenge}");
    response.json()["required"].clone()
}

#[tokio::test]
async fn step_up_says_what_is_missing() {
    let world = World::with(&format!(
        "{}\n[[routes]]\npath = \"/mfa/*\"\nupstream = \"app\"\nallow.mfa = true\n\
         [[routes]]\npath = \"/recent/*\"\nupstream = \"app\"\nallow.max_auth_age = \"10m\"\n",
        routes("/totp/*", "allow.factors = [\"totp\"]")
    ))
    .await;
    let mint = |factors: &[&str]| {
        let session = world.emulator.session("cho@acme.example").organization("acme");
        session.factors(factors.iter().copied()).mint()
    };
    let one = mint(&["email_otp"]);
    let two = mint(&["email_otp", "totp"]);
    for path in ["/totp/x", "/mfa/x", "/recent/x"] {
        world.get(path).jwt(&two).expect(200).await;
    }
    let answer = world.get("/totp/x").jwt(&one).refused(403, "step_up_required").await;
    assert_eq!(required(&answer), json!({ "factors": ["totp"] }));
    let answer = world.get("/mfa/x").jwt(&one).refused(403, "step_up_required").await;
    assert_eq!(required(&answer), json!({ "mfa": true }));
    let twice = mint(&["email_otp", "email_otp"]);
    world.get("/mfa/x").jwt(&twice).refused(403, "step_up_required").await;
    let mut claims = world.claims(&one);
    for (age, passes) in [(590, true), (610, false), (-3600, false)] {
        let at = Timestamp::from_second(claims["iat"].as_i64().unwrap() - age).unwrap();
        claims["https://stytch.com/session"]["authentication_factors"][0]["last_authenticated_at"] =
            json!(at.to_string());
        let request = world.get("/recent/x").token(&world.emulator.token(claims.clone()).sign());
        if passes {
            request.expect(200).await;
        } else {
            let answer = request.refused(403, "step_up_required").await;
            assert_eq!(required(&answer), json!({ "max_auth_age": 600 }));
        }
    }
    claims["https://stytch.com/session"]["authentication_factors"] = json!([]);
    for path in ["/totp/x", "/mfa/x", "/recent/x"] {
        let token = world.emulator.token(claims.clone()).sign();
        world.get(path).token(&token).refused(403, "step_up_required").await;
    }
}

#[tokio::test]
async fn an_impersonator_may_be_kept_out() {
    let world = world("/own/*", "allow.impersonated = false").await;
    let impersonated = world.emulator.session("cho@acme.example").organization("acme").impersonated().mint();
    world.get("/own/x").jwt(&impersonated).refused(403, "impersonation_not_allowed").await;
    world.get("/other").jwt(&impersonated).expect(200).await;
    world.get("/own/x").jwt(&world.session()).expect(200).await;
}

/// Every rule given must hold, and the first that does not is told.
#[tokio::test]
async fn all_rules_must_hold() {
    let lines = "allow.organizations = [\"acme\"]\nallow.roles = [\"admin\"]\nallow.claims = { plan = \"pro\" }\nallow.mfa = true";
    let world = world("/all/*", lines).await;
    let mint = |email: &str, organization: &str, factors: &[&str], plan: &str| {
        let session =
            world.emulator.session(email).organization(organization).factors(factors.iter().copied());
        session.custom_claims(json!({ "plan": plan })).mint()
    };
    let both = ["email_otp", "totp"];
    for (session, code) in [
        (mint("gil@globex.example", "globex", &["email_otp"], "free"), "organization_not_allowed"),
        (mint("ben@acme.example", "acme", &["email_otp"], "free"), "role_not_allowed"),
        (mint("ana@acme.example", "acme", &["email_otp"], "free"), "claim_mismatch"),
        (mint("ana@acme.example", "acme", &["email_otp"], "pro"), "step_up_required"),
    ] {
        world.get("/all/x").jwt(&session).refused(403, code).await;
    }
    world.get("/all/x").jwt(&mint("ana@acme.example", "acme", &both, "pro")).expect(200).await;
}

/// On an optional route, rules hold for whoever shows who they are.
#[tokio::test]
async fn rules_hold_on_an_optional_route_too() {
    let world = world("/maybe/*", "auth = \"optional\"\nallow.roles = [\"admin\"]").await;
    world.get("/maybe/x").expect(200).await;
    world.get("/maybe/x").jwt(&world.session()).refused(403, "role_not_allowed").await;
    world.get("/maybe/x").jwt(&world.session_of("ana@acme.example", "acme")).expect(200).await;
}

/// A refusal by a rule costs no call, and clears no cookie.
#[tokio::test]
async fn a_denied_session_is_still_a_session() {
    let world = world("/admin/*", "allow.roles = [\"admin\"]").await;
    let session = world.session();
    let answer = world.get("/admin/x").with(&session).refused(403, "role_not_allowed").await;
    assert!(answer.all("set-cookie").is_empty());
    let line = &world.log(1).await[0];
    assert_eq!(
        (line["decision"].as_str(), line["code"].as_str()),
        (Some("refused"), Some("role_not_allowed"))
    );
    assert_eq!(line["route"], "app.test /admin/*");
    assert!(world.admin("/metrics").await.text().contains(
        "stytch_gateway_requests_total{route=\"app.test /admin/*\",decision=\"refused\",code=\"role_not_allowed\"} 1"
    ));
}

/// What access would have refused passes, is counted and logged; what is malformed does not.
#[tokio::test]
async fn observe_lets_pass_and_says_what_it_would_have_said() {
    let world = world("/admin/*", "allow.roles = [\"admin\"]\nenforce = \"observe\"").await;
    let session = world.session();
    world.get("/admin/nobody").expect(200).await;
    assert!(world.upstream.last().all("x-stytch-member-id").is_empty());
    world.get("/admin/forged").header("X-Stytch-Member-Id", "forged").token("a.b.c").expect(200).await;
    assert!(world.upstream.last().all("x-stytch-member-id").is_empty());
    assert!(!world.upstream.last().header("cookie").unwrap_or_default().contains("a.b.c"));
    world.get("/admin/denied").jwt(&session).expect(200).await;
    assert!(world.upstream.last().header("x-stytch-member-id").is_some(), "who it is was proved");
    world.get("/admin/%2e%2e/x").expect(400).await;
    let log = world.log(4).await;
    let said: Vec<_> =
        log.iter().map(|line| (line["decision"].as_str().unwrap(), line["code"].as_str().unwrap())).collect();
    assert_eq!(
        said,
        [
            ("observed", "unauthenticated"),
            ("observed", "invalid_credential"),
            ("observed", "role_not_allowed"),
            ("refused", "ambiguous_path")
        ]
    );
    assert!(world.admin("/metrics").await.text().contains(
        "stytch_gateway_requests_total{route=\"app.test /admin/*\",decision=\"observed\",code=\"role_not_allowed\"} 1"
    ));
}
