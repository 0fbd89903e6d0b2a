//! To be written: rooms.
