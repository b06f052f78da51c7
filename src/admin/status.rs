//! What `/status` and the other pages tell: what runs since when, and nothing secret.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::Vertical;
use crate::metrics::Metrics;
use crate::readiness::Readiness;

/// The state of this process, as the admin listener shows it.
#[derive(Debug)]
pub struct Status {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    started: Instant,
    current: Mutex<Option<Current>>,
}

/// The configuration in force.
#[derive(Debug)]
struct Current {
    loaded: Loaded,
    /// 1 at the start, one more with each reload.
    generation: u64,
    since: SystemTime,
}

/// What there is to tell about a configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub project_id: String,
    pub vertical: Vertical,
    /// The addresses really listened on, ports filled in.
    pub listeners: Vec<String>,
    pub routes: usize,
    /// See [`crate::config::access_hash`].
    pub access: String,
}

impl Status {
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, readiness: Readiness) -> Self {
        Self { metrics, readiness, started: Instant::now(), current: Mutex::default() }
    }

    /// From here on this configuration is in force.
    pub fn loaded(&self, loaded: Loaded) {
        self.metrics.access(loaded.access.clone());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = current.as_ref().map_or(0, |current| current.generation) + 1;
        *current = Some(Current { loaded, generation, since: SystemTime::now() });
    }

    #[must_use]
    pub const fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) fn to_json(&self) -> Value {
        let pending = self.readiness.pending();
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "ready": pending.is_empty(),
            "pending": pending,
            "config": current.as_ref().map(Current::to_json),
            "keys": self.metrics.keys().map(|keys| json!({
                "count": keys.count,
                "age_seconds": keys.age().as_secs(),
            })),
            "policy": self.metrics.policy_age().map(|age| json!({ "age_seconds": age.as_secs() })),
            "sessions_cached": self.metrics.sessions_cached(),
        })
    }
}

impl Current {
    fn to_json(&self) -> Value {
        json!({
            "generation": self.generation,
            "loaded_at": Timestamp::try_from(self.since).map(|since| since.to_string()).ok(),
            "project_id": self.loaded.project_id,
            "vertical": match self.loaded.vertical {
                Vertical::B2b => "b2b",
                Vertical::Consumer => "consumer",
            },
            "listeners": self.loaded.listeners,
            "routes": self.loaded.routes,
            "access": self.loaded.access,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_a_new_generation() {
        let status = Status::new(Metrics::new(1), Readiness::new());
        assert_eq!(status.to_json()["config"], Value::Null);
        for routes in 1..=2 {
            status.loaded(Loaded {
                project_id: "project-live-1".to_owned(),
                vertical: Vertical::Consumer,
                listeners: Vec::new(),
                routes,
                access: "0123456789abcdef".to_owned(),
            });
        }
        let config = &status.to_json()["config"];
        assert_eq!((&config["generation"], &config["routes"]), (&json!(2), &json!(2)));
        assert!(config["loaded_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    }
}
