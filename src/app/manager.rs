//! Tells systemd how far the gateway is (`sd_notify(3)`): ready, reloading, stopping. Without a service
//! manager that wants to know, nothing is told.

use sd_notify::NotifyState;

pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Lasts as long as a reload, whatever comes of it.
pub(super) struct Reloading(());

impl Reloading {
    pub(super) fn begin() -> Self {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
        Self(())
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        ready();
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
