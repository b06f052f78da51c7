//! The demo does what it says: its curl lines are read and followed here.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::*;

/// Each has a file of its own.
fn anywhere() -> Arguments {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name =
        format!("stytch-gateway-demo-{}-{}.toml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let settings = std::env::temp_dir().join(name);
    Arguments { gateway: local(0), admin: local(0), emulator: local(0), app: local(0), settings }
}

/// The status and the body that a printed curl line gets.
async fn follow(line: &str) -> (u16, String) {
    // Words are parted by spaces, but for those in single quotes.
    let words: Vec<&str> = line
        .split('\'')
        .enumerate()
        .flat_map(|(at, part)| if at % 2 == 1 { vec![part] } else { part.split_whitespace().collect() })
        .collect();
    let url = *words.last().unwrap();
    let mut request = http::Request::get(url);
    let mut body = Bytes::new();
    for pair in words.windows(2) {
        match pair {
            ["-H", header] => {
                let (name, value) = header.split_once(": ").unwrap();
                request = request.header(name, value);
            }
            ["--cookie", cookie] => request = request.header("cookie", *cookie),
            ["-d", data] => {
                request = request.method("POST");
                body = Bytes::from((*data).to_owned());
            }
            _ => {}
        }
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client.request(request.body(Full::new(body)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn every_line_it_prints_does_what_it_says() {
    let demo = Demo::start(&anywhere()).await.unwrap();
    let printed = words::instructions(&demo);
    let mut lines = printed.lines().map(str::trim).filter(|line| line.starts_with("curl "));
    let mut next = || lines.next().unwrap();

    let (status, body) = follow(next()).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("remote-user: ana@acme.example"), "{body}");
    assert!(body.contains("x-stytch-organization-slug: acme"), "{body}");
    for _refused in 0..2 {
        let (status, body) = follow(next()).await;
        assert_eq!(status, 401);
        assert!(body.contains("\"unauthenticated\""), "{body}");
    }
    let (status, body) = follow(next()).await;
    assert_eq!(status, 200);
    assert!(body.contains("nobody"), "{body}");
    let (status, body) = follow(next()).await;
    assert_eq!(status, 200);
    assert!(body.contains("session_jwt"), "{body}");
    let (status, body) = follow(next()).await;
    assert_eq!((status, body.trim()), (200, "{\"ready\":true}"));
    let (status, body) = follow(next()).await;
    assert_eq!(status, 200);
    assert!(body.contains("stytch_gateway_requests_total"), "{body}");
    assert_eq!(lines.next(), None);
    demo.stop().await.unwrap();
}

#[tokio::test]
async fn its_settings_are_there_while_it_runs() {
    let arguments = anywhere();
    let demo = Demo::start(&arguments).await.unwrap();
    let hash = config::access_hash(
        &config::load(std::slice::from_ref(&arguments.settings), std::iter::empty()).unwrap().config,
    );
    let (_, status) = follow(&format!("curl http://{}/status", demo.admin)).await;
    assert!(status.contains(&hash), "{hash} is not in {status}");
    demo.stop().await.unwrap();
    assert!(!arguments.settings.exists());
}

#[tokio::test]
async fn a_browser_gets_a_page() {
    let demo = Demo::start(&anywhere()).await.unwrap();
    let (status, body) =
        follow(&format!("curl -H 'Accept: text/html' http://{}/optional/", demo.gateway)).await;
    assert_eq!(status, 200);
    assert!(body.starts_with("<!doctype html>") && body.contains("GET /optional/"), "{body}");
    demo.stop().await.unwrap();
}

/// Goes to a path as a browser does, with a form or without, and on to where that leads.
async fn browse(demo: &Demo, jar: &mut Vec<(String, String)>, path: &str, form: Option<String>) -> String {
    let (mut path, mut form) = (path.to_owned(), form);
    for _redirect in 0..5 {
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = http::Request::get(format!("http://{}{path}", demo.gateway))
            .header("accept", "text/html")
            .header("cookie", cookies.join("; "));
        if form.is_some() {
            let origin = format!("http://{}", demo.gateway);
            let kind = "application/x-www-form-urlencoded";
            request = request.method("POST").header("origin", origin).header("content-type", kind);
        }
        let body = Full::new(Bytes::from(form.take().unwrap_or_default()));
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let response = client.request(request.body(body).unwrap()).await.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            jar.retain(|(known, _)| known != name);
            jar.push((name.to_owned(), value.to_owned()));
        }
        let Some(location) = response.headers().get("location") else {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            return String::from_utf8(body.to_vec()).unwrap();
        };
        path = location.to_str().unwrap().to_owned();
    }
    panic!("no end of redirects, the last to {path}");
}

/// The first form of a page, with these fields.
fn filled(page: &str, fields: &str) -> Option<String> {
    let hidden = page.split("</form>").next().unwrap().split("type=\"hidden\"").skip(1).map(|input| {
        let of = |name: &str| input.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap();
        format!("{}={}&", of("name"), of("value"))
    });
    Some(hidden.collect::<String>() + fields)
}

#[tokio::test]
async fn ana_signs_in_and_the_application_hears_of_her_role() {
    let demo = Demo::start(&anywhere()).await.unwrap();
    let mut jar = Vec::new();
    let page = browse(&demo, &mut jar, "/reports", None).await;
    let form = filled(&page, "action=email&email=ana%40acme.example");
    let page = browse(&demo, &mut jar, "/_stytch/login", form).await;
    let code = demo.emulator.outbox(EMAIL)[0].code.clone().unwrap();
    let page =
        browse(&demo, &mut jar, "/_stytch/login", filled(&page, &format!("action=code&code={code}"))).await;
    let acme = demo.emulator.organization_id(ORGANIZATION).unwrap();
    let form = filled(&page, &format!("organization={acme}"));
    let page = browse(&demo, &mut jar, "/_stytch/login", form).await;
    assert!(page.contains("GET /reports") && page.contains("admin"), "{page}");
    demo.stop().await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_told_by_who_wants_it() {
    let taken = std::net::TcpListener::bind(local(0)).unwrap();
    let address = taken.local_addr().unwrap();
    for (arguments, who) in [
        (Arguments { gateway: address, ..anywhere() }, "the gateway wants"),
        (Arguments { admin: address, ..anywhere() }, "the gateway's admin listener wants"),
        (Arguments { emulator: address, ..anywhere() }, "the stand-in for Stytch wants"),
        (Arguments { app: address, ..anywhere() }, "the application wants"),
    ] {
        let error = Demo::start(&arguments).await.map(drop).unwrap_err();
        let told = format!("{error:#}");
        assert!(told.starts_with(who) && told.contains(&address.to_string()), "{told}");
    }
}

#[tokio::test]
async fn it_stays_on_this_machine() {
    let everywhere = Arguments { emulator: "0.0.0.0:0".parse().unwrap(), ..anywhere() };
    let error = Demo::start(&everywhere).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
}
