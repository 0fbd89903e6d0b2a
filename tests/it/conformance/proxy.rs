//! A server with a fault: the binary, with something between it and its clients.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use stampede::client::carrier::Carrier;
use stampede::client::target::Target;
use stampede::client::wire::{Access, Event, Out, Wire};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What is wrong with a server. Each function sees one message of the carrier, and says which are passed on in its place.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    /// In words.
    pub(super) name: &'static str,
    /// From clients to the server.
    pub(super) up: fn(Vec<u8>) -> Vec<Vec<u8>>,
    /// From the server to clients.
    pub(super) down: fn(Vec<u8>) -> Vec<Vec<u8>>,
    /// Whether the server's end of a connection is passed on.
    pub(super) closes: bool,
    /// Whether a client's end of a connection is passed on.
    pub(super) lets_go: bool,
    /// The sub-protocol that is named for what is offered.
    pub(super) chooses: fn(&str) -> Option<&'static str>,
    /// Whether octets that are no text go out as text, made to be one.
    pub(super) only_text: bool,
}

/// The highest of those offered, as it should be.
fn highest(offered: &str) -> Option<&'static str> {
    ["v12.stomp", "v11.stomp", "v10.stomp"].into_iter().find(|name| offered.contains(name))
}

impl Fault {
    /// No fault.
    pub(super) const NONE: Self = Self {
        name: "none",
        up: |message| vec![message],
        down: |message| vec![message],
        closes: true,
        lets_go: true,
        chooses: highest,
        only_text: false,
    };

    /// Listens; ends with the runtime.
    pub(super) async fn serve(self, target: Target) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(target);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let target = Arc::clone(&target);
                tokio::spawn(async move { self.carry(stream, &target).await });
            }
        });
        address
    }

    async fn carry(self, stream: TcpStream, target: &Arc<Target>) -> Option<()> {
        #[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
        let choose = |request: &Request, mut response: Response| {
            let offered = request.headers().get("sec-websocket-protocol").and_then(|names| names.to_str().ok());
            if let Some(name) = offered.and_then(self.chooses) {
                response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(name));
            }
            Ok(response)
        };
        let mut client = tokio_tungstenite::accept_hdr_async(stream, choose).await.ok()?;
        let mut server = Wire::open(target, Carrier::WebSocket, &Access::default(), "").await.ok()?;
        let mut served = true;
        loop {
            tokio::select! {
                read = client.next() => match read {
                    Some(Ok(Message::Text(text))) => {
                        (self.up)(text.as_bytes().to_vec()).into_iter().for_each(|text| server.write(Out::Text(text.into())));
                    }
                    Some(Ok(Message::Binary(octets))) => {
                        (self.up)(octets.to_vec()).into_iter().for_each(|octets| server.write(Out::Binary(octets.into())));
                    }
                    Some(Ok(Message::Close(frame))) => {
                        server.write(Out::Close(frame.map_or(1000, |frame| frame.code.into())));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None if self.lets_go => return None,
                    // The server goes on as if the client was there.
                    Some(Err(_)) | None => std::future::pending().await,
                },
                event = server.next(), if served => match event {
                    Event::Text(octets) | Event::Binary(octets) => {
                        for message in (self.down)(octets.to_vec()) {
                            client.send(self.message(message)).await.ok()?;
                        }
                    }
                    Event::Closed { .. } | Event::Lost(_) if !self.closes => served = false,
                    Event::Closed { code, reason } => {
                        let frame = CloseFrame { code: code.unwrap_or(1000).into(), reason: reason.into() };
                        return client.close(Some(frame)).await.ok();
                    }
                    Event::Lost(_) => return None,
                },
            }
        }
    }

    fn message(self, octets: Vec<u8>) -> Message {
        if self.only_text {
            return Message::text(String::from_utf8_lossy(&octets).into_owned());
        }
        String::from_utf8(octets).map_or_else(|error| Message::Binary(Bytes::from(error.into_bytes())), Message::text)
    }
}
