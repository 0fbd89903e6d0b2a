//! To be written: node.
