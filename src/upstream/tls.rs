//! TLS to upstreams: whom to trust, what to present, what to speak.
//!
//! What holds: the certificate of an upstream is verified for its name on every connection, and
//! nothing switches that off.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// Why no TLS can be spoken with what is in the files.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("no certificate could be read: {0}")]
    Certificates(#[source] rustls::pki_types::pem::Error),
    #[error("no certificate is in it")]
    NoCertificate,
    #[error("a certificate in it is none that can be trusted: {0}")]
    Authority(#[source] rustls::Error),
    #[error("no private key could be read: {0}")]
    Key(#[source] rustls::pki_types::pem::Error),
    #[error("certificate and key cannot be used: {0}")]
    Identity(#[source] rustls::Error),
    #[error("TLS is not to be had: {0}")]
    Tls(#[source] rustls::Error),
}

/// Whether a connection may speak HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speak {
    Http1,
    /// Where the upstream agrees.
    Http2,
}

/// What an upstream's connections share, tickets of earlier ones included.
#[derive(Debug, Clone)]
pub struct Tls {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    /// None: the name in the URL.
    server_name: Option<ServerName<'static>>,
}

/// A certificate with its chain, and its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Both as PEM.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Unusable> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(Unusable::Key)?;
        Ok(Self { chain: certificates(chain)?, key })
    }
}

/// The authorities of the web.
#[must_use]
pub fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// The authorities of a PEM file, and no others.
///
/// # Errors
/// See [`Unusable`].
pub fn roots(pem: &[u8]) -> Result<RootCertStore, Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(Unusable::Authority)?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(Unusable::Certificates)?;
    if certificates.is_empty() { Err(Unusable::NoCertificate) } else { Ok(certificates) }
}

impl Tls {
    /// # Errors
    /// See [`Unusable`].
    pub fn new(
        roots: RootCertStore,
        identity: Option<Identity>,
        server_name: Option<ServerName<'static>>,
    ) -> Result<Self, Unusable> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Unusable::Tls)?
            .with_root_certificates(roots);
        let mut http1 = match identity {
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(chain, key).map_err(Unusable::Identity)?
            }
            None => builder.with_no_client_auth(),
        };
        let mut http2 = http1.clone();
        http1.alpn_protocols = vec![HTTP1.to_vec()];
        http2.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(Self { http1: Arc::new(http1), http2: Arc::new(http2), server_name })
    }

    /// Shakes hands with the upstream of that host, which is a name or an address.
    ///
    /// # Errors
    /// When it does not speak TLS, or is not who it should be.
    pub async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        speak: Speak,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        let config = match speak {
            Speak::Http1 => &self.http1,
            Speak::Http2 => &self.http2,
        };
        TlsConnector::from(Arc::clone(config)).connect(name, stream).await
    }
}

/// Whether both ends agreed on HTTP/2.
#[must_use]
pub fn agreed_on_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}
