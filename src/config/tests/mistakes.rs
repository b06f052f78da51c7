//! Tables of mistakes with the very words they are answered with.

use super::super::summary;
use super::{mistakes_of, outcome, settings};

/// The mistakes of the smallest settings with `lines` in `section`, without their places.
pub(super) fn told(section: &str, lines: &str) -> Vec<String> {
    let without_place = |line: String| line.split_once(": ").unwrap().1.to_owned();
    mistakes_of(&[&settings(section, lines)], &[]).into_iter().map(without_place).collect()
}

fn each_tells(section: &str, table: &[(&str, &str)]) {
    for (lines, message) in table {
        assert_eq!(told(section, lines), [*message], "for {lines:?} in {section}");
    }
}

#[test]
fn of_spelling_and_type() {
    each_tells(
        "[session]",
        &[
            ("cookei = \"x\"", "session.cookei: unknown key, did you mean \"cookie\"?"),
            ("max-staleness = \"5m\"", "session.max-staleness: unknown key, did you mean \"max_staleness\"?"),
            ("project_id = \"x\"", "session.project_id: unknown key here; it belongs in [stytch]"),
            ("frobnicate = 1", "session.frobnicate: unknown key"),
            ("bearer = \"yes\"", "session.bearer: expected true or false, found a text"),
            ("cookie = 5", "session.cookie: expected a text in quotes, found a whole number"),
            ("capacity = 1.5", "session.capacity: expected a whole number, found a number with a fraction"),
            ("capacity = -1", "session.capacity: -1 is out of range; write a number from 0 up"),
            ("cookie = 1979-05-27", "session.cookie: expected a text in quotes, found a date or a time"),
            ("cookies = true", "session.cookies: expected a table, found a switch"),
            ("cookies.secured = true", "session.cookies.secured: unknown key, did you mean \"secure\"?"),
            (
                "cookies.same_site = \"Lax\"",
                "session.cookies.same_site: \"Lax\" is none of \"lax\", \"strict\", \"none\", did you mean \"lax\"?",
            ),
        ],
    );
}

#[test]
fn of_quantities() {
    let duration = "is not a duration; write a number and one of ms, s, m, h, d, such as \"5m\"";
    for (written, complaint) in [
        ("5", "a duration needs a unit; did you mean \"5s\"?".to_owned()),
        ("\"5\"", format!("\"5\" {duration}")),
        ("\"\"", format!("\"\" {duration}")),
        ("\"5 minutes\"", format!("\"5 minutes\" {duration}")),
        ("\"-5s\"", format!("\"-5s\" {duration}")),
        ("true", format!("true {duration}")),
        ("\"99999999999999999999s\"", format!("\"99999999999999999999s\" {duration}")),
        ("\"4000d\"", "\"4000d\" is longer than ten years".to_owned()),
    ] {
        let message = format!("session.leeway: {complaint}");
        assert_eq!(told("[session]", &format!("leeway = {written}")), [message]);
    }
    let size = "is not a size; write a number and one of B, KiB, MiB, GiB, such as \"64KiB\"";
    for (written, complaint) in [
        ("\"10MB\"", "\"10MB\" is not a size; did you mean \"10MiB\"?".to_owned()),
        ("\"lots\"", format!("\"lots\" {size}")),
        ("-1", format!("-1 {size}")),
        ("\"99999999999GiB\"", format!("\"99999999999GiB\" {size}")),
    ] {
        let message = format!("server.limits.body: {complaint}");
        assert_eq!(told("[server]", &format!("limits.body = {written}")), [message]);
    }
    let rate = "is not a rate; write a number, / and one of s, min, h, such as \"20/min\", or \"off\"";
    for written in ["\"20/m\"", "\"0/min\"", "\"fast\"", "true"] {
        let message = format!("rate_limit.failures: {written} {rate}");
        assert_eq!(told("[rate_limit]", &format!("failures = {written}")), [message]);
    }
}

#[test]
fn of_the_project() {
    let stytch = |lines: &str| {
        let text = settings("[[routes]]", "").replace("project_id = \"project-test-1\"\n", lines);
        mistakes_of(&[&text], &[])
    };
    assert_eq!(
        stytch(""),
        ["a.toml:1:2: stytch.project_id: missing; write the project's id here or set STYTCH_PROJECT_ID"]
    );
    assert_eq!(
        stytch("project-id = \"x\"\n"),
        ["a.toml:2:1: stytch.project-id: unknown key, did you mean \"project_id\"?"]
    );
    for (id, complaint) in [
        ("project-1", "a project id begins with project-test- or project-live-"),
        ("secret-test-not-to-be-seen", "this is a secret, not a project id"),
        ("project-test-", "not a project id; after its prefix come letters, digits and hyphens alone"),
        ("project-test-a/b", "not a project id; after its prefix come letters, digits and hyphens alone"),
    ] {
        let lines = format!("project_id = \"{id}\"\n");
        assert_eq!(stytch(&lines), [format!("a.toml:2:1: stytch.project_id: {complaint}")]);
    }
    each_tells(
        "[stytch]",
        &[
            (
                "api_url = \"http://test.stytch.com\"",
                "stytch.api_url: must be https, or the secret would be sent readable to everyone on the way",
            ),
            (
                "api_url = \"test.stytch.com\"",
                "stytch.api_url: \"test.stytch.com\" is not a URL; it must begin with http:// or https://",
            ),
            (
                "api_url = \"https://test.stytch.com/v1\"",
                "stytch.api_url: \"https://test.stytch.com/v1\" must end after the host and port, without a path or query",
            ),
            (
                "api_url = \"https://u:p@example.com\"",
                "stytch.api_url: user names and passwords do not belong in this URL",
            ),
            ("api_url = \"https://:80\"", "stytch.api_url: \"https://:80\" names no host"),
            (
                "domain = \"login.example.com/oauth\"",
                "stytch.domain: \"login.example.com/oauth\" is not a domain; write one such as \"login.example.com\"",
            ),
            ("domain = \"http://login.example.com\"", "stytch.domain: must be https: people sign in there"),
            (
                "domain = \"u:p@example.com\"",
                "stytch.domain: this is not a domain; write one such as \"login.example.com\"",
            ),
            ("timeout = \"0s\"", "stytch.timeout: must be longer than 0s"),
            ("policy_refresh = \"0s\"", "stytch.policy_refresh: must be longer than 0s"),
            (
                "issuers = [\"\"]",
                "stytch.issuers[0]: an issuer is one word, such as \"https://login.example.com\"",
            ),
            (
                "vertical = \"b2c\"",
                "stytch.vertical: \"b2c\" is none of \"b2b\", \"consumer\", did you mean \"b2b\"?",
            ),
        ],
    );
}

#[test]
fn of_listeners_limits_and_proxies() {
    each_tells(
        "[server]",
        &[
            (
                "listen = \":8080\"",
                "server.listen: \":8080\" is not an address to listen on; did you mean \"0.0.0.0:8080\"?",
            ),
            (
                "listen = \"localhost:80\"",
                "server.listen: \"localhost:80\" is not an address to listen on; did you mean \"127.0.0.1:80\"?",
            ),
            (
                "listen = \"8080\"",
                "server.listen: \"8080\" is not an address to listen on; write an IP address and a port, such as \"0.0.0.0:8080\"",
            ),
            ("listen = [\"[::]:1\", \"[::]:1\"]", "server.listen[1]: \"[::]:1\" is listed twice"),
            (
                "listen = [\"0.0.0.0:1\", \"127.0.0.1:1\"]",
                "server.listen[1]: \"127.0.0.1:1\" is the same port as another listener that takes every address",
            ),
            (
                "listen = []",
                "server.listen: an empty list leaves nothing to listen on, unless there is a [server.tls]",
            ),
            (
                "listen = \"unix:run\"",
                "server.listen: \"unix:run\" must name a socket by its full path, such as \"unix:/run/app.sock\"",
            ),
            (
                "listen = \"127.0.0.1:9090\"",
                "admin.listen: \"127.0.0.1:9090\" is already taken by server.listen",
            ),
            ("workers = 0", "server.workers: must be at least 1"),
            ("limits.headers = 0", "server.limits.headers: must be at least 1"),
            ("limits.header_bytes = 10", "server.limits.header_bytes: must be at least 1KiB"),
            ("limits.headers = 1001", "server.limits.headers: must be at most 1000"),
            (
                "limits.connections_per_address = 0",
                "server.limits.connections_per_address: 0 is not a limit; write a whole number from 1 up, or \"off\"",
            ),
            ("timeouts.idle = \"0s\"", "server.timeouts.idle: must be longer than 0s"),
            (
                "trusted_proxies = [\"10.0.0.0/33\"]",
                "server.trusted_proxies[0]: \"10.0.0.0/33\" is not an address or a network; write one such as \"10.0.0.0/8\"",
            ),
            ("trusted_proxies = \"all\"", "server.trusted_proxies: expected a list in [ ], found a text"),
            ("public_url = \"ftp://x\"", "server.public_url: must begin with http:// or https://"),
        ],
    );
}

#[test]
fn of_ext_authz() {
    each_tells(
        "[ext_authz]\nenabled = true",
        &[
            (
                "listen = \"localhost:9191\"",
                "ext_authz.listen: \"localhost:9191\" is not an address to listen on; did you mean \"127.0.0.1:9191\"?",
            ),
            (
                "listen = \"0.0.0.0:8080\"",
                "ext_authz.listen: \"0.0.0.0:8080\" is already taken by server.listen",
            ),
            (
                "listen = \"127.0.0.1:9090\"",
                "ext_authz.listen: \"127.0.0.1:9090\" is already taken by admin.listen",
            ),
        ],
    );
}

#[test]
fn of_sessions() {
    each_tells(
        "[session]",
        &[
            (
                "cookie = \"a b\"",
                "session.cookie: \"a b\" is not a cookie name; use letters, digits, hyphens and underscores",
            ),
            (
                "cookie = \"stytch_session_jwt\"",
                "session.jwt_cookie: has the same name as session.cookie; the two hold different things",
            ),
            (
                "cookie = \"__Host-s\"\ncookies.domain = \"a.b\"",
                "session.cookie: browsers drop \"__Host-s\" where session.cookies.domain is set",
            ),
            (
                "header = \"Authorization\"",
                "session.header: Authorization is read already, by session.bearer; name another header or none",
            ),
            (
                "header = \"Cookie\"",
                "session.header: \"Cookie\" cannot carry a credential: browsers and servers have a use of their own for it",
            ),
            (
                "websocket_query = \"\"",
                "session.websocket_query: must name a query parameter; to look at none, leave the key out",
            ),
            ("capacity = 0", "session.capacity: must be at least 1"),
            ("leeway = \"5m\"", "session.leeway: must be shorter than 5m, the lifetime of a session JWT"),
            (
                "cookies = { same_site = \"none\", secure = false }",
                "session.cookies.same_site: browsers drop cookies with \"none\" unless session.cookies.secure is true",
            ),
            (
                "cookies.domain = \".a.com\"",
                "session.cookies.domain: write \"a.com\", without the dot; subdomains are included all the same",
            ),
            ("cookies.domain = \"a/b\"", "session.cookies.domain: \"a/b\" is not a domain name"),
        ],
    );
}

#[test]
fn of_tls() {
    each_tells(
        "[server.tls]",
        &[
            (
                "listen = \"127.0.0.1:1\"",
                "server.tls.cert: missing; name the PEM file of the certificate chain",
            ),
            (
                "listen = \"127.0.0.1:1\"\ncert = \"/x\"",
                "server.tls.key: missing; name the PEM file of the certificate's key",
            ),
            (
                "listen = \"127.0.0.1:1\"\nkey = \"/x\"",
                "server.tls.cert: missing; name the PEM file of the key's certificate",
            ),
            (
                "listen = \"127.0.0.1:1\"\ncertificates = [{ cert = \"/x\" }]",
                "server.tls.certificates[0].key: missing; name a PEM file",
            ),
        ],
    );
}

#[test]
fn of_identity_headers() {
    each_tells(
        "[identity.headers]",
        &[
            (
                "Host = \"{session.id}\"",
                "identity.headers.Host: \"Host\" cannot carry identity: it says where the request goes",
            ),
            (
                "X = \"{client_certificate.subject}\"",
                "identity.headers: x tells of client certificates, which are asked for only with server.tls.client_ca",
            ),
            (
                "X = \"{client_certificate.subjekt}\"",
                "identity.headers.X: a client certificate has no `subjekt`; write `client_certificate.subject` (known: subject, common_name, dns_names, uris, email_addresses, serial, fingerprint)",
            ),
            (
                "Transfer_Encoding = \"x\"",
                "identity.headers.Transfer_Encoding: \"Transfer_Encoding\" cannot carry identity: it frames the message",
            ),
            (
                "\"X-Forwarded-For\" = \"x\"",
                "identity.headers.X-Forwarded-For: \"X-Forwarded-For\" cannot carry identity: the gateway sets it on every request",
            ),
            ("\"X User\" = \"x\"", "identity.headers.\"X User\": \"X User\" is not a header name"),
            (
                "X-User = \"x\"\nx_user = \"y\"",
                "identity.headers.x_user: the same header as \"X-User\" beside it; keep one of the two",
            ),
        ],
    );
}

#[test]
fn of_upstreams() {
    let upstream = |line: &str| {
        let text = settings("[[routes]]", "").replace("url = \"http://127.0.0.1:3000\"", line);
        mistakes_of(&[&text], &[])
    };
    for (line, complaint) in [
        (
            "",
            "a.toml:5:12: upstreams.app.url: missing; write where the service is, such as \"http://127.0.0.1:3000\"",
        ),
        ("urls = []", "a.toml:6:1: upstreams.app.urls: an empty list leaves nowhere to forward to"),
        (
            "url = \"127.0.0.1:3000\"",
            "a.toml:6:1: upstreams.app.url: \"127.0.0.1:3000\" is not a URL; it must begin with http:// or https://",
        ),
        ("url = \"http://app\"\nretries = 11", "a.toml:7:1: upstreams.app.retries: at most 10"),
        (
            "url = \"http://app\"\nhealth.interval = \"1s\"",
            "a.toml:7:1: upstreams.app.health.path: missing; write what to ask for, such as \"/healthz\"",
        ),
        (
            "url = \"http://app\"\nhealth.path = \"healthz\"",
            "a.toml:7:8: upstreams.app.health.path: \"healthz\" is not a path; write one such as \"/healthz\"",
        ),
        (
            "url = \"http://app\"\noutlier.failures = 0",
            "a.toml:7:9: upstreams.app.outlier.failures: must be at least 1",
        ),
        (
            "url = \"http://app\"\ntls.server_name = \"app\"",
            "a.toml:7:1: upstreams.app.tls: no url of this upstream begins with https://",
        ),
        (
            "url = \"https://app\"\ntls.server_name = \"a b\"",
            "a.toml:7:5: upstreams.app.tls.server_name: \"a b\" is not a name that a certificate can have",
        ),
        (
            "url = \"https://app\"\ntls.cert = \"/none\"",
            "a.toml:7:1: upstreams.app.tls.key: missing; name the PEM file of the certificate's private key",
        ),
        (
            "url = \"https://app\"\ntls.ca = \"/none.pem\"",
            "a.toml:7:5: upstreams.app.tls.ca: /none.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            "url = \"ftp://app\"",
            "a.toml:6:1: upstreams.app.url: ftp:// is not known here; use http://host:port, https://host:port or unix:/path",
        ),
        (
            "url = \"http://app:99999\"",
            "a.toml:6:1: upstreams.app.url: \"http://app:99999\" has a port that is not one; write a number from 1 to 65535",
        ),
        (
            "url = \"http://app/x\"",
            "a.toml:6:1: upstreams.app.url: \"http://app/x\" must end after the host and port, without a path or query",
        ),
        (
            "urls = [\"http://a\", \"http://a:80\"]",
            "a.toml:6:21: upstreams.app.urls[1]: \"http://a:80\" is listed twice",
        ),
        (
            "url = \"http://a\"\nurls = [\"http://b\"]",
            "a.toml:7:1: upstreams.app.urls: given together with url; keep one of the two",
        ),
        (
            "url = \"unix:/s\"\nhost = \"upstream\"",
            "a.toml:7:1: upstreams.app.host: a unix socket has no host to send; write \"preserve\" or a name",
        ),
        (
            "url = \"http://a\"\nhost = \"a b\"",
            "a.toml:7:1: upstreams.app.host: \"a b\" is not a host; write \"preserve\", \"upstream\" or a name",
        ),
        (
            "url = \"http://a\"\ntimeouts.connect = \"0s\"",
            "a.toml:7:10: upstreams.app.timeouts.connect: must be longer than 0s",
        ),
        (
            "url = \"http://a\"\nmax_connections = 0",
            "a.toml:7:1: upstreams.app.max_connections: must be at least 1",
        ),
    ] {
        assert_eq!(upstream(line), [complaint], "for {line:?}");
    }
}

#[test]
fn of_routes() {
    each_tells(
        "[[routes]]",
        &[
            (
                "methods = []",
                "routes[0].methods: an empty list matches no request; to match every method, leave the key out",
            ),
            (
                "methods = [\"get\"]",
                "routes[0].methods[0]: methods are written in capitals, did you mean \"GET\"?",
            ),
            (
                "methods = [\"CONNECT\"]",
                "routes[0].methods[0]: CONNECT is always refused, so no route can be for it",
            ),
            ("methods = [\"GET\", \"GET\"]", "routes[0].methods[1]: GET is listed twice"),
            ("methods = \"GET\"", "routes[0].methods: expected a list in [ ], found a text"),
            (
                "strip_prefix = \"/app\"",
                "routes[0].strip_prefix: \"/app\" is not how every path of \"/*\" begins",
            ),
            (
                "strip_prefix = \"/\"",
                "routes[0].strip_prefix: \"/\" strips nothing; write the beginning of the path, such as \"/app\"",
            ),
            (
                "max_body = \"none\"",
                "routes[0].max_body: \"none\" is not a size; write a number and one of B, KiB, MiB, GiB, such as \"64KiB\"; \"unlimited\" lifts the limit",
            ),
            ("auth = \"off\"", "routes[0].auth: \"off\" is none of \"required\", \"optional\", \"none\""),
            ("auht = \"none\"", "routes[0].auht: unknown key, did you mean \"auth\"?"),
            ("allowd_roles = [\"admin\"]", "routes[0].allowd_roles: unknown key"),
            (
                "[[routes]]\npath = \"/*\"\nupstream = \"app\"",
                "routes[1]: \"/*\" matches the same requests as routes[0], and neither is more specific",
            ),
            (
                "[[routes]]\npath = \"/a\"\nupstream = \"ap\"",
                "routes[1].upstream: no upstream is called \"ap\", did you mean \"app\"?",
            ),
            (
                "[[routes]]\npath = \"/a\"\nupstream = \"other\"",
                "routes[1].upstream: no upstream is called \"other\"; there is app",
            ),
            (
                "[[routes]]\npath = \"/a\"\nupstrem = \"app\"",
                "routes[1].upstrem: unknown key, did you mean \"upstream\"?",
            ),
            (
                "[[routes]]\nupstream = \"app\"",
                "routes[1].path: missing; write the path it is for, such as \"/*\" for every path",
            ),
            ("[routes.timeouts]\nidle = \"0s\"", "routes[0].timeouts.idle: must be longer than 0s"),
        ],
    );
}

#[test]
fn rules_that_nobody_could_meet_are_mistakes() {
    let told_of = |lines: &str, message: &str| {
        let section = "[[routes]]";
        let told = told(section, lines);
        assert!(told.iter().any(|line| line == message), "{lines:?}: {told:?}");
    };
    let empty = "an empty list lets nobody pass; to ask for nothing, leave the key out";
    for key in ["organizations", "roles", "email_domains", "factors"] {
        told_of(&format!("allow.{key} = []"), &format!("routes[0].allow.{key}: {empty}"));
    }
    for (lines, message) in [
        (
            "kinds = []",
            "routes[0].kinds: an empty list lets nobody pass; to let sessions pass, leave the key out",
        ),
        ("kinds = [\"m2m\", \"m2m\"]", "routes[0].kinds[1]: \"m2m\" is listed twice"),
        (
            "allow = {}",
            "routes[0].allow: holds no rule; write one, or leave it out to let everyone with a session pass",
        ),
        ("allow.role = [\"a\"]", "routes[0].allow.role: unknown key, did you mean \"roles\"?"),
        ("allow.roles = [\" \"]", "routes[0].allow.roles[0]: is empty"),
        (
            "allow.organizations = [\"{tem}\"]",
            "routes[0].allow.organizations[0]: neither host nor path of the route captures {tem}",
        ),
        (
            "allow.organizations = [\"*\"]",
            "routes[0].allow.organizations[0]: \"*\" is neither an id, a slug nor one \"{name}\" that the route captures",
        ),
        (
            "allow.factors = [\"topt\"]",
            "routes[0].allow.factors[0]: \"topt\" is no type of factor, did you mean \"totp\"?; there is magic_link, otp, oauth, webauthn, totp, crypto, password, signature_challenge, sso, imported, recovery_codes, email_otp, impersonated, trusted_auth_token",
        ),
        (
            "allow.scopes = [\"read\"]",
            "routes[0].allow.scopes: a session has no scopes; kinds must name \"m2m\" or \"connected_app\"",
        ),
        (
            "kinds = [\"m2m\"]\nallow.roles = [\"a\"]",
            "routes[0].allow.roles: only a session has this, and kinds takes none",
        ),
        (
            "kinds = [\"m2m\"]\nallow.scopes = [\"read write\"]",
            "routes[0].allow.scopes[0]: \"read write\" holds a space, and so is more than one scope",
        ),
        (
            "allow.email_domains = [\"a@b.example\"]",
            "routes[0].allow.email_domains[0]: \"a@b.example\" is an address; write what stands behind the @",
        ),
        (
            "allow.email_domains = [\".example\"]",
            "routes[0].allow.email_domains[0]: \".example\" is no domain; write it as in \"example.com\", in its ASCII form",
        ),
        (
            "allow.claims = { plan = [] }",
            "routes[0].allow.claims.plan: an empty list lets nobody pass; name the values that may come",
        ),
        (
            "allow.permission = { resource = \"documents\" }",
            "routes[0].allow.permission.action: missing; write the action as the RBAC policy names it",
        ),
        (
            "allow.permission = { resource = \"*\", action = \"read\" }",
            "routes[0].allow.permission.resource: a policy has no wildcard for resources, so nobody would pass; name one",
        ),
        (
            "kinds = [\"m2m\"]\nallow.permission = { resource = \"documents\", action = \"read\" }",
            "routes[0].allow.permission: a machine has no role, so nobody would pass; allow.scopes is for machines",
        ),
        (
            "allow.permission = { resource = \"documents\", action = \"read\", check = \"remot\" }",
            "routes[0].allow.permission.check: \"remot\" is none of \"local\", \"remote\", did you mean \"remote\"?",
        ),
        ("allow.max_auth_age = \"0s\"", "routes[0].allow.max_auth_age: must be longer than 0s"),
        ("allow.device.known_for = \"0s\"", "routes[0].allow.device.known_for: must be longer than 0s"),
        (
            "allow.device.countries = []",
            "routes[0].allow.device.countries: an empty list lets nobody pass; to ask for nothing, leave the key out",
        ),
        (
            "allow.device.countries = [\"Germany\"]",
            "routes[0].allow.device.countries[0]: \"Germany\" is no country; write two letters, as in \"DE\"",
        ),
        (
            "allow.device = {}",
            "routes[0].allow.device: asks for nothing; write known, known_for or countries, or leave it out",
        ),
        (
            "kinds = [\"m2m\"]\nallow.device.known = true",
            "routes[0].allow.device: only a session has this, and kinds takes none",
        ),
        (
            "auth = \"none\"\nallow.roles = [\"a\"]",
            "routes[0].allow: the route asks for nobody (auth = \"none\"), so this is never judged; remove it, or the auth",
        ),
        (
            "auth = \"none\"\nkinds = [\"m2m\"]",
            "routes[0].kinds: the route asks for nobody (auth = \"none\"), so this is never judged; remove it, or the auth",
        ),
        (
            "enforce = \"observ\"",
            "routes[0].enforce: \"observ\" is none of \"on\", \"observe\", did you mean \"observe\"?",
        ),
    ] {
        told_of(lines, message);
    }
}

#[test]
fn routes_for_connected_apps_need_the_addresses_that_clients_are_told() {
    let told = told("[[routes]]", "kinds = [\"session\", \"connected_app\"]");
    let expected = [
        "stytch.domain: missing; route \"/*\" admits Connected Apps, which are told that they get their tokens there",
        "server.public_url: missing; route \"/*\" admits Connected Apps, which are told that the route is there",
    ];
    assert_eq!(told.len(), 2, "{told:?}");
    for complaint in expected {
        assert!(told.iter().any(|line| line.ends_with(complaint)), "{complaint}: {told:?}");
    }
}

#[test]
fn of_forward_auth() {
    each_tells(
        "[forward_auth]",
        &[(
            "enabled = true",
            "forward_auth.enabled: answers trusted proxies alone; name the proxy that asks in server.trusted_proxies",
        )],
    );
    let project = "[stytch]\nproject_id = \"project-test-1\"\nsecret = \"secret-test-not-to-be-seen\"\n";
    let routes = "[[routes]]\npath = \"/*\"\n";
    let mistakes = mistakes_of(&[&format!("{project}{routes}")], &[]);
    assert!(mistakes[0].starts_with("a.toml: upstreams: missing; name a service"), "{mistakes:?}");
    assert!(
        mistakes[1].starts_with("a.toml:4:1: routes[0].upstream: missing; name the upstream"),
        "{mistakes:?}"
    );
    let asked = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[forward_auth]\nenabled = true\n";
    let loaded = outcome(&[&format!("{project}{asked}{routes}")], &[]).unwrap();
    assert!(loaded.config.forward_auth && loaded.config.routes[0].upstream.is_none());
    let summary = summary(&loaded.config);
    assert!(summary.iter().any(|line| line == "routes without an upstream, which are only asked about: /*"));
    assert!(summary.iter().any(|line| line.starts_with("forward_auth: ")));
}

#[test]
fn what_is_not_available_yet_is_never_accepted_in_silence() {
    let later = |section: &str, lines: &str, key: &str| {
        let message = format!("{key}: not available yet in this version; remove it");
        assert_eq!(told(section, lines), [message], "for {lines:?} in {section}");
    };
    later("[cache]", "url = \"redis://127.0.0.1\"", "cache.url");
    later("[rate_limit]", "identity = \"1/min\"", "rate_limit.identity");
    later("[telemetry]", "otlp_endpoint = \"http://127.0.0.1:4317\"", "telemetry.otlp_endpoint");
}

#[test]
fn a_key_that_names_its_default_is_fine() {
    for (section, lines) in [
        ("[stytch]", "policy_refresh = \"300s\""),
        ("[server]", "proxy_protocol = false\nhttp2 = false"),
        ("[signin]", "enabled = false\nsession_duration = \"480m\""),
        ("[upstreams.app]", "balance = \"round_robin\"\nretries = 0\nhttp2 = false"),
        ("[[routes]]", "kinds = [\"session\"]\nenforce = \"on\"\non_unauthenticated = \"401\""),
        ("[rate_limit]", "identity = false\nsign_in = \"20/min\""),
        ("[telemetry]", "audit_log = \"off\""),
    ] {
        outcome(&[&settings(section, lines)], &[]).unwrap();
    }
}

#[test]
fn all_in_one_run_in_the_order_of_the_files() {
    let one = settings("[session]", "bearer = 1\nmax_stalenes = \"5m\"");
    let two = "[[routes]]\npath = \"/*\"\nupstream = \"nowhere\"\n[routes.headers]\nHost = \"x\"\n";
    let variables =
        [("STYTCH_GATEWAY_SERVER__WORKERS", "many"), ("STYTCH_GATEWAY_SERVER_LISTEN", "0.0.0.0:1")];
    let message = outcome(&[&one, two], &variables).unwrap_err();
    let expected = "a.toml:2:1: session.bearer: expected true or false, found a whole number
a.toml:3:1: session.max_stalenes: unknown key, did you mean \"max_staleness\"?
b.toml:3:1: routes[0].upstream: no upstream is called \"nowhere\"; there is app
b.toml:5:1: routes[0].headers.Host: \"Host\" cannot carry identity: it says where the request goes
STYTCH_GATEWAY_SERVER_LISTEN: server_listen: unknown key; two underscores stand between a section and its key. The variable is STYTCH_GATEWAY_SERVER__LISTEN
STYTCH_GATEWAY_SERVER__WORKERS: server.workers: expected a whole number, found a text
6 mistakes in the configuration";
    assert_eq!(message, expected);
}

#[test]
fn of_files_as_a_whole() {
    for (text, complaint) in [
        ("[stytch\n", "a.toml:1:8: not valid TOML: unclosed table, expected `]`"),
        (
            "[stytch]\nsecret = secret-test-not-to-be-seen\n",
            "a.toml:2:10: not valid TOML: string values must be quoted, expected literal string",
        ),
        (
            "[stytch]\nsecret = \"secret-test-not-to-be-seen\n",
            "a.toml:2:37: not valid TOML: invalid basic string, expected `\"`",
        ),
        ("a = 1\na = 2\n", "a.toml:2:1: not valid TOML: duplicate key"),
        ("a = 1\nb = \"\0\"\n", "a.toml:2:6: holds a NUL byte"),
    ] {
        assert_eq!(mistakes_of(&[text], &[]), [complaint]);
    }
    let huge = format!("# {}", "x".repeat(10 << 20));
    assert_eq!(mistakes_of(&[&huge], &[]), ["a.toml: larger than 1 MiB, which no settings file is"]);
}

#[test]
fn byte_order_marks_and_windows_line_ends_are_no_mistakes() {
    let text = format!("\u{feff}{}", settings("[session]", "bearer = false").replace('\n', "\r\n"));
    assert!(!outcome(&[&text], &[]).unwrap().config.session.bearer);
    let text = text.replace("bearer", "baerer");
    let mistakes = mistakes_of(&[&text], &[]);
    assert_eq!(mistakes, ["a.toml:2:1: session.baerer: unknown key, did you mean \"bearer\"?"]);
}
