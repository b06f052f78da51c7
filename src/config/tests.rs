//! Tables of what people write and what they are told.

use std::path::PathBuf;

use super::{Loaded, load};

const SECRET: &str = "secret-test-not-to-be-seen";

const MINIMAL: &str = r#"
[stytch]
project_id = "project-test-1"
secret = "secret-test-not-to-be-seen"

[upstreams.app]
url = "http://127.0.0.1:3000"

[[routes]]
path = "/*"
upstream = "app"
"#;

/// What comes of files with these texts, called `a.toml`, `b.toml` and so on, and these variables.
fn outcome(texts: &[&str], variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    let mut files: Vec<PathBuf> = Vec::new();
    for (text, letter) in texts.iter().zip('a'..) {
        let path = directory.path().join(format!("{letter}.toml"));
        std::fs::write(&path, text).unwrap();
        files.push(path);
    }
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let prefix = format!("{}/", directory.path().display());
    load(&files, variables).map_err(|error| {
        let message = error.to_string().replace(&prefix, "");
        assert!(!message.contains(SECRET), "a secret in: {message}");
        message
    })
}

fn mistakes(texts: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let message = outcome(texts, variables).expect_err("this should not load");
    let mut lines: Vec<String> = message.lines().map(str::to_owned).collect();
    lines.pop();
    lines
}

#[test]
fn the_smallest_file_serves() {
    let loaded = outcome(&[MINIMAL], &[]).unwrap();
    assert_eq!(loaded.config.stytch.project_id, "project-test-1");
    assert_eq!(loaded.config.stytch.secret.expose(), SECRET);
    assert_eq!(loaded.config.routes[0].name, "/*");
    assert_eq!(loaded.notes, Vec::<String>::new());
}
