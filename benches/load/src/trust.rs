//! Whom clients believe that the server is the one meant.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{Error, Result};

/// Whose certificates are good.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// A file of certificates in PEM form, instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// Any certificate will do.
    pub insecure: bool,
}

impl Trust {
    /// TLS for clients with this trust.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or there is no certificate to believe.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Usage(format!("TLS: {error}")))?;
        Ok(Arc::new(if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
        } else {
            builder.with_root_certificates(roots(self.ca_file.as_deref())?).with_no_client_auth()
        }))
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(file) = ca_file else {
        // Those that cannot be read are none of ours.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let none =
            "this system has no certificate to believe: name some with --ca-file, or believe all with --insecure";
        return if roots.is_empty() { Err(Error::Usage(none.to_owned())) } else { Ok(roots) };
    };
    let pem = std::fs::read(file).map_err(Error::system(format!("reading {}", file.display())))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let refused = |error: String| Error::Usage(format!("{}: {error}", file.display()));
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(Error::Usage(format!("{} holds no certificate", file.display())));
    }
    Ok(roots)
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
