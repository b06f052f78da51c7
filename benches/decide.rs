//! What one request costs between its head and the upstream, step by step and as a whole.
//!
//! Everything is as it is in a worker with a warm cache: a configuration of 50 routes, keys and a
//! session from the emulator, a policy of 200 roles, one current-thread runtime. Requests are those of a browser with a
//! session JWT in a cookie. `scripts/bench` measures what is around it: sockets and HTTP.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, header};
use stytch_emulator::{Emulator, World};
use stytch_gateway::access::authn::checker::{self, Checker};
use stytch_gateway::access::authn::fetcher::Fetcher;
use stytch_gateway::access::authn::keys::{KeySet, Keys};
use stytch_gateway::access::authn::registry::Registry;
use stytch_gateway::access::authn::{Authn, Shared, jwt};
use stytch_gateway::access::authz::policies;
use stytch_gateway::access::authz::policy::Policy;
use stytch_gateway::access::{Gate, RequestHead, credential};
use stytch_gateway::client::Forwarding;
use stytch_gateway::config::{self, Config};
use stytch_gateway::fields::{Fields, Headers as _};
use stytch_gateway::identity::owned::Owned;
use stytch_gateway::limiter::Limiter;
use stytch_gateway::metrics::Metrics;
use stytch_gateway::proxy::ids::Generator;
use stytch_gateway::proxy::sieve::Sieve;
use stytch_gateway::readiness::Readiness;
use stytch_gateway::stytch::{Client, types};
use tokio::runtime::{Builder, LocalOptions};

const ROUTES: usize = 50;
/// Behind most of the others, whatever order a table is searched in.
const PATH: &str = "/service-31/reports/2026/11";
/// A route with [`RULES`].
const RULES_PATH: &str = "/org/acme/documents/7";
/// Ten rules, `kinds` among them, that the session meets.
const RULES: &str = r#"
[[routes]]
path = "/org/{org}/*"
upstream = "app"
kinds = ["session", "m2m"]
allow.organizations = ["globex", "{org}"]
allow.roles = ["owner", "admin"]
allow.permission = { resource = "documents", action = "read" }
allow.claims = { plan = ["pro", "enterprise"], region = "eu", beta = true }
allow.impersonated = false
allow.factors = ["email_otp"]
allow.max_auth_age = "12h"
"#;
const ROLES: usize = 200;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));

fn benches(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.expect("a runtime").block_on(async { all(criterion, &Scene::set().await) });
}

fn all(criterion: &mut Criterion, scene: &Scene) {
    criterion.bench_function("route among 50", |bencher| {
        bencher.iter(|| scene.config.table.find("app.test", &Method::GET, black_box(PATH)));
    });
    criterion.bench_function("JWT verified", |bencher| {
        bencher.iter(|| jwt::verify(black_box(&scene.jwt), &scene.keys, &scene.expected, scene.now / 1000));
    });
    criterion.bench_function("credential found and known", |bencher| {
        bencher.iter(|| {
            let presented = credential::find(&scene.config.session, black_box(&scene.headers), None)?;
            scene
                .authn
                .verify(&presented, CLIENT, scene.now)
                .now_or_never()
                .expect("a cache hit waits for nothing")
        });
    });
    criterion.bench_function("identity headers replaced", |bencher| {
        let names = scene.config.identity.headers.iter().map(|(name, _)| name);
        let owned = Owned::new(names);
        let grant = scene.decide(PATH).expect("the session is good");
        let word = &grant.proved().expect("the route asks for a session").word;
        let forwarding = Forwarding::new(CLIENT, false, &[]);
        let ids = Generator::default().next(&scene.headers, false);
        let sieve = Sieve { owned: &owned, forwarding: &forwarding, ids: &ids };
        bencher.iter(|| {
            let mut headers = Fields::with_capacity(scene.headers.len());
            sieve.pass(&scene.headers, &mut headers);
            headers.set_ready(&word.said.headers);
            black_box(headers.written().len())
        });
    });
    criterion.bench_function("whole decision", |bencher| bencher.iter(|| scene.decide(PATH).is_ok()));
    criterion.bench_function("whole decision, ten rules with a permission", |bencher| {
        bencher.iter(|| scene.decide(RULES_PATH).is_ok());
    });
}

/// A worker's parts, and one request that they know already.
struct Scene {
    config: Config,
    gate: Gate,
    authn: Rc<Authn>,
    keys: Arc<KeySet>,
    expected: jwt::Expected,
    jwt: String,
    headers: HeaderMap,
    now: i64,
}

impl Scene {
    async fn set() -> Self {
        let emulator = Emulator::start(World::built_in()).await.expect("an emulator");
        let config = configuration(&emulator);
        let settings = &config.stytch;
        let client = Client::new(
            &settings.api_url,
            &settings.project_id,
            &settings.secret,
            settings.vertical,
            settings.timeout,
        )
        .expect("a client");
        let jwks = client.jwks().await.expect("keys");
        let keys = Arc::new(KeySet::new(jwks, None, SystemTime::now()).expect("usable keys"));
        let in_use = Keys::default();
        in_use.replace(Arc::clone(&keys));
        let organization = emulator.organization_id("acme").expect("an organization");
        let shared = shared(&config, &client, in_use, &organization);
        let authn = Authn::new(&config, shared, Metrics::new(1).worker(0));
        let claims = serde_json::json!({ "plan": "pro", "region": "eu", "beta": true });
        let session = emulator.session("ana@acme.example").organization("acme").custom_claims(claims);
        let jwt = session.mint().session_jwt;
        let scene = Self {
            gate: Gate::new(&config, Rc::clone(&authn)),
            expected: jwt::Expected {
                issuers: settings.issuers.clone(),
                audience: settings.project_id.clone(),
                vertical: settings.vertical,
                leeway: 5,
            },
            headers: headers(&jwt),
            now: stytch_gateway::clock::unix_millis(),
            authn,
            keys,
            jwt,
            config,
        };
        scene.decide(PATH).expect("the session is good");
        scene.decide(RULES_PATH).expect("every rule holds");
        scene
    }

    fn decide(
        &self,
        path: &str,
    ) -> Result<stytch_gateway::access::Grant, stytch_gateway::access::rejection::Rejection> {
        let head = RequestHead {
            method: &Method::GET,
            host: "app.test",
            path: black_box(path),
            encoded_slash: false,
            query: None,
            headers: &self.headers,
            client: CLIENT,
            received_at: self.now,
        };
        self.gate.decide(&head).now_or_never().expect("nothing has to be asked")
    }
}

fn configuration(emulator: &Emulator) -> Config {
    use std::fmt::Write as _;
    let mut toml = format!(
        "[stytch]\nproject_id = \"{}\"\nsecret = \"{}\"\napi_url = \"{}\"\n\n\
         [upstreams.app]\nurl = \"http://127.0.0.1:3000\"\n",
        emulator.project_id(),
        emulator.secret(),
        emulator.url()
    );
    for number in 0..ROUTES {
        write!(toml, "\n[[routes]]\npath = \"/service-{number}/*\"\nupstream = \"app\"\n")
            .expect("a String takes it");
    }
    toml.push_str(RULES);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bench.toml");
    std::fs::write(&file, toml).expect("the folder takes a file");
    let files = [Path::new(&file).to_owned()];
    config::load(&files, std::iter::empty()).unwrap_or_else(|error| panic!("{error}")).config
}

/// A project's policy with [`ROLES`], of which the session has two, and an organization's own roles.
fn policies(organization: &str) -> policies::Handle {
    let role = |name: String| {
        let permissions = ["documents", "billing", "reports"].map(|resource| types::Permission {
            resource_id: resource.to_owned(),
            actions: ["list", "read", "write"].map(str::to_owned).to_vec(),
        });
        types::Role { role_id: name, permissions: permissions.to_vec() }
    };
    let others = (2..ROLES).map(|number| format!("role-{number}"));
    let names = others.chain(["stytch_member", "admin"].map(str::to_owned));
    let policy = types::Policy { roles: names.map(role).collect(), scopes: Vec::new() };
    let in_use = policies::Policies::default();
    in_use.replace(Arc::new(Policy::new(policy)));
    let own = vec![role("auditor".to_owned())];
    in_use.learn(organization, policies::Organization::new(own, stytch_gateway::clock::unix_millis()));
    policies::Handle::new(in_use, tokio::sync::mpsc::channel(1).0)
}

/// What all workers share, without the tasks behind it: a warm cache asks none of them.
fn shared(config: &Config, client: &Client, keys: Keys, organization: &str) -> Shared {
    let (metrics, registry) = (Metrics::new(1), Arc::<Registry>::default());
    let fetcher = Fetcher {
        client: client.clone(),
        keys: keys.clone(),
        refresh: Duration::from_secs(900),
        cache: None,
        metrics: Arc::clone(&metrics),
        pending: None,
    };
    let (fetcher, _) = fetcher.start();
    let (_, checker) = Checker::new(checker::Parts {
        client: client.clone(),
        vertical: config.stytch.vertical,
        capacity: config.session.capacity,
        negative_ttl: config.session.negative_ttl,
        registry: Arc::clone(&registry),
        metrics,
        readiness: Readiness::new(),
    });
    let limiter = Arc::new(Limiter::new(&config.rate_limit));
    let changes = Arc::default();
    Shared { keys, fetcher, checker, registry, changes, limiter, policies: Some(policies(organization)) }
}

/// What a browser sends.
fn headers(jwt: &str) -> HeaderMap {
    let cookies =
        format!("theme=dark; _ga=GA1.2.1234567890.1700000000; stytch_session_jwt={jwt}; locale=en-GB");
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::HOST, "app.test"),
        (header::USER_AGENT, agent),
        (header::ACCEPT, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        (header::ACCEPT_LANGUAGE, "en-GB,en;q=0.7,de;q=0.3"),
        (header::ACCEPT_ENCODING, "gzip, deflate, br, zstd"),
        (header::REFERER, "http://app.test/service-31/reports"),
        (header::DNT, "1"),
        (header::CONNECTION, "keep-alive"),
        (header::COOKIE, &cookies),
        (header::UPGRADE_INSECURE_REQUESTS, "1"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::PRAGMA, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::try_from(value).expect("a header"));
    }
    headers
}

criterion_group!(decide, benches);
criterion_main!(decide);
