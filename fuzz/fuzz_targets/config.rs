//! Any settings: they load or are refused with a message, quickly and without a panic, and no
//! message holds the secret.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stytch_gateway::config;

const SECRET: &str = "secret-test-not-to-be-seen";

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("there is room").keep();
    directory.join("a.toml")
});

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*FILE, bytes).expect("there is room");
    if let Err(error) = config::load(&[FILE.clone()], std::iter::empty()) {
        let message = error.to_string();
        assert!(!message.is_empty());
        let written = format!("secret = \"{SECRET}\"");
        let is_its_value = String::from_utf8_lossy(bytes).contains(&written);
        assert!(!is_its_value || !message.contains(SECRET), "a secret in: {message}");
    }
});
