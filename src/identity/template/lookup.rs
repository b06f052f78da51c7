//! Where the values of a template come from.
//!
//! What a verified token tells is taken from there; everything else of a member, user or
//! organization comes from the API's answer and is absent without one.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::identity::{Identity, Kind};

/// What there is to say something about.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    pub(super) who: Option<&'k Identity>,
    /// What [`ClientCertificate`](crate::server::tls::certificate::ClientCertificate) says.
    pub(super) certificate: Option<&'k Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Member,
    Organization,
    User,
    Session,
    Claims,
    Client,
    /// What a client showed in its TLS handshake, with or without an identity.
    ClientCertificate,
}

impl Root {
    pub(super) const ALL: [Self; 7] = [
        Self::Member,
        Self::Organization,
        Self::User,
        Self::Session,
        Self::Claims,
        Self::Client,
        Self::ClientCertificate,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Organization => "organization",
            Self::User => "user",
            Self::Session => "session",
            Self::Claims => "claims",
            Self::Client => "client",
            Self::ClientCertificate => "client_certificate",
        }
    }

    /// Whether only an API answer tells this. No `_` arm over the roots: a new one must choose.
    pub(super) fn needs_profile(self, fields: &[String]) -> bool {
        let known: &[&str] = match self {
            Self::Member => &["member_id", "organization_id"],
            Self::Organization => &["organization_id", "organization_slug"],
            Self::User => &["user_id"],
            Self::Session | Self::Claims | Self::Client | Self::ClientCertificate => return false,
        };
        !matches!(fields, [field] if known.contains(&field.as_str()))
    }

    /// The value at a path; none when it, or anything on the way to it, is absent.
    pub(super) fn find<'i>(self, fields: &[String], known: Known<'i>) -> Option<Cow<'i, Value>> {
        if self == Self::ClientCertificate {
            return walk(Cow::Borrowed(known.certificate?), fields);
        }
        let who = known.who?;
        let first = fields.first().map_or("", String::as_str);
        if let Some(known) = self.known(first, who) {
            return walk(known, &fields[1..]);
        }
        match self {
            Self::Member if is_member(who) => walk(Cow::Borrowed(&who.profile.as_ref()?.person), fields),
            Self::User if is_user(who) => walk(Cow::Borrowed(&who.profile.as_ref()?.person), fields),
            Self::Organization if who.organization.is_some() => {
                walk(Cow::Borrowed(&who.profile.as_ref()?.organization), fields)
            }
            Self::Session => walk(Cow::Owned(object(who)?), fields),
            Self::Claims => walk_map(&who.claims, fields),
            Self::Member | Self::User | Self::Organization | Self::Client | Self::ClientCertificate => None,
        }
    }

    /// What a verified token tells by itself, under the names the API uses.
    fn known<'i>(self, field: &str, who: &'i Identity) -> Option<Cow<'i, Value>> {
        let text = |text: &str| Some(Cow::Owned(Value::from(text)));
        let organization = who.organization.as_ref();
        let session = who.session.as_ref();
        match (self, field) {
            (Self::Member, "member_id") if is_member(who) => text(&who.subject),
            (Self::User, "user_id") if is_user(who) => text(&who.subject),
            (Self::Member, "organization_id") if is_member(who) => text(&organization?.id),
            (Self::Organization, "organization_id") => text(&organization?.id),
            (Self::Organization, "organization_slug") => text(&organization?.slug),
            (Self::Session, "id" | "session_id" | "member_session_id") => text(&session?.id),
            (Self::Session, "roles") => Some(Cow::Owned(Value::from(session?.roles.as_slice()))),
            // Old tokens lack it in their session; the time their whole session ends is known then.
            (Self::Session, "expires_at") if object(who)?.get(field).is_none_or(Value::is_null) => {
                let at = jiff::Timestamp::from_second(session?.expires_at?).ok()?;
                text(&at.to_string())
            }
            (Self::Client, "client_id") => text(&who.client.as_ref()?.id),
            (Self::Client, "scopes") => Some(Cow::Owned(Value::from(who.client.as_ref()?.scopes.as_slice()))),
            _ => None,
        }
    }
}

fn object(who: &Identity) -> Option<Value> {
    serde_json::from_str(who.session.as_ref()?.object.get()).ok()
}

fn is_member(who: &Identity) -> bool {
    who.kind != Kind::M2m && who.subject.starts_with("member-")
}

fn is_user(who: &Identity) -> bool {
    who.kind != Kind::M2m && who.subject.starts_with("user-")
}

/// Follows fields into an object and numbers into a list.
fn walk<'i>(from: Cow<'i, Value>, fields: &[String]) -> Option<Cow<'i, Value>> {
    match from {
        Cow::Borrowed(value) => descend(value, fields).map(Cow::Borrowed),
        Cow::Owned(value) => descend(&value, fields).cloned().map(Cow::Owned),
    }
}

fn descend<'v>(value: &'v Value, fields: &[String]) -> Option<&'v Value> {
    fields.iter().try_fold(value, |value, field| match value {
        Value::Object(object) => object.get(field),
        Value::Array(list) => list.get(field.parse::<usize>().ok()?),
        _ => None,
    })
}

fn walk_map<'i>(map: &'i Map<String, Value>, fields: &[String]) -> Option<Cow<'i, Value>> {
    match fields {
        [] => Some(Cow::Owned(Value::Object(map.clone()))),
        [first, rest @ ..] => descend(map.get(first)?, rest).map(Cow::Borrowed),
    }
}
