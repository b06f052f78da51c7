//! The keys that sign assertions, from one PEM file: the first signs, and all are published.
//!
//! So keys are rolled without a gap: a new one goes to the end of the file, becomes the first when
//! every upstream has had time to see it, and the old one leaves when what it signed has expired.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, Signature};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

/// At least one key.
pub struct Keys {
    signing: Key,
    /// A JWK Set (RFC 7517 section 5) of every key's public half.
    published: String,
    ids: Vec<String>,
}

/// A P-256 key.
pub(super) struct Key {
    pair: EcdsaKeyPair,
    /// Its thumbprint (RFC 7638).
    id: String,
    /// The header of what it signs, encoded.
    header: String,
}

/// What is wrong with a file of keys, in words that repeat none of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("is not a PEM file")]
    NotPem,
    #[error(
        "holds no private key; make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )]
    Empty,
    #[error("holds an encrypted key, which nobody is there to unlock")]
    Encrypted,
    #[error("key {0} in it is not an EC key on the curve P-256")]
    NotP256(usize),
    #[error("key {0} in it stands there twice")]
    Repeated(usize),
}

impl Keys {
    /// Reads a PEM file with one or more private keys, PKCS #8 or SEC 1. Whatever else is in it is
    /// passed over.
    ///
    /// # Errors
    /// When one of the keys cannot be used; nothing is left out in silence.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeysError> {
        if pem.windows(9).any(|part| part == b"ENCRYPTED") {
            return Err(KeysError::Encrypted);
        }
        let mut keys: Vec<Key> = Vec::new();
        for (position, der) in PrivateKeyDer::pem_slice_iter(pem).enumerate() {
            let der = der.map_err(|_| KeysError::NotPem)?;
            let key = Key::read(&der).ok_or(KeysError::NotP256(position + 1))?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(KeysError::Repeated(position + 1));
            }
            keys.push(key);
        }
        let published = json!({ "keys": keys.iter().map(Key::published).collect::<Vec<_>>() }).to_string();
        let ids = keys.iter().map(|key| key.id.clone()).collect();
        let signing = keys.into_iter().next().ok_or(KeysError::Empty)?;
        Ok(Self { signing, published, ids })
    }

    pub(super) const fn signing(&self) -> &Key {
        &self.signing
    }

    /// The JWK Set, as it is served.
    #[must_use]
    pub fn published(&self) -> &str {
        &self.published
    }

    /// The key ids, that of the signing key first.
    #[must_use]
    pub fn ids(&self) -> &[String] {
        &self.ids
    }
}

impl Key {
    fn read(der: &PrivateKeyDer<'_>) -> Option<Self> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_der(algorithm, der.secret_der()).ok()?;
        let (x, y) = coordinates(&pair)?;
        // The members and the order that RFC 7638 section 3.2 asks for.
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let id = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()));
        let header = json!({ "alg": "ES256", "kid": id, "typ": "JWT" }).to_string();
        Some(Self { pair, id, header: BASE64_URL_SAFE_NO_PAD.encode(header) })
    }

    pub(super) fn header(&self) -> &str {
        &self.header
    }

    /// RFC 7518 section 3.4: both halves of the signature, 32 bytes each.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Signature> {
        self.pair.sign(&SystemRandom::new(), message).ok()
    }

    fn published(&self) -> serde_json::Value {
        let (x, y) = coordinates(&self.pair).unwrap_or_default();
        json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": self.id,
        })
    }
}

/// The public point, which aws-lc gives uncompressed: a 4, then both coordinates.
fn coordinates(pair: &EcdsaKeyPair) -> Option<(String, String)> {
    let (form, point) = pair.public_key().as_ref().split_first()?;
    let (x, y) = point.split_at_checked(32)?;
    let encode = |part| BASE64_URL_SAFE_NO_PAD.encode(part);
    (*form == 4 && y.len() == 32).then(|| (encode(x), encode(y)))
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("ids", &self.ids).finish_non_exhaustive()
    }
}
