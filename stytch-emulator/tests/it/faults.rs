//! Trouble made to order.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stytch_emulator::Fault;

use crate::support::Scene;

#[tokio::test]
async fn a_status_alone_is_a_stytch_error_as_often_as_ordered() {
    let scene = Scene::start().await;
    scene.emulator.fault(Fault { status: Some(429), times: Some(2), ..Fault::on("/v1/debug") });
    scene.get("/v1/debug/whoami").await.refused(429, "too_many_requests");
    scene.get("/v1/b2b/rbac/policy").await.good();
    scene.get("/v1/debug/whoami").await.refused(429, "too_many_requests");
    scene.get("/v1/debug/whoami").await.good();
}

#[tokio::test]
async fn bodies_are_text_or_json() {
    let scene = Scene::start().await;
    let faults = json!([
        { "path": "/v1/debug", "status": 502, "body": "<html>Bad gateway</html>" },
        { "path": "/v1/rbac", "body": { "policy": 5 } },
    ]);
    scene.control("PUT", "/faults", faults).await.good();
    let answer = scene.request("GET", "/v1/debug/whoami").send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.text().await.unwrap(), "<html>Bad gateway</html>");
    let answer = scene.request("GET", "/v1/rbac/policy").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "policy": 5 }));
    scene.control("DELETE", "/faults", Value::Null).await.good();
    scene.get("/v1/debug/whoami").await.good();
}

#[tokio::test]
async fn a_dropped_call_gets_no_answer_but_is_remembered() {
    let scene = Scene::start().await;
    scene.emulator.fault(Fault { drop: true, times: Some(1), ..Fault::on("/v1/debug") });
    let error = scene.request("GET", "/v1/debug/whoami").send().await.unwrap_err();
    assert!(error.is_request(), "{error:?}");
    assert_eq!(scene.emulator.requests("/v1/debug")[0].status, None);
    scene.get("/v1/debug/whoami").await.good();
}

#[tokio::test]
async fn slowness_delays_the_truth_and_nobody_else() {
    let scene = Scene::start().await;
    scene.emulator.fault(Fault { latency_ms: 300, ..Fault::on("/v1/debug") });
    let start = Instant::now();
    let slow = async {
        scene.get("/v1/debug/whoami").await.good();
        start.elapsed()
    };
    let quick = async {
        scene.get("/v1/rbac/policy").await.good();
        start.elapsed()
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert!(slow >= Duration::from_millis(300), "{slow:?}");
    assert!(quick < slow, "{quick:?}");
    scene.emulator.clear_faults();
}

#[tokio::test]
async fn the_control_api_is_spared_and_checks_its_orders() {
    let scene = Scene::start().await;
    scene.emulator.fault(Fault { drop: true, ..Fault::on("/") });
    scene.control("GET", "/project", Value::Null).await.good();
    let misspelt = scene.control("PUT", "/faults", json!([{ "path": "/", "stauts": 500 }])).await;
    assert_eq!(misspelt.status, 400);
}
