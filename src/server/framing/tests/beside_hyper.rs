//! The same bytes read by the guard and by hyper, to hold one against the other.
//!
//! Kept to the public interface, because the fuzz target `head` includes this file.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{Method, Request, Response, Version, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::{Framing, Stop};

const HEAD_BYTES: usize = 32 * 1024;
const HEADERS: usize = 100;

/// One request as somebody read it: how many bytes of content its body had.
pub(crate) type Contents = Vec<u64>;

/// What the guard made of the bytes. Every upgrade is taken to be refused.
pub(crate) struct Guarded {
    pub(crate) passed: usize,
    pub(crate) stop: Stop,
    pub(crate) contents: Contents,
}

pub(crate) fn by_the_guard(bytes: &[u8]) -> Guarded {
    let mut framing = Framing::new(HEAD_BYTES, HEADERS);
    let mut contents = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (content, heads) = (framing.in_content(), framing.messages());
        let judged = framing.judge(&bytes[at..=at]);
        at += judged.passed;
        match judged.stop {
            Stop::None => {}
            Stop::Hold => framing.resume(),
            stop => return Guarded { passed: at, stop, contents },
        }
        if judged.passed == 0 {
            continue;
        }
        if framing.messages() > heads {
            contents.push(0);
        }
        if content {
            *contents.last_mut().expect("content follows a head") += 1;
        }
    }
    Guarded { passed: at, stop: Stop::None, contents }
}

/// What hyper made of them.
#[derive(Default)]
pub(crate) struct Read {
    pub(crate) contents: Contents,
    /// A request after which hyper closes, so that it does not read on.
    pub(crate) last: bool,
    /// All of its answers.
    pub(crate) written: Vec<u8>,
    pub(crate) failed: Option<String>,
}

/// Lets hyper serve the bytes, as the worker would, until it wants more.
pub(crate) fn by_hyper(bytes: &[u8]) -> Read {
    let read = Rc::new(RefCell::new(Read::default()));
    let noted = Rc::clone(&read);
    let service = service_fn(move |request| note(request, Rc::clone(&noted)));
    let wire = Wire { input: bytes.to_vec(), at: 0, read: Rc::clone(&read) };
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(HEAD_BYTES + 1);
    let mut connection = Box::pin(builder.serve_connection(wire, service));
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    while woken.0.swap(false, Ordering::Relaxed) {
        match connection.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => break,
            Poll::Ready(Err(error)) => {
                read.borrow_mut().failed = Some(error.to_string());
                break;
            }
        }
    }
    drop(connection);
    Rc::into_inner(read).expect("hyper is done").into_inner()
}

async fn note(
    request: Request<Incoming>,
    read: Rc<RefCell<Read>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    {
        let mut read = read.borrow_mut();
        read.contents.push(0);
        read.last |= request.version() == Version::HTTP_10
            || request.headers().get_all(header::CONNECTION).iter().any(|value| {
                String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase().contains("close")
            });
    }
    let method = request.method().clone();
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            *read.borrow_mut().contents.last_mut().expect("just pushed") += data.len() as u64;
        }
    }
    let mut response = Response::new(Empty::new());
    if method == Method::CONNECT {
        *response.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
    }
    Ok(response)
}

/// Holds the two readings of any bytes against each other.
///
/// # Panics
/// When they differ, or when hyper refuses by itself what the guard let pass.
pub(crate) fn compare(bytes: &[u8]) {
    let guarded = by_the_guard(bytes);
    let whole = Framing::new(HEAD_BYTES, HEADERS).judge(bytes);
    assert!(whole.passed <= guarded.passed, "the verdict depends on how the bytes were split");
    if whole.stop != Stop::Hold {
        let same = whole.passed == guarded.passed && whole.stop == guarded.stop;
        assert!(same, "the verdict depends on how the bytes were split: {whole:?} {:?}", guarded.stop);
    }
    let read = by_hyper(&bytes[..guarded.passed]);
    assert_eq!(read.failed, None, "hyper fails on what the guard let pass");
    let written = String::from_utf8_lossy(&read.written);
    let refused = ["HTTP/1.1 400", "HTTP/1.1 414", "HTTP/1.1 431"].iter().any(|line| written.contains(line));
    assert!(!refused, "hyper refuses what the guard let pass: {written}");
    if read.last {
        assert!(guarded.contents.starts_with(&read.contents), "{:?} {:?}", guarded.contents, read.contents);
    } else {
        assert_eq!(guarded.contents, read.contents, "the guard and hyper read different requests");
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Bytes that come all at once and then no more, without an end.
struct Wire {
    input: Vec<u8>,
    at: usize,
    read: Rc<RefCell<Read>>,
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let taken = buf.remaining().min(this.input.len() - this.at);
        if taken == 0 {
            return Poll::Pending;
        }
        buf.put_slice(&this.input[this.at..this.at + taken]);
        this.at += taken;
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.read.borrow_mut().written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
