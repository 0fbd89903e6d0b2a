//! The seam between a session and whatever carries it: bytes in, whole frames out.
//!
//! A [`Link`] is a raw WebSocket, a SockJS WebSocket, or a SockJS HTTP session; an [`Application`] (the STOMP session,
//! or the echo of `examples/sockjs_echo.rs`) is written once for all of them. Everything is poll based and owned by one
//! task, so an idle connection costs one future and no channel.

use std::future::Future;
use std::task::{Context, Poll};

use bytes::Bytes;

/// One connection as its application sees it. Owned by exactly one task, which is the only writer.
pub trait Link: Send + 'static {
    /// The next thing that came from the peer. After [`Input::Gone`] it is not called again.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Input>;

    /// Whether the link takes more output now. Pending while earlier output waits for the peer (a full socket, no
    /// poll attached); what is not handed over stays in the session's bounded outbox.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Takes one whole frame; never blocks. Call only when [`Link::poll_ready`] said so, except for the last words
    /// before [`Link::close`]. Returns false for a frame that this link cannot carry and has left out.
    fn write(&mut self, frame: OutFrame<'_>) -> bool;

    /// Pushes what was written towards the peer; ready when nothing waits on this side any more. Errors surface as
    /// [`Input::Gone`].
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Asks for a proof that everything written so far has reached the peer; it comes as [`Input::Proved`] with this
    /// mark. A WebSocket sends a ping and waits for its pong; a polling transport waits for the next poll; a streaming
    /// one for a quiet time without a close.
    fn fence(&mut self, mark: u64);

    /// Ends the connection in order: queued output first, then the close frame of the transport. Input after it is
    /// dropped.
    fn close(&mut self, code: u16, reason: &str);

    /// Drives the closing; ready when the transport is finished with it, or its own time limit passed.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// What carries this link; a metric label and log field.
    fn transport(&self) -> &'static str;

    /// Tells the link that the application itself sends heart-beats from now on, so that transport heart-beats that a
    /// front end can see (SockJS `h`) may stop, as in Spring.
    fn application_heart_beats(&mut self) {}

    /// Changes the largest message in octets that is read from now on.
    fn limit_input(&mut self, _message_bytes: usize) {}
}

/// What a peer did.
#[derive(Debug)]
pub enum Input {
    /// Octets of the application protocol, cut anywhere.
    Data(Bytes),
    /// Everything written before [`Link::fence`] with this mark has arrived.
    Proved(u64),
    /// The peer is gone, or broke the transport's own rules: nothing more will come, nothing more can be written.
    Gone(Gone),
}

/// How the peer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It closed in order.
    Closed,
    /// The connection broke, or a poll did not come back in time.
    Lost,
    /// It broke the rules of the transport (bad WebSocket frame, bad SockJS payload); it has been told.
    Broken,
    /// A message was larger than the transport's limit; it has been told.
    TooBig {
        /// Octets announced.
        size: usize,
        /// Octets allowed.
        limit: usize,
    },
    /// It did not answer a ping in time.
    Silent,
}

/// One whole frame on its way out, in pieces so that a shared body is not copied before it must be.
#[derive(Debug, Clone, Copy)]
pub struct OutFrame<'a> {
    /// Octets before the body.
    pub head: &'a [u8],
    /// The body; empty for frames that have none.
    pub body: &'a Bytes,
    /// Octets after the body (the NUL of a STOMP frame).
    pub tail: &'a [u8],
    /// Whether it must travel as a binary message: it is not valid UTF-8, or its content type asks for it. A text-only
    /// link sends it as text when it is UTF-8 and otherwise drops and counts it.
    pub binary: bool,
}

/// What is known of a connection before its first byte.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// Path of the endpoint, without trailing slash.
    pub endpoint: String,
    /// Address of the peer's socket.
    pub peer: Option<std::net::SocketAddr>,
    /// Request headers that identity may look at (`Authorization`, `Cookie`, `Origin`, `X-Forwarded-For`, …).
    pub headers: http::HeaderMap,
    /// The raw query string of the handshake, without `?`.
    pub query: Option<String>,
}

/// What runs behind an endpoint, whatever carries it.
pub trait Application: Send + Sync + 'static {
    /// Serves one connection to its end. The future is spawned as one task.
    fn serve<L: Link>(&self, link: L, handshake: Handshake) -> impl Future<Output = ()> + Send + 'static;

    /// Sub-protocol names in order of preference; the highest that the client offered is chosen.
    fn subprotocols(&self) -> &'static [&'static str] {
        &[]
    }
}
