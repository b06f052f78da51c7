//! Ways to sign in that leave the gateway and come back: who there is to come from, and where to
//! come back to (REFERENCE.md 7.5).
//!
//! What holds: where people come back to is put together from the settings alone. A host that a
//! request names is looked up among those, and never written into a link.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What such sign-ins go by.
#[derive(Debug, Clone)]
pub struct RoundTrips {
    /// Names the project to the start pages. There wherever a trip begins at one.
    pub public_token: Option<String>,
    /// The origin of the start pages, without a trailing slash.
    pub start: String,
    /// Never empty. The first is that of `server.public_url`.
    pub callbacks: Vec<Callback>,
}

/// A host of the gateway's, and the URL there that people come back to, which has to be registered
/// at Stytch as it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// As requests for it are routed.
    pub host: String,
    pub url: String,
}

impl RoundTrips {
    /// Where somebody comes back to who leaves from this host; none from a host that the settings
    /// do not name.
    #[must_use]
    pub fn callback(&self, host: &str) -> Option<&str> {
        self.callbacks.iter().find(|callback| callback.host == host).map(|callback| callback.url.as_str())
    }
}

/// An OAuth provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OauthProvider {
    Google,
    Microsoft,
    Apple,
    Github,
    Gitlab,
    Facebook,
    Discord,
    Salesforce,
    Slack,
    Hubspot,
    Amazon,
    Bitbucket,
    Linkedin,
    Coinbase,
    Twitch,
    Twitter,
    Tiktok,
    Snapchat,
    Figma,
    Yahoo,
}

impl OauthProvider {
    pub const ALL: [Self; 20] = [
        Self::Google,
        Self::Microsoft,
        Self::Apple,
        Self::Github,
        Self::Gitlab,
        Self::Facebook,
        Self::Discord,
        Self::Salesforce,
        Self::Slack,
        Self::Hubspot,
        Self::Amazon,
        Self::Bitbucket,
        Self::Linkedin,
        Self::Coinbase,
        Self::Twitch,
        Self::Twitter,
        Self::Tiktok,
        Self::Snapchat,
        Self::Figma,
        Self::Yahoo,
    ];

    /// In settings and in the paths of start pages, and as people know it.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Google => ("google", "Google"),
            Self::Microsoft => ("microsoft", "Microsoft"),
            Self::Apple => ("apple", "Apple"),
            Self::Github => ("github", "GitHub"),
            Self::Gitlab => ("gitlab", "GitLab"),
            Self::Facebook => ("facebook", "Facebook"),
            Self::Discord => ("discord", "Discord"),
            Self::Salesforce => ("salesforce", "Salesforce"),
            Self::Slack => ("slack", "Slack"),
            Self::Hubspot => ("hubspot", "HubSpot"),
            Self::Amazon => ("amazon", "Amazon"),
            Self::Bitbucket => ("bitbucket", "Bitbucket"),
            Self::Linkedin => ("linkedin", "LinkedIn"),
            Self::Coinbase => ("coinbase", "Coinbase"),
            Self::Twitch => ("twitch", "Twitch"),
            Self::Twitter => ("twitter", "Twitter"),
            Self::Tiktok => ("tiktok", "TikTok"),
            Self::Snapchat => ("snapchat", "Snapchat"),
            Self::Figma => ("figma", "Figma"),
            Self::Yahoo => ("yahoo", "Yahoo"),
        }
    }

    #[must_use]
    pub const fn slug(self) -> &'static str {
        self.names().0
    }

    /// A proper name, the same in every language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.names().1
    }

    /// Whether members may come from there.
    #[must_use]
    pub const fn has_members(self) -> bool {
        self.auth_method().is_some()
    }

    /// Whether users may come from there.
    #[must_use]
    pub const fn has_users(self) -> bool {
        !matches!(self, Self::Hubspot)
    }

    /// What an organization's `allowed_auth_methods` calls it.
    #[must_use]
    pub const fn auth_method(self) -> Option<&'static str> {
        match self {
            Self::Google => Some("google_oauth"),
            Self::Microsoft => Some("microsoft_oauth"),
            Self::Slack => Some("slack_oauth"),
            Self::Hubspot => Some("hubspot_oauth"),
            Self::Github => Some("github_oauth"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_written_as_they_are_called() {
        for provider in OauthProvider::ALL {
            assert_eq!(serde_json::to_value(provider).unwrap(), provider.slug());
            assert!(provider.has_members() || provider.has_users());
        }
        let members = OauthProvider::ALL.into_iter().filter(|provider| provider.has_members());
        let members: Vec<&str> = members.map(OauthProvider::slug).collect();
        assert_eq!(members, ["google", "microsoft", "github", "slack", "hubspot"]);
    }
}
