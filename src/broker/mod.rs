//! To be written: broker.
