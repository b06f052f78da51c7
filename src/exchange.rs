//! One request from its head to the last byte of its answer: what log and metrics will say of it.
//!
//! What holds: every request that reaches a door is logged and counted exactly once, when its
//! answer has been handed over or given up, whichever way that comes about.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use crate::access::authn::{Proved, Word};
use crate::access::authz::{Basis, Grant};
use crate::access::rejection::{Code, Rejection};
use crate::endpoints::Endpoint;
use crate::identity::Identity;
use crate::metrics::{Decision, Verification};
use crate::passage::Arrival;
use crate::telemetry::access_log;
use crate::telemetry::audit_log::{Event, Told, Who};

/// What the log says in the place of a status when there was nobody left to answer, as other
/// proxies do.
const CLIENT_LEFT: u16 = 499;

/// Held by the answer's body; written when it is dropped.
pub struct Exchange {
    pub arrival: Arrival,
    line: Option<access_log::Record>,
    decided: Option<Instant>,
    /// When the upstream was asked.
    forwarded: Option<Instant>,
    /// When the upstream gave the head of its response.
    answered: Option<Instant>,
    /// Which of the gateway's own endpoints it is for.
    endpoint: Option<Endpoint>,
    route: Option<usize>,
    decision: Decision,
    verification: Verification,
    reason: Option<&'static str>,
    word: Option<Rc<Word>>,
    /// Whom a rule turned back.
    turned_back: Option<Arc<Identity>>,
    /// What else the audit log is to tell of this request.
    told: Vec<Told>,
    /// None until there is an answer: a client that leaves before gets none.
    status: Option<StatusCode>,
    bytes_out: Cell<u64>,
}

impl Exchange {
    #[must_use]
    pub fn begin(arrival: Arrival, line: access_log::Record, endpoint: Option<Endpoint>) -> Box<Self> {
        Box::new(Self {
            arrival,
            line: Some(line),
            decided: None,
            forwarded: None,
            answered: None,
            endpoint,
            route: None,
            decision: Decision::Failed(Code::BadRequest),
            verification: Verification::None,
            reason: None,
            word: None,
            turned_back: None,
            told: Vec::new(),
            status: None,
            bytes_out: Cell::new(0),
        })
    }

    pub fn granted(&mut self, grant: &Grant) {
        self.decided = Some(Instant::now());
        self.route = Some(grant.index());
        self.decision = match grant.basis() {
            Basis::Allowed => Decision::Allowed,
            Basis::Public => Decision::Public,
            Basis::Anonymous => Decision::Anonymous,
            Basis::Observed(code) => Decision::Observed(code),
        };
        self.reason = grant.observed().map(|rejection| rejection.reason);
        if let Some(Proved { word, verification, .. }) = grant.proved() {
            self.verification = *verification;
            self.word = Some(Rc::clone(word));
        }
    }

    /// Goes on to its upstream, now that it was let pass.
    pub const fn forwarded(&mut self) {
        self.forwarded = self.decided;
    }

    /// Answered by an endpoint of the gateway's own that asks for no identity.
    pub fn served(&mut self) {
        self.decided = Some(Instant::now());
        self.decision = Decision::Public;
    }

    /// Turned back before an upstream was asked.
    pub fn refused(&mut self, rejection: &Rejection) {
        self.decided.get_or_insert_with(Instant::now);
        self.route = self.route.or(rejection.route);
        self.decision = Decision::Refused(rejection.code);
        self.reason = Some(rejection.reason);
        self.turned_back.clone_from(&rejection.who);
    }

    /// What the audit log is to tell besides how it was decided.
    pub fn audit(&mut self, told: Vec<Told>) {
        self.told = told;
    }

    /// Let pass, and then failed.
    pub const fn failed(&mut self, code: Code, reason: &'static str) {
        self.decision = Decision::Failed(code);
        self.reason = Some(reason);
    }

    pub fn upstream_answered(&mut self) {
        self.answered = Some(Instant::now());
    }

    pub fn answers(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.arrival.record.answers();
    }

    pub fn sent(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    /// As the logs name it.
    fn route_name(&self) -> Option<&str> {
        self.route
            .map(|route| self.arrival.site.route_name(route))
            .or(self.endpoint.and_then(Endpoint::label))
    }

    fn write_audit(&self, line: &access_log::Record) {
        let audit = &self.arrival.worker.audit;
        if !audit.is_on() {
            return;
        }
        for told in &self.told {
            audit.about(line, self.route_name(), told);
        }
        let (event, code) = match self.decision {
            Decision::Refused(code) if code.is_audited() => (Event::Refused, code),
            Decision::Observed(code) if code.is_audited() => (Event::Observed, code),
            _ => return,
        };
        // The pages say themselves why somebody may not try again.
        if !self.told.iter().any(|told| told.event == Event::Limited) {
            let who = self.turned_back.as_ref().or(self.word.as_ref().map(|word| &word.identity));
            let who = who.map(|who| Who::from(&**who)).unwrap_or_default();
            let detail = self.reason.unwrap_or_default().to_owned();
            audit.about(
                line,
                self.route_name(),
                &Told { event, code: Some(code), who, detail, device: None },
            );
        }
    }

    fn write_line(&mut self, ended: Instant) {
        let Some(line) = self.line.take() else { return };
        self.write_audit(&line);
        let turned_back = self.turned_back.as_ref().map(|who| {
            let mut text = Vec::new();
            access_log::who(&mut text, who);
            text
        });
        let who = turned_back.as_deref().or(self.word.as_ref().map(|word| &*word.said.who));
        self.arrival.worker.lines.end(
            line,
            &access_log::Outcome {
                route: self.route_name(),
                decision: self.decision,
                status: self.status.map_or(CLIENT_LEFT, |status| status.as_u16()),
                who: who.unwrap_or(access_log::NOBODY),
                verification: self.verification,
                decision_took: self.decided.map(|at| at - self.arrival.started),
                upstream_took: self
                    .forwarded
                    .map(|asked| self.answered.unwrap_or(ended).saturating_duration_since(asked)),
                took: ended - self.arrival.started,
                bytes_in: self.arrival.record.bytes_received(),
                bytes_out: self.bytes_out.get(),
                reason: self.reason,
            },
        );
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ended = Instant::now();
        if let Some(cut) = self.arrival.record.was_cut() {
            self.reason = Some(cut.reason);
            if let Some(code) = cut.code {
                self.decision = Decision::Failed(code);
            }
        }
        self.write_line(ended);
        let took = ended - self.arrival.started;
        let counts = match (self.route, self.endpoint) {
            (Some(route), _) => Some(self.arrival.site.route_counts(route)),
            (None, Some(endpoint)) => self.arrival.site.endpoint_counts(endpoint),
            (None, None) => None,
        };
        self.arrival.worker.metrics.request(counts, self.decision, took);
        if let Some(decided) = self.decided {
            self.arrival.worker.metrics.decision(self.verification, decided - self.arrival.started);
        }
        self.arrival.record.end_request(self.arrival.worker.clock.now());
    }
}
