//! HTTP/1 on one socket, as the transports need it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Body, Stream};

/// Bounds of one HTTP connection.
#[derive(Debug, Clone, Copy)]
pub struct HttpSettings {
    /// How long a request head may take to arrive; also how long an idle connection stays.
    pub header_timeout: Duration,
    /// Largest request head in octets, at least 8 KiB; as much output is buffered.
    pub header_size_limit: usize,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(60), header_size_limit: 16 * 1024 }
    }
}

/// Breaks off the connection that a request came on, even while its peer takes nothing: an answer nobody reads is not
/// asked for its next chunk, so it could not end itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker(Arc<Notify>);

impl Breaker {
    pub(super) fn break_off(&self) {
        self.0.notify_one();
    }
}

/// Serves requests on one socket until the peer leaves, an upgrade takes the socket over, or `stop` is cancelled and
/// the request at hand is answered.
///
/// A peer that closes its side while a request is answered counts as gone (no half-open connections), and what
/// answers it is dropped: SockJS sessions rely on that.
pub async fn serve_http<S, H, F>(stream: S, settings: HttpSettings, stop: CancellationToken, handle: H)
where
    S: Into<Stream>,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let breaker = Breaker::default();
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(breaker.clone());
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .half_close(false)
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_buf_size(settings.header_size_limit.max(8 * 1024))
        .serve_connection(TokioIo::new(stream.into()), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = breaker.0.notified() => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = breaker.0.notified() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "HTTP connection ended");
    }
}
