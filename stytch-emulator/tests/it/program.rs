//! The emulator as a program.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

fn program(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_stytch-emulator"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn it_says_what_to_put_in_the_environment_and_stops_when_asked() {
    let mut child = program(&["--listen", "127.0.0.1:0"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut value = |name: &str| lines.find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap();
    let (project_id, secret) = (value("STYTCH_PROJECT_ID="), value("STYTCH_SECRET="));
    let url = value("STYTCH_GATEWAY_STYTCH__API_URL=");
    let whoami = reqwest::Client::new().get(format!("{url}/v1/debug/whoami"));
    let answer = whoami.basic_auth(project_id, Some(secret)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_taken_port_names_the_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = program(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("--listen") && said.contains("cannot listen on 127.0.0.1"), "{said}");
}

#[test]
fn a_seed_that_is_not_there_is_named() {
    let mut child = program(&["--seed", "no-such-seed.toml"]);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("no-such-seed.toml"), "{said}");
}
