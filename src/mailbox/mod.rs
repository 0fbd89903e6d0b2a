//! To be written: mailbox.
