//! A socket, with TLS or without.

use std::{
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
};

use mio::net::TcpStream;
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use crate::{Error, Result, trust::Trust};

/// What a connection with TLS needs to know of the server.
#[derive(Debug, Clone)]
pub struct Secure {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Secure {
    /// For the server of this name.
    ///
    /// # Errors
    ///
    /// Where the name cannot be one of a certificate or the file holds none.
    pub fn new(name: &str, trust: &Trust) -> Result<Self> {
        let config = trust.client_config()?;
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| Error::Usage(format!("TLS: {error}")))?;
        Ok(Self { config, name })
    }
}

/// A connected socket that does not block.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

#[derive(Debug)]
pub(crate) struct Tls {
    socket: TcpStream,
    tls: ClientConnection,
}

impl Stream {
    pub(crate) fn new(socket: TcpStream, secure: Option<&Secure>) -> Result<Self> {
        let Some(Secure { config, name }) = secure else { return Ok(Self::Plain(socket)) };
        let tls = ClientConnection::new(Arc::clone(config), name.clone())
            .map_err(|error| Error::Usage(format!("TLS: {error}")))?;
        Ok(Self::Tls(Box::new(Tls { socket, tls })))
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &mut tls.socket,
        }
    }

    /// Whether a read that filled less than its buffer has emptied the socket.
    pub(crate) fn short_read_is_all(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    pub(crate) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Tls { socket, tls } = match self {
            Self::Plain(socket) => return socket.read(buf),
            Self::Tls(tls) => &mut **tls,
        };
        loop {
            match tls.reader().read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // An end without a close_notify is an end.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            let read = tls.read_tls(socket);
            let bad = tls.process_new_packets().err();
            pump(socket, tls)?;
            match (read, bad) {
                (_, Some(error)) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
                (Ok(0), None) => return Ok(0),
                (Ok(_), None) => {}
                (Err(error), None) => return Err(error),
            }
        }
    }

    /// Takes what it can; the rest is to be offered again when the socket is writable.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(secure) => {
                let taken = secure.tls.writer().write(bytes);
                pump(&mut secure.socket, &mut secure.tls)?;
                taken
            }
        };
        match taken {
            Err(error) if not_now(&error) => Ok(0),
            other => other,
        }
    }

    /// Writes what an earlier [`write`](Self::write) took and could not send.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(secure) => pump(&mut secure.socket, &mut secure.tls),
        }
    }
}

fn pump(socket: &mut TcpStream, tls: &mut ClientConnection) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if not_now(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A socket that is still connecting answers ENOTCONN.
fn not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}
