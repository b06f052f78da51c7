//! Fetches the key set: at start until it succeeds, then on schedule, and when a key id is new.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::checker::Chain;
use super::keys::{COOLDOWN, KeySet, Keys};
use crate::access::last_good::LastGood;
use crate::clock;
use crate::metrics::{self, CallOutcome, KeysFetch, Metrics};
use crate::readiness::Pending;
use crate::stytch::Client;
use crate::stytch::types::Jwks;

/// Between attempts while there are no keys at all.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(15);
const WAITING: usize = 1024;
/// The part that readiness waits for.
pub const PART: &str = "keys";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Now or a moment ago.
    Fetched,
    Failed,
}

/// Asks for a fetch from any thread.
#[derive(Clone)]
pub struct Handle(mpsc::Sender<oneshot::Sender<Outcome>>);

impl Handle {
    /// Asks whoever holds the other end.
    #[must_use]
    pub const fn new(fetches: mpsc::Sender<oneshot::Sender<Outcome>>) -> Self {
        Self(fetches)
    }

    /// Waits for a fetch that an unknown key id asks for, unless one was made a moment ago. What
    /// could not be fetched then is not to be had now, and no reason to refuse anybody.
    pub async fn fetch(&self) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        if self.0.try_send(reply).is_err() {
            return Outcome::Failed;
        }
        outcome.await.unwrap_or(Outcome::Failed)
    }
}

/// The one task that replaces the key set.
pub struct Fetcher {
    pub client: Client,
    pub keys: Keys,
    /// `stytch.jwks_refresh`.
    pub refresh: Duration,
    /// `stytch.key_cache_file`.
    pub cache: Option<LastGood>,
    pub metrics: Arc<Metrics>,
    /// Held until there are keys.
    pub pending: Option<Pending>,
}

impl Fetcher {
    /// The handle works as soon as the future is polled.
    pub fn start(self) -> (Handle, impl Future<Output = ()>) {
        let (sender, asked) = mpsc::channel(WAITING);
        (Handle(sender), self.run(asked))
    }

    /// The same without a schedule, for a process that leaves nothing behind: the keys are those of
    /// the cache file, if there are any, until a fetch is asked for, and the file is not written.
    pub fn start_on_demand(mut self) -> (Handle, impl Future<Output = ()>) {
        let (sender, mut asked) = mpsc::channel::<oneshot::Sender<Outcome>>(WAITING);
        self.load();
        self.cache = None;
        let fetching = async move {
            while let Some(reply) = asked.recv().await {
                let _ = reply.send(if self.fetch().await { Outcome::Fetched } else { Outcome::Failed });
            }
        };
        (Handle(sender), fetching)
    }

    fn load(&mut self) {
        if self.keys.current().is_none()
            && let Some(jwks) = self.cache.as_ref().and_then(LastGood::keys)
        {
            self.take(jwks, SystemTime::UNIX_EPOCH);
        }
    }

    async fn run(mut self, mut asked: mpsc::Receiver<oneshot::Sender<Outcome>>) {
        self.load();
        let mut retry = FIRST_RETRY;
        let mut last_asked: Option<(Instant, Outcome)> = None;
        let mut next = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {
                    let wait = if self.fetch().await {
                        retry = FIRST_RETRY;
                        self.refresh.mul_f64(0.9 + 0.2 * clock::jitter())
                    } else {
                        retry = (retry * 2).min(LONGEST_RETRY);
                        if self.keys.current().is_some() { retry.max(COOLDOWN) } else { retry }
                    };
                    next = tokio::time::Instant::now() + wait;
                }
                reply = asked.recv() => {
                    let Some(reply) = reply else { return };
                    let mut replies = vec![reply];
                    let outcome = match last_asked {
                        Some((at, outcome)) if at.elapsed() < COOLDOWN => outcome,
                        _ => {
                            let outcome = if self.fetch().await { Outcome::Fetched } else { Outcome::Failed };
                            last_asked = Some((Instant::now(), outcome));
                            while let Ok(reply) = asked.try_recv() {
                                replies.push(reply);
                            }
                            outcome
                        }
                    };
                    for reply in replies {
                        let _ = reply.send(outcome);
                    }
                }
            }
        }
    }

    /// A fetch that fails, or brings no usable key, leaves the old set in place.
    async fn fetch(&mut self) -> bool {
        let started = Instant::now();
        let result = self.client.jwks().await;
        let outcome = result.as_ref().map_or_else(CallOutcome::from, |_| CallOutcome::Ok);
        self.metrics.stytch_call("jwks", outcome, started.elapsed());
        let taken = match result {
            Ok(jwks) => self.take(jwks, SystemTime::now()),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the key set could not be fetched");
                self.metrics.keys_fetch(KeysFetch::Failed);
                return false;
            }
        };
        if taken {
            self.metrics.keys_fetch(KeysFetch::Fetched);
        } else {
            tracing::warn!("the key set holds no usable key; the old one stays");
            self.metrics.keys_fetch(KeysFetch::Failed);
        }
        taken
    }

    fn take(&mut self, jwks: Jwks, at: SystemTime) -> bool {
        let previous = self.keys.current();
        let Some(set) = KeySet::new(jwks, previous.as_deref(), at) else { return false };
        let changed = previous.is_none_or(|previous| previous.generation != set.generation);
        if changed {
            tracing::info!(keys = set.len(), "verification keys loaded");
            if let Some(cache) = self.cache.as_ref().filter(|_| at != SystemTime::UNIX_EPOCH) {
                cache.keep_keys(&set.source);
            }
        }
        self.metrics.keys_in_use(metrics::Keys { count: set.len(), fetched_at: at });
        self.keys.replace(Arc::new(set));
        self.pending = None;
        true
    }
}
