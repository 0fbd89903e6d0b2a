//! What the node tells about itself: metrics here, logs through `tracing`.

use std::io::IsTerminal;
use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::problem::{ConfigProblem, Key, Problems};
use crate::config::{Log, LogFormat};

pub mod names;

/// Whether logging could be started so; `source` and `file` are where the section stands.
///
/// # Errors
///
/// When `log.filter` cannot be read.
pub fn check(log: &Log, source: &str, file: &str) -> Result<(), ConfigProblem> {
    let mut problems = Problems::new(source, file);
    problems.take(&Key::root("log").name("filter"), filter(log));
    problems.or_all(()).map_err(|mut found| found.remove(0))
}

/// Starts logging to standard error.
///
/// # Errors
///
/// When `log.filter` cannot be read.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = filter(log).map_err(|error| format!("log.filter: {:?}: {error}", log.filter))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    }
    .map_err(|error| error.to_string())
}

/// What is logged. Tungstenite writes whole messages at its lowest level, passcodes and bodies included: never those. The
/// clients of RabbitMQ and Redis call an error what this program expects and answers, and says itself where it matters;
/// `log.filter` can ask for them all the same.
fn filter(log: &Log) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("lapin=off,fred=off,{},tungstenite=info,tungstenite::protocol=info", log.filter))
}

/// A label whose values are words of this program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Label {
    /// The word.
    pub reason: &'static str,
}

/// Labels of a frame that permissions refuse.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Refused {
    /// `send` or `subscribe`.
    pub verb: &'static str,
    /// `rule`, `own-rule` or `profile`.
    pub by: &'static str,
}

/// All metrics of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// [`names::SESSIONS_OPEN`]
    pub sessions_open: Family<Label, Gauge>,
    /// [`names::SESSIONS_CLOSED`]
    pub sessions_closed: Family<Label, Counter>,
    /// [`names::FRAMES_RECEIVED`]
    pub frames_received: Counter,
    /// [`names::FRAMES_DROPPED`]
    pub frames_dropped: Family<Label, Counter>,
    /// [`names::FRAMES_FORBIDDEN`]
    pub frames_forbidden: Family<Refused, Counter>,
    /// [`names::MESSAGES_PUBLISHED`]
    pub messages_published: Counter,
    /// [`names::MESSAGES_DELIVERED`]
    pub messages_delivered: Counter,
    /// [`names::MESSAGES_DROPPED`]
    pub messages_dropped: Family<Label, Counter>,
    /// [`names::SUBSCRIPTIONS_OPEN`]
    pub subscriptions_open: Gauge,
    /// [`names::ENVELOPES_PUBLISHED`]
    pub envelopes_published: Family<Label, Counter>,
    /// [`names::ENVELOPES_RECEIVED`]
    pub envelopes_received: Family<Label, Counter>,
    /// [`names::RELAY_RECONNECTS`]
    pub relay_reconnects: Family<Label, Counter>,
    /// [`names::CONNECTIONS_REFUSED`]
    pub connections_refused: Family<Label, Counter>,
    /// [`names::IDENTIFIED`]
    pub identified: Family<Label, Counter>,
    /// [`names::KEY_SETS`]
    pub key_sets: Family<Label, Counter>,
    /// [`names::API_REQUESTS`]
    pub api_requests: Family<Label, Counter>,
    /// [`names::CONNECTIONS_OPEN`]
    pub connections_open: Gauge,
}

/// The metrics of the process.
#[must_use]
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);
    &METRICS
}

/// Counts one more of `reason`.
pub fn count(family: &Family<Label, Counter>, reason: &'static str) {
    family.get_or_create(&Label { reason }).inc();
}

impl Metrics {
    /// A registry that exports them; the names get their `_total` from the exporter.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register(names::SESSIONS_OPEN, "Sessions open now, by transport", self.sessions_open.clone());
        registry.register(names::SESSIONS_CLOSED, "Sessions ended, by reason", self.sessions_closed.clone());
        registry.register(names::FRAMES_RECEIVED, "STOMP frames received", self.frames_received.clone());
        registry.register(names::FRAMES_DROPPED, "Frames without effect, by reason", self.frames_dropped.clone());
        registry.register(
            names::FRAMES_FORBIDDEN,
            "Frames refused by permissions, by verb and by what decided",
            self.frames_forbidden.clone(),
        );
        registry.register(names::MESSAGES_PUBLISHED, "Messages taken for delivery", self.messages_published.clone());
        registry.register(names::MESSAGES_DELIVERED, "Messages put into outboxes", self.messages_delivered.clone());
        registry.register(names::MESSAGES_DROPPED, "Messages sent to nobody, by reason", self.messages_dropped.clone());
        registry.register(names::SUBSCRIPTIONS_OPEN, "Subscriptions open now", self.subscriptions_open.clone());
        registry.register(
            names::CONNECTIONS_REFUSED,
            "Connections refused, by reason",
            self.connections_refused.clone(),
        );
        registry.register(
            names::ENVELOPES_PUBLISHED,
            "Envelopes to other nodes, by result",
            self.envelopes_published.clone(),
        );
        registry.register(
            names::ENVELOPES_RECEIVED,
            "Envelopes from other nodes, by queue",
            self.envelopes_received.clone(),
        );
        registry.register(
            names::RELAY_RECONNECTS,
            "Connections to RabbitMQ that were lost or not made, by purpose",
            self.relay_reconnects.clone(),
        );
        registry.register(names::IDENTIFIED, "CONNECT frames, by proof or refusal", self.identified.clone());
        registry.register(names::KEY_SETS, "Reads of the keys of tokens, by outcome", self.key_sets.clone());
        registry.register(names::API_REQUESTS, "Requests to /api/, by outcome", self.api_requests.clone());
        registry.register(names::CONNECTIONS_OPEN, "Connections open now", self.connections_open.clone());
        registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_export_has_names_and_labels() {
        let metrics = Metrics::default();
        count(&metrics.sessions_closed, "lost");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
        assert!(text.contains("stampede_sessions_closed_total{reason=\"lost\"} 1"), "{text}");
        assert!(text.contains("stampede_subscriptions_open 0"), "{text}");
    }
}
