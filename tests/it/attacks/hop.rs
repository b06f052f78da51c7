//! Class B: headers that concern one connection, used to take ours away.

use super::{honest, identity};
use crate::echo::Answer;
use crate::world::World;

#[tokio::test]
async fn b01_the_identity_header_is_nominated() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    world.get("/x").jwt(&session).header("Connection", "close, X-Stytch-Member-Id").expect(200).await;
    assert_eq!(identity(&world.upstream.last()), expected);
}

/// What frames, routes or vouches for a request cannot be nominated away either.
#[tokio::test]
async fn b02_everything_else_of_ours_is_nominated() {
    let world = World::with("[identity.headers]\nREMOTE_USER = \"{member.member_id}\"").await;
    let session = world.session();
    let nominated = "Host, Content-Length, Forwarded, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, \
                     X-Request-Id, traceparent, Via, REMOTE_USER, Remote-User";
    world.post("/x").jwt(&session).header("Connection", nominated).body("body").expect(200).await;
    let received = world.upstream.last();
    for name in
        ["host", "content-length", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
    {
        assert!(received.header(name).is_some(), "{name}");
    }
    for name in ["x-request-id", "traceparent", "via", "remote_user"] {
        assert!(received.header(name).is_some(), "{name}");
    }
    assert_eq!(
        (received.header("host").as_deref(), received.body.as_slice()),
        (Some("app.test"), b"body".as_slice())
    );
}

#[tokio::test]
async fn b03_in_lower_case() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    for connection in
        ["x-stytch-member-id", "X-STYTCH-ROLES", "x_stytch_member_id", "\tx-stytch-member-id ,,", "*"]
    {
        world.get("/x").jwt(&session).header("Connection", connection).expect(200).await;
        assert_eq!(identity(&world.upstream.last()), expected, "{connection}");
    }
}

/// The credential is read before anything is nominated away: the decision cannot be split.
#[tokio::test]
async fn b04_the_credential_is_nominated() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    world.get("/x").jwt(&session).header("Connection", "Cookie").expect(200).await;
    assert_eq!(identity(&world.upstream.last()), expected);
    world.get("/x").bearer(&session.session_jwt).header("Connection", "authorization").expect(200).await;
    assert_eq!(identity(&world.upstream.last()), expected);
    let cross = world.post("/x").jwt(&session).header("Origin", "https://evil.test");
    cross.header("Connection", "Origin, Sec-Fetch-Site").refused(403, "cross_site_request").await;
}

#[tokio::test]
async fn b05_two_connection_headers() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    let request =
        world.get("/x").jwt(&session).header("Connection", "close").header("Connection", "X-Stytch-Roles");
    request.expect(200).await;
    assert_eq!(identity(&world.upstream.last()), expected);
}

/// More names than anyone has a use for.
#[tokio::test]
async fn b06_a_crowd_of_nominations() {
    let world = World::start().await;
    let session = world.session();
    let expected = honest(&world, &session).await;
    let crowd: String = (0..300).map(|number| format!("x-{number}, ")).collect();
    for connection in [format!("{crowd}x-stytch-member-id"), format!("x-stytch-roles, {crowd}")] {
        world.get("/x").jwt(&session).header("Connection", connection).expect(200).await;
        assert_eq!(identity(&world.upstream.last()), expected);
    }
}

#[tokio::test]
async fn b07_a_credential_in_proxy_authorization() {
    let world = World::start().await;
    let session = world.session();
    let credential = format!("Bearer {}", session.session_jwt);
    world.get("/x").header("Proxy-Authorization", &credential).refused(401, "unauthenticated").await;
    world.get("/public/x").header("Proxy-Authorization", &credential).expect(200).await;
    assert_eq!(world.upstream.last().header("proxy-authorization"), None);
}

/// Nothing that was about the client's connection reaches the upstream's.
#[tokio::test]
async fn b08_hop_by_hop_headers_end_here() {
    let world = World::start().await;
    let request = world
        .get("/public/x")
        .header("Connection", "keep-alive, TE, HTTP2-Settings, X-Own")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "gzip, trailers")
        .header("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA")
        .header("X-Own", "1")
        .header("X-Kept", "1");
    request.expect(200).await;
    let received = world.upstream.last();
    for name in ["connection", "keep-alive", "proxy-connection", "te", "http2-settings", "x-own", "upgrade"] {
        assert_eq!(received.all(name), [""; 0], "{name}");
    }
    assert_eq!(received.header("x-kept").as_deref(), Some("1"));
}

/// The other direction: an upstream cannot nominate away what we say about its answer.
#[tokio::test]
async fn b10_the_upstream_nominates() {
    let world = World::start().await;
    world.upstream.on("/x", |_| {
        Answer::bytes(
            "HTTP/1.1 200 OK\r\nConnection: Cache-Control, X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n\
             Content-Length: 2\r\n\r\nok",
        )
    });
    let response = world.get("/x").jwt(&world.session()).expect(200).await;
    assert_eq!(response.all("cache-control"), ["private"]);
    assert_eq!((response.header("x-private"), response.header("keep-alive")), (None, None));
    assert_eq!(response.text(), "ok");
}
