//! Kept destinations: messages that wait for receivers who are absent (mailboxes) or busy (work queues).

pub mod record;
