//! gRPC's health protocol (`grpc.health.v1`): whether Envoy should send checks here.
//!
//! What holds: it says so of the whole server and of the one service, and nothing else than
//! `/readyz` on the admin listener does.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::readiness::Readiness;

const PREFIX: &str = "/grpc.health.v1.Health/";
/// The whole server, and the service.
const NAMES: [&str; 2] = ["", "envoy.service.auth.v3.Authorization"];
/// The name of a service is all that is asked with.
const LARGEST: usize = 4096;

/// Answers about readiness. Clones answer alike.
#[derive(Clone)]
pub struct Health(HealthServer<HealthService>);

impl Health {
    /// Goes on to tell what `readiness` says, from a task of the current runtime.
    pub async fn follow(readiness: Readiness) -> Self {
        let reporter = HealthReporter::new();
        tell(&reporter, readiness.is_ready()).await;
        let health = HealthService::from_health_reporter(reporter.clone());
        tokio::task::spawn_local(async move {
            readiness.follow(async |ready| tell(&reporter, ready).await).await;
        });
        Self(HealthServer::new(health).max_decoding_message_size(LARGEST))
    }

    /// Whether a call to this path is one of this service's.
    pub(super) fn serves(path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    pub(super) fn server(&self) -> HealthServer<HealthService> {
        self.0.clone()
    }
}

async fn tell(reporter: &HealthReporter, ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in NAMES {
        reporter.set_service_status(name, status).await;
    }
}
