//! Which layer has the last word, and where secrets come from.

use std::time::Duration;

use super::super::{Listen, LogTarget, MaxBody, admin_address, print, summary};
use super::{SECRET, load_in, mistakes_of, outcome, settings};

fn minimal() -> String {
    settings("[stytch]", "")
}

fn without_secret() -> String {
    minimal().replace("secret = \"secret-test-not-to-be-seen\"\n", "")
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = outcome(&[&minimal()], &[]).unwrap().config;
    assert_eq!(config.server.listen, [Listen::Tcp("0.0.0.0:8080".parse().unwrap())]);
    assert_eq!(config.admin.listen, "127.0.0.1:9090".parse().unwrap());
    assert_eq!(config.stytch.api_url, "https://test.stytch.com");
    assert_eq!(config.stytch.issuers, ["stytch.com/project-test-1"]);
    assert_eq!(config.session.max_staleness, Duration::from_secs(300));
    assert_eq!(config.session.outage_grace, Duration::ZERO);
    assert_eq!(config.server.limits.header_bytes, 32 << 10);
    assert_eq!(config.routes[0].max_body, MaxBody::Bytes(10 << 20));
    assert_eq!(config.rate_limit.failures.unwrap().count, 120);
    assert_eq!(config.telemetry.access_log, LogTarget::Stdout);
}

#[test]
fn later_files_win_and_the_environment_over_them() {
    let one = settings("[session]", "max_staleness = \"1m\"\nleeway = \"1s\"\ncookie = \"one\"");
    let two = "[session]\nmax_staleness = \"2m\"\nleeway = \"2s\"";
    let variables = [("STYTCH_GATEWAY_SESSION__MAX_STALENESS", "3m")];
    let session = outcome(&[&one, two], &variables).unwrap().config.session;
    assert_eq!(session.max_staleness, Duration::from_secs(180));
    assert_eq!(session.leeway, Duration::from_secs(2));
    assert_eq!(session.cookie, "one");
}

#[test]
fn lists_replace_one_another() {
    let one = settings("[server]", "trusted_proxies = [\"10.0.0.0/8\", \"192.168.0.1\"]");
    let two = "[server]\ntrusted_proxies = [\"::1\"]";
    let server = outcome(&[&one, two], &[]).unwrap().config.server;
    assert_eq!(server.trusted_proxies, ["::1/128".parse().unwrap()]);
}

#[test]
fn variables_are_read_as_their_key_wants_them() {
    let variables = [
        ("STYTCH_GATEWAY_SERVER__LISTEN", "127.0.0.1:1, unix:/run/gateway.sock"),
        ("STYTCH_GATEWAY_SERVER__TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.1"),
        ("STYTCH_GATEWAY_SERVER__WORKERS", "3"),
        ("STYTCH_GATEWAY_SERVER__LIMITS__BODY", "4096"),
        ("STYTCH_GATEWAY_SERVER__LIMITS__CONNECTIONS_PER_ADDRESS", "7"),
        ("STYTCH_GATEWAY_SESSION__BEARER", "off"),
        ("STYTCH_GATEWAY_SESSION__COOKIES__HTTP_ONLY", "FALSE"),
        ("STYTCH_GATEWAY_UPSTREAMS__APP__URL", "http://[::1]"),
        ("STYTCH_GATEWAY_IDENTITY__HEADERS", "{ X-Plan = \"{claims.plan}\" }"),
        ("STYTCH_GATEWAY_RATE_LIMIT__FAILURES", "off"),
        ("STYTCH_GATEWAY_ROUTES", "[{ path = \"/a/*\", upstream = \"app\", auth = \"none\" }]"),
    ];
    let config = outcome(&[&minimal()], &variables).unwrap().config;
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.server.workers, 3);
    assert_eq!(config.server.limits.body, 4096);
    assert_eq!(config.server.limits.connections_per_address, Some(7));
    assert!(!config.session.bearer && !config.session.cookies.http_only);
    assert_eq!(config.identity.headers.last().unwrap().0, "x-plan");
    assert_eq!(config.identity.headers[0].0, "x-stytch-member-id");
    assert!(config.rate_limit.failures.is_none());
    assert_eq!(config.routes[0].name, "/a/*");
    let target = super::super::Target::Tcp { host: "::1".to_owned(), port: 80, tls: false };
    assert_eq!(config.upstreams[0].targets, [target]);
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_of_our_name_are_no_settings() {
    let variables = [
        ("STYTCH_GATEWAY_SERVICE_HOST", "10.96.0.1"),
        ("STYTCH_GATEWAY_SERVICE_PORT", "8080"),
        ("STYTCH_GATEWAY_SERVICE_PORT_HTTP", "8080"),
        ("STYTCH_GATEWAY_PORT", "tcp://10.96.0.1:8080"),
        ("STYTCH_GATEWAY_PORT_8080_TCP", "tcp://10.96.0.1:8080"),
        ("STYTCH_GATEWAY_PORT_8080_TCP_ADDR", "10.96.0.1"),
        ("STYTCH_GATEWAY_ADMIN_SERVICE_HOST", "10.96.0.2"),
        ("STYTCH_GATEWAY_ADMIN_PORT_9090_TCP_PROTO", "tcp"),
    ];
    outcome(&[&minimal()], &variables).unwrap();
    let mistakes = mistakes_of(&[&minimal()], &[("STYTCH_GATEWAY_PORT", "8080")]);
    assert_eq!(mistakes, ["STYTCH_GATEWAY_PORT: port: unknown key"]);
}

#[test]
fn the_names_of_the_sdks_fill_in_what_no_layer_gives() {
    let variables = [("STYTCH_PROJECT_ID", "project-live-2"), ("STYTCH_SECRET", "from-the-environment")];
    let bare = without_secret().replace("project_id = \"project-test-1\"\n", "");
    let stytch = outcome(&[&bare], &variables).unwrap().config.stytch;
    assert_eq!(stytch.project_id, "project-live-2");
    assert_eq!(stytch.secret.expose(), "from-the-environment");
    assert_eq!(stytch.api_url, "https://api.stytch.com");

    let stytch = outcome(&[&minimal()], &variables).unwrap().config.stytch;
    assert_eq!(stytch.project_id, "project-test-1");
    assert_eq!(stytch.secret.expose(), SECRET);

    let mistakes = mistakes_of(&[&without_secret()], &[("STYTCH_SECRET", "")]);
    assert_eq!(
        mistakes,
        ["a.toml:1:2: stytch.secret: missing; set stytch.secret_file, stytch.secret or STYTCH_SECRET"]
    );
}

#[test]
fn a_secret_may_be_in_a_file_which_is_watched() {
    let directory = tempfile::tempdir().unwrap();
    let (file, secret) = (directory.path().join("a.toml"), directory.path().join("stytch"));
    std::fs::write(&file, without_secret()).unwrap();
    let variable = [("STYTCH_GATEWAY_STYTCH__SECRET_FILE", secret.to_str().unwrap())];
    let load = || load_in(directory.path(), std::slice::from_ref(&file), &variable);

    for text in ["the-secret", "the-secret\n", "the-secret\r\n"] {
        std::fs::write(&secret, text).unwrap();
        let config = load().unwrap().config;
        assert_eq!(config.stytch.secret.expose(), "the-secret");
        assert_eq!(config.watched, [file.clone(), secret.clone()]);
    }
    for (text, complaint) in [
        ("", "stytch is empty"),
        ("\n", "stytch is empty"),
        ("two words", "the secret holds a space or a control character; it is one word"),
    ] {
        std::fs::write(&secret, text).unwrap();
        let message = load().unwrap_err();
        let line = format!("STYTCH_GATEWAY_STYTCH__SECRET_FILE: stytch.secret_file: {complaint}");
        assert_eq!(message.lines().next(), Some(line.as_str()));
    }
    std::fs::remove_file(&secret).unwrap();
    let message = load().unwrap_err();
    assert!(message.contains("stytch cannot be read: No such file"), "{message}");
}

#[test]
fn a_secret_given_twice_is_refused_whatever_the_layers() {
    let variables = [("STYTCH_GATEWAY_STYTCH__SECRET_FILE", "/run/secrets/stytch")];
    assert_eq!(
        mistakes_of(&[&minimal()], &variables),
        [
            "a.toml:3:1: stytch.secret: given together with stytch.secret_file; keep one of the two",
            "STYTCH_GATEWAY_STYTCH__SECRET_FILE: stytch.secret_file: given together with stytch.secret; keep one of the two",
        ]
    );
}

#[test]
fn what_is_printed_loads_again_and_holds_no_secret() {
    let text = settings(
        "[identity.headers]",
        "X-Plan = \"{claims.plan}\"\n[[routes]]\nhost = \"{org}.example.com\"\npath = \"/a/*\"\nupstream = \"app\"\nmax_body = \"unlimited\"\nstrip_prefix = \"/a\"\ntimeouts.idle = \"90s\"",
    );
    let loaded = outcome(&[&text], &[("STYTCH_GATEWAY_SERVER__WORKERS", "3")]).unwrap();
    let printed = print(&loaded);
    assert!(!printed.contains(SECRET), "{printed}");
    assert!(printed.contains("secret = \"[redacted]\""), "{printed}");
    assert!(printed.contains("workers = 3"), "{printed}");

    let mut again = outcome(&[&printed], &[]).unwrap();
    again.config.watched.clone_from(&loaded.config.watched);
    let debug = |config| format!("{config:?}");
    assert_eq!(debug(again.config), debug(loaded.config));
}

#[test]
fn the_summary_says_what_is_open() {
    let text = settings(
        "[session]",
        "outage_grace = \"10m\"\ncookies.secure = false\n[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n[[routes]]\npath = \"/open/*\"\nupstream = \"app\"\nauth = \"none\"",
    );
    let lines = summary(&outcome(&[&text], &[]).unwrap().config);
    for line in [
        "routes without authentication: /open/*",
        "trusted proxies: 0.0.0.0/0 (everyone: any client can claim any address)",
        "when Stytch cannot be reached: known sessions go on for 10m beyond max_staleness, then 503",
        "session cookies are also sent over plain http (secure = false)",
    ] {
        assert!(lines.iter().any(|other| other == line), "no {line:?} in {lines:#?}");
    }
}

#[test]
fn the_summary_lists_what_to_register() {
    let text = settings(
        "[signin]",
        "enabled = true\nmethods = [\"magic_link\"]\n[server]\npublic_url = \"https://App.test:8443\"\n\
         [[routes]]\nhost = \"reports.test\"\npath = \"/*\"\nupstream = \"app\"\n\
         [[routes]]\nhost = \"{x}.test\"\npath = \"/*\"\nupstream = \"app\"",
    );
    let lines = summary(&outcome(&[&text], &[]).unwrap().config);
    let line = "redirect URLs to register at Stytch, for login, signup and discovery: \
                https://app.test:8443/_stytch/callback, https://reports.test:8443/_stytch/callback";
    assert!(lines.iter().any(|other| other == line), "{lines:#?}");
}

#[test]
fn what_cannot_have_an_effect_is_told() {
    let text = settings(
        "[stytch]",
        "public_token = \"public-token-test-1\"\n[signin]\noauth_providers = [\"google\"]",
    );
    let notes = outcome(&[&text], &[]).unwrap().notes;
    let expected = [
        "signin.oauth_providers has no effect: \"oauth\" is not among signin.methods",
        "stytch.public_token has no effect: neither \"oauth\" nor \"sso\" nor signin.device is on",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn notes_say_what_costs_a_call_and_what_cannot_be() {
    let text = settings(
        "[identity.headers]",
        "REMOTE_USER = \"{member.email_address}\"\nX-User = \"{user.user_id}\"\n[upstreams.spare]\nurl = \"http://a\"\n[server]\npublic_url = \"http://app.test\"",
    );
    let notes = outcome(&[&text], &[]).unwrap().notes;
    assert_eq!(
        notes,
        [
            "upstreams.spare: no route uses it",
            "server.public_url is http://app.test, where browsers drop the cookies the gateway writes: they are Secure",
            "identity.headers: remote_user needs the profile, which is one call to Stytch for each session every 5m",
            "identity.headers: x-user names user, which a b2b project has none of; it is never sent",
        ]
    );
}

#[test]
fn the_health_check_finds_the_admin_listener_in_spite_of_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    let address = |text: &str| {
        std::fs::write(&file, text).unwrap();
        admin_address(std::slice::from_ref(&file), std::iter::empty())
    };
    assert_eq!(address("[admin]\nlisten = \"127.0.0.1:1\"\n[nonsense]"), "127.0.0.1:1".parse().ok());
    assert_eq!(address("[stytch]"), "127.0.0.1:9090".parse().ok());
    assert_eq!(address("[admin]\nlisten = \"nowhere\""), None);
}

#[test]
fn debug_output_holds_no_secret() {
    let loaded = outcome(&[&minimal()], &[]).unwrap();
    assert!(!format!("{:?}", loaded.config).contains(SECRET));
    assert!(!format!("{loaded:?}").contains(SECRET));
}

#[test]
fn the_name_of_a_default_header_replaces_it() {
    let text = settings("[identity.headers]", "X_Stytch_Member_Id = \"{session.id}\"");
    let names = |text: &str| {
        let headers = outcome(&[text], &[]).unwrap().config.identity.headers;
        headers
            .into_iter()
            .map(|(name, _)| name.to_string())
            .filter(|name| name.ends_with("id"))
            .collect::<Vec<_>>()
    };
    assert!(names(&minimal()).contains(&"x-stytch-member-id".to_owned()));
    assert!(!names(&text).contains(&"x-stytch-member-id".to_owned()));
    assert!(names(&text).contains(&"x_stytch_member_id".to_owned()));
    assert!(names(&settings("[identity]", "default_headers = false")).is_empty());
}
