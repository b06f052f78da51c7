//! The threads that serve, each with a runtime and sockets of its own.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::runtime;
use crate::clock::Ticks;
use crate::ext_authz::Health;
use crate::metrics::Metrics;
use crate::proxy::ids::Via;
use crate::readiness::Readiness;
use crate::server::gauge::Gauge;
use crate::server::listener::Bound;
use crate::server::worker::{self, Orders, Protocol, Transport};
use crate::telemetry::{access_log, audit_log};

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
    /// For the worker that answers Envoy, which asks about it.
    pub(super) readiness: Option<Readiness>,
}

/// Starts a thread for each worker, and one more for Envoy.
pub(super) fn start(
    sockets: Vec<Vec<(Bound, Transport)>>,
    ext_authz: Option<Bound>,
    readiness: &Readiness,
    starting: impl Fn(usize, Vec<(Bound, Transport)>) -> Starting,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut workers = Vec::new();
    for (index, sockets) in sockets.into_iter().enumerate() {
        workers.push(start_one(format!("worker-{index}"), starting(index, sockets))?);
    }
    if let Some(socket) = ext_authz {
        let parts = starting(workers.len(), vec![(socket, Transport::Plain)]);
        // Clients of the proxy cannot take Envoy's places.
        let parts = Starting { gauge: Arc::default(), readiness: Some(readiness.clone()), ..parts };
        workers.push(start_one("ext-authz".to_owned(), parts)?);
    }
    Ok(workers)
}

fn start_one(name: String, parts: Starting) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(move || {
        let served = runtime().and_then(|runtime| {
            runtime.block_on(async move {
                let drive = |(socket, transport): (Bound, _)| Ok((socket.drive()?, transport));
                let listeners: io::Result<_> = parts.sockets.into_iter().map(drive).collect();
                let protocol = match parts.readiness {
                    Some(readiness) => Protocol::ExtAuthz(Health::follow(readiness).await),
                    None => Protocol::Http,
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
