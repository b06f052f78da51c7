//! Certificates made for a test, and clients that speak TLS with them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Connection;
use crate::world::World;

pub(crate) type Secure = TlsStream<TcpStream>;

/// An authority with a folder for what it issues.
pub(crate) struct Pki {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// What a client says and takes in its handshake.
pub(crate) struct Client {
    config: ClientConfig,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "An authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let pki = Self { directory, authority };
        std::fs::write(pki.path("ca.pem"), pki.authority.pem()).unwrap();
        pki
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Writes `file.crt` and `file.key`.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) {
        self.issue_with(file, names, |_| {});
    }

    pub(crate) fn issue_with(&self, file: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path(&format!("{file}.crt")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// A certificate for a client, with a subject and a URI of its own.
    pub(crate) fn issue_client(&self, file: &str, common_name: &str, uri: &str) {
        self.issue_with(file, &[], |params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "Acme");
            params.distinguished_name.push(DnType::CommonName, common_name);
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        });
    }

    /// `[server.tls]` with these certificates, the first of them by itself, and `more` lines.
    pub(crate) fn settings(&self, files: &[&str], more: &str) -> String {
        let directory = self.directory.path().display();
        let pair =
            |file: &&str| format!("cert = \"{directory}/{file}.crt\", key = \"{directory}/{file}.key\"");
        let others: Vec<String> = files[1..].iter().map(|file| format!("{{ {} }}", pair(file))).collect();
        format!(
            "[server.tls]\nlisten = \"127.0.0.1:0\"\n{}\ncertificates = [{}]\n{}\n",
            pair(&files[0]).replace(", ", "\n"),
            others.join(", "),
            more.replace("$PKI", &directory.to_string())
        )
    }

    /// A world with https for `app.test` and `other.test`, each with a certificate of its own.
    pub(crate) async fn world(&self, more: &str) -> World {
        self.issue("app", &["app.test", "*.app.test"]);
        self.issue("other", &["other.test"]);
        World::with(&self.settings(&["app", "other"], more)).await
    }

    pub(crate) fn certificates(&self, file: &str) -> Vec<CertificateDer<'static>> {
        let pem = std::fs::read(self.path(file)).unwrap();
        CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect()
    }

    /// A client that trusts the authority, with protocols to choose from.
    pub(crate) fn client(&self, protocols: &[&str]) -> Client {
        self.client_of(None, protocols)
    }

    /// One that shows a certificate of its own.
    pub(crate) fn client_with(&self, file: &str, protocols: &[&str]) -> Client {
        self.client_of(Some(file), protocols)
    }

    /// One that speaks no other version.
    pub(crate) fn client_of_version(&self, version: &'static SupportedProtocolVersion) -> Client {
        self.client_speaking(&[version], None, &[])
    }

    fn client_of(&self, file: Option<&str>, protocols: &[&str]) -> Client {
        self.client_speaking(&[&TLS13, &TLS12], file, protocols)
    }

    fn client_speaking(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        file: Option<&str>,
        protocols: &[&str],
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match file {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let key = std::fs::read(self.path(&format!("{file}.key"))).unwrap();
                let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
                builder.with_client_auth_cert(self.certificates(&format!("{file}.crt")), key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Client { config }
    }
}

impl Client {
    /// Shakes hands, asking for a name.
    pub(crate) async fn secure(&self, address: SocketAddr, name: &str) -> io::Result<Secure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        self.secure_over(stream, name).await
    }

    pub(crate) async fn secure_over<S>(&self, stream: S, name: &str) -> io::Result<TlsStream<S>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(self.config.clone())).connect(name, stream).await
    }

    /// A connection of HTTP/1.1 to a world, for this host.
    pub(crate) async fn connect(&self, world: &World, name: &str) -> Connection {
        Connection::over(self.secure(world.tls_address(), name).await.unwrap())
    }

    /// Whether a request gets any answer: in TLS 1.3 a client learns only afterwards that its
    /// certificate was missing.
    pub(crate) async fn is_served(&self, world: &World, name: &str) -> bool {
        let Ok(stream) = self.secure(world.tls_address(), name).await else { return false };
        let mut connection = Connection::over(stream);
        connection.send(format!("GET /public/x HTTP/1.1\r\nHost: {name}\r\n\r\n")).await;
        connection.response().await.is_some()
    }
}
