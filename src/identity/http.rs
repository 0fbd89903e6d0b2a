//! A small HTTP client: one question, one bounded answer, in bounded time.

use std::path::Path;
use std::time::Duration;

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ::http::{HeaderValue, Method, Request, StatusCode};
use bytes::Bytes;
use fred::rustls::pki_types::CertificateDer;
use fred::rustls::pki_types::pem::PemObject as _;
use fred::rustls::{ClientConfig, RootCertStore};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Connections that nobody uses are closed after so long.
const IDLE: Duration = Duration::from_secs(30);

/// See the module. Follows no redirects: who is asked is what the configuration says.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// Trusts the system's certificates, and those of a file.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let (_, _) = roots.add_parsable_certificates(fred::rustls_native_certs::load_native_certs().certs);
        if let Some(file) = ca_file {
            let named = |what: String| format!("{}: {what}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| named(error.to_string()))? {
                let certificate = certificate.map_err(|error| named(error.to_string()))?;
                roots.add(certificate).map_err(|error| named(error.to_string()))?;
            }
        }
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let mut builder = Pool::builder(TokioExecutor::new());
        builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new());
        Ok(Self { pool: builder.build(connector) })
    }

    /// The body of an answer with status 200.
    pub(super) async fn get(&self, url: &str, limit: usize, timeout: Duration) -> Result<Vec<u8>, String> {
        let request = Request::builder().uri(url).body(Full::default()).map_err(|error| error.to_string())?;
        match self.ask(request, limit, timeout).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, _) => Err(format!("the answer is {status}")),
        }
    }

    /// Status and body of the answer to a JSON text.
    pub(super) async fn post(
        &self,
        url: &str,
        authorization: Option<&HeaderValue>,
        body: Vec<u8>,
        limit: usize,
        timeout: Duration,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let json = HeaderValue::from_static("application/json");
        let mut request =
            Request::builder().method(Method::POST).uri(url).header(CONTENT_TYPE, &json).header(ACCEPT, json);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        self.ask(request, limit, timeout).await
    }

    async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
        timeout: Duration,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let answered = async {
            let response = self.pool.request(request).await.map_err(|error| chain(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), limit).collect().await;
            let body =
                body.map_err(|error| format!("the answer breaks off, or is larger than {limit} octets: {error}"))?;
            Ok((status, body.to_bytes().to_vec()))
        };
        // On the heap for as long as it lasts: the future of a TLS handshake is large.
        tokio::time::timeout(timeout, Box::pin(answered)).await.map_err(|_| format!("no answer within {timeout:?}"))?
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
