//! Devices: submitted by the script, and told of with a sign-in.

use serde_json::{Value, json};

use crate::support::{Scene, text};

/// A code tried, with a telemetry id; what the answer says of the device.
async fn device(scene: &Scene, telemetry_id: &str) -> Value {
    let sent =
        scene.post("/v1/otps/email/login_or_create", json!({ "email": "uma@example.com" })).await.good();
    let request = json!({
        "method_id": sent["email_id"], "code": scene.code("uma@example.com"), "session_duration_minutes": 5,
        "telemetry_id": telemetry_id,
    });
    scene.post("/v1/otps/authenticate", request).await.good()["user_device"].clone()
}

#[tokio::test]
async fn a_device_is_new_once_for_each_person() {
    let scene = Scene::start().await;
    let id = scene.emulator.telemetry_id("visitor-1");
    let first = device(&scene, &id).await;
    assert_eq!(first["visitor_id"], "visitor-1");
    assert_eq!(
        (&first["visitor_id_details"]["is_new"], &first["ip_geo_country"]),
        (&json!(true), &json!("GB"))
    );
    scene
        .control(
            "PUT",
            "/place",
            json!({ "ip_address": "192.0.2.9", "city": "Paris", "region": "", "country": "FR" }),
        )
        .await
        .good();
    let second = device(&scene, &scene.emulator.telemetry_id("visitor-1")).await;
    assert_eq!(second["visitor_id_details"]["is_new"], false);
    assert_eq!(second["visitor_id_details"]["first_seen_at"], first["visitor_id_details"]["first_seen_at"]);
    assert_eq!(
        (&second["ip_geo_city"], &second["ip_geo_country_details"]["is_new"]),
        (&json!("Paris"), &json!(true))
    );
    assert_eq!(device(&scene, "nobody-s").await, Value::Null);

    let request =
        json!({ "organization_id": scene.organization_id("acme"), "email_address": "ben@acme.example" });
    scene.post("/v1/b2b/otps/email/login_or_signup", request.clone()).await.good();
    let mut request = request;
    request["code"] = json!(scene.code("ben@acme.example"));
    request["telemetry_id"] = json!(id);
    let ben = scene.post("/v1/b2b/otps/email/authenticate", request).await.good();
    assert_eq!(ben["member_device"]["visitor_id_details"]["is_new"], true, "to him");
}

#[tokio::test]
async fn a_script_submits_what_it_has_found() {
    let scene = Scene::start().await;
    let script = scene.visit("/emulator/telemetry.js", &[]).await.good();
    assert!(script.as_str().unwrap().contains("GetTelemetryID"));
    let submission = json!({ "public_token": scene.emulator.public_token(), "visitor_id": "visitor-1" });
    let answer = scene.control("POST", "/telemetry", submission).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let id = answer.good();
    assert_eq!(text(&device(&scene, id.as_str().unwrap()).await, "visitor_id"), "visitor-1");
    let foreign = json!({ "public_token": "public-token-test-other", "visitor_id": "visitor-1" });
    assert_eq!(scene.control("POST", "/telemetry", foreign).await.status, 400);

    let seen = json!({ "subject": scene.emulator.user_id("uma@example.com"), "visitor_id": "visitor-2",
        "first_seen_at": "2020-01-01T00:00:00Z" });
    scene.control("POST", "/devices", seen).await.good();
    let known = device(&scene, &scene.emulator.telemetry_id("visitor-2")).await;
    assert_eq!(known["visitor_id_details"]["first_seen_at"], "2020-01-01T00:00:00Z");
}
