//! Sockets to accept on: bound before anything is served, one for each worker where the kernel
//! can spread connections over them.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::inherited::Inherited;
use crate::config::Listen;

const BACKLOG: i32 = 4096;
/// How long a peer may not acknowledge what it is sent.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// A bound socket that no runtime drives yet. One at a shared address does not listen before it is
/// driven: until then, the other process has all connections.
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

/// Where sockets come from.
pub struct Sources {
    pub inherited: Inherited,
    /// Whether other processes may listen at the same addresses (`server.reuse_port`).
    pub shared: bool,
}

impl Sources {
    /// Sockets for one address and a number of workers, and the address they really have, with its
    /// port filled in.
    ///
    /// # Errors
    /// When the address is taken or cannot be had.
    pub fn bind(&mut self, listen: &Listen, workers: usize) -> io::Result<(Vec<Bound>, String)> {
        match listen {
            Listen::Tcp(address) => {
                let (sockets, address) = self.tcp(*address, workers, !self.shared)?;
                Ok((sockets.into_iter().map(Bound::Tcp).collect(), address.to_string()))
            }
            Listen::Unix(path) => {
                let socket = match self.inherited.unix(path) {
                    Some(socket) => socket,
                    None => unix(path, self.shared)?,
                };
                socket.set_nonblocking(true)?;
                let sockets: io::Result<_> =
                    (0..workers).map(|_| socket.try_clone().map(Bound::Unix)).collect();
                Ok((sockets?, format!("unix:{}", path.display())))
            }
        }
    }

    /// The same for an address of TCP, listening already or not.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn tcp(
        &mut self,
        address: SocketAddr,
        workers: usize,
        listens: bool,
    ) -> io::Result<(Vec<std::net::TcpListener>, SocketAddr)> {
        if let Some(socket) = self.inherited.tcp(address) {
            prepare(SockRef::from(&socket))?;
            let sockets: io::Result<_> = (0..workers).map(|_| socket.try_clone()).collect();
            return Ok((sockets?, address));
        }
        // Alone first: with SO_REUSEPORT a second gateway would share the port unnoticed.
        let first = tcp(address, self.shared, listens)?;
        let address = first.local_addr()?;
        if workers == 1 {
            return Ok((vec![first], address));
        }
        let mut sockets = Vec::with_capacity(workers);
        if self.shared {
            sockets.push(first);
        } else {
            drop(first);
        }
        while sockets.len() < workers {
            sockets.push(tcp(address, true, listens)?);
        }
        Ok((sockets, address))
    }
}

fn tcp(address: SocketAddr, shared: bool, listens: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    prepare(SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    if listens {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

/// What connections have from the socket that they come by: a peer that is gone without a word is
/// noticed, and nobody has to be told so for each.
fn prepare(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(GONE_AFTER).with_interval(GONE_AFTER / 4))?;
    socket.set_tcp_user_timeout(Some(GONE_AFTER))
}

/// A socket file that nobody answers is left over from an earlier run, and replaced; where the address
/// is shared, so is one that somebody does, who goes on with what comes by it already.
fn unix(path: &Path, shared: bool) -> io::Result<std::os::unix::net::UnixListener> {
    let metadata = std::fs::symlink_metadata(path);
    if metadata.is_ok_and(|metadata| !metadata.file_type().is_socket()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path is there and no socket"));
    }
    if !shared && std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    // In its place in one step: there is never no socket at the path.
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = Path::new(&new);
    let _absent = std::fs::remove_file(new);
    let listener = std::os::unix::net::UnixListener::bind(new)?;
    // Whoever may connect is the directory's to say.
    std::fs::set_permissions(new, std::fs::Permissions::from_mode(0o666))?;
    std::fs::rename(new, path)?;
    Ok(listener)
}

impl Bound {
    /// Hands the socket to the runtime this is called in.
    ///
    /// # Errors
    /// When the runtime cannot take it, or it cannot listen.
    pub fn drive(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(socket) => {
                let reference = SockRef::from(&socket);
                if !reference.is_listener()? {
                    reference.listen(BACKLOG)?;
                }
                TcpListener::from_std(socket).map(Listener::Tcp)
            }
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

    /// Closes the socket, and hands over what has come by it until then: closing would reset whatever
    /// nobody has accepted yet.
    pub fn close(self, mut take: impl FnMut(Accepted)) {
        match self {
            Self::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else { return };
                while let Ok((stream, peer)) = listener.accept() {
                    let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                    stream.into_iter().for_each(|stream| take(Accepted::Tcp(stream, peer)));
                }
            }
            Self::Unix(listener) => {
                let Ok(listener) = listener.into_std() else { return };
                while let Ok((stream, _)) = listener.accept() {
                    let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
                    stream.into_iter().for_each(|stream| take(Accepted::Unix(stream)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_have_from_their_listener_when_a_peer_counts_as_gone() {
        let mut sources = Sources { inherited: Inherited::default(), shared: false };
        let (sockets, address) = sources.tcp(([127, 0, 0, 1], 0).into(), 2, true).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let accepted = sockets.iter().find_map(|socket| socket.accept().ok()).unwrap().0;
        let accepted = SockRef::from(&accepted);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(GONE_AFTER));
        assert!(accepted.keepalive().unwrap());
    }

    #[tokio::test]
    async fn an_address_is_shared_only_where_both_want_it() {
        let sources = |shared| Sources { inherited: Inherited::default(), shared };
        for (first, second, workers) in [(true, true, 2), (true, true, 1), (false, true, 2), (true, false, 1)]
        {
            let (_held, address) = sources(first).tcp(([127, 0, 0, 1], 0).into(), workers, true).unwrap();
            let taken = sources(second).tcp(address, workers, true);
            // Several workers of one gateway share its port, which a second must be kept from.
            let joins = second && (first || workers > 1);
            assert_eq!(taken.is_ok(), joins, "{first} {second} {workers}");
        }
    }

    #[tokio::test]
    async fn closing_loses_nobody_who_has_connected() {
        let mut sources = Sources { inherited: Inherited::default(), shared: false };
        let (mut sockets, address) = sources.tcp(([127, 0, 0, 1], 0).into(), 1, true).unwrap();
        let clients: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let listener = Bound::Tcp(sockets.pop().unwrap()).drive().unwrap();
        let mut taken = Vec::new();
        listener.close(|accepted| taken.push(accepted));
        assert_eq!(taken.len(), clients.len());
        std::net::TcpStream::connect(address).unwrap_err();
    }
}
