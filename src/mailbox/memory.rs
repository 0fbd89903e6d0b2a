//! Nothing behind the queues: what is kept is gone when the node is.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::{Completion, KeepStore, StoreError};

/// For a node without `data_dir`. An append is as durable as it will ever be at once.
#[derive(Debug, Default)]
pub struct MemoryStore {
    closed: AtomicBool,
}

impl KeepStore for MemoryStore {
    fn append(&self, _queue: &str, _seq: u64, _record: Bytes, done: Completion) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        done(Ok(()));
        Ok(())
    }

    fn remove(&self, _queue: &str, _seqs: &[u64]) {}

    fn load(&self, _f: &mut dyn FnMut(&str, u64, Bytes)) -> Result<(), StoreError> {
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_contract() {
        crate::mailbox::contract::check(&MemoryStore::default());
    }
}
