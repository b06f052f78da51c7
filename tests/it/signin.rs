//! People sign in: every flow through the whole gateway, as a browser without scripts goes through
//! it, with the codes that the emulator has sent.

use serde_json::{Value, json};

use self::browser::Browser;
use crate::world::World;

pub(crate) mod browser;
mod create;
mod device;
mod doors;
mod enrolment;
mod guards;
mod lasting;
mod links;
mod logo;
mod member;
mod oauth;
mod sso;
mod step_up;
mod user;

/// Sign-in for members, with the rate limit out of the way.
pub(crate) const MEMBERS: &str = r#"
[signin]
enabled = true
brand.name = "Example"
[rate_limit]
sign_in = "off"
"#;

/// The same for users.
pub(crate) const USERS: &str = r#"
[stytch]
vertical = "consumer"
[signin]
enabled = true
methods = ["email_otp", "sms_otp"]
[rate_limit]
sign_in = "off"
"#;

/// Members who may leave and come back, in every way there is.
pub(crate) const MEMBERS_AWAY: &str = r#"
[stytch]
public_token = "$PUBLIC_TOKEN"
[server]
public_url = "https://app.test"
[signin]
enabled = true
methods = ["email_otp", "magic_link", "oauth", "sso"]
oauth_providers = ["google", "github"]
brand.name = "Example"
[rate_limit]
sign_in = "off"
"#;

/// The same for users.
pub(crate) const USERS_AWAY: &str = r#"
[stytch]
vertical = "consumer"
public_token = "$PUBLIC_TOKEN"
[server]
public_url = "https://app.test"
[signin]
enabled = true
methods = ["email_otp", "magic_link", "oauth"]
oauth_providers = ["google", "tiktok"]
[rate_limit]
sign_in = "off"
"#;

/// The bodies Stytch was sent cannot be seen, but what came of them can: who the upstream was told
/// is there.
fn told(world: &World, header: &str) -> Option<String> {
    world.upstream.last().header(header)
}

/// `/session`, as a script asks for it.
async fn session(world: &World, browser: &Browser<'_>) -> Value {
    let (jwt, token) = (&browser.jar["stytch_session_jwt"].0, &browser.jar["stytch_session"].0);
    let cookies = format!("stytch_session_jwt={jwt}; stytch_session={token}");
    let answer = world.get("/_stytch/session").header("Cookie", cookies).expect(200).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!answer.text().contains(jwt.as_str()) && !answer.text().contains(token.as_str()));
    answer.json()
}

/// An authenticator app for a member, in use: its secret and its recovery codes.
async fn with_app(world: &World, email: &str) -> (String, Vec<String>) {
    let session = world.session_of(email, "acme");
    let claims = world.claims(&session);
    let organization = world.emulator.organization_id("acme").unwrap();
    let mut body = json!({ "organization_id": organization, "member_id": claims["sub"] });
    let made = world.ask_stytch("/v1/b2b/totp", &body).await.json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    let codes = made["recovery_codes"].as_array().unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    body["code"] = json!(world.emulator.totp_code(&secret));
    body["session_token"] = json!(session.session_token);
    body["set_mfa_enrollment"] = json!("enroll");
    world.ask_stytch("/v1/b2b/totp/authenticate", &body).await.expect(200);
    // The next code is another one.
    world.emulator.advance_clock(std::time::Duration::from_secs(30));
    (secret, codes)
}
