//! The project as an authorization server: what an MCP client does, from finding it to losing its
//! token.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::schema::{check, check_access_token, decoded};
use crate::support::{CHALLENGE, Scene, VERIFIER, text};

const CALLBACK: &str = "http://127.0.0.1:8123/callback";

const SCOPED: &str = r#"
    [[organizations]]
    organization_slug = "acme"
    [[members]]
    organization_id = "acme"
    email_address = "ana@acme.example"
    roles = ["writer"]
    name = "Ana"
    [[members]]
    organization_id = "acme"
    email_address = "ben@acme.example"
    [[users]]
    emails = [{ email = "uma@example.com" }]
    [[roles]]
    role_id = "writer"
    permissions = [{ resource_id = "documents", actions = ["*"] }]
    [[scopes]]
    scope = "write:documents"
    permissions = [{ resource_id = "documents", actions = ["read", "write"] }]
    [[connected_apps]]
    client_id = "connected-app-test-confidential"
    client_name = "Assistant <1>"
    client_type = "first_party"
    client_secret = "s3cret"
    redirect_urls = ["https://assistant.example/callback?at=1"]
    access_token_expiry_minutes = 30
    access_token_custom_audience = "https://api.example"
"#;

async fn registered(scene: &Scene) -> String {
    let body = json!({ "client_name": "Inspector", "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"] });
    let answer = scene.send(scene.bare_request("POST", "/v1/oauth2/register").json(&body)).await;
    assert_eq!(answer.status, 201);
    let body = answer.good();
    assert_eq!(body["redirect_uris"], json!([CALLBACK]));
    assert!(body.get("client_secret").is_none(), "a public client has no secret: {body}");
    text(&body, "client_id")
}

fn asking<'a>(client_id: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", CALLBACK),
        ("scope", scope),
        ("state", "st&te"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("resource", "https://mcp.example/"),
        ("nonce", "n-1"),
    ]
}

/// A code for somebody's consent.
async fn code(scene: &Scene, client_id: &str, scope: &str, who: &str) -> String {
    let query = [asking(client_id, scope), vec![("as", who)]].concat();
    let (to, told) = scene.visit("/v1/oauth2/authorize", &query).await.redirected();
    assert_eq!(to, CALLBACK);
    assert_eq!((told["state"].as_str(), &told["iss"]), ("st&te", &scene.emulator.url()));
    told["code"].clone()
}

fn exchange<'a>(client_id: &'a str, code: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ]
}

async fn tokens(scene: &Scene, client_id: &str, scope: &str, who: &str) -> Value {
    let code = code(scene, client_id, scope, who).await;
    scene.form("/v1/oauth2/token", &exchange(client_id, &code)).await.good()
}

async fn is_active(scene: &Scene, client_id: &str, token: &str) -> bool {
    let answer = scene.form("/v1/oauth2/introspect", &[("client_id", client_id), ("token", token)]).await;
    answer.good()["active"] == true
}

#[tokio::test]
async fn an_mcp_client_finds_registers_and_gets_a_token() {
    let scene = Scene::seeded(SCOPED).await;
    let metadata =
        scene.send(scene.bare_request("GET", "/.well-known/oauth-authorization-server")).await.good();
    let url = scene.emulator.url();
    assert_eq!(metadata["issuer"], url);
    assert_eq!(metadata["registration_endpoint"], format!("{url}/v1/oauth2/register"));
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    assert!(metadata["scopes_supported"].as_array().unwrap().contains(&json!("write:documents")));
    scene.send(scene.bare_request("GET", "/.well-known/jwks.json")).await.good();

    let client_id = registered(&scene).await;
    let body = tokens(&scene, &client_id, "openid email write:documents", "ana@acme.example").await;
    assert_eq!((&body["expires_in"], &body["scope"]), (&json!(3600), &json!("openid email write:documents")));
    assert!(body.get("refresh_token").is_none());
    let token = text(&body, "access_token");
    let (_, claims) = decoded(&token);
    assert_eq!((&claims["iss"], &claims["client_id"]), (&json!(url), &json!(client_id)));
    assert_eq!(claims["aud"], json!([scene.emulator.project_id()]));
    assert_eq!(claims["sub"], scene.member_id("ana@acme.example"));
    assert_eq!(claims["https://stytch.com/organization"]["slug"], "acme");
    let (_, id) = decoded(&text(&body, "id_token"));
    assert_eq!((&id["aud"], &id["nonce"]), (&json!([client_id]), &json!("n-1")));
    assert_eq!((&id["email"], id.get("name")), (&json!("ana@acme.example"), None));

    let info = scene.send(scene.bare_request("GET", "/v1/oauth2/userinfo").bearer_auth(&token)).await.good();
    assert_eq!((&info["sub"], &info["email_verified"]), (&claims["sub"], &json!(true)));
    let seen =
        scene.form("/v1/oauth2/introspect", &[("client_id", &client_id), ("token", &token)]).await.good();
    assert_eq!(
        (&seen["active"], &seen["sub"], &seen["token_type"]),
        (&json!(true), &claims["sub"], &json!("access_token"))
    );
    scene.form("/v1/oauth2/revoke", &[("client_id", &client_id), ("token", &token)]).await.good();
    assert!(!is_active(&scene, &client_id, &token).await);
    let refused = scene.send(scene.bare_request("GET", "/v1/oauth2/userinfo").bearer_auth(&token)).await;
    assert_eq!(refused.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
    refused.oauth_refused(401, "invalid_token");
}

#[tokio::test]
async fn under_the_projects_path_the_issuer_is_stytchs() {
    let scene = Scene::seeded(SCOPED).await;
    let at = format!("/v1/public/{}", scene.emulator.project_id());
    let path = format!("{at}/.well-known/openid-configuration");
    let metadata = scene.send(scene.bare_request("GET", &path)).await.good();
    assert_eq!(metadata["issuer"], format!("stytch.com/{}", scene.emulator.project_id()));
    assert_eq!(metadata["token_endpoint"], format!("{}{at}/oauth2/token", scene.emulator.url()));
    assert_eq!(metadata["jwks_uri"], format!("{}{at}/.well-known/jwks.json", scene.emulator.url()));
    let client_id = registered(&scene).await;
    let code = code(&scene, &client_id, "openid", "uma@example.com").await;
    let body = scene.form(&format!("{at}/oauth2/token"), &exchange(&client_id, &code)).await.good();
    let (_, claims) = decoded(&text(&body, "access_token"));
    assert_eq!(claims["iss"], metadata["issuer"]);
    assert_eq!(claims["sub"], scene.emulator.user_id("uma@example.com").unwrap());
    assert!(claims.get("https://stytch.com/organization").is_none());
}

#[tokio::test]
async fn a_person_chooses_who_to_be() {
    let scene = Scene::start().await;
    let client_id = registered(&scene).await;
    let page = scene.visit("/v1/oauth2/authorize", &asking(&client_id, "openid")).await;
    assert_eq!(page.status, 200);
    let html = page.body.as_str().unwrap();
    let links: Vec<String> = html
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&"))
        .collect();
    assert_eq!(links.len(), 7, "five members and two users: {html}");
    let globex = links.iter().find(|link| link.contains("ana%40acme.example&organization=globex")).unwrap();
    let (_, told) = scene.visit(&format!("/v1/oauth2/authorize{globex}"), &[]).await.redirected();
    let body = scene.form("/v1/oauth2/token", &exchange(&client_id, &told["code"])).await.good();
    let (_, claims) = decoded(&text(&body, "access_token"));
    assert_eq!(claims["https://stytch.com/organization"]["slug"], "globex");
    let stranger = [asking(&client_id, "openid"), vec![("as", "who@acme.example")]].concat();
    let (_, told) = scene.visit("/v1/oauth2/authorize", &stranger).await.redirected();
    assert_eq!(told["error"], "access_denied");
}

#[tokio::test]
async fn only_scopes_that_exist_and_that_the_person_has_are_granted() {
    let scene = Scene::seeded(SCOPED).await;
    let client_id = registered(&scene).await;
    let body = tokens(&scene, &client_id, "email write:documents", "ben@acme.example").await;
    assert_eq!(body["scope"], "email", "ben may not write documents");
    assert!(body.get("id_token").is_none());
    let unknown = asking(&client_id, "openid read:minds");
    let (_, told) = scene.visit("/v1/oauth2/authorize", &unknown).await.redirected();
    assert_eq!((told["error"].as_str(), told["state"].as_str()), ("invalid_scope", "st&te"));
}

#[tokio::test]
async fn requests_that_cannot_be_trusted_are_not_redirected() {
    let scene = Scene::start().await;
    let client_id = registered(&scene).await;
    let with = |name: &'static str, value: &'static str| {
        let mut query: HashMap<&str, &str> = asking(&client_id, "openid").into_iter().collect();
        query.insert(name, value);
        query.into_iter().collect::<Vec<_>>()
    };
    for (name, value) in [("client_id", "x"), ("client_id", ""), ("redirect_uri", "https://evil.example/")] {
        let answer = scene.visit("/v1/oauth2/authorize", &with(name, value)).await;
        check("OAuth2Error", &answer.body);
        assert_eq!(answer.status, 400);
    }
    let port = with("redirect_uri", "http://127.0.0.1:9999/callback");
    assert_eq!(scene.visit("/v1/oauth2/authorize", &port).await.status, 200, "any loopback port will do");
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
    ] {
        let (_, told) = scene.visit("/v1/oauth2/authorize", &with(name, value)).await.redirected();
        assert_eq!(told["error"], error, "{name}={value}");
    }
}

#[tokio::test]
async fn a_code_is_good_once_for_its_app_its_verifier_and_ten_minutes() {
    let scene = Scene::start().await;
    let client_id = registered(&scene).await;
    let other = registered(&scene).await;
    let code = code(&scene, &client_id, "openid offline_access", "ana@acme.example").await;
    let changed = |name: &str, value: &'static str| {
        let fields = exchange(&client_id, &code).into_iter();
        fields.map(|(field, old)| (field, if field == name { value } else { old })).collect::<Vec<_>>()
    };
    for wrong in [
        exchange(&other, &code),
        changed("code", "x"),
        changed("code_verifier", "x"),
        changed("code_verifier", ""),
        changed("redirect_uri", "http://127.0.0.1:9999/callback"),
    ] {
        scene.form("/v1/oauth2/token", &wrong).await.oauth_refused(400, "invalid_grant");
    }
    let body = scene.form("/v1/oauth2/token", &exchange(&client_id, &code)).await.good();
    let token = text(&body, "access_token");
    assert!(is_active(&scene, &client_id, &token).await);
    assert!(!is_active(&scene, &other, &token).await, "a token is no other app's business");
    scene.form("/v1/oauth2/token", &exchange(&client_id, &code)).await.oauth_refused(400, "invalid_grant");
    assert!(!is_active(&scene, &client_id, &token).await, "a code used twice ends what it gave");
    let refresh = text(&body, "refresh_token");
    let again = [("grant_type", "refresh_token"), ("client_id", &client_id), ("refresh_token", &refresh)];
    scene.form("/v1/oauth2/token", &again).await.oauth_refused(400, "invalid_grant");

    let query = [asking(&client_id, "openid"), vec![("as", "ana@acme.example")]].concat();
    let (_, told) = scene.visit("/v1/oauth2/authorize", &query).await.redirected();
    scene.emulator.advance_clock(std::time::Duration::from_secs(600));
    let late = scene.form("/v1/oauth2/token", &exchange(&client_id, &told["code"])).await;
    late.oauth_refused(400, "invalid_grant");
}

#[tokio::test]
async fn refresh_tokens_are_good_once_and_may_ask_for_less() {
    let scene = Scene::start().await;
    let client_id = registered(&scene).await;
    let first = tokens(&scene, &client_id, "openid email offline_access", "uma@example.com").await;
    let refresh = text(&first, "refresh_token");
    let asked = |token: &str, scope: &str| {
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            of("grant_type", "refresh_token"),
            of("client_id", &client_id),
            of("refresh_token", token),
            of("scope", scope),
        ]
    };
    let send = async |fields: Vec<(String, String)>| {
        scene.send(scene.bare_request("POST", "/v1/oauth2/token").form(&fields)).await
    };
    let second = send(asked(&refresh, "email")).await.good();
    assert_eq!(decoded(&text(&second, "access_token")).1["scope"], "email");
    send(asked(&refresh, "")).await.oauth_refused(400, "invalid_grant");
    let refresh = text(&second, "refresh_token");
    scene.form("/v1/oauth2/revoke", &[("client_id", &client_id), ("token", &refresh)]).await.good();
    send(asked(&refresh, "")).await.oauth_refused(400, "invalid_grant");
    assert!(!is_active(&scene, &client_id, &text(&first, "access_token")).await, "the consent is gone");
}

#[tokio::test]
async fn a_confidential_app_proves_itself_and_has_its_own_settings() {
    let scene = Scene::seeded(SCOPED).await;
    let client_id = "connected-app-test-confidential";
    let page =
        scene.visit("/v1/oauth2/authorize", &[("client_id", client_id), ("response_type", "code")]).await;
    assert!(page.body.as_str().unwrap().contains("Assistant &lt;1&gt;"), "names are text");
    let query = [("client_id", client_id), ("response_type", "code"), ("as", "ana@acme.example")];
    let answer = scene.visit("/v1/oauth2/authorize", &query).await;
    let (to, told) = answer.redirected();
    assert_eq!((to.as_str(), told["at"].as_str()), ("https://assistant.example/callback", "1"));
    let fields = [("grant_type", "authorization_code"), ("code", &told["code"])];
    let request = || scene.bare_request("POST", "/v1/oauth2/token").form(&fields);
    scene.send(request().basic_auth(client_id, Some("wrong"))).await.oauth_refused(400, "invalid_client");
    let body = scene.send(request().basic_auth(client_id, Some("s3cret"))).await.good();
    assert_eq!((&body["expires_in"], &body["scope"]), (&json!(1800), &json!("openid profile email")));
    let (_, claims) = decoded(&text(&body, "access_token"));
    assert_eq!(claims["aud"], json!([scene.emulator.project_id(), "https://api.example"]));
    let world = scene.emulator.world();
    check("api_connectedapps_v1_ConnectedApp", &world["connected_apps"][0]);
    assert_eq!(world["connected_apps"][0]["client_secret"], "s3cret");
}

#[tokio::test]
async fn registrations_that_make_no_sense_are_refused() {
    let scene = Scene::start().await;
    for (body, error) in [
        (json!({}), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["nowhere"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["http://example.com/"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["https://example.com/#x"] }), "invalid_redirect_uri"),
        (
            json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "x" }),
            "invalid_client_metadata",
        ),
    ] {
        let answer = scene.send(scene.bare_request("POST", "/v1/oauth2/register").json(&body)).await;
        answer.oauth_refused(400, error);
    }
    let body = json!({ "redirect_uris": [CALLBACK] });
    let body = scene.send(scene.bare_request("POST", "/v1/oauth2/register").json(&body)).await.good();
    let (id, secret) = (text(&body, "client_id"), text(&body, "client_secret"));
    let fields = [("client_id", id.as_str()), ("client_secret", &secret), ("token", "x")];
    assert_eq!(scene.form("/v1/oauth2/introspect", &fields).await.good()["active"], false);
}

#[tokio::test]
async fn tests_mint_their_own() {
    let scene = Scene::start().await;
    let token = scene.emulator.connected_app_token("ana@acme.example").organization("globex").mint();
    check_access_token(&token);
    let (_, claims) = decoded(&token);
    assert_eq!(claims["https://stytch.com/organization"]["slug"], "globex");
    let client_id = text(&claims, "client_id");
    assert!(is_active(&scene, &client_id, &token).await);
    let token = scene
        .emulator
        .connected_app_token("uma@example.com")
        .client(&client_id)
        .scopes(["read:reports"])
        .issuer(scene.emulator.url())
        .custom_claims(json!({ "plan": "pro" }))
        .mint();
    let (_, claims) = decoded(&token);
    assert_eq!((&claims["scope"], &claims["plan"]), (&json!("read:reports"), &json!("pro")));
    assert_eq!(
        (&claims["iss"], claims["client_id"].as_str()),
        (&json!(scene.emulator.url()), Some(&*client_id))
    );
    scene.emulator.advance_clock(std::time::Duration::from_secs(3600));
    assert!(!is_active(&scene, &client_id, &token).await, "expired");
}
