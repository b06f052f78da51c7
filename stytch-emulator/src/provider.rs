//! The identity providers people may come from.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::error::Refusal;
use crate::ids;

/// An OAuth provider, under each of the names the API has for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Provider {
    /// In the path of a start page.
    slug: &'static str,
    /// As a `provider_type`.
    pub(crate) name: &'static str,
    pub(crate) delivery_method: &'static str,
    /// The detail of a factor.
    pub(crate) factor: &'static str,
    /// In an organization's `allowed_auth_methods`; members have only the providers that have one.
    pub(crate) auth_method: Option<&'static str>,
}

pub(crate) static GOOGLE: &Provider = &PROVIDERS[0];

static PROVIDERS: [Provider; 20] = [
    provider("google", "Google", "oauth_google", "google_oauth_factor", Some("google_oauth")),
    provider("microsoft", "Microsoft", "oauth_microsoft", "microsoft_oauth_factor", Some("microsoft_oauth")),
    provider("slack", "Slack", "oauth_slack", "slack_oauth_factor", Some("slack_oauth")),
    provider("github", "GitHub", "oauth_github", "github_oauth_factor", Some("github_oauth")),
    provider("hubspot", "HubSpot", "oauth_hubspot", "hubspot_oauth_factor", Some("hubspot_oauth")),
    provider("apple", "Apple", "oauth_apple", "apple_oauth_factor", None),
    provider("gitlab", "GitLab", "oauth_gitlab", "git_lab_oauth_factor", None),
    provider("facebook", "Facebook", "oauth_facebook", "facebook_oauth_factor", None),
    provider("discord", "Discord", "oauth_discord", "discord_oauth_factor", None),
    provider("salesforce", "Salesforce", "oauth_salesforce", "salesforce_oauth_factor", None),
    provider("amazon", "Amazon", "oauth_amazon", "amazon_oauth_factor", None),
    provider("bitbucket", "Bitbucket", "oauth_bitbucket", "bitbucket_oauth_factor", None),
    provider("linkedin", "LinkedIn", "oauth_linkedin", "linked_in_oauth_factor", None),
    provider("coinbase", "Coinbase", "oauth_coinbase", "coinbase_oauth_factor", None),
    provider("twitch", "Twitch", "oauth_twitch", "twitch_oauth_factor", None),
    provider("twitter", "Twitter", "oauth_twitter", "twitter_oauth_factor", None),
    provider("tiktok", "TikTok", "oauth_tiktok", "tik_tok_oauth_factor", None),
    provider("snapchat", "Snapchat", "oauth_snapchat", "snapchat_oauth_factor", None),
    provider("figma", "Figma", "oauth_figma", "figma_oauth_factor", None),
    provider("yahoo", "Yahoo", "oauth_yahoo", "yahoo_oauth_factor", None),
];

const fn provider(
    slug: &'static str,
    name: &'static str,
    delivery_method: &'static str,
    factor: &'static str,
    auth_method: Option<&'static str>,
) -> Provider {
    Provider { slug, name, delivery_method, factor, auth_method }
}

impl Provider {
    pub(crate) fn for_members(slug: &str) -> Result<&'static Self, Refusal> {
        let known = PROVIDERS.iter().find(|one| one.slug == slug && one.auth_method.is_some());
        known.ok_or(Refusal::InvalidOauthProvider)
    }

    /// HubSpot is for members alone.
    pub(crate) fn for_users(slug: &str) -> Result<&'static Self, Refusal> {
        let known = PROVIDERS.iter().find(|one| one.slug == slug && one.slug != "hubspot");
        known.ok_or(Refusal::InvalidOauthProvider)
    }

    pub(crate) fn by_delivery_method(delivery_method: &str) -> Option<&'static Self> {
        PROVIDERS.iter().find(|one| one.delivery_method == delivery_method)
    }

    /// What the provider calls whoever has that address there: the same each time.
    pub(crate) fn subject(&self, address: &str) -> String {
        let person = format!("{}:{}", self.slug, address.to_ascii_lowercase());
        let hash = digest(&SHA256, person.as_bytes());
        hash.as_ref()[..10].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a provider hands out besides an identity: credentials that are good for nothing here.
pub(crate) fn values(custom_scopes: &str, now: Timestamp) -> Value {
    let own = custom_scopes.split_ascii_whitespace();
    let scopes: Vec<&str> = ["openid", "email", "profile"].into_iter().chain(own).collect();
    json!({
        "access_token": ids::token(),
        "refresh_token": ids::token(),
        "id_token": ids::token(),
        "scopes": scopes,
        "expires_at": now.saturating_add(SignedDuration::from_hours(1)).unwrap_or(now),
    })
}
