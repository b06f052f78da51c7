//! Whether a connection gets a place, and whose it is.
//!
//! What holds: whoever finds no room is told so, as far as telling them takes nothing from those who
//! have a place; a connection from a proxy that says whose it is counts as that client's.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::super::gauge::Place;
use super::super::proxy_header::{self, Whose};
use super::super::{connection, descriptors};
use super::{Protocol, Transport, Worker};
use crate::client::contains;
use crate::metrics::ConnectionRefusal;
use crate::site::Site;

/// How many are told at one time that there is no room for them, and how long that may take: less
/// where each of them takes what is short.
const MOST_TURNED_AWAY: usize = 64;
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_WHEN_SHORT: Duration = Duration::from_millis(50);

impl Worker {
    /// A place for a connection, and whose it is. None: it was turned away.
    pub(super) async fn admit<S>(
        &self,
        stream: &mut S,
        peer: IpAddr,
        transport: Transport,
        site: &Site,
    ) -> Option<(Place, IpAddr)>
    where
        S: AsyncRead + AsyncWrite + AsRawFd + Unpin,
    {
        if descriptors::are_short(stream, self.kept_back_from) {
            self.turn_away(stream, transport, ConnectionRefusal::Descriptors).await;
            return None;
        }
        let server = &site.config.server;
        let mut place = match self.gauge.take(server.limits.connections) {
            Ok(place) => place,
            Err(why) => {
                self.turn_away(stream, transport, why).await;
                return None;
            }
        };
        if let Protocol::ExtAuthz(_) = self.protocol {
            return Some((place, peer));
        }
        let mut whose = peer;
        if server.proxy_protocol && contains(&server.trusted_proxies, peer.to_canonical()) {
            // On the heap, or every connection would have room for it.
            match Box::pin(told_by_proxy(stream, server.timeouts.header)).await {
                Ok(Whose::Client(client)) => whose = client,
                Ok(Whose::Proxys) => {}
                Err(_) => {
                    self.metrics.connection_refused(ConnectionRefusal::ProxyHeader);
                    return None;
                }
            }
        }
        if let Some(most) = server.limits.connections_per_address
            && let Err(why) = place.belongs_to(whose, most)
        {
            self.turn_away(stream, transport, why).await;
            return None;
        }
        Some((place, whose))
    }

    /// Nobody shakes hands just to say that there is no room.
    async fn turn_away<S>(&self, stream: &mut S, transport: Transport, why: ConnectionRefusal)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.metrics.connection_refused(why);
        if transport == Transport::Tls {
            return;
        }
        let others = self.turning_away.get();
        if others >= MOST_TURNED_AWAY {
            return;
        }
        self.turning_away.set(others + 1);
        let short = why == ConnectionRefusal::Descriptors;
        connection::turn_away(stream, if short { PATIENCE_WHEN_SHORT } else { PATIENCE }).await;
        self.turning_away.set(self.turning_away.get() - 1);
    }
}

async fn told_by_proxy<S: AsyncRead + Unpin>(stream: &mut S, patience: Duration) -> io::Result<Whose> {
    let told = tokio::time::timeout(patience, proxy_header::read(stream)).await?;
    told.inspect_err(|error| tracing::debug!(%error, "no header of the PROXY protocol from a trusted proxy"))
}
