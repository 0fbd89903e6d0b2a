//! The connection to Redis: one client for everything, which pipelines the commands of all tasks.
//!
//! The client connects again by itself and sends again what was cut off; every command has a deadline. A frozen server shows
//! only by commands that time out, so a task asks it every second, and has the connection made anew after three silences.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::rustls::pki_types::CertificateDer;
use fred::rustls::pki_types::pem::PemObject;
use fred::rustls::{ClientConfig, RootCertStore};
use fred::types::config::{Config, ReconnectPolicy, TlsConnector};
use fred::types::scripts::Script;
use fred::types::{Builder, ConnectHandle, FromValue, Value};

use crate::config::cluster::Redis;
use crate::relay::Later;

/// Time between two questions whether the server answers.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Questions without an answer after which the connection is made anew.
const SILENCES: u32 = 3;
/// Commands that may wait for the connection.
const WAITING_COMMANDS: usize = 100_000;
/// Pause between attempts to connect at the start.
const ATTEMPT_EVERY: Duration = Duration::from_secs(1);

/// A client that is connected, or will be.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(crate) client: Client,
    pub(crate) prefix: Arc<str>,
    interruptions: Arc<AtomicU64>,
}

/// Connects; waits for a server that is not there yet.
///
/// # Errors
///
/// What no waiting would mend: a bad URL, a wrong password, a certificate that is not trusted. No text holds the URL, which
/// may hold a password.
pub async fn connect(config: &Redis) -> Result<Connection, String> {
    let client = build(config).map_err(|error| format!("redis.url: {}", error.details()))?;
    let interruptions = Arc::new(AtomicU64::new(0));
    let mut errors = client.error_rx();
    let lost = Arc::clone(&interruptions);
    tokio::spawn(async move {
        // A lagging receiver has missed some: that is one more all the same.
        while !matches!(errors.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
            lost.fetch_add(1, Ordering::AcqRel);
        }
    });
    let routing = first_connection(&client, config.command_timeout).await?;
    tokio::spawn(keep_routing(client.clone(), routing));
    tokio::spawn(look_after(client.clone(), Arc::clone(&interruptions)));
    Ok(Connection { client, prefix: config.key_prefix.as_str().into(), interruptions })
}

impl Connection {
    /// Runs a script, and loads it where the server does not know it.
    pub(crate) fn run<'a, R: FromValue + Send + 'a>(
        &'a self,
        script: &'a Script,
        key: Vec<String>,
        arguments: Vec<Value>,
    ) -> Later<'a, Result<R, Error>> {
        // Its futures are large: on the heap they are that only for as long as they last.
        Box::pin(script.evalsha_with_reload(&self.client, key, arguments))
    }

    /// How often the connection was lost.
    pub(crate) fn interruptions(&self) -> u64 {
        self.interruptions.load(Ordering::Acquire)
    }
}

fn build(config: &Redis) -> Result<Client, Error> {
    let mut settings = Config::from_url(config.url.reveal())?;
    // The first attempt tells what is wrong; see `connect` for what happens then.
    settings.fail_fast = true;
    if let Some(file) = &config.ca_file {
        settings.tls = Some(trusting(file)?.into());
    }
    let mut builder = Builder::from_config(settings);
    builder.with_performance_config(|performance| {
        performance.default_command_timeout = config.command_timeout;
        performance.broadcast_channel_capacity = 1024;
    });
    builder.with_connection_config(|connection| {
        connection.connection_timeout = config.command_timeout * 2;
        connection.internal_command_timeout = config.command_timeout * 2;
        connection.max_command_buffer_len = WAITING_COMMANDS;
    });
    // Without end.
    builder.set_policy(ReconnectPolicy::new_exponential(0, 50, 1000, 2));
    builder.build()
}

fn trusting(file: &Path) -> Result<TlsConnector, Error> {
    let failed = |what: String| Error::new(ErrorKind::Tls, format!("redis.ca_file {}: {what}", file.display()));
    let mut roots = RootCertStore::empty();
    let (_, _) = roots.add_parsable_certificates(fred::rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth().into())
}

fn explained(error: &Error) -> String {
    let details = error.details();
    if is_of_certificate(error) {
        return format!("its certificate is not trusted ({details}); redis.ca_file can name another to trust");
    }
    details.to_owned()
}

/// The client has no kind for it.
fn is_of_certificate(error: &Error) -> bool {
    error.details().contains("InvalidCertificate") || error.details().contains("invalid peer certificate")
}

fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Auth | ErrorKind::Config | ErrorKind::Url | ErrorKind::Tls)
        || error.details().contains("WRONGPASS")
        || error.details().contains("NOAUTH")
        || is_of_certificate(error)
}

/// Tries until there is a connection; says once that it has to wait.
async fn first_connection(client: &Client, patience: Duration) -> Result<ConnectHandle, String> {
    let mut told = false;
    loop {
        // Not cut short: the client would go on with it, and refuse another attempt beside it.
        let mut attempt = Box::pin(client.init());
        let result = match tokio::time::timeout(patience * 3, &mut attempt).await {
            Ok(result) => result,
            Err(_) => {
                warn_once(&mut told, "it takes connections and does not answer");
                attempt.await
            }
        };
        match result {
            Ok(routing) => return Ok(routing),
            Err(error) if is_final(&error) => return Err(format!("Redis cannot be used: {}", explained(&error))),
            Err(error) => warn_once(&mut told, error.details()),
        }
        tokio::time::sleep(ATTEMPT_EVERY).await;
    }
}

fn warn_once(told: &mut bool, why: &str) {
    if !std::mem::replace(told, true) {
        tracing::warn!(error = why, "waiting for Redis");
    }
}

/// The client ends its task on answers that it does not understand, and would be dead from then on.
async fn keep_routing(client: Client, mut routing: ConnectHandle) {
    loop {
        let error = match (&mut routing).await {
            Ok(Ok(())) => "it was ended".to_owned(),
            Ok(Err(error)) => error.details().to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(error, "the connection to Redis is made anew");
        routing = loop {
            tokio::time::sleep(ATTEMPT_EVERY).await;
            match Box::pin(client.init()).await {
                Ok(routing) => break routing,
                Err(error) => tracing::debug!(error = error.details(), "Redis cannot be reached"),
            }
        };
    }
}

/// Notices a server that is connected and says nothing.
async fn look_after(client: Client, interruptions: Arc<AtomicU64>) {
    let mut silences = 0;
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        match Box::pin(client.ping::<()>(None)).await {
            Ok(()) => silences = 0,
            Err(_) => silences += 1,
        }
        if silences >= SILENCES {
            silences = 0;
            // No error tells of this one, and it may lead to another server.
            interruptions.fetch_add(1, Ordering::AcqRel);
            let client = client.clone();
            // It returns when there is a connection again.
            tokio::spawn(async move { client.force_reconnection().await });
        }
    }
}
