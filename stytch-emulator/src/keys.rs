//! The project's signing keys, made at start and never written anywhere.
//!
//! There is always a current key. The one before it stays in the key set, as after a rotation at
//! Stytch, until a rotation retires it at once. A foreign key, in no key set, signs forgeries.

mod certificate;

use std::sync::OnceLock;
use std::thread;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ids;

/// Which key signs a token of one's own making.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// The key that signs sessions now.
    #[default]
    Current,
    /// The key before it, which the key set still lists unless a rotation retired it.
    Retired,
    /// A key that is in no key set: what a forger would have.
    Foreign,
}

#[derive(Debug)]
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pair: RsaKeyPair,
    certificate: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct KeyRing {
    current: SigningKey,
    retired: SigningKey,
    /// Made when first asked for: most emulators never forge anything.
    foreign: OnceLock<SigningKey>,
    /// Whether the key set still lists the retired key.
    retired_is_listed: bool,
}

impl KeyRing {
    /// Makes the two listed keys side by side: each takes a noticeable part of a second.
    pub(crate) fn generate() -> Result<Self, Unspecified> {
        thread::scope(|scope| {
            let other = scope.spawn(SigningKey::generate);
            let current = SigningKey::generate()?;
            let retired = other.join().unwrap_or(Err(Unspecified))?;
            Ok(Self { current, retired, foreign: OnceLock::new(), retired_is_listed: true })
        })
    }

    pub(crate) fn get(&self, key: Key) -> &SigningKey {
        match key {
            Key::Current => &self.current,
            Key::Retired => &self.retired,
            Key::Foreign => self
                .foreign
                .get_or_init(|| SigningKey::generate().expect("a key can be made where two have been")),
        }
    }

    /// Puts `next` to work. Unlike at Stytch, only one older key is remembered.
    pub(crate) fn rotate(&mut self, next: SigningKey, retire_now: bool) {
        self.retired = std::mem::replace(&mut self.current, next);
        self.retired_is_listed = !retire_now;
    }

    /// The listed key of that name: what a verifier would find in the key set.
    pub(crate) fn listed(&self, kid: &str) -> Option<&SigningKey> {
        self.all_listed().find(|key| key.kid == kid)
    }

    pub(crate) fn jwks(&self) -> Vec<Value> {
        self.all_listed().map(SigningKey::jwk).collect()
    }

    fn all_listed(&self) -> impl Iterator<Item = &SigningKey> {
        [Some(&self.current), self.retired_is_listed.then_some(&self.retired)].into_iter().flatten()
    }
}

impl SigningKey {
    pub(crate) fn generate() -> Result<Self, Unspecified> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let kid = ids::fresh("jwk");
        let certificate =
            certificate::self_signed(pair.public_key().as_ref(), |message| sign(&pair, message))?;
        Ok(Self { kid, pair, certificate })
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        sign(&self.pair, message)
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Unspecified> {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key()).verify(message, signature)
    }

    fn jwk(&self) -> Value {
        json!({
            "kty": "RSA",
            "use": "sig",
            "key_ops": ["verify"],
            "alg": "RS256",
            "kid": self.kid,
            "x5c": [certificate::base64(&self.certificate)],
            "x5tS256": certificate::thumbprint(&self.certificate),
            "n": URL_SAFE_NO_PAD.encode(self.modulus()),
            "e": "AQAB",
        })
    }

    /// The public key is a PKCS #1 sequence of two integers. For a key of 2048 bits, whose modulus
    /// has its top bit set, the lengths before the modulus always take the same nine bytes.
    fn modulus(&self) -> &[u8] {
        &self.pair.public_key().as_ref()[9..9 + 256]
    }
}

fn sign(pair: &RsaKeyPair, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
    Ok(signature)
}
