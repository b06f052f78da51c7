//! What is wrong with `[signin]`, and how it is told.

use super::mistakes::told;

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
