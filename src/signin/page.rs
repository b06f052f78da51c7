//! The pages, as HTML that needs no script, and runs none but what the settings name.
//!
//! What holds: whatever is shown was escaped on the way (`maud` does it); a page asks nothing of
//! anywhere but the gateway, cannot be framed, and carries its one style sheet, which its policy
//! names by digest; every field has a label, and what went wrong is announced.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::look::Look;
use super::state::random;
use super::texts::{Key, Spoken};
use super::trip::{Offers, Sso};
use crate::config::DeviceScript;

mod create;
mod scripts;
mod second;
mod trips;

pub(super) use create::Creation;

/// What is told of one field, and which.
const ABOUT_FIELDS: [(Key, &str); 10] = [
    (Key::InvalidEmail, "email"),
    (Key::InvalidPhone, "phone"),
    (Key::InvalidCode, "code"),
    (Key::WrongCode, "code"),
    (Key::UsedCode, "code"),
    (Key::NoSso, "organization"),
    (Key::InvalidLink, "link"),
    (Key::InvalidName, "name"),
    (Key::InvalidSlug, "slug"),
    (Key::SlugTaken, "slug"),
];

/// In whose name and language pages speak.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) look: &'a Look,
    pub(super) spoken: Spoken<'a>,
    /// See [`crate::config::Signin::base_path`].
    pub(super) base: &'a str,
    pub(super) product: &'a str,
    /// What was typed before and is to be put right.
    pub(super) typed: &'a str,
    /// What tells devices apart, where it runs.
    pub(super) script: Option<&'a DeviceScript>,
}

/// What belongs to one page.
pub(super) struct Page {
    pub(super) title: String,
    pub(super) body: Markup,
}

/// What a form says of the step it takes.
#[derive(Clone, Copy)]
pub(super) struct Ticket<'a> {
    pub(super) flow: &'a str,
    pub(super) token: &'a str,
    pub(super) return_to: &'a str,
}

impl Ticket<'_> {
    pub(super) fn fields(self) -> Markup {
        html! {
            input type="hidden" name="flow" value=(self.flow);
            input type="hidden" name="token" value=(self.token);
            input type="hidden" name="return_to" value=(self.return_to);
        }
    }
}

impl<'a> View<'a> {
    pub(super) fn text(&self, key: Key) -> &'a str {
        self.spoken.get(key)
    }

    /// A whole answer. Browsers hold the policy's `form-action` against the redirects that follow
    /// a form too, also those of the application that it leads to; so it allows https, and with
    /// `may_lead_to` one more origin.
    pub(super) fn answer(
        &self,
        status: StatusCode,
        page: &Page,
        may_lead_to: Option<&str>,
    ) -> Response<Bytes> {
        let nonce = self.script.map(|_| random::<16>());
        let text = html! {
            (DOCTYPE)
            html lang=(self.spoken.language) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    title { (page.title) " · " (self.product) }
                    style { (PreEscaped(&self.look.style)) }
                    (self.scripts(nonce.as_deref()))
                }
                body {
                    main {
                        p.product {
                            @if let Some(version) = &self.look.logo {
                                img.logo src={ (self.base) "/logo?v=" (version) } alt=(self.product);
                            } @else {
                                span.mark aria-hidden="true" { (initial(self.product)) }
                                span { (self.product) }
                            }
                        }
                        h1 { (page.title) }
                        (page.body)
                    }
                }
            }
        };
        let mut response = Response::new(Bytes::from(text.into_string()));
        *response.status_mut() = status;
        let elsewhere = may_lead_to.map(|origin| format!(" {origin}")).unwrap_or_default();
        let images = if self.look.logo.is_some() { "img-src 'self'; " } else { "" };
        let scripts = self.script_policy(nonce.as_deref());
        let policy = format!(
            "default-src 'none'; {scripts}{images}style-src 'sha256-{}'; form-action 'self' https:{elsewhere}; frame-ancestors 'none'; \
             base-uri 'none'",
            self.look.digest
        );
        let headers = response.headers_mut();
        let fixed: [(HeaderName, &'static str); 7] = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            // With "no-referrer" browsers would send `Origin: null` with our own forms.
            (header::REFERRER_POLICY, "same-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (header::VARY, "Accept-Language, Cookie"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    /// What is to be told of the step as a whole; what is wrong with a field stands beside that.
    fn notice(&self, notice: Option<Key>) -> Markup {
        html! {
            @match notice.filter(|_| field_of(notice).is_none()) {
                Some(key @ (Key::Resent | Key::ResentLink)) => {
                    p.good #notice role="status" { (self.text(key)) }
                }
                Some(key @ (Key::Wait | Key::WaitLink | Key::MoreNeeded)) => {
                    p.note #notice role="status" { (self.text(key)) }
                }
                Some(key) => p.bad #notice role="alert" { (self.text(key)) },
                None => {}
            }
        }
    }

    /// What is wrong with a field.
    fn wrong(&self, field: &str, notice: Option<Key>) -> Markup {
        html! {
            @if let Some(key) = notice.filter(|_| field_of(notice) == Some(field)) {
                p.bad #{ (field) "-error" } role="alert" { (self.text(key)) }
            }
        }
    }

    fn typed_into(&self, field: &str, notice: Option<Key>) -> Option<&str> {
        (field_of(notice) == Some(field)).then_some(self.typed)
    }

    /// Asks how to sign in: by an address, to which something is sent, or elsewhere.
    pub(super) fn start(&self, ticket: Ticket<'_>, offers: &Offers, notice: Option<Key>) -> Page {
        let email = offers.email || offers.link;
        let phone = offers.phone.sms || offers.phone.whatsapp;
        let elsewhere = !offers.providers.is_empty() || offers.sso != Sso::Off;
        let body = html! {
            (self.notice(notice))
            @if email {
                form method="post" action={ (self.base) "/login" } {
                    (ticket.fields())
                    label for="email" { (self.text(Key::Email)) }
                    (self.wrong("email", notice))
                    input #email name="email" type="text" inputmode="email" autocomplete="email"
                        autocapitalize="none" spellcheck="false" required
                        autofocus[matches!(field_of(notice), None | Some("email"))]
                        value=[self.typed_into("email", notice)] aria-invalid=[invalid("email", notice)]
                        aria-describedby=[described("email", None, notice)];
                    @if offers.email {
                        button name="action" value="email" { (self.text(Key::SendByEmail)) }
                    }
                    @if offers.link {
                        button.second[offers.email] name="action" value="link" { (self.text(Key::SendLink)) }
                    }
                }
            }
            @if email && phone { p.or { (self.text(Key::Or)) } }
            @if phone { (self.phone_form(ticket, offers.phone, email, notice)) }
            @if (email || phone) && elsewhere { p.or { (self.text(Key::Or)) } }
            (self.providers(ticket, offers))
            (self.single_sign_on(ticket, offers, notice))
        };
        Page { title: self.spoken.filled(Key::SignInTo, &[("product", self.product)]), body }
    }

    /// One field, whichever way the code is to come.
    fn phone_form(&self, ticket: Ticket<'_>, ways: Ways, is_second: bool, notice: Option<Key>) -> Markup {
        html! {
            form method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                label for="phone" { (self.text(Key::Phone)) }
                p.hint #phone-hint { (self.text(Key::PhoneHint)) }
                (self.wrong("phone", notice))
                input #phone name="phone" type="tel" autocomplete="tel" required
                    autofocus[!is_second || field_of(notice) == Some("phone")]
                    value=[self.typed_into("phone", notice)] aria-invalid=[invalid("phone", notice)]
                    aria-describedby=[described("phone", Some("phone-hint"), notice)];
                @if ways.sms {
                    button.second[is_second] name="action" value="phone" { (self.text(Key::SendByPhone)) }
                }
                @if ways.whatsapp {
                    button.second[is_second || ways.sms] name="action" value="whatsapp" {
                        (self.text(Key::SendByWhatsapp))
                    }
                }
            }
        }
    }

    /// Asks for the code that was sent to an address.
    pub(super) fn code(&self, ticket: Ticket<'_>, to: &str, notice: Option<Key>) -> Page {
        let body = html! {
            p #sent { (self.spoken.filled(Key::CodeSent, &[("address", to)])) }
            (self.notice(notice))
            (self.code_form(ticket, Key::Code, false, notice))
            form.more method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                button name="action" value="resend" { (self.text(Key::Resend)) }
                button name="action" value="restart" { (self.text(Key::OtherAddress)) }
            }
        };
        Page { title: self.text(Key::EnterCode).to_owned(), body }
    }

    /// Codes are digits but for recovery codes. No length is enforced: a code may be pasted with
    /// spaces. What the page says was `sent` describes the field.
    fn code_form(&self, ticket: Ticket<'_>, label: Key, words: bool, notice: Option<Key>) -> Markup {
        self.code_form_with(ticket, label, words, notice, &html! {})
    }

    /// The same with more before its button.
    fn code_form_with(
        &self,
        ticket: Ticket<'_>,
        label: Key,
        words: bool,
        notice: Option<Key>,
        more: &Markup,
    ) -> Markup {
        let (mode, complete) = if words { ("text", "off") } else { ("numeric", "one-time-code") };
        html! {
            form method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                label for="code" { (self.text(label)) }
                (self.wrong("code", notice))
                input.code[!words].words[words] #code name="code" type="text" inputmode=(mode)
                    autocomplete=(complete) autocapitalize="none" spellcheck="false" required autofocus
                    aria-invalid=[invalid("code", notice)]
                    aria-describedby=[described("code", Some("sent"), notice)];
                (more)
                button name="action" value="code" { (self.text(Key::Continue)) }
            }
        }
    }

    /// Says something that is the end of the way, and where one may begin again.
    pub(super) fn end(&self, title: Key, text: &str, way_on: Option<(&str, Key)>) -> Page {
        let body = html! {
            p role="alert" { (text) }
            @if let Some((href, label)) = way_on {
                p { a.button href=(href) { (self.text(label)) } }
            }
        };
        Page { title: self.text(title).to_owned(), body }
    }

    /// Asks whether to sign out.
    pub(super) fn sign_out(&self, return_to: Option<&str>) -> Page {
        let body = html! {
            p { (self.text(Key::SignOutText)) }
            (self.sign_out_form(return_to))
        };
        Page { title: self.text(Key::SignOut).to_owned(), body }
    }

    fn sign_out_form(&self, return_to: Option<&str>) -> Markup {
        html! {
            form method="post" action={ (self.base) "/logout" } {
                @if let Some(return_to) = return_to {
                    input type="hidden" name="return_to" value=(return_to);
                }
                button { (self.text(Key::SignOut)) }
            }
        }
    }

    /// Says who is signed in.
    pub(super) fn session(&self, person: &str, organization: Option<&str>) -> Page {
        let body = html! {
            p { (self.spoken.filled(Key::SignedInAs, &[("person", person)])) }
            @if let Some(organization) = organization {
                p { (self.spoken.filled(Key::OrganizationIs, &[("organization", organization)])) }
            }
            (self.sign_out_form(None))
            @if organization.is_some() {
                p.more { a.button href={ (self.base) "/organizations" } { (self.text(Key::SwitchOrganization)) } }
            }
        };
        Page { title: self.text(Key::SignedIn).to_owned(), body }
    }
}

/// Stands for the product beside its name.
fn initial(product: &str) -> String {
    product.chars().find(|letter| letter.is_alphanumeric()).into_iter().flat_map(char::to_uppercase).collect()
}

/// The field that a notice is about; none for what is about the step as a whole.
fn field_of(notice: Option<Key>) -> Option<&'static str> {
    ABOUT_FIELDS.iter().find(|(key, _)| Some(*key) == notice).map(|(_, field)| *field)
}

/// For `aria-invalid`.
fn invalid(field: &str, notice: Option<Key>) -> Option<&'static str> {
    (field_of(notice) == Some(field)).then_some("true")
}

/// For `aria-describedby`: what is read out with a field. What is announced as a page loads is not
/// heard by everybody, and what belongs to the field with the focus is.
fn described(field: &str, always: Option<&str>, notice: Option<Key>) -> Option<String> {
    let wrong = match (notice, field_of(notice)) {
        (Some(_), None) => Some("notice".to_owned()),
        (_, about) => about.filter(|about| *about == field).map(|about| format!("{about}-error")),
    };
    let ids: Vec<String> = wrong.into_iter().chain(always.map(str::to_owned)).collect();
    (!ids.is_empty()).then(|| ids.join(" "))
}

/// How a code may come to a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ways {
    pub(super) sms: bool,
    pub(super) whatsapp: bool,
}

/// What there is of second factors.
pub(super) struct Second<'a> {
    pub(super) using: Using,
    /// The number, but for its last digits covered.
    pub(super) phone: Option<&'a str>,
    pub(super) app: bool,
    /// Whether another one may be set up in its place.
    pub(super) other: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Using {
    Sms,
    SmsUnsent,
    App,
    RecoveryCode,
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use http::HeaderMap;

    use super::*;
    use crate::config::Brand;
    use crate::signin::choice::{Choice, Standing};
    use crate::signin::state::{Create, Setup};
    use crate::signin::texts::Texts;

    const HOSTILE: &str = "\"><script>alert('x')</script>&";

    fn all() -> Offers {
        let providers = vec![crate::config::OauthProvider::Google];
        Offers {
            email: true,
            link: true,
            phone: Ways { sms: true, whatsapp: true },
            providers,
            sso: Sso::Asks,
        }
    }

    type Made = Box<dyn Fn(&View<'_>) -> Page>;

    fn shown(page: impl Fn(&View<'_>) -> Page) -> (String, HeaderMap) {
        let (texts, look) = (Texts::built_in(), Look::new(&Brand::default()));
        let spoken = texts.spoken(&HeaderMap::new());
        let view =
            View { look: &look, spoken, base: "/_stytch", product: HOSTILE, typed: HOSTILE, script: None };
        let response = view.answer(StatusCode::OK, &page(&view), Some("https://reports.test"));
        let (parts, body) = response.into_parts();
        (String::from_utf8(body.to_vec()).unwrap(), parts.headers)
    }

    #[test]
    fn nothing_that_is_shown_becomes_markup() {
        let ticket = Ticket { flow: HOSTILE, token: HOSTILE, return_to: HOSTILE };
        let second = Second { using: Using::Sms, phone: Some(HOSTILE), app: true, other: true };
        let connection = [(HOSTILE.to_owned(), HOSTILE.to_owned())];
        let (intermediate, name, slug) = (HOSTILE.to_owned(), HOSTILE.to_owned(), HOSTILE.to_owned());
        let asked = Create { intermediate, name, slug, others: true };
        let (secret, account) = (HOSTILE.to_owned(), HOSTILE.to_owned());
        let setup = Setup { secret, account, codes: Vec::new() };
        let pages: [Made; 12] = [
            Box::new(move |view| view.create(ticket, &asked, Some(Key::SlugTaken))),
            Box::new(move |view| view.set_up_app(ticket, &setup, true, Some(Key::WrongCode))),
            Box::new(move |view| view.keep_codes(ticket, &[HOSTILE.to_owned()])),
            Box::new(move |view| view.start(ticket, &all(), Some(Key::InvalidEmail))),
            Box::new(move |view| view.link(ticket, HOSTILE, Some(Key::InvalidLink))),
            Box::new(move |view| view.connections(ticket, &connection, None)),
            Box::new(move |view| view.code(ticket, HOSTILE, Some(Key::WrongCode))),
            Box::new(move |view| {
                let (id, name, standing) = (HOSTILE.to_owned(), HOSTILE.to_owned(), Standing::Invited);
                view.choose(ticket, "/login", &[Choice { id, name, standing }], &Creation::Never, None)
            }),
            Box::new(move |view| view.second(ticket, &second, None)),
            Box::new(|view| view.end(Key::Stale, HOSTILE, Some((HOSTILE, Key::StartAgain)))),
            Box::new(|view| view.sign_out(Some(HOSTILE))),
            Box::new(|view| view.session(HOSTILE, Some(HOSTILE))),
        ];
        for page in pages {
            let (text, _) = shown(page);
            assert!(!text.contains("<script") && !text.contains(HOSTILE), "{text}");
            assert!(text.contains("&lt;script&gt;"));
        }
    }

    #[test]
    fn the_policy_allows_the_style_and_nothing_else() {
        let (text, headers) = shown(|view| view.sign_out(None));
        let style = text.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.contains(&format!("style-src 'sha256-{}'", BASE64_STANDARD.encode(digest))),
            "{policy}"
        );
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(policy.contains("form-action 'self' https: https://reports.test;"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn images_are_the_gateway_s_own_and_only_where_there_is_a_logo() {
        let logo = crate::config::Logo {
            image: Bytes::new(),
            media_type: "image/png",
            version: "0123456789abcdef".to_owned(),
        };
        let (plain, branded) = (Brand::default(), Brand { logo: Some(logo), ..Brand::default() });
        for (brand, has_logo) in [(plain, false), (branded, true)] {
            let (texts, look) = (Texts::built_in(), Look::new(&brand));
            let spoken = texts.spoken(&HeaderMap::new());
            let view = View {
                look: &look,
                spoken,
                base: "/_stytch",
                product: "Ours & \"co\"",
                typed: "",
                script: None,
            };
            let response = view.answer(StatusCode::OK, &view.sign_out(None), None);
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            assert_eq!(policy.contains("img-src"), has_logo, "{policy}");
            assert_eq!(policy.contains("img-src 'self';"), has_logo, "{policy}");
            let text = String::from_utf8(response.into_body().to_vec()).unwrap();
            let image = "<img class=\"logo\" src=\"/_stytch/logo?v=0123456789abcdef\" alt=\"Ours &amp; &quot;co&quot;\">";
            assert_eq!(text.contains(image), has_logo, "{text}");
        }
    }
}
