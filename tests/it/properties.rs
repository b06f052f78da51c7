//! What must hold whatever comes in: generated requests through the whole gateway, and generated
//! heads through the one place that decides.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use stytch_emulator::Session;
use stytch_gateway::access::{RequestHead, host, path};
use stytch_gateway::client::Forwarding;
use stytch_gateway::config;
use stytch_gateway::identity::owned::Owned;
use stytch_gateway::proxy::ids::Generator;
use stytch_gateway::proxy::sieve::Sieve;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::client::find;
use crate::gate::{bearing, gate, request, scheduled, settings};
use crate::world::World;

/// Enough to meet most pairs of pieces; the samples are small, so that all of it stays quick.
const CASES: u32 = 300;

/// `X-Role` and `REMOTE_USER` are owned as well as what begins with `X-Stytch-`.
const SETTINGS: &str =
    "[identity.headers]\nREMOTE_USER = \"{member.member_id}\"\nX-Role = \"{claims.role}\"\n";

fn runner() -> TestRunner {
    TestRunner::new(Cases { cases: CASES, failure_persistence: None, ..Cases::default() })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// As a CGI server names the variable of a header.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn is_identity(name: &str) -> bool {
    let variable = variable(name);
    variable.starts_with("X_STYTCH_") || ["REMOTE_USER", "X_ROLE"].contains(&variable.as_str())
}

/// Names near and far from those that carry identity.
fn name() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "x", "X", "stytch", "Stytch", "STYTCH", "member", "id", "roles", "remote", "user", "role", "a",
    ]);
    let mark = prop::sample::select(vec!["-", "_", ".", "~", "!", "|", "^", "'", "+", "x", ""]);
    let spelled = prop::collection::vec((word, mark), 1..5)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, mark)| [word, mark]).collect::<String>());
    let known = prop::sample::select(vec![
        "X-Stytch-Member-Id",
        "x_stytch_roles",
        "Remote-User",
        "REMOTE_USER",
        "x.role",
        "Connection",
        "Forwarded",
        "X-Forwarded-For",
        "Cookie",
        "X-Request-Id",
        "Via",
        "TE",
        "Accept",
    ]);
    prop_oneof![3 => spelled, 2 => known.prop_map(str::to_owned)]
}

fn value() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "evil",
        "close, x-stytch-member-id, remote_user",
        "keep-alive, x-role",
        "X-Stytch-Roles",
        "stytch_session=evil; a=b",
        "trailers",
        "",
    ]);
    prop_oneof![2 => known.prop_map(str::to_owned), 1 => "[!-~]{1,12}"]
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((name(), value()), 0..12)
}

/// The identity that arrived upstream, by the names a legacy server would know it under.
fn arrived(world: &World) -> Vec<(String, String)> {
    let headers = world.upstream.last().headers().into_iter().filter(|(name, _)| is_identity(name));
    let mut identity: Vec<_> = headers.map(|(name, value)| (variable(&name), value)).collect();
    identity.sort();
    identity
}

/// Whatever headers come in, only ours go out as identity: all of them with a session, none
/// without one.
#[test]
fn only_our_identity_goes_out() {
    let runtime = runtime();
    let world = runtime.block_on(World::with(SETTINGS));
    let session = world.session();
    let honest = runtime.block_on(async {
        world.get("/x").jwt(&session).expect(200).await;
        arrived(&world)
    });
    assert_eq!(honest.len(), 6);
    let outcome = runner().run(&(headers(), any::<bool>()), |(headers, signed_in)| {
        let target = if signed_in { "/x" } else { "/public/x" };
        let mut request = world.get(target);
        // A credential of its own making would be refused, which other tests are about.
        let headers = headers.iter().filter(|(name, _)| !signed_in || variable(name) != "COOKIE");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if signed_in {
            request = request.jwt(&session);
        }
        let seen = world.upstream.requests().len();
        let response = runtime.block_on(request.send());
        prop_assert_eq!(response.status, 200, "{}", response.text());
        prop_assert_eq!(world.upstream.requests().len(), seen + 1);
        let arrived = arrived(&world);
        if signed_in {
            prop_assert_eq!(&arrived, &honest);
        } else {
            prop_assert!(arrived.is_empty(), "{:?}", arrived);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// The same of what passes the sieve before identity is set, with more samples.
#[test]
fn no_identity_passes_the_sieve() {
    let owned = Owned::new(&["remote_user", "x-role"].map(HeaderName::from_static));
    let forwarding = Forwarding::new(IpAddr::V4(Ipv4Addr::LOCALHOST), false, &[]);
    let mut runner = TestRunner::new(Cases { cases: 3000, failure_persistence: None, ..Cases::default() });
    let outcome = runner.run(&headers(), |headers| {
        let mut inbound = HeaderMap::new();
        for (name, value) in &headers {
            inbound.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        let ids = Generator::default().next(&inbound, false);
        let mut outbound = HeaderMap::new();
        Sieve { owned: &owned, forwarding: &forwarding, ids: &ids }.pass(&inbound, &mut outbound);
        prop_assert!(outbound.keys().all(|name| !is_identity(name.as_str())), "{:?}", outbound);
        // What has nothing to do with identity or the way here passes as it came.
        let kept = |headers: &HeaderMap| headers.get_all(header::ACCEPT).iter().cloned().collect::<Vec<_>>();
        let nominated = inbound.contains_key(header::CONNECTION);
        prop_assert!(nominated || kept(&outbound) == kept(&inbound), "{:?} {:?}", inbound, outbound);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Anything a parser of heads would let through, and credentials that are nearly right.
#[derive(Debug, Clone)]
struct Head {
    method: String,
    host: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    later: i64,
}

fn credential(session: &Session) -> impl Strategy<Value = Vec<u8>> + use<> {
    let (token, jwt) = (session.session_token.clone(), session.session_jwt.clone());
    let whole = prop::sample::select(vec![
        token,
        jwt,
        "a.b.c".to_owned(),
        "e30.e30.e30".to_owned(),
        String::new(),
        "0".repeat(44),
    ]);
    (whole, prop::option::of((any::<prop::sample::Index>(), any::<u8>()))).prop_map(|(whole, change)| {
        let mut bytes = whole.into_bytes();
        if let Some((at, byte)) = change.filter(|_| !bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

fn head(session: &Session) -> impl Strategy<Value = Head> + use<> {
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "OPTIONS", "CONNECT", "X"]);
    let host = prop_oneof![Just("app.test".to_owned()), Just("other.test".to_owned()), "[ -~]{0,20}"];
    let piece = prop::sample::select(vec![
        "/",
        "/",
        "public",
        "optional",
        "x",
        "..",
        "%2e",
        "%2F",
        ";",
        "%",
        "\u{e9}",
        "?",
        "&session_jwt=",
    ]);
    let target = prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()));
    let carrier = prop::sample::select(vec![
        ("authorization", "Bearer "),
        ("authorization", "bearer"),
        ("authorization", "Basic "),
        ("cookie", "stytch_session="),
        ("cookie", "stytch_session_jwt="),
        ("cookie", "a=b; stytch_session_jwt="),
        ("cookie", ";;=;"),
        ("origin", ""),
        ("upgrade", "websocket"),
        ("sec-fetch-site", ""),
    ]);
    let carried = (carrier, credential(session))
        .prop_map(|((name, before), value)| (name.to_owned(), [before.as_bytes(), &value].concat()));
    let other = (name(), prop::collection::vec(any::<u8>(), 0..12));
    let headers = prop::collection::vec(prop_oneof![3 => carried, 1 => other], 0..6);
    let later = prop_oneof![4 => Just(0i64), 1 => -10_000_000_000i64..10_000_000_000, 1 => any::<i64>()];
    (method, host, target, headers, later).prop_map(|(method, host, target, headers, later)| Head {
        method: method.to_owned(),
        host,
        target,
        headers,
        later,
    })
}

#[test]
fn what_counts_for_nobody_any_more_is_forgotten() {
    let runtime = runtime();
    let world = runtime.block_on(World::with("[session]\nmax_staleness = \"1m\"\noutage_grace = \"10m\""));
    let config = settings(&world);
    let local = LocalSet::new();
    let gate = local.block_on(&runtime, async { gate(&config, scheduled) });
    let headers = bearing(&world.session().session_token);
    let asked = request(&headers);
    assert!(local.block_on(&runtime, gate.decide(&asked)).is_ok());
    // A minute, an outage, and what is kept on.
    for (minutes, kept) in [(0, 1), (11, 1), (25, 1), (27, 0)] {
        gate.authn().forget_old(asked.received_at + minutes * 60_000);
        assert_eq!(gate.authn().len(), kept, "after {minutes} minutes");
    }
}

/// No input makes the decision panic, and none without a good credential is a pass on a route
/// that asks for one.
#[test]
fn no_head_makes_the_decision_panic() {
    let runtime = runtime();
    let world = runtime.block_on(World::with("[session]\nwebsocket_query = \"session_jwt\""));
    let session = world.session();
    let config = settings(&world);
    let local = LocalSet::new();
    let gate = local.block_on(&runtime, async { gate(&config, scheduled) });
    let now = stytch_gateway::clock::unix_millis();
    let outcome = runner().run(&head(&session), |head| {
        let mut headers = HeaderMap::new();
        for (name, value) in &head.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        let (raw, query) = head
            .target
            .split_once('?')
            .map_or((head.target.as_str(), None), |(raw, query)| (raw, Some(query)));
        let (Ok(normal), Ok(authority)) = (path::normalise(raw), host::parse(head.host.as_bytes())) else {
            return Ok(());
        };
        let method = Method::from_bytes(head.method.as_bytes()).unwrap();
        let asked = RequestHead {
            method: &method,
            host: &authority.host,
            path: &normal.path,
            encoded_slash: normal.encoded_slash,
            query,
            headers: &headers,
            client: IpAddr::from([127, 0, 0, 1]),
            received_at: now.saturating_add(head.later),
        };
        let decided = local.block_on(&runtime, gate.decide(&asked));
        if let Ok(grant) = decided {
            let required = grant.route().auth == config::Auth::Required;
            prop_assert!(!required || grant.proved().is_some());
            let own = grant.proved().is_none_or(|proved| {
                let good = [&session.session_token, &session.session_jwt];
                let presented = head.headers.iter().map(|(_, value)| value.as_slice());
                let mut presented = presented.chain(query.map(str::as_bytes));
                let known = proved.word.identity.session.as_ref();
                presented.any(|value| good.iter().any(|good| find(value, good.as_bytes()).is_some()))
                    && known.is_some_and(|known| known.id == session.session_id)
            });
            prop_assert!(own, "an identity nobody presented");
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
