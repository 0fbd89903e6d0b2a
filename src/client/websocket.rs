//! STOMP in the messages of a WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::stream::{self, Stream};
use super::target::Target;
use super::wire::{Access, Ends, Event, LARGEST, MOST_UNREAD, Out};

pub(super) type Socket = WebSocketStream<Stream>;

/// Connects and shakes hands; tells the sub-protocol that was chosen.
pub(super) async fn open(
    target: &Target,
    path: &str,
    access: &Access,
    offered: &str,
) -> Result<(Option<String>, Socket), String> {
    let uri = format!("ws://{}{path}{}", target.authority, target.query);
    let say = |error: &dyn std::fmt::Display| format!("{uri}: {error}");
    let mut request = uri.as_str().into_client_request().map_err(|error| say(&error))?;
    let headers = request.headers_mut();
    for (name, value) in &access.headers {
        let name: HeaderName = name.parse().map_err(|error| say(&error))?;
        headers.append(name, HeaderValue::from_str(value).map_err(|error| say(&error))?);
    }
    if !offered.is_empty() {
        let offered = HeaderValue::from_str(offered).map_err(|error| say(&error))?;
        headers.insert("sec-websocket-protocol", offered);
    }
    let stream = stream::connect(target, access.tls.as_ref()).await.map_err(|error| say(&error))?;
    let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, answer)) => {
            let chosen = answer.headers().get("sec-websocket-protocol").and_then(|name| name.to_str().ok());
            Ok((chosen.map(str::to_owned), socket))
        }
        Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol))) => {
            Err(NONE_CHOSEN.to_owned())
        }
        Err(Error::Http(answer)) => Err(say(&format!("the handshake was answered with {}", answer.status()))),
        Err(error) => Err(say(&error)),
    }
}

/// Why there is no connection where sub-protocols were offered and the server named none: clients must fail then (RFC 6455, 4.1
/// wants it of what was asked for, and browsers do).
pub(super) const NONE_CHOSEN: &str = "the server chose none of the sub-protocols";

/// Carries messages until one side ends.
pub(super) async fn run(mut socket: Socket, mut ends: Ends) {
    loop {
        tokio::select! {
            out = ends.out.recv() => {
                let message = match out {
                    Some(Out::Text(text)) => match Utf8Bytes::try_from(text.clone()) {
                        Ok(text) => Message::Text(text),
                        Err(_) => Message::Binary(text),
                    },
                    Some(Out::Binary(octets)) => Message::Binary(octets),
                    Some(Out::Close(code)) => Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() })),
                    None => return,
                };
                if let Err(error) = socket.send(message).await
                    && !matches!(error, Error::Protocol(ProtocolError::SendAfterClosing))
                {
                    return ends.tell(Event::Lost(error.to_string()));
                }
            }
            read = async { ends.events.room(MOST_UNREAD).await; socket.next().await } => match event(read) {
                Some(event @ (Event::Closed { .. } | Event::Lost(_))) => return ends.tell(event),
                Some(event) => ends.tell(event),
                None => {}
            }
        }
    }
}

/// What a message means; pings are answered below.
pub(super) fn event(read: Option<Result<Message, Error>>) -> Option<Event> {
    Some(match read {
        Some(Ok(Message::Text(text))) => Event::Text(text.into()),
        Some(Ok(Message::Binary(octets))) => Event::Binary(octets),
        Some(Ok(Message::Close(frame))) => Event::Closed {
            code: Some(frame.as_ref().map_or(1005, |frame| frame.code.into())),
            reason: frame.map(|frame| frame.reason.to_string()).unwrap_or_default(),
        },
        Some(Ok(_)) => return None,
        Some(Err(error)) => Event::Lost(error.to_string()),
        None => Event::Lost("the connection was cut".to_owned()),
    })
}
