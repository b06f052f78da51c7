//! The numbers as OpenMetrics text, added up over the workers at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::label::{
    ConfigReload, ConnectionRefusal, ConnectionState, Decision, Handshake, KeysFetch, LocalFallback, Log,
    LogLoss, StreamEnd, UpstreamOutcome, Verification, WebhookEvent,
};
use super::number::{Durations, Number};
use super::{Metrics, Worker, held};

/// What [`Metrics::exposition`] is. Every scraper in use accepts it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The route label of a request that no route is for. No route's name is this one: they hold a `/`.
const NO_ROUTE: &str = "none";

impl Metrics {
    /// Everything counted so far.
    #[must_use]
    pub fn exposition(self: &Arc<Self>) -> String {
        let mut registry = Registry::with_prefix("stytch_gateway");
        registry.register_collector(Box::new(Scrape(Arc::clone(self))));
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a String does not fail.
        let _infallible = text::encode(&mut text, &registry);
        text
    }
}

#[derive(Debug)]
struct Scrape(Arc<Metrics>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Families(&mut encoder);
        self.requests(&mut out)?;
        self.sessions(&mut out)?;
        self.stytch(&mut out)?;
        self.connections(&mut out)?;
        self.upstreams(&mut out)?;
        self.process(&mut out)
    }
}

impl Scrape {
    fn requests(&self, out: &mut Families<'_, '_>) -> fmt::Result {
        let mut family = out.counter("requests", "Requests answered, by what became of them.")?;
        let routeless = |decision| self.0.workers.iter().map(|worker| worker.routeless.count(decision)).sum();
        let routes = self.0.routes.in_use();
        for decision in Decision::all() {
            let counts = routes.iter().map(|(name, counts)| (name.as_str(), counts.total(decision)));
            // Most routes never meet most codes; a series appears with its first request.
            for (route, count) in counts.chain([(NO_ROUTE, routeless(decision))]).filter(|each| each.1 > 0) {
                let decided = [("decision", decision.as_str()), ("code", decision.code())];
                count_in(&mut family, &([("route", route)], decided), count)?;
            }
        }
        let durations = Durations::of(self.0.workers.iter().map(|worker| &worker.request_duration));
        let mut family =
            out.histogram("request_duration", "Time from a request's head to the last byte of its answer.")?;
        durations_in(&mut family, &durations)
    }

    fn sessions(&self, out: &mut Families<'_, '_>) -> fmt::Result {
        let mut family = out.histogram(
            "decision_duration",
            "Time to judge a credential: remembered, verified here, or asked of Stytch.",
        )?;
        for (position, source) in Verification::SOURCES.into_iter().enumerate() {
            let workers = self.0.workers.iter();
            let durations = Durations::of(workers.map(|worker| &worker.decision_duration[position]));
            durations_in(&mut family.encode_family(&[("source", source)])?, &durations)?;
        }
        let mut family = out.counter(
            "outage_grace",
            "Requests that passed on an older word of Stytch's than allowed, during an outage.",
        )?;
        count(&mut family, self.0.sum(|worker| &worker.outage_graces))?;
        let mut family = out.counter(
            "local_fallback",
            "Tokens asked about that could have been verified here, by why not.",
        )?;
        each(&mut family, "reason", LocalFallback::ALL.map(LocalFallback::as_str), |position| {
            self.0.sum(|worker| &worker.local_fallbacks[position])
        })?;
        let mut family = out.counter("webhook_events", "Events of Stytch's, by what became of them.")?;
        each(&mut family, "outcome", WebhookEvent::ALL.map(WebhookEvent::as_str), |position| {
            self.0.sum(|worker| &worker.webhook_events[position])
        })?;
        out.gauge("sessions_cached", "Verified sessions remembered.", None)?
            .encode_gauge(&self.0.sessions_cached())
    }

    fn stytch(&self, out: &mut Families<'_, '_>) -> fmt::Result {
        let mut family = out.counter("stytch_calls", "Calls to Stytch's API.")?;
        for ((endpoint, outcome), count) in held(&self.0.stytch_calls).iter() {
            count_in(&mut family, &[("endpoint", *endpoint), ("outcome", outcome.as_str())], *count)?;
        }
        let durations = Durations::of([&self.0.stytch_call_duration]);
        durations_in(&mut out.histogram("stytch_call_duration", "Time a call to Stytch took.")?, &durations)?;
        if let Some(keys) = self.0.keys() {
            out.gauge(
                "keys_age",
                "Time since the verification keys in use were fetched.",
                Some(&Unit::Seconds),
            )?
            .encode_gauge(&keys.age().as_secs_f64())?;
        }
        if let Some(age) = self.0.policy_age() {
            out.gauge("policy_age", "Time since the RBAC policy in use was fetched.", Some(&Unit::Seconds))?
                .encode_gauge(&age.as_secs_f64())?;
        }
        let mut family = out.counter("keys_fetch", "Attempts to fetch verification keys.")?;
        shared(&mut family, "outcome", KeysFetch::ALL.map(KeysFetch::as_str), &self.0.keys_fetches)
    }

    fn connections(&self, out: &mut Families<'_, '_>) -> fmt::Result {
        let sum = |number: fn(&Worker) -> &Number| self.0.sum(number);
        out.gauge("connections", "Client connections open.", None)?
            .encode_gauge(&sum(|worker| &worker.connections))?;
        out.gauge("parked_connections", "Client connections that are idle, and kept without buffers.", None)?
            .encode_gauge(&sum(|worker| &worker.parked_connections))?;
        let mut family = out.counter("connections_accepted", "Client connections accepted.")?;
        count(&mut family, sum(|worker| &worker.connections_accepted))?;
        let mut family =
            out.counter("connections_refused", "Client connections turned away or cut off, by why.")?;
        each(&mut family, "reason", ConnectionRefusal::ALL.map(ConnectionRefusal::as_str), |position| {
            self.0.sum(|worker| &worker.connections_refused[position])
        })?;
        let mut family = out.counter("tls_handshakes", "TLS handshakes with clients, full or resumed.")?;
        each(&mut family, "kind", Handshake::ALL.map(Handshake::as_str), |position| {
            self.0.sum(|worker| &worker.tls_handshakes[position])
        })?;
        let mut family = out.gauge(
            "tls_certificate_expires_seconds",
            "Unix time at which a certificate shown to clients ends, by its file.",
            None,
        )?;
        for (file, ends) in held(&self.0.certificates).iter() {
            family.encode_family(&[("certificate", file.as_str())])?.encode_gauge(ends)?;
        }
        out.gauge("upgraded_connections", "Connections that left HTTP, such as WebSockets, open.", None)?
            .encode_gauge(&sum(|worker| &worker.upgraded_connections))?;
        let mut family = out.counter("upgrades", "Connections that left HTTP, such as WebSockets.")?;
        count(&mut family, sum(|worker| &worker.upgrades))?;
        let mut family =
            out.counter("streams_ended", "Requests that had begun and were cut short, by why.")?;
        each(&mut family, "reason", StreamEnd::ALL.map(StreamEnd::as_str), |position| {
            self.0.sum(|worker| &worker.streams_ended[position])
        })
    }

    fn upstreams(&self, out: &mut Families<'_, '_>) -> fmt::Result {
        let upstreams = self.0.upstreams.in_use();
        let mut family =
            out.counter("upstream_requests", "Requests sent to an upstream, by what it made of them.")?;
        for (name, counts) in &upstreams {
            for outcome in UpstreamOutcome::ALL {
                let labels = [("upstream", name.as_str()), ("outcome", outcome.as_str())];
                count_in(&mut family, &labels, counts.requests(outcome))?;
            }
        }
        let mut family = out.gauge("upstream_connections", "Connections to an upstream open.", None)?;
        for (name, counts) in &upstreams {
            for state in ConnectionState::ALL {
                let labels = [("upstream", name.as_str()), ("state", state.as_str())];
                family.encode_family(&labels)?.encode_gauge(&counts.connections(state))?;
            }
        }
        let mut family = out.counter("upstream_retries", "Requests sent to an upstream once more.")?;
        for (name, counts) in &upstreams {
            count_in(&mut family, &[("upstream", name.as_str())], counts.retries())?;
        }
        let mut family = out.gauge("upstream_waiting", "Requests that wait for a connection.", None)?;
        for (name, counts) in &upstreams {
            family.encode_family(&[("upstream", name.as_str())])?.encode_gauge(&counts.waiting())?;
        }
        self.instances(out)
    }

    fn instances(&self, out: &mut Families<'_, '_>) -> fmt::Result {
        let upstreams = self.0.upstreams.in_use();
        let mut family =
            out.gauge("upstream_endpoint_up", "Whether an instance of an upstream is sent requests.", None)?;
        for (name, counts) in &upstreams {
            for (address, endpoint) in counts.endpoints() {
                let labels = [("upstream", name.as_str()), ("address", address.as_str())];
                family.encode_family(&labels)?.encode_gauge(&u64::from(endpoint.is_up()))?;
            }
        }
        let mut family =
            out.counter("upstream_ejections", "Instances left alone after failures in a row.")?;
        for (name, counts) in &upstreams {
            count_in(&mut family, &[("upstream", name.as_str())], counts.ejections())?;
        }
        let mut family = out.counter("upstream_health_checks", "Health checks of instances.")?;
        for (name, counts) in &upstreams {
            for (outcome, count) in counts.health_checks().into_iter().filter(|each| each.1 > 0) {
                count_in(&mut family, &[("upstream", name.as_str()), ("outcome", outcome)], count)?;
            }
        }
        Ok(())
    }

    fn process(&self, out: &mut Families<'_, '_>) -> fmt::Result {
        let mut family = out.counter("config_reloads", "Changed configurations, taken or turned down.")?;
        shared(&mut family, "outcome", ConfigReload::ALL.map(ConfigReload::as_str), &self.0.config_reloads)?;
        if let Some(hash) = held(&self.0.access).as_deref() {
            let mut family =
                out.family("access", "Who may reach what, as a hash.", None, MetricType::Info)?;
            family.encode_info(&[("hash", hash)])?;
        }
        let mut family = out.counter("access_log_lost_lines", "Access log lines lost, by why.")?;
        shared(
            &mut family,
            "reason",
            LogLoss::ALL.map(LogLoss::as_str),
            &self.0.logs_lost[Log::Access as usize],
        )?;
        let mut family = out.counter("audit_log_lost_lines", "Audit log lines lost, by why.")?;
        shared(
            &mut family,
            "reason",
            LogLoss::ALL.map(LogLoss::as_str),
            &self.0.logs_lost[Log::Audit as usize],
        )?;
        let mut family = out.counter("panics", "Panics that cost one request.")?;
        count(&mut family, self.0.sum(|worker| &worker.panics))?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        out.family("build", "The version that runs.", None, MetricType::Info)?.encode_info(&version)
    }
}

/// Begins families of one type each.
struct Families<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Families<'_, '_> {
    /// The encoder adds `_total`.
    fn counter<'s>(&'s mut self, name: &'s str, help: &str) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.family(name, help, None, MetricType::Counter)
    }

    /// The encoder adds `_seconds`.
    fn histogram<'s>(&'s mut self, name: &'s str, help: &str) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.family(name, help, Some(&Unit::Seconds), MetricType::Histogram)
    }

    fn gauge<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.family(name, help, unit, MetricType::Gauge)
    }

    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }
}

fn count(family: &mut MetricEncoder<'_>, count: u64) -> fmt::Result {
    family.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

fn count_in(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    count(&mut family.encode_family(labels)?, value)
}

/// One count for each value of one label.
fn each<const N: usize>(
    family: &mut MetricEncoder<'_>,
    label: &str,
    values: [&str; N],
    at: impl Fn(usize) -> u64,
) -> fmt::Result {
    for (position, value) in values.into_iter().enumerate() {
        count_in(family, &[(label, value)], at(position))?;
    }
    Ok(())
}

fn shared<const N: usize>(
    family: &mut MetricEncoder<'_>,
    label: &str,
    values: [&str; N],
    numbers: &[Number; N],
) -> fmt::Result {
    each(family, label, values, |position| numbers[position].load())
}

fn durations_in(family: &mut MetricEncoder<'_>, durations: &Durations) -> fmt::Result {
    family.encode_histogram::<NoLabelSet>(durations.seconds(), durations.count(), &durations.buckets(), None)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::access::rejection::Code;
    use crate::metrics::{CallOutcome, Keys};

    #[track_caller]
    fn shows(metrics: &Arc<Metrics>, expected: &[&str]) {
        let text = metrics.exposition();
        for line in expected {
            assert!(text.lines().any(|each| each == *line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn requests_add_up_over_the_workers() {
        let metrics = Metrics::new(2);
        let route = metrics.route("app.example.com /reports/*");
        for index in 0..2 {
            let worker = metrics.worker(index);
            worker.request(Some(&route), Decision::Allowed, Duration::from_millis(1));
            worker.request(
                Some(&route),
                Decision::Refused(Code::InvalidCredential),
                Duration::from_millis(1),
            );
        }
        metrics.worker(1).request(None, Decision::Refused(Code::NoRoute), Duration::from_micros(20));
        shows(
            &metrics,
            &[
                "# TYPE stytch_gateway_requests counter",
                r#"stytch_gateway_requests_total{route="app.example.com /reports/*",decision="allowed",code="ok"} 2"#,
                r#"stytch_gateway_requests_total{route="app.example.com /reports/*",decision="refused",code="invalid_credential"} 2"#,
                r#"stytch_gateway_requests_total{route="none",decision="refused",code="no_route"} 1"#,
                "# TYPE stytch_gateway_request_duration_seconds histogram",
                "stytch_gateway_request_duration_seconds_count 5",
                r#"stytch_gateway_request_duration_seconds_bucket{le="+Inf"} 5"#,
                "# EOF",
            ],
        );
    }

    #[test]
    fn a_route_that_a_reload_dropped_leaves_the_exposition() {
        let metrics = Metrics::new(1);
        let (kept, dropped) = (metrics.route("/kept/*"), metrics.route("/dropped/*"));
        for route in [&kept, &dropped] {
            metrics.worker(0).request(Some(route), Decision::Public, Duration::ZERO);
        }
        drop(dropped);
        assert!(!metrics.exposition().contains("/dropped/*"));
        shows(&metrics, &[r#"stytch_gateway_requests_total{route="/kept/*",decision="public",code="ok"} 1"#]);
    }

    #[test]
    fn decisions_are_timed_by_source() {
        let metrics = Metrics::new(1);
        let worker = metrics.worker(0);
        worker.decision(Verification::None, Duration::from_secs(1));
        worker.decision(Verification::Cache, Duration::from_nanos(400));
        worker.decision(Verification::Stale, Duration::from_secs(2));
        worker.local_fallback(LocalFallback::Expired);
        worker.sessions_cached(7);
        shows(
            &metrics,
            &[
                r#"stytch_gateway_decision_duration_seconds_count{source="cache"} 1"#,
                r#"stytch_gateway_decision_duration_seconds_count{source="local"} 0"#,
                r#"stytch_gateway_decision_duration_seconds_count{source="stytch"} 1"#,
                "stytch_gateway_outage_grace_total 1",
                r#"stytch_gateway_local_fallback_total{reason="expired"} 1"#,
                "stytch_gateway_sessions_cached 7",
            ],
        );
    }

    #[test]
    fn connections_count_while_their_guards_live() {
        let metrics = Metrics::new(1);
        let worker = metrics.worker(0);
        let first = worker.connection();
        let _second = worker.connection();
        let socket = worker.upgrade();
        drop((first, socket));
        worker.connection_refused(ConnectionRefusal::MalformedHead);
        worker.tls_handshake(Handshake::Resumed);
        metrics.certificates_in_use([("/tls.crt".to_owned(), 1_800_000_000)].into());
        worker.panic_caught();
        shows(
            &metrics,
            &[
                "stytch_gateway_connections 1",
                "stytch_gateway_connections_accepted_total 2",
                "stytch_gateway_upgraded_connections 0",
                "stytch_gateway_upgrades_total 1",
                r#"stytch_gateway_connections_refused_total{reason="malformed_head"} 1"#,
                r#"stytch_gateway_tls_handshakes_total{kind="resumed"} 1"#,
                r#"stytch_gateway_tls_certificate_expires_seconds{certificate="/tls.crt"} 1800000000"#,
                "stytch_gateway_panics_total 1",
            ],
        );
    }

    #[test]
    fn upstreams_are_told_apart() {
        let metrics = Metrics::new(2);
        let counts = metrics.upstream("app");
        let upstream = metrics.worker(1).upstream(&counts);
        let mut connection = upstream.connection();
        let _busy = upstream.connection();
        connection.becomes(ConnectionState::Idle);
        upstream.request(UpstreamOutcome::Success);
        upstream.retry();
        shows(
            &metrics,
            &[
                r#"stytch_gateway_upstream_requests_total{upstream="app",outcome="2xx"} 1"#,
                r#"stytch_gateway_upstream_connections{upstream="app",state="active"} 1"#,
                r#"stytch_gateway_upstream_connections{upstream="app",state="idle"} 1"#,
                r#"stytch_gateway_upstream_retries_total{upstream="app"} 1"#,
            ],
        );
    }

    #[test]
    fn what_happens_rarely_is_there_too() {
        let metrics = Metrics::new(1);
        assert!(!metrics.exposition().contains("keys_age"));
        assert!(!metrics.exposition().contains("policy_age"));
        metrics.policy_in_use(Some(SystemTime::now() + Duration::from_secs(60)));
        metrics.keys_in_use(Keys { count: 2, fetched_at: SystemTime::now() + Duration::from_secs(60) });
        metrics.stytch_call("sessions/authenticate", CallOutcome::RateLimited, Duration::from_millis(80));
        metrics.keys_fetch(KeysFetch::Failed);
        metrics.config_reload(ConfigReload::Rejected);
        metrics.access("0123456789abcdef".to_owned());
        metrics.log_lost(Log::Access, LogLoss::QueueFull, 300);
        metrics.log_lost(Log::Audit, LogLoss::WriteFailed, 2);
        shows(
            &metrics,
            &[
                r#"stytch_gateway_stytch_calls_total{endpoint="sessions/authenticate",outcome="rate_limited"} 1"#,
                "stytch_gateway_stytch_call_duration_seconds_count 1",
                "stytch_gateway_keys_age_seconds 0.0",
                "stytch_gateway_policy_age_seconds 0.0",
                r#"stytch_gateway_keys_fetch_total{outcome="failed"} 1"#,
                r#"stytch_gateway_config_reloads_total{outcome="rejected"} 1"#,
                r#"stytch_gateway_access_info{hash="0123456789abcdef"} 1"#,
                r#"stytch_gateway_access_log_lost_lines_total{reason="queue_full"} 300"#,
                r#"stytch_gateway_audit_log_lost_lines_total{reason="write_failed"} 2"#,
                concat!(r#"stytch_gateway_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
            ],
        );
    }
}
