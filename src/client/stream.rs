//! TCP, or TLS over it.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::target::Target;

/// A connection in the clear or not.
pub(super) type Stream = Box<dyn Connection>;

/// What carries octets both ways.
pub(super) trait Connection: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send> Connection for S {}

/// Connects; `tls` is for targets that want it.
pub(super) async fn connect(target: &Target, tls: Option<&TlsConnector>) -> io::Result<Stream> {
    let stream = TcpStream::connect(&*target.authority).await?;
    stream.set_nodelay(true)?;
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let tls = tls.ok_or_else(|| io::Error::other("no certificates were named to believe"))?;
    let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}
