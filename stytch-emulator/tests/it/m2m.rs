//! Machine-to-machine tokens.

use serde_json::{Value, json};

use crate::schema::{check_access_token, decoded};
use crate::support::{Scene, text};

const CLIENT: &str = "m2m-client-test-reports";

/// The token endpoint, and the secret of the built-in client.
fn endpoint_and_secret(scene: &Scene) -> (String, String) {
    let client = scene.emulator.world()["m2m_clients"][0].clone();
    assert_eq!(client["client_id"], CLIENT);
    (format!("/v1/public/{}/oauth2/token", scene.emulator.project_id()), text(&client, "client_secret"))
}

#[tokio::test]
async fn a_client_gets_all_its_scopes_or_those_it_asks_for() {
    let scene = Scene::start().await;
    let (endpoint, secret) = endpoint_and_secret(&scene);
    let who = [("grant_type", "client_credentials"), ("client_id", CLIENT), ("client_secret", &secret)];
    let answer = scene.form(&endpoint, &who).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = answer.good();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(3600)));
    let (_, claims) = decoded(&text(&body, "access_token"));
    let issued = claims["iat"].as_i64().unwrap();
    let expected = json!({
        "sub": CLIENT,
        "iss": format!("stytch.com/{}", scene.emulator.project_id()),
        "aud": [scene.emulator.project_id()],
        "scope": "read:reports write:reports",
        "iat": issued,
        "nbf": issued,
        "exp": issued + 3600,
    });
    assert_eq!(claims, expected);
    let less = [who.as_slice(), &[("scope", "read:reports")]].concat();
    let body = scene.form(&endpoint, &less).await.good();
    assert_eq!(decoded(&text(&body, "access_token")).1["scope"], "read:reports");
    let more = [who.as_slice(), &[("scope", "read:reports read:all")]].concat();
    scene.form(&endpoint, &more).await.oauth_refused(400, "invalid_scope");
}

#[tokio::test]
async fn json_lists_of_scopes_and_credentials_in_the_header_are_understood() {
    let scene = Scene::start().await;
    let (endpoint, secret) = endpoint_and_secret(&scene);
    let body = json!({ "grant_type": "client_credentials", "client_id": CLIENT, "client_secret": secret,
        "scopes": ["write:reports"] });
    // The project's own credentials, which two SDKs send along, are no client's.
    let body = scene.post(&endpoint, body).await.good();
    assert_eq!(decoded(&text(&body, "access_token")).1["scope"], "write:reports");
    let in_header = scene
        .bare_request("POST", &endpoint)
        .basic_auth(CLIENT, Some(&secret))
        .form(&[("grant_type", "client_credentials")]);
    scene.send(in_header).await.good();
}

#[tokio::test]
async fn strangers_and_other_grants_are_refused_in_oauths_words() {
    let scene = Scene::start().await;
    let (endpoint, secret) = endpoint_and_secret(&scene);
    for (fields, name) in [
        (vec![("grant_type", "client_credentials"), ("client_id", CLIENT)], "invalid_client"),
        (
            vec![("grant_type", "client_credentials"), ("client_id", CLIENT), ("client_secret", "x")],
            "invalid_client",
        ),
        (
            vec![("grant_type", "client_credentials"), ("client_id", "x"), ("client_secret", &secret)],
            "invalid_client",
        ),
        (vec![("grant_type", "client_credentials")], "invalid_request"),
        (vec![("grant_type", "password")], "unsupported_grant_type"),
        (vec![], "invalid_request"),
    ] {
        scene.form(&endpoint, &fields).await.oauth_refused(400, name);
    }
    let elsewhere = scene.form("/v1/public/project-test-other/oauth2/token", &[]).await;
    elsewhere.oauth_refused(404, "invalid_request");
}

#[tokio::test]
async fn on_the_projects_domain_the_domain_is_the_issuer() {
    let scene = Scene::start().await;
    let (_, secret) = endpoint_and_secret(&scene);
    let who = [("grant_type", "client_credentials"), ("client_id", CLIENT), ("client_secret", &secret)];
    let body = scene.form("/v1/oauth2/token", &who).await.good();
    assert_eq!(decoded(&text(&body, "access_token")).1["iss"], scene.emulator.url());
}

#[tokio::test]
async fn tests_mint_their_own() {
    let scene = Scene::start().await;
    let token = scene.emulator.m2m_token(CLIENT).mint();
    check_access_token(&token);
    assert_eq!(decoded(&token).1["scope"], "read:reports write:reports");
    let claims: Value = json!({ "plan": "pro", "sub": "someone-else" });
    let token = scene.emulator.m2m_token(CLIENT).scopes(["write:*"]).custom_claims(claims).mint();
    let (_, claims) = decoded(&token);
    assert_eq!((&claims["scope"], &claims["plan"]), (&json!("write:*"), &json!("pro")));
    assert_eq!(claims["sub"], CLIENT, "a token's own claims win");
}
