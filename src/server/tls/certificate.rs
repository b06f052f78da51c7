//! Certificates: those shown to clients, and what clients' own say about them.
//!
//! What holds: a certificate and its key are one pair before anything else is made of them; what a
//! client's certificate says can be read in one way alone, whoever wrote it; no key is printed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use serde_json::{Value, json};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, GeneralName, X509Certificate, X509Name};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("it holds no certificate in PEM")]
    NoCertificate,
    #[error("it holds no private key in PEM, or more than a key")]
    NoKey,
    #[error("the private key is of a kind that is not supported; use ECDSA P-256 or P-384, RSA or Ed25519")]
    KeyKind,
    #[error("the key is not that of the certificate")]
    NoPair,
    #[error("the certificate cannot be read")]
    Unreadable,
    #[error("a certificate in it is no authority's that could be trusted")]
    NoAuthority,
}

/// A certificate to show to clients, with its key.
#[derive(Clone)]
pub struct Certificate {
    /// Where the chain was read from, which tells it from others.
    pub file: PathBuf,
    pub pair: Arc<CertifiedKey>,
    /// The DNS names it is for, in lower case; `*` may stand for the first label.
    pub names: Vec<String>,
    /// Unix seconds between which it is valid.
    pub valid: (i64, i64),
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads a chain, its own certificate first, and the key of that one.
    ///
    /// # Errors
    /// When either is not there, or they do not belong together.
    pub fn from_pem(file: PathBuf, chain: &[u8], key: &[u8]) -> Result<Self, Unusable> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Unusable::NoKey)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let (names, valid) = {
            let own = read(&chain[0])?;
            (dns_names(&own), validity(&own))
        };
        let pair = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            Error::InconsistentKeys(_) => Unusable::NoPair,
            Error::InvalidCertificate(_) => Unusable::Unreadable,
            _ => Unusable::KeyKind,
        })?;
        Ok(Self { file, pair: Arc::new(pair), names, valid })
    }

    /// Whether `other` is the same certificate, wherever it was read from.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.pair.cert == other.pair.cert
    }
}

/// Who vouches for clients.
#[derive(Clone)]
pub struct Authorities {
    pub roots: Arc<RootCertStore>,
    /// Of the certificates, in their order.
    pub digest: [u8; digest::SHA256_OUTPUT_LEN],
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("count", &self.roots.len()).finish_non_exhaustive()
    }
}

impl Authorities {
    /// Reads a bundle.
    ///
    /// # Errors
    /// When it holds none, or anything that is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Unusable> {
        let mut roots = RootCertStore::empty();
        let mut hash = digest::Context::new(&digest::SHA256);
        for certificate in certificates(pem)? {
            if !read(&certificate)?.is_ca() {
                return Err(Unusable::NoAuthority);
            }
            hash.update(&certificate);
            roots.add(certificate).map_err(|_| Unusable::NoAuthority)?;
        }
        let mut digest = [0; digest::SHA256_OUTPUT_LEN];
        digest.copy_from_slice(hash.finish().as_ref());
        Ok(Self { roots: Arc::new(roots), digest })
    }
}

/// What a client's certificate, which was verified, says of it.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// Under the names that templates know.
    pub says: Value,
    /// Unix seconds.
    pub valid: (i64, i64),
}

impl ClientCertificate {
    /// What `says` holds.
    pub const FIELDS: [&str; 7] =
        ["subject", "common_name", "dns_names", "uris", "email_addresses", "serial", "fingerprint"];

    /// # Errors
    /// When it cannot be read.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, Unusable> {
        let certificate = read(der)?;
        let subject = certificate.subject();
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let others = alternative.map(|names| names.value.general_names.clone()).unwrap_or_default();
        let of = |wanted: fn(&GeneralName<'_>) -> Option<String>| -> Vec<String> {
            others.iter().filter_map(wanted).collect()
        };
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        let says = json!({
            "subject": distinguished(subject),
            "common_name": common_name,
            "dns_names": of(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            }),
            "uris": of(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            }),
            "email_addresses": of(|name| match name {
                GeneralName::RFC822Name(address) => Some((*address).to_owned()),
                _ => None,
            }),
            "serial": hex(certificate.raw_serial()),
            "fingerprint": hex(digest::digest(&digest::SHA256, der).as_ref()),
        });
        Ok(Self { says, valid: validity(&certificate) })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|chain| !chain.is_empty()).ok_or(Unusable::NoCertificate)
}

fn read<'d>(der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, Unusable> {
    X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(|_| Unusable::Unreadable)
}

fn validity(certificate: &X509Certificate<'_>) -> (i64, i64) {
    let validity = certificate.validity();
    (validity.not_before.timestamp(), validity.not_after.timestamp())
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let of_dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(of_dns).collect()
}

/// A distinguished name as text (RFC 4514): the most specific part first, with every mark escaped
/// that could be taken for one between parts.
fn distinguished(name: &X509Name<'_>) -> String {
    let mut relative: Vec<String> =
        name.iter_rdn().map(|parts| parts.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    relative.reverse();
    relative.join(",")
}

fn attribute(part: &AttributeTypeAndValue<'_>) -> String {
    let id = part.attr_type().to_id_string();
    let name = match id.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        other => other,
    };
    match part.as_str() {
        Ok(text) => format!("{name}={}", escaped(text)),
        Err(_) => format!("{name}=#{}", hex(part.as_slice())),
    }
}

/// RFC 4514 section 2.4.
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (index, character) in text.chars().enumerate() {
        match character {
            '\0' => out.push_str("\\00"),
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => out.extend(['\\', character]),
            '#' if index == 0 => out.push_str("\\#"),
            ' ' if index == 0 || index == last => out.push_str("\\ "),
            _ => out.push(character),
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SanType};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["App.test".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    }

    fn pair(chain: &str, key: &str) -> Result<Certificate, Unusable> {
        Certificate::from_pem(PathBuf::from("x"), chain.as_bytes(), key.as_bytes())
    }

    #[test]
    fn a_certificate_and_its_key_are_one_pair() {
        let (certificate, key) = made(|_| {});
        let (_, other) = made(|_| {});
        let own = pair(&certificate.pem(), &key.serialize_pem()).unwrap();
        assert_eq!(own.names, ["app.test"]);
        assert!(own.valid.0 < own.valid.1);
        assert!(matches!(pair(&certificate.pem(), &other.serialize_pem()), Err(Unusable::NoPair)));
        assert!(matches!(pair("", &key.serialize_pem()), Err(Unusable::NoCertificate)));
        assert!(matches!(pair(&certificate.pem(), "x"), Err(Unusable::NoKey)));
        assert!(!format!("{own:?}").contains("PRIVATE"));
    }

    #[test]
    fn only_authorities_vouch() {
        let (leaf, _) = made(|_| {});
        let (root, _) = made(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        assert!(matches!(Authorities::from_pem(leaf.pem().as_bytes()), Err(Unusable::NoAuthority)));
        assert!(Authorities::from_pem(b"nothing").is_err());
        let one = Authorities::from_pem(root.pem().as_bytes()).unwrap();
        assert_eq!(one.digest, Authorities::from_pem(root.pem().as_bytes()).unwrap().digest);
    }

    #[test]
    fn a_subject_has_one_reading() {
        let (certificate, _) = made(|params| {
            params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
            params.distinguished_name.push(DnType::CommonName, " svc,CN=admin#\"");
            params.subject_alt_names.push(SanType::URI("spiffe://acme.test/svc".try_into().unwrap()));
        });
        let says = ClientCertificate::read(certificate.der()).unwrap().says;
        // The last name of the certificate comes first (RFC 4514 section 2.1).
        assert_eq!(says["subject"], "O=Acme\\, Inc.,CN=\\ svc\\,CN\\=admin#\\\"");
        assert_eq!(says["common_name"], " svc,CN=admin#\"");
        assert_eq!(says["uris"][0], "spiffe://acme.test/svc");
        assert_eq!(says["dns_names"][0], "App.test");
        assert_eq!(says["fingerprint"].as_str().unwrap().len(), 64);
        let fields: Vec<_> = says.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(ClientCertificate::FIELDS.iter().all(|field| fields.contains(field)));
    }
}
