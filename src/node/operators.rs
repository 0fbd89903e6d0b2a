//! What operators ask a node: health, readiness, metrics, and [`api`]. On the clients' port, or with `server.admin_listen` on one
//! of their own and there alone.
//!
//! Their port answers as long as the process lives: also while the node has as many clients as it may have, and while it drains.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Shared, api, listen, pages};
use crate::telemetry::{count, metrics};
use crate::transport::{Body, serve_http};

/// Whether a path is theirs.
pub(super) fn claims(path: &str) -> bool {
    path.starts_with(api::PREFIX) || pages::is_for_operators(path)
}

/// Answers a request to one of their paths.
pub(super) async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    if request.uri().path().starts_with(api::PREFIX) {
        api::serve(shared, request).await.unwrap_or_else(pages::not_found)
    } else {
        pages::operators(shared, &request)
    }
}

/// Their own port.
#[derive(Debug)]
pub(super) struct Port {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Port {
    pub(super) fn bind(wanted: SocketAddr) -> Result<Self, String> {
        let listener = listen::bind(wanted);
        let bound = listener.and_then(|listener| Ok(Self { address: listener.local_addr()?, listener }));
        bound.map_err(|error| format!("server.admin_listen: cannot listen on {wanted}: {error}"))
    }

    /// Takes connections until `stop` is cancelled; then lets those that are open finish what they are answering.
    pub(super) async fn serve(self, shared: Arc<Shared>, stop: CancellationToken) {
        let open = TaskTracker::new();
        while let Some((stream, peer)) = listen::next(&self.listener, &stop).await {
            welcome(stream, peer, &shared, &stop, &open);
        }
        open.close();
        open.wait().await;
    }
}

fn welcome(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, stop: &CancellationToken, open: &TaskTracker) {
    let (actual, limit) = (open.len(), shared.config.server.admin_connections);
    if actual >= limit {
        count(&metrics().connections_refused, "too-many-admin");
        tracing::debug!(%peer, actual, limit, "connection refused: server.admin_connections");
        return listen::refuse_full(&stream, "server.admin_connections", actual, limit);
    }
    let (shared, stop) = (Arc::clone(shared), stop.clone());
    let settings = listen::settings(&shared);
    open.spawn(serve_http(stream, settings, stop, move |request| {
        let shared = Arc::clone(&shared);
        async move {
            match claims(request.uri().path()) {
                true => answer(&shared, request).await,
                false => pages::not_found(),
            }
        }
    }));
}
