//! Sign-in for people: the pages, and what stands behind them (DESIGN.md section 8).
//!
//! What holds: nothing that may change something is done for a form of another site, nor without
//! the token of the step it takes, nor twice; nobody is told whether an address is known; tokens
//! stay in cookies that scripts cannot read and never reach a log; what Stytch refuses and what
//! could not be asked of it end in different pages.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::server::incoming::Incoming;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::Value;

use self::form::Fields;
use self::look::Look;
use self::page::{Page, View};
use self::state::Sealer;
use self::target::{Allowed, Target};
use self::texts::{Key, Spoken};
use crate::access::authn::changes::{Change, Taken};
use crate::access::authn::checker::Chain;
use crate::access::authn::{Fresh, Proved};
use crate::access::rejection::{Code, Rejection};
use crate::access::{RequestHead, cross_site, host};
use crate::client::ClientView;
use crate::config::{Config, Rate, RateLimit, Signin};
use crate::endpoints::Visit;
use crate::identity::device::CLAIM;
use crate::identity::{Identity, Kind};
use crate::limiter::{Buckets, network};
use crate::metrics::{CallOutcome, Metrics};
use crate::passage::Passage;
use crate::proxy::cookies;
use crate::reply::Reply;
use crate::site::Site;
use crate::stytch::{self, Client, Error};
use crate::telemetry::audit_log::{Event, Told, Who};

mod callback;
mod choice;
mod create;
mod device;
mod enrolment;
mod flow;
mod form;
mod link;
mod login;
mod logout;
mod look;
mod member;
mod needed;
mod organizations;
mod page;
pub mod redirect;
pub(crate) mod refusal;
mod session;
mod shown;
pub mod state;
mod step_up;
pub mod target;
pub mod texts;
mod trip;
mod user;

/// Codes sent to one recipient, and codes tried for one.
const SENT_TO_ONE: Rate = Rate { count: 6, per: Duration::from_secs(600) };
const TRIED_FOR_ONE: Rate = Rate { count: 20, per: Duration::from_secs(600) };
const RETRY_AFTER: Duration = Duration::from_secs(5);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");

/// The endpoints that people visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Login,
    Callback,
    Logout,
    Session,
    Organizations,
}

/// What outlives a configuration: counts, and what must not be done twice.
pub struct Lasting {
    taken: state::Taken,
    addresses: Buckets<IpAddr>,
    sent: Buckets<u64>,
    tried: Buckets<u64>,
    hasher: RandomState,
    /// For configurations without a key of their own. Made for the first of them: the first randomness
    /// takes longer than all the rest of a start.
    sealer: OnceLock<Arc<Sealer>>,
}

impl Lasting {
    #[must_use]
    pub fn new(limits: &RateLimit) -> Self {
        Self {
            taken: state::Taken::default(),
            addresses: Buckets::new(limits.sign_in, limits.burst),
            sent: Buckets::new(Some(SENT_TO_ONE), None),
            tried: Buckets::new(Some(TRIED_FOR_ONE), None),
            hasher: RandomState::new(),
            sealer: OnceLock::new(),
        }
    }

    fn sealer(&self) -> Result<Arc<Sealer>, aws_lc_rs::error::Unspecified> {
        if let Some(sealer) = self.sealer.get() {
            return Ok(Arc::clone(sealer));
        }
        let made = Arc::new(Sealer::new(None)?);
        Ok(Arc::clone(self.sealer.get_or_init(|| made)))
    }

    /// Takes over changed limits.
    pub fn configure(&self, limits: &RateLimit) {
        self.addresses.configure(limits.sign_in, limits.burst);
    }
}

/// What all workers share of one configuration's sign-in.
pub struct Common {
    client: Client,
    sealer: Arc<Sealer>,
    look: Look,
    lasting: Arc<Lasting>,
    metrics: Arc<Metrics>,
}

impl Common {
    /// None where sign-in is switched off.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn new(
        config: &Config,
        client: Client,
        lasting: &Arc<Lasting>,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Arc<Self>>, aws_lc_rs::error::Unspecified> {
        let signin = &config.signin;
        if !signin.enabled {
            return Ok(None);
        }
        let sealer = match &signin.state_key {
            Some(key) => Arc::new(Sealer::new(Some(key))?),
            None => lasting.sealer()?,
        };
        let mut claims = signin.custom_claims.clone();
        if signin.device.is_some() {
            // What another sign-in was told of its device is not said of this one's.
            claims.insert(CLAIM.to_owned(), Value::Null);
        }
        Ok(Some(Arc::new(Self {
            client: client.giving(&claims),
            sealer,
            look: Look::new(&signin.brand),
            lasting: Arc::clone(lasting),
            metrics: Arc::clone(metrics),
        })))
    }

    /// Asks Stytch, counts it, and logs what is no answer.
    async fn ask<T>(
        &self,
        endpoint: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        let started = Instant::now();
        let result = call.await;
        let outcome = result.as_ref().map_or_else(CallOutcome::from, |_| CallOutcome::Ok);
        self.metrics.stytch_call(endpoint, outcome, started.elapsed());
        result.map_err(|error| match error {
            Error::Refused { error_type } => Trouble::Refused(error_type),
            Error::RateLimited { retry_after } => {
                tracing::warn!(endpoint, "Stytch's rate limit is reached, or a person is locked out");
                Trouble::Unavailable { limited: true, retry_after: retry_after.unwrap_or(RETRY_AFTER) }
            }
            error => {
                tracing::error!(endpoint, error = %Chain(&error), "a sign-in could not go on");
                Trouble::Unavailable { limited: false, retry_after: RETRY_AFTER }
            }
        })
    }
}

/// Why Stytch gave no answer to go on with.
enum Trouble {
    /// It says no; the name of the reason.
    Refused(String),
    Unavailable {
        limited: bool,
        retry_after: Duration,
    },
}

impl Trouble {
    /// Whether it is the session that came along which Stytch refuses, before it looked at the code.
    fn is_about_session(&self) -> bool {
        const NAMES: [&str; 3] =
            ["session_not_found", "invalid_session_token", "unable_to_parse_session_jwt"];
        matches!(self, Self::Refused(reason) if NAMES.contains(&reason.as_str()))
    }
}

/// An answer, and what the log calls it where it is a refusal.
struct Answer {
    response: Response<Bytes>,
    refusal: Option<Rejection>,
}

impl Answer {
    const fn fine(response: Response<Bytes>) -> Self {
        Self { response, refusal: None }
    }

    const fn refused(response: Response<Bytes>, refusal: Rejection) -> Self {
        Self { response, refusal: Some(refusal) }
    }
}

/// Answers at one of the places.
pub async fn serve(
    place: Place,
    visit: &Visit,
    mut passage: Passage,
    request: Request<Incoming>,
) -> Response<Reply> {
    let site = Rc::clone(passage.site());
    let (parts, body) = request.into_parts();
    let Some(common) = &site.signin else {
        let rejection = Rejection::new(Code::NoRoute, "sign-in is switched off");
        return passage.refuse(&rejection, &parts.method, &parts.headers);
    };
    let (answer, told) = match form::read(place, &parts, body).await {
        Ok(form) => {
            let desk = Desk::new(&site, common, visit, &parts, &passage);
            let answer = desk.answer(place, &Fields::read(&form)).await;
            let answer = answer.map(|answer| desk.finish(answer));
            (answer, desk.told.take())
        }
        Err(rejection) => (Err(rejection), Vec::new()),
    };
    passage.exchange.audit(told);
    match answer {
        Ok(Answer { response, refusal: None }) => {
            passage.exchange.served();
            passage.own(response)
        }
        Ok(Answer { response, refusal: Some(rejection) }) => {
            passage.exchange.refused(&rejection);
            passage.own(response)
        }
        Err(rejection) => {
            let allow = rejection.code == Code::MethodNotAllowed;
            let mut response = passage.refuse(&rejection, &parts.method, &parts.headers);
            if allow {
                response.headers_mut().insert(header::ALLOW, METHODS);
            }
            response
        }
    }
}

/// One request at a place, and what it takes to answer it.
struct Desk<'a> {
    site: &'a Site,
    config: &'a Config,
    signin: &'a Signin,
    common: &'a Common,
    visit: &'a Visit,
    parts: &'a Parts,
    client: &'a ClientView,
    /// Unix milliseconds.
    now: i64,
    spoken: Spoken<'a>,
    /// Credentials that Stytch renewed on the way.
    fresh: RefCell<Option<Box<Fresh>>>,
    /// Why the credentials that came prove nobody.
    refused: Cell<Option<Code>>,
    /// For the audit log.
    told: RefCell<Vec<Told>>,
    /// What is known of the device.
    trace: RefCell<device::Trace>,
}

impl<'a> Desk<'a> {
    fn new(
        site: &'a Site,
        common: &'a Common,
        visit: &'a Visit,
        parts: &'a Parts,
        passage: &'a Passage,
    ) -> Self {
        let config = &site.config;
        Self {
            site,
            config,
            signin: &config.signin,
            common,
            visit,
            parts,
            client: &passage.arrival().client,
            now: passage.arrival().received_at,
            spoken: config.signin.texts.spoken(&parts.headers),
            fresh: RefCell::new(None),
            refused: Cell::new(None),
            told: RefCell::default(),
            trace: RefCell::default(),
        }
    }

    async fn answer(&self, place: Place, form: &Fields<'_>) -> Result<Answer, Rejection> {
        if self.parts.method == Method::POST {
            cross_site::check_same_origin(&self.parts.headers, self.site.gate.public_authority())?;
        }
        let query = Fields::read(self.parts.uri.query().unwrap_or_default().as_bytes());
        match (place, self.parts.method == Method::POST) {
            (Place::Login, false) => login::show(self, &query).await,
            (Place::Login, true) => login::take(self, form).await,
            (Place::Callback, _) => Ok(callback::back(self, &query).await),
            (Place::Logout, false) => Ok(logout::ask(self, &query)),
            (Place::Logout, true) => logout::out(self, form).await,
            (Place::Session, _) => session::show(self).await,
            (Place::Organizations, false) => organizations::show(self, &query).await,
            (Place::Organizations, true) => organizations::switch(self, form).await,
        }
    }

    /// Adds what was learned of the credentials that came.
    fn finish(&self, mut answer: Answer) -> Answer {
        let headers = answer.response.headers_mut();
        if self.refused.get().is_some() && cookies::has_own(&self.config.session, &self.parts.headers) {
            cookies::forget(&self.config.session, headers);
        }
        if let Some(fresh) = self.fresh.take() {
            cookies::write_back(&self.config.session, &fresh, headers);
        }
        answer
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.parts.method,
            host: &self.visit.host,
            path: &self.visit.path,
            encoded_slash: false,
            query: self.parts.uri.query(),
            headers: &self.parts.headers,
            client: self.client.address,
            received_at: self.now,
        }
    }

    /// Who is signed in. A refused credential is nobody's, and its cookies are forgotten.
    async fn who(&self) -> Result<Option<Proved>, Rejection> {
        match self.site.gate.identify(&self.head()).await {
            Ok(Some(proved)) if proved.word.identity.kind == Kind::Session => {
                self.fresh.replace(proved.take_fresh());
                Ok(Some(proved))
            }
            Ok(_) => Ok(None),
            Err(rejection)
                if [Code::InvalidCredential, Code::AmbiguousCredential].contains(&rejection.code) =>
            {
                self.refused.set(Some(rejection.code));
                Ok(None)
            }
            Err(rejection) => Err(rejection),
        }
    }

    /// For a script that nobody has signed in for.
    fn nobody(&self) -> Rejection {
        Rejection::new(self.refused.get().unwrap_or(Code::Unauthenticated), "nobody is signed in")
    }

    /// The session's credential as it came, to be shown to Stytch.
    fn credential(&self) -> Option<stytch::Credential> {
        self.site.gate.session_credential(&self.head())
    }

    fn target(&self, text: &str) -> Target {
        let named = self.parts.headers.get(header::HOST).and_then(|host| host::parse(host.as_bytes()).ok());
        let allowed = Allowed {
            host: &self.visit.host,
            port: named.and_then(|named| named.port),
            signin: self.signin,
            plain: !self.config.session.cookies.secure,
        };
        Target::read(text, &allowed)
    }

    fn view(&self) -> View<'_> {
        View {
            look: &self.common.look,
            spoken: self.spoken,
            base: &self.signin.base_path,
            product: self.signin.brand.name.as_deref().unwrap_or(&self.visit.host),
            typed: "",
            script: None,
        }
    }

    fn page(&self, page: &Page) -> Answer {
        Answer::fine(self.view().answer(StatusCode::OK, page, None))
    }

    /// A page for a refusal, with where to begin again, or where to try again what could not be
    /// checked.
    fn refusal(&self, title: Key, text: Key, way_on: Option<&str>, rejection: Rejection) -> Answer {
        let view = self.view();
        let label = if rejection.code == Code::StytchUnavailable { Key::TryAgain } else { Key::StartAgain };
        let page = view.end(title, view.text(text), way_on.map(|href| (href, label)));
        let mut response = view.answer(rejection.code.status(), &page, None);
        if let Some(wait) = rejection.retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        Answer::refused(response, rejection)
    }

    /// When this address has tried too often: the page that says so.
    fn limited(&self) -> Option<Answer> {
        let wait = self.common.lasting.addresses.take(network(self.client.address))?;
        self.audit(Event::Limited, None, "address");
        let rejection = Rejection::new(Code::RateLimited, "too many attempts to sign in from this address");
        Some(self.refusal(Key::Limited, Key::LimitedText, None, rejection.retry_after(wait)))
    }

    /// Whether so many codes were sent to a recipient that it gets no more for now.
    fn was_sent_too_many(&self, to: &str) -> bool {
        let key = self.common.lasting.hasher.hash_one(to.to_ascii_lowercase());
        self.common.lasting.sent.take(key).is_some()
    }

    /// Whether so many codes were tried for a recipient that no more are taken for now.
    fn was_tried_too_often(&self, to: &str) -> bool {
        let key = self.common.lasting.hasher.hash_one(to.to_ascii_lowercase());
        self.common.lasting.tried.take(key).is_some()
    }

    fn is_navigation(&self) -> bool {
        crate::reply::is_navigation(&self.parts.method, &self.parts.headers)
    }

    /// What happened, for those who look after the gateway. Never an address or a credential.
    fn audit(&self, event: Event, who: Option<&Identity>, detail: &str) {
        self.tell(event, who.map(Who::from).unwrap_or_default(), detail);
    }

    /// Stytch has ended somebody's other sessions: those that this replica remembers are asked about
    /// again, as after a webhook that tells of a change.
    fn forget_sessions_of(&self, subject: &str) {
        let now = crate::clock::unix_millis();
        let change = Change { id: subject, deleted: false, at: now };
        let delivery = format!("sign-in {}", state::random::<16>());
        if self.site.gate.authn().hear(&delivery, &change, now) == Taken::Full {
            tracing::warn!(subject, "no room to note that sessions have ended; they end with max_staleness");
        }
    }

    fn tell(&self, event: Event, who: Who, detail: &str) {
        let detail = detail.to_owned();
        self.told.borrow_mut().push(Told { event, code: None, who, detail, device: None });
    }
}

/// 303 to a place that was put together from checked parts, or by the gateway itself.
fn see_other(location: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
        .insert(header::LOCATION, HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/")));
    response
}

fn append_cookie(headers: &mut HeaderMap, cookie: String) {
    if let Ok(mut cookie) = HeaderValue::try_from(cookie) {
        cookie.set_sensitive(true);
        headers.append(header::SET_COOKIE, cookie);
    }
}
