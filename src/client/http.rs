//! Requests over a connection of their own.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio_util::task::AbortOnDropHandle;

use super::stream;
use super::target::Target;
use super::wire::Access;

/// A connection for one request after the other. Where the server has ended it between two, another one takes its place.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    access: Access,
    sender: SendRequest<Full<Bytes>>,
    task: AbortOnDropHandle<()>,
}

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers beside `Host` and the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Asked {
    /// A request without headers.
    pub fn new(method: Method, path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method, path: path.into(), body: body.into(), ..Self::default() }
    }
}

/// An answer, whose body may still be on its way.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub async fn open(target: &Target, access: &Access) -> Result<Self, String> {
        let (sender, task) = connect(target, access).await?;
        Ok(Self { target: target.clone(), access: access.clone(), sender, task })
    }

    /// Asks, and reads the head of the answer.
    ///
    /// # Errors
    ///
    /// Where the connection is gone or the answer is none.
    pub async fn ask(&mut self, asked: &Asked) -> Result<Answer, String> {
        let say = |error: &dyn std::fmt::Display| format!("{} {}: {error}", asked.method, asked.path);
        let mut request = Request::new(Full::new(asked.body.clone()));
        *request.method_mut() = asked.method.clone();
        *request.uri_mut() = asked.path.parse().map_err(|error| say(&error))?;
        if self.sender.is_closed() {
            (self.sender, self.task) = connect(&self.target, &self.access).await?;
        }
        let authority = HeaderValue::from_str(&self.target.authority).map_err(|error| say(&error))?;
        request.headers_mut().insert(http::header::HOST, authority);
        for (name, value) in self.access.headers.iter().chain(&asked.headers) {
            let name: HeaderName = name.parse().map_err(|error| say(&error))?;
            request.headers_mut().append(name, HeaderValue::from_str(value).map_err(|error| say(&error))?);
        }
        self.sender.ready().await.map_err(|error| say(&error))?;
        let answer = self.sender.send_request(request).await.map_err(|error| say(&error))?;
        let (head, body) = answer.into_parts();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

type Connected = (SendRequest<Full<Bytes>>, AbortOnDropHandle<()>);

async fn connect(target: &Target, access: &Access) -> Result<Connected, String> {
    let say = |error: &dyn std::fmt::Display| format!("{}: {error}", target.authority);
    let stream = stream::connect(target, access.tls.as_ref()).await.map_err(|error| say(&error))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| say(&error))?;
    // How it ends is told to whoever waits for an answer.
    let task = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    }));
    Ok((sender, task))
}

impl Answer {
    /// The next piece of the body, as the server sent it; `None` at its end.
    ///
    /// # Errors
    ///
    /// Where the connection breaks in the body.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| format!("the body breaks off: {error}"))?;
            if let Ok(octets) = frame.into_data()
                && !octets.is_empty()
            {
                return Ok(Some(octets));
            }
        }
        Ok(None)
    }

    /// The rest of the body.
    ///
    /// # Errors
    ///
    /// As [`piece`](Self::piece).
    pub async fn rest(&mut self) -> Result<Vec<u8>, String> {
        let mut rest = Vec::new();
        while let Some(piece) = self.piece().await? {
            rest.extend_from_slice(&piece);
        }
        Ok(rest)
    }
}
