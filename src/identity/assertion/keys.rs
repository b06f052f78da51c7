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
    #[error("this is not a PEM file")]
    NotPem,
    #[error(
        "no private key is in it; make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )]
    Empty,
    #[error("a key in it is encrypted, and nobody is there to unlock it")]
    Encrypted,
    #[error("key {0} is not an EC key on the curve P-256")]
    NotP256(usize),
    #[error("key {0} stands there twice")]
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
        let id = thumbprint(&x, &y);
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

/// RFC 7638 section 3: the members that are required, in the order of their names.
fn thumbprint(x: &str, y: &str) -> String {
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaSigningAlgorithm};
    use base64::prelude::BASE64_STANDARD;
    use serde_json::Value;

    use super::*;

    fn generated(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
        EcdsaKeyPair::generate(algorithm).unwrap()
    }

    fn pem(kind: &str, der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
    }

    fn pkcs8(pair: &EcdsaKeyPair) -> String {
        pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref())
    }

    fn sec1(pair: &EcdsaKeyPair) -> String {
        let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
        pem("EC PRIVATE KEY", der.as_ref())
    }

    fn error(pem: &str) -> KeysError {
        Keys::from_pem(pem.as_bytes()).unwrap_err()
    }

    /// The key and the thumbprint of RFC 9449 section 4.1 and 6.1.
    #[test]
    fn a_key_is_called_by_its_thumbprint() {
        let id = thumbprint(
            "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        );
        assert_eq!(id, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }

    #[test]
    fn the_first_key_signs_and_all_are_published() {
        let [one, other] = [(); 2].map(|()| generated(&ECDSA_P256_SHA256_FIXED_SIGNING));
        // As `openssl ecparam -genkey` writes it, with something else before and between.
        let parameters = pem("EC PARAMETERS", b"\x06\x08*\x86H\xce=\x03\x01\x07");
        let text = format!("a remark\n{parameters}{}{parameters}{}", sec1(&one), pkcs8(&other));
        let keys = Keys::from_pem(text.as_bytes()).unwrap();
        let published: Value = serde_json::from_str(keys.published()).unwrap();
        let published = published["keys"].as_array().unwrap();
        assert_eq!(published.len(), 2);
        for ((key, pair), id) in published.iter().zip([&one, &other]).zip(keys.ids()) {
            let point = [&[4], &*decoded(&key["x"]), &*decoded(&key["y"])].concat();
            assert_eq!(point, pair.public_key().as_ref());
            assert_eq!(key["kid"], id.as_str());
            let members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"], "and nothing private");
        }
        let header: Value = serde_json::from_slice(&decoded(&keys.signing().header().into())).unwrap();
        assert_eq!(header, json!({ "alg": "ES256", "kid": keys.ids()[0], "typ": "JWT" }));
        assert!(!format!("{keys:?}").contains("EcdsaKeyPair"));
    }

    fn decoded(text: &Value) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
    }

    #[test]
    fn a_file_that_cannot_be_used_as_a_whole_is_not_used() {
        let good = pkcs8(&generated(&ECDSA_P256_SHA256_FIXED_SIGNING));
        let p384 = pkcs8(&generated(&ECDSA_P384_SHA384_FIXED_SIGNING));
        let half = &good[..good.len() / 2];
        for (text, expected) in [
            (String::new(), KeysError::Empty),
            ("not a key".to_owned(), KeysError::Empty),
            (pem("CERTIFICATE", b"\x30\x00"), KeysError::Empty),
            (half.to_owned(), KeysError::NotPem),
            (format!("{good}{half}"), KeysError::NotPem),
            (p384.clone(), KeysError::NotP256(1)),
            (format!("{good}{p384}"), KeysError::NotP256(2)),
            (format!("{good}{}", pem("PRIVATE KEY", b"junk")), KeysError::NotP256(2)),
            (format!("{good}{good}"), KeysError::Repeated(2)),
            (pem("ENCRYPTED PRIVATE KEY", b"junk"), KeysError::Encrypted),
        ] {
            assert_eq!(error(&text), expected, "{text}");
        }
    }
}
