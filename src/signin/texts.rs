//! Every text of the pages, in each language there is, and which language a browser asks for.
//!
//! What holds: a text is named by a [`Key`], and English has all of them; another language falls
//! back to English for what it lacks. Texts are plain: whoever writes one into a page escapes it.

use std::collections::BTreeMap;

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

/// What is spoken where a browser asks for nothing that is there.
const FALLBACK: &str = "en";
const BUILT_IN: [(&str, &str); 4] = [
    ("de", include_str!("texts/de.toml")),
    (FALLBACK, include_str!("texts/en.toml")),
    ("es", include_str!("texts/es.toml")),
    ("fr", include_str!("texts/fr.toml")),
];
/// Languages of one header that are looked at.
const MAX_ASKED: usize = 16;

/// Names the keys: as they are in files of texts, and in sealed states.
macro_rules! keys {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A text of the pages.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Key { $(#[serde(rename = $name)] $variant),* }

        impl Key {
            /// In the order of their discriminants.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// What files of texts call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

keys! {
    SignIn = "sign_in",
    SignInTo = "sign_in_to",
    Email = "email",
    SendByEmail = "send_by_email",
    Phone = "phone",
    PhoneHint = "phone_hint",
    SendByPhone = "send_by_phone",
    SendByWhatsapp = "send_by_whatsapp",
    Or = "or",
    SendLink = "send_link",
    ContinueWith = "continue_with",
    Sso = "sso",
    SsoOrganization = "sso_organization",
    SsoHint = "sso_hint",
    NoSso = "no_sso",
    ChooseConnection = "choose_connection",
    CheckMail = "check_mail",
    LinkSent = "link_sent",
    LinkAddress = "link_address",
    LinkHint = "link_hint",
    ResendLink = "resend_link",
    ResentLink = "resent_link",
    WaitLink = "wait_link",
    InvalidLink = "invalid_link",
    LinkSpent = "link_spent",
    TokenRefused = "token_refused",
    NotAdmitted = "not_admitted",
    MoreNeeded = "more_needed",
    NotConfirmed = "not_confirmed",
    NotConfirmedText = "not_confirmed_text",
    LinkElsewhere = "link_elsewhere",
    LinkElsewhereText = "link_elsewhere_text",
    OtherLink = "other_link",
    OtherLinkText = "other_link_text",
    EnterCode = "enter_code",
    CodeSent = "code_sent",
    Code = "code",
    Continue = "continue",
    Resend = "resend",
    OtherAddress = "other_address",
    Resent = "resent",
    Wait = "wait",
    InvalidEmail = "invalid_email",
    InvalidPhone = "invalid_phone",
    InvalidCode = "invalid_code",
    WrongCode = "wrong_code",
    TooManyCodes = "too_many_codes",
    Choose = "choose",
    ChooseText = "choose_text",
    ChooseFailed = "choose_failed",
    Join = "join",
    Invited = "invited",
    Pending = "pending",
    OpenToDomain = "open_to_domain",
    OpenToTenant = "open_to_tenant",
    Create = "create",
    CreateFirst = "create_first",
    CreateText = "create_text",
    CreateName = "create_name",
    CreateSlug = "create_slug",
    CreateSlugHint = "create_slug_hint",
    ChooseInstead = "choose_instead",
    InvalidName = "invalid_name",
    InvalidSlug = "invalid_slug",
    SlugTaken = "slug_taken",
    CreateFailed = "create_failed",
    NoOrganization = "no_organization",
    NoOrganizationText = "no_organization_text",
    OtherMethod = "other_method",
    OtherMethodText = "other_method_text",
    SecondFactor = "second_factor",
    SecondSms = "second_sms",
    SecondSmsUnsent = "second_sms_unsent",
    SecondApp = "second_app",
    SecondRecovery = "second_recovery",
    RecoveryCode = "recovery_code",
    UseSms = "use_sms",
    UseApp = "use_app",
    UseRecovery = "use_recovery",
    Prefer = "prefer",
    UsedCode = "used_code",
    EnrolPhone = "enrol_phone",
    EnrolApp = "enrol_app",
    UseNewApp = "use_new_app",
    OtherFactor = "other_factor",
    AppFailed = "app_failed",
    SetUpApp = "set_up_app",
    SetUpText = "set_up_text",
    QrCode = "qr_code",
    SetUpKey = "set_up_key",
    SetUpLink = "set_up_link",
    SetUpCode = "set_up_code",
    KeepCodes = "keep_codes",
    KeepCodesText = "keep_codes_text",
    CodesKept = "codes_kept",
    RecoveryUsed = "recovery_used",
    CodesLeft = "codes_left",
    CodesFew = "codes_few",
    NewCodes = "new_codes",
    NewCodesText = "new_codes_text",
    NewCodesFailed = "new_codes_failed",
    Enrol = "enrol",
    EnrolText = "enrol_text",
    Stale = "stale",
    StaleText = "stale_text",
    StartAgain = "start_again",
    TryAgain = "try_again",
    Limited = "limited",
    LimitedText = "limited_text",
    Unavailable = "unavailable",
    UnavailableText = "unavailable_text",
    NotKept = "not_kept",
    Loop = "loop",
    LoopText = "loop_text",
    SignedIn = "signed_in",
    SignedInAs = "signed_in_as",
    OrganizationIs = "organization_is",
    SwitchOrganization = "switch_organization",
    SignOut = "sign_out",
    SignOutText = "sign_out_text",
    SignedOut = "signed_out",
    SignedOutText = "signed_out_text",
    StepUp = "step_up",
    StepUpMfa = "step_up_mfa",
    StepUpRecent = "step_up_recent",
    StepUpFactors = "step_up_factors",
    StepUpDevice = "step_up_device",
    SignInAgain = "sign_in_again",
    Elsewhere = "elsewhere",
    ElsewhereText = "elsewhere_text",
    SwitchTo = "switch_to",
    StepUpEmail = "step_up_email",
    StepUpSms = "step_up_sms",
    StepUpApp = "step_up_app",
    StepUpOther = "step_up_other",
    StepUpEnd = "step_up_end",
    StepUpEndText = "step_up_end_text",
    StepUpOver = "step_up_over",
}

impl Key {
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }
}

/// All languages.
#[derive(Debug, Clone)]
pub struct Texts(BTreeMap<String, BTreeMap<&'static str, String>>);

impl Texts {
    /// English, German, French and Spanish.
    #[must_use]
    pub fn built_in() -> Self {
        let mut texts = Self(BTreeMap::new());
        for (language, file) in BUILT_IN {
            for (name, text) in toml::from_str::<BTreeMap<String, String>>(file).unwrap_or_default() {
                if let Some(key) = Key::named(&name) {
                    texts.set(language, key, text);
                }
            }
        }
        texts
    }

    /// Puts a text in the place of the one there was, in a language that need not be there yet.
    pub fn set(&mut self, language: &str, key: Key, text: String) {
        self.0.entry(language.to_owned()).or_default().insert(key.name(), text);
    }

    /// In the language that a browser likes best of those there are (RFC 9110 section 12.5.4).
    #[must_use]
    pub fn spoken(&self, headers: &HeaderMap) -> Spoken<'_> {
        let asked = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
        let mut asked: Vec<(u16, &str)> =
            asked.flat_map(|value| value.split(',')).take(MAX_ASKED).filter_map(wish).collect();
        // Stable: of two equally liked ones the first is meant.
        asked.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
        let found = asked.iter().find_map(|(_, tag)| {
            let primary = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
            self.0.get_key_value(&primary)
        });
        let (language, texts) = match found {
            Some((language, texts)) => (language.as_str(), Some(texts)),
            None => (FALLBACK, self.0.get(FALLBACK)),
        };
        Spoken { language, texts, fallback: self.0.get(FALLBACK) }
    }
}

/// A language range and how much it is wanted, in thousandths; none for what is not wanted.
fn wish(element: &str) -> Option<(u16, &str)> {
    let mut parts = element.split(';').map(str::trim);
    let tag = parts.next().filter(|tag| !tag.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>).ok()?;
    let quality = (quality.clamp(0.0, 1.0) * 1000.0) as u16;
    (quality > 0).then_some((quality, tag))
}

/// The texts in one language.
#[derive(Clone, Copy)]
pub struct Spoken<'t> {
    /// For `lang`.
    pub language: &'t str,
    texts: Option<&'t BTreeMap<&'static str, String>>,
    fallback: Option<&'t BTreeMap<&'static str, String>>,
}

impl<'t> Spoken<'t> {
    #[must_use]
    pub fn get(self, key: Key) -> &'t str {
        let name = key.name();
        let of = |texts: Option<&'t BTreeMap<&'static str, String>>| texts?.get(name);
        of(self.texts).or_else(|| of(self.fallback)).map_or(name, String::as_str)
    }

    /// With `{name}`s filled in.
    #[must_use]
    pub fn filled(self, key: Key, values: &[(&str, &str)]) -> String {
        let mut rest = self.get(key);
        let mut text = String::new();
        // In one pass, so that what is filled in is never filled in itself.
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let known = values
                .iter()
                .find_map(|(name, value)| Some((*value, after.strip_prefix(name)?.strip_prefix('}')?)));
            match known {
                Some((value, after)) => {
                    text.push_str(value);
                    rest = after;
                }
                None => {
                    text.push('{');
                    rest = after;
                }
            }
        }
        text + rest
    }

    /// The locale in which Stytch should write to people, where it has theirs (REFERENCE.md 7).
    #[must_use]
    pub fn locale(self) -> Option<&'t str> {
        ["en", "es", "fr"].contains(&self.language).then_some(self.language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(asked: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, asked.parse().unwrap());
        Texts::built_in().spoken(&headers).language.to_owned()
    }

    #[test]
    fn every_language_has_every_text_and_no_other() {
        let names: Vec<&str> = Key::ALL.into_iter().map(Key::name).collect();
        for (language, file) in BUILT_IN {
            let texts: BTreeMap<String, String> = toml::from_str(file).unwrap();
            for (name, text) in &texts {
                assert!(names.contains(&name.as_str()), "{language}: {name}");
                assert!(!text.trim().is_empty(), "{language}: {name} is empty");
            }
            assert_eq!(texts.len(), names.len(), "{language} lacks a text");
        }
    }

    #[test]
    fn translations_fill_in_the_same() {
        let placeholders = |text: &str| {
            let mut found: Vec<String> =
                text.split('{').skip(1).map(|part| part.split('}').next().unwrap().to_owned()).collect();
            found.sort();
            found
        };
        let texts = Texts::built_in();
        for key in Key::ALL {
            for (language, of_it) in &texts.0 {
                let english = placeholders(&texts.0["en"][key.name()]);
                assert_eq!(placeholders(&of_it[key.name()]), english, "{language}: {}", key.name());
            }
        }
    }

    #[test]
    fn a_browser_gets_the_language_it_likes_best() {
        for (asked, expected) in [
            ("de-DE,de;q=0.9,en;q=0.8", "de"),
            ("it,fr;q=0.5,de;q=0.7", "de"),
            ("it", "en"),
            ("", "en"),
            ("*", "en"),
            ("de;q=0, es", "es"),
            ("FR-ca", "fr"),
            ("en;q=0.1,es;q=x,de;q=0.05", "en"),
        ] {
            assert_eq!(language(asked), expected, "{asked}");
        }
    }

    #[test]
    fn texts_can_be_replaced_and_fall_back() {
        let mut texts = Texts::built_in();
        texts.set("it", Key::SignIn, "Accedi".to_owned());
        texts.set("en", Key::SignIn, "Log on".to_owned());
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, "it".parse().unwrap());
        let spoken = texts.spoken(&headers);
        assert_eq!((spoken.language, spoken.get(Key::SignIn)), ("it", "Accedi"));
        assert_eq!(spoken.get(Key::Continue), "Continue");
        assert_eq!(texts.spoken(&HeaderMap::new()).get(Key::SignIn), "Log on");
    }

    #[test]
    fn what_is_filled_in_is_not_filled_in_itself() {
        let mut texts = Texts::built_in();
        texts.set("en", Key::SignInTo, "{a} and {b}, {c}".to_owned());
        let headers = HeaderMap::new();
        let text = texts.spoken(&headers).filled(Key::SignInTo, &[("a", "{b}"), ("b", "x")]);
        assert_eq!(text, "{b} and x, {c}");
    }
}
