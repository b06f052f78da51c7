//! How many connections are open, in all and from each address, over all workers.
//!
//! Touched when a connection opens and when it closes, never by a request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Takes a place for a connection from `address`, unless `most` are open in all, or
    /// `most_of_one` from this address.
    ///
    /// # Errors
    /// Which limit it is.
    pub fn take(
        self: &Arc<Self>,
        address: IpAddr,
        most: usize,
        most_of_one: Option<usize>,
    ) -> Result<Place, ConnectionRefusal> {
        let mut place = Place { gauge: Arc::clone(self), address: None };
        if self.open.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(ConnectionRefusal::Limit);
        }
        if let Some(most_of_one) = most_of_one {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_address.entry(address).or_default();
            if *count >= most_of_one {
                return Err(ConnectionRefusal::AddressLimit);
            }
            *count += 1;
            place.address = Some(address);
        }
        Ok(place)
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
        let first = gauge.take(one, 2, Some(1)).unwrap();
        assert!(matches!(gauge.take(one, 2, Some(1)), Err(ConnectionRefusal::AddressLimit)));
        let second = gauge.take(other, 2, Some(1)).unwrap();
        assert!(matches!(gauge.take(one, 2, None), Err(ConnectionRefusal::Limit)));
        drop((first, second));
        assert!(gauge.by_address.lock().unwrap().is_empty());
        assert_eq!(gauge.open.load(Ordering::Relaxed), 0);
    }
}
