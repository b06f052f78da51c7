//! Consumer: how a user signs in by a code (REFERENCE.md 7.1).

use http::header;

use super::login::{Next, SignedIn};
use super::{Desk, Trouble, device};
use crate::stytch::types::UserLogin;
use crate::stytch::{Attributes, Credential};

/// How long codes work, in minutes: as long as the step that asks for them.
const EMAIL_MINUTES: u32 = 10;
const SMS_MINUTES: u32 = 5;
/// More of a browser's name says no more.
const MAX_USER_AGENT: usize = 512;

/// Sends a code to an address, and says under which id.
pub(super) async fn send_email(desk: &Desk<'_>, email: &str) -> Result<String, Trouble> {
    let came = Came::by(desk);
    let call =
        desk.common.client.user_email_send(email, came.attributes(), desk.spoken.locale(), EMAIL_MINUTES);
    Ok(desk.common.ask("otps_email_login_or_create", call).await?.method_id)
}

/// Texts a code to a number, and says under which id.
pub(super) async fn send_sms(desk: &Desk<'_>, phone: &str) -> Result<String, Trouble> {
    let came = Came::by(desk);
    let call = desk.common.client.user_sms_send(phone, came.attributes(), desk.spoken.locale(), SMS_MINUTES);
    Ok(desk.common.ask("otps_sms_login_or_create", call).await?.method_id)
}

/// The same by WhatsApp.
pub(super) async fn send_whatsapp(desk: &Desk<'_>, phone: &str) -> Result<String, Trouble> {
    let came = Came::by(desk);
    let locale = desk.spoken.locale();
    let call = desk.common.client.user_whatsapp_send(phone, came.attributes(), locale, SMS_MINUTES);
    Ok(desk.common.ask("otps_whatsapp_login_or_create", call).await?.method_id)
}

/// Tries a code. A session that came along grows by the factor, if it is the same user's.
pub(super) async fn try_code(
    desk: &Desk<'_>,
    method_id: &str,
    code: &str,
    by: &'static str,
) -> Result<Next, Trouble> {
    let came = Came::by(desk);
    let session = own_session(desk).await;
    let minutes = desk.signin.session_minutes;
    let client = device::client(desk);
    let ask = async |session: Option<&_>| {
        let call = client.user_otp_authenticate(method_id, code, came.attributes(), session, minutes);
        desk.common.ask("otps_authenticate", call).await
    };
    let login = match ask(session.as_ref()).await {
        Err(trouble) if session.is_some() && trouble.is_about_session() => ask(None).await?,
        tried => tried?,
    };
    Ok(after(desk, login, by))
}

/// The session that came, if it is one.
pub(super) async fn own_session(desk: &Desk<'_>) -> Option<Credential> {
    desk.who().await.ok()??;
    desk.credential()
}

/// What comes of a user's sign-in.
pub(super) fn after(desk: &Desk<'_>, login: UserLogin, by: &'static str) -> Next {
    if login.reset_sessions {
        desk.forget_sessions_of(&login.user_id);
    }
    device::saw(desk, &login.user_id, login.user_device);
    let tokens = (login.session_token, login.session_jwt);
    let session = login.session.or(login.user_session);
    SignedIn::new(login.user_id, None, tokens, session, by).map_or(Next::Stale, Next::In)
}

/// Where a request came from.
pub(super) struct Came {
    address: String,
    user_agent: Option<String>,
}

impl Came {
    pub(super) fn by(desk: &Desk<'_>) -> Self {
        let agent = desk.parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let user_agent = agent.filter(|agent| !agent.is_empty());
        let user_agent = user_agent.map(|agent| agent.chars().take(MAX_USER_AGENT).collect());
        Self { address: desk.client.address.to_string(), user_agent }
    }

    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes { ip_address: &self.address, user_agent: self.user_agent.as_deref() }
    }
}
