//! Keys that sign, and secrets that others sign with: what is told of files that cannot be used.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::super::{Loaded, print, summary};
use super::{outcome, settings, signing_key};

/// What loading the smallest settings with `lines` in `section` comes to; `$FILE` is a file that
/// holds `text`.
fn with_file(section: &str, lines: &str, text: &str) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    load_with(section, lines, &file)
}

fn load_with(section: &str, lines: &str, file: &Path) -> Result<Loaded, String> {
    let lines = lines.replace("$FILE", file.to_str().unwrap());
    outcome(&[&settings(section, &lines)], &[])
        .map_err(|error| error.replace(file.to_str().unwrap(), "$FILE"))
}

fn mistakes(section: &str, lines: &str, text: &str) -> String {
    let error = with_file(section, lines, text).map(drop).unwrap_err();
    let mut mistakes: Vec<_> = error.lines().filter_map(|line| line.split_once(": ")).collect();
    mistakes.dedup();
    mistakes.iter().map(|(_, mistake)| *mistake).collect::<Vec<_>>().join("\n")
}

const ASSERTION: &str = "[identity.assertion]";

#[test]
fn a_key_file_that_cannot_be_used_is_told() {
    for (lines, text, told) in [
        ("", "", "identity.assertion.key_file: missing; name the PEM file of the key that signs assertions"),
        (
            "key_file = \"$FILE-not-there\"",
            "",
            "identity.assertion.key_file: $FILE-not-there cannot be read: No such file or directory (os error 2)",
        ),
        (
            "key_file = \"$FILE\"",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "identity.assertion.key_file: $FILE: key 1 is not an EC key on the curve P-256",
        ),
        (
            "key_file = \"$FILE\"",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "identity.assertion.key_file: $FILE: a key in it is encrypted, and nobody is there to unlock it",
        ),
        (
            "key_file = \"$FILE\"",
            "",
            "identity.assertion.key_file: $FILE: no private key is in it; make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`",
        ),
    ] {
        assert_eq!(mistakes(ASSERTION, lines, text), told);
    }
}

#[test]
fn what_is_signed_is_checked_with_the_rest() {
    for (lines, told) in [
        ("ttl = \"0s\"", "identity.assertion.ttl: must be between 1s and 1h"),
        ("ttl = \"2h\"", "identity.assertion.ttl: must be between 1s and 1h"),
        ("header = \"a b\"", "identity.assertion.header: \"a b\" is not a header name"),
        (
            "header = \"Cookie\"",
            "identity.assertion.header: \"Cookie\" cannot carry identity: browsers and servers have a use of their own for it",
        ),
        (
            "header = \"x_stytch_roles\"",
            "identity.assertion.header: \"x_stytch_roles\" is an identity header already; name another",
        ),
        (
            "audience = \"\"",
            "identity.assertion.audience: an audience is a text such as \"https://app.example.com\"",
        ),
        (
            "audience = 5",
            "identity.assertion.audience: expected a text in quotes or a table, found a whole number",
        ),
        (
            "audience = { \"/\" = \"app\" }",
            "identity.assertion.audience.\"/\": no route is called \"/\", did you mean \"/*\"?",
        ),
        (
            "audience = { \"/*\" = \"a\\nb\" }",
            "identity.assertion.audience.\"/*\": an audience is a text such as \"https://app.example.com\"",
        ),
        ("audiense = \"x\"", "identity.assertion.audiense: unknown key, did you mean \"audience\"?"),
    ] {
        let lines = format!("key_file = \"$FILE\"\n{lines}");
        assert_eq!(mistakes(ASSERTION, &lines, &signing_key()), told);
    }
}

#[test]
fn a_key_that_everybody_can_read_is_worth_a_note() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    std::fs::write(&file, signing_key()).unwrap();
    for (mode, notes) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = load_with(ASSERTION, "key_file = \"$FILE\"", &file).unwrap();
        let found =
            loaded.notes.iter().filter(|note| note.starts_with("identity.assertion.key_file: every user"));
        assert_eq!(found.count(), notes, "{mode:o}");
    }
    let loaded = load_with(ASSERTION, "key_file = \"$FILE\"\nttl = \"10m\"", &file).unwrap();
    assert!(loaded.notes.iter().any(|note| note.starts_with("identity.assertion.ttl is 10m")));
}

#[test]
fn what_signs_and_what_is_taken_is_said_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    std::fs::write(&file, signing_key()).unwrap();
    let loaded = load_with(ASSERTION, "key_file = \"$FILE\"", &file).unwrap();
    let config = &loaded.config;
    let assertion = config.identity.assertion.as_ref().unwrap();
    assert_eq!((assertion.audiences.as_slice(), assertion.ttl.as_secs()), (&["app".to_owned()][..], 60));
    assert!(config.watched.contains(&file));
    let lines = summary(config);
    let key = &assertion.keys.ids()[0];
    assert!(lines.contains(&format!(
        "assertions: x-stytch-assertion, issued by stytch-gateway, signed by key {key}, valid for 1m; keys at /_stytch/keys"
    )));
    assert!(!lines.iter().any(|line| line.contains("events")));
    let secret = format!("whsec_{}", BASE64_STANDARD.encode([7; 24]));
    let loaded =
        with_file("[webhook]", "enabled = true\nsecret_file = \"$FILE\"", &format!("{secret}\n")).unwrap();
    assert!(summary(&loaded.config).contains(&"events of Stytch's are taken at /_stytch/webhook".to_owned()));
    let loaded = with_file("[webhook]", &format!("enabled = true\nsecret = \"{secret}\""), "").unwrap();
    assert!(print(&loaded).contains("[redacted]") && !print(&loaded).contains(&secret));
    assert!(!format!("{loaded:?}").contains(&secret[6..]));
}

#[test]
fn a_webhooks_secret_is_checked() {
    for (secret, told) in [
        ("", "webhook.secret: the secret is empty"),
        ("c2VjcmV0", "webhook.secret: a webhook's secret begins with whsec_"),
        ("whsec_", "webhook.secret: too short for a webhook's secret; it holds at least 16 bytes"),
        (
            "whsec_not base64",
            "webhook.secret: the secret holds a space or a control character; it is one word",
        ),
        ("whsec_a-b_c", "webhook.secret: not a webhook's secret; after whsec_ comes base64 and nothing else"),
        ("whsec_c2hvcnQ=", "webhook.secret: too short for a webhook's secret; it holds at least 16 bytes"),
    ] {
        assert_eq!(mistakes("[webhook]", &format!("enabled = true\nsecret = {secret:?}"), ""), told);
    }
    assert_eq!(
        mistakes("[webhook]", "enabled = true", ""),
        "webhook.secret: missing; set webhook.secret_file or webhook.secret to the endpoint's signing secret"
    );
    let both = "enabled = true\nsecret = \"whsec_x\"\nsecret_file = \"$FILE\"";
    assert_eq!(
        mistakes("[webhook]", both, "whsec_x"),
        "webhook.secret: given together with webhook.secret_file; keep one of the two\n\
         webhook.secret_file: given together with webhook.secret; keep one of the two"
    );
    assert_eq!(
        mistakes("[webhook]", "enabled = true\nsecret_file = \"$FILE\"", "whsec_*"),
        "webhook.secret_file: not a webhook's secret; after whsec_ comes base64 and nothing else"
    );
    // What is off needs no secret.
    assert!(with_file("[webhook]", "secret_file = \"/not/there\"", "").unwrap().config.webhook.is_none());
}
