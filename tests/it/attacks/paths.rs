//! Class D: a path that is one thing to the rules and another to the server behind them.
//!
//! `/public/*` asks for nobody and everything else for a session, so each case is sent without
//! one: whatever reaches the upstream was let in by its spelling. Whatever does reach it must
//! arrive as the very path that was judged, which is the one in the access log.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::decoded;
use crate::client::Response;
use crate::echo::Received;
use crate::world::{World, eventually};

/// Sends a target as it is, without a credential.
async fn ask(world: &World, target: &str) -> Response {
    let raw = world.raw(format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
    raw.response.unwrap_or_else(|| panic!("no answer to {target}"))
}

/// Each is refused as ambiguous, or, where its framing is malformed already, closed upon.
async fn all_ambiguous(world: &World, targets: &[&str]) {
    for target in targets {
        world.get(target).refused(400, "ambiguous_path").await;
    }
}

/// Each is the protected path it looks like.
async fn all_protected(world: &World, targets: &[&str]) {
    for target in targets {
        world.get(target).refused(401, "unauthenticated").await;
    }
}

/// Each ends the connection before hyper has seen the head's end.
async fn all_closed_upon(world: &World, targets: &[&str]) {
    for target in targets {
        let raw = world.raw(format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        assert_eq!((raw.status(), raw.closed, raw.rest.len()), (Some(400), true, 0), "{target:?}");
    }
    assert_eq!(world.upstream_traffic(), [(0, 0); 2]);
}

#[tokio::test]
async fn d01_public_prefix_then_dot_segments() {
    let world = World::start().await;
    let targets = [
        "/public/../admin/secrets",
        "/public/./../admin",
        "/public/x/../../admin",
        "/./admin",
        "/public/..",
        "/public/.",
        "/..",
        "/.",
        "/public/%2e%2e/admin",
        "/public/%2E./admin",
        "/public/.%2e/admin",
        "/public/%2e/admin",
    ];
    all_ambiguous(&world, &targets).await;
}

/// Dots that are no dot segment are a name like any other.
#[tokio::test]
async fn d02_dots_that_mean_nothing() {
    let world = World::start().await;
    for target in
        ["/public/...", "/public/.well-known/x", "/public/..x", "/public/x..", "/public/a.b", "/public/.x/.."]
    {
        let response = ask(&world, target).await;
        assert_eq!(response.status, if target.ends_with("/..") { 400 } else { 200 }, "{target}");
    }
}

#[tokio::test]
async fn d03_doubled_and_encoded_separators() {
    let world = World::start().await;
    let targets = [
        "//admin",
        "///admin",
        "/public//../admin",
        "/public//admin",
        "/admin//",
        "/public%2f..%2fadmin",
        "/public%2F..%2Fadmin",
        "/public/%2fadmin",
        "/public%5c..%5cadmin",
        "/public%5C..%5Cadmin",
        "/public/x%2fy",
    ];
    all_ambiguous(&world, &targets).await;
}

/// A route may keep escaped slashes; dot segments between them stay refused.
#[tokio::test]
async fn d04_encoded_slashes_are_kept() {
    let world = World::with(
        "[[routes]]\npath = \"/public/*\"\nupstream = \"app\"\nauth = \"none\"\nencoded_slashes = \"keep\"\n\
         [[routes]]\npath = \"/*\"\nupstream = \"app\"",
    )
    .await;
    assert_eq!(ask(&world, "/public/a%2fb").await.status, 200);
    assert_eq!(world.upstream.last().target(), "/public/a%2Fb");
    let targets =
        ["/public/..%2fadmin", "/public/a%2f..%2f..%2fadmin", "/public/%2f..%2fadmin", "/public/.%2fadmin"];
    for target in targets {
        world.get(target).refused(400, "ambiguous_path").await;
    }
    world.get("/admin%2fx").refused(400, "ambiguous_path").await;
}

/// Backslashes as such are in no target.
#[tokio::test]
async fn d06_bytes_that_belong_in_no_target() {
    let world = World::start().await;
    let targets = ["/public\\..\\admin", "/public/\\admin", "\\admin"];
    for target in targets {
        let response = ask(&world, target).await;
        assert_eq!(response.status, 400, "{target}");
    }
    all_closed_upon(&world, &["/public/\u{0}x", "/public/\tx", "/public/\u{7f}", "/a b", "/caf\u{e9}"]).await;
}

#[tokio::test]
async fn d07_path_parameters() {
    let world = World::start().await;
    for target in ["/admin;x=1/panel", "/;/admin", "/admin;/public/x", "/;x/public/y", "/x;/../public/y"] {
        let response = ask(&world, target).await;
        assert!([400, 401].contains(&response.status), "{target} {}", response.status);
    }
    let ambiguous = [
        "/public/..;/admin",
        "/public/..;x=1/admin",
        "/public/.;/admin",
        "/public/%2e%2e;/admin",
        "/public/..%3b/admin",
        "/public/..%3Bx/admin",
    ];
    all_ambiguous(&world, &ambiguous).await;
    assert_eq!(world.upstream.traffic(), (0, 0));
}

/// A parameter that would make a path public to us and not to a servlet, or the other way around.
#[tokio::test]
async fn d08_parameters_that_change_the_route() {
    let world = World::start().await;
    for target in ["/public;x/y", "/public;/y", "/publi%63;x/y", "/public%3bx/y"] {
        let response = ask(&world, target).await;
        assert!([400, 401].contains(&response.status), "{target} {}", response.status);
    }
    assert_eq!(world.upstream.traffic(), (0, 0));
    assert_eq!(ask(&world, "/public/y;x=1").await.status, 200);
}

#[tokio::test]
async fn d09_a_fragment() {
    let world = World::start().await;
    all_closed_upon(&world, &["/public#/../admin", "/#/../admin", "/public/x#", "/public/x?y#z", "#"]).await;
}

/// Query marks that are escaped are part of the path, and no server agrees on what they are.
#[tokio::test]
async fn d10_an_escaped_query_or_fragment() {
    let world = World::start().await;
    for target in ["/public/x%3f/../../admin", "/public/x%23/../../admin"] {
        world.get(target).refused(400, "ambiguous_path").await;
    }
    for target in ["/admin%3f/public/x", "/admin%23/public/x"] {
        let response = ask(&world, target).await;
        assert!([400, 401].contains(&response.status), "{target} {}", response.status);
    }
    assert_eq!(world.upstream.traffic(), (0, 0));
}

#[tokio::test]
async fn d11_encoded_letters() {
    let world = World::start().await;
    all_protected(&world, &["/%61dmin", "/adm%69n", "/%61%64%6d%69%6e", "/%61dmin/%70anel"]).await;
    assert_eq!(ask(&world, "/%70ublic/x%2d%7e%41").await.status, 200);
    assert_eq!(world.upstream.last().target(), "/public/x-~A");
}

/// Escaped twice: a server that decodes twice would see something else.
#[tokio::test]
async fn d12_escaped_twice() {
    let world = World::start().await;
    let targets = [
        "/public/%252e%252e/admin",
        "/public/%252e%252e%252fadmin",
        "/public%252f..%252fadmin",
        "/public/%25252e%25252e/admin",
        "/public/%255c..%255cadmin",
        "/public/%2500",
        "/public/%25u002e%25u002e/admin",
    ];
    all_ambiguous(&world, &targets).await;
}

#[tokio::test]
async fn d13_overlong_and_invalid() {
    let world = World::start().await;
    let targets = [
        "/%c0%ae%c0%ae/admin",
        "/public/%c0%ae%c0%ae/admin",
        "/public/%c0%af..%c0%afadmin",
        "/public/%e0%80%af",
        "/%ff",
        "/public/%ff",
        "/public/%ed%a0%80",
        "/public/%00",
        "/public/x%00/../admin",
        "/public/%0d%0aX:%201",
        "/public/%7f",
        "/public/%",
        "/public/%4",
        "/public/%zz",
        "/public/%u002e%u002e/admin",
    ];
    all_ambiguous(&world, &targets).await;
}

/// Characters that fold into dots and slashes somewhere down the line.
#[tokio::test]
async fn d14_full_width_and_look_alikes() {
    let world = World::start().await;
    let targets = [
        "/public/%ef%bc%8e%ef%bc%8e/admin",
        "/public%ef%bc%8f..%ef%bc%8fadmin",
        "/public/%ef%bc%bcadmin",
        "/public/%e2%88%95admin",
        "/public/%e2%80%a5/admin",
        "/public/%c2%a0/x",
        "/public/%20/x",
        "/public/..%20/admin",
        "/public/%20../admin",
        "/public/..%09/admin",
    ];
    all_ambiguous(&world, &targets).await;
}

#[tokio::test]
async fn d15_a_rewrite_that_traverses() {
    let world = World::with(
        "[[routes]]\npath = \"/api/*\"\nupstream = \"app\"\nauth = \"none\"\nstrip_prefix = \"/api\"\n\
         [[routes]]\npath = \"/*\"\nupstream = \"app\"",
    )
    .await;
    let targets = [
        "/api/../../etc",
        "/api//etc",
        "/api//",
        "/api/..",
        "/api/%2e%2e/etc",
        "/api/.",
        "/api/;/..",
        "/api/%2fetc",
    ];
    all_ambiguous(&world, &targets).await;
    for (target, forwarded) in [
        ("/api/x?y=/../z", "/x?y=/../z"),
        ("/api", "/"),
        ("/api/", "/"),
        ("/%61pi/x", "/x"),
        ("/api/api/x", "/api/x"),
    ] {
        assert_eq!(ask(&world, target).await.status, 200, "{target}");
        assert_eq!(world.upstream.last().target(), forwarded);
    }
    all_protected_beside(&world, &["/apix", "/API/x", "/apI"]).await;
}

/// As [`all_protected`], where the upstream was asked before.
async fn all_protected_beside(world: &World, targets: &[&str]) {
    for target in targets {
        world.get(target).refused(401, "unauthenticated").await;
    }
}

/// An absolute target is judged and forwarded by its path alone.
#[tokio::test]
async fn d16_absolute_targets() {
    let world = World::start().await;
    world.get("http://app.test/admin").refused(401, "unauthenticated").await;
    world.get("http://app.test/public/../admin").refused(400, "ambiguous_path").await;
    world.get("http://app.test").refused(401, "unauthenticated").await;
    assert_eq!(ask(&world, "http://app.test/public/x?y").await.status, 200);
    assert_eq!(world.upstream.last().request_line(), "GET /public/x?y HTTP/1.1");
    for target in
        ["http://other.test/public/x", "http://app.test@other.test/public/x", "https://app.test:1/public/x"]
    {
        world.get(target).refused(400, "bad_request").await;
    }
    let odd =
        ["http:/admin", "http:admin", "http://", "ftp://app.test/public/x", "//app.test/public/x", "admin/x"];
    for target in odd {
        let response = ask(&world, target).await;
        assert_eq!(response.status, 400, "{target}");
    }
    assert_eq!(world.upstream.requests().len(), 1);
}

#[tokio::test]
async fn d17_a_prefix_without_boundary() {
    let world = World::start().await;
    let targets =
        ["/publicadmin", "/public-admin", "/public.", "/publi", "/PUBLIC/x", "/Public/x", "/public%20/x"];
    all_protected(&world, &targets).await;
}

/// `*` in a pattern takes whole segments, none included.
#[tokio::test]
async fn d18_the_prefix_itself() {
    let world = World::start().await;
    for target in ["/public", "/public/", "/public?x", "/public/x/"] {
        assert_eq!(ask(&world, target).await.status, 200, "{target}");
        assert_eq!(world.upstream.last().target(), target);
    }
}

#[tokio::test]
async fn d19_empty_segments_in_a_template() {
    let world =
        World::with("[[routes]]\npath = \"/org/{slug}/*\"\nupstream = \"app\"\nauth = \"none\"").await;
    all_ambiguous(
        &world,
        &["/org//settings", "/org/%20/settings", "/org/%09/settings", "/org/./x", "/org/../x"],
    )
    .await;
    for target in ["/org", "/org/"] {
        world.get(target).refused(404, "no_route").await;
    }
    assert_eq!(ask(&world, "/org/o1").await.status, 200);
}

/// Whose rule it is must not hang on a spelling. That the segment must be the session's own
/// organization comes with the rules; that there is one reading of it holds already.
#[tokio::test]
async fn d21_a_tenants_segment_in_another_spelling() {
    let world = World::with(
        "[[routes]]\npath = \"/org/{slug}/*\"\nupstream = \"app\"\nauth = \"none\"\n\
         [[routes]]\npath = \"/org/o1/*\"\nupstream = \"app\"",
    )
    .await;
    all_ambiguous(&world, &["/org/o1%2fo2/x", "/org/o1/../o2/x", "/org/o2/../o1/x", "/org/o1%5co2/x"]).await;
    all_protected(&world, &["/org/o1/x", "/org/%6f1/x", "/org/o%31/x", "/org/o1"]).await;
    for target in ["/org/o1;x/y", "/org/o1%3b/y"] {
        let response = ask(&world, target).await;
        assert!([400, 401].contains(&response.status), "{target} {}", response.status);
    }
    assert_eq!(world.upstream.traffic(), (0, 0));
}

/// Thousands of segments, dots and escapes are read in one pass.
#[tokio::test]
async fn d23_a_very_deep_path() {
    let world = World::start().await;
    let began = std::time::Instant::now();
    let cases = [
        "/public".to_owned() + &"/a".repeat(3900),
        "/public/".to_owned() + &"../".repeat(2600),
        "/public/".to_owned() + &"%2e%2e/".repeat(1100),
        "/public/".to_owned() + &"%25".repeat(2600),
        "/public/".to_owned() + &"a;".repeat(3900),
        "/public/".to_owned() + &"%252e".repeat(1600),
    ];
    for target in &cases {
        let response = ask(&world, target).await;
        assert!([200, 400].contains(&response.status), "{} {}", &target[..20], response.status);
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
    let too_long = "/public".to_owned() + &"/a".repeat(5000);
    let response = ask(&world, &too_long).await;
    assert!([400, 414, 431].contains(&response.status));
}

#[tokio::test]
async fn d25_asterisk_and_empty_target() {
    let world = World::start().await;
    let answer = world.raw("OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert_eq!(answer.status(), Some(204));
    for head in ["GET *", "POST *"] {
        let answer = world.raw(format!("{head} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        assert_eq!(answer.status(), Some(400), "{head}");
    }
    for head in ["GET ", "GET  ", "GET", "GET **", "GET ?x", "OPTIONS *x"] {
        let answer = world.raw(format!("{head} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        assert_eq!((answer.status(), answer.closed), (Some(400), true), "{head}");
    }
    assert_eq!(world.upstream_traffic(), [(0, 0); 2]);
}

/// Nothing under the reserved prefix is ever forwarded, in any spelling.
#[tokio::test]
async fn d26_reserved_paths() {
    let world = World::with("[[routes]]\npath = \"/*\"\nupstream = \"app\"\nauth = \"none\"").await;
    for target in
        ["/_stytch/login", "/_stytch", "/_stytch/", "/%5Fstytch/keys", "/_%73tytch/x", "/_stytch/auth?x"]
    {
        world.get(target).refused(404, "no_route").await;
    }
    for target in ["/_stytch;x/login", "/_stytch/;/login"] {
        let response = ask(&world, target).await;
        assert!([400, 404].contains(&response.status), "{target} {}", response.status);
    }
    assert_eq!(world.upstream.traffic(), (0, 0));
}

/// Paths made of everything that has ever confused a server.
fn spelled() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "/", "public", "public", "admin", ".", "..", ";", "%2e", "%2E", "%2f", "%5c", "%25",
        "%252e", "%70", "a", "%C3%A9", "%ff", "%00", "%20", "%3b", "%3f", "?", "&x=/../", "~", "%7E", "\\",
        ":", "@", "*", "%", "_stytch", "%61",
    ]);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// Whatever comes in: what was judged is what is forwarded, and what is forwarded without a
/// session is under `/public`, as a server sees it that decodes once and resolves dots.
#[test]
fn d28_what_is_judged_is_what_is_forwarded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::start());
    let session = world.session();
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(spelled(), any::<bool>()), |(target, signed_in)| {
        let response = runtime.block_on(async {
            let request = world.get(&target);
            if signed_in { request.jwt(&session).send().await } else { request.send().await }
        });
        prop_assert!([200, 400, 401, 404].contains(&response.status), "{} {}", target, response.status);
        if response.status == 200 {
            let arrived = response.text().split(' ').nth(1).unwrap_or_default().to_owned();
            let path = arrived.split('?').next().unwrap_or_default();
            prop_assert!(signed_in || is_public(path), "{} arrived as {}", target, arrived);
            prop_assert_eq!(
                target.split_once('?').map(|(_, query)| query).filter(|query| !query.is_empty()),
                arrived.split_once('?').map(|(_, query)| query).filter(|query| !query.is_empty())
            );
        }
        Ok(())
    });
    outcome.unwrap();
    let forwarded: Vec<_> = world.upstream.requests().iter().map(Received::path).collect();
    let asked = world.upstream.requests().len();
    let passed = |lines: &[serde_json::Value]| -> Vec<_> {
        let passed = lines.iter().filter(|line| line["code"] == "ok");
        passed.map(|line| line["path"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let logged = runtime.block_on(async {
        eventually("all lines", || passed(&world.logged()).len() == asked).await;
        passed(&world.logged())
    });
    assert_eq!(logged, forwarded);
}

/// As the most generous server behind us would read it.
fn is_public(path: &str) -> bool {
    let text = decoded(path).replace('\\', "/").to_lowercase();
    let mut segments = Vec::new();
    for segment in text.split('/').map(|segment| segment.split(';').next().unwrap_or_default()) {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.to_owned()),
        }
    }
    segments.first().is_some_and(|first| first == "public")
}
