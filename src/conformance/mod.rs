//! `stampede conformance`: the clauses of STOMP and of SockJS, played against any server.
//!
//! ```text
//! form      texts of transcripts: octets, names, places for any octets
//! script    files of transcripts
//! frames    the frames in what a server writes
//! pattern   what a frame must have
//! server    whom to ask, and how to get in
//! speaker   a client in a transcript
//! play      plays a transcript for STOMP
//! verdict   how it went
//! ```
//!
//! The transcripts are in `fixtures/conformance`; what they expect is what the specifications say.

pub mod form;
pub mod frames;
mod pattern;
mod play;
pub mod script;
pub mod server;
mod speaker;
pub mod verdict;
