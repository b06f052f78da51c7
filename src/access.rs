//! May this request pass? The one place that answers it, for every door.
//!
//! What holds: nothing here knows of bodies, sockets or doors; a [`Grant`] can only be had from
//! [`authz`], and without one nothing is forwarded; every early return is a refusal.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header};

use self::authn::{Authn, Proved};
pub use self::authz::Grant;
use self::credential::{Presented, Token};
use self::rejection::{Code, Rejection};
use self::route::{Found, Match, Table};
use crate::clock;
use crate::config::{self, Auth, CorsPreflight, Route};
use crate::stytch;

pub mod authn;
pub mod authz;
pub mod credential;
pub mod cross_site;
pub mod host;
pub mod last_good;
pub mod path;
pub mod rejection;
pub mod route;

/// What is judged: the same values that are logged and forwarded.
pub struct RequestHead<'a> {
    pub method: &'a Method,
    /// Lower-case, without port or trailing dot; empty when an HTTP/1.0 client named none.
    pub host: &'a str,
    /// As [`path::normalise`] left it.
    pub path: &'a str,
    /// Whether the path holds `%2F`, which only some routes take.
    pub encoded_slash: bool,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// The client's address, as far as trusted proxies vouch for it.
    pub client: IpAddr,
    /// Unix milliseconds.
    pub received_at: i64,
}

impl RequestHead<'_> {
    /// RFC 6455 section 4.1.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.method == Method::GET
            && self
                .headers
                .get(header::UPGRADE)
                .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
    }

    /// A true preflight (Fetch standard): nothing else may pass for one.
    fn is_preflight(&self) -> bool {
        self.method == Method::OPTIONS
            && self.headers.contains_key(header::ORIGIN)
            && self.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }
}

/// One worker's view of the rules: routes, and how identities are proved.
pub struct Gate {
    table: Table,
    routes: Vec<Arc<Route>>,
    session: config::Session,
    public_authority: Option<String>,
    authn: Rc<Authn>,
}

/// Whether somebody was refused who may have another session, of another organization.
fn is_elsewhere(rejection: &Rejection) -> bool {
    rejection.code == Code::OrganizationNotAllowed
}

/// Who passes a route.
enum Pass {
    /// With the reason why nobody has to be known.
    Nobody(Auth),
    /// With the roles that grant what the route asks for, where it does.
    Somebody(Proved, Option<HeaderValue>),
}

impl Gate {
    #[must_use]
    pub fn new(config: &config::Config, authn: Rc<Authn>) -> Self {
        let public_authority =
            config.server.public_url.as_ref().and_then(|url| url.authority()).map(ToString::to_string);
        Self {
            table: config.table.clone(),
            routes: config.routes.clone(),
            session: config.session.clone(),
            public_authority,
            authn,
        }
    }

    #[must_use]
    pub fn authn(&self) -> &Authn {
        &self.authn
    }

    /// Host and port of `server.public_url`.
    #[must_use]
    pub fn public_authority(&self) -> Option<&str> {
        self.public_authority.as_deref()
    }

    /// Whose is it, apart from any route? For the gateway's own endpoints: nothing is let pass.
    ///
    /// # Errors
    /// As [`Authn::verify`], and for malformed credentials.
    pub async fn identify(&self, head: &RequestHead<'_>) -> Result<Option<Proved>, Rejection> {
        let presented =
            self.credentials(head).map_err(|rejection| self.authn.counted(rejection, head.client))?;
        if presented.is_empty() {
            return Ok(None);
        }
        self.authn.verify(&presented, head.client, head.received_at).await.map(Some)
    }

    /// A credential of the request's session, as Stytch takes it: the opaque one where there is
    /// one, since it does not expire before the session does.
    #[must_use]
    pub fn session_credential(&self, head: &RequestHead<'_>) -> Option<stytch::Credential> {
        let presented = self.credentials(head).ok()?;
        let opaque = presented.iter().find(|one| matches!(one.token, Token::Opaque(_)));
        opaque.or(presented.first()).map(|one| authn::session_question(one.token))
    }

    /// May this request pass? Four steps, in order: route, credential, identity, rules.
    ///
    /// # Errors
    /// The [`Rejection`] that turns it back, with the route as far as one was found.
    pub async fn decide(&self, head: &RequestHead<'_>) -> Result<Grant, Rejection> {
        self.decide_and_tell(head, &mut None).await
    }

    /// The same, and leaves in `refused` whoever was proved before a rule turned them back: for
    /// those who want to know why.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub async fn decide_and_tell(
        &self,
        head: &RequestHead<'_>,
        refused: &mut Option<Proved>,
    ) -> Result<Grant, Rejection> {
        let found = self.route(head)?;
        let (index, route) = (found.route, &self.routes[found.route]);
        let mut proved = None;
        let rejection = match self.judge(&found, route, head, &mut proved).await {
            Ok(Pass::Nobody(Auth::Optional)) => return Ok(authz::anonymous(index, route)),
            Ok(Pass::Nobody(_)) => return Ok(authz::public(index, route)),
            Ok(Pass::Somebody(proved, roles)) => return Ok(authz::permit(index, route, proved, roles)),
            Err(rejection) if rejection.code.asks_for_sign_in() || is_elsewhere(&rejection) => {
                let organization = route.rules.organization(&found.captures, head.host, head.path);
                rejection.on_route(index).for_organization(organization)
            }
            Err(rejection) => rejection.on_route(index),
        };
        if route.observe && rejection.code.is_of_access() {
            return Ok(authz::observe(index, route, proved, rejection));
        }
        let rejection = match &proved {
            Some(proved) => rejection.of(&proved.word.identity),
            None => rejection,
        };
        *refused = proved;
        Err(rejection)
    }

    /// Leaves in `proved` whoever was proved before a rule refused them.
    async fn judge(
        &self,
        found: &Match,
        route: &Route,
        head: &RequestHead<'_>,
        proved: &mut Option<Proved>,
    ) -> Result<Pass, Rejection> {
        if head.encoded_slash && !route.encoded_slashes {
            return Err(Rejection::new(Code::AmbiguousPath, "an encoded slash"));
        }
        let preflight_passes = route.cors_preflight == CorsPreflight::Forward && head.is_preflight();
        if route.auth == Auth::None || preflight_passes {
            return Ok(Pass::Nobody(Auth::None));
        }
        let presented =
            self.credentials(head).map_err(|rejection| self.authn.counted(rejection, head.client))?;
        if presented.is_empty() {
            return match route.auth {
                Auth::Optional => Ok(Pass::Nobody(Auth::Optional)),
                _ => Err(Rejection::new(Code::Unauthenticated, "no credential")),
            };
        }
        let mut somebody = self.authn.verify(&presented, head.client, head.received_at).await?;
        cross_site::check(head, somebody.source, self.public_authority.as_deref())?;
        let judged = authz::Judged {
            route,
            head,
            captures: &found.captures,
            presented: &presented,
            authn: &self.authn,
            leeway: clock::span(self.session.leeway),
        };
        match judged.judge(&mut somebody).await {
            Ok(granting_roles) => Ok(Pass::Somebody(somebody, granting_roles)),
            Err(rejection) if rejection.code == Code::InvalidCredential => {
                Err(self.authn.counted(rejection, head.client))
            }
            Err(rejection) => {
                *proved = Some(somebody);
                Err(rejection)
            }
        }
    }

    /// Which route is this for?
    ///
    /// # Errors
    /// `no_route` or `ambiguous_path`.
    pub fn route(&self, head: &RequestHead<'_>) -> Result<Match, Rejection> {
        match self.table.find(head.host, head.method, head.path) {
            Found::Route(found) => Ok(found),
            Found::None => Err(Rejection::new(Code::NoRoute, "no route matches")),
            Found::Ambiguous => {
                Err(Rejection::new(Code::AmbiguousPath, "path parameters change which route it is"))
            }
        }
    }

    /// What does the caller present?
    ///
    /// # Errors
    /// See [`credential::find`].
    pub fn credentials<'h>(&self, head: &RequestHead<'h>) -> Result<Presented<'h>, Rejection> {
        let may_be_in_query = self.session.websocket_query.is_some() && head.is_websocket();
        let query = head.query.filter(|_| may_be_in_query);
        credential::find(&self.session, head.headers, query)
    }
}
