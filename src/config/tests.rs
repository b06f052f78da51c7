//! What people write, and what they are told.

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Loaded, load};

mod access;
mod examples;
mod layers;
mod mistakes;
mod random;
mod signin;
mod signing;
mod upstreams;

/// In every test's settings, and in no message.
const SECRET: &str = "secret-test-not-to-be-seen";

/// A key that signs assertions, as a PEM file.
fn signing_key() -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = BASE64_STANDARD.encode(pair.to_pkcs8v1().unwrap());
    format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
}

/// The smallest settings, with `lines` added to the section of that name.
fn settings(section: &str, lines: &str) -> String {
    let mut text = String::new();
    let known = [
        ("[stytch]", "project_id = \"project-test-1\"\nsecret = \"secret-test-not-to-be-seen\"\n"),
        ("[upstreams.app]", "url = \"http://127.0.0.1:3000\"\n"),
        ("[[routes]]", "path = \"/*\"\nupstream = \"app\"\n"),
    ];
    if !known.iter().any(|(name, _)| *name == section) {
        text.push_str(&format!("{section}\n{lines}\n"));
    }
    for (name, body) in known {
        let lines = if name == section { lines } else { "" };
        text.push_str(&format!("{name}\n{body}{lines}\n"));
    }
    text
}

/// What comes of files with these texts, called `a.toml`, `b.toml` and so on, and these variables.
fn outcome(texts: &[&str], variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    let mut files: Vec<PathBuf> = Vec::new();
    for (text, letter) in texts.iter().zip('a'..) {
        let path = directory.path().join(format!("{letter}.toml"));
        std::fs::write(&path, text).unwrap();
        files.push(path);
    }
    load_in(directory.path(), &files, variables)
}

/// Loads, and leaves the directory out of any message.
fn load_in(directory: &Path, files: &[PathBuf], variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(files, variables).map_err(|error| {
        let message = error.to_string().replace(&format!("{}/", directory.display()), "");
        assert!(!message.contains(SECRET), "a secret in: {message}");
        message
    })
}

/// The mistakes told, without the count at the end.
fn mistakes_of(texts: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let message = outcome(texts, variables).expect_err("this should not load");
    let mut lines: Vec<String> = message.lines().map(str::to_owned).collect();
    lines.pop();
    lines
}
