//! Who the client is, behind proxies we trust and in front of servers that trust us.
//!
//! Proxies tell about clients in headers, and so can anyone. What holds:
//! - From a peer that is no trusted proxy nothing is believed and nothing is passed on
//!   (ATTACKS.md section 3).
//! - From a trusted proxy only `X-Forwarded-For`, `-Proto` and `-Host` are believed. `Forwarded`
//!   says the same in another form; it is never read and always written anew, so that the two
//!   cannot disagree.
//! - What names another target than the request itself, as `X-Original-URL` does, never goes
//!   upstream: a trusted proxy may have passed it on unseen, and the request has been judged by
//!   its own target.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::access::host;
use crate::fields::Headers;
use crate::identity::owned::{fold, same};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The client of one request, as far as it can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientView {
    /// An IPv4 address in its own form, also where the socket has it mapped into IPv6.
    pub address: IpAddr,
    /// Whether the client spoke TLS, to us or to a trusted proxy.
    pub https: bool,
    /// The host a trusted proxy says it was asked for. For links and redirects; routes are found
    /// by the request's own host.
    pub host: Option<HeaderValue>,
}

/// What stays the same about forwarding for all requests of one connection.
#[derive(Debug)]
pub struct Forwarding {
    peer: IpAddr,
    trusted: bool,
    https: bool,
    peer_value: HeaderValue,
    /// The first host asked for without a proxy in between, and its `Forwarded`: nearly always the
    /// only one of a connection.
    forwarded: OnceLock<(HeaderValue, HeaderValue)>,
}

impl Forwarding {
    /// For a connection from `peer`, over TLS or not. `trusted` is `[server] trusted_proxies`.
    #[must_use]
    pub fn new(peer: IpAddr, https: bool, trusted: &[IpNet]) -> Self {
        let peer = peer.to_canonical();
        let is_trusted = contains(trusted, peer);
        Self { peer, trusted: is_trusted, https, peer_value: address_value(peer), forwarded: OnceLock::new() }
    }

    /// Whether the peer is a trusted proxy.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whose request this is. Must see the headers as they came.
    ///
    /// `X-Forwarded-For` is read from the right: the address before each trusted one was written
    /// by it. The first that is not trusted is the client, and what stands further left is its own
    /// claim and not looked at. Meeting something that is no address, the peer is the client.
    #[must_use]
    pub fn view(&self, headers: &HeaderMap, trusted: &[IpNet]) -> ClientView {
        if !self.trusted {
            return ClientView { address: self.peer, https: self.https, host: None };
        }
        let proto = single(headers, &FORWARDED_PROTO).map(HeaderValue::as_bytes);
        let https = match proto {
            Some(proto) if proto.eq_ignore_ascii_case(b"https") => true,
            Some(proto) if proto.eq_ignore_ascii_case(b"http") => false,
            _ => self.https,
        };
        let host = single(headers, &FORWARDED_HOST).filter(|host| host::parse(host.as_bytes()).is_ok());
        ClientView { address: self.client(headers, trusted), https, host: host.cloned() }
    }

    /// Says who the client is: `X-Forwarded-{For,Proto,Host}` and `Forwarded` (DESIGN.md section 5).
    /// `inbound` are the headers as they came, `host` is the request's own, `outbound` holds of
    /// them what [`Self::lets_pass`].
    pub fn tell<'f>(
        &'f self,
        view: &'f ClientView,
        host: &'f HeaderValue,
        inbound: &HeaderMap,
        outbound: &mut impl Headers<'f>,
    ) {
        let host = view.host.as_ref().unwrap_or(host);
        let scheme = HeaderValue::from_static(scheme(view.https));
        outbound.set(Cow::Borrowed(&FORWARDED_FOR), self.chain(inbound));
        outbound.set(Cow::Borrowed(&FORWARDED_PROTO), Cow::Owned(scheme));
        outbound.set(Cow::Borrowed(&FORWARDED_HOST), Cow::Borrowed(host));
        outbound.set(Cow::Owned(FORWARDED), self.forwarded(view, host));
        if self.trusted && inbound.contains_key(&REAL_IP) {
            outbound.set(Cow::Borrowed(&REAL_IP), Cow::Owned(address_value(view.address)));
        }
    }

    /// Whether a header may go upstream from this peer.
    #[must_use]
    pub fn lets_pass(&self, name: &HeaderName) -> bool {
        !is_forwarding_header(name) || (self.trusted && !names_another_target(name) && !is_odd(name))
    }

    /// The same for a request that another proxy forwards, which writes the headers that `writes`
    /// knows by itself: what the client claims goes, and `X-Forwarded-For` tells of the client alone.
    pub fn correct(&self, writes: impl Fn(&HeaderName) -> bool, headers: &mut HeaderMap) {
        let goes = |name: &&HeaderName| {
            is_forwarding_header(name)
                && (names_another_target(name) || is_odd(name) || !(self.trusted || writes(name)))
        };
        let gone: Vec<_> = headers.keys().filter(goes).cloned().collect();
        for name in gone {
            headers.remove(name);
        }
        if !self.trusted && headers.contains_key(&FORWARDED_FOR) {
            headers.insert(FORWARDED_FOR.clone(), self.peer_value.clone());
        }
    }

    fn client(&self, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
        let mut client = self.peer;
        for value in headers.get_all(&FORWARDED_FOR).iter().rev() {
            for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
                let Some(address) = read_address(entry) else {
                    return self.peer;
                };
                client = address;
                if !contains(trusted, address) {
                    return client;
                }
            }
        }
        client
    }

    /// The addresses a request came by, with ours for the peer at the end. What does not read as a
    /// list of addresses is not passed on.
    fn chain(&self, headers: &HeaderMap) -> Cow<'_, HeaderValue> {
        if !self.trusted || !headers.contains_key(&FORWARDED_FOR) {
            return Cow::Borrowed(&self.peer_value);
        }
        let mut chain = String::new();
        let values = headers.get_all(&FORWARDED_FOR).iter();
        for entry in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
            let Some(address) = read_address(entry) else {
                return Cow::Borrowed(&self.peer_value);
            };
            // Writing to a string cannot fail.
            let _ = write!(chain, "{address}, ");
        }
        let _ = write!(chain, "{}", self.peer);
        HeaderValue::try_from(chain).map_or(Cow::Borrowed(&self.peer_value), Cow::Owned)
    }

    fn forwarded(&self, view: &ClientView, host: &HeaderValue) -> Cow<'_, HeaderValue> {
        let fresh = || forwarded_value(view.address, host, view.https);
        if view.address != self.peer || view.https != self.https {
            return Cow::Owned(fresh());
        }
        match self.forwarded.get_or_init(|| (host.clone(), fresh())) {
            (known, value) if known == host => Cow::Borrowed(value),
            _ => Cow::Owned(fresh()),
        }
    }
}

/// `Forwarded` with one element for the client (RFC 7239 section 4). A host that is not a token,
/// having a port, and IPv6 addresses are quoted; what no host holds leaves the host out.
#[must_use]
pub fn forwarded_value(client: IpAddr, host: &HeaderValue, https: bool) -> HeaderValue {
    let mut value = String::with_capacity(64);
    // Writing to a string cannot fail.
    let _ = match client {
        IpAddr::V4(client) => write!(value, "for={client}"),
        IpAddr::V6(client) => write!(value, "for=\"[{client}]\""),
    };
    let host = host.to_str().unwrap_or_default();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.bytes().all(is_token) {
        if !host.is_empty() {
            let _ = write!(value, ";host={host}");
        }
    } else if host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        let _ = write!(value, ";host=\"{host}\"");
    }
    let _ = write!(value, ";proto={}", scheme(https));
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("for=unknown"))
}

const fn scheme(https: bool) -> &'static str {
    if https { "https" } else { "http" }
}

fn address_value(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Whether an address is one of these networks'.
#[must_use]
pub fn contains(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// The value of a field that stands once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn read_address(entry: &[u8]) -> Option<IpAddr> {
    let entry = str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = entry
        .parse::<IpAddr>()
        .ok()
        .or_else(|| bracketed().map(IpAddr::V6))
        .or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(address.to_canonical())
}

/// Whether a header tells about the client, its connection, its certificate or the target it asked
/// for: what only a proxy should say. Spellings that servers fold together count (case, `_`, `.`).
#[must_use]
pub fn is_forwarding_header(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let known: &[&str] = match (name.first(), name.get(2)) {
        (Some(b'x'), Some(b'f')) => &["x-forwarded-*", "x-forwarded", "x-forward-*"],
        (Some(b'x'), Some(b'o')) => &["x-original-*", "x-originating-ip"],
        (Some(b'x'), Some(b'e')) => &["x-envoy-*"],
        (Some(b'x'), Some(b'r')) => &["x-real-*", "x-rewrite-url", "x-remote-ip", "x-remote-addr"],
        (Some(b'x'), Some(b'c')) => {
            &["x-client-ip", "x-client-cert*", "x-client-verify", "x-client-dn", "x-cluster-client-ip"]
        }
        (Some(b'x'), Some(b's')) => &["x-ssl-*", "x-scheme"],
        (Some(b'x'), Some(b'h')) => {
            &["x-host", "x-http-host-override", "x-http-method-override", "x-http-method"]
        }
        (Some(b'x'), Some(b'u')) => &["x-url-scheme"],
        (Some(b'x'), Some(b'a')) => &["x-amzn-mtls-*", "x-arr-clientcert", "x-arr-ssl", "x-azure-clientip"],
        (Some(b'x'), Some(b't' | b'm')) => &["x-tls-*", "x-mtls-*", "x-method-override"],
        (Some(b'f'), _) => &["forwarded", "forwarded-*", "fastly-client-ip", "front-end-https"],
        (Some(b'c'), Some(b'i')) => &["client-ip", "client-cert*"],
        (Some(b'c'), Some(b'-')) => &["cf-connecting-*"],
        (Some(b't'), Some(b'u')) => &["true-client-ip"],
        (Some(b's'), Some(b'l')) => &["ssl-*"],
        _ => return false,
    };
    is_one_of(name, known)
}

/// Whether it says that the request is really for something else, or of another method, as some
/// frameworks believe: it was judged by its own.
#[must_use]
pub fn names_another_target(name: &HeaderName) -> bool {
    const NAMES: &[&str] = &[
        "forwarded",
        "x-original-*",
        "x-rewrite-url",
        "x-envoy-original-*",
        "x-forwarded-uri",
        "x-forwarded-url",
        "x-forwarded-path",
        "x-forwarded-method",
        "x-host",
        "x-http-host-override",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ];
    is_one_of(name.as_str().as_bytes(), NAMES)
}

/// Whether it has a spelling no proxy uses, which a server could take for the usual one.
fn is_odd(name: &HeaderName) -> bool {
    name.as_str().bytes().any(|byte| byte != b'-' && fold(byte) == b'-')
}

/// Compares with folded names, of which a closing `*` stands for any end.
fn is_one_of(name: &[u8], known: &[&str]) -> bool {
    known.iter().any(|known| match known.strip_suffix('*') {
        Some(prefix) => name.len() >= prefix.len() && same(prefix.as_bytes(), name),
        None => name.len() == known.len() && same(known.as_bytes(), name),
    })
}

#[cfg(test)]
mod tests;
