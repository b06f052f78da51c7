//! Class A: a client that says who it is.

use serde_json::json;
use stytch_emulator::Session;

use super::{decoded, honest, identity};
use crate::assertion::{KeyFile, published, verified};
use crate::echo::Answer;
use crate::world::World;

/// Spellings that some server reads as `X-Stytch-Member-Id`.
const ALIASES: [&str; 12] = [
    "X-Stytch-Member-Id",
    "x-stytch-member-id",
    "X-STYTCH-MEMBER-ID",
    "X_Stytch_Member_Id",
    "X-Stytch_Member-Id",
    "X-Stytch-Member_Id",
    "X.Stytch.Member.Id",
    "X~Stytch!Member|Id",
    "X-Stytch-Member.Id",
    "x_stytch_member_id",
    "X^Stytch^Member^Id",
    "X'Stytch'Member'Id",
];

/// A session whose custom claims hold this.
fn with_claims(world: &World, claims: serde_json::Value) -> Session {
    let serde_json::Value::Object(claims) = claims else { panic!("claims are an object") };
    world.emulator.session("ana@acme.example").organization("acme").custom_claims(claims).mint()
}

#[tokio::test]
async fn a01_plain_spoof() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    world.get("/x").jwt(&session).header("X-Stytch-Member-Id", "attacker").expect(200).await;
    assert_eq!(identity(&world.upstream.last()), expected);
}

#[tokio::test]
async fn a02_every_spelling_on_every_kind_of_route() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    for alias in ALIASES {
        let spoof = |target: &'static str| world.get(target).header(alias, "attacker");
        spoof("/x").jwt(&session).expect(200).await;
        assert_eq!(identity(&world.upstream.last()), expected, "{alias}");
        spoof("/optional/x").jwt(&session).expect(200).await;
        assert_eq!(identity(&world.upstream.last()), expected, "{alias}");
        for open in ["/optional/x", "/public/x"] {
            spoof(open).expect(200).await;
            assert_eq!(identity(&world.upstream.last()), [], "{alias} on {open}");
        }
        spoof("/x").refused(401, "unauthenticated").await;
    }
}

/// Names that no list of tokens allows never become headers at all.
#[tokio::test]
async fn a04_bytes_that_belong_in_no_name() {
    let world = World::start().await;
    for name in
        ["X Stytch Roles", "X-Stytch-Roles ", "X\tStytch-Roles", "X-Stytch\u{ad}-Roles", "X-Stytch-Roles\0"]
    {
        let raw =
            world.raw(format!("GET /public/x HTTP/1.1\r\nHost: app.test\r\n{name}: admin\r\n\r\n")).await;
        assert_eq!((raw.status(), raw.closed, raw.rest.len()), (Some(400), true, 0), "{name:?}");
    }
    assert_eq!(world.upstream.traffic(), (0, 0));
}

#[tokio::test]
async fn a05_the_configured_name_is_in_another_case() {
    let world = World::with("[identity.headers]\nx-stytch-MEMBER-id = \"{member.member_id}\"").await;
    let session = world.session();
    let subject = world.claims(&session)["sub"].as_str().unwrap().to_owned();
    for alias in ALIASES {
        world.get("/x").jwt(&session).header(alias, "attacker").expect(200).await;
        assert_eq!(world.upstream.last().header("x-stytch-member-id").as_ref(), Some(&subject), "{alias}");
        assert_eq!(identity(&world.upstream.last()).len(), 5, "{alias}");
    }
}

/// A legacy application's own names are owned as well, on every route.
#[tokio::test]
async fn a06_a_name_outside_the_prefix() {
    let world = World::with(
        "[identity.headers]\nREMOTE_USER = \"{member.member_id}\"\nAuthorization = \"Basic {member.member_id|base64}\"",
    )
    .await;
    let session = world.session();
    let subject = world.claims(&session)["sub"].as_str().unwrap().to_owned();
    for alias in ["REMOTE_USER", "Remote-User", "remote.user", "rEMOTE~uSER"] {
        let spoof =
            |target| world.get(target).header(alias, "root").header("Authorization", "Basic cm9vdDo=");
        spoof("/x").jwt(&session).expect(200).await;
        let received = world.upstream.last();
        assert_eq!(received.header("remote_user").as_ref(), Some(&subject), "{alias}");
        assert_ne!(received.header("authorization").unwrap(), "Basic cm9vdDo=");
        spoof("/public/x").expect(200).await;
        let received = world.upstream.last();
        let names: Vec<_> = received.headers().into_iter().map(|(name, _)| name.to_lowercase()).collect();
        assert!(
            !names.iter().any(|name| name.contains("user") || name == "authorization"),
            "{alias} {names:?}"
        );
    }
}

#[tokio::test]
async fn a07_an_optional_claim_that_is_absent() {
    let world = World::with("[identity.headers]\nX-Email = \"{claims.email}\"").await;
    let session = world.session();
    for alias in ["X-Email", "x_email", "X.Email"] {
        world.get("/x").jwt(&session).header(alias, "ceo@corp.example").expect(200).await;
        let headers = world.upstream.last().headers();
        assert!(!headers.iter().any(|(_, value)| value.contains("ceo@corp")), "{alias} {headers:?}");
    }
    let named = with_claims(&world, json!({ "email": "ana@acme.example" }));
    world.get("/x").jwt(&named).header("X-Email", "ceo@corp.example").expect(200).await;
    assert_eq!(world.upstream.last().header("x-email").as_deref(), Some("ana@acme.example"));
}

/// A header that only one route sets is nobody's on the others.
#[tokio::test]
async fn a08_a_name_of_another_route() {
    let world = World::with(
        "[[routes]]\npath = \"/legacy/*\"\nupstream = \"app\"\nheaders = { X-User = \"{member.member_id}\" }\n\
         [[routes]]\npath = \"/public/*\"\nupstream = \"app\"\nauth = \"none\"\n\
         [[routes]]\npath = \"/*\"\nupstream = \"app\"",
    )
    .await;
    let session = world.session();
    let subject = world.claims(&session)["sub"].as_str().unwrap().to_owned();
    for alias in ["X-User", "x_user", "X.USER"] {
        world.get("/legacy/x").jwt(&session).header(alias, "root").expect(200).await;
        assert_eq!(world.upstream.last().header("x-user").as_ref(), Some(&subject));
        for (target, with) in [("/x", true), ("/public/x", false)] {
            let request = world.get(target).header(alias, "root");
            let request = if with { request.jwt(&session) } else { request };
            request.expect(200).await;
            let headers = world.upstream.last().headers();
            assert!(!headers.iter().any(|(_, value)| value == "root"), "{alias} on {target}: {headers:?}");
        }
    }
}

/// Many aliases at once, between headers that must stay.
#[tokio::test]
async fn a10_a_crowd_of_aliases() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    let mut request = world.get("/x").jwt(&session).header("X-First", "1");
    for number in 0..80 {
        request = request.header(ALIASES[number % ALIASES.len()], format!("attacker-{number}"));
    }
    request.header("X-Last", "2").expect(200).await;
    let received = world.upstream.last();
    assert_eq!(identity(&received), expected);
    assert_eq!(
        (received.header("x-first").as_deref(), received.header("x-last").as_deref()),
        (Some("1"), Some("2"))
    );
}

#[tokio::test]
async fn a11_two_copies() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    let spoof =
        world.get("/x").header("X-Stytch-Roles", "admin").jwt(&session).header("X-Stytch-Roles", "owner");
    spoof.expect(200).await;
    assert_eq!(identity(&world.upstream.last()), expected);
}

/// A session that could not be checked, or is none, brings no identity along either.
#[tokio::test]
async fn a12_a_bad_credential_beside_the_claim() {
    let world = World::start().await;
    for target in ["/x", "/optional/x"] {
        let spoof = world.get(target).header("X-Stytch-Member-Id", "attacker").token("a.b.c");
        spoof.refused(401, "invalid_credential").await;
    }
}

#[tokio::test]
async fn a13_a_public_route() {
    let world = World::start().await;
    let session = world.session();
    world.get("/public/x").header("X-Stytch-Member-Id", "attacker").expect(200).await;
    assert_eq!(identity(&world.upstream.last()), []);
    world.get("/public/x").with(&session).header("X-Stytch-Roles", "admin").expect(200).await;
    assert_eq!(identity(&world.upstream.last()), []);
}

#[tokio::test]
async fn a14_in_trailers_of_the_request() {
    let world = World::start().await;
    let session = world.session();
    for alias in ALIASES {
        let request =
            world.post("/x").jwt(&session).header("Transfer-Encoding", "chunked").header("TE", "trailers");
        let mut bytes = request.header("Trailer", format!("{alias}, Checksum")).bytes();
        bytes.extend_from_slice(
            format!("2\r\nok\r\n0\r\n{alias}: attacker\r\nChecksum: 1\r\n\r\n").as_bytes(),
        );
        assert_eq!(world.raw(bytes).await.status(), Some(200), "{alias}");
        let received = world.upstream.last();
        assert_eq!(received.body, b"ok");
        assert!(
            !received.trailers.iter().any(|line| line.contains("attacker")),
            "{alias} {:?}",
            received.trailers
        );
    }
}

#[tokio::test]
async fn a15_a_name_the_gateway_does_not_set_yet() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    for name in ["X-Stytch-Future", "X-Stytch-", "X-STYTCH-1", "x_stytch_anything", "X-Stytch-Client-Id"] {
        world.get("/x").jwt(&session).header(name, "1").expect(200).await;
        assert_eq!(identity(&world.upstream.last()), expected, "{name}");
        world.get("/public/x").header(name, "1").expect(200).await;
        assert_eq!(identity(&world.upstream.last()), [], "{name}");
    }
}

#[tokio::test]
async fn a17_a_forged_assertion() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    let forged = world.emulator.token(json!({ "sub": "member-test-1" })).sign();
    for name in ["X-Stytch-Assertion", "x_stytch_assertion"] {
        world.get("/x").jwt(&session).header(name, &forged).expect(200).await;
        assert_eq!(identity(&world.upstream.last()), expected, "{name}");
    }
    let file = KeyFile::new();
    let world = file.world("").start().await;
    let keys = published(&world).await;
    for name in ["X-Stytch-Assertion", "x_stytch_assertion"] {
        world.get("/x").jwt(&world.session()).header(name, &forged).expect(200).await;
        let received = world.upstream.last();
        let [token] = &received.all("x-stytch-assertion")[..] else { panic!("{:?}", received.headers()) };
        assert!(verified(&keys, token, "app").is_ok() && verified(&keys, &forged, "app").is_err());
        assert!(!received.headers().iter().any(|(_, value)| *value == forged));
    }
}

/// One value, on one line, from which a reader gets back exactly what the claim said.
#[tokio::test]
async fn a19_claims_that_break_out_of_a_header() {
    let world = World::with("[identity.headers]\nX-Name = \"{claims.name}\"").await;
    for name in [
        "a\r\nX-Stytch-Roles: admin",
        "a\nX-Stytch-Roles: admin",
        "a\rb",
        "a\0b",
        "Ünï, cödé",
        "\u{7f}",
        " leading and trailing ",
        "100%25",
        "a\u{2028}b",
        "\t",
    ] {
        let session = with_claims(&world, json!({ "name": name }));
        world.get("/x").jwt(&session).expect(200).await;
        let received = world.upstream.last();
        let value = received.header("x-name").unwrap();
        assert_eq!(identity(&received).len(), 5, "{name:?}");
        assert!(value.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{value:?}");
        assert_eq!(decoded(&value), name);
    }
}

/// An element with the separator in it stays one element.
#[tokio::test]
async fn a20_a_list_with_its_separator_in_an_element() {
    let world = World::with("[identity.headers]\nX-Groups = '{claims.groups|join(\",\")}'").await;
    let session = with_claims(&world, json!({ "groups": ["staff,admin", "100%", "a b"] }));
    world.get("/x").jwt(&session).expect(200).await;
    let value = world.upstream.last().header("x-groups").unwrap();
    let groups: Vec<_> = value.split(',').map(decoded).collect();
    assert_eq!(groups, ["staff,admin", "100%", "a b"]);
}

#[tokio::test]
async fn a21_the_upstream_gives_away_what_is_ours() {
    let world = World::start().await;
    world.upstream.on("/x", |_| {
        Answer::bytes(
            "HTTP/1.1 200 OK\r\nX-Stytch-Assertion: signed\r\nSet-Cookie: stytch_session=evil; Path=/\r\n\
             Set-Cookie: theme=dark\r\nSet-Cookie:  stytch_session_jwt =evil\r\nContent-Length: 0\r\n\r\n",
        )
    });
    let response = world.get("/x").jwt(&world.session()).expect(200).await;
    assert_eq!(response.header("x-stytch-assertion"), None);
    assert_eq!(response.all("set-cookie"), ["theme=dark"]);
}

/// And in trailers, which some clients fold into the headers.
#[tokio::test]
async fn a22_the_upstream_gives_it_away_in_trailers() {
    let world = World::start().await;
    world.upstream.on("/x", |_| {
        Answer::bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Stytch-Assertion, Set-Cookie, Sum\r\n\r\n\
             2\r\nok\r\n0\r\nX-Stytch-Assertion: signed\r\nSet-Cookie: stytch_session=evil\r\nSum: 1\r\n\r\n",
        )
    });
    let response = world.get("/x").jwt(&world.session()).header("TE", "trailers").expect(200).await;
    assert_eq!(response.text(), "ok");
    let told = response.trailers.join("\n").to_ascii_lowercase();
    assert!(!told.contains("stytch"), "{told}");
}
