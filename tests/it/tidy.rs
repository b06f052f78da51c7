//! What must stay absent (ARCHITECTURE.md), read from our own source: a line that nobody draws is
//! crossed sooner or later.

use std::path::{Path, PathBuf};

/// One source file of the gateway.
struct Source {
    /// Below `src`, such as `access/authn/jwt.rs`.
    name: String,
    text: String,
}

impl Source {
    fn is_in(&self, module: &str) -> bool {
        self.name == format!("{module}.rs") || self.name.starts_with(&format!("{module}/"))
    }

    fn is_test(&self) -> bool {
        self.name.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// Code that ships: what stands before the file's own tests, without comments.
    fn shipped(&self) -> impl Iterator<Item = &str> {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        code.lines().filter(|line| !line.trim_start().starts_with("//"))
    }

    /// Whether shipped code mentions a path.
    fn mentions(&self, path: &str) -> bool {
        self.shipped().any(|line| line.contains(path))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    gather(&root, &mut found);
    assert!(found.len() > 50, "{} files", found.len());
    found
        .into_iter()
        .map(|path| Source {
            name: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
            text: std::fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

fn gather(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn shipped() -> impl Iterator<Item = Source> {
    sources().into_iter().filter(|source| !source.is_test())
}

/// The one place that decides knows of no body, no socket and no door.
#[test]
fn access_knows_of_no_socket_and_no_door() {
    for source in shipped().filter(|source| source.is_in("access")) {
        for path in [
            "hyper::",
            "hyper_util",
            "http_body",
            "tokio::net",
            "std::net::Tcp",
            "crate::server",
            "crate::proxy",
            "crate::reply",
            "crate::upstream",
            "crate::exchange",
            "crate::site",
            "crate::admin",
            "crate::app",
        ] {
            assert!(!source.mentions(path), "src/{} uses {path}", source.name);
        }
    }
}

/// The client of Stytch's API could be another program's.
#[test]
fn stytch_knows_nothing_of_ours_but_secrets() {
    for source in shipped().filter(|source| source.is_in("stytch")) {
        for line in source.shipped().filter(|line| line.contains("crate::")) {
            let allowed = line.contains("crate::config::Secret") || line.contains("crate::stytch::");
            assert!(allowed, "src/{}: {line}", source.name);
        }
    }
}

/// Who may read or write files, and for what. Settings are read by `config` alone.
const FILES: [(&str, &str); 6] = [
    ("config", "settings and secrets"),
    ("app/reload.rs", "when those were changed, never what is in them"),
    ("access/last_good.rs", "stytch.key_cache_file"),
    ("server/listener.rs", "socket files"),
    ("telemetry/access_log", "telemetry.access_log"),
    ("telemetry/access_log.rs", "telemetry.access_log"),
];

#[test]
fn settings_are_read_by_config_alone() {
    for source in shipped() {
        let allowed = |place: &str| source.name == place || source.is_in(place);
        if !FILES.iter().any(|(place, _)| allowed(place)) {
            for path in ["std::fs", "tokio::fs", "File::open", "fs::read"] {
                assert!(!source.mentions(path), "src/{} uses {path}", source.name);
            }
        }
        if !source.is_in("config") {
            for path in ["env::var", "env::vars", "std::env::"] {
                assert!(!source.mentions(path), "src/{} uses {path}", source.name);
            }
        }
    }
}

/// It mints sessions and holds signing keys: code that is absent from what ships.
#[test]
fn the_emulator_is_never_linked_into_the_gateway() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let names = |section: &str| -> Vec<String> {
        manifest
            .get(section)
            .and_then(toml::Value::as_table)
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    assert!(names("dev-dependencies").contains(&"stytch-emulator".to_owned()));
    for section in ["dependencies", "build-dependencies", "features", "target"] {
        assert!(!names(section).iter().any(|name| name.contains("emulator")), "{section}");
    }
    for source in shipped() {
        assert!(!source.mentions("stytch_emulator"), "src/{}", source.name);
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for source in sources().into_iter().filter(|source| !source.text.trim().is_empty()) {
        assert!(source.text.starts_with("//! "), "src/{} does not begin with //!", source.name);
    }
}

/// A file that no `mod` names is not compiled, and its tests pass by not being there.
#[test]
fn every_test_file_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut files = Vec::new();
    gather(&root, &mut files);
    for file in files.iter().filter(|file| !file.ends_with("main.rs")) {
        let directory = file.parent().unwrap();
        let parent = if directory == root { root.join("main.rs") } else { directory.with_extension("rs") };
        let line = format!("mod {};", file.file_stem().unwrap().to_str().unwrap());
        let text = std::fs::read_to_string(&parent).unwrap();
        let named = text.lines().any(|named| named == line || named.ends_with(&format!(" {line}")));
        assert!(named, "{} does not say `{line}`", parent.display());
    }
}

/// Longer files, and why they stay whole.
const LONG: [(&str, &str); 0] = [];

#[test]
fn files_can_be_read_in_one_sitting() {
    for source in shipped() {
        let lines = source.text.lines().count();
        let known = LONG.iter().any(|(name, _)| *name == source.name);
        assert!(lines <= 500 || known, "src/{} has {lines} lines", source.name);
        assert!(lines > 450 || !known, "src/{} has {lines} lines and needs no exception", source.name);
    }
}
