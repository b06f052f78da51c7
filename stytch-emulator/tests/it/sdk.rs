//! Stytch's own Rust SDK, which decodes strictly: closed lists, required fields.

use serde_json::json;
use stytch::client::{Client, Vertical};
use stytch::{b2b, consumer};

use crate::published::{Others, mistakes, request_schema};
use crate::support::{Scene, text};

fn client(scene: &Scene, vertical: Vertical) -> Client {
    let url = scene.emulator.url().parse().unwrap();
    Client::new_with_base_url(scene.emulator.project_id(), scene.emulator.secret(), url, vertical).unwrap()
}

fn b2b_client(scene: &Scene) -> b2b::client::Client {
    let http = client(scene, Vertical::B2B);
    b2b::client::Client::new_with_http_client(http.clone(), http)
}

fn consumer_client(scene: &Scene) -> consumer::client::Client {
    let http = client(scene, Vertical::Consumer);
    consumer::client::Client::new_with_http_client(http.clone(), http)
}

/// What the SDK sent is what Stytch publishes; so what the schemas say of requests is right, too.
fn as_published(scene: &Scene) {
    let bodies = scene.emulator.bodies("/v1/");
    let posted: Vec<_> = bodies.iter().filter(|body| body.method == "POST").collect();
    assert!(posted.len() >= 3, "{}", posted.len());
    for body in posted {
        assert_eq!(body.content_type.as_deref(), Some("application/json"));
        let schema = request_schema(&body.method, &body.path);
        let said = serde_json::from_slice(&body.bytes).unwrap();
        assert_eq!(mistakes(&schema, Others::Wrong, &said), [""; 0], "{}", body.path);
    }
}

#[tokio::test]
async fn a_member_signs_in_authenticates_and_is_revoked() {
    let scene = Scene::start().await;
    let stytch = b2b_client(&scene);
    let sent = stytch
        .otps
        .email
        .login_or_signup(b2b::otp_email::LoginOrSignupRequest {
            organization_id: scene.organization_id("acme"),
            email_address: "ana@acme.example".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    let signed_in = stytch
        .otps
        .email
        .authenticate(b2b::otp_email::AuthenticateRequest {
            organization_id: "acme".into(),
            email_address: "ana@acme.example".into(),
            code: scene.code("ana@acme.example"),
            ..Default::default()
        })
        .await
        .unwrap();
    assert!(signed_in.member_authenticated);
    assert_eq!(signed_in.member_id, sent.member_id);
    let request = b2b::sessions::AuthenticateRequest {
        session_jwt: Some(signed_in.session_jwt),
        session_custom_claims: Some(json!({ "plan": "pro" })),
        ..Default::default()
    };
    let authenticated = stytch.sessions.authenticate(request.clone()).await.unwrap();
    assert_eq!(authenticated.member_session.roles, ["stytch_member", "admin"]);
    let listed = stytch
        .sessions
        .get(b2b::sessions::GetRequest {
            organization_id: authenticated.member_session.organization_id,
            member_id: authenticated.member_session.member_id,
        })
        .await
        .unwrap();
    assert_eq!(listed.member_sessions.len(), 1);
    let revoke = b2b::sessions::RevokeRequest {
        session_token: Some(authenticated.session_token),
        ..Default::default()
    };
    stytch.sessions.revoke(revoke).await.unwrap();
    match stytch.sessions.authenticate(request).await {
        Err(stytch::Error::Response(error)) => assert_eq!(error.error_type, "session_not_found"),
        other => panic!("{other:?}"),
    }
    as_published(&scene);
}

#[tokio::test]
async fn a_second_factor_and_a_discovery_decode() {
    let scene = Scene::start().await;
    let stytch = b2b_client(&scene);
    let email_address = "cho@acme.example".to_owned();
    let send =
        b2b::otp_email_discovery::SendRequest { email_address: email_address.clone(), ..Default::default() };
    stytch.otps.email.discovery.send(send).await.unwrap();
    let proof =
        b2b::otp_email_discovery::AuthenticateRequest { code: scene.code(&email_address), email_address };
    let proved = stytch.otps.email.discovery.authenticate(proof).await.unwrap();
    assert_eq!(proved.discovered_organizations.len(), 1);
    let first = stytch
        .discovery
        .intermediate_sessions
        .exchange(b2b::discovery_intermediate_sessions::ExchangeRequest {
            intermediate_session_token: proved.intermediate_session_token,
            organization_id: "acme".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    let number = first.mfa_required.unwrap().member_options.unwrap().mfa_phone_number;
    let second = stytch
        .otps
        .sms
        .authenticate(b2b::otp_sms::AuthenticateRequest {
            organization_id: "acme".into(),
            member_id: first.member_id,
            code: scene.code(&number),
            intermediate_session_token: Some(first.intermediate_session_token),
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(second.member_session.unwrap().authentication_factors.len(), 2);
}

#[tokio::test]
async fn policies_organizations_and_keys_decode() {
    let scene = Scene::start().await;
    let stytch = b2b_client(&scene);
    let policy = stytch.rbac.policy(b2b::rbac::PolicyRequest {}).await.unwrap().policy.unwrap();
    assert!(policy.roles.iter().any(|role| role.role_id == "editor"));
    let request = b2b::organizations::GetRequest { organization_id: "acme".into() };
    let organization = stytch.organizations.get(request).await.unwrap().organization;
    assert_eq!(organization.organization_slug, "acme");
    let request = b2b::sessions::GetJWKSRequest { project_id: scene.emulator.project_id().into() };
    assert_eq!(stytch.sessions.get_jwks(request).await.unwrap().keys.len(), 2);
}

#[tokio::test]
async fn a_user_signs_in_authenticates_and_is_revoked() {
    let scene = Scene::start().await;
    let stytch = consumer_client(&scene);
    let sent = stytch
        .otps
        .email
        .login_or_create(consumer::otp_email::LoginOrCreateRequest {
            email: "uma@example.com".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    let signed_in = stytch
        .otps
        .authenticate(consumer::otp::AuthenticateRequest {
            method_id: sent.email_id,
            code: scene.code("uma@example.com"),
            session_duration_minutes: Some(30),
            ..Default::default()
        })
        .await
        .unwrap();
    let request = consumer::sessions::AuthenticateRequest {
        session_token: Some(signed_in.session_token.clone()),
        ..Default::default()
    };
    let authenticated = stytch.sessions.authenticate(request).await.unwrap();
    assert_eq!(authenticated.user.user_id, sent.user_id);
    let user = stytch.users.get(consumer::users::GetRequest { user_id: sent.user_id }).await.unwrap();
    assert_eq!(user.emails[0].email, "uma@example.com");
    let revoke = consumer::sessions::RevokeRequest {
        session_token: Some(signed_in.session_token),
        ..Default::default()
    };
    stytch.sessions.revoke(revoke).await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_are_told_as_an_error() {
    let scene = Scene::start().await;
    let url = scene.emulator.url().parse().unwrap();
    let http =
        Client::new_with_base_url(scene.emulator.project_id(), "secret-test-x", url, Vertical::B2B).unwrap();
    let stytch = b2b::client::Client::new_with_http_client(http.clone(), http);
    match stytch.rbac.policy(b2b::rbac::PolicyRequest {}).await {
        Err(stytch::Error::Response(error)) => assert_eq!(error.error_type, "unauthorized_credentials"),
        other => panic!("{:?}", other.is_ok()),
    }
}

#[tokio::test]
async fn machines_get_tokens_that_are_verified_locally() {
    let scene = Scene::start().await;
    let stytch = b2b_client(&scene);
    let client = scene.emulator.world()["m2m_clients"][0].clone();
    let issued = stytch
        .m2m
        .token(consumer::m2m::TokenRequest {
            client_id: text(&client, "client_id"),
            client_secret: text(&client, "client_secret"),
            scopes: Some(vec!["read:reports".into()]),
            grant_type: "client_credentials".into(),
        })
        .await
        .unwrap();
    let seen = stytch
        .m2m
        .authenticate_token(consumer::m2m::AuthenticateTokenRequest {
            access_token: issued.access_token,
            required_scopes: Some(vec!["read:reports".into()]),
            max_token_age_seconds: None,
            scope_authorization_func: None,
        })
        .await
        .unwrap();
    assert_eq!(
        (seen.client_id.as_str(), seen.scopes),
        ("m2m-client-test-reports", vec!["read:reports".into()])
    );
}

#[tokio::test]
async fn links_providers_and_apps_decode() {
    let scene = Scene::start().await;
    let stytch = b2b_client(&scene);
    let token = scene.emulator.public_token();
    let landed = async |path: &str, name: &str, value: &str| {
        let query = [("public_token", token), ("as", "ana@acme.example"), (name, value)];
        scene.visit(path, &query).await.redirected().1["token"].clone()
    };
    let oauth_token = landed("/v1/b2b/public/oauth/google/start", "slug", "acme").await;
    let request = b2b::oauth::AuthenticateRequest { oauth_token, ..Default::default() };
    let by_oauth = stytch.oauth.authenticate(request).await.unwrap();
    assert_eq!(by_oauth.provider_values.unwrap().scopes.len(), 3);
    let sso_token = landed("/v1/public/sso/start", "connection_id", "saml-connection-test-acme").await;
    let request = b2b::sso::AuthenticateRequest { sso_token, ..Default::default() };
    let by_sso = stytch.sso.authenticate(request).await.unwrap();
    assert_eq!(by_sso.member.sso_registrations.len(), 1);
    let request = b2b::sso::GetConnectionsRequest { organization_id: "acme".into() };
    assert_eq!(stytch.sso.get_connections(request).await.unwrap().saml_connections.len(), 1);

    let request = b2b::magic_links_email::LoginOrSignupRequest {
        organization_id: "acme".into(),
        email_address: "ana@acme.example".into(),
        ..Default::default()
    };
    stytch.magic_links.email.login_or_signup(request).await.unwrap();
    let magic_links_token = scene.link("ana@acme.example").1["token"].clone();
    let request = b2b::magic_links::AuthenticateRequest { magic_links_token, ..Default::default() };
    let by_link = stytch.magic_links.authenticate(request).await.unwrap();
    let request = b2b::totps::CreateRequest {
        organization_id: "acme".into(),
        member_id: by_link.member_id.clone(),
        ..Default::default()
    };
    let made = stytch.totps.create(request).await.unwrap();
    let request = b2b::totps::AuthenticateRequest {
        organization_id: "acme".into(),
        member_id: by_link.member_id,
        code: scene.emulator.totp_code(&made.secret),
        session_token: Some(by_link.session_token),
        ..Default::default()
    };
    let by_app = stytch.totps.authenticate(request).await.unwrap();
    assert_eq!(by_app.member_session.unwrap().authentication_factors.len(), 2);
}
