//! Every metric by name. Labels come from this program's own enums, never from users or destinations.

/// Sessions open now, by transport.
pub const SESSIONS_OPEN: &str = "stampede_sessions_open";
/// Sessions ended, by reason.
pub const SESSIONS_CLOSED: &str = "stampede_sessions_closed";
/// Frames received.
pub const FRAMES_RECEIVED: &str = "stampede_frames_received";
/// Frames without effect, by reason.
pub const FRAMES_DROPPED: &str = "stampede_frames_dropped";
/// Frames refused by permissions, by verb and by what decided.
pub const FRAMES_FORBIDDEN: &str = "stampede_frames_forbidden";
/// Messages taken for delivery.
pub const MESSAGES_PUBLISHED: &str = "stampede_messages_published";
/// Messages put into outboxes.
pub const MESSAGES_DELIVERED: &str = "stampede_messages_delivered";
/// Messages sent to nobody, by reason.
pub const MESSAGES_DROPPED: &str = "stampede_messages_dropped";
/// Subscriptions open now.
pub const SUBSCRIPTIONS_OPEN: &str = "stampede_subscriptions_open";
/// Connections refused, by reason.
pub const CONNECTIONS_REFUSED: &str = "stampede_connections_refused";
/// Connections open now, of all kinds: HTTP connections and sessions, as `server.connections` counts them.
pub const CONNECTIONS_OPEN: &str = "stampede_connections_open";
/// SockJS sessions over HTTP open now.
pub const SOCKJS_SESSIONS_OPEN: &str = "stampede_sockjs_sessions_open";
/// SockJS sessions begun over HTTP.
pub const SOCKJS_SESSIONS_BEGUN: &str = "stampede_sockjs_sessions_begun";
/// SockJS sessions that ended without being closed, by reason.
pub const SOCKJS_SESSIONS_LOST: &str = "stampede_sockjs_sessions_lost";
/// SockJS requests refused, by reason.
pub const SOCKJS_REFUSED: &str = "stampede_sockjs_refused";
/// Kept destinations that hold messages or have subscribers.
pub const KEPT_DESTINATIONS: &str = "stampede_kept_destinations";
/// Messages kept now.
pub const KEPT_MESSAGES: &str = "stampede_kept_messages";
/// Octets kept now.
pub const KEPT_BYTES: &str = "stampede_kept_bytes";
/// Envelopes to other nodes, by result.
pub const ENVELOPES_PUBLISHED: &str = "stampede_envelopes_published";
/// Envelopes from other nodes, by the queue they came from.
pub const ENVELOPES_RECEIVED: &str = "stampede_envelopes_received";
/// Connections to RabbitMQ that were lost or not made, by purpose.
pub const RELAY_RECONNECTS: &str = "stampede_relay_reconnects";
/// Nodes that live, this one included.
pub const CLUSTER_NODES: &str = "stampede_cluster_nodes";
/// Names under which this node has receivers.
pub const CLUSTER_NAMES: &str = "stampede_cluster_names";
/// Octets that wait for the relay or its confirm, of `relay.buffer_size_limit`.
pub const RELAY_WAITING_BYTES: &str = "stampede_relay_waiting_bytes";
/// 1 when Redis answers.
pub const REGISTRY_UP: &str = "stampede_registry_up";
/// 1 when RabbitMQ takes messages.
pub const RELAY_UP: &str = "stampede_relay_up";
/// What happened to kept messages, by event.
pub const KEPT_EVENTS: &str = "stampede_kept_events";
/// CONNECT frames by how the user was proved, or why not.
pub const IDENTIFIED: &str = "stampede_identified";
/// Reads of the key set of `identity.jwt`, by outcome.
pub const KEY_SETS: &str = "stampede_key_sets";
/// Requests to `/api/`, by outcome.
pub const API_REQUESTS: &str = "stampede_api_requests";
