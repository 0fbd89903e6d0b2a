//! The certificate of the port: read at the start, on SIGHUP, and when its files change.
//!
//! What cannot be used leaves the one in force, and says so. Sessions that live are not touched.

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, version};

use crate::config::tls::Tls as Config;
use crate::reload::Reload;
use crate::telemetry::{count, metrics};
use crate::transport::Stream;

/// See the module.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

/// What is in force.
struct Certificate {
    files: Config,
    key: RwLock<Arc<CertifiedKey>>,
    /// The files as they were read.
    read: RwLock<Files>,
}

/// Contents of certificate and key.
type Files = (Vec<u8>, Vec<u8>);

impl Tls {
    /// Reads the files; blocks.
    ///
    /// # Errors
    ///
    /// Names the file at fault; nothing of the key is shown.
    pub(crate) fn new(files: &Config) -> Result<Self, String> {
        let read = read(files)?;
        let key = RwLock::new(Arc::new(certified(files, &read)?));
        let certificate = Arc::new(Certificate { files: files.clone(), key, read: RwLock::new(read) });
        let provider = Arc::new(ring::default_provider());
        let versions = [&version::TLS13, &version::TLS12];
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let builder = builder.map_err(|error| format!("server.tls: {error}"))?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::clone(&certificate) as _);
        // WebSockets need HTTP/1.1; a browser that is offered nothing else asks for nothing else.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    /// The handshake of one connection.
    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<Stream> {
        // On the heap for as long as it lasts: its future is larger than a session's.
        Ok(Box::pin(self.acceptor.accept(socket)).await?.into())
    }

    /// Looks at the files as long as the node runs.
    pub(super) async fn keep(&self, mut reload: Reload) {
        loop {
            let asked = reload.due().await;
            let certificate = Arc::clone(&self.certificate);
            let looked = tokio::task::spawn_blocking(move || certificate.look(asked)).await;
            match looked.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(false) => {}
                Ok(true) => {
                    count(&metrics().certificates, "read");
                    tracing::info!("a new certificate is in force");
                }
                Err(error) => {
                    count(&metrics().certificates, "failed");
                    tracing::warn!(error, "the new certificate cannot be used; the old one stays in force");
                }
            }
        }
    }
}

impl Certificate {
    /// Whether there is a new one. Two files are not written at once: a pair that does not match is looked at again when one of
    /// them changes.
    fn look(&self, asked: bool) -> Result<bool, String> {
        let found = read(&self.files)?;
        if *self.read.read() == found && !asked {
            return Ok(false);
        }
        let key = match certified(&self.files, &found) {
            Ok(key) => key,
            Err(error) => {
                // Told once, not at every look.
                *self.read.write() = found;
                return Err(error);
            }
        };
        *self.key.write() = Arc::new(key);
        *self.read.write() = found;
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key.read()))
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn read(files: &Config) -> Result<Files, String> {
    let read = |key: &str, path: &std::path::Path| {
        std::fs::read(path).map_err(|error| format!("server.tls.{key}: {}: {error}", path.display()))
    };
    Ok((read("certificate", &files.certificate)?, read("key", &files.key)?))
}

fn certified(files: &Config, (certificate, key): &Files) -> Result<CertifiedKey, String> {
    let at = |name: &str, path: &std::path::Path, what: &str| format!("server.tls.{name}: {}: {what}", path.display());
    let of_certificate = |what: &str| at("certificate", &files.certificate, what);
    let of_key = |what: &str| at("key", &files.key, what);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| of_certificate(&error.to_string()))?;
    if chain.is_empty() {
        return Err(of_certificate("holds no certificate in PEM form"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| of_key("holds no private key in PEM form"))?;
    let key = ring::sign::any_supported_type(&key).map_err(|_| of_key("is of a kind that cannot be used"))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| of_key("does not belong to the certificate"))?;
    Ok(certified)
}
