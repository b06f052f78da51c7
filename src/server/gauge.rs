//! How many connections are open, in all and from each address, over all workers.
//!
//! Touched when a connection opens and when it closes, never by a request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limiter::network;
use crate::metrics::ConnectionRefusal;

#[derive(Default)]
pub struct Gauge {
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place; given up when dropped.
pub struct Place {
    gauge: Arc<Gauge>,
    address: Option<IpAddr>,
}

impl Gauge {
    /// Takes a place for a connection, unless `most` are open.
    ///
    /// # Errors
    /// That it is this limit.
    pub fn take(self: &Arc<Self>, most: usize) -> Result<Place, ConnectionRefusal> {
        let place = Place { gauge: Arc::clone(self), address: None };
        if self.open.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(ConnectionRefusal::Limit);
        }
        Ok(place)
    }
}

impl Place {
    /// Says whose it is, unless `most` of this address are open. An IPv6 client is its /64.
    ///
    /// # Errors
    /// That it is this limit.
    pub fn belongs_to(&mut self, address: IpAddr, most: usize) -> Result<(), ConnectionRefusal> {
        let address = network(address.to_canonical());
        let mut by_address = self.gauge.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if *count >= most {
            return Err(ConnectionRefusal::AddressLimit);
        }
        *count += 1;
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gauge.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut by_address = self.gauge.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_places_come_back() {
        let gauge = Arc::new(Gauge::default());
        let (one, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let mut first = gauge.take(2).unwrap();
        first.belongs_to(one, 1).unwrap();
        let mut second = gauge.take(2).unwrap();
        assert_eq!(second.belongs_to(one, 1), Err(ConnectionRefusal::AddressLimit));
        second.belongs_to(other, 1).unwrap();
        assert!(matches!(gauge.take(2), Err(ConnectionRefusal::Limit)));
        drop((first, second));
        assert!(gauge.by_address.lock().unwrap().is_empty());
        assert_eq!(gauge.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let gauge = Arc::new(Gauge::default());
        let mut held = gauge.take(9).unwrap();
        held.belongs_to("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert!(gauge.take(9).unwrap().belongs_to("2001:db8::ffff:2".parse().unwrap(), 1).is_err());
        assert!(gauge.take(9).unwrap().belongs_to("2001:db8:0:1::1".parse().unwrap(), 1).is_ok());
        let mut mapped = gauge.take(9).unwrap();
        mapped.belongs_to("::ffff:192.0.2.1".parse().unwrap(), 1).unwrap();
        assert!(gauge.take(9).unwrap().belongs_to("192.0.2.1".parse().unwrap(), 1).is_err());
        assert!(gauge.take(9).unwrap().belongs_to("192.0.2.2".parse().unwrap(), 1).is_ok());
    }
}
