//! The two applications that the SockJS protocol suite talks to.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use stampede::session::link::{Application, Handshake, Input, Link, OutFrame};

/// What an endpoint does with a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum App {
    /// Sends every message back.
    Echo,
    /// Closes each connection at once with 3000 "Go away!".
    Close,
}

impl Application for App {
    fn serve<L: Link>(&self, mut link: L, _: Handshake) -> impl Future<Output = ()> + Send + 'static {
        let app = *self;
        async move {
            if matches!(app, Self::Echo) {
                let mut waiting = VecDeque::new();
                poll_fn(|cx| poll_echo(&mut link, &mut waiting, cx)).await;
            }
            link.close(3000, "Go away!");
            poll_fn(|cx| link.poll_closed(cx)).await;
        }
    }

    fn subprotocols(&self) -> &'static [&'static str] {
        &["v12.stomp", "v11.stomp", "v10.stomp"]
    }
}

/// Messages read ahead of a peer that does not listen; beyond it the link is not read.
const READ_AHEAD: usize = 64;

/// Ready when the peer is gone.
fn poll_echo<L: Link>(link: &mut L, waiting: &mut VecDeque<Bytes>, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        while waiting.len() < READ_AHEAD {
            match link.poll_input(cx) {
                Poll::Ready(Input::Data(message)) => waiting.push_back(message),
                Poll::Ready(Input::Proved(_)) => {}
                Poll::Ready(Input::Gone(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        let full = waiting.len() == READ_AHEAD;
        while !waiting.is_empty() && link.poll_ready(cx).is_ready() {
            let Some(body) = waiting.pop_front() else { break };
            let binary = str::from_utf8(&body).is_err();
            link.write(OutFrame { head: &[], body: &body, tail: &[], binary });
        }
        let _ = link.poll_flush(cx);
        if !full || waiting.len() == READ_AHEAD {
            return Poll::Pending;
        }
    }
}
