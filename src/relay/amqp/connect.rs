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
        let ErrorKind::ProtocolError(refused) = error.kind() else { return Self::Passing(error.to_string()) };
        let remedy = match refused.get_id() {
            403 => "look at user and password in rabbitmq.url, and at what the user may do in its virtual host",
            530 => "look at the virtual host in rabbitmq.url: whether it is there, and whether the user may enter it",
            406 => "it is there already and was declared otherwise: delete it, or choose another name in [rabbitmq]",
            // 404 too: the queue may be on a broker node that is away, or another node has just deleted it.
            _ => return Self::Passing(refused.to_string()),
        };
        Self::Final(format!("RabbitMQ refuses: {}; {remedy}", refused.get_message()))
    }
}

/// The number of the broker's refusal, if it is one.
pub(super) fn refusal(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(refused) => Some(refused.get_id()),
        _ => None,
    }
}

/// Connects; `purpose` is what the connection is called in the broker's own tools.
pub(super) async fn connect(config: &RabbitMq, node: &NodeId, purpose: &str) -> Result<Connection, Trouble> {
    // The parser takes it for no host at all, and would connect to this machine.
    if host_of(config.url.reveal()).starts_with('[') {
        return Err(Trouble::Final("rabbitmq.url: takes no IPv6 address in brackets; give the host's name".into()));
    }
    // The parser's error repeats the text, and with it the password.
    let mut uri: AMQPUri =
        config.url.reveal().parse().map_err(|_| Trouble::Final("rabbitmq.url: is no AMQP address".into()))?;
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

/// What stands behind user and password.
fn host_of(url: &str) -> &str {
    let authority = url.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_would_mean_another_host_is_refused() {
        for (url, refused) in [("amqp://[::1]:5672/%2f", "brackets"), ("amqp://a:[b@h/", ""), ("nonsense", "no AMQP")] {
            let config = RabbitMq { url: url.into(), connect_timeout: Duration::from_millis(1), ..RabbitMq::default() };
            match connect(&config, &NodeId::random(), "tests").await {
                Err(Trouble::Final(text)) if !refused.is_empty() => assert!(text.contains(refused), "{text}"),
                Err(Trouble::Passing(_)) if refused.is_empty() => {}
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
