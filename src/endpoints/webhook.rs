//! `/webhook`: Stytch tells of changes, so that they count before a word gets old by itself.
//!
//! What holds: nothing is believed before its signature and its date are; an event asks for a fresh
//! word and lets nobody in; however many come, memory is bounded, and without any of them
//! `session.max_staleness` is kept all the same.

use std::time::Duration;

use crate::server::incoming::Incoming;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;

use self::event::Event;
use crate::access::authn::changes::{Change, Taken};
use crate::access::rejection::{Code, Rejection};
use crate::clock;
use crate::config;
use crate::metrics::WebhookEvent;
use crate::passage::Passage;
use crate::reply::Reply;

mod event;
mod signature;

/// Bytes of a delivery.
const LARGEST: usize = 256 << 10;
/// For the whole of a delivery.
const PATIENCE: Duration = Duration::from_secs(10);
/// After which a delivery there was no room for may come again.
const RETRY_AFTER: Duration = Duration::from_secs(60);
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const METHODS: HeaderValue = HeaderValue::from_static("POST");

/// Answers a delivery: 204 once it has its effect, or needs none.
pub(super) async fn serve(mut passage: Passage, request: Request<Incoming>) -> Response<Reply> {
    let (parts, body) = request.into_parts();
    let outcome = take(&passage, &parts.method, &parts.headers, body).await;
    if let Some(event) = outcome.event() {
        passage.arrival().worker.metrics.webhook_event(event);
    }
    match outcome {
        Outcome::Done(_) => {
            passage.exchange.served();
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
            passage.own(response)
        }
        Outcome::TurnedBack(rejection, _) => {
            let mut response = passage.refuse(&rejection, &parts.method, &parts.headers);
            if rejection.code == Code::MethodNotAllowed {
                response.headers_mut().insert(header::ALLOW, METHODS);
            }
            response
        }
    }
}

/// What becomes of a request, and under what it counts as an event.
enum Outcome {
    Done(WebhookEvent),
    TurnedBack(Rejection, Option<WebhookEvent>),
}

impl Outcome {
    const fn event(&self) -> Option<WebhookEvent> {
        match self {
            Self::Done(event) => Some(*event),
            Self::TurnedBack(_, event) => *event,
        }
    }
}

async fn take(passage: &Passage, method: &Method, headers: &HeaderMap, body: Incoming) -> Outcome {
    let turned_back = |code, reason| Outcome::TurnedBack(Rejection::new(code, reason), None);
    let site = passage.site();
    let Some(settings) = &site.config.webhook else {
        return turned_back(Code::NoRoute, "webhooks are off");
    };
    if method != Method::POST {
        return turned_back(Code::MethodNotAllowed, "events are posted");
    }
    let authn = site.gate.authn();
    let client = passage.arrival().client.address;
    if let Some(rejection) = authn.limited(client) {
        return Outcome::TurnedBack(rejection, Some(WebhookEvent::Refused));
    }
    let body = match read(body).await {
        Ok(body) => body,
        Err(rejection) => return Outcome::TurnedBack(rejection, None),
    };
    passage.arrival().record.received(body.len() as u64);
    let now = clock::unix_millis();
    let delivery = match signature::verify(&settings.key, headers, &body, now / 1000) {
        Ok(delivery) => delivery,
        Err(refused) => {
            let rejection = Rejection::new(Code::InvalidCredential, refused.0);
            return Outcome::TurnedBack(authn.counted(rejection, client), Some(WebhookEvent::Refused));
        }
    };
    match Event::read(&body) {
        Some(event) => believe(&event, delivery, passage, now),
        None => {
            let rejection = Rejection::new(Code::BadRequest, "the event is not as events are");
            Outcome::TurnedBack(rejection, Some(WebhookEvent::Malformed))
        }
    }
}

/// What an event that Stytch signed has as an effect.
fn believe(event: &Event, delivery: &str, passage: &Passage, now: i64) -> Outcome {
    let site = passage.site();
    let config::Stytch { project_id, vertical, .. } = &site.config.stytch;
    if event.project_id != *project_id || !event.is_of(*vertical) {
        let rejection = Rejection::new(Code::BadRequest, "the event is of another project or vertical");
        return Outcome::TurnedBack(rejection, Some(WebhookEvent::Foreign));
    }
    let Some(deleted) = event.touches_sessions() else {
        return Outcome::Done(WebhookEvent::Ignored);
    };
    let at = event.at(now, clock::span(site.config.session.leeway));
    let change = Change { id: &event.id, deleted, at };
    match site.gate.authn().hear(delivery, &change, now) {
        Taken::Taken => Outcome::Done(WebhookEvent::Taken),
        Taken::Repeated => Outcome::Done(WebhookEvent::Repeated),
        Taken::Full => {
            let rejection = Rejection::new(Code::Overloaded, "more has changed than can be remembered");
            Outcome::TurnedBack(rejection.retry_after(RETRY_AFTER), Some(WebhookEvent::Full))
        }
    }
}

async fn read(body: Incoming) -> Result<Bytes, Rejection> {
    let too_large = Rejection::new(Code::BodyTooLarge, "the event is over the limit");
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(too_large);
    }
    match tokio::time::timeout(PATIENCE, Limited::new(body, LARGEST).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(_)) => Err(Rejection::new(Code::BadRequest, "the event broke off or is malformed")),
        Err(_) => Err(Rejection::new(Code::BadRequest, "the event did not come in time")),
    }
}
