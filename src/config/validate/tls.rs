//! `[server.tls]`: https listeners, their certificates, and who vouches for clients.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Findings;
use super::server::listeners;
use crate::config::problems::KeyPath;
use crate::config::{Listen, ServerTls, TlsVersion, raw};
use crate::server::tls::certificate::{Authorities, Certificate};

/// Bundles of every public authority are a quarter of this.
const LARGEST: u64 = 1 << 20;

/// `plain` is what plain listeners take already.
pub(super) fn tls(raw: &raw::ServerTls, plain: &[Listen], findings: &mut Findings) -> Option<ServerTls> {
    let key = KeyPath::of("server.tls");
    let listen = match &raw.listen {
        None => {
            let message = "missing; name an address to listen on, such as \"0.0.0.0:8443\"";
            findings.problems.missing(&key.key("listen"), message);
            None
        }
        Some(texts) => listeners(&key.key("listen"), texts, plain, &mut findings.problems),
    };
    if listen.as_ref().is_some_and(Vec::is_empty) {
        findings.problems.add(&key.key("listen"), "an empty list leaves nothing to listen on");
    }
    let certificates = certificates(raw, &key, findings);
    let client_ca = raw.client_ca.as_ref().map(|path| authorities(path, &key.key("client_ca"), findings));
    let client_ca = match client_ca {
        Some(read) => Some(read?),
        None => None,
    };
    let min_version = match raw.min_version {
        raw::TlsVersion::Tls12 => TlsVersion::Tls12,
        raw::TlsVersion::Tls13 => TlsVersion::Tls13,
    };
    Some(ServerTls { listen: listen?, certificates: certificates?, client_ca, min_version })
}

/// The one given by itself first: it is what clients see that ask for no name, or an unknown one.
fn certificates(raw: &raw::ServerTls, key: &KeyPath, findings: &mut Findings) -> Option<Vec<Certificate>> {
    let mut pairs = Vec::new();
    match (&raw.cert, &raw.key) {
        (Some(cert), Some(own_key)) => pairs.push((cert, own_key, key.clone())),
        (None, None) if raw.certificates.is_empty() => {
            let message = "missing; name the PEM file of the certificate chain";
            findings.problems.missing(&key.key("cert"), message);
            return None;
        }
        (None, None) => {}
        (Some(_), None) => {
            findings.problems.missing(&key.key("key"), "missing; name the PEM file of the certificate's key");
            return None;
        }
        (None, Some(_)) => {
            findings
                .problems
                .missing(&key.key("cert"), "missing; name the PEM file of the key's certificate");
            return None;
        }
    }
    for (index, pair) in raw.certificates.iter().enumerate() {
        let key = key.key("certificates").index(index);
        for (name, value) in [("cert", &pair.cert), ("key", &pair.key)] {
            if value.is_none() {
                findings.problems.missing(&key.key(name), "missing; name a PEM file");
            }
        }
        if let (Some(cert), Some(own_key)) = (&pair.cert, &pair.key) {
            pairs.push((cert, own_key, key));
        }
    }
    let read: Vec<_> =
        pairs.iter().map(|(cert, own_key, key)| certificate(cert, own_key, key, findings)).collect();
    read.into_iter().collect()
}

fn certificate(cert: &str, own_key: &str, key: &KeyPath, findings: &mut Findings) -> Option<Certificate> {
    let (cert_key, key_key) = (key.key("cert"), key.key("key"));
    let chain = file(cert, &cert_key, findings);
    let secret = file(own_key, &key_key, findings);
    let (chain, secret) = (chain?, secret?);
    let is_for_all =
        std::fs::metadata(own_key).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0);
    if is_for_all {
        findings.notes.push(format!(
            "{key_key}: every user of this machine can read {own_key}, and pass for this gateway"
        ));
    }
    let read = Certificate::from_pem(PathBuf::from(cert), &chain, &secret)
        .map_err(|error| format!("{cert} and {own_key}: {error}"));
    let read = findings.problems.keep(&cert_key, read)?;
    let now = Timestamp::now().as_second();
    let at = |second: i64| Timestamp::from_second(second).map(|at| at.to_string()).unwrap_or_default();
    if now > read.valid.1 {
        findings.notes.push(format!("{cert_key}: {cert} expired at {}; clients refuse it", at(read.valid.1)));
    } else if now < read.valid.0 {
        findings.notes.push(format!("{cert_key}: {cert} is not valid before {}", at(read.valid.0)));
    }
    if read.names.is_empty() {
        findings.notes.push(format!("{cert_key}: {cert} names no host, so clients will not take it for any"));
    }
    Some(read)
}

fn authorities(path: &str, key: &KeyPath, findings: &mut Findings) -> Option<Authorities> {
    let pem = file(path, key, findings)?;
    let read = Authorities::from_pem(&pem).map_err(|error| format!("{path}: {error}"));
    findings.problems.keep(key, read)
}

/// Watched, also where it cannot be read.
fn file(path: &str, key: &KeyPath, findings: &mut Findings) -> Option<Vec<u8>> {
    let path = Path::new(path);
    findings.watched.push(path.to_owned());
    let problems = &mut findings.problems;
    let unreadable = |error| format!("{} cannot be read: {error}", path.display());
    let size = problems.keep(key, std::fs::metadata(path).map_err(unreadable))?.len();
    if size > LARGEST {
        problems.add(key, format!("{} is larger than 1 MiB, which no certificates are", path.display()));
        return None;
    }
    problems.keep(key, std::fs::read(path).map_err(unreadable))
}
