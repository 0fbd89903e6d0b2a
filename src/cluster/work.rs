//! Messages for work queues: RabbitMQ keeps them itself.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Cluster, Outcome};
use crate::config::mailbox::Keep;
use crate::mailbox::Refused;
use crate::relay::RelayError;
use crate::relay::work::WorkQueue;

impl Cluster {
    /// Puts a message into the work queue of its destination. It counts towards what may wait for the relay.
    pub(super) fn offer(&self, destination: &str, keep: Keep, record: Bytes, outcome: Option<Arc<dyn Outcome>>) {
        let (message_bytes, max_bytes) = (record.len(), keep.max_bytes);
        let failed = {
            let destination = destination.to_owned();
            move |outcome: Option<Arc<dyn Outcome>>, why: &dyn fmt::Display| {
                if let Some(outcome) = outcome {
                    outcome.failed(&format!("SEND to {destination:?}: {why}"));
                }
            }
        };
        // RabbitMQ would take it and drop it at once.
        if message_bytes > max_bytes {
            return failed(outcome, &Refused::TooLarge { message_bytes, max_bytes });
        }
        let charge = match self.shared.router.charge(message_bytes) {
            Ok(charge) => charge,
            Err(full) => return failed(outcome, &full),
        };
        let queue = WorkQueue { destination: destination.into(), keep };
        let done = move |offered: Result<(), RelayError>| {
            // Who looks at the load because of the outcome must find it gone.
            drop(charge);
            match offered {
                Ok(()) => drop(outcome),
                Err(RelayError::Refused) => failed(outcome, &Full(keep)),
                Err(error) => failed(outcome, &error),
            }
        };
        self.shared.work.offer(&queue, record, Box::new(done));
    }
}

/// Why a work queue took no more.
struct Full(Keep);

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keep { max, max_bytes, .. } = self.0;
        write!(
            f,
            "the destination already keeps as much as it may that nobody has received: {max} messages (keep.max) or \
             {max_bytes} bytes (keep.max_bytes)"
        )
    }
}
