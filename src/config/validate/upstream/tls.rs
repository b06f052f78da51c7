//! `[upstreams.NAME.tls]`: whom to trust, and what to present.
//!
//! What holds: every file is watched, also one that cannot be read.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::super::Findings;
use crate::config::problems::KeyPath;
use crate::config::{Target, raw};
use crate::upstream::tls::{self, Identity, Tls};

/// The bundle of every public authority has a quarter of it.
const LARGEST: u64 = 1 << 20;

/// None where there is a problem; none inside where nothing is reached over https.
pub(super) fn tls(
    upstream: &raw::Upstream,
    targets: Option<&[Target]>,
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<Option<Tls>> {
    let is_https = |target: &Target| matches!(target, Target::Tcp { tls: true, .. });
    let wanted = targets?.iter().any(is_https);
    let none = raw::UpstreamTls::default();
    let raw = match &upstream.tls {
        Some(_) if !wanted => {
            findings.problems.add(key, "no url of this upstream begins with https://");
            return None;
        }
        Some(raw) => raw,
        None if wanted => &none,
        None => return Some(None),
    };
    let roots = match &raw.ca {
        Some(path) => read(path, &key.key("ca"), findings, tls::roots),
        None => Some(tls::public_roots()),
    };
    let identity = identity(raw, key, findings);
    let server_name = server_name(raw, targets?, key, findings);
    let made = Tls::new(roots?, identity?, server_name?).map_err(|error| error.to_string());
    // What is wrong with a certificate may be seen only beside its key.
    let at = if raw.cert.is_some() { key.key("cert") } else { key.clone() };
    findings.problems.keep(&at, made).map(Some)
}

fn identity(raw: &raw::UpstreamTls, key: &KeyPath, findings: &mut Findings) -> Option<Option<Identity>> {
    let (cert_key, key_key) = (key.key("cert"), key.key("key"));
    let (cert, private) = match (&raw.cert, &raw.key) {
        (None, None) => return Some(None),
        (Some(cert), Some(private)) => (cert, private),
        (Some(_), None) => {
            findings
                .problems
                .missing(&key_key, "missing; name the PEM file of the certificate's private key");
            return None;
        }
        (None, Some(_)) => {
            findings.problems.missing(&cert_key, "missing; name the PEM file of the key's certificate");
            return None;
        }
    };
    let cert = read(cert, &cert_key, findings, |pem| Ok(pem.to_vec()));
    let private = read(private, &key_key, findings, |pem| Ok(pem.to_vec()));
    let made = Identity::from_pem(&cert?, &private?).map_err(|error| error.to_string());
    findings.problems.keep(&cert_key, made).map(Some)
}

/// The configured name; none inside where it is that of each URL, which must be one then.
fn server_name(
    raw: &raw::UpstreamTls,
    targets: &[Target],
    key: &KeyPath,
    findings: &mut Findings,
) -> Option<Option<ServerName<'static>>> {
    let name_key = key.key("server_name");
    let Some(name) = &raw.server_name else {
        let unfit = targets.iter().find_map(|target| match target {
            Target::Tcp { host, tls: true, .. } if ServerName::try_from(host.as_str()).is_err() => Some(host),
            _ => None,
        });
        if let Some(host) = unfit {
            let message = format!("missing; no certificate is for {host:?}, so write the name it has");
            findings.problems.missing(&name_key, message);
            return None;
        }
        return Some(None);
    };
    let parsed = ServerName::try_from(name.clone());
    let parsed = parsed.map_err(|_| format!("{name:?} is not a name that a certificate can have"));
    findings.problems.keep(&name_key, parsed).map(Some)
}

fn read<T>(
    path: &str,
    key: &KeyPath,
    findings: &mut Findings,
    parse: impl FnOnce(&[u8]) -> Result<T, tls::Unusable>,
) -> Option<T> {
    findings.watched.push(PathBuf::from(path));
    let unreadable = |error| format!("{path} cannot be read: {error}");
    let read = std::fs::metadata(path).map_err(unreadable).and_then(|metadata| {
        if metadata.len() > LARGEST {
            return Err(format!("{path} is larger than 1 MiB, which no such file is"));
        }
        let pem = std::fs::read(path).map_err(unreadable)?;
        parse(&pem).map_err(|error| format!("{path}: {error}"))
    });
    findings.problems.keep(key, read)
}
