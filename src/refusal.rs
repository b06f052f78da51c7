//! What a request that is turned back is told: the same at every door.
//!
//! What holds: one function says who is sent to sign in, and one what goes with a refusal: the
//! challenge, the way on for a person, and the end of a refused cookie. Doors differ in the statuses
//! they may use and in how they pack an answer, and in nothing else.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::access::rejection::{Code, Rejection};
use crate::proxy::cookies;
use crate::reply::{self, Form};
use crate::signin;
use crate::signin::redirect::{self, WayOn, Whither};
use crate::site::Site;

/// Who is turned back, from what.
#[derive(Clone, Copy)]
pub struct Came<'a> {
    pub method: &'a Method,
    /// As the client sent them, with its own `Host`.
    pub headers: &'a HeaderMap,
    pub whither: Whither<'a>,
}

/// See the module.
#[derive(Clone, Copy)]
pub struct TurnedBack<'a> {
    pub site: &'a Site,
    pub rejection: &'a Rejection,
    pub came: Came<'a>,
    pub request_id: &'a str,
}

impl TurnedBack<'_> {
    /// To the sign-in page, where that is the answer.
    #[must_use]
    pub fn to_sign_in(&self) -> Option<Response<Bytes>> {
        let location = redirect::after(self.rejection, &self.site.config, &self.came)?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SEE_OTHER;
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, location);
        headers.insert(header::CACHE_CONTROL, reply::NO_STORE);
        self.forget_refused(headers);
        Some(response)
    }

    /// The refusal, with what can be done about it.
    #[must_use]
    pub fn refusal(&self, status: StatusCode, form: Form) -> Response<Bytes> {
        let mut response = reply::refusal_with(status, self.rejection, form, self.request_id);
        if let Some(page) = self.way_on().and_then(|way_on| self.page(status, &way_on)) {
            let (parts, body) = page.into_parts();
            *response.body_mut() = body;
            response.headers_mut().extend(parts.headers);
        }
        let headers = response.headers_mut();
        if let Some(challenge) = self.site.config.announced.challenge(self.rejection) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        self.forget_refused(headers);
        response
    }

    /// Where a person's browser could go, for a proxy that sends it there by itself.
    #[must_use]
    pub fn location(&self) -> Option<HeaderValue> {
        let to_sign_in = redirect::after(self.rejection, &self.site.config, &self.came);
        to_sign_in.or_else(|| self.way_on().map(|way_on| way_on.location))
    }

    fn way_on(&self) -> Option<WayOn> {
        redirect::way_on(self.rejection, &self.site.config, &self.came)
    }

    fn page(&self, status: StatusCode, way_on: &WayOn) -> Option<Response<Bytes>> {
        let signin = self.site.signin.as_deref()?;
        let config = &self.site.config.signin;
        Some(signin::refusal::page(signin, config, self.came.headers, way_on, status, self.request_id))
    }

    /// Makes the browser that sent a refused credential as a cookie forget it.
    fn forget_refused(&self, answer: &mut HeaderMap) {
        let session = &self.site.config.session;
        if self.rejection.code == Code::InvalidCredential && cookies::has_own(session, self.came.headers) {
            cookies::forget(session, answer);
        }
    }
}
