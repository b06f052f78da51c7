//! What templates take and what they say.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;
use crate::identity::{Client, Kind, Organization, Profile, Session};

fn member() -> Identity {
    Identity {
        kind: Kind::Session,
        subject: "member-1".into(),
        organization: Some(Organization { id: "organization-1".into(), slug: "acme".into() }),
        session: Some(Session {
            id: "member-session-1".into(),
            roles: vec!["admin".into(), "a,b".into()],
            factors: Vec::new(),
            object: to_raw_value(&json!({"started_at": "2026-11-21T09:00:00Z", "authentication_factors": [{"type": "email_otp"}]})).unwrap(),
            expires_at: Some(1_795_280_400),
        }),
        client: None,
        claims: json!({
            "plan": "pro", "seats": 7, "beta": true, "gone": null, "tags": ["x y", "50%", "é", " z "],
            "odd": "a\r\nX-Stytch-Roles: admin", "empty": "", "none": [], "deep": {"list": [1, {"k": "v"}]},
            "https://example.com/role": "boss", "spaced": " a b ",
        })
        .as_object()
        .cloned()
        .unwrap(),
        profile: None,
    }
}

fn with_profile() -> Identity {
    let profile = Profile {
        person: json!({"email_address": "ana@acme.example", "name": "Ana Ñuñez", "member_id": "other"}),
        organization: json!({"organization_name": "Acme, Inc.", "organization_slug": "newer"}),
    };
    Identity { profile: Some(Arc::new(profile)), ..member() }
}

fn machine() -> Identity {
    Identity {
        kind: Kind::M2m,
        subject: "m2m-client-1".into(),
        organization: None,
        session: None,
        client: Some(Client { id: "m2m-client-1".into(), scopes: vec!["read:a".into(), "write:a".into()] }),
        claims: serde_json::Map::new(),
        profile: None,
    }
}

fn render(template: &str, who: &Identity) -> Option<String> {
    let template: Template = template.parse().unwrap_or_else(|error| panic!("{template}: {error}"));
    template.render(who).map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn values_become_text() {
    for (template, expected) in [
        ("{member.member_id}", Some("member-1")),
        ("{member.organization_id}/{organization.organization_slug}", Some("organization-1/acme")),
        ("id={{{member.member_id}}}", Some("id={member-1}")),
        ("{ claims.plan }", Some("pro")),
        ("{claims.seats} {claims.beta}", Some("7 true")),
        (
            "{session.id} {session.session_id} {session.member_session_id}",
            Some("member-session-1 member-session-1 member-session-1"),
        ),
        ("{session.roles}", Some("admin,a%2Cb")),
        ("{session.roles|join(\", \")}", Some("admin, a%2Cb")),
        ("{session.roles|join(\"|\")}", Some("admin|a,b")),
        ("{session.roles|json}", Some("[\"admin\",\"a,b\"]")),
        ("{session.roles.0}", Some("admin")),
        ("{session.started_at}", Some("2026-11-21T09:00:00Z")),
        ("{session.expires_at}", Some("2026-11-21T17:00:00Z")),
        ("{session.authentication_factors.0.type}", Some("email_otp")),
        ("{claims.tags}", Some("x y,50%25,%C3%A9,%20z%20")),
        ("{claims.tags|join(\" \")}", Some("x%20y 50%25 %C3%A9 %20z%20")),
        ("{claims.tags|json}", Some("[\"x y\",\"50%25\",\"%C3%A9\",\" z \"]")),
        ("{claims.odd}", Some("a%0D%0AX-Stytch-Roles: admin")),
        ("{claims.spaced}", Some("%20a b%20")),
        ("{claims.deep}", Some("{\"list\":[1,{\"k\":\"v\"}]}")),
        ("{claims.deep.list}", Some("1,{\"k\":\"v\"}")),
        ("{claims.deep.list.1.k}", Some("v")),
        ("{claims.\"https://example.com/role\"}", Some("boss")),
        ("Basic {member.member_id|base64}", Some("Basic bWVtYmVyLTE=")),
        ("Basic {\"{member.member_id}:}}x\"|base64}", Some("Basic bWVtYmVyLTE6fXg=")),
        ("{\"{claims.plan} {claims.tags.2}\"}", Some("pro %C3%A9")),
        ("{\"{claims.plan} {claims.tags.2}\"|base64}", Some("cHJvIMOp")),
        ("{session.roles|json|base64}", Some("WyJhZG1pbiIsImEsYiJd")),
        ("{session.roles|base64}", Some("YWRtaW4sYSUyQ2I=")),
        ("fixed", Some("fixed")),
        ("{claims.gone}", None),
        ("{claims.missing}", None),
        ("{claims.plan.name}", None),
        ("{claims.tags.9}", None),
        ("x{claims.missing}", None),
        ("{\"x{claims.missing}\"|base64}", None),
        ("{claims.empty}", None),
        ("{claims.none}", None),
        ("{user.user_id}", None),
        ("{client.client_id}", None),
        ("{client.scopes}", None),
        ("{member.email_address}", None),
        ("{organization.organization_name}", None),
    ] {
        assert_eq!(render(template, &member()).as_deref(), expected, "{template}");
    }
}

#[test]
fn a_profile_adds_to_what_the_token_tells() {
    for (template, expected) in [
        ("{member.email_address}", Some("ana@acme.example")),
        ("{member.name}", Some("Ana %C3%91u%C3%B1ez")),
        ("{organization.organization_name}", Some("Acme, Inc.")),
        ("{member.member_id} {organization.organization_slug}", Some("member-1 acme")),
        ("{user.email_address}", None),
    ] {
        assert_eq!(render(template, &with_profile()).as_deref(), expected, "{template}");
    }
    let user = Identity {
        subject: "user-1".into(),
        organization: None,
        profile: Some(Arc::new(Profile {
            person: json!({"emails": [{"email": "uma@example.com"}]}),
            organization: Value::Null,
        })),
        ..member()
    };
    assert_eq!(
        render("{user.user_id} {user.emails.0.email}", &user).as_deref(),
        Some("user-1 uma@example.com")
    );
    assert_eq!(render("{member.member_id}", &user), None);
    assert_eq!(render("{organization.organization_id}", &user), None);
    assert_eq!(render("{organization.organization_name}", &user), None);
}

#[test]
fn machines_are_no_people() {
    assert_eq!(render("{client.client_id}", &machine()).as_deref(), Some("m2m-client-1"));
    assert_eq!(render("{client.scopes}", &machine()).as_deref(), Some("read:a,write:a"));
    for template in
        ["{member.member_id}", "{user.user_id}", "{session.id}", "{session.roles}", "{member.name}"]
    {
        assert_eq!(render(template, &machine()), None, "{template}");
    }
}

#[test]
fn a_profile_is_asked_for_only_where_needed() {
    for (template, needs) in [
        ("{member.member_id}{member.organization_id}{user.user_id}", false),
        ("{organization.organization_id}{organization.organization_slug}", false),
        ("{session.roles}{session.anything}{claims.x}{client.client_id}", false),
        ("fixed", false),
        ("{member.email_address}", true),
        ("{member}", true),
        ("{user.emails.0.email}", true),
        ("{organization.organization_name}", true),
        ("{\"{member.email_address}:x\"|base64}", true),
    ] {
        assert_eq!(template.parse::<Template>().unwrap().needs_profile(), needs, "{template}");
    }
    for vertical in [Vertical::B2b, Vertical::Consumer] {
        assert!(defaults(vertical).iter().all(|(_, template)| !template.needs_profile()));
    }
}

#[test]
fn mistakes_are_named() {
    for (template, hint) in [
        ("", "empty"),
        ("  ", "empty"),
        ("{}", "braces are empty"),
        ("{|json}", "braces are empty"),
        ("{member.member_id", "not closed"),
        ("member.member_id}", "not opened"),
        ("{{member.member_id}", "not opened"),
        ("{membr.member_id}", "write `member`"),
        ("{organisation.name}", "write `organization`"),
        ("{client.id}", "client.client_id"),
        ("{client}", "a client has no"),
        ("{member..x}", "not a path"),
        ("{member.}", "not a path"),
        ("{member.a b}", "not a path"),
        ("{claims.\"a}", "not closed"),
        ("{claims.plan|jsn}", "write `json`"),
        ("{claims.plan|base46}", "write `base64`"),
        ("{claims.plan|join}", "write `join(\",\")`"),
        ("{claims.plan|}", "not a filter"),
        ("{claims.plan|join(,)}", "no separator"),
        ("{claims.plan|join(\"\")}", "no separator"),
        ("{claims.plan|join(\"%\")}", "no separator"),
        ("{claims.plan|join(\"a\")}", "no separator"),
        ("{claims.plan|join(\"\n\")}", "no separator"),
        ("{claims.plan|base64|json}", "cannot follow"),
        ("{claims.plan|base64|base64}", "cannot follow"),
        ("{claims.plan|json|join(\",\")}", "cannot follow"),
        ("{\"x\"|json}", "only `base64`"),
        ("caf\u{e9} {claims.plan}", "visible ASCII"),
        ("a\nb", "visible ASCII"),
        ("a\tb", "visible ASCII"),
    ] {
        let error = template.parse::<Template>().expect_err(template).to_string();
        assert!(error.contains(hint), "{template}: {error}");
    }
}

#[test]
fn defaults_say_who_it_is() {
    let rendered = |vertical, who: &Identity| {
        defaults(vertical)
            .into_iter()
            .filter_map(|(name, template)| {
                Some(format!("{name}: {}", template.render(who)?.to_str().unwrap()))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        rendered(Vertical::B2b, &member()),
        [
            "x-stytch-member-id: member-1",
            "x-stytch-organization-id: organization-1",
            "x-stytch-organization-slug: acme",
            "x-stytch-session-id: member-session-1",
            "x-stytch-roles: admin,a%2Cb",
        ]
    );
    assert_eq!(
        rendered(Vertical::Consumer, &machine()),
        ["x-stytch-client-id: m2m-client-1", "x-stytch-scopes: read:a,write:a"]
    );
    for (_, template) in defaults(Vertical::B2b) {
        assert_eq!(template.to_string().parse(), Ok(template));
    }
}

fn claiming(value: Value) -> Identity {
    let claims = [("v".to_owned(), value)].into_iter().collect();
    Identity { claims, ..machine() }
}

proptest! {
    #[test]
    fn text_can_be_read_back(text in any::<String>()) {
        match render("{claims.v}", &claiming(json!(text))) {
            None => prop_assert!(text.is_empty()),
            Some(header) => {
                prop_assert!(header.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
                prop_assert_eq!(header.trim(), &header);
                prop_assert_eq!(String::from_utf8(crate::access::path::decode(header.as_bytes())).unwrap(), text);
            }
        }
    }

    #[test]
    fn lists_can_be_read_back(
        list in prop::collection::vec(prop_oneof!["[a,;| %é\n]{1,6}", "\\PC{1,4}"], 1..5),
        separator in "[,;| :/.-]{1,2}",
    ) {
        let template = format!("{{claims.v|join(\"{separator}\")}}");
        let header = render(&template, &claiming(json!(list))).unwrap();
        let decode = |element: &str| String::from_utf8(crate::access::path::decode(element.as_bytes())).unwrap();
        prop_assert_eq!(&header.split(&separator).map(decode).collect::<Vec<_>>(), &list);
        let raw = render(&format!("{{claims.v|join(\"{separator}\")|base64}}"), &claiming(json!(list))).unwrap();
        let raw = String::from_utf8(STANDARD.decode(raw).unwrap()).unwrap();
        prop_assert_eq!(&raw.split(&separator).map(decode).collect::<Vec<_>>(), &list);
    }

    #[test]
    fn json_can_be_read_back(keys in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4)) {
        let header = render("{claims.v|json}", &claiming(json!(keys))).unwrap();
        let decoded = crate::access::path::decode(header.as_bytes());
        prop_assert_eq!(serde_json::from_slice::<Value>(&decoded).unwrap(), json!(keys));
    }

    #[test]
    fn any_template_is_answered(text in any::<String>(), marked in "[{}\"|.a-z()% é]{0,24}") {
        for text in [text, marked] {
            if let Ok(template) = text.parse::<Template>() {
                let _ = (template.render(&member()), template.needs_profile());
                prop_assert_eq!(template.to_string(), text);
            }
        }
    }
}
