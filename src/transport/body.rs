//! The bodies an endpoint answers with.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::sockjs::Receiver;

/// What an answer holds.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// One piece of known length.
    Full(Bytes),
    /// Pieces that travel as chunks of their own.
    Chunks(VecDeque<Bytes>),
    /// What a SockJS session has to say, as it comes.
    Stream(Receiver),
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Full(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Vec<u8>> for Body {
    fn from(octets: Vec<u8>) -> Self {
        Self::Full(octets.into())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let next = match &mut *self {
            Self::Empty => None,
            Self::Full(_) => match std::mem::replace(&mut *self, Self::Empty) {
                Self::Full(octets) => Some(Ok(octets)),
                _ => None,
            },
            Self::Chunks(chunks) => chunks.pop_front().map(Ok),
            Self::Stream(receiver) => std::task::ready!(receiver.poll_chunk(cx)),
        };
        Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(octets) => SizeHint::with_exact(octets.len() as u64),
            Self::Chunks(_) | Self::Stream(_) => SizeHint::default(),
        }
    }
}
