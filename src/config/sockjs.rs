//! `[endpoint.sockjs]`: the SockJS side of an endpoint.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stampede_protocol::sockjs::Settings;

use super::units;

/// How an endpoint serves SockJS. Keys that Spring has carry its property names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SockJsConfig {
    /// Serve SockJS below the endpoint's path. Off, the path answers raw WebSocket only. Default on.
    pub enabled: bool,
    /// The HTTP transports that are served. Default all; JSONP only where every origin is allowed, see
    /// [`SockJsConfig::allowed_origins`].
    pub transports: Vec<HttpTransport>,
    /// Serve the WebSocket transports. Default on.
    pub web_socket_enabled: bool,
    /// Time between heart-beats of the transport, and between pings on a WebSocket. Default 25 s: below the idle
    /// time-outs of common proxies.
    #[serde(with = "units::duration")]
    pub heartbeat_time: Duration,
    /// How long a ping may stay unanswered. Default 10 s, the reference's.
    #[serde(with = "units::duration")]
    pub pong_time_limit: Duration,
    /// How long a session waits for its next receiver, and a closed one repeats that it is closed. Default 5 s.
    #[serde(with = "units::duration")]
    pub disconnect_delay: Duration,
    /// A streaming answer ends after so many octets and the client asks again. Default 128 KiB.
    #[serde(with = "units::bytes")]
    pub stream_bytes_limit: usize,
    /// Set a `JSESSIONID` cookie for load balancers, and say so in `/info`. Default off; Spring's is on.
    pub session_cookie_needed: bool,
    /// Appended to that cookie, such as `; Secure; SameSite=None`. Default nothing.
    pub session_cookie_attributes: String,
    /// Where the iframe page finds the client library; must be the version the pages use. Default `/sockjs.min.js`.
    pub client_library_url: String,
    /// What `/info` names as the address of the transports, for nodes without sticky balancing. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Leave the CORS headers to a proxy in front. Default off.
    pub suppress_cors: bool,
    /// Origins of pages that may connect, besides the endpoint's own: `https://example.com`,
    /// `https://*.example.com:[8443,443]`, `*` for all. Default none: same origin only. Raw WebSocket obeys it too.
    pub allowed_origins: Vec<String>,
    /// Largest body of a request. Default 3 MiB: JSON escapes can treble a STOMP frame.
    #[serde(with = "units::bytes")]
    pub request_size_limit: usize,
    /// Octets that may wait in a session for its next receiver. Default 512 KiB.
    #[serde(with = "units::bytes")]
    pub send_buffer_size_limit: usize,
    /// Messages that may wait in a session for its next receiver. Default 1000; Spring's is 100.
    pub http_message_cache_size: usize,
    /// How long a streaming receiver may take nothing, and a send may wait for the application. Default 10 s.
    #[serde(with = "units::duration")]
    pub send_time_limit: Duration,
    /// After so long without the connection ending, what was streamed counts as delivered. Default 2 s.
    #[serde(with = "units::duration")]
    pub proof_quiet_time: Duration,
    /// How long the id of a lost session is remembered, so that its client is told instead of getting a new session.
    /// Default 10 s.
    #[serde(with = "units::duration")]
    pub remember_lost_sessions: Duration,
    /// Most HTTP sessions of the endpoint. Default 50 000.
    pub sessions: usize,
}

/// An HTTP transport by its name in URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpTransport {
    /// Long polling.
    Xhr,
    /// Streaming by XMLHttpRequest.
    XhrStreaming,
    /// Server-sent events.
    #[serde(rename = "eventsource")]
    EventSource,
    /// Script elements in an iframe.
    #[serde(rename = "htmlfile")]
    HtmlFile,
    /// Script elements in the page.
    Jsonp,
}

impl SockJsConfig {
    /// Finds values that cannot work.
    ///
    /// # Errors
    ///
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if !self.client_library_url.starts_with('/') && !self.client_library_url.starts_with("http") {
            return Err(format!(
                "client_library_url must start with \"/\" or \"http\", not {:?}",
                self.client_library_url
            ));
        }
        if !self.session_cookie_attributes.is_empty()
            && http::HeaderValue::from_str(&self.session_cookie_attributes).is_err()
        {
            return Err("session_cookie_attributes holds characters that a header may not hold".into());
        }
        for (key, time) in [
            ("heartbeat_time", self.heartbeat_time),
            ("pong_time_limit", self.pong_time_limit),
            ("disconnect_delay", self.disconnect_delay),
            ("send_time_limit", self.send_time_limit),
        ] {
            if time.is_zero() {
                return Err(format!("{key} must not be zero"));
            }
        }
        Ok(())
    }

    /// What the session state machine needs of it.
    #[must_use]
    pub const fn session_settings(&self) -> Settings {
        Settings {
            heartbeat_time: self.heartbeat_time,
            disconnect_delay: self.disconnect_delay,
            stream_bytes_limit: self.stream_bytes_limit,
            queued_bytes_limit: self.send_buffer_size_limit,
            queued_messages_limit: self.http_message_cache_size,
            send_time_limit: self.send_time_limit,
            quiet_time: self.proof_quiet_time,
        }
    }
}

impl Default for SockJsConfig {
    fn default() -> Self {
        use HttpTransport::{EventSource, HtmlFile, Jsonp, Xhr, XhrStreaming};
        Self {
            enabled: true,
            transports: vec![Xhr, XhrStreaming, EventSource, HtmlFile, Jsonp],
            web_socket_enabled: true,
            heartbeat_time: Duration::from_secs(25),
            pong_time_limit: Duration::from_secs(10),
            disconnect_delay: Duration::from_secs(5),
            stream_bytes_limit: 128 << 10,
            session_cookie_needed: false,
            session_cookie_attributes: String::new(),
            client_library_url: "/sockjs.min.js".into(),
            base_url: None,
            suppress_cors: false,
            allowed_origins: Vec::new(),
            request_size_limit: 3 << 20,
            send_buffer_size_limit: 512 << 10,
            http_message_cache_size: 1000,
            send_time_limit: Duration::from_secs(10),
            proof_quiet_time: Duration::from_secs(2),
            remember_lost_sessions: Duration::from_secs(10),
            sessions: 50_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_being_written_and_read() {
        let config = SockJsConfig::default();
        let text = toml::to_string(&config).unwrap();
        assert!(text.contains("transports = [\"xhr\", \"xhr_streaming\", \"eventsource\", \"htmlfile\", \"jsonp\"]"));
        assert_eq!(toml::from_str::<SockJsConfig>(&text).unwrap(), config);
    }

    #[test]
    fn impossible_values_are_named() {
        assert_eq!(SockJsConfig::default().check(), Ok(()));
        for (config, key) in [
            (SockJsConfig { client_library_url: "x.js".into(), ..SockJsConfig::default() }, "client_library_url"),
            (SockJsConfig { heartbeat_time: Duration::ZERO, ..SockJsConfig::default() }, "heartbeat_time"),
            (SockJsConfig { session_cookie_attributes: "\n".into(), ..SockJsConfig::default() }, "cookie_attributes"),
        ] {
            assert!(config.check().unwrap_err().contains(key));
        }
    }
}
