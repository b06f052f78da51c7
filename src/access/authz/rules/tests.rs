//! Each rule, by table: what holds, what does not, and what it says of itself.

use serde_json::value::RawValue;
use serde_json::{Map, json};

use super::*;
use crate::access::route::{HostPattern, PathPattern};
use crate::identity::{Client, Factor, Organization, Profile, Session};

const NOW: i64 = 1_795_264_496_000;

fn identity() -> Identity {
    let factor =
        |kind: &str, ago: i64| Factor { kind: kind.to_owned(), last_authenticated_at: Some(NOW - ago) };
    Identity {
        kind: Kind::Session,
        subject: "member-test-1".to_owned(),
        organization: Some(Organization { id: "organization-test-1".to_owned(), slug: "acme".to_owned() }),
        session: Some(Session {
            id: "member-session-test-1".to_owned(),
            roles: vec!["editor".to_owned()],
            factors: vec![factor("email_otp", 600_000), factor("totp", 60_000)],
            object: RawValue::NULL.to_owned(),
            expires_at: None,
        }),
        client: None,
        claims: Map::from_iter([("plan".to_owned(), json!("pro"))]),
        profile: Some(Arc::new(Profile {
            person: json!({ "email_address": "ana@Acme.example", "email_address_verified": true }),
            organization: Value::Null,
        })),
    }
}

fn holds(rule: &Rule, identity: &Identity) -> bool {
    let captures = Captures::default();
    let context = Context {
        identity,
        kind: identity.kind,
        captures: &captures,
        host: "",
        path: "/",
        now: NOW,
        leeway: 5_000,
    };
    assert!(!rule.wanted().0.is_empty() && !rule.got(&context).is_empty());
    rule.judge(&context).is_ok()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn organizations(named: &[&str]) -> Rule {
    Rule::Organizations(named.iter().map(|name| Allowed::Named((*name).to_owned())).collect())
}

fn max_age(seconds: u64) -> Rule {
    Rule::MaxAuthAge(Duration::from_secs(seconds), Arc::default())
}

#[test]
fn what_holds_for_a_session() {
    let ana = identity();
    for (rule, expected) in [
        (Rule::Kinds(vec![Kind::Session, Kind::M2m]), true),
        (Rule::Kinds(vec![Kind::M2m, Kind::ConnectedApp]), false),
        (organizations(&["globex", "acme"]), true),
        (organizations(&["organization-test-1"]), true),
        (organizations(&["Acme"]), false),
        (organizations(&[""]), false),
        (organizations(&["organization-test-10"]), false),
        (Rule::Roles(texts(&["admin", "editor"])), true),
        (Rule::Roles(texts(&["Editor"])), false),
        (Rule::Scopes(texts(&["read:reports"])), false),
        (Rule::Claim("plan".to_owned(), vec![json!("free"), json!("pro")]), true),
        (Rule::Claim("plan".to_owned(), vec![json!("free")]), false),
        (Rule::Claim("seats".to_owned(), vec![Value::Null]), false),
        (Rule::EmailDomains(texts(&["acme.example"])), true),
        (Rule::EmailDomains(texts(&["example", "xacme.example"])), false),
        (Rule::NotImpersonated, true),
        (Rule::Factors(texts(&["totp", "email_otp"]), Arc::default()), true),
        (Rule::Factors(texts(&["totp", "sso"]), Arc::default()), false),
        (Rule::Mfa(Arc::default()), true),
        (max_age(60), true),
        (max_age(59), false),
    ] {
        assert_eq!(holds(&rule, &ana), expected, "{rule:?}");
    }
}

/// A rule that finds nothing to judge does not hold.
#[test]
fn nothing_holds_for_what_is_not_there() {
    let bare = Identity {
        organization: None,
        session: None,
        claims: Map::new(),
        profile: None,
        client: Some(Client { id: "m2m-client-test-1".to_owned(), scopes: Vec::new() }),
        kind: Kind::M2m,
        ..identity()
    };
    for rule in [
        organizations(&["acme", ""]),
        Rule::Roles(texts(&["editor", ""])),
        Rule::Scopes(texts(&["read"])),
        Rule::Claim("plan".to_owned(), vec![json!("pro")]),
        Rule::EmailDomains(texts(&["acme.example", ""])),
        Rule::Factors(texts(&["totp"]), Arc::default()),
        Rule::Mfa(Arc::default()),
        max_age(3600),
        Rule::KnownDevice(Arc::default()),
        Rule::DeviceKnownFor(Duration::from_secs(1), Arc::default()),
        Rule::DeviceCountries(texts(&["GB", ""]), Arc::default()),
    ] {
        assert!(!holds(&rule, &bare), "{rule:?}");
    }
}

#[test]
fn an_id_of_one_organization_is_no_slug_of_another() {
    let mut taken = identity();
    taken.organization =
        Some(Organization { id: "organization-test-2".to_owned(), slug: "organization-test-1".to_owned() });
    assert!(!holds(&organizations(&["organization-test-1"]), &taken));
    assert!(holds(&organizations(&["organization-test-2"]), &taken));
}

#[test]
fn an_address_counts_once_it_is_verified() {
    let rule = Rule::EmailDomains(texts(&["acme.example"]));
    for (person, expected) in [
        (json!({ "email_address": "a@acme.example", "email_address_verified": false }), false),
        (json!({ "email_address": "a@acme.example" }), false),
        (json!({ "email_address": "a@acme.example@evil.example", "email_address_verified": true }), false),
        (json!({ "email_address": "acme.example", "email_address_verified": true }), false),
        (json!({ "email_address": "a@acme.example.", "email_address_verified": true }), false),
        (json!({ "emails": [{ "email": "u@acme.example", "verified": true }] }), true),
        (json!({ "emails": [{ "email": "u@acme.example", "verified": false }] }), false),
        (
            json!({ "emails": [{ "email": "u@acme.example", "verified": false }, { "email": "u@x.example", "verified": true }] }),
            false,
        ),
    ] {
        let mut who = identity();
        who.profile = Some(Arc::new(Profile { person: person.clone(), organization: Value::Null }));
        assert_eq!(holds(&rule, &who), expected, "{person}");
    }
}

#[test]
fn an_impersonator_and_the_time_of_a_factor_are_seen() {
    let with = |factors: Vec<Factor>| {
        let mut who = identity();
        who.session.as_mut().expect("a session").factors = factors;
        who
    };
    let factor = |kind: &str, at| Factor { kind: kind.to_owned(), last_authenticated_at: at };
    assert!(!holds(&Rule::NotImpersonated, &with(vec![factor("impersonated", Some(NOW))])));
    assert!(!holds(&max_age(60), &with(vec![factor("totp", None)])));
    assert!(holds(&max_age(60), &with(vec![factor("totp", Some(NOW + 5_000))])), "within the leeway");
    assert!(!holds(&max_age(60), &with(vec![factor("totp", Some(NOW + 5_001))])));
    assert!(!holds(&Rule::Mfa(Arc::default()), &with(vec![factor("totp", None), factor("totp", None)])));
}

#[test]
fn a_device_is_what_stytch_said_at_the_sign_in() {
    let known_for = |seconds| Rule::DeviceKnownFor(Duration::from_secs(seconds), Arc::default());
    let (known, week) = (Rule::KnownDevice(Arc::default()), known_for(604_800));
    let britain = Rule::DeviceCountries(texts(&["DE", "GB"]), Arc::default());
    for (claim, expected) in [
        (json!({ "visitor_id": "v", "is_new": false, "known_for": 604_800, "country": "GB" }), [true; 3]),
        (
            json!({ "visitor_id": "v", "is_new": false, "known_for": 604_799, "country": "gb" }),
            [true, false, true],
        ),
        (json!({ "visitor_id": "v", "is_new": false, "country": "FR" }), [true, false, false]),
        (json!({ "visitor_id": "v", "is_new": true, "known_for": 604_800, "country": "" }), [false; 3]),
        (json!({ "visitor_id": "v", "is_new": "false", "known_for": "604800", "country": 44 }), [false; 3]),
        (json!({ "visitor_id": "v", "known_for": 604_800 }), [false; 3]),
        (json!({ "visitor_id": "", "is_new": false, "known_for": 604_800, "country": "GB" }), [false; 3]),
        (json!({ "is_new": false, "known_for": -1, "country": "GB" }), [false; 3]),
        (json!("GB"), [false; 3]),
        (Value::Null, [false; 3]),
    ] {
        let mut who = identity();
        who.claims.insert("stytch_gateway_device".to_owned(), claim.clone());
        assert_eq!([&known, &week, &britain].map(|rule| holds(rule, &who)), expected, "{claim}");
        // What a machine's token says of a device is nobody's sign-in.
        who.session = None;
        assert_eq!([&known, &week, &britain].map(|rule| holds(rule, &who)), [false; 3], "{claim}");
    }
}

#[test]
fn a_capture_is_compared_with_the_organization() {
    let table = crate::access::route::Table::build([(
        &"{org}.app.test".parse::<HostPattern>().expect("a host"),
        &"/t/{team}/*".parse::<PathPattern>().expect("a path"),
        None,
    )])
    .expect("one route ties with none");
    let ana = identity();
    for (host, path, index, expected) in [
        ("acme.app.test", "/t/acme/x", 0, true),
        ("acme.app.test", "/t/acme/x", 1, true),
        ("globex.app.test", "/t/acme/x", 0, false),
        ("acme.app.test", "/t/globex/x", 1, false),
        ("acme.app.test", "/t/ACME/x", 1, false),
        ("acme.app.test", "/t/acme/x", 2, false),
    ] {
        let crate::access::route::Found::Route(found) = table.find(host, &http::Method::GET, path) else {
            panic!("{host}{path} has a route");
        };
        let context = Context {
            identity: &ana,
            kind: ana.kind,
            captures: &found.captures,
            host,
            path,
            now: NOW,
            leeway: 0,
        };
        let rule = Rule::Organizations(vec![Allowed::Captured(index, "org".to_owned())]);
        assert_eq!(rule.judge(&context).is_ok(), expected, "{host}{path} {index}");
    }
}
