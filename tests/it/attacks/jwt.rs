//! Class I: tokens that are not what they say.
//!
//! Each is turned down here, without a call to Stytch, and with the same answer: which check
//! failed is for the log.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use stytch_emulator::{Emulator, Fault, Key};

use crate::client::Connection;
use crate::echo::Answer;
use crate::world::World;

const SESSION: &str = "https://stytch.com/session";
const ORGANIZATION: &str = "https://stytch.com/organization";
const KEYS: &str = "/v1/b2b/sessions/jwks";

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}

fn encode(part: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part)
}

/// The claims of an honest session, changed.
fn changed(world: &World, change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = world.claims(&world.session());
    change(&mut claims);
    claims
}

/// An honest token with this in its header.
fn with_header(world: &World, header: Value) -> String {
    world.emulator.token(world.claims(&world.session())).header(object(header)).sign()
}

/// Refused alike: no call, and nothing in the answer that differs from token to token.
async fn refused(world: &World, tokens: impl IntoIterator<Item = (String, String)>) {
    let calls = world.stytch_calls();
    let mut first: Option<Value> = None;
    for (what, token) in tokens {
        let response = world.get("/api/x").token(&token).refused(401, "invalid_credential").await;
        let mut answer = response.json();
        answer["request_id"].take();
        assert_eq!(*first.get_or_insert(answer.clone()), answer, "{what}");
        assert_eq!(world.stytch_calls(), calls, "Stytch was asked: {what}");
    }
    assert!(first.is_some(), "something was tried");
}

/// The keys as anyone can get them.
async fn jwks(world: &World) -> Value {
    let mut connection = Connection::to(world.emulator.address()).await;
    let path = format!("{KEYS}/{}", world.emulator.project_id());
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: stytch\r\n\r\n")).await;
    connection.response().await.expect("the emulator answers").json()
}

#[tokio::test]
async fn i01_no_algorithm() {
    let world = World::start().await;
    let claims = encode(world.claims(&world.session()).to_string());
    let signed = world.session().session_jwt;
    let signature = signed.rsplit('.').next().unwrap_or_default();
    let mut tokens = Vec::new();
    for name in ["none", "None", "NONE", "nOnE", " none", "none ", "", "null"] {
        let header = encode(json!({ "alg": name, "typ": "JWT" }).to_string());
        tokens.push((name.to_owned(), format!("{header}.{claims}.")));
        tokens.push((name.to_owned(), format!("{header}.{claims}.{signature}")));
        tokens.push((name.to_owned(), with_header(&world, json!({ "alg": name }))));
    }
    refused(&world, tokens).await;
}

/// The public key taken for a shared secret, in whichever form a verifier might hold it.
#[tokio::test]
async fn i02_the_public_key_as_a_secret() {
    the_public_key_as_a_secret("").await;
}

#[tokio::test]
async fn i03_the_same_behind_white_space() {
    the_public_key_as_a_secret("\n").await;
}

async fn the_public_key_as_a_secret(prefix: &str) {
    let world = World::start().await;
    let keys = jwks(&world).await;
    let key = &keys["keys"][0];
    let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
    let certificate = key["x5c"][0].as_str().unwrap_or_default();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n");
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(text("n")).unwrap_or_default();
    let mut tokens = Vec::new();
    for secret in [
        text("n").into_bytes(),
        modulus,
        pem.into_bytes(),
        certificate.into(),
        key.to_string().into(),
        vec![],
    ] {
        for (name, digest) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            let header = json!({ "alg": name, "kid": text("kid"), "typ": "JWT" });
            let claims = world.claims(&world.session());
            let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
            let secret = [prefix.as_bytes(), &secret].concat();
            let tag = hmac::sign(&hmac::Key::new(digest, &secret), message.as_bytes());
            tokens.push((name.to_owned(), format!("{message}.{}", encode(tag))));
        }
    }
    refused(&world, tokens).await;
}

/// The algorithm in spellings and types that are not exactly RS256.
#[tokio::test]
async fn i04_the_algorithm_in_another_form() {
    let world = World::start().await;
    let forms =
        [json!("rs256"), json!("RS256 "), json!(["RS256"]), json!({ "RS256": 1 }), json!(256), json!(null)];
    let mut tokens: Vec<_> = forms
        .into_iter()
        .map(|form| (form.to_string(), with_header(&world, json!({ "alg": form }))))
        .collect();
    let kid = jwks(&world).await["keys"][0]["kid"].as_str().unwrap_or_default().to_owned();
    let claims = encode(world.claims(&world.session()).to_string());
    let twice = encode(format!(r#"{{"alg":"RS256","alg":"none","kid":"{kid}"}}"#));
    tokens.push(("twice".to_owned(), format!("{twice}.{claims}.")));
    refused(&world, tokens).await;
}

/// A key set that says nothing of algorithms does not leave it to the token.
#[tokio::test]
async fn i05_the_key_says_no_algorithm() {
    let world = World::start().await;
    let mut keys = jwks(&world).await;
    for key in keys["keys"].as_array_mut().into_iter().flatten() {
        key.as_object_mut().map(|key| key.remove("alg"));
    }
    world.emulator.fault(Fault { body: Some(keys), ..Fault::on(KEYS) });
    world.reload("[stytch]\ntimeout = \"2s\"").await.unwrap();
    world.get("/api/x").jwt(&world.session()).expect(200).await;
    let others = ["PS256", "RS384", "RS512", "ES256", "HS256"];
    let tokens: Vec<_> = others
        .map(|name| (name.to_owned(), with_header(&world, json!({ "alg": name }))))
        .into_iter()
        .collect();
    refused(&world, tokens).await;
}

/// Keys for other purposes, or of other kinds, verify nothing, though they bear the right id.
#[tokio::test]
async fn i06_keys_for_something_else() {
    let world = World::start().await;
    let honest = jwks(&world).await;
    let mut keys = honest.clone();
    let kid = honest["keys"][0]["kid"].clone();
    let mut encryption = honest["keys"][0].clone();
    encryption["use"] = json!("enc");
    keys["keys"] = json!([
        { "kty": "oct", "kid": kid, "k": "c2VjcmV0", "alg": "HS256" },
        encryption,
        honest["keys"][1],
    ]);
    world.emulator.fault(Fault { body: Some(keys), ..Fault::on(KEYS) });
    let mut claims = world.claims(&world.session());
    claims["sub"] = json!("member-test-evil");
    let secret = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    let header = json!({ "alg": "HS256", "kid": kid, "typ": "JWT" });
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let forged = format!("{message}.{}", encode(hmac::sign(&secret, message.as_bytes())));
    let unlisted = world.session().session_jwt;
    world.reload("[stytch]\ntimeout = \"2s\"\njwks_refresh = \"1s\"").await.unwrap();
    world
        .get("/api/x")
        .token(
            &world.emulator.token(claims).key(Key::Current).header(object(json!({ "kid": "fresh" }))).sign(),
        )
        .refused(401, "invalid_credential")
        .await;
    refused(&world, [("oct".to_owned(), forged), ("enc".to_owned(), unlisted)]).await;
}

/// Where a token says its key is, nobody looks.
#[tokio::test]
async fn i07_a_key_of_its_own() {
    let world = World::start().await;
    let kid = jwks(&world).await["keys"][0]["kid"].clone();
    let evil = format!("{}/jwks", world.other.url());
    let mut tokens = Vec::new();
    for own in [
        json!({ "jku": evil }),
        json!({ "x5u": evil }),
        json!({ "jku": "http://169.254.169.254/" }),
        json!({ "jwk": { "kty": "RSA", "n": "AQAB", "e": "AQAB" } }),
        json!({ "x5c": ["AAAA"] }),
        json!({ "kid": evil }),
    ] {
        let mut header = object(own.clone());
        header.entry("kid").or_insert_with(|| kid.clone());
        let claims = world.claims(&world.session());
        tokens.push((own.to_string(), world.emulator.token(claims).key(Key::Foreign).header(header).sign()));
    }
    refused(&world, tokens).await;
    assert_eq!(world.other.traffic(), (0, 0));
}

/// Ids of keys are the caller's to choose, so they buy one fetch and no more.
#[tokio::test]
async fn i08_many_key_ids() {
    let world = World::start().await;
    let before = world.emulator.requests(KEYS).len();
    let tokens = (0..30).map(|number| {
        let token = world.emulator.token(world.claims(&world.session())).key(Key::Foreign);
        (number.to_string(), token.header(object(json!({ "kid": format!("jwk-test-{number}") }))).sign())
    });
    refused(&world, tokens.collect::<Vec<_>>()).await;
    assert!(world.emulator.requests(KEYS).len() <= before + 1);
    world.get("/api/x").jwt(&world.session()).expect(200).await;
}

#[tokio::test]
async fn i09_a_key_id_that_is_something_else() {
    let world = World::start().await;
    let ids = [
        json!("../../etc/passwd"),
        json!("' OR 1=1--"),
        json!("k".repeat(4000)),
        json!("\0"),
        json!(["a"]),
        json!(7),
        json!({ "a": 1 }),
        json!(""),
        json!(null),
        json!(true),
        json!("\u{202e}"),
    ];
    let before = world.emulator.requests(KEYS).len();
    let tokens: Vec<_> =
        ids.into_iter().map(|id| (id.to_string(), with_header(&world, json!({ "kid": id })))).collect();
    refused(&world, tokens).await;
    assert!(world.emulator.requests(KEYS).len() <= before + 1);
}

/// Times that are no times, or lie in the future.
#[tokio::test]
async fn i10_odd_times() {
    let world = World::start().await;
    let now = world.claims(&world.session())["iat"].as_i64().unwrap_or_default();
    let mut tokens = Vec::new();
    for (name, values) in [
        (
            "exp",
            vec![
                json!("9999999999"),
                json!(9_999_999_999.5),
                json!(null),
                json!([now]),
                json!(-1),
                json!(1e300),
            ],
        ),
        ("iat", vec![json!(now + 3600), json!("1"), json!(null), json!(now + 1000)]),
        ("nbf", vec![json!(now + 3600), json!("1"), json!(null), json!(1.5)]),
    ] {
        for value in values {
            let claims = changed(&world, |claims| claims[name] = value.clone());
            tokens.push((format!("{name} {value}"), world.emulator.token(claims).sign()));
        }
    }
    refused(&world, tokens).await;
}

#[tokio::test]
async fn i11_a_signature_of_zeros() {
    let world = World::start().await;
    let honest = world.session().session_jwt;
    let mut parts = honest.split('.');
    let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut tokens = Vec::new();
    for length in [0, 1, 64, 255, 256, 257] {
        tokens.push((format!("{length}"), format!("{header}.{claims}.{}", encode(vec![0; length]))));
        let elliptic = encode(json!({ "alg": "ES256", "kid": "a" }).to_string());
        tokens.push((format!("ES256 {length}"), format!("{elliptic}.{claims}.{}", encode(vec![0; length]))));
    }
    refused(&world, tokens).await;
}

/// Signatures that are nearly the right one, and parts of two tokens put together.
#[tokio::test]
async fn i12_a_signature_of_something_else() {
    let world = World::start().await;
    let (one, other) = (world.session(), world.session_of("ana@acme.example", "acme"));
    let parts = |jwt: &str| jwt.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (parts(&one.session_jwt), parts(&other.session_jwt));
    let mut flipped = BASE64_URL_SAFE_NO_PAD.decode(&a[2]).unwrap();
    flipped[255] ^= 1;
    let short = encode(&flipped[..255]);
    let mut tokens = vec![
        format!("{}.{}.{}", a[0], a[1], b[2]),
        format!("{}.{}.{}", a[0], b[1], a[2]),
        format!("{}.{}.{}", a[0], a[1], encode(&flipped)),
        format!("{}.{}.{short}", a[0], a[1]),
        format!("{}.{}.{}=", a[0], a[1], a[2]),
        format!("{}.{}.{}AA", a[0], a[1], a[2]),
        format!("{}.{}.", a[0], a[1]),
        format!("{}.{}", a[0], a[1]),
        format!("{}..{}", a[0], a[2]),
        format!("{}.{}.{}.", a[0], a[1], a[2]),
        format!("{}.{}.{}.{}", a[0], a[1], a[2], a[2]),
        format!("{} .{}.{}", a[0], a[1], a[2]),
        format!("{}=.{}.{}", a[0], a[1], a[2]),
        "..".to_owned(),
        ".".to_owned(),
    ];
    tokens.push(one.session_jwt.replace('.', "%2e") + ".");
    refused(&world, tokens.into_iter().map(|token| (token.clone(), token))).await;
}

#[tokio::test]
async fn i13_encrypted_and_compressed() {
    let world = World::start().await;
    let header = encode(json!({ "alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF", "kid": "a" }).to_string());
    let part = encode(vec![b'x'; 1000]);
    let mut tokens = vec![("JWE".to_owned(), format!("{header}.{part}.{part}.{part}.{part}"))];
    for extra in [json!({ "zip": "DEF" }), json!({ "enc": "A256GCM" }), json!({ "cty": "JWT", "zip": "DEF" })]
    {
        tokens.push((extra.to_string(), with_header(&world, extra)));
    }
    refused(&world, tokens).await;
}

#[tokio::test]
async fn i15_a_critical_extension() {
    let world = World::start().await;
    let headers = [
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "crit": ["x"] }),
        json!({ "crit": [] }),
        json!({ "crit": null, "b64": true }),
        json!({ "b64": false }),
    ];
    let tokens: Vec<_> =
        headers.into_iter().map(|header| (header.to_string(), with_header(&world, header))).collect();
    refused(&world, tokens).await;
}

/// Tokens of other protocols say in `typ` what they are.
#[tokio::test]
async fn i16_another_type() {
    let world = World::start().await;
    let types = ["at+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", "JOSE", ""];
    let tokens = types.map(|typ| (typ.to_owned(), with_header(&world, json!({ "typ": typ }))));
    refused(&world, tokens).await;
}

#[tokio::test]
async fn i17_a_claim_is_missing() {
    let world = World::start().await;
    let mut tokens = Vec::new();
    for name in ["exp", "iat", "sub", "aud", "iss", SESSION, ORGANIZATION] {
        let claims = changed(&world, |claims| {
            claims.as_object_mut().map(|claims| claims.remove(name));
        });
        tokens.push((name.to_owned(), world.emulator.token(claims).sign()));
    }
    for name in ["kid", "alg"] {
        tokens.push((name.to_owned(), with_header(&world, json!({ name: null }))));
    }
    for claims in [json!({}), json!([]), json!("claims"), json!(null)] {
        tokens.push((claims.to_string(), world.emulator.token(claims).sign()));
    }
    refused(&world, tokens).await;
}

/// Claims of the right name and the wrong kind.
#[tokio::test]
async fn i18_claims_of_another_type() {
    let world = World::start().await;
    let mut tokens = Vec::new();
    for (name, values) in [
        (
            "sub",
            vec![json!(["member-test-1"]), json!(1), json!(""), json!("user-test-1"), json!("m2m-client-1")],
        ),
        ("aud", vec![json!([]), json!({}), json!(""), json!([["project"]]), json!("project-test-other")]),
        ("iss", vec![json!([]), json!(""), json!("https://stytch.com"), json!("stytch.com/")]),
        (SESSION, vec![json!([]), json!("session"), json!({}), json!({ "id": 1 }), json!({ "id": "" })]),
        (ORGANIZATION, vec![json!([]), json!("organization"), json!({}), json!({ "organization_id": 1 })]),
    ] {
        for value in values {
            let claims = changed(&world, |claims| claims[name] = value.clone());
            tokens.push((format!("{name} {value}"), world.emulator.token(claims).sign()));
        }
    }
    refused(&world, tokens).await;
}

#[tokio::test]
async fn i19_another_project() {
    let world = World::start().await;
    let own = world.emulator.project_id().to_owned();
    let mut tokens = Vec::new();
    for other in
        ["project-test-other", &own.replace("test", "live"), &own.to_uppercase(), &format!("{own}x"), ""]
    {
        let both = changed(&world, |claims| {
            claims["aud"] = json!([other]);
            claims["iss"] = json!(format!("stytch.com/{other}"));
        });
        tokens.push((format!("both {other}"), world.emulator.token(both).sign()));
        let audience = changed(&world, |claims| claims["aud"] = json!([other]));
        tokens.push((format!("aud {other}"), world.emulator.token(audience).sign()));
        let issuer = changed(&world, |claims| claims["iss"] = json!(format!("stytch.com/{other}")));
        tokens.push((format!("iss {other}"), world.emulator.token(issuer).sign()));
    }
    refused(&world, tokens).await;
}

/// A token of another kind is not a session, whatever else it says.
#[tokio::test]
async fn i21_another_kind_of_token() {
    let world = World::start().await;
    let base = world.claims(&world.session());
    let with = |change: Value, without: &[&str]| {
        let mut claims = object(base.clone());
        for name in without {
            claims.remove(*name);
        }
        claims.extend(object(change));
        world.emulator.token(Value::Object(claims)).sign()
    };
    let m2m =
        with(json!({ "sub": "m2m-client-test-reports", "scope": "read:reports" }), &[SESSION, ORGANIZATION]);
    world.get("/api/x").bearer(&m2m).refused(403, "kind_not_allowed").await;
    world.get("/optional/x").bearer(&m2m).refused(403, "kind_not_allowed").await;
    let app = json!({ "client_id": "connected-app-test-1", "scope": "openid" });
    world.get("/api/x").bearer(&with(app, &[SESSION])).refused(403, "kind_not_allowed").await;
    let tokens = [
        ("ID token", with(json!({ "nonce": "n" }), &[SESSION, ORGANIZATION])),
        ("user of the other vertical", with(json!({ "sub": "user-test-1" }), &[ORGANIZATION])),
        ("user with an organization", with(json!({ "sub": "user-test-1" }), &[])),
        (
            "client with a session",
            with(json!({ "sub": "m2m-client-test-reports", "scope": "a" }), &[ORGANIZATION]),
        ),
        ("scopes of nobody", with(json!({ "scope": "read:reports" }), &[SESSION])),
        ("app without scopes", with(json!({ "client_id": "connected-app-test-1" }), &[SESSION])),
        ("unknown client", with(json!({ "client_id": "other-1", "scope": "a" }), &[SESSION])),
    ];
    refused(&world, tokens.map(|(what, token)| (what.to_owned(), token))).await;
}

#[tokio::test]
async fn i23_no_organization() {
    let world = World::start().await;
    let mut tokens = Vec::new();
    for organization in [json!(null), json!({ "slug": "acme" }), json!({ "organization_id": "" })] {
        let claims = changed(&world, |claims| claims[ORGANIZATION] = organization.clone());
        tokens.push((organization.to_string(), world.emulator.token(claims).sign()));
    }
    refused(&world, tokens).await;
}

#[tokio::test]
async fn i25_deep_json() {
    let world = World::start().await;
    let kid = jwks(&world).await["keys"][0]["kid"].as_str().unwrap_or_default().to_owned();
    let header = encode(json!({ "alg": "RS256", "kid": kid }).to_string());
    let mut tokens = Vec::new();
    for opening in ["[", "{\"a\":", "[{\"a\":"] {
        let deep = opening.repeat(5000 / opening.len());
        tokens.push((opening.to_owned(), format!("{header}.{}.AAAA", encode(&deep))));
        tokens.push((opening.to_owned(), format!("{}.e30.AAAA", encode(&deep[..300]))));
    }
    refused(&world, tokens).await;
}

#[tokio::test]
async fn i27_algorithms_we_do_not_know() {
    let world = World::start().await;
    let names =
        ["EdDSA", "RS1", "ES256K", "PS256", "RS384", "RS512", "HS256", "Ed25519", "ML-DSA-44", "RS256\0"];
    let tokens = names.map(|name| (name.to_owned(), with_header(&world, json!({ "alg": name }))));
    refused(&world, tokens).await;
}

/// A key that was retired verifies nothing any more, not even what was verified with it before.
#[tokio::test]
async fn i28_a_retired_key() {
    let world = World::start().await;
    let old = world.session();
    world.get("/api/x").jwt(&old).expect(200).await;
    world.emulator.rotate_keys(true);
    world.get("/api/x").jwt(&world.session()).expect(200).await;
    let retired = world.emulator.token(world.claims(&world.session())).key(Key::Retired).sign();
    refused(&world, [("before".to_owned(), old.session_jwt), ("retired".to_owned(), retired)]).await;
}

#[tokio::test]
async fn i29_a_good_signature_and_nothing_else() {
    let world = World::start().await;
    let claims = changed(&world, |claims| claims["aud"] = json!(["project-test-other"]));
    refused(&world, [("aud".to_owned(), world.emulator.token(claims).sign())]).await;
}

#[tokio::test]
async fn i31_expired_but_alive() {
    let world = World::start().await;
    let session = world.session();
    let expired = world.aged(&session, 3600);
    world.emulator.fault(Fault {
        latency_ms: 150,
        times: Some(1),
        ..Fault::on("/v1/b2b/sessions/authenticate")
    });
    let copies = join_all((0..100).map(|_| world.get("/api/x").token(&expired).send())).await;
    assert!(copies.iter().all(|response| response.status == 200));
    assert_eq!(world.stytch_calls(), 1);
    let renewed: Vec<_> = copies.iter().flat_map(|response| response.all("set-cookie")).collect();
    assert!(renewed.iter().any(|cookie| cookie.starts_with("stytch_session_jwt=")), "{renewed:?}");
    world.revoke(&session).await;
    let older = world.aged(&session, 7200);
    let refused = world.get("/api/x").token(&older).refused(401, "invalid_credential").await;
    assert!(refused.all("set-cookie").iter().all(|cookie| cookie.contains("Max-Age=0")));
}

/// An expired token with a bad signature is asked about as little as any other.
#[tokio::test]
async fn i32_expired_and_forged() {
    let world = World::start().await;
    let mut claims = world.claims(&world.session());
    for name in ["iat", "nbf", "exp"] {
        claims[name] = json!(claims[name].as_i64().unwrap_or_default() - 3600);
    }
    let kid = jwks(&world).await["keys"][0]["kid"].clone();
    let forged = world.emulator.token(claims).key(Key::Foreign).header(object(json!({ "kid": kid }))).sign();
    refused(&world, [("forged".to_owned(), forged)]).await;
}

#[tokio::test]
async fn i33_the_key_set_is_elsewhere() {
    let emulator = Emulator::start(stytch_emulator::World::built_in()).await.unwrap();
    let builder = World::builder().with("[stytch]\napi_url = \"$OTHER\"\n").without_waiting();
    let world = builder.start_with(emulator).await;
    let elsewhere = world.upstream.url();
    world.other.on("/v1", move |_| {
        Answer::bytes(format!(
            "HTTP/1.1 302 Found\r\nLocation: {elsewhere}/keys\r\nContent-Length: 0\r\n\r\n"
        ))
    });
    world.other.wait_for(2).await;
    world.admin("/readyz").await.expect(503);
    let response = world.get("/api/x").jwt(&world.session()).expect(503).await;
    assert_eq!(response.code().as_deref(), Some("keys_unavailable"));
    assert_eq!(world.upstream.traffic(), (0, 0));
}

#[tokio::test]
async fn i35_size() {
    let world = World::start().await;
    let long = |length: usize| changed(&world, |claims| claims["claim"] = json!("x".repeat(length)));
    world.get("/api/x").token(&world.emulator.token(long(4000)).sign()).expect(200).await;
    refused(&world, [("12 KiB".to_owned(), world.emulator.token(long(12_000)).sign())]).await;
    for length in [24_000, 30_000, 64_000] {
        let token = world.emulator.token(long(length)).sign();
        world.get("/api/x").token(&token).refused(431, "header_too_large").await;
    }
}
