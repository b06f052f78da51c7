//! https: what clients are shown, what is asked of them, and what is known once they have shaken
//! hands.
//!
//! What holds: one configuration of TLS for every connection of a listener, whatever name a client
//! asks for, so that no name has weaker terms; a session is resumed only under the terms it began
//! under; nothing is taken before the handshake has ended (no early data); a handshake ends within
//! `timeouts.header`, by the sweep.

use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use rustls::crypto::aws_lc_rs;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::certificate::{Certificate, ClientCertificate};
use super::record::Record;
use crate::access::host;
use crate::clock;
use crate::config::{Server, ServerTls, TlsVersion};

pub mod certificate;

const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";
/// Bytes that wait, encrypted, for a client which does not read.
const UNSENT: usize = 32 << 10;

/// Why there are no terms.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("server.tls cannot be served")]
    Terms(#[from] rustls::Error),
    #[error("server.tls.client_ca cannot be asked for")]
    ClientCa(#[from] rustls::server::VerifierBuilderError),
    #[error("the certificate in {} has expired already", .0.display())]
    Expired(PathBuf),
}

/// On what terms clients speak TLS, for as long as one configuration is in force.
#[derive(Debug)]
pub struct Terms(Arc<ServerConfig>);

/// What is known of a connection from its handshake.
#[derive(Debug)]
pub struct Secured {
    /// The name the client asked for (SNI), in normal form.
    pub server_name: Option<String>,
    /// The client's own certificate, where `client_ca` asks for one.
    pub client: Option<ClientCertificate>,
    pub resumed: bool,
    pub http2: bool,
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
    /// By the sweep, which counts what is slow, or by a drain.
    #[error("the connection was told to end")]
    Ended,
    #[error("the client's certificate cannot be read or is no longer valid")]
    Certificate,
}

/// What is kept from one configuration to the next, so that clients can resume their sessions.
#[derive(Default)]
pub struct Tickets {
    kept: Option<(Binding, Arc<Ticketer>)>,
}

/// What a ticket was given under. Resumption repeats no check of the client's certificate, so a
/// ticket is worth nothing where that would come out otherwise (ATTACKS.md M05).
type Binding = (Option<[u8; 32]>, TlsVersion);

impl Tickets {
    fn under(&mut self, tls: &ServerTls) -> Arc<Ticketer> {
        let binding = (tls.client_ca.as_ref().map(|authorities| authorities.digest), tls.min_version);
        match &self.kept {
            Some((known, tickets)) if *known == binding => Arc::clone(tickets),
            _ => {
                let tickets = Ticketer::start();
                self.kept = Some((binding, Arc::clone(&tickets)));
                tickets
            }
        }
    }
}

/// Seals sessions into tickets, with one set of keys for all workers. The keys are made on a thread
/// beside the start, which would otherwise wait some 30 ms for the first randomness; until they are
/// there, clients get no tickets.
#[derive(Debug, Default)]
struct Ticketer(OnceLock<Arc<dyn ProducesTickets>>);

impl Ticketer {
    fn start() -> Arc<Self> {
        let tickets = Arc::new(Self::default());
        let filled = Arc::clone(&tickets);
        let make = move || match aws_lc_rs::Ticketer::new() {
            Ok(made) => drop(filled.0.set(made)),
            Err(error) => tracing::error!(%error, "TLS sessions cannot be resumed"),
        };
        if let Err(error) = std::thread::Builder::new().name("tickets".to_owned()).spawn(make) {
            tracing::error!(%error, "TLS sessions cannot be resumed");
        }
        tickets
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        self.0.get().is_some()
    }

    fn lifetime(&self) -> u32 {
        self.0.get().map_or(0, |made| made.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.get()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.get()?.decrypt(cipher)
    }
}

/// Whether certificates may take the place of others at `now`, in Unix seconds: one that has
/// expired already is somebody's mistake, and the one before it may still be good.
///
/// # Errors
/// Which one is not taken.
pub fn check_renewal(old: &Server, new: &Server, now: i64) -> Result<(), Unusable> {
    let shown =
        |server: &Server| server.tls.iter().flat_map(|tls| tls.certificates.clone()).collect::<Vec<_>>();
    let known = shown(old);
    let expired = |one: &Certificate| one.valid.1 < now && !known.iter().any(|other| other.is(one));
    shown(new).into_iter().find(expired).map_or(Ok(()), |one| Err(Unusable::Expired(one.file)))
}

impl Terms {
    /// None where the configuration has no https.
    ///
    /// # Errors
    /// When rustls does not take what the configuration holds.
    pub fn new(server: &Server, tickets: &mut Tickets) -> Result<Option<Arc<Self>>, Unusable> {
        let Some(tls) = &server.tls else { return Ok(None) };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[&SupportedProtocolVersion] = match tls.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
        let builder = match &tls.client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let roots = Arc::clone(&authorities.roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Certificates::new(&tls.certificates)));
        config.alpn_protocols =
            if server.http2 { vec![HTTP_2.to_vec(), HTTP_1.to_vec()] } else { vec![HTTP_1.to_vec()] };
        config.ticketer = tickets.under(tls);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Some(Arc::new(Self(Arc::new(config)))))
    }

    /// Shakes hands with a client, until the record's connection is told to end.
    ///
    /// # Errors
    /// See [`Failure`]; the client has been told as far as TLS tells.
    pub async fn shake_hands<S>(&self, stream: S, record: &Record) -> Result<(TlsStream<S>, Secured), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut accepting = pin!(TlsAcceptor::from(Arc::clone(&self.0)).accept(stream));
        let mut stream = poll_fn(|cx| {
            record.polled_by(cx);
            if record.end().is_some() {
                return Poll::Ready(Err(Failure::Ended));
            }
            accepting.as_mut().poll(cx).map_err(Failure::Handshake)
        })
        .await?;
        let (_, session) = stream.get_mut();
        session.set_buffer_limit(Some(UNSENT));
        let client = session.peer_certificates().and_then(<[_]>::first);
        let client = client.map(ClientCertificate::read).transpose().map_err(|_| Failure::Certificate)?;
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let now = clock::unix_millis() / 1000;
        // A full handshake has looked at the time already, a resumed one has not.
        if client.as_ref().is_some_and(|client| !(client.valid.0..=client.valid.1).contains(&now)) {
            return Err(Failure::Certificate);
        }
        let name = session.server_name().and_then(|name| host::parse(name.as_bytes()).ok());
        let secured = Secured {
            server_name: name.map(|name| name.host.into_owned()),
            client,
            resumed,
            http2: session.alpn_protocol() == Some(HTTP_2),
        };
        Ok((stream, secured))
    }
}

/// Finds the certificate for the name a client asks for: one for exactly that name, else one for
/// any name beside it, else the first, also for clients that name none.
#[derive(Debug)]
struct Certificates {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    fn new(certificates: &[Certificate]) -> Self {
        let mut by_name = HashMap::new();
        for certificate in certificates {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_insert_with(|| Arc::clone(&certificate.pair));
            }
        }
        Self { by_name, first: certificates.first().map(|certificate| Arc::clone(&certificate.pair)) }
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let any = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(&name).or_else(any)
        });
        named.or(self.first.as_ref()).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        Certificate::from_pem(PathBuf::from("x"), chain.as_bytes(), key.as_bytes()).unwrap()
    }

    #[test]
    fn the_nearest_certificate_is_shown() {
        let all = [certificate(&["first.test"]), certificate(&["*.app.test", "b.app.test"])];
        let (first, wild) = (all[0].pair.clone(), all[1].pair.clone());
        let exact = certificate(&["a.app.test"]);
        let found = Certificates::new(&[all[0].clone(), all[1].clone(), exact.clone()]);
        for (name, expected) in [
            (Some("first.test"), &first),
            (Some("A.App.test"), &exact.pair),
            (Some("b.app.test"), &wild),
            (Some("c.app.test."), &wild),
            (Some("c.d.app.test"), &first),
            (Some("app.test"), &first),
            (Some("other.test"), &first),
            (None, &first),
        ] {
            assert!(Arc::ptr_eq(&found.find(name).unwrap(), expected), "{name:?}");
        }
    }
}
