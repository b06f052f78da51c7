//! The program itself, as an operator starts it: a process with arguments, an environment, signals
//! and an exit code.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use stytch_emulator::Emulator;
use tempfile::TempDir;

use crate::client::{Connection, Response};
use crate::echo::Echo;
use crate::world::until;

/// What a process works with: Stytch's place, an upstream, and a directory for its files.
pub(crate) struct Site {
    pub(crate) emulator: Emulator,
    pub(crate) upstream: Echo,
    pub(crate) directory: TempDir,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let emulator = Emulator::start(stytch_emulator::World::built_in()).await.unwrap();
        Self { emulator, upstream: Echo::start().await, directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Settings with these among them. `/open/*` asks for nobody.
    pub(crate) fn settings(&self, more: &str) -> String {
        format!(
            "[stytch]\nproject_id = \"{}\"\nsecret = \"{}\"\napi_url = \"{}\"\n\
             [server]\nlisten = \"127.0.0.1:0\"\nworkers = 2\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [upstreams.app]\nurl = \"{}\"\n\
             [[routes]]\npath = \"/*\"\nupstream = \"app\"\n\
             [[routes]]\npath = \"/open/*\"\nupstream = \"app\"\nauth = \"none\"\n{more}\n",
            self.emulator.project_id(),
            self.emulator.secret(),
            self.emulator.url(),
            self.upstream.url(),
        )
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A gateway with these settings, serving.
    pub(crate) async fn run(&self, more: &str) -> Program {
        let file = self.write("gateway.toml", &self.settings(more));
        Program::run(&file).await
    }
}

/// The program with these arguments, and nothing of ours in its environment.
pub(crate) fn program<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stytch-gateway"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// What it said and how it ended, for what ends by itself.
pub(crate) fn ended<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Ended {
    let output = program(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A gateway that runs as a process of its own; killed when dropped.
pub(crate) struct Program {
    child: Child,
    stdout: Text,
    stderr: Text,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

type Text = Arc<Mutex<String>>;

impl Program {
    pub(crate) async fn run(file: &Path) -> Self {
        let mut command = program(["run", "-c", file.to_str().unwrap()]);
        Self::spawn(&mut command).await
    }

    /// Returns when it is ready.
    pub(crate) async fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = gathered(child.stdout.take().unwrap());
        let stderr = gathered(child.stderr.take().unwrap());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut program = Self { child, stdout, stderr, address: nowhere, admin: nowhere };
        until("the program to serve", async || {
            let lines = program.log();
            let Some(serving) = lines.iter().find(|line| line["message"] == "serving") else { return false };
            let address =
                |name: &str| serving[name].as_str().unwrap().split(", ").next().unwrap().parse().unwrap();
            (program.address, program.admin) = (address("listen"), address("admin"));
            true
        })
        .await;
        let admin = program.admin;
        until("the program to be ready", async || ask(admin, "/readyz").await.status == 200).await;
        program
    }

    pub(crate) fn stdout(&self) -> String {
        lock(&self.stdout).clone()
    }

    pub(crate) fn stderr(&self) -> String {
        lock(&self.stderr).clone()
    }

    /// The lines of its own log.
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = self.stderr();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// The lines of an access log that goes to standard output, once there are so many.
    pub(crate) async fn access_log(&self, lines: usize) -> Vec<Value> {
        until("the access log", async || self.stdout().lines().count() >= lines).await;
        self.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) async fn until_logged(&self, message: &str) {
        until(message, async || self.stderr().contains(message)).await;
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        ask(self.address, path).await
    }

    pub(crate) async fn admin(&self, path: &str) -> Response {
        ask(self.admin, path).await
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::to(self.address).await
    }

    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        until("the end of the program", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.exit().await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

async fn ask(address: SocketAddr, path: &str) -> Response {
    let mut connection = Connection::to(address).await;
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
    connection.response().await.expect("an answer")
}

fn gathered(mut pipe: impl Read + Send + 'static) -> Text {
    let text = Text::default();
    let gathering = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut piece) {
            lock(&gathering).push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    });
    text
}

fn lock(text: &Text) -> std::sync::MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}
