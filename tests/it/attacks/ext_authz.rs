//! Rows of other classes at Envoy's door.

use stytch_emulator::Fault;

use crate::envoy::{Check, Envoy};
use crate::world::{World, eventually};

const ENABLED: &str = "[ext_authz]\nenabled = true\nlisten = \"127.0.0.1:0\"\n";

/// What Envoy cannot put into a text reaches us as bytes, and is refused, wherever it stands.
#[tokio::test]
async fn p05_a_header_that_is_not_utf8() {
    let world = World::with(ENABLED).await;
    let envoy = Envoy::to(world.ext_authz_address()).await;
    let session = world.session();
    for name in ["x-custom", "authorization", "cookie", "x-stytch-roles", ":path", "host"] {
        for path in ["/public/x", "/reports"] {
            let check = Check::get(path).with(&session).header(name, b"a\xffb");
            envoy.check(check).await.refused(400, "bad_request");
        }
    }
}

/// The client is gone, and so Envoy has given up, before Stytch has answered: one line tells of it,
/// and the connection goes on.
#[tokio::test]
async fn l25_gone_before_the_answer() {
    let world = World::with(ENABLED).await;
    let envoy = Envoy::to(world.ext_authz_address()).await;
    let session = world.session();
    world.emulator.fault(Fault { latency_ms: 400, ..Fault::on("/v1/b2b/sessions/authenticate") });
    let check = Check::get("/reports").header("cookie", format!("stytch_session={}", session.session_token));
    world.keep_secret(&session.session_token);
    let asking = tokio::spawn({
        let envoy = envoy.clone();
        async move { envoy.check(check).await.0 }
    });
    eventually("a question to Stytch", || world.stytch_calls() > 0).await;
    asking.abort();
    let lines = world.log(1).await;
    assert_eq!(lines[0]["status"], 499, "{}", lines[0]);
    envoy.check(Check::get("/public/x")).await.allowed();
    // The answer comes after all, and nobody is told twice.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(world.logged().len(), 2);
    assert_eq!(world.metric("stytch_gateway_panics_total").await, 0.0);
}
