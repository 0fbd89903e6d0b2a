//! A socket, with TLS or without.

use std::{
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
};

use mio::net::TcpStream;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{Error, Result};

/// What a connection with TLS needs to know of the server.
#[derive(Debug, Clone)]
pub struct Secure {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// Whom to believe that the server is the one meant.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// A file of certificates in PEM form, instead of those of the system.
    pub ca_file: Option<std::path::PathBuf>,
    /// Any certificate will do.
    pub insecure: bool,
}

impl Secure {
    /// For the server of this name.
    ///
    /// # Errors
    ///
    /// Where the name cannot be one of a certificate or the file holds none.
    pub fn new(name: &str, trust: &Trust) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Usage(format!("TLS: {error}")))?;
        let config = if trust.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
        } else {
            builder.with_root_certificates(roots(trust)?).with_no_client_auth()
        };
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| Error::Usage(format!("TLS: {error}")))?;
        Ok(Self { config: Arc::new(config), name })
    }
}

fn roots(trust: &Trust) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &trust.ca_file {
        let pem = std::fs::read(file).map_err(Error::system(format!("reading {}", file.display())))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let refused = |error: String| Error::Usage(format!("{}: {error}", file.display()));
            let certificate = certificate.map_err(|error| refused(error.to_string()))?;
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(Error::Usage(format!("{} holds no certificate", file.display())));
        }
    } else {
        // Those that cannot be read are none of ours.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
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

/// Believes every certificate, as the user wanted.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
