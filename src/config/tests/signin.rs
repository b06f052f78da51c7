//! What is wrong with `[signin]`, and how it is told.

use super::mistakes::told;
use super::{outcome, settings};

#[test]
fn of_sign_in() {
    for (lines, message) in [
        (
            "base_path = \"/\"",
            "signin.base_path: \"/\" is not a path of its own; write one such as \"/_stytch\", without a slash at the end",
        ),
        (
            "base_path = \"/a/../b\"",
            "signin.base_path: \"/a/../b\" is not a path of its own; write one such as \"/_stytch\", without a slash at the end",
        ),
        ("methods = []", "signin.methods: an empty list lets nobody sign in; name at least one method"),
        ("methods = [\"email_otp\", \"email_otp\"]", "signin.methods[1]: listed twice"),
        (
            "methods = [\"sms_otp\"]",
            "signin.methods[0]: for members a text message is a second factor, never the first, and is asked for whenever it is due; remove it",
        ),
        (
            "methods = [\"whatsapp_otp\"]",
            "signin.methods[0]: members get no codes by WhatsApp; it is for Consumer projects alone",
        ),
        (
            "custom_claims = { sub = \"me\" }",
            "signin.custom_claims.sub: a name that every token has already, which Stytch does not take",
        ),
        (
            "custom_claims = { \"https://stytch.com/session\" = 1 }",
            "signin.custom_claims.\"https://stytch.com/session\": a name that every token has already, which Stytch does not take",
        ),
        (
            "custom_claims = { scope = \"read:reports\" }",
            "signin.custom_claims.scope: a session that has scopes passes for a machine's token elsewhere",
        ),
        (
            "custom_claims = { stytch_gateway_device = {} }",
            "signin.custom_claims.stytch_gateway_device: what Stytch says of the device stands there, where signin.device asks it",
        ),
        ("session_duration = \"1m\"", "signin.session_duration: must be between 5m and 366d"),
        ("session_duration = \"367d\"", "signin.session_duration: must be between 5m and 366d"),
        ("session_duration = \"330s\"", "signin.session_duration: must be whole minutes"),
        ("brand.name = \" \"", "signin.brand.name: is empty; to show the host, leave the key out"),
        (
            "brand.accent = \"blue\"",
            "signin.brand.accent: \"blue\" is not a colour; write six digits, such as \"#1a56db\"",
        ),
        (
            "redirects = [\"https://a.example.com\"]",
            "signin.redirects[0]: \"https://a.example.com\" is not a host; write one such as \"reports.example.com\", without https:// before it",
        ),
        (
            "state_key = \"short\"",
            "signin.state_key: shorter than 32 characters, so it could be guessed; `openssl rand -base64 32` makes one",
        ),
        (
            "texts = \"/nowhere/texts.toml\"",
            "signin.texts: /nowhere/texts.toml cannot be read: No such file or directory (os error 2)",
        ),
        ("enabeld = true", "signin.enabeld: unknown key, did you mean \"enabled\"?"),
        (
            "brand.logo = \"/nowhere/logo.svg\"",
            "signin.brand.logo: /nowhere/logo.svg cannot be read: No such file or directory (os error 2)",
        ),
        ("brand.logo = \"/\"", "signin.brand.logo: / is not a file"),
    ] {
        assert_eq!(told("[signin]", lines), [message], "for {lines:?}");
    }
    let both = "state_key = \"0123456789abcdef0123456789abcdef\"\nstate_key_file = \"/x\"";
    assert_eq!(told("[signin]", both).len(), 2);
    let told_of_route = told("[[routes]]", "on_unauthenticated = \"sign_in\"");
    let message = "there are no sign-in pages; set signin.enabled = true, or leave the key out";
    assert_eq!(told_of_route, [format!("routes[0].on_unauthenticated: {message}")]);
    for path in ["/_stytch", "/_stytch/*", "/_stytch/login"] {
        let lines = format!("[[routes]]\nupstream = \"app\"\npath = \"{path}\"");
        let message = format!(
            "routes[1].path: \"{path}\" is the gateway's own (/_stytch is signin.base_path) and never forwarded"
        );
        assert_eq!(told("[[routes]]", &lines), [message]);
    }
}

#[test]
fn texts_are_those_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("texts.toml");
    for (text, complaint) in [
        ("[en]\nsign_inn = \"x\"", "[en] \"sign_inn\" is no text there is, did you mean \"sign_in\"?"),
        ("[en]\nsign_in = 1", "[en] \"sign_in\" is not a text in quotes"),
        ("[English]\nsign_in = \"x\"", "\"English\" is not a language; write two letters, such as [en]"),
        ("sign_in = \"x\"", "\"sign_in\" is not a table; texts stand in one for each language, such as [en]"),
    ] {
        std::fs::write(&path, text).unwrap();
        let told = told("[signin]", &format!("texts = \"{}\"", path.display()));
        assert_eq!(told, [format!("signin.texts: {complaint}")]);
    }
}

const NO_TOKEN: &str = "stytch.public_token: missing; browsers begin OAuth and SSO with it, and Stytch's dashboard \
                        shows it among the API keys";
const NO_URL: &str = "server.public_url: missing; \"magic_link\", \"oauth\" and \"sso\" send people away, and this is \
                      where they come back to: the host that a request names could be anybody's invention";

#[test]
fn of_ways_that_leave() {
    let provider = "signin.oauth_providers[0]: at Stytch no members come from \"gitlab\", did you mean \"github\"?; \
                    there are google, microsoft, github, slack, hubspot";
    let none = "signin.oauth_providers: missing; with \"oauth\" among signin.methods name at least one provider, such \
                as \"google\"";
    for (lines, messages) in [
        ("methods = [\"magic_link\"]", [NO_URL].as_slice()),
        ("methods = [\"sso\"]", &[NO_TOKEN, NO_URL]),
        ("methods = [\"oauth\"]", &[NO_TOKEN, NO_URL, none]),
        ("methods = [\"oauth\"]\noauth_providers = [\"gitlab\"]", &[NO_TOKEN, NO_URL, provider]),
        (
            "methods = [\"magic_link\"]\noauth_providers = [\"google\", \"google\"]",
            &[NO_URL, "signin.oauth_providers[1]: listed twice"],
        ),
    ] {
        let mut found = told("[signin]", &format!("enabled = true\n{lines}"));
        let mut expected = messages.to_vec();
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "for {lines:?}");
    }
    let misspelt = told("[signin]", "oauth_providers = [\"gooogle\"]");
    assert!(misspelt[0].ends_with("did you mean \"google\"?"), "{misspelt:?}");
}

#[test]
fn of_users() {
    let consumer = "[stytch]\nvertical = \"consumer\"";
    let lines = "[signin]\nmethods = [\"sso\", \"oauth\"]\noauth_providers = [\"apple\", \"hubspot\"]";
    let found = told("[stytch]", &format!("{}\n{lines}", consumer.trim_start_matches("[stytch]\n")));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "signin.methods[0]: single sign-on is for members; users have no organization");
    assert!(
        found[1].starts_with("signin.oauth_providers[1]: at Stytch no users come from \"hubspot\""),
        "{found:?}"
    );
}

#[test]
fn a_secret_is_no_public_token() {
    let found = told("[stytch]", "public_token = \"secret-test-1\"");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("stytch.public_token: this is a secret"), "{found:?}");
    assert!(!found[0].contains("secret-test-1"));
    let found = told("[stytch]", "public_token = \"public token\"");
    assert!(found[0].starts_with("stytch.public_token: not a public token"), "{found:?}");
}

#[test]
fn claims_that_are_more_than_stytch_takes() {
    let fits = format!("custom_claims = {{ a = \"{}\" }}", "x".repeat(4096 - "{'a':''}".len()));
    outcome(&[&settings("[signin]", &fits)], &[]).unwrap();
    let more = fits.replacen("xx", "xxx", 1);
    let message = "signin.custom_claims: 4097 bytes as JSON; Stytch takes 4096 in all";
    assert_eq!(told("[signin]", &more), [message]);
}

#[test]
fn a_logo_is_a_small_image() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("logo.png");
    let large = [b"\x89PNG\r\n\x1a\n".as_slice(), &vec![0; 256 << 10]].concat();
    for (bytes, complaint) in
        [(b"<html>".as_slice(), "is no SVG, PNG, JPEG or WebP image"), (&large, "is larger than 256 KiB")]
    {
        std::fs::write(&path, bytes).unwrap();
        let told = told("[signin.brand]", &format!("logo = \"{}\"", path.display()));
        assert_eq!(told, [format!("signin.brand.logo: {} {complaint}", path.display())]);
    }
}

#[test]
fn only_members_create_organizations() {
    let lines = "vertical = \"consumer\"\n[signin]\ncreate_organizations = true";
    let message = "signin.create_organizations: users have no organizations; remove it";
    assert_eq!(told("[stytch]", lines), [message]);
}

#[test]
fn of_the_script_that_tells_devices_apart() {
    let token = "public_token = \"public-token-test-1\"\n[signin]\n";
    for (lines, message) in [
        (
            "device.script = \"http://elements.stytch.com/telemetry.js\"",
            "signin.device.script: must be https: what runs on the sign-in pages must come from whom it says",
        ),
        (
            "device.script = \"/telemetry.js\"",
            "signin.device.script: \"/telemetry.js\" is not a whole URL; it must begin with https://",
        ),
        (
            "device.script = \"https://elements.stytch.com/telemetry.js#x\"",
            "signin.device.script: \"https://elements.stytch.com/telemetry.js#x\" has a fragment, which is sent nowhere; remove it",
        ),
        (
            "device.script = \"https://a.test/b.js\"\ndevice.submit = \"https://a;script-src.test/\"",
            "signin.device.submit: \"https://a;script-src.test/\" names no host",
        ),
    ] {
        assert_eq!(told("[stytch]", &format!("{token}{lines}")), [message], "for {lines:?}");
    }
    let lines = "device.script = \"https://elements.stytch.com/telemetry.js\"";
    let message =
        "stytch.public_token: missing; signin.device.script tells Stytch by it which project it asks for";
    assert_eq!(told("[signin]", lines), [message]);
}
