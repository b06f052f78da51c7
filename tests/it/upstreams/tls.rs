//! Upstreams reached over https: who they must be, and who the gateway says it is.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::failed;
use crate::echo::Echo;
use crate::world::{World, until};

/// An authority of a test's own.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for that name, and its key, as PEM.
    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    pub(super) fn server(&self, name: &str, protocols: &[&str], clients: Option<&Self>) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue(name, ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let mut config =
            builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub(super) fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn settings(upstream: &Echo, tls: &str) -> String {
    let url = format!("https://localhost:{}", upstream.address().port());
    format!("[upstreams.app]\nurl = \"{url}\"\n{tls}")
}

#[tokio::test]
async fn an_upstream_must_be_who_its_url_says() {
    let directory = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca = write(directory.path(), "ca.pem", &authority.pem());
    let strange = write(directory.path(), "strange.pem", &stranger.pem());
    let right = Echo::start_with(authority.server("localhost", &[], None)).await;
    let wrong = Echo::start_with(authority.server("app.internal", &[], None)).await;
    let world = World::start().await;
    for (upstream, tls) in [
        (&right, String::new()),
        (&right, format!("tls.ca = \"{strange}\"")),
        (&wrong, format!("tls.ca = \"{ca}\"")),
        (&right, format!("tls.ca = \"{ca}\"\ntls.server_name = \"app.internal\"")),
    ] {
        world.reload(&settings(upstream, &tls)).await.unwrap();
        failed(&world, "/public/x", 502, "upstream_unreachable").await;
        assert_eq!(upstream.traffic(), (0, 0), "{tls}");
    }
    for (upstream, tls) in [
        (&right, format!("tls.ca = \"{ca}\"")),
        (&wrong, format!("tls.ca = \"{ca}\"\ntls.server_name = \"app.internal\"")),
    ] {
        world.reload(&settings(upstream, &tls)).await.unwrap();
        for _ in 0..3 {
            let text = world.get("/public/x").expect(200).await.text();
            assert!(text.starts_with("GET /public/x HTTP/1.1\r\nhost: app.test\r\n"), "{text}");
        }
        assert_eq!(upstream.traffic(), (1, 3));
    }
    world
        .reload(&format!("{}\nhost = \"upstream\"", settings(&right, &format!("tls.ca = \"{ca}\""))))
        .await
        .unwrap();
    world.get("/public/x").expect(200).await;
    assert_eq!(right.last().header("host").unwrap(), format!("localhost:{}", right.address().port()));
}

#[tokio::test]
async fn plain_http_is_not_taken_for_tls() {
    let world = World::start().await;
    world.reload(&settings(&world.upstream, "")).await.unwrap();
    failed(&world, "/public/x", 502, "upstream_unreachable").await;
}

#[tokio::test]
async fn the_gateway_presents_its_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let ca = write(directory.path(), "ca.pem", &authority.pem());
    let upstream = Echo::start_with(authority.server("localhost", &[], Some(&clients))).await;
    let world = World::start().await;
    world.reload(&settings(&upstream, &format!("tls.ca = \"{ca}\""))).await.unwrap();
    failed(&world, "/public/x", 502, "upstream_unreachable").await;
    for (issuer, accepted) in [(&strangers, false), (&clients, true)] {
        let (certificate, key) = issuer.issue("gateway", ExtendedKeyUsagePurpose::ClientAuth);
        let cert = write(directory.path(), "gateway.crt", &certificate);
        let key = write(directory.path(), "gateway.key", &key);
        let tls = format!("tls = {{ ca = \"{ca}\", cert = \"{cert}\", key = \"{key}\" }}");
        world.reload(&settings(&upstream, &tls)).await.unwrap();
        let response = world.get("/public/x").send().await;
        assert_eq!(response.status, if accepted { 200 } else { 502 });
    }
    assert_eq!(upstream.traffic(), (1, 1));
    let (certificate, _) = clients.issue("gateway", ExtendedKeyUsagePurpose::ClientAuth);
    let cert = write(directory.path(), "other.crt", &certificate);
    let key = directory.path().join("gateway.key").display().to_string();
    let tls = format!("tls = {{ ca = \"{ca}\", cert = \"{cert}\", key = \"{key}\" }}");
    let error = world.reload(&settings(&upstream, &tls)).await.unwrap_err().to_string();
    assert!(error.contains("upstreams.app.tls.cert: certificate and key cannot be used"), "{error}");
}

#[tokio::test]
async fn health_is_checked_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = write(directory.path(), "ca.pem", &authority.pem());
    let upstream = Echo::start_with(authority.server("localhost", &[], None)).await;
    let world = World::start().await;
    let health = "health = { path = \"/healthz?a=b\", interval = \"50ms\", timeout = \"5s\" }";
    world.reload(&settings(&upstream, &format!("tls.ca = \"{ca}\"\n{health}"))).await.unwrap();
    upstream.wait_for(2).await;
    assert_eq!(upstream.last().target(), "/healthz?a=b");
    world.get("/public/x").expect(200).await;
    world.reload(&settings(&upstream, health)).await.unwrap();
    until("it fails", async || {
        world.get("/public/x").send().await.code().as_deref() == Some("no_healthy_upstream")
    })
    .await;
}

/// Health checks, several requests, and a client's own host.
#[tokio::test]
async fn a_socket_file_is_an_upstream_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let upstream = Echo::start_at(path.clone()).await;
    let settings = format!(
        "[upstreams.app]\nurl = \"unix:{}\"\nhealth = {{ path = \"/healthz\", interval = \"1h\" }}",
        path.display()
    );
    let world = World::with(&settings).await;
    upstream.wait_for(1).await;
    assert_eq!(upstream.last().header("host").unwrap(), "localhost");
    for _ in 0..3 {
        world.get("/public/x").expect(200).await;
        assert_eq!(upstream.last().header("host").unwrap(), "app.test");
    }
    assert_eq!(upstream.traffic(), (2, 4));
}
