//! Stampede: a STOMP broker for browsers, over WebSocket and SockJS, in the place of Spring's in-process simple broker.
//!
//! One message's way through the rooms:
//!
//! ```text
//!  socket ─► transport ─► session ─► broker ─┬─► destination   what does the text mean?
//!            bytes of     frames,    verbs   ├─► routes ─► rooms   application destinations
//!            a Link       state              ├─► mailbox       kept until delivery is proved
//!                                            ▼
//!  socket ◄─ transport ◄─ session ◄────── outbox               one per session, bounded
//!            one write    head + shared body of a message
//! ```
//!
//! - [`transport`] turns sockets and HTTP requests into [`Link`](session::link::Link)s: raw WebSocket, SockJS over
//!   WebSocket, SockJS over HTTP. It does not know what is said over them.
//! - [`session`] is one task per connection. It feeds the decoder and the state machine of [`stampede_protocol`], calls the
//!   broker, and is the only writer to its link.
//! - [`broker`] knows who subscribed to what. Its verbs never wait: a message is offered to the [`outbox`] of each
//!   subscriber, and what takes longer confirms itself later, through a [`Handover`](broker::Handover).
//! - [`destination`] reads destinations and patterns; [`routes`] says what application destinations do; [`rooms`] knows
//!   who is together; [`mailbox`] keeps messages for receivers who are absent or busy.
//! - [`permissions`] says which frames of a client have an effect.
//! - [`node`] puts all of it together, listens, and drains at the end. [`node::check`] is the only other way in: it says
//!   whether a [`config`] could be put together.
//! - [`dev`] starts several nodes on one machine, with what they need.
//! - [`conformance`] and [`talk`] are tools for any server; they know [`client`] and nothing else of this one.
//! - [`timers`], [`reload`], [`telemetry`], [`close`], [`ids`] and [`message`] serve all rooms; [`web`] holds the demo page.
//!
//! `ARCHITECTURE.md` beside the sources has the order of the rooms, the order of the locks, and what must stay true.

pub mod addresses;
pub mod broker;
pub mod client;
pub mod close;
pub mod cluster;
pub mod config;
pub mod conformance;
pub mod destination;
pub mod dev;
pub mod identity;
pub mod ids;
pub mod mailbox;
pub mod message;
pub mod node;
pub mod outbox;
pub mod permissions;
pub mod registry;
pub mod relay;
pub mod reload;
pub mod revocation;
pub mod rooms;
pub mod routes;
pub mod session;
pub mod talk;
pub mod telemetry;
pub mod timers;
pub mod transport;
pub mod web;
