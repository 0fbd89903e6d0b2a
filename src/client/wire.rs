//! One connection, the same for every carrier.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::carrier::Carrier;
use super::queue::{Filler, Taker, queue};
use super::stream::{self, Stream};
use super::target::Target;
use super::{sockjs, websocket};

/// The sub-protocols that clients of STOMP offer.
pub const OFFERED: &str = "v10.stomp, v11.stomp, v12.stomp";

/// The largest message or frame of a server that is taken, in octets: no server fills the memory of whoever looks at it.
pub const LARGEST: usize = 256 << 20;

/// What goes to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// A text message; on a bare connection just octets.
    Text(Bytes),
    /// A binary message, where the carrier has one.
    Binary(Bytes),
    /// A WebSocket close with this code; elsewhere the connection ends.
    Close(u16),
}

/// What comes from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A text message; on a bare connection just octets.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// The server closed, with a code where the carrier has one.
    Closed {
        /// The code of WebSocket or SockJS.
        code: Option<u16>,
        /// What the server says of it.
        reason: String,
    },
    /// The connection is gone without a word, and why.
    Lost(String),
}

/// How to get in.
#[derive(Clone, Default)]
pub struct Access {
    /// Speaks TLS, for targets that want it.
    pub tls: Option<TlsConnector>,
    /// Further headers of the handshake or of every request.
    pub headers: Vec<(String, String)>,
    /// How long connecting and the handshake may take.
    pub patience: Option<Duration>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// A connection. Dropping it cuts it.
#[derive(Debug)]
pub struct Wire {
    to: Filler<Out>,
    from: Taker<Event>,
    /// The sub-protocol that the server chose.
    pub protocol: Option<String>,
    _task: AbortOnDropHandle<()>,
}

/// How many messages may wait to be written before [`Wire::room`] lets its caller wait.
const MOST_UNWRITTEN: usize = 64;

/// How many messages may wait for whoever uses a connection before nothing more is read, so that the server notices.
pub(super) const MOST_UNREAD: usize = 256;

/// The two ends that a carrier works with.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) out: Taker<Out>,
    pub(super) events: Filler<Event>,
}

impl Ends {
    /// Tells what came. Nobody may listen any more.
    pub(super) fn tell(&self, event: Event) {
        self.events.put(event);
    }
}

impl Wire {
    /// Connects over `carrier`. WebSockets offer `offered` as sub-protocols, unless it is empty.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub async fn open(target: &Arc<Target>, carrier: Carrier, access: &Access, offered: &str) -> Result<Self, String> {
        let patience = access.patience.unwrap_or(Duration::from_secs(10));
        let opening = async {
            let (to, out) = queue();
            let (events, from) = queue();
            let ends = Ends { out, events };
            let (protocol, task) = match carrier {
                Carrier::Tcp => {
                    let stream = stream::connect(target, access.tls.as_ref()).await;
                    let stream = stream.map_err(|error| format!("{}: {error}", target.authority))?;
                    (None, tokio::spawn(bare(stream, ends)))
                }
                Carrier::WebSocket | Carrier::SockJs => {
                    let sockjs = carrier == Carrier::SockJs;
                    let path = if sockjs { sockjs::session_path(target) + "/websocket" } else { target.path.clone() };
                    // SockJS has no sub-protocols.
                    let offered = if sockjs { "" } else { offered };
                    let (protocol, socket) = websocket::open(target, &path, access, offered).await?;
                    let task = async move {
                        if sockjs {
                            sockjs::over_websocket(socket, ends).await;
                        } else {
                            websocket::run(socket, ends).await;
                        }
                    };
                    (protocol, tokio::spawn(task))
                }
                _ => (None, tokio::spawn(sockjs::open(target, carrier, access, ends).await?)),
            };
            Ok(Self { to, from, protocol, _task: AbortOnDropHandle::new(task) })
        };
        timeout(patience, opening).await.unwrap_or_else(|_| {
            Err(format!(
                "{} over {carrier}: no answer within {}",
                target.authority,
                humantime::format_duration(patience)
            ))
        })
    }

    /// Writes; what a lost connection would have carried is forgotten.
    pub fn write(&self, out: Out) {
        self.to.put(out);
    }

    /// Waits until little is left of what was written; for whoever has so much to say that it must not pile up.
    ///
    /// # Cancel safety
    ///
    /// Whoever stops waiting loses nothing.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        self.to.room(MOST_UNWRITTEN)
    }

    /// What comes next. After [`Event::Closed`] and [`Event::Lost`] nothing does.
    pub async fn next(&mut self) -> Event {
        self.from.recv().await.unwrap_or_else(|| Event::Lost("the connection has ended".to_owned()))
    }
}

/// STOMP on the connection itself.
async fn bare(mut stream: Stream, mut ends: Ends) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            out = ends.out.recv() => {
                let written = match out {
                    Some(Out::Text(octets) | Out::Binary(octets)) => stream.write_all(&octets).await,
                    Some(Out::Close(_)) | None => stream.shutdown().await,
                };
                if let Err(error) = written {
                    return ends.tell(Event::Lost(error.to_string()));
                }
            }
            read = async { ends.events.room(MOST_UNREAD).await; stream.read(&mut buffer).await } => match read {
                Ok(0) => return ends.tell(Event::Closed { code: None, reason: String::new() }),
                Ok(octets) => ends.tell(Event::Text(Bytes::copy_from_slice(&buffer[..octets]))),
                Err(error) => return ends.tell(Event::Lost(error.to_string())),
            }
        }
    }
}
