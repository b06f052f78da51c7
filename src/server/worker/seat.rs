//! What a connection has for as long as it is open.

use std::rc::Rc;

use super::super::gauge::Place;
use super::super::record::Record;
use super::Worker;
use crate::metrics;

impl Worker {
    /// Has the sweep look after a request of its own, one of several on its connection.
    pub fn enlist(self: &Rc<Self>, record: &Rc<Record>) -> Enlisted {
        let key = self.connections.borrow_mut().insert(Rc::clone(record));
        Enlisted { worker: Rc::clone(self), key }
    }
}

/// A connection's place in the worker's list, in the limits and in the metrics.
pub(super) struct Seat {
    pub(super) record: Rc<Record>,
    _listed: Enlisted,
    _place: Place,
    _open: metrics::OpenConnection,
}

impl Seat {
    pub(super) fn take(worker: &Rc<Worker>, record: Rc<Record>, place: Place) -> Self {
        let listed = worker.enlist(&record);
        Self { record, _listed: listed, _place: place, _open: worker.metrics.connection() }
    }
}

/// A record that the sweep looks at.
pub struct Enlisted {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        self.worker.left_memory();
        self.worker.connections.borrow_mut().remove(self.key);
    }
}
