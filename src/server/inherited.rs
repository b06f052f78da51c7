//! Listening sockets that the process was started with: systemd's socket activation
//! (`sd_listen_fds(3)`).
//!
//! What holds: a socket is used for the setting that names its address, and for no other; one that no
//! setting names is told of and left alone.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

/// Sockets that are bound and listen already.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<(PathBuf, UnixListener)>,
}

impl Inherited {
    /// Takes what `LISTEN_FDS` tells of. To be called once, before there are other threads.
    ///
    /// # Errors
    /// When one of them is no listening socket.
    pub fn take() -> io::Result<Self> {
        let mut given = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..given.len() {
            if let Ok(Some(socket)) = given.take_unix_listener(index) {
                let address = socket.local_addr()?;
                let path = address.as_pathname().map(Path::to_owned).unwrap_or_default();
                inherited.unix.push((path, socket));
            } else if let Some(socket) = given.take_tcp_listener(index)? {
                inherited.tcp.push((socket.local_addr()?, socket));
            }
        }
        Ok(inherited)
    }

    pub(super) fn tcp(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        let at = self.tcp.iter().position(|(address, _)| *address == wanted)?;
        Some(self.tcp.swap_remove(at).1)
    }

    pub(super) fn unix(&mut self, wanted: &Path) -> Option<UnixListener> {
        let at = self.unix.iter().position(|(path, _)| path == wanted)?;
        Some(self.unix.swap_remove(at).1)
    }

    /// The addresses that no setting has named.
    pub fn left(&self) -> impl Iterator<Item = String> {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        tcp.chain(self.unix.iter().map(|(path, _)| format!("unix:{}", path.display())))
    }
}
