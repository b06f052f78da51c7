//! Notices when a file that a configuration came from has changed.
//!
//! Files are looked at every so often rather than watched: that sees a Kubernetes ConfigMap swap
//! (a symlink that moves), an editor's rename and a write in place alike, on every file system.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Command;
use crate::config::{self, Config, Loaded};

/// How soon a change is noticed.
pub const EVERY: Duration = Duration::from_secs(1);
/// How long files must have stayed as they are before they are read.
const SETTLED: Duration = Duration::from_millis(200);

/// What tells one version of a file from another: device, inode, size and times.
type Version = Option<(u64, u64, u64, i64, i64, i64)>;

/// The files of one configuration, and how they were when it was read.
pub struct Watched {
    settings: Vec<PathBuf>,
    all: Vec<(PathBuf, Version)>,
}

impl Watched {
    #[must_use]
    pub fn new(loaded: &Loaded) -> Self {
        let all = loaded.config.watched.iter().map(|path| (path.clone(), version(path))).collect();
        Self { settings: loaded.files.clone(), all }
    }

    fn has_changed(&self) -> bool {
        self.all.iter().any(|(path, known)| version(path) != *known)
    }

    fn look_again(&mut self) {
        for (path, known) in &mut self.all {
            *known = version(path);
        }
    }

    /// Waits for a change that has settled. Several files that change together are one change.
    pub async fn changed(&mut self) {
        loop {
            tokio::time::sleep(EVERY).await;
            if self.has_changed() {
                // Whoever is still writing gets until the next look.
                self.look_again();
                tokio::time::sleep(SETTLED).await;
                if !self.has_changed() {
                    return;
                }
            }
        }
    }

    /// Reads everything anew and hands over what is valid. An invalid configuration is told and
    /// forgotten: the next change is looked for in the same files.
    pub async fn reload(&mut self, commands: &mpsc::Sender<Command>) {
        let command = match config::load(&self.settings, config::variables()) {
            Ok(loaded) => {
                *self = Self::new(&loaded);
                Command::Reload(Box::new(loaded))
            }
            Err(error) => {
                self.look_again();
                Command::Reject(error)
            }
        };
        let _ = commands.send(command).await;
    }
}

/// Follows symlinks; `None` for a file that is not there.
fn version(path: &PathBuf) -> Version {
    let metadata = fs::metadata(path).ok()?;
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    Some((metadata.dev(), metadata.ino(), metadata.size(), seconds, nanos, metadata.ctime_nsec()))
}

/// Settings whose change a running gateway cannot take over.
#[must_use]
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (was, is) = (&old.server, &new.server);
    [
        ("server.listen", was.listen != is.listen),
        ("server.tls.listen", was.tls_listen() != is.tls_listen()),
        ("server.workers", was.workers != is.workers),
        ("server.reuse_port", was.reuse_port != is.reuse_port),
        ("admin.listen", old.admin.listen != new.admin.listen),
        ("ext_authz", old.ext_authz != new.ext_authz),
        ("telemetry.log", old.telemetry.log != new.telemetry.log),
    ]
    .into_iter()
    .filter_map(|(setting, changed)| changed.then_some(setting))
    .collect()
}
