//! An upstream that the test plays itself: every byte it says is sent when the test says so, and every
//! byte it hears is kept.

use std::fmt::Write as _;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::client::{Connection, PATIENCE, Response, find};
use crate::world::World;

/// What is sent before it is a piece of its own, as far as that can be had.
const PIECE: Duration = Duration::from_millis(1);

const ROUTES: &str = "[server.limits]\nbody = \"64MiB\"\n\
    [[routes]]\npath = \"/*\"\nupstream = \"app\"\nauth = \"none\"";

pub(super) const GET: &str = "GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// A world in which every path is public and the test's to answer.
pub(super) struct Stage {
    pub(super) world: World,
    listener: TcpListener,
}

/// The upstream's end of a connection.
pub(super) struct Far {
    stream: TcpStream,
    read: Vec<u8>,
}

/// How the gateway ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Closed,
    Reset,
}

impl Stage {
    pub(super) async fn set() -> Self {
        Self::with("").await
    }

    /// With these settings of the upstream.
    pub(super) async fn with(settings: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("[upstreams.app]\nurl = \"http://{}\"\n", listener.local_addr().unwrap());
        let world = World::builder().with(ROUTES).with(&(url + settings)).start().await;
        Self { world, listener }
    }

    pub(super) async fn client(&self) -> Connection {
        self.world.connect().await
    }

    /// The next connection that the gateway opens.
    pub(super) async fn accept(&self) -> Far {
        let (stream, _) =
            timeout(PATIENCE, self.listener.accept()).await.expect("the gateway comes").unwrap();
        stream.set_nodelay(true).unwrap();
        Far { stream, read: Vec::new() }
    }

    /// A request has come to its end on a connection of its own.
    pub(super) async fn ask(&self, request: impl AsRef<[u8]>) -> (Connection, Far, String) {
        let mut client = self.client().await;
        client.send(request).await;
        let mut far = self.accept().await;
        let head = far.head().await;
        (client, far, head)
    }

    /// What the client gets for a GET that is answered so on a connection of its own, which is
    /// closed after that where `closes`; and the two ends.
    pub(super) async fn answer(&self, answer: &[u8], closes: bool) -> (Option<Response>, Connection, Far) {
        let (mut client, mut far, _) = self.ask(GET).await;
        far.say(answer).await;
        if closes {
            far.finish().await;
        }
        (client.response().await, client, far)
    }

    /// Where the gateway sends its next request, its head taken: on this connection (true) or a new one.
    pub(super) async fn next(&self, mut far: Far) -> (Far, bool) {
        let (mut next, kept) = tokio::select! {
            asked = far.is_asked() => match asked {
                true => (far, true),
                false => (self.accept().await, false),
            },
            next = self.accept() => (next, false),
        };
        let head = next.head().await;
        assert!(head.starts_with("GET /x HTTP/1."), "{head}");
        (next, kept)
    }

    /// Whether the gateway sends its next request on this connection, rather than on a new one, and
    /// nothing before it. It is the last one there.
    pub(super) async fn is_kept(&self, far: Far, client: &mut Connection) -> bool {
        client.send(GET).await;
        let (mut next, kept) = self.next(far).await;
        next.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnext").await;
        assert_eq!(client.response().await.expect("the next answer").expect(200).text(), "next");
        kept
    }
}

impl Far {
    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let said = timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await;
        said.expect("the gateway reads").expect("the gateway is there");
    }

    /// The same where the gateway may have ended the connection.
    pub(super) async fn try_say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref()))
            .await
            .expect("the gateway reads, or ends")
            .is_ok()
    }

    /// Each in a packet of its own.
    pub(super) async fn say_in_pieces<'b>(&mut self, pieces: impl IntoIterator<Item = &'b [u8]>) {
        for piece in pieces {
            self.say(piece).await;
            tokio::time::sleep(PIECE).await;
        }
    }

    /// The head of the next request, from its first byte to the empty line.
    pub(super) async fn head(&mut self) -> String {
        self.until(b"\r\n\r\n").await
    }

    /// What comes up to and with these bytes.
    pub(super) async fn until(&mut self, mark: &[u8]) -> String {
        loop {
            if let Some(at) = find(&self.read, mark) {
                let bytes: Vec<u8> = self.read.drain(..at + mark.len()).collect();
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            assert!(
                self.more().await.is_ok(),
                "the end came first: {:?}",
                self.read.escape_ascii().to_string()
            );
        }
    }

    /// So many bytes.
    pub(super) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more().await.is_ok(), "the end came after {} bytes", self.read.len());
        }
        self.read.drain(..count).collect()
    }

    /// Whether anything comes, rather than the end.
    async fn is_asked(&mut self) -> bool {
        !self.read.is_empty() || self.more().await.is_ok()
    }

    /// Waits for the end; what came before it.
    pub(super) async fn ended(&mut self) -> (Ended, Vec<u8>) {
        loop {
            if let Err(ended) = self.more().await {
                return (ended, std::mem::take(&mut self.read));
            }
        }
    }

    /// Says nothing more, and goes on hearing.
    pub(super) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Ends the connection with a reset.
    pub(super) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    async fn more(&mut self) -> Result<(), Ended> {
        match timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("bytes, or the end") {
            Ok(0) => Err(Ended::Closed),
            Ok(_) => Ok(()),
            Err(_) => Err(Ended::Reset),
        }
    }
}

/// A request's head without what differs each time, its lines in the order of their names.
pub(super) fn plain(head: &str) -> String {
    let (line, headers) = head.split_once("\r\n").expect("a head has lines");
    let mut headers: Vec<_> = headers.trim_end().split("\r\n").collect();
    headers.sort_unstable();
    headers.iter().fold(format!("{line}\n"), |mut all, header| {
        let (name, value) = header.split_once(": ").expect("a name and a value");
        let value = if ["x-request-id", "traceparent", "via"].contains(&name) { "…" } else { value };
        let _ = writeln!(all, "{name}: {value}");
        all
    })
}
