//! Identity as a signed token (DESIGN.md section 5, `identity.assertion`), as an upstream verifies it:
//! with nothing but the published keys.

use std::path::PathBuf;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use stytch_emulator::Session;

use crate::echo::Answer;
use crate::world::{Builder, World, until};

const HEADER: &str = "x-stytch-assertion";

/// The routes of every world, so that `app.test` and `other.test` have upstreams of their own.
const ROUTES: &str = r#"
[[routes]]
host = "app.test"
path = "/*"
upstream = "app"

[[routes]]
host = "app.test"
path = "/public/*"
upstream = "app"
auth = "none"

[[routes]]
host = "app.test"
path = "/optional/*"
upstream = "app"
auth = "optional"

[[routes]]
host = "other.test"
path = "/*"
upstream = "other"
"#;

/// A new private key, as a PEM section.
fn key() -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = BASE64_STANDARD.encode(pair.to_pkcs8v1().unwrap());
    format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
}

/// A file of keys, and where it is; gone when the test is.
pub(crate) struct KeyFile(tempfile::TempDir);

impl KeyFile {
    pub(crate) fn new() -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        file.hold(&[&key()]);
        file
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("keys.pem")
    }

    fn hold(&self, keys: &[&str]) {
        std::fs::write(self.path(), keys.concat()).unwrap();
    }

    /// Settings that sign with it.
    fn settings(&self, more: &str) -> String {
        format!("[identity.assertion]\nkey_file = {:?}\n{more}\n{ROUTES}", self.path())
    }

    pub(crate) fn world(&self, more: &str) -> Builder {
        World::builder().with(&self.settings(more))
    }
}

pub(crate) async fn published(world: &World) -> JwkSet {
    let keys = world.get("/_stytch/keys").expect(200).await;
    assert_eq!(keys.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(keys.header("cache-control"), Some("public, max-age=300"));
    serde_json::from_slice(&keys.body).unwrap()
}

/// What an upstream that expects `audience` makes of a token.
pub(crate) fn verified(
    keys: &JwkSet,
    token: &str,
    audience: &str,
) -> Result<Value, jsonwebtoken::errors::Error> {
    let id = jsonwebtoken::decode_header(token)?.kid.unwrap_or_default();
    let Some(jwk) = keys.find(&id) else { return Err(jsonwebtoken::errors::ErrorKind::InvalidToken.into()) };
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&["stytch-gateway"]);
    validation.set_required_spec_claims(&["exp", "iat", "iss", "aud", "sub"]);
    validation.leeway = 0;
    jsonwebtoken::decode(token, &DecodingKey::from_jwk(jwk)?, &validation).map(|token| token.claims)
}

async fn given(world: &World, session: &Session) -> String {
    world.get("/x").jwt(session).expect(200).await;
    world.upstream.last().header(HEADER).unwrap()
}

#[tokio::test]
async fn an_upstream_can_verify_who_is_calling() {
    let file = KeyFile::new();
    let world = file.world("").start().await;
    let session = world.session_of("ana@acme.example", "acme");
    let token = given(&world, &session).await;
    let claims = verified(&published(&world).await, &token, "app").unwrap();
    let of_jwt = world.claims(&session);
    assert_eq!(claims["sub"], of_jwt["sub"]);
    assert_eq!(claims["session_id"], session.session_id.as_str());
    let organization = &of_jwt["https://stytch.com/organization"];
    assert_eq!(claims["organization_id"], organization["organization_id"]);
    assert_eq!((&claims["organization_slug"], &claims["kind"]), (&json!("acme"), &json!("session")));
    assert_eq!(claims["roles"], json!(["stytch_member", "admin"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert!(claims.get("email").is_none());
}

#[tokio::test]
async fn whatever_the_credential_the_same_is_signed() {
    let file = KeyFile::new();
    let settings = "[identity.headers]\nX-Mail = \"{member.email_address}\"";
    let world = file.world("").with(settings).start().await;
    let session = world.session_of("ana@acme.example", "acme");
    let mut told = Vec::new();
    for request in [
        world.get("/").jwt(&session),
        world.get("/").opaque(&session),
        world.get("/").bearer(&session.session_jwt),
        world.get("/").token(&world.aged(&session, 400)),
    ] {
        request.expect(200).await;
        let token = world.upstream.last().header(HEADER).unwrap();
        let mut claims = verified(&published(&world).await, &token, "app").unwrap();
        claims["iat"].take();
        claims["exp"].take();
        told.push(claims);
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
    assert_eq!((&told[0]["email"], &told[0]["email_verified"]), (&json!("ana@acme.example"), &json!(true)));
}

#[tokio::test]
async fn it_is_worth_nothing_at_another_upstream() {
    let file = KeyFile::new();
    let world = file.world("").start().await;
    let session = world.session();
    let keys = published(&world).await;
    let token = given(&world, &session).await;
    assert!(verified(&keys, &token, "app").is_ok());
    assert!(verified(&keys, &token, "other").is_err());
    world.get("/x").host("other.test").jwt(&session).expect(200).await;
    let token = world.other.last().header(HEADER).unwrap();
    assert!(verified(&keys, &token, "other").is_ok());
    assert!(verified(&keys, &token, "app").is_err());
}

#[tokio::test]
async fn audiences_are_as_configured() {
    let file = KeyFile::new();
    let world = file.world("audience = \"https://example.com\"").start().await;
    let token = given(&world, &world.session()).await;
    assert!(verified(&published(&world).await, &token, "https://example.com").is_ok());

    let by_route = "audience = { \"app.test /optional/*\" = \"maybe\" }";
    let world = file.world(by_route).start().await;
    let keys = published(&world).await;
    let session = world.session();
    assert!(verified(&keys, &given(&world, &session).await, "app").is_ok());
    world.get("/optional/x").jwt(&session).expect(200).await;
    let token = world.upstream.last().header(HEADER).unwrap();
    assert!(verified(&keys, &token, "maybe").is_ok());
}

/// Nothing a client writes is signed but who it proved to be.
#[tokio::test]
async fn the_issuer_is_the_settings_alone() {
    let file = KeyFile::new();
    let routes = "[[routes]]\npath = \"/*\"\nupstream = \"app\"";
    let settings = format!("[server]\npublic_url = \"https://sso.example.com\"\n{routes}");
    let world = file.world("").with(&settings).start().await;
    world.get("/x").host("evil.test").jwt(&world.session()).expect(200).await;
    let token = world.upstream.last().header(HEADER).unwrap();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("https://sso.example.com"), &json!("app")));
    assert!(!claims.to_string().contains("evil"));
}

#[tokio::test]
async fn nobody_gets_none() {
    let file = KeyFile::new();
    let world = file.world("").start().await;
    let session = world.session();
    for path in ["/public/x", "/optional/x"] {
        world.get(path).header(HEADER, "forged").expect(200).await;
        assert_eq!(world.upstream.last().all(HEADER), [""; 0], "{path}");
    }
    world.get("/public/x").jwt(&session).expect(200).await;
    assert_eq!(world.upstream.last().all(HEADER), [""; 0]);
    world.get("/optional/x").jwt(&session).expect(200).await;
    assert!(world.upstream.last().header(HEADER).is_some());
}

#[tokio::test]
async fn it_outlives_neither_session_nor_token() {
    let file = KeyFile::new();
    let world = file.world("ttl = \"10m\"").start().await;
    let keys = published(&world).await;
    let session = world.session();
    // A JWT with two minutes left, and of a session that has one.
    let token = world.aged(&session, 180);
    world.get("/x").token(&token).expect(200).await;
    let claims = verified(&keys, &world.upstream.last().header(HEADER).unwrap(), "app").unwrap();
    let ends = world.claims(&session)["exp"].as_i64().unwrap() - 180 + 5;
    assert_eq!(claims["exp"].as_i64(), Some(ends), "the token's end, and the leeway it is given");

    let mut ending = world.claims(&session);
    let in_a_minute = ending["iat"].as_i64().unwrap() + 60;
    let at = jiff::Timestamp::from_second(in_a_minute).unwrap();
    ending["https://stytch.com/session"]["expires_at"] = json!(at.to_string());
    world.get("/x").token(&world.emulator.token(ending).sign()).expect(200).await;
    let claims = verified(&keys, &world.upstream.last().header(HEADER).unwrap(), "app").unwrap();
    assert_eq!(claims["exp"].as_i64(), Some(in_a_minute));
}

#[tokio::test]
async fn it_is_signed_anew_before_it_is_old() {
    let file = KeyFile::new();
    let world = file.world("ttl = \"4s\"").start().await;
    let session = world.session();
    let keys = published(&world).await;
    let first = given(&world, &session).await;
    until("another to be signed", async || {
        let token = given(&world, &session).await;
        assert!(verified(&keys, &token, "app").is_ok(), "never one that has expired");
        token != first
    })
    .await;
    assert_eq!(world.stytch_calls(), 0);
}

/// The first key signs, all are published; a file that cannot be used changes nothing.
#[tokio::test]
async fn keys_are_rolled_by_the_file_alone() {
    let file = KeyFile::new();
    let (old, new) = (key(), key());
    file.hold(&[&old]);
    let world = file.world("").start().await;
    let session = world.session();
    let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let first = given(&world, &session).await;
    assert_eq!(published(&world).await.keys.len(), 1);

    file.hold(&[&old, &new]);
    world.reload(&file.settings("")).await.unwrap();
    let both = published(&world).await;
    assert_eq!((both.keys.len(), kid(&given(&world, &session).await)), (2, kid(&first)));

    file.hold(&[&new, &old]);
    world.reload(&file.settings("")).await.unwrap();
    let swapped = given(&world, &session).await;
    assert_ne!(kid(&swapped), kid(&first));
    assert!(verified(&both, &swapped, "app").is_ok(), "by whoever read the keys before the swap");
    assert!(verified(&published(&world).await, &first, "app").is_ok(), "what was signed before still is");

    file.hold(&[&new]);
    world.reload(&file.settings("")).await.unwrap();
    assert!(verified(&published(&world).await, &first, "app").is_err());

    file.hold(&["-----BEGIN PRIVATE KEY-----\nhalf a key\n"]);
    let error = world.reload(&file.settings("")).await.unwrap_err().to_string();
    assert!(error.contains("identity.assertion.key_file"), "{error}");
    assert_eq!(kid(&given(&world, &session).await), kid(&swapped));
}

#[tokio::test]
async fn keys_are_read_by_anyone_and_only_read() {
    let file = KeyFile::new();
    let world = file.world("").start().await;
    let head = world.request("HEAD", "/_stytch/keys").expect(200).await;
    assert!(head.body.is_empty() && head.header("content-length") != Some("0"));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let refused = world.request(method, "/_stytch/keys").refused(405, "method_not_allowed").await;
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
    world.get("/_stytch/keys").host("anything.test").expect(200).await;
    for path in ["/_stytch/keys/", "/_stytch/keys;x", "/_stytch/keys/x", "/_stytch/Keys"] {
        world.get(path).refused(404, "no_route").await;
    }
    let counted = "stytch_gateway_requests_total{route=\"_keys\",decision=\"public\",code=\"ok\"}";
    until("both to be counted", async || world.metric(counted).await == 2.0).await;
    let off = World::start().await;
    off.get("/_stytch/keys").refused(404, "no_route").await;
}

/// The answer's way back: no spelling a client would take for it, under the configured name too.
#[tokio::test]
async fn the_configured_header_is_the_gateways_both_ways() {
    let file = KeyFile::new();
    let world = file.world("header = \"X-Identity-Token\"").start().await;
    world.upstream.on("/x", |_| {
        Answer::bytes(
            "HTTP/1.1 200 OK\r\nx-identity-token: signed\r\nX-Stytch-Assertion: signed\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Identity-Token: signed\r\n\r\n",
        )
    });
    let session = world.session();
    let request = world.get("/x").jwt(&session).header("X_Identity_Token", "forged");
    let response = request.header("X-Identity-Token", "forged").header("TE", "trailers").expect(200).await;
    let back = format!("{:?} {:?}", response.headers, response.trailers).to_ascii_lowercase();
    assert!(!back.contains("signed"), "{back}");
    let received = world.upstream.last();
    assert_eq!(received.all(HEADER), [""; 0]);
    let [token] = &received.all("x-identity-token")[..] else { panic!("{:?}", received.headers()) };
    assert!(verified(&published(&world).await, token, "app").is_ok());
    assert_eq!(received.all("x_identity_token"), [""; 0]);
}

/// What the gateway signs for others opens nothing at the gateway itself.
#[tokio::test]
async fn an_assertion_is_no_credential() {
    let file = KeyFile::new();
    let world = file.world("").start().await;
    let token = given(&world, &world.session()).await;
    world.get("/x").bearer(&token).refused(401, "invalid_credential").await;
    world.get("/x").token(&token).refused(401, "invalid_credential").await;
}
