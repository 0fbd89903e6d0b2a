//! Receiving requests: polling answers one frame, streaming one after the other.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use hyper::{Request, Response};
use stampede_protocol::sockjs::frame::close;
use stampede_protocol::sockjs::session::ReceiverId;
use stampede_protocol::sockjs::transport::CallbackFault;
use stampede_protocol::sockjs::{Attach, Callback, Take, Transport, Wrapping};
use tokio::time::{Instant, timeout_at};

use super::headers::{HTMLFILE_POLICY, page};
use super::link::{HttpLink, register};
use super::send::read_body;
use super::sessions::{Found, Live, Wake};
use super::{Body, SockJs, text};
use crate::session::link::{Application, Handshake};
use crate::transport::http1::Breaker;

/// Before a second receiver is turned away, the first gets so long to be found dead: a client that dropped its request
/// and asks again at once can overtake the news of the first one's end.
const DEATH_NOTICE: Duration = Duration::from_millis(100);

/// Bodies of receiving requests are empty; a little is read and forgotten so that the connection stays in step.
const IGNORED_BODY: usize = 16 * 1024;

/// nginx passes an answer with this header on without buffering it.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

impl SockJs {
    pub(super) async fn receive<A: Application>(
        &self,
        app: &Arc<A>,
        id: &str,
        transport: Transport,
        mut request: Request<Incoming>,
        handshake: Handshake,
    ) -> Response<Body> {
        let wrapping = match wrapping(transport, request.uri().query().unwrap_or_default()) {
            Ok(wrapping) => wrapping,
            Err(fault) => return text(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string().into_bytes()),
        };
        let breaker = request.extensions_mut().remove::<Breaker>();
        if request.method() == Method::POST
            && let Err(refusal) = read_body(request.into_body(), IGNORED_BODY).await
        {
            return refusal;
        }
        let body = self.listen(app, id, transport, &wrapping, breaker, handshake).await;
        let Some(body) = body else { return text(StatusCode::SERVICE_UNAVAILABLE, "Too many sessions\n") };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(transport.content_type()));
        if !wrapping.is_polling() {
            headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        }
        if transport == Transport::HtmlFile {
            page(headers, HTMLFILE_POLICY);
        }
        response
    }

    /// The answer for a new receiver; `None` when there is no room for a new session.
    async fn listen<A: Application>(
        &self,
        app: &Arc<A>,
        id: &str,
        transport: Transport,
        wrapping: &Wrapping,
        breaker: Option<Breaker>,
        handshake: Handshake,
    ) -> Option<Body> {
        let deadline = Instant::now() + DEATH_NOTICE;
        let mut handshake = Some(handshake);
        loop {
            let (live, fresh) = match self.sessions.find_or_begin(id) {
                Found::Live(live) => (live, false),
                Found::Fresh(live) => (live, true),
                Found::Lost => return Some(refusal(wrapping, close::INTERRUPTED)),
                Found::Full => return None,
            };
            let attach = live.attach(wrapping.clone(), breaker.clone());
            if let (true, Some(handshake)) = (fresh, handshake.take_if(|_| fresh)) {
                let link = HttpLink::new(Arc::clone(&live), label(transport));
                tokio::spawn(app.serve(link, handshake));
            }
            match attach {
                Attach::Attached(id) => {
                    let receiver = Receiver { live, id };
                    return Some(if wrapping.is_polling() {
                        receiver.whole(wrapping).await
                    } else {
                        Body::Stream(receiver)
                    });
                }
                Attach::Answer(chunks) => return Some(answer(wrapping, chunks)),
                Attach::Busy => {
                    if timeout_at(deadline, live.freed.notified()).await.is_err() {
                        self.counters().refused_busy.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        return Some(refusal(wrapping, close::STILL_OPEN));
                    }
                }
                Attach::Gone => {}
            }
        }
    }
}

/// The attached receiver of a session. Dropped before its answer is complete, it takes the session with it: frames may
/// be lost.
#[derive(Debug)]
pub struct Receiver {
    live: Arc<Live>,
    id: ReceiverId,
}

impl Receiver {
    /// The next piece of the answer.
    pub(in crate::transport) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let take = self.live.step(|inner, now| {
            let take = inner.machine.take(self.id, now);
            if take == Take::Nothing {
                register(&mut inner.receiver, cx);
                return (take, Wake::Nobody);
            }
            (take, Wake::Link)
        });
        match take {
            Take::Chunk(chunk) => Poll::Ready(Some(Ok(chunk))),
            Take::Nothing => Poll::Pending,
            Take::End => Poll::Ready(None),
            Take::Broken => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
        }
    }

    /// Waits for the one frame of a polling answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping it says that the client is gone.
    async fn whole(mut self, wrapping: &Wrapping) -> Body {
        let mut frame = BytesMut::new();
        while let Some(chunk) = poll_fn(|cx| self.poll_chunk(cx)).await {
            let Ok(chunk) = chunk else { return refusal(wrapping, close::INTERRUPTED) };
            frame.extend_from_slice(&chunk);
        }
        Body::Full(frame.freeze())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.live.detach(self.id);
    }
}

fn answer(wrapping: &Wrapping, chunks: Vec<Bytes>) -> Body {
    if wrapping.is_polling() { Body::Full(chunks.concat().into()) } else { Body::Chunks(chunks.into()) }
}

fn refusal(wrapping: &Wrapping, close: (u16, &str)) -> Body {
    answer(wrapping, wrapping.refusal(close))
}

fn wrapping(transport: Transport, query: &str) -> Result<Wrapping, CallbackFault> {
    let callback = || {
        let named = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "c" || name == "callback");
        Callback::parse(named.map(|(_, value)| value))
    };
    Ok(match transport {
        Transport::XhrStreaming => Wrapping::XhrStreaming,
        Transport::EventSource => Wrapping::EventSource,
        Transport::HtmlFile => Wrapping::HtmlFile(callback()?),
        Transport::Jsonp => Wrapping::Jsonp(callback()?),
        Transport::Xhr | Transport::WebSocket | Transport::XhrSend | Transport::JsonpSend => Wrapping::Xhr,
    })
}

/// What log and metrics call a session begun this way.
const fn label(transport: Transport) -> &'static str {
    match transport {
        Transport::XhrStreaming => "sockjs-xhr-streaming",
        Transport::EventSource => "sockjs-eventsource",
        Transport::HtmlFile => "sockjs-htmlfile",
        Transport::Jsonp => "sockjs-jsonp",
        Transport::Xhr | Transport::WebSocket | Transport::XhrSend | Transport::JsonpSend => "sockjs-xhr",
    }
}
