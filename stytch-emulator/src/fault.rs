//! Trouble made to order: answers that are wrong, late or missing.

use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use crate::error::ApiError;

/// What happens to API calls whose path begins with `path`.
///
/// The first fault that matches counts. With a status or a body the call is answered so and goes no
/// further; with a latency alone it is answered as usual, only later.
///
/// ```
/// # use stytch_emulator::Fault;
/// Fault { status: Some(503), times: Some(2), ..Fault::on("/v1/b2b/sessions/") };
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The beginning of the paths it applies to.
    pub path: String,
    /// Answer with this status: 200 if only a body is given.
    pub status: Option<u16>,
    /// Answer with this: a string as it is, anything else as JSON. A Stytch error if absent.
    pub body: Option<Value>,
    /// Wait this long first.
    #[serde(default)]
    pub latency_ms: u64,
    /// Close the connection instead of answering.
    #[serde(default)]
    pub drop: bool,
    /// How many calls it applies to; to all if absent.
    pub times: Option<u32>,
}

impl Fault {
    /// A fault that does nothing yet, for paths that begin with `path`.
    pub fn on(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    pub(crate) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }

    /// What to answer instead of the truth; `None` if the fault is mere slowness.
    pub(crate) fn response(&self) -> Option<Response> {
        if self.status.is_none() && self.body.is_none() {
            return None;
        }
        let status =
            StatusCode::from_u16(self.status.unwrap_or(200)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Some(match &self.body {
            None => (status, Json(ApiError::body_for(status))).into_response(),
            Some(Value::String(text)) => {
                (status, [(header::CONTENT_TYPE, "text/plain")], text.clone()).into_response()
            }
            Some(body) => (status, Json(body)).into_response(),
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn replace(&mut self, faults: Vec<Fault>) {
        self.0 = faults;
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// The fault that strikes a call to `path`, counted as used.
    pub(crate) fn strike(&mut self, path: &str) -> Option<Fault> {
        self.0.retain(|fault| fault.times != Some(0));
        let fault = self.0.iter_mut().find(|fault| path.starts_with(&fault.path))?;
        fault.times = fault.times.map(|times| times - 1);
        Some(fault.clone())
    }
}
