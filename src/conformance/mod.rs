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
//! beats     steps about heart-beats
//! requests  plays a transcript for SockJS
//! verdict   how it went
//! library   the transcripts that come with the binary
//! known     what a server is known to do otherwise
//! plan      what is to be played
//! run       plays it
//! report    tells it: table, JSON, JUnit
//! cli       arguments
//! ```
//!
//! The transcripts are in `fixtures/conformance`; what they expect is what the specifications say.

mod beats;
pub mod cli;
pub mod form;
pub mod frames;
pub mod known;
pub mod library;
mod pattern;
pub mod plan;
mod play;
pub mod report;
mod requests;
pub mod run;
pub mod script;
pub mod server;
mod speaker;
pub mod verdict;
