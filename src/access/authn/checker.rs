//! The one place that asks Stytch about sessions and access tokens, for all workers.
//!
//! What holds: the same question from many is one call; an answer is remembered and shared, for
//! exactly what was asked; a refused credential stays refused for a while, in a pool of its own that
//! cannot push out valid sessions, and so does what a session may not do, which ends no session; a
//! 429 backs the whole project off; every question gets a verdict, even when a call panics. Runs as
//! one task, so that none of this needs a lock.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use quick_cache::unsync::Cache;
use tokio::sync::{mpsc, oneshot};

use super::answer::Answer;
use super::memory::grown_as_needed;
use super::registry::Registry;
use crate::clock;
use crate::metrics::{CallOutcome, Metrics};
use crate::readiness::{Pending, Readiness};
use crate::stytch::types::{Authenticated, AuthorizationCheck, Introspected};
use crate::stytch::{self, Along, Client, Credential, Error, Vertical};

/// Calls under way at once; more wait their turn.
const MAX_CALLS: usize = 64;
const MAX_WAITING: usize = 4096;
/// Refused credentials remembered.
const REFUSED: usize = 10_000;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// What a client is told to wait when nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The endpoints, as metrics name them.
const AUTHENTICATE: &str = "sessions_authenticate";
const INTROSPECT: &str = "oauth2_introspect";
const OWN_CREDENTIALS: &str = "stytch credentials";
/// Between two looks whether Stytch accepts our own credentials again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Whether a session lives and, where there is a check, whether it may do that.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    pub credential: Credential,
    pub check: Option<AuthorizationCheck>,
    /// Has the session end so many minutes from now.
    pub prolong: Option<u32>,
}

impl Asked {
    const fn alone(credential: Credential) -> Self {
        Self { credential, check: None, prolong: None }
    }
}

/// A question about one credential.
pub struct Question {
    pub asked: Asked,
    /// Unix milliseconds: a word older than this does not answer it.
    pub not_before: i64,
    pub reply: oneshot::Sender<Answered>,
}

type Answered = Result<Verdict, NotPermitted>;

#[derive(Debug, Clone)]
pub enum Verdict {
    Live(Arc<Answer>),
    Refused,
    Unavailable { retry_after: Duration },
}

/// The session lives, and may not do what was asked about.
#[derive(Debug, Clone, Copy)]
pub struct NotPermitted;

const UNAVAILABLE: Verdict = Verdict::Unavailable { retry_after: RETRY_AFTER };

/// Puts questions from any thread.
#[derive(Clone)]
pub struct Handle(mpsc::Sender<Question>);

impl Handle {
    /// Puts questions to whoever holds the other end.
    #[must_use]
    pub const fn new(questions: mpsc::Sender<Question>) -> Self {
        Self(questions)
    }

    /// Waits for the verdict on a credential, and has its session end so many minutes from now. A
    /// full queue is an outage, never a refusal.
    pub async fn ask(&self, credential: Credential, prolong: Option<u32>, not_before: i64) -> Verdict {
        let asked = Asked { prolong, ..Asked::alone(credential) };
        self.put(asked, not_before).await.unwrap_or(UNAVAILABLE)
    }

    /// The same, and whether the session may do that; then the answer names the roles that grant it.
    ///
    /// # Errors
    /// When it may not. That says nothing against the session.
    pub async fn ask_whether(
        &self,
        credential: Credential,
        check: AuthorizationCheck,
        not_before: i64,
    ) -> Result<Verdict, NotPermitted> {
        self.put(Asked { credential, check: Some(check), prolong: None }, not_before).await
    }

    async fn put(&self, asked: Asked, not_before: i64) -> Answered {
        let (reply, verdict) = oneshot::channel();
        if self.0.try_send(Question { asked, not_before, reply }).is_err() {
            return Ok(UNAVAILABLE);
        }
        verdict.await.unwrap_or(Ok(UNAVAILABLE))
    }
}

/// What was asked, when (unix milliseconds), and what came of it.
type Called = (Asked, i64, Result<Answer, Error>);
type Call = Pin<Box<dyn Future<Output = Called>>>;

/// See the module.
pub struct Checker {
    client: Client,
    vertical: Vertical,
    negative_ttl: Duration,
    questions: mpsc::Receiver<Question>,
    calls: FuturesUnordered<Call>,
    /// Who waits for which call.
    asked: HashMap<Asked, Vec<oneshot::Sender<Answered>>>,
    waiting: VecDeque<Asked>,
    known: Cache<Asked, Arc<Answer>>,
    refused: Cache<Credential, Instant>,
    not_permitted: Cache<Asked, No>,
    backoff: Backoff,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    /// Held while Stytch refuses our own credentials.
    misconfigured: Option<Pending>,
    /// Ends when it accepts them: a gateway that is not ready gets no requests to notice by.
    accepted: Pin<Box<dyn Future<Output = ()>>>,
}

/// That a session may not do something.
struct No {
    until: Instant,
    /// Unix milliseconds.
    heard_at: i64,
}

/// What a checker works with.
pub struct Parts {
    pub client: Client,
    pub vertical: Vertical,
    pub capacity: usize,
    pub negative_ttl: Duration,
    pub registry: Arc<Registry>,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
}

impl Checker {
    #[must_use]
    pub fn new(parts: Parts) -> (Self, Handle) {
        let (sender, questions) = mpsc::channel(MAX_WAITING);
        let checker = Self {
            client: parts.client,
            vertical: parts.vertical,
            negative_ttl: parts.negative_ttl,
            questions,
            calls: FuturesUnordered::new(),
            asked: HashMap::new(),
            waiting: VecDeque::new(),
            known: grown_as_needed(parts.capacity),
            refused: grown_as_needed(REFUSED),
            not_permitted: grown_as_needed(REFUSED),
            backoff: Backoff::default(),
            registry: parts.registry,
            metrics: parts.metrics,
            readiness: parts.readiness,
            misconfigured: None,
            accepted: Box::pin(std::future::pending()),
        };
        (checker, Handle(sender))
    }

    /// Answers questions until every [`Handle`] is gone.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                question = self.questions.recv() => match question {
                    Some(question) => self.take(question),
                    None => return,
                },
                Some(called) = self.calls.next() => self.finish(called),
                () = &mut self.accepted => self.configured(),
            }
        }
    }

    fn take(&mut self, question: Question) {
        let Question { asked, not_before, reply } = question;
        if let Some(verdict) = self.remembered(&asked, not_before) {
            let _ = reply.send(verdict);
        } else if let Some(others) = self.asked.get_mut(&asked) {
            others.push(reply);
        } else if let Some(retry_after) = self.backoff.remaining() {
            let _ = reply.send(Ok(Verdict::Unavailable { retry_after }));
        } else if self.waiting.len() >= MAX_WAITING {
            let _ = reply.send(Ok(UNAVAILABLE));
        } else {
            self.asked.insert(asked.clone(), vec![reply]);
            self.waiting.push_back(asked);
            self.start_calls();
        }
    }

    fn remembered(&mut self, asked: &Asked, not_before: i64) -> Option<Answered> {
        if let Some(until) = self.refused.get(&asked.credential) {
            if Instant::now() < *until {
                return Some(Ok(Verdict::Refused));
            }
            self.refused.remove(&asked.credential);
        }
        if let Some(no) = self.not_permitted.get(asked) {
            if no.heard_at >= not_before && Instant::now() < no.until {
                return Some(Err(NotPermitted));
            }
            self.not_permitted.remove(asked);
        }
        let remembered_as = Asked { prolong: None, ..asked.clone() };
        let answer = self.known.get(if asked.prolong.is_some() { &remembered_as } else { asked })?;
        // The last word about a session may have been said about another of its credentials.
        let is_revoked = self.registry.is_revoked(&answer.identity, asked.credential.text());
        let holds = answer.heard_at >= not_before && !is_revoked;
        holds.then(|| Ok(Verdict::Live(Arc::clone(answer))))
    }

    fn start_calls(&mut self) {
        while self.calls.len() < MAX_CALLS {
            let Some(asked) = self.waiting.pop_front() else { return };
            let client = self.client.clone();
            let vertical = self.vertical;
            let metrics = Arc::clone(&self.metrics);
            self.calls.push(Box::pin(async move {
                let asked_at = clock::unix_millis();
                let call = AssertUnwindSafe(call(&client, vertical, &asked, asked_at, &metrics));
                let result = call.catch_unwind().await.unwrap_or(Err(Error::Timeout));
                (asked, asked_at, result)
            }));
        }
    }

    fn finish(&mut self, (asked, asked_at, result): Called) {
        if matches!(result, Ok(_) | Err(Error::Refused { .. } | Error::NotPermitted { .. })) {
            self.backoff.clear();
            self.heard_about(&asked.credential);
        }
        let verdict = match result {
            Ok(answer) => {
                let answer = Arc::new(answer);
                self.known.insert(Asked { prolong: None, ..asked.clone() }, Arc::clone(&answer));
                Ok(Verdict::Live(answer))
            }
            Err(Error::Refused { .. }) => {
                self.forget(&asked);
                Ok(Verdict::Refused)
            }
            Err(Error::NotPermitted { .. }) if asked.check.is_some() => {
                self.known.remove(&asked);
                let until = Instant::now() + self.negative_ttl;
                self.not_permitted.insert(asked.clone(), No { until, heard_at: asked_at });
                Err(NotPermitted)
            }
            Err(error) => Ok(Verdict::Unavailable { retry_after: self.unavailable(&error) }),
        };
        for reply in self.asked.remove(&asked).unwrap_or_default() {
            let _ = reply.send(verdict.clone());
        }
        self.start_calls();
    }

    /// Our own credentials go with questions about sessions alone.
    fn heard_about(&mut self, credential: &Credential) {
        match credential {
            Credential::Jwt(_) | Credential::Token(_) => self.configured(),
            Credential::AccessToken { .. } => {}
        }
    }

    /// What the credential stands for is over, whatever was asked about it.
    fn forget(&mut self, asked: &Asked) {
        let alone = Asked::alone(asked.credential.clone());
        for asked in [asked, &alone] {
            if let Some((_, answer)) = self.known.remove(asked) {
                self.registry.revoke(&answer.identity, asked.credential.text());
            }
        }
        self.refused.insert(alone.credential, Instant::now() + self.negative_ttl);
    }

    /// Stytch accepts our own credentials.
    fn configured(&mut self) {
        if self.misconfigured.take().is_some() {
            self.accepted = Box::pin(std::future::pending());
        }
    }

    fn unavailable(&mut self, error: &Error) -> Duration {
        match error {
            Error::RateLimited { retry_after } => {
                let wait = self.backoff.begin(*retry_after);
                tracing::warn!(
                    wait_ms = wait.as_millis() as u64,
                    "Stytch's rate limit is reached; backing off"
                );
                wait
            }
            Error::OwnCredentials { .. } => {
                tracing::error!(%error, "check stytch.project_id and stytch.secret");
                if self.misconfigured.is_none() {
                    self.misconfigured = Some(self.readiness.wait_for(OWN_CREDENTIALS));
                    self.accepted = Box::pin(accepted(self.client.clone(), Arc::clone(&self.metrics)));
                }
                RETRY_AFTER
            }
            _ => {
                tracing::warn!(error = %Chain(error), "a credential could not be checked");
                RETRY_AFTER
            }
        }
    }
}

async fn call(
    client: &Client,
    vertical: Vertical,
    asked: &Asked,
    asked_at: i64,
    metrics: &Metrics,
) -> Result<Answer, Error> {
    let started = Instant::now();
    let along = Along { check: asked.check.as_ref(), minutes: asked.prolong, ..Along::default() };
    let session = |answer: Authenticated| {
        if along.check.is_some() {
            stytch::error::checked(answer.verdict.as_ref())?;
        }
        Answer::read(answer, vertical, asked_at).ok_or_else(stytch::error::incomplete)
    };
    let (endpoint, result) = match &asked.credential {
        Credential::Jwt(_) | Credential::Token(_) => {
            let told = match client.authenticate(&asked.credential, &along).await {
                // The session is not asked to go on any longer, but it is still asked about.
                Err(Error::Unexpected { status, error_type }) if along.minutes.is_some() => {
                    tracing::error!(%status, error_type, "a session could not be prolonged");
                    client.authenticate(&asked.credential, &Along { minutes: None, ..along }).await
                }
                told => told,
            };
            (AUTHENTICATE, told.and_then(session))
        }
        Credential::AccessToken { token, client_id, .. } => {
            let told = client.introspect(token, client_id).await;
            (INTROSPECT, told.and_then(|told| introspected(told, &asked.credential, asked_at)))
        }
    };
    let outcome = result.as_ref().map_or_else(CallOutcome::from, |_| CallOutcome::Ok);
    metrics.stytch_call(endpoint, outcome, started.elapsed());
    result
}

fn introspected(told: Introspected, asked: &Credential, asked_at: i64) -> Result<Answer, Error> {
    if !told.active {
        return Err(stytch::error::inactive());
    }
    Answer::introspected(told, asked, asked_at).ok_or_else(stytch::error::incomplete)
}

/// Waits until Stytch accepts the project id and the secret.
async fn accepted(client: Client, metrics: Arc<Metrics>) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let started = Instant::now();
        let result = client.whoami().await;
        let outcome = result.as_ref().map_or_else(CallOutcome::from, |_| CallOutcome::Ok);
        metrics.stytch_call("debug_whoami", outcome, started.elapsed());
        if result.is_ok() {
            return;
        }
    }
}

/// Prints an error with its sources.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// The project-wide pause after a 429, doubled while they go on.
#[derive(Default)]
pub(in crate::access) struct Backoff {
    until: Option<Instant>,
    last: Option<Duration>,
}

impl Backoff {
    pub(in crate::access) fn remaining(&self) -> Option<Duration> {
        self.until?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// `advised` is Stytch's `Retry-After`. Without one the pause doubles, with jitter so that
    /// replicas do not come back together.
    pub(in crate::access) fn begin(&mut self, advised: Option<Duration>) -> Duration {
        let doubled = self.last.map_or(FIRST_BACKOFF, |last| (last * 2).min(LONGEST_BACKOFF));
        self.last = Some(doubled);
        let jittered = doubled.mul_f64(0.75 + 0.5 * clock::jitter());
        let wait = advised.unwrap_or(jittered).min(LONGEST_BACKOFF);
        self.until = Some(Instant::now() + wait);
        wait
    }

    pub(in crate::access) const fn clear(&mut self) {
        self.until = None;
        self.last = None;
    }
}
