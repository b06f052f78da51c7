//! A browser without scripts: keeps cookies, follows redirects, sends forms.

use std::collections::BTreeMap;

use stytch_emulator::Session;

use crate::client::{Connection, Request, Response};
use crate::world::World;

/// See the module.
pub(crate) struct Browser<'w> {
    world: &'w World,
    host: String,
    language: String,
    /// By name, with the path each is for.
    pub(crate) jar: BTreeMap<String, (String, String)>,
}

impl<'w> Browser<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world, host: "app.test".to_owned(), language: "en".to_owned(), jar: BTreeMap::new() }
    }

    pub(crate) fn at(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub(crate) fn speaking(mut self, language: &str) -> Self {
        language.clone_into(&mut self.language);
        self
    }

    /// Goes somewhere, as from the address bar.
    pub(crate) async fn open(&mut self, target: &str) -> Page {
        let request = self.world.get(target);
        let request = self.dressed(request, target).header("Sec-Fetch-Site", "none");
        let response = request.send().await;
        self.took(target, response)
    }

    /// Goes somewhere, and on to wherever that leads on this host.
    pub(crate) async fn visit(&mut self, target: &str) -> Page {
        let page = self.open(target).await;
        self.follow(page).await
    }

    pub(crate) async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..10 {
            if page.response.status != 303 {
                return page;
            }
            let location = page.response.header("location").unwrap().to_owned();
            page = self.open(location.strip_prefix("https://app.test").unwrap_or(&location)).await;
        }
        panic!("more redirects than a browser follows, the last to {}", page.at);
    }

    /// Comes from another site.
    pub(crate) async fn arrive(&mut self, target: &str) -> Page {
        let request = self.world.get(target);
        let request = self.dressed(request, target).header("Sec-Fetch-Site", "cross-site");
        let response = request.send().await;
        self.took(target, response)
    }

    /// Leaves by the form of a page: to where.
    pub(crate) async fn leave(&mut self, page: &Page, fields: &[(&str, &str)]) -> String {
        let answer = self.send_only(page, fields).await.status(303);
        let location = answer.response.header("location").unwrap();
        let path = location.strip_prefix(&self.world.emulator.url());
        path.unwrap_or_else(|| panic!("to {location}, which is not Stytch's")).to_owned()
    }

    /// Is somebody at a start page of the emulator's: what it leads back to, on this host.
    pub(crate) async fn be(&self, start: &str, who: &str) -> String {
        let mut connection = Connection::to(self.world.emulator.address()).await;
        let target = format!("{start}&as={}", escaped(who));
        connection.send(format!("GET {target} HTTP/1.1\r\nHost: stytch\r\n\r\n")).await;
        let answer = connection.response().await.expect("the emulator answers");
        assert_eq!(answer.status, 302, "{start}: {}", answer.text());
        self.own(answer.header("location").unwrap())
    }

    /// A URL of this host as its path, with a token that must never be logged.
    pub(crate) fn own(&self, url: &str) -> String {
        let path = url.strip_prefix("https://app.test").unwrap_or_else(|| panic!("{url} is elsewhere"));
        let token = path.split("token=").last().unwrap();
        self.world.keep_secret(token.split('&').next().unwrap());
        path.to_owned()
    }

    /// There and back, and on to wherever that leads.
    pub(crate) async fn trip(&mut self, page: &Page, fields: &[(&str, &str)], who: &str) -> Page {
        let start = self.leave(page, fields).await;
        let back = self.be(&start, who).await;
        let page = self.arrive(&back).await;
        self.follow(page).await
    }

    /// The newest link that was sent to somebody.
    pub(crate) fn link(&self, to: &str) -> String {
        let messages = self.world.emulator.outbox(to);
        let url = messages.first().and_then(|message| message.url.clone());
        self.own(&url.unwrap_or_else(|| panic!("no link for {to}")))
    }

    /// Sends the form of a page with these fields, and follows.
    pub(crate) async fn send(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let answer = self.send_only(page, fields).await;
        self.follow(answer).await
    }

    /// The same, without following.
    pub(crate) async fn send_only(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let (action, body) = page.form(fields);
        let origin = format!("http://{}", self.host);
        self.post(&action, &body, Some(&origin)).await
    }

    pub(crate) async fn post(&mut self, action: &str, body: &str, origin: Option<&str>) -> Page {
        let request = self.world.post(action).header("Content-Type", "application/x-www-form-urlencoded");
        let mut request = self.dressed(request, action);
        if let Some(origin) = origin {
            request = request.header("Origin", origin);
        }
        let response = request.body(body).send().await;
        self.took(action, response)
    }

    /// What a navigation carries.
    fn dressed(&self, request: Request<'w>, target: &str) -> Request<'w> {
        let path = target.split('?').next().unwrap();
        let sent = self.jar.iter().filter(|(_, (_, of))| of == "/" || path.starts_with(of.as_str()));
        let cookies: Vec<String> = sent.map(|(name, (value, _))| format!("{name}={value}")).collect();
        let request = request
            .host(&self.host)
            .header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
            .header("Accept-Language", &self.language)
            .header("User-Agent", "a browser of these tests")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document");
        if cookies.is_empty() { request } else { request.header("Cookie", cookies.join("; ")) }
    }

    fn took(&mut self, at: &str, response: Response) -> Page {
        for cookie in response.all("set-cookie") {
            let mut parts = cookie.split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let attributes: Vec<&str> = parts.collect();
            let path = attributes.iter().find_map(|part| part.strip_prefix("Path=")).unwrap_or("/");
            if attributes.contains(&"Max-Age=0") {
                self.jar.remove(name);
            } else {
                assert!(attributes.contains(&"HttpOnly") && attributes.contains(&"Secure"), "{cookie}");
                self.world.keep_secret(value);
                self.jar.insert(name.to_owned(), (value.to_owned(), path.to_owned()));
            }
        }
        Page { at: at.to_owned(), response }
    }

    /// Puts a session's cookies into the jar.
    pub(crate) fn holds(&mut self, session: &Session) {
        let cookies =
            [("stytch_session", &session.session_token), ("stytch_session_jwt", &session.session_jwt)];
        for (name, value) in cookies {
            self.world.keep_secret(value);
            self.jar.insert(name.to_owned(), (value.clone(), "/".to_owned()));
        }
    }

    pub(crate) fn has_session(&self) -> bool {
        self.jar.contains_key("stytch_session") && self.jar.contains_key("stytch_session_jwt")
    }

    pub(crate) fn flows(&self) -> usize {
        self.jar.keys().filter(|name| name.starts_with("stytch_gateway_flow_")).count()
    }

    /// The newest code that was sent to somebody.
    pub(crate) fn code(&self, to: &str) -> String {
        let messages = self.world.emulator.outbox(to);
        messages
            .first()
            .and_then(|message| message.code.clone())
            .unwrap_or_else(|| panic!("nothing for {to}"))
    }

    /// From nobody to a session, by the code that is sent to an address.
    pub(crate) async fn sign_in(&mut self, target: &str, email: &str) -> Page {
        let page = self.visit(target).await;
        let page = self.send(&page, &[("action", "email"), ("email", email)]).await;
        let code = self.code(email);
        self.send(&page, &[("action", "code"), ("code", &code)]).await
    }
}

/// What came, and where from.
pub(crate) struct Page {
    pub(crate) at: String,
    pub(crate) response: Response,
}

impl Page {
    pub(crate) fn text(&self) -> String {
        self.response.text()
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let found = self.text();
        assert!(
            found.contains(text),
            "{} ({}) does not say {text:?}: {found}",
            self.at,
            self.response.status
        );
        self
    }

    #[track_caller]
    pub(crate) fn status(self, status: u16) -> Self {
        assert_eq!(self.response.status, status, "{}: {}", self.at, self.text());
        self
    }

    /// The action of the page's first form, and its hidden fields with those given.
    pub(crate) fn form(&self, fields: &[(&str, &str)]) -> (String, String) {
        let text = self.text();
        let form = text.split("<form").nth(1).unwrap_or_else(|| panic!("no form on {}: {text}", self.at));
        let action = attribute(form, "action").expect("a form has an action");
        let hidden = form.split("<input").skip(1).filter(|input| input.contains("type=\"hidden\""));
        let mut all: Vec<(String, String)> = hidden
            .map(|input| (attribute(input, "name").unwrap(), attribute(input, "value").unwrap()))
            .collect();
        for (name, value) in fields {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        let pairs: Vec<String> =
            all.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        (action, pairs.join("&"))
    }

    /// Where the link with that label leads.
    #[track_caller]
    pub(crate) fn link(&self, label: &str) -> String {
        let text = self.text();
        let (before, _) = text
            .split_once(&format!(">{label}</a>"))
            .unwrap_or_else(|| panic!("no link {label:?} on {}: {text}", self.at));
        attribute(before.rsplit("<a").next().unwrap(), "href").unwrap()
    }

    /// The value of the button with that label.
    pub(crate) fn button(&self, label: &str) -> String {
        let text = self.text();
        let before = text.split(&format!(">{label}</button>")).next().unwrap();
        attribute(before.rsplit("<button").next().unwrap(), "value").unwrap()
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split_once(&format!(" {name}=\""))?.1.split('"').next()?;
    Some(value.replace("&amp;", "&").replace("&lt;", "<").replace("&quot;", "\""))
}

/// As browsers send forms.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
