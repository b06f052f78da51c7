//! URLs and addresses, as far as a setting may hold them.
//!
//! A URL may hold a password, which no message may repeat: what holds an `@` is not quoted.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use http::Uri;
use http::uri::Authority;

use crate::config::Listen;

/// `text` in quotes, unless it may hold a password.
pub(super) fn quoted(text: &str) -> String {
    if text.contains('@') { "this".to_owned() } else { format!("{text:?}") }
}

/// An origin: a scheme, a host and perhaps a port, and nothing else but a slash at the end.
pub(super) struct Origin {
    pub(super) scheme: String,
    pub(super) authority: Authority,
}

impl Origin {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let quoted = quoted(text);
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("{quoted} is not a URL; it must begin with http:// or https://"));
        };
        if rest.contains('@') {
            return Err("user names and passwords do not belong in this URL".to_owned());
        }
        let uri: Uri = text.parse().map_err(|_| format!("{quoted} is not a URL"))?;
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or_else(|| format!("{quoted} names no host"))?;
        if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
            return Err(format!("{quoted} must end after the host and port, without a path or query"));
        }
        if !port_is_sound(authority) {
            return Err(format!("{quoted} has a port that is not one; write a number from 1 to 65535"));
        }
        Ok(Self { scheme: scheme.to_ascii_lowercase(), authority: authority.clone() })
    }

    /// The host, without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host();
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    pub(super) fn uri(&self) -> Result<Uri, String> {
        self.to_string().parse().map_err(|_| "not a URL".to_owned())
    }
}

impl std::fmt::Display for Origin {
    /// Without a slash at the end.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

fn port_is_sound(authority: &Authority) -> bool {
    let after_host = authority.as_str().get(authority.host().len()..).unwrap_or("");
    after_host.is_empty() || authority.port_u16().is_some_and(|port| port > 0)
}

/// An address with a port, or `unix:/path`.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    match text.strip_prefix("unix:") {
        Some(path) => unix_path(path).map(Listen::Unix),
        None => socket_address(text).map(Listen::Tcp),
    }
}

pub(super) fn unix_path(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(format!(
            "\"unix:{path}\" must name a socket by its full path, such as \"unix:/run/app.sock\""
        ));
    }
    Ok(PathBuf::from(path))
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let with_address = |address: &str| {
            let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
            (host.is_empty() || host == "localhost" || host == "*")
                && port.parse::<u16>().is_ok()
                && !address.is_empty()
        };
        let hint = if with_address("any") {
            let port = text.rsplit_once(':').map_or("", |(_, port)| port);
            let address = if text.starts_with("localhost") { "127.0.0.1" } else { "0.0.0.0" };
            format!("did you mean \"{address}:{port}\"?")
        } else {
            "write an IP address and a port, such as \"0.0.0.0:8080\"".to_owned()
        };
        format!("{} is not an address to listen on; {hint}", quoted(text))
    })
}

/// Whether `text` can be a host name.
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}
