//! Fetches policies: the project's at start until it succeeds and then on schedule, each
//! organization's own roles when they are first needed and on schedule while they are used.
//!
//! What holds: a fetch that fails leaves what was there in place; concurrent questions about one
//! organization are one call; one that fails is not asked about again at once, whoever wants it; a
//! 429 pauses all fetches; what is remembered is bounded.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::policies::{Asked, Handle, Organization, Outcome, Policies};
use super::policy::Policy;
use crate::access::authn::checker::{Backoff, Chain};
use crate::access::last_good::LastGood;
use crate::clock;
use crate::metrics::{CallOutcome, Metrics};
use crate::readiness::Pending;
use crate::stytch::types::{self, OrganizationPolicy, ProjectPolicy};
use crate::stytch::{Client, Error};

/// The part that readiness waits for.
pub const PART: &str = "policy";
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(15);
/// For an organization of which nothing is known, however often it fails: requests wait for it.
const RETRY_UNKNOWN: Duration = Duration::from_secs(1);
/// Looks at what is due in one `policy_refresh`, and how far apart they are in any case.
const TICKS: u32 = 20;
const SHORTEST_TICK: Duration = Duration::from_millis(20);
const LONGEST_TICK: Duration = Duration::from_secs(5);
/// Part of `policy_refresh` after which a policy is fetched again, and the spread that keeps
/// organizations apart. The rest is for the tick and the call.
const REFRESH_AT: f64 = 0.8;
const REFRESH_SPREAD: f64 = 0.1;
/// An organization that nobody came from for so many refreshes is left alone until somebody does.
const IN_USE_FOR: u32 = 3;
/// Organizations remembered.
const MOST: usize = 10_000;
/// Calls about organizations under way at once; more wait their turn.
const MAX_CALLS: usize = 16;
const MAX_WAITING: usize = 4096;

/// The one task that replaces policies.
pub struct Keeper {
    pub client: Client,
    pub policies: Policies,
    /// `stytch.policy_refresh`.
    pub refresh: Duration,
    /// `stytch.key_cache_file`.
    pub last_good: Option<LastGood>,
    pub metrics: Arc<Metrics>,
    /// Held until there is a project policy.
    pub pending: Option<Pending>,
}

type Call = Pin<Box<dyn Future<Output = Fetched>>>;

enum Fetched {
    Project(Result<ProjectPolicy, Error>),
    Organization(Box<str>, Result<OrganizationPolicy, Error>),
}

/// When something is to be fetched again.
struct Due {
    at: Instant,
    retry: Duration,
    is_under_way: bool,
}

impl Due {
    fn now() -> Self {
        Self { at: Instant::now(), retry: FIRST_RETRY, is_under_way: false }
    }

    fn is_up(&self, now: Instant) -> bool {
        !self.is_under_way && now >= self.at
    }

    fn succeeded(&mut self, refresh: Duration) {
        let share = REFRESH_AT + REFRESH_SPREAD * clock::jitter();
        *self = Self { at: Instant::now() + refresh.mul_f64(share), ..Self::now() };
    }

    /// Says how long it is left alone.
    fn failed(&mut self, longest: Duration) -> Duration {
        let wait = self.retry.min(longest);
        *self = Self { at: Instant::now() + wait, retry: wait * 2, is_under_way: false };
        wait
    }
}

/// What is known of one organization beside its roles.
struct Tracked {
    due: Due,
    has_failed: bool,
    waiting: Vec<oneshot::Sender<Outcome>>,
}

impl Tracked {
    fn new() -> Self {
        Self { due: Due::now(), has_failed: false, waiting: Vec::new() }
    }

    /// Whoever wants it, it is not asked about again before this.
    fn pause(&self) -> Option<Duration> {
        let left = self.due.at.checked_duration_since(Instant::now())?;
        (self.has_failed && !self.due.is_under_way).then_some(left)
    }

    fn tell(&mut self, outcome: Outcome) {
        for reply in self.waiting.drain(..) {
            let _ = reply.send(outcome);
        }
    }
}

struct Running {
    keeper: Keeper,
    project: Due,
    organizations: HashMap<Box<str>, Tracked>,
    /// Organizations to be asked about when a call is free.
    queue: VecDeque<Box<str>>,
    under_way: usize,
    calls: FuturesUnordered<Call>,
    backoff: Backoff,
    /// The roles of an organization are others than the file has.
    is_unsaved: bool,
    is_scheduled: bool,
}

impl Keeper {
    /// The handle works as soon as the future is polled, which ends when every handle is gone.
    pub fn start(self) -> (Handle, impl Future<Output = ()>) {
        self.launch(true)
    }

    /// The same without a schedule, for a process that leaves nothing behind: what the cache file
    /// has is taken over, and an organization is asked about when somebody comes from it.
    pub fn start_on_demand(mut self) -> (Handle, impl Future<Output = ()>) {
        if let Some(last_good) = self.last_good.take() {
            if let Some(policy) = last_good.policy() {
                self.policies.replace(Arc::new(Policy::new(policy)));
            }
            for (id, roles) in last_good.organizations().into_iter().take(MOST) {
                self.policies.learn(&id, Organization::new(roles, 0));
            }
        }
        self.launch(false)
    }

    fn launch(self, is_scheduled: bool) -> (Handle, impl Future<Output = ()>) {
        let (sender, asked) = mpsc::channel(MAX_WAITING);
        let handle = Handle::new(self.policies.clone(), sender);
        let running = Running {
            keeper: self,
            project: Due::now(),
            organizations: HashMap::new(),
            queue: VecDeque::new(),
            under_way: 0,
            calls: FuturesUnordered::new(),
            backoff: Backoff::default(),
            is_unsaved: false,
            is_scheduled,
        };
        (handle, running.run(asked))
    }
}

impl Running {
    async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        self.load();
        let tick = (self.keeper.refresh / TICKS).clamp(SHORTEST_TICK, LONGEST_TICK);
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                asked = asked.recv() => match asked {
                    Some(asked) => self.take(asked),
                    None => return,
                },
                Some(fetched) = self.calls.next() => match fetched {
                    Fetched::Project(result) => self.project_fetched(result),
                    Fetched::Organization(id, result) => self.organization_fetched(&id, result),
                },
                _ = ticks.tick(), if self.is_scheduled => self.look(),
            }
        }
    }

    /// What there is to go by: of an earlier keeper, or of an earlier run of the gateway. Whether an
    /// organization still has the same roles is asked when somebody comes from it.
    fn load(&mut self) {
        if let Some(last_good) = self.keeper.last_good.clone() {
            if self.keeper.policies.project(|_| ()).is_none()
                && let Some(policy) = last_good.policy()
            {
                self.replace(policy, SystemTime::UNIX_EPOCH);
            }
            for (id, roles) in last_good.organizations().into_iter().take(MOST) {
                if self.keeper.policies.organization(&id).is_none() {
                    self.keeper.policies.learn(&id, Organization::new(roles, 0));
                }
            }
        }
        let organizations = &mut self.organizations;
        self.keeper.policies.each_organization(|id, organization| {
            organization.set_dormant(true);
            organizations.insert(id.into(), Tracked::new());
        });
    }

    /// Takes note of an organization that somebody has come from.
    fn take(&mut self, asked: Asked) {
        let Asked { organization: id, reply } = asked;
        let pause = self.backoff.remaining().or_else(|| self.organizations.get(&id)?.pause());
        let is_full = self.queue.len() >= MAX_WAITING;
        if let Some(retry_after) = pause.or(is_full.then_some(RETRY_UNKNOWN)) {
            let _ = reply.send(Outcome::Failed { retry_after });
            return;
        }
        if !self.organizations.contains_key(&id) && self.organizations.len() >= MOST {
            self.forget_one();
        }
        let tracked = self.organizations.entry(id.clone()).or_insert_with(Tracked::new);
        tracked.waiting.push(reply);
        if !tracked.due.is_under_way {
            tracked.due.is_under_way = true;
            self.queue.push_back(id);
            self.start_calls();
        }
    }

    /// Makes room: the organization that nobody has come from for the longest time goes.
    fn forget_one(&mut self) {
        let used_at = |id: &str| self.keeper.policies.organization(id).map(|known| known.used_at());
        let idle = self.organizations.iter().filter(|(_, tracked)| !tracked.due.is_under_way);
        let Some(id) = idle.map(|(id, _)| id).min_by_key(|id| used_at(id)).cloned() else { return };
        self.organizations.remove(&id);
        self.keeper.policies.forget(&id);
    }

    /// Fetches what is due.
    fn look(&mut self) {
        if self.is_unsaved
            && let Some(last_good) = &self.keeper.last_good
        {
            let mut organizations = BTreeMap::new();
            self.keeper.policies.each_organization(|id, organization| {
                organizations.insert(id.to_owned(), organization.source.clone());
            });
            last_good.keep_organizations(organizations);
        }
        self.is_unsaved = false;
        if self.backoff.remaining().is_some() {
            return;
        }
        let now = Instant::now();
        if self.project.is_up(now) {
            self.project.is_under_way = true;
            let (client, metrics) = (self.keeper.client.clone(), Arc::clone(&self.keeper.metrics));
            self.calls.push(Box::pin(async move {
                Fetched::Project(counted("rbac_policy", client.policy(), &metrics).await)
            }));
        }
        self.look_at_organizations(now);
        self.start_calls();
    }

    fn look_at_organizations(&mut self, now: Instant) {
        let (policies, queue) = (&self.keeper.policies, &mut self.queue);
        let in_use_since = clock::unix_millis() - clock::span(self.keeper.refresh * IN_USE_FOR);
        self.organizations.retain(|id, tracked| {
            if !tracked.due.is_up(now) {
                return true;
            }
            let Some(known) = policies.organization(id) else { return false };
            if known.is_dormant() {
                return true;
            }
            if known.used_at() < in_use_since {
                known.set_dormant(true);
            } else if queue.len() < MAX_WAITING {
                tracked.due.is_under_way = true;
                queue.push_back(id.clone());
            }
            true
        });
    }

    fn start_calls(&mut self) {
        while self.under_way < MAX_CALLS {
            let Some(id) = self.queue.pop_front() else { return };
            self.under_way += 1;
            let (client, metrics) = (self.keeper.client.clone(), Arc::clone(&self.keeper.metrics));
            self.calls.push(Box::pin(async move {
                let call = client.organization_policy(&id);
                let result = counted("rbac_organization", call, &metrics).await;
                Fetched::Organization(id, result)
            }));
        }
    }

    fn project_fetched(&mut self, result: Result<ProjectPolicy, Error>) {
        match result {
            Ok(answer) => {
                self.backoff.clear();
                self.project.succeeded(self.keeper.refresh);
                self.replace(answer.policy.unwrap_or_default(), SystemTime::now());
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the RBAC policy could not be fetched");
                self.back_off(&error);
                self.project.failed(LONGEST_RETRY.min(self.keeper.refresh));
            }
        }
    }

    fn replace(&mut self, policy: types::Policy, fetched_at: SystemTime) {
        if self.keeper.policies.project(|known| known.source == policy) != Some(true) {
            tracing::info!(roles = policy.roles.len(), scopes = policy.scopes.len(), "RBAC policy loaded");
            if let Some(last_good) = &self.keeper.last_good {
                last_good.keep_policy(&policy);
            }
            self.keeper.policies.replace(Arc::new(Policy::new(policy)));
        }
        self.keeper.metrics.policy_in_use(Some(fetched_at));
        self.keeper.pending = None;
    }

    fn organization_fetched(&mut self, id: &str, result: Result<OrganizationPolicy, Error>) {
        self.under_way -= 1;
        let known = self.keeper.policies.organization(id);
        let outcome = match &result {
            Ok(_) => Outcome::Fetched,
            Err(error) => {
                tracing::warn!(error = %Chain(error), "an organization's own roles could not be fetched");
                self.back_off(error);
                Outcome::Failed { retry_after: RETRY_UNKNOWN }
            }
        };
        let Some(tracked) = self.organizations.get_mut(id) else { return self.start_calls() };
        tracked.has_failed = result.is_err();
        match result {
            Ok(answer) => {
                self.backoff.clear();
                tracked.due.succeeded(self.keeper.refresh);
                self.learn(id, known, answer.org_policy.unwrap_or_default().roles);
            }
            // Requests go on with what there was, and do not wait for the next attempt.
            Err(_) => match known {
                Some(known) => {
                    tracked.due.failed(LONGEST_RETRY.min(self.keeper.refresh));
                    known.set_dormant(false);
                }
                None => drop(tracked.due.failed(RETRY_UNKNOWN)),
            },
        }
        if let Some(tracked) = self.organizations.get_mut(id) {
            tracked.tell(outcome);
        }
        self.start_calls();
    }

    fn learn(&mut self, id: &str, known: Option<Arc<Organization>>, roles: Vec<types::Role>) {
        match known {
            Some(known) if known.source == roles => known.set_dormant(false),
            known => {
                let used_at = known.map_or_else(clock::unix_millis, |known| known.used_at());
                self.keeper.policies.learn(id, Organization::new(roles, used_at));
                self.is_unsaved = true;
            }
        }
    }

    fn back_off(&mut self, error: &Error) {
        match error {
            Error::RateLimited { retry_after } => drop(self.backoff.begin(*retry_after)),
            Error::OwnCredentials { .. } => {
                tracing::error!(%error, "check stytch.project_id and stytch.secret");
            }
            _ => {}
        }
    }
}

async fn counted<T>(
    endpoint: &'static str,
    call: impl Future<Output = Result<T, Error>>,
    metrics: &Metrics,
) -> Result<T, Error> {
    let started = Instant::now();
    let result = call.await;
    let outcome = result.as_ref().map_or_else(CallOutcome::from, |_| CallOutcome::Ok);
    metrics.stytch_call(endpoint, outcome, started.elapsed());
    result
}
