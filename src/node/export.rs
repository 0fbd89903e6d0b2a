//! The metrics of a node as OpenMetrics text: those of the process, and those that rooms count for themselves.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Shared;
use crate::telemetry::{Label, metrics, names};

/// Everything as text; `None` when it cannot be written.
pub(super) fn text(shared: &Shared) -> Option<String> {
    metrics().connections_open.set(gauge(shared.open_connections()));
    let mut registry = metrics().registry();
    kept(shared, &mut registry);
    sockjs(shared, &mut registry);
    cluster(shared, &mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).ok()?;
    Some(text)
}

fn kept(shared: &Shared, registry: &mut Registry) {
    let kept = shared.broker.kept().metrics();
    for (name, help, value) in [
        (names::KEPT_DESTINATIONS, "Kept destinations that hold messages or have subscribers", &kept.destinations),
        (names::KEPT_MESSAGES, "Messages kept now", &kept.messages),
        (names::KEPT_BYTES, "Octets kept now", &kept.bytes),
    ] {
        registry.register(name, help, ConstGauge::new(gauge(value.load(Ordering::Relaxed))));
    }
    let events = by_reason(&[
        ("kept", &[&kept.kept]),
        ("refused", &[&kept.refused]),
        ("delivered", &[&kept.delivered]),
        ("redelivered", &[&kept.redelivered]),
        ("settled", &[&kept.settled]),
        ("expired", &[&kept.expired]),
        ("dropped", &[&kept.dropped]),
        ("given-up", &[&kept.given_up]),
        ("lagged", &[&kept.lagged]),
    ]);
    registry.register(names::KEPT_EVENTS, "What happened to kept messages", events);
}

fn sockjs(shared: &Shared, registry: &mut Registry) {
    let all: Vec<_> = shared.endpoints.iter().map(|endpoint| endpoint.counters()).collect();
    let of = |pick: fn(&crate::transport::sockjs::SockJsCounters) -> &AtomicU64| -> Vec<&AtomicU64> {
        all.iter().map(|counters| pick(counters)).collect()
    };
    let open = sum(&of(|counters| &counters.sessions_open));
    registry.register(
        names::SOCKJS_SESSIONS_OPEN,
        "SockJS sessions over HTTP open now",
        ConstGauge::new(i64::try_from(open).unwrap_or(i64::MAX)),
    );
    let begun = sum(&of(|counters| &counters.sessions_begun));
    registry.register(names::SOCKJS_SESSIONS_BEGUN, "SockJS sessions begun over HTTP", ConstCounter::new(begun));
    let lost = by_reason(&[
        ("aborted", &of(|counters| &counters.aborted)),
        ("expired", &of(|counters| &counters.expired)),
        ("stalled", &of(|counters| &counters.stalled)),
        ("silent", &of(|counters| &counters.silent)),
        ("queue-overflow", &of(|counters| &counters.queue_overflow)),
    ]);
    registry.register(names::SOCKJS_SESSIONS_LOST, "SockJS sessions that ended without being closed", lost);
    let refused = by_reason(&[
        ("origin", &of(|counters| &counters.refused_origin)),
        ("full", &of(|counters| &counters.refused_full)),
        ("busy", &of(|counters| &counters.refused_busy)),
        ("lost", &of(|counters| &counters.refused_lost)),
        ("unknown-session", &of(|counters| &counters.unknown_session)),
        ("bad-payload", &of(|counters| &counters.bad_payload)),
        ("binary", &of(|counters| &counters.binary_dropped)),
    ]);
    registry.register(names::SOCKJS_REFUSED, "SockJS requests and messages refused", refused);
}

fn cluster(shared: &Shared, registry: &mut Registry) {
    let Some(cluster) = shared.broker.cluster() else { return };
    let gauges = cluster.gauges();
    for (name, help, value) in [
        (names::CLUSTER_NODES, "Nodes that live, this one included", gauge(gauges.nodes)),
        (names::CLUSTER_NAMES, "Names under which this node has receivers", gauge(gauges.names)),
        (names::RELAY_WAITING_BYTES, "Octets that wait for the relay or its confirm", gauge(gauges.waiting_bytes)),
        (names::REGISTRY_UP, "Whether Redis answers", i64::from(gauges.registry_up)),
        (names::RELAY_UP, "Whether RabbitMQ takes messages", i64::from(gauges.relay_up)),
    ] {
        registry.register(name, help, ConstGauge::new(value));
    }
}

fn by_reason(values: &[(&'static str, &[&AtomicU64])]) -> Family<Label, Counter> {
    let family = Family::<Label, Counter>::default();
    for (reason, counters) in values {
        family.get_or_create(&Label { reason }).inc_by(sum(counters));
    }
    family
}

fn sum(counters: &[&AtomicU64]) -> u64 {
    counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
