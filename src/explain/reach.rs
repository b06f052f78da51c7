//! What a worker works with, for one request: a site whose keys come from the cache file or are
//! fetched when they are needed, and questions to Stytch that are asked or only taken down.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::access::authn::checker::{self, Chain, Question, Verdict};
use crate::access::authn::{self, fetcher};
use crate::access::authz::policies;
use crate::access::authz::rules::Rules;
use crate::access::credential::{Presented, Token};
use crate::access::rejection::{Code, Rejection};
use crate::app::StartError;
use crate::app::control::Control;
use crate::clock::CoarseClock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::site::Site;
use crate::upstream::cluster;

const FETCH: &str = "fetch the project's keys";

/// See the module.
pub(super) struct Connected {
    pub(super) site: Rc<Site>,
    control: Control,
    shared: authn::Shared,
    unasked: Unasked,
    offline: bool,
}

/// What would have been asked, in words.
type Unasked = Rc<RefCell<Vec<&'static str>>>;

/// To be called on a runtime of one thread.
pub(super) fn connect(mut config: Config, offline: bool) -> Result<Connected, StartError> {
    // Nobody comes after this request, so nothing needs to be ready for them.
    config.session.refresh_ahead = false;
    config.session.sliding = false;
    config.server.workers = 1;
    let config = Arc::new(config);
    let metrics = Metrics::new(1);
    let mut control = Control::new(Arc::clone(&metrics), Readiness::new(), &config).on_demand();
    let mut shared = control.connect(&config)?;
    let unasked = Unasked::default();
    if offline {
        take_down(&mut shared, &unasked);
    }
    let clock = Rc::<CoarseClock>::default();
    let fleet = cluster::fleet(&config, &[], &metrics);
    let site = Site::new(config, shared.clone(), None, &fleet, &metrics, &metrics.worker(0), &clock);
    Ok(Connected { site, control, shared, unasked, offline })
}

/// Answers every question with "could not be checked", and remembers what it was.
fn take_down(shared: &mut authn::Shared, unasked: &Unasked) {
    let (questions, mut asked) = mpsc::channel::<Question>(1);
    shared.checker = checker::Handle::new(questions);
    let noted = Rc::clone(unasked);
    tokio::task::spawn_local(async move {
        while let Some(question) = asked.recv().await {
            note(&noted, "ask Stytch about the credential");
            let _ = question.reply.send(Ok(Verdict::Unavailable { retry_after: Duration::ZERO }));
        }
    });
    if let Some(judging) = &mut shared.policies {
        let (organizations, mut asked) = mpsc::channel::<policies::Asked>(1);
        *judging = policies::Handle::new(judging.policies.clone(), organizations);
        let noted = Rc::clone(unasked);
        tokio::task::spawn_local(async move {
            while let Some(asked) = asked.recv().await {
                if !asked.reply.is_closed() {
                    note(&noted, "ask for the organization's own roles");
                }
                let _ = asked.reply.send(policies::Outcome::Failed { retry_after: Duration::ZERO });
            }
        });
    }
    let (fetches, mut asked) = mpsc::channel::<oneshot::Sender<fetcher::Outcome>>(1);
    shared.fetcher = fetcher::Handle::new(fetches);
    let noted = Rc::clone(unasked);
    tokio::task::spawn_local(async move {
        while let Some(reply) = asked.recv().await {
            note(&noted, FETCH);
            let _ = reply.send(fetcher::Outcome::Failed);
        }
    });
}

fn note(unasked: &Unasked, what: &'static str) {
    let mut unasked = unasked.borrow_mut();
    if !unasked.contains(&what) {
        unasked.push(what);
    }
}

impl Connected {
    /// What would have been asked of Stytch, had it been allowed.
    pub(super) fn unasked(&self) -> Vec<&'static str> {
        self.unasked.borrow().clone()
    }

    /// Sees to it that there are keys for what is presented, as far as they are to be had, and says
    /// where they are from.
    pub(super) async fn keys(&self, presented: &Presented<'_>) -> Option<String> {
        if !presented.iter().any(|one| matches!(one.token, Token::Jwt(_))) {
            return None;
        }
        let mut from = "of stytch.key_cache_file";
        if self.shared.keys.current().is_none() && !self.offline {
            from = "fetched from Stytch";
            // Without keys, verification says so itself.
            let _outcome = self.shared.fetcher.fetch().await;
        }
        let keys = self.shared.keys.current()?;
        Some(format!("{}, {from}", keys.len()))
    }

    /// Sees to it that there is a policy, where rules are judged by it.
    pub(super) async fn policy(&self, rules: &Rules) {
        // Without a policy, the rule says so itself.
        if rules.permission.is_some()
            && self.lacks_policy()
            && !self.offline
            && let Err(error) = self.control.have_policy().await
        {
            tracing::warn!(error = %Chain(&error), "the RBAC policy could not be fetched");
        }
    }

    fn lacks_policy(&self) -> bool {
        self.shared.policies.as_ref().is_some_and(|judging| judging.policies.project(|_| ()).is_none())
    }

    /// Without keys or a policy a running gateway would not have come this far.
    pub(super) fn decided(&self, refusal: Option<&Rejection>) {
        match refusal.map(|refusal| refusal.code) {
            Some(Code::KeysUnavailable) if self.offline => note(&self.unasked, FETCH),
            Some(Code::StytchUnavailable) if self.offline && self.lacks_policy() => {
                note(&self.unasked, "fetch the project's policy");
            }
            _ => {}
        }
    }
}
