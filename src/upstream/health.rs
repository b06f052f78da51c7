//! Asks the instances of an upstream whether they are well.
//!
//! What holds: a check is a request on a connection of its own, over the same way that requests
//! take; 2xx and 3xx pass, as for HAProxy and Kubernetes, and everything else fails.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::body::Outgoing;
use super::cluster::{Cluster, Instance};
use super::form::{Outbound, for_http2};
use super::http1::Connection;
use super::io::Socket;
use super::pool::OnThisThread;
use super::tls::Speak;
use crate::clock;
use crate::config::{Health, UpstreamHost};
use crate::fields::{Fields, Headers as _};

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("stytch-gateway/", env!("CARGO_PKG_VERSION"), " (health check)"));

/// Checks every instance at once and every `health.interval`, for as long as the cluster is in
/// force.
pub async fn watch(cluster: Weak<Cluster>) {
    while let Some(known) = cluster.upgrade().filter(|known| known.is_in_force()) {
        let Some(health) = known.settings.health.clone() else { return };
        let instances = known.instances();
        let checks = instances.iter().map(|instance| passes(&known, instance, &health));
        for (instance, passed) in instances.iter().zip(join_all(checks).await) {
            known.checked(instance, passed);
        }
        drop((instances, known));
        tokio::time::sleep(spread(health.interval)).await;
    }
}

/// A tenth more or less, so that gateways do not check in step.
fn spread(interval: Duration) -> Duration {
    interval.mul_f64(0.2f64.mul_add(clock::jitter(), 0.9))
}

async fn passes(cluster: &Arc<Cluster>, instance: &Instance, health: &Health) -> bool {
    match tokio::time::timeout(health.timeout, ask(cluster, instance, health)).await {
        Ok(Ok(status)) => status.is_success() || status.is_redirection(),
        Ok(Err(error)) => {
            tracing::debug!(instance = %instance.address, error, "a health check had no answer");
            false
        }
        Err(_) => false,
    }
}

async fn ask(
    cluster: &Arc<Cluster>,
    instance: &Instance,
    health: &Health,
) -> Result<StatusCode, Box<dyn std::error::Error>> {
    let settings = &cluster.settings;
    let speak = if settings.http2 { Speak::Http2 } else { Speak::Http1 };
    let stream = Socket::connect(instance, settings.tls.as_ref(), speak).await?;
    let (is_secure, is_http2) = (stream.is_secure(), stream.speaks_http2(speak));
    let host = match &settings.host {
        UpstreamHost::Fixed(host) => host,
        UpstreamHost::Preserve | UpstreamHost::Target => &instance.host,
    };
    let mut headers = Fields::default();
    headers.add(Cow::Owned(header::HOST), Cow::Borrowed(host));
    headers.add(Cow::Owned(header::USER_AGENT), Cow::Owned(AGENT));
    let mut request =
        Outbound { method: &Method::GET, target: Some(&health.path), headers, body: Outgoing::empty() };
    if is_http2 {
        let request = for_http2(&mut request, is_secure, &instance.host);
        let (mut sender, connection) = http2::handshake(OnThisThread, TokioIo::new(stream)).await?;
        let _driven = Driven(tokio::task::spawn_local(async move { drop(connection.await) }));
        Ok(sender.send_request(request).await?.status())
    } else {
        let (mut connection, mut request) = (Connection::new(stream, None), Some(request));
        Ok(poll_fn(|cx| connection.poll_exchange(cx, &mut request)).await?.status())
    }
}

/// A connection that ends with its check.
struct Driven(JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}
