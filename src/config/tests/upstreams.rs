//! Upstreams over https: what is read, watched and turned down.

use rcgen::{CertificateParams, KeyPair};

use super::{load_in, settings};
use crate::config::{Loaded, Target};

/// A certificate of its own issue and its key, as PEM.
fn certificate() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["app.internal".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// What comes of these files as `ca`, `cert` and `key` of an upstream.
fn with_files(ca: &str, cert: &str, key: &str) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("ca", ca), ("cert", cert), ("key", key)] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let at = directory.path().display();
    let lines = format!("tls = {{ ca = \"{at}/ca\", cert = \"{at}/cert\", key = \"{at}/key\" }}");
    let text = settings("[upstreams.app]", &lines).replace("http://127.0.0.1:3000", "https://app.internal");
    let file = directory.path().join("a.toml");
    std::fs::write(&file, text).unwrap();
    load_in(directory.path(), &[file], &[])
}

#[test]
fn files_are_read_and_watched() {
    let ((ca, _), (cert, key)) = (certificate(), certificate());
    let loaded = with_files(&ca, &cert, &key).unwrap();
    let [upstream] = &loaded.config.upstreams[..] else { panic!("one upstream") };
    assert!(upstream.tls.is_some());
    assert_eq!(upstream.targets, [Target::Tcp { host: "app.internal".to_owned(), port: 443, tls: true }]);
    for name in ["ca", "cert", "key"] {
        assert!(loaded.config.watched.iter().any(|path| path.ends_with(name)), "{name} is not watched");
    }
}

#[test]
fn files_that_hold_something_else_are_told() {
    let ((ca, other), (cert, key)) = (certificate(), certificate());
    let key_of_another = with_files(&ca, &cert, &other).unwrap_err();
    assert!(
        key_of_another.contains("upstreams.app.tls.cert: certificate and key cannot be used: "),
        "{key_of_another}"
    );
    for (files, complaint) in [
        (("", &*cert, &*key), "upstreams.app.tls.ca: ca: no certificate is in it"),
        ((&*key, &*cert, &*key), "upstreams.app.tls.ca: ca: no certificate is in it"),
        ((&*ca, &*cert, &*cert), "upstreams.app.tls.cert: no private key could be read: "),
        ((&*ca, &*key, &*key), "upstreams.app.tls.cert: no certificate is in it"),
    ] {
        let message = with_files(files.0, files.1, files.2).unwrap_err();
        assert!(message.contains(complaint), "{message}");
    }
}
