//! A request on its way through a door, with what any answer to it needs.
//!
//! What holds: whatever way an answer is made, the request behind it is logged and counted; what
//! the log calls a request is settled once, before it is judged.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};

use crate::access::rejection::Rejection;
use crate::client::{ClientView, Forwarding};
use crate::endpoints::Endpoint;
use crate::exchange::Exchange;
use crate::proxy::Onward;
use crate::proxy::ids::Ids;
use crate::refusal::{Came, TurnedBack};
use crate::reply::{self, Form, Reply};
use crate::server::record::Record;
use crate::server::worker::Worker;
use crate::signin::redirect::Whither;
use crate::site::Site;
use crate::telemetry::access_log;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// A request whose head was read, before anything is said of it.
pub struct Arrival {
    pub worker: Rc<Worker>,
    pub record: Rc<Record>,
    /// The configuration this request began with, and keeps.
    pub site: Rc<Site>,
    pub client: ClientView,
    pub forwarding: Rc<Forwarding>,
    pub ids: Ids,
    pub started: Instant,
    /// Unix milliseconds.
    pub received_at: i64,
}

/// What the log calls a request. Host and path are empty where they could not be read.
pub struct Asked<'a> {
    pub method: &'a str,
    pub host: &'a str,
    /// Without the query.
    pub path: &'a str,
}

/// See the module.
pub struct Passage {
    pub exchange: Box<Exchange>,
}

impl Arrival {
    /// Begins the log line. `endpoint` is for the gateway's own paths.
    #[must_use]
    pub fn begin(self, asked: &Asked<'_>, endpoint: Option<Endpoint>) -> Passage {
        let line = self.worker.lines.begin(&access_log::Request {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(self.received_at.unsigned_abs()),
            request_id: self.ids.request_id(),
            trace_id: self.ids.trace_id(),
            client: Some(self.client.address),
            method: asked.method,
            host: asked.host,
            path: asked.path,
        });
        Passage { exchange: Exchange::begin(self, line, endpoint) }
    }
}

impl Passage {
    #[must_use]
    pub const fn arrival(&self) -> &Arrival {
        &self.exchange.arrival
    }

    #[must_use]
    pub const fn site(&self) -> &Rc<Site> {
        &self.arrival().site
    }

    /// What the request takes along to its upstream. `received` is the version it came in.
    pub(crate) fn onward(&self, received: Version) -> Onward<'_> {
        let Arrival { worker, site, client, forwarding, ids, .. } = self.arrival();
        Onward { site, client, forwarding, ids, via: &worker.via, received }
    }

    /// Turned back before anything behind the gateway was asked, where no route was found or it was
    /// no route that refused.
    #[cold]
    #[must_use]
    pub fn refuse(self, rejection: &Rejection, method: &Method, headers: &HeaderMap) -> Response<Reply> {
        let whither = Whither { path: "/", origin: None };
        self.turn_back(rejection, &Came { method, headers, whither })
    }

    /// Turned back before anything behind the gateway was asked: to sign in where that is the answer.
    #[cold]
    #[must_use]
    pub fn turn_back(mut self, rejection: &Rejection, came: &Came<'_>) -> Response<Reply> {
        self.exchange.refused(rejection);
        let turned = self.turned_back(rejection, came);
        let refusal = || turned.refusal(rejection.code.status(), Form::of(came.method, came.headers));
        let mut response = turned.to_sign_in().unwrap_or_else(refusal);
        if came.method == Method::CONNECT {
            // What follows may be meant for the tunnel that did not come about.
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        self.own(response)
    }

    /// What may be said of a refusal.
    pub(crate) fn turned_back<'a>(&'a self, rejection: &'a Rejection, came: &Came<'a>) -> TurnedBack<'a> {
        TurnedBack { site: self.site(), rejection, came: *came, request_id: self.arrival().ids.request_id() }
    }

    /// Let pass, and then failed.
    #[cold]
    #[must_use]
    pub fn fail(mut self, rejection: &Rejection, form: Form) -> Response<Reply> {
        self.exchange.failed(rejection.code, rejection.reason);
        let response = reply::refusal(rejection, form, self.arrival().ids.request_id());
        self.own(response)
    }

    /// An answer of the gateway's own. Its headers say what the answer is; that it is not to be
    /// stored is for whoever made it to say.
    #[cold]
    #[must_use]
    pub fn own(mut self, mut response: Response<Bytes>) -> Response<Reply> {
        if [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE].contains(&response.status()) {
            // Whoever cannot write a request is not trusted to know where its body ends, and a
            // body that is too large is not read to its end.
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        self.exchange.answers(response.status());
        response.map(|body| Reply::own(body, self.exchange))
    }
}
