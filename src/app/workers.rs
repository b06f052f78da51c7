//! The threads that serve, each with a runtime and sockets of its own.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::runtime;
use crate::clock::Ticks;
use crate::ext_authz::Health;
use crate::metrics::Metrics;
use crate::proxy::ids::Via;
use crate::readiness::Readiness;
use crate::server::gauge::Gauge;
use crate::server::listener::Bound;
use crate::server::worker::{self, Orders, Phase, Protocol, Transport};
use crate::telemetry::{access_log, audit_log};

/// What readiness waits for until requests are served.
pub(super) const PART: &str = "workers";

/// What a worker's thread is started with.
pub(super) struct Starting {
    pub(super) sockets: Vec<(Bound, Transport)>,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) access_log: access_log::Lines,
    pub(super) audit_log: audit_log::Lines,
    pub(super) metrics: Arc<Metrics>,
    pub(super) index: usize,
    pub(super) via: Arc<Via>,
    pub(super) gauge: Arc<Gauge>,
    pub(super) park_after: Ticks,
    pub(super) readiness: Readiness,
    /// Whether another gateway listens at the same addresses until this one is ready.
    pub(super) takes_over: bool,
    pub(super) answers_envoy: bool,
}

/// How long the other gateway is left all connections while this one is not ready: then it listens
/// all the same, for there may be no other.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(10);

/// Starts a thread for each worker, and one more for Envoy.
pub(super) fn start(
    sockets: Vec<Vec<(Bound, Transport)>>,
    ext_authz: Option<Bound>,
    starting: impl Fn(usize, Vec<(Bound, Transport)>) -> Starting,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut workers = Vec::new();
    for (index, sockets) in sockets.into_iter().enumerate() {
        workers.push(start_one(format!("worker-{index}"), starting(index, sockets))?);
    }
    if let Some(socket) = ext_authz {
        let parts = starting(workers.len(), vec![(socket, Transport::Plain)]);
        // Clients of the proxy cannot take Envoy's places.
        let parts = Starting { gauge: Arc::default(), answers_envoy: true, ..parts };
        workers.push(start_one("ext-authz".to_owned(), parts)?);
    }
    Ok(workers)
}

/// Waits until this gateway can answer, or does not wait any longer, or is told to end.
async fn its_turn(readiness: &Readiness, mut orders: watch::Receiver<Orders>) {
    tokio::select! {
        () = readiness.ready_but(PART) => {}
        () = tokio::time::sleep(TAKES_OVER_WITHIN) => {
            tracing::warn!("not ready, and listening all the same: there may be no other gateway");
        }
        _ended = orders.wait_for(|orders| orders.phase != Phase::Serving) => {}
    }
}

fn start_one(name: String, parts: Starting) -> io::Result<JoinHandle<()>> {
    let starting = parts.readiness.wait_for(PART);
    std::thread::Builder::new().name(name).spawn(move || {
        let served = runtime().and_then(|runtime| {
            runtime.block_on(async move {
                if parts.takes_over {
                    its_turn(&parts.readiness, parts.orders.clone()).await;
                }
                let drive = |(socket, transport): (Bound, _)| Ok((socket.drive()?, transport));
                let listeners: io::Result<_> = parts.sockets.into_iter().map(drive).collect();
                starting.done();
                let protocol = match parts.answers_envoy {
                    true => Protocol::ExtAuthz(Health::follow(parts.readiness).await),
                    false => Protocol::Http,
                };
                worker::run(worker::Parts {
                    protocol,
                    listeners: listeners?,
                    orders: parts.orders,
                    lines: parts.access_log,
                    audit: parts.audit_log,
                    metrics: parts.metrics.worker(parts.index),
                    all_metrics: parts.metrics,
                    via: parts.via,
                    gauge: parts.gauge,
                    park_after: parts.park_after,
                })
                .await;
                Ok(())
            })
        });
        if let Err(error) = served {
            tracing::error!(%error, "a worker could not serve");
        }
    })
}
