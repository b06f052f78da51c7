//! The commands of DESIGN.md section 2 and the life of `run`: signals, reloads, exit codes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Connection;
use crate::echo::{Answer, Step};
use crate::program::{Program, Site, ended, program};
use crate::world::until;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n")
}

#[tokio::test]
async fn what_is_under_way_is_finished_before_the_end() {
    let site = Site::new().await;
    site.upstream
        .on("/open/late", |_| Answer::steps([Step::Wait(Duration::from_millis(600)), Step::Send(OK.into())]));
    let mut gateway = site.run("").await;
    let mut idle = gateway.connect().await;
    idle.send(get("/open/x")).await;
    idle.response().await.unwrap().expect(200);
    let mut waiting = gateway.connect().await;
    waiting.send(get("/open/late")).await;
    site.upstream.wait_for(2).await;
    gateway.signal("TERM");
    gateway.until_logged("draining").await;
    assert_eq!(idle.rest().await, b"", "an idle connection closes at once");
    let response = waiting.response().await.unwrap().expect(200);
    assert_eq!(response.text(), "late");
    assert_eq!(waiting.rest().await, b"");
    assert_eq!(gateway.exit().await.code(), Some(0));
    assert_eq!(gateway.access_log(2).await.len(), 2);
}

#[tokio::test]
async fn while_it_drains_it_is_alive_and_not_ready_and_takes_nobody_new() {
    let site = Site::new().await;
    site.upstream.on("/open/held", |_| Answer::steps([Step::Hold]));
    let mut gateway = site.run("").await;
    let mut held = gateway.connect().await;
    held.send(get("/open/held")).await;
    site.upstream.wait_for(1).await;
    gateway.signal("INT");
    gateway.until_logged("draining").await;
    assert_eq!(gateway.admin("/readyz").await.expect(503).json()["pending"], json!(["draining"]));
    gateway.admin("/livez").await.expect(200);
    let address = gateway.address;
    until("a closed door", async || std::net::TcpStream::connect(address).is_err()).await;
    // A second signal ends it at once.
    let began = Instant::now();
    gateway.signal("TERM");
    gateway.exit().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_drain_ends_by_itself() {
    let site = Site::new().await;
    site.upstream.on("/open/held", |_| Answer::steps([Step::Hold]));
    let mut gateway = site.run("[server.timeouts]\ndrain = \"500ms\"").await;
    let mut held = gateway.connect().await;
    held.send(get("/open/held")).await;
    site.upstream.wait_for(1).await;
    gateway.stop().await;
    assert!(gateway.stderr().contains("timeouts.drain"), "{}", gateway.stderr());
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_setting() {
    let site = Site::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for setting in ["server", "admin"] {
        let file = site.write("gateway.toml", &site.settings(""));
        let over = site.write("over.toml", &format!("[{setting}]\nlisten = \"{address}\""));
        let run = ended(["run", "-c", file.to_str().unwrap(), "-c", over.to_str().unwrap()]);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(
            run.stderr.contains(&format!("{setting}.listen: cannot listen on {address}")),
            "{}",
            run.stderr
        );
    }
}

#[tokio::test]
async fn a_mistake_in_the_settings_is_told_and_nothing_starts() {
    let site = Site::new().await;
    let text = site.settings("[session]\nmax_stalenes = \"5m\"\nleeway = \"5\"");
    let line = text.lines().position(|line| line.starts_with("max_stalenes")).unwrap() + 1;
    let file = site.write("gateway.toml", &text);
    for command in ["run", "check"] {
        let output = ended([command, "-c", file.to_str().unwrap()]);
        assert_eq!(output.code, Some(2), "{output:?}");
        let place = format!("{}:{line}:1: ", file.display());
        assert!(
            output.stderr.contains(&place) && output.stderr.contains("max_staleness"),
            "{}",
            output.stderr
        );
        assert!(
            output.stderr.contains("session.leeway") && output.stderr.contains("2 mistakes"),
            "{}",
            output.stderr
        );
        assert!(!output.stderr.contains(site.emulator.secret()));
    }
    assert_eq!(ended(["run", "-c", "/nowhere/at/all.toml"]).code, Some(2));
}

#[tokio::test]
async fn check_tells_what_is_open_and_print_hides_the_secret() {
    let site = Site::new().await;
    let file = site.write("gateway.toml", &site.settings(""));
    let check = ended(["check", "-c", file.to_str().unwrap()]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stdout.contains("routes without authentication: /open/*"), "{}", check.stdout);
    let print = ended(["check", "--print", "-c", file.to_str().unwrap()]);
    assert_eq!(print.code, Some(0), "{print:?}");
    let printed: toml::Table = print.stdout.parse().unwrap();
    assert_eq!(printed["session"]["max_staleness"].as_str(), Some("5m"));
    for output in [check, print] {
        assert!(
            !output.stdout.contains(site.emulator.secret())
                && !output.stderr.contains(site.emulator.secret())
        );
    }
}

#[test]
fn the_schema_is_json() {
    let output = ended(["schema"]);
    let schema: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    assert!(schema["properties"]["routes"].is_object());
}

#[tokio::test]
async fn the_health_check_says_whether_it_lives() {
    let site = Site::new().await;
    let mut gateway = site.run("").await;
    let told = site.write("told.toml", &format!("[admin]\nlisten = \"{}\"", gateway.admin));
    let ask = || ended(["healthcheck", "-c", told.to_str().unwrap()]);
    assert_eq!(ask().code, Some(0), "{:?}", ask());
    // What is wrong with the rest of the settings does not matter to it.
    std::fs::write(&told, format!("[admin]\nlisten = \"{}\"\n[server]\nlisten = 7", gateway.admin)).unwrap();
    assert_eq!(ask().code, Some(0));
    gateway.stop().await;
    let gone = ask();
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("/livez"), "{}", gone.stderr);
}

#[tokio::test]
async fn settings_come_from_files_and_the_environment() {
    let site = Site::new().await;
    let text = site.settings("");
    let without: String =
        text.lines().filter(|line| !line.starts_with("secret")).map(|line| format!("{line}\n")).collect();
    let file = site.write("gateway.toml", &without);
    let mut command = program(["run", "-c", file.to_str().unwrap()]);
    command.env("STYTCH_SECRET", site.emulator.secret()).env("STYTCH_GATEWAY_SESSION__BEARER", "false");
    let gateway = Program::spawn(&mut command).await;
    let session = site.emulator.session("ana@acme.example").organization("acme").mint();
    let mut connection = gateway.connect().await;
    let ask = |header: String| format!("GET / HTTP/1.1\r\nHost: app.test\r\n{header}\r\n\r\n");
    connection.send(ask(format!("Cookie: stytch_session={}", session.session_token))).await;
    connection.response().await.unwrap().expect(200);
    connection.send(ask(format!("Authorization: Bearer {}", session.session_jwt))).await;
    connection.response().await.unwrap().expect(401);
}

const NEW: &str = "[[routes]]\npath = \"/new\"\nupstream = \"app\"\nauth = \"none\"";

async fn until_served(gateway: &Program, path: &str) {
    until(path, async || gateway.get(path).await.status == 200).await;
}

#[tokio::test]
async fn a_file_that_changes_is_taken_over() {
    let site = Site::new().await;
    let gateway = site.run("").await;
    let mut kept = gateway.connect().await;
    kept.send(get("/new")).await;
    kept.response().await.unwrap().expect(401);
    site.write("gateway.toml", &site.settings(NEW));
    until_served(&gateway, "/new").await;
    kept.send(get("/new")).await;
    kept.response().await.unwrap().expect(200);
    // Invalid: it is logged, and the old settings stay.
    site.write("gateway.toml", &site.settings("[server.limits]\nbody = \"much\""));
    gateway.until_logged("the old one stays").await;
    kept.send(get("/new")).await;
    kept.response().await.unwrap().expect(200);
    let reloads = gateway.admin("/metrics").await.text();
    for outcome in ["applied", "rejected"] {
        let line = format!("stytch_gateway_config_reloads_total{{outcome=\"{outcome}\"}} 1");
        assert!(reloads.contains(&line), "{reloads}");
    }
    site.write("gateway.toml", &site.settings(""));
    until("the first settings", async || gateway.get("/new").await.status == 401).await;
}

/// As Kubernetes swaps the files of a ConfigMap.
#[tokio::test]
async fn a_swapped_symlink_is_taken_over() {
    let site = Site::new().await;
    for (directory, more) in [("..1", ""), ("..2", NEW)] {
        std::fs::create_dir(site.path(directory)).unwrap();
        site.write(&format!("{directory}/gateway.toml"), &site.settings(more));
    }
    std::os::unix::fs::symlink("..1", site.path("..data")).unwrap();
    std::os::unix::fs::symlink("..data/gateway.toml", site.path("gateway.toml")).unwrap();
    let gateway = Program::run(&site.path("gateway.toml")).await;
    gateway.get("/new").await.expect(401);
    std::os::unix::fs::symlink("..2", site.path("..data_new")).unwrap();
    std::fs::rename(site.path("..data_new"), site.path("..data")).unwrap();
    until_served(&gateway, "/new").await;
}

/// The signal also reopens the access log, after somebody moved the file away.
#[tokio::test]
async fn a_hang_up_reloads_and_reopens() {
    let site = Site::new().await;
    let log = site.path("access.log");
    let more = format!("[telemetry]\naccess_log = \"{}\"", log.display());
    let gateway = site.run(&more).await;
    gateway.get("/open/1").await.expect(200);
    until("a line", async || std::fs::read_to_string(&log).unwrap().contains("/open/1")).await;
    std::fs::rename(&log, site.path("access.log.1")).unwrap();
    site.write("gateway.toml", &site.settings(&format!("{more}\n{NEW}")));
    gateway.signal("HUP");
    gateway.until_logged("the changed configuration is in force").await;
    gateway.get("/new").await.expect(200);
    until("a line in the new file", async || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("\"/new\""))
    })
    .await;
    assert!(!std::fs::read_to_string(site.path("access.log.1")).unwrap().contains("\"/new\""));
}

#[tokio::test]
async fn the_level_of_the_log_can_be_changed_while_it_runs() {
    let site = Site::new().await;
    let gateway = site.run("[telemetry]\nlevel = \"info\"").await;
    site.write("gateway.toml", &site.settings("[telemetry]\nlevel = \"error\""));
    gateway.signal("HUP");
    until("the new settings", async || gateway.admin("/status").await.json()["config"]["generation"] == 2)
        .await;
    assert!(!gateway.stderr().contains("is in force"), "{}", gateway.stderr());
    site.write("gateway.toml", &site.settings("[telemetry]\nlevel = \"info\""));
    gateway.signal("HUP");
    gateway.until_logged("the changed configuration is in force").await;
}

/// DESIGN.md section 4: no credential is ever written to a log, and neither is the secret.
#[tokio::test]
async fn at_trace_nothing_secret_is_logged() {
    let site = Site::new().await;
    let mut gateway = site
        .run("[telemetry]\nlevel = \"trace\"\n[session]\nheader = \"X-Session\"\nwebsocket_query = \"session\"\n\
              max_staleness = \"10s\"\n[identity.headers]\nX-Email = \"{member.email_address}\"")
        .await;
    let emulator = &site.emulator;
    let mint = || emulator.session("ana@acme.example").organization("acme").mint();
    let mut secrets = vec![emulator.secret().to_owned()];
    let mut send = Vec::new();
    for _ in 0..2 {
        let (live, foreign) =
            (mint(), emulator.token(json!({ "iss": "x" })).key(stytch_emulator::Key::Foreign).sign());
        let junk = "j".repeat(40) + &live.session_token[..4];
        for secret in [live.session_token, live.session_jwt, foreign, junk] {
            send.push(format!("GET / HTTP/1.1\r\nHost: app.test\r\nCookie: stytch_session={secret}\r\n\r\n"));
            send.push(format!(
                "GET / HTTP/1.1\r\nHost: app.test\r\nCookie: stytch_session_jwt={secret}\r\n\r\n"
            ));
            send.push(format!("GET / HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer {secret}\r\n\r\n"));
            send.push(format!("GET / HTTP/1.1\r\nHost: app.test\r\nX-Session: {secret}\r\n\r\n"));
            send.push(format!(
                "GET /?session={secret} HTTP/1.1\r\nHost: app.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
            ));
            send.push(format!("GET /open/?session={secret} HTTP/1.1\r\nHost: app.test\r\n\r\n"));
            send.push(format!(
                "GET / HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer {secret}\n\r\n\r\n"
            ));
            secrets.push(secret);
        }
    }
    // Once as it should be, once with a Stytch that does not answer.
    for _ in 0..2 {
        let unknown = mint().session_token;
        send.push(format!("GET / HTTP/1.1\r\nHost: app.test\r\nCookie: stytch_session={unknown}\r\n\r\n"));
        secrets.push(unknown);
        for request in &send {
            let mut connection = gateway.connect().await;
            connection.send(request).await;
            let response = connection.response().await.unwrap();
            for cookie in response.all("set-cookie") {
                let value = cookie.split(['=', ';']).nth(1).unwrap_or_default();
                if value.len() > 20 {
                    secrets.push(value.to_owned());
                }
            }
        }
        emulator.fault(stytch_emulator::Fault { status: Some(500), ..stytch_emulator::Fault::on("/") });
    }
    let lines = gateway.access_log(2 * send.len() - 1).await;
    gateway.stop().await;
    let decisions: Vec<_> = lines.iter().map(|line| line["decision"].as_str().unwrap()).collect();
    assert!(decisions.contains(&"allowed") && decisions.contains(&"refused"), "{decisions:?}");
    let (stdout, stderr) = (gateway.stdout(), gateway.stderr());
    assert!(stderr.contains("\"level\":\"WARN\""), "the outage is told: {stderr}");
    for secret in &secrets {
        // A JWT's signature alone would do, and so would its claims.
        let parts = secret.split('.').skip(usize::from(secret.contains('.')));
        for part in parts.chain([secret.as_str()]) {
            assert!(!stdout.contains(part) && !stderr.contains(part), "{part} was logged");
        }
    }
}

#[tokio::test]
async fn each_request_leaves_one_line() {
    let site = Site::new().await;
    let gateway = site.run("").await;
    let session = site.emulator.session("ana@acme.example").organization("acme").mint();
    let mut connection = gateway.connect().await;
    let cookie = format!("Cookie: stytch_session_jwt={}", session.session_jwt);
    let ask = format!(
        "POST /reports/7?q=secret HTTP/1.1\r\nHost: APP.test:80\r\n{cookie}\r\nContent-Length: 4\r\n\r\nbody"
    );
    connection.send(ask).await;
    let response = connection.response().await.unwrap().expect(200);
    let line = gateway.access_log(1).await.remove(0);
    let names: Vec<_> = line.as_object().unwrap().keys().cloned().collect();
    for name in [
        "time",
        "request_id",
        "trace_id",
        "client",
        "method",
        "host",
        "path",
        "route",
        "decision",
        "code",
        "status",
        "kind",
        "member_id",
        "user_id",
        "client_id",
        "organization_id",
        "verification",
        "decision_ms",
        "upstream_ms",
        "total_ms",
        "bytes_in",
        "bytes_out",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} is missing: {names:?}");
    }
    assert_eq!(names.len(), 22, "{names:?}");
    let expected = json!({
        "client": "127.0.0.1", "method": "POST", "host": "app.test", "path": "/reports/7", "route": "/*",
        "decision": "allowed", "code": "ok", "status": 200, "kind": "session", "verification": "local",
        "bytes_in": 4, "bytes_out": response.body.len(),
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&line[name], value, "{name}");
    }
    assert!(line["member_id"].as_str().unwrap().starts_with("member-"));
    assert!(line["total_ms"].as_f64().unwrap() >= line["upstream_ms"].as_f64().unwrap());
}

/// A client that only connects is let go in time, also by the program as it is shipped.
#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let site = Site::new().await;
    let gateway = site.run("[server.timeouts]\nheader = \"300ms\"\nidle = \"500ms\"").await;
    let mut silent = gateway.connect().await;
    let mut halfway = gateway.connect().await;
    halfway.send("GET / HTTP/1.1\r\nHost: ap").await;
    let mut idle: Connection = gateway.connect().await;
    idle.send(get("/open/x")).await;
    idle.response().await.unwrap().expect(200);
    for connection in [&mut silent, &mut halfway, &mut idle] {
        assert_eq!(connection.rest().await, b"");
    }
}
