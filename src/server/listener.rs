//! Sockets to accept on: bound before anything is served, one for each worker where the kernel
//! can spread connections over them.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::Listen;

const BACKLOG: i32 = 4096;

/// A bound socket that no runtime drives yet.
#[derive(Debug)]
pub enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A socket that its worker's runtime drives.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

pub enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// Binds one address for a number of workers. Returns the sockets and the address they really
/// have, with its port filled in.
///
/// # Errors
/// When the address is taken or cannot be had.
pub fn bind(listen: &Listen, workers: usize) -> io::Result<(Vec<Bound>, String)> {
    match listen {
        Listen::Tcp(address) => {
            // Alone first: with SO_REUSEPORT a second gateway would share the port unnoticed.
            let alone = tcp(*address, false)?;
            let address = alone.local_addr()?;
            if workers == 1 {
                return Ok((vec![Bound::Tcp(alone)], address.to_string()));
            }
            drop(alone);
            let sockets: io::Result<_> = (0..workers).map(|_| tcp(address, true).map(Bound::Tcp)).collect();
            Ok((sockets?, address.to_string()))
        }
        Listen::Unix(path) => {
            let socket = unix(path)?;
            let sockets: io::Result<_> = (0..workers).map(|_| socket.try_clone().map(Bound::Unix)).collect();
            Ok((sockets?, format!("unix:{}", path.display())))
        }
    }
}

fn tcp(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket file that nobody answers is left over from an earlier run, and replaced.
fn unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path is there and no socket"));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    // Whoever may connect is the directory's to say.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Bound {
    /// Hands the socket to the runtime this is called in.
    ///
    /// # Errors
    /// When the runtime cannot take it.
    pub fn drive(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(socket) => TcpListener::from_std(socket).map(Listener::Tcp),
            Self::Unix(socket) => UnixListener::from_std(socket).map(Listener::Unix),
        }
    }
}

impl Listener {
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, peer))
            }
            Self::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}
