//! Class J: which credential counts, when there are several, or something like one.

use crate::client::Request;
use crate::world::World;

fn cookies<'w>(world: &'w World, target: &str, cookies: &str) -> Request<'w> {
    world.get(target).header("Cookie", cookies)
}

#[tokio::test]
async fn j01_an_attackers_cookie_beside_the_real_one() {
    let world = World::start().await;
    let (own, evil) = (world.session(), world.session_of("gil@globex.example", "globex"));
    let (own, evil) = (&own.session_jwt, &evil.session_jwt);
    for (first, second) in [(own, evil), (evil, own)] {
        let both = format!("stytch_session_jwt={first}; stytch_session_jwt={second}");
        cookies(&world, "/x", &both).refused(401, "ambiguous_credential").await;
        cookies(&world, "/optional/x", &both).refused(401, "ambiguous_credential").await;
    }
    cookies(&world, "/x", &format!("stytch_session_jwt={own}; stytch_session_jwt={own}")).expect(200).await;
    for junk in ["a.b.c", "x", "", "junk"] {
        for both in [
            format!("stytch_session_jwt={junk}; stytch_session_jwt={own}"),
            format!("stytch_session_jwt={own}; stytch_session_jwt={junk}"),
        ] {
            cookies(&world, "/x", &both).refused(401, "invalid_credential").await;
        }
    }
}

#[tokio::test]
async fn j02_two_opaque_tokens() {
    let world = World::start().await;
    let (own, evil) = (world.session(), world.session_of("gil@globex.example", "globex"));
    let (own, evil) = (&own.session_token, &evil.session_token);
    for (first, second) in [(own, evil), (evil, own)] {
        let both = format!("stytch_session={first}; stytch_session={second}");
        cookies(&world, "/x", &both).refused(401, "ambiguous_credential").await;
    }
}

#[tokio::test]
async fn j03_several_cookie_headers() {
    let world = World::start().await;
    let (own, evil) = (world.session(), world.session_of("gil@globex.example", "globex"));
    let two = world.get("/x").jwt(&own).jwt(&evil);
    two.refused(401, "ambiguous_credential").await;
    world.get("/x").header("Cookie", "theme=dark").jwt(&own).header("Cookie", "lang=en").expect(200).await;
    let kept = world.upstream.last().all("cookie").join("; ");
    assert_eq!(kept, "theme=dark; lang=en");
}

/// More values of one name than anyone has a reason to send.
#[tokio::test]
async fn j04_a_crowd_of_credentials() {
    let world = World::start().await;
    let sessions: Vec<_> = (0..6).map(|_| world.session()).collect();
    let all: Vec<_> =
        sessions.iter().map(|session| format!("stytch_session={}", session.session_token)).collect();
    cookies(&world, "/x", &all.join("; ")).refused(401, "ambiguous_credential").await;
    assert_eq!(world.stytch_calls(), 0);
    let bearers =
        sessions.iter().fold(world.get("/x"), |request, session| request.bearer(&session.session_token));
    bearers.refused(401, "ambiguous_credential").await;
    assert_eq!(world.stytch_calls(), 0);
}

#[tokio::test]
async fn j05_a_foreign_scheme() {
    let world = World::start().await;
    let session = world.session();
    for scheme in
        ["Basic dTpw", "Negotiate YIIB", "Digest username=\"x\"", "Bearertoken", "DPoP x", "Token abc"]
    {
        world.get("/x").header("Authorization", scheme).refused(401, "unauthenticated").await;
        world.get("/x").jwt(&session).header("Authorization", scheme).expect(200).await;
        assert_eq!(world.upstream.last().header("authorization").as_deref(), Some(scheme));
    }
}

/// What is malformed is reported, not skipped over for a cookie that is good.
#[tokio::test]
async fn j06_a_malformed_bearer() {
    let world = World::start().await;
    let session = world.session();
    let jwt = &session.session_jwt;
    let malformed = [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "bearer x".to_owned(),
        "BEARER a.b.c".to_owned(),
        format!("Bearer {jwt}, Bearer {jwt}"),
        format!("Bearer {jwt} {jwt}"),
        format!("Bearer \"{jwt}\""),
        format!("Bearer Bearer {jwt}"),
        format!("Bearer {jwt},"),
    ];
    for value in &malformed {
        world.get("/x").jwt(&session).header("Authorization", value).refused(401, "invalid_credential").await;
    }
    world.get("/x").header("Authorization", format!("bEaReR   {jwt}")).expect(200).await;
    assert_eq!(world.upstream.last().header("authorization"), None);
}

#[tokio::test]
async fn j07_a_quoted_value() {
    let world = World::start().await;
    let session = world.session();
    for value in [&session.session_jwt, &session.session_token] {
        for (name, quoted) in [
            ("stytch_session_jwt", format!("\"{value}\"")),
            ("stytch_session", format!("\"{value}\"")),
            ("stytch_session_jwt", format!("'{value}'")),
        ] {
            world.get("/x").cookie(name, &quoted).refused(401, "invalid_credential").await;
        }
    }
    assert_eq!(world.stytch_calls(), 0);
}

/// Values that a lenient parser would clean up.
#[tokio::test]
async fn j08_a_value_with_something_around_it() {
    let world = World::start().await;
    let session = world.session();
    let token = &session.session_token;
    for value in [
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\t"),
        format!("{token},"),
        format!("{token}%20"),
        format!("{}%3D", &token[..43]),
        format!("={token}"),
        format!("{token}={token}"),
        format!("$Version=1, {token}"),
    ] {
        let response = cookies(&world, "/x", &format!("stytch_session={value}; theme=dark")).send().await;
        assert_eq!(
            (response.status, response.code().as_deref()),
            (401, Some("invalid_credential")),
            "{value:?}"
        );
    }
    assert_eq!(world.stytch_calls(), 0);
}

#[tokio::test]
async fn j09_a_crowd_of_cookies() {
    let world = World::start().await;
    let session = world.session();
    for pair in ["a=b; ", ";", "x;", "=;"] {
        let crowd = pair.repeat(8_000 / pair.len());
        let request = cookies(&world, "/x", &format!("{crowd}stytch_session_jwt={}", session.session_jwt));
        request.refused(431, "header_too_large").await;
    }
    let few = "a=b; ".repeat(200);
    cookies(&world, "/x", &format!("{few}stytch_session_jwt={}", session.session_jwt)).expect(200).await;
}

/// Bytes that are no text are no credential, and no crash.
#[tokio::test]
async fn j10_cookies_that_are_not_ascii() {
    let world = World::start().await;
    for value in
        [b"stytch_session=\xff\xfe".as_slice(), b"stytch_session_jwt=\xc3\xa9.a.b", b"stytch_session=\x80"]
    {
        world.get("/x").header("Cookie", value).refused(401, "invalid_credential").await;
    }
    world.get("/x").header("Cookie", b"\xff=\xfe; stytch_session").refused(401, "unauthenticated").await;
}

#[tokio::test]
async fn j11_names_that_are_nearly_ours() {
    let world = World::start().await;
    let jwt = world.session().session_jwt;
    for name in [
        "stytch_session_jwt[]",
        "  stytch_session_jwt",
        "STYTCH_SESSION_JWT",
        "stytch_session_jwt ",
        "\tstytch_session_jwt",
        "stytch-session-jwt",
        "stytch.session.jwt",
        "__Host-stytch_session_jwt",
        "__Secure-stytch_session_jwt",
        "stytch_session_jwt2",
        "xstytch_session_jwt",
        "stytch%5Fsession_jwt",
        "\"stytch_session_jwt\"",
    ] {
        cookies(&world, "/x", &format!("a=b; {name}={jwt}")).refused(401, "unauthenticated").await;
    }
    let nul = world
        .raw(format!("GET /x HTTP/1.1\r\nHost: app.test\r\nCookie: stytch_session_jwt\0={jwt}\r\n\r\n"))
        .await;
    assert_eq!((nul.status(), nul.closed), (Some(400), true));
}

/// What some parser behind us could take for ours is kept from it, whatever the route.
#[tokio::test]
async fn j12_names_that_are_nearly_ours_stay_here() {
    let world = World::start().await;
    for name in ["STYTCH_SESSION_JWT", "Stytch_Session", " stytch_session", "stytch_session_jwt "] {
        cookies(&world, "/public/x", &format!("a=b; {name}=secret; c=d")).expect(200).await;
        assert_eq!(world.upstream.last().header("cookie").as_deref(), Some("a=b; c=d"), "{name}");
    }
}

#[tokio::test]
async fn j13_split_cookies() {
    let world = World::start().await;
    let jwt = world.session().session_jwt;
    let (one, two) = jwt.split_at(jwt.len() / 2);
    for split in [
        format!("stytch_session_jwt.0={one}; stytch_session_jwt.1={two}"),
        format!("stytch_session_jwt_0={one}; stytch_session_jwt_1={two}"),
        format!("stytch_session_jwt-1={two}; stytch_session_jwt-0={one}"),
    ] {
        cookies(&world, "/x", &split).refused(401, "unauthenticated").await;
    }
    cookies(&world, "/x", &format!("stytch_session_jwt={one}; stytch_session_jwt={two}"))
        .refused(401, "invalid_credential")
        .await;
}

#[tokio::test]
async fn j15_the_upstream_sees_no_credential() {
    let world = World::start().await;
    let session = world.session();
    let (token, jwt) = (&session.session_token, &session.session_jwt);
    let all = format!("stytch_session={token}; theme=dark; stytch_session_jwt={jwt}");
    for target in ["/x", "/optional/x", "/public/x"] {
        cookies(&world, target, &all).expect(200).await;
        assert_eq!(world.upstream.last().all("cookie"), ["theme=dark"], "{target}");
    }
    for target in ["/x", "/optional/x", "/public/x"] {
        for credential in [token, jwt] {
            world.get(target).bearer(credential).expect(200).await;
            assert_eq!(world.upstream.last().all("authorization"), [""; 0], "{target}");
        }
    }
    let passed_on = World::with("[identity]\nforward_credentials = true").await;
    let session = passed_on.session();
    passed_on.get("/x").with(&session).expect(200).await;
    assert!(
        passed_on
            .upstream
            .last()
            .header("cookie")
            .is_some_and(|cookie| cookie.contains(&session.session_jwt))
    );
}

/// An application's own tokens are its own, on routes that ask for nobody.
#[tokio::test]
async fn j16_a_bearer_that_is_the_applications() {
    let world = World::start().await;
    for token in ["app-token", "a.b.c", "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhcHAifQ.c2ln"] {
        world.get("/public/x").header("Authorization", format!("Bearer {token}")).expect(200).await;
        assert_eq!(world.upstream.last().header("authorization"), Some(format!("Bearer {token}")));
    }
}

#[tokio::test]
async fn j17_a_token_in_the_address() {
    let world = World::start().await;
    let session = world.session();
    world.keep_secret(&session.session_jwt);
    world.keep_secret(&session.session_token);
    let jwt = &session.session_jwt;
    for name in ["session_jwt", "stytch_session_jwt", "token", "access_token", "stytch_session"] {
        world.get(&format!("/api/x?{name}={jwt}")).refused(401, "unauthenticated").await;
    }
    world.get(&format!("/public/x?session_jwt={jwt}")).expect(200).await;
    world.log(6).await;
}

/// On a WebSocket handshake it may be one, where the settings say so; it goes no further.
#[tokio::test]
async fn j18_a_token_in_the_address_of_a_websocket() {
    let world = World::with("[session]\nwebsocket_query = \"session_jwt\"").await;
    let (session, other) = (world.session(), world.session_of("gil@globex.example", "globex"));
    let jwt = &session.session_jwt;
    world.keep_secret(jwt);
    let handshake =
        |target: String| world.get(&target).header("Connection", "Upgrade").header("Upgrade", "websocket");
    world.get(&format!("/ws?session_jwt={jwt}")).refused(401, "unauthenticated").await;
    world
        .get(&format!("/ws?session_jwt={jwt}"))
        .header("Upgrade", "h2c")
        .refused(401, "unauthenticated")
        .await;
    handshake(format!("/ws?Session_jwt={jwt}")).refused(401, "unauthenticated").await;
    handshake(format!("/ws?a=1&session_jwt={jwt}&b=2")).expect(200).await;
    assert_eq!(world.upstream.last().target(), "/ws?a=1&b=2");
    let two = handshake(format!("/ws?session_jwt={jwt}&session_jwt={}", other.session_jwt));
    two.refused(401, "ambiguous_credential").await;
    handshake(format!("/ws?session_jwt={jwt}")).jwt(&other).refused(401, "ambiguous_credential").await;
    handshake("/ws?session_jwt=".to_owned()).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn j19_an_opaque_token_of_the_wrong_shape() {
    let world = World::start().await;
    let token = world.session().session_token;
    for value in [
        "A".repeat(4096),
        token[..43].to_owned(),
        format!("{token}A"),
        token.replace(|letter: char| letter.is_ascii_digit(), "!"),
        "=".repeat(44),
        format!("={}", &token[..43]),
        "/".repeat(44),
        "a".repeat(43) + "+",
        String::new(),
        "0".to_owned(),
    ] {
        world.get("/x").cookie("stytch_session", &value).refused(401, "invalid_credential").await;
        world.get("/x").bearer(&value).refused(401, "invalid_credential").await;
    }
    assert_eq!(world.stytch_calls(), 0);
}

/// An expired JWT may fall back to the token beside it; a forged one may not.
#[tokio::test]
async fn j20_a_fallback_to_the_token_beside() {
    let world = World::start().await;
    let session = world.session();
    let token = &session.session_token;
    let with = |jwt: &str| format!("stytch_session={token}; stytch_session_jwt={jwt}");
    let forged = format!("{}AA", world.aged(&session, 3600));
    for jwt in [forged.as_str(), "a.b.c", "junk"] {
        cookies(&world, "/x", &with(jwt)).refused(401, "invalid_credential").await;
    }
    assert_eq!(world.stytch_calls(), 0);
    cookies(&world, "/x", &with(&world.aged(&session, 3600))).expect(200).await;
}

#[tokio::test]
async fn j21_two_forms_for_two_members() {
    let world = World::start().await;
    let (one, other) = (world.session(), world.session_of("ana@acme.example", "acme"));
    let (jwt, token) = (&one.session_jwt, &other.session_token);
    let both = format!("stytch_session_jwt={jwt}; stytch_session={token}");
    cookies(&world, "/x", &both).refused(401, "ambiguous_credential").await;
    world.get("/x").bearer(jwt).opaque(&other).refused(401, "ambiguous_credential").await;
    world.get("/x").bearer(token).jwt(&one).refused(401, "ambiguous_credential").await;
    let elsewhere = world.session_of("ana@acme.example", "globex");
    world.get("/x").jwt(&other).opaque(&elsewhere).refused(401, "ambiguous_credential").await;
}

/// A header of the operator's choosing is held to the same.
#[tokio::test]
async fn j22_a_header_as_the_source() {
    let world = World::with("[session]\nheader = \"X-Session\"\nbearer = false").await;
    let (one, other) = (world.session(), world.session_of("gil@globex.example", "globex"));
    let jwt = &one.session_jwt;
    world.get("/x").header("X-Session", jwt).expect(200).await;
    assert_eq!(world.upstream.last().all("x-session"), [""; 0]);
    world.get("/x").header("X-Session", jwt).jwt(&other).refused(401, "ambiguous_credential").await;
    let two = world.get("/x").header("X-Session", jwt).header("X-Session", &other.session_jwt);
    two.refused(401, "ambiguous_credential").await;
    world.get("/x").header("X-Session", "junk").jwt(&one).refused(401, "invalid_credential").await;
    world.get("/x").header("X_Session", jwt).refused(401, "unauthenticated").await;
    world.get("/x").bearer(jwt).refused(401, "unauthenticated").await;
}
