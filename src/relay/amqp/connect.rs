//! One fresh connection per attempt, with a deadline: the client's own recovery can wait for ever without a sign.

use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, ErrorKind};

use crate::config::cluster::RabbitMq;
use crate::ids::{NodeId, random_u64};

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No waiting mends it.
    Final(String),
    /// It may be better next time.
    Passing(String),
}

impl Trouble {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Final(text) | Self::Passing(text) => text,
        }
    }
}

impl From<lapin::Error> for Trouble {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            // 403 is a wrong password, 404 and 530 a virtual host that is not there, 406 something declared otherwise.
            ErrorKind::ProtocolError(refused) if [403, 404, 406, 530].contains(&refused.get_id()) => {
                Self::Final(format!("RabbitMQ refuses: {refused}"))
            }
            _ => Self::Passing(error.to_string()),
        }
    }
}

/// Connects; `purpose` is what the connection is called in the broker's own tools.
pub(super) async fn connect(config: &RabbitMq, node: &NodeId, purpose: &str) -> Result<Connection, Trouble> {
    // The parser's error repeats the text, and with it the password.
    let mut uri: AMQPUri = config.url.parse().map_err(|_| Trouble::Final("rabbitmq.url: is no AMQP address".into()))?;
    let heartbeat = config.heartbeat.as_secs().clamp(1, u16::MAX.into());
    uri.query.heartbeat = u16::try_from(heartbeat).ok();
    let properties = ConnectionProperties::default().with_connection_name(format!("stampede {node} {purpose}").into());
    let certificates = config.ca_file.as_ref().map(|file| {
        std::fs::read_to_string(file)
            .map_err(|error| Trouble::Final(format!("rabbitmq.ca_file {}: {error}", file.display())))
    });
    let tls = OwnedTLSConfig { identity: None, cert_chain: certificates.transpose()? };
    let runtime = lapin::runtime::default_runtime()?;
    let connecting = Connection::connect_uri_with_config(uri, properties, tls, runtime);
    match tokio::time::timeout(config.connect_timeout, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(Trouble::Passing(format!("no connection within {:?}", config.connect_timeout))),
    }
}

/// The pause before the next attempt: longer each time, and never the same on all nodes.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: Duration::from_millis(100) }
    }
}

impl Backoff {
    pub(super) async fn pause(&mut self) {
        let jitter = Duration::from_millis(random_u64() % 100);
        tokio::time::sleep(self.next + jitter).await;
        self.next = (self.next * 2).min(Duration::from_secs(2));
    }
}
