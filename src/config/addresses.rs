//! `[server.addresses]`: which proxies are believed, and what one address may have.

use serde::{Deserialize, Serialize};

use crate::addresses::Network;

/// Addresses that many clients share: this machine, and the private networks in which balancers live.
const PRIVATE: [&str; 9] = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Addresses {
    /// Proxies whose `X-Forwarded-For` and PROXY protocol are believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether trusted proxies begin each connection with the PROXY protocol, version 1 or 2. A connection of theirs without
    /// it is closed; nobody else may use it.
    pub proxy_protocol: bool,
    /// Most open HTTP connections of one address (IPv4), or of 64 bits (IPv6); 0 for no limit. Those that became WebSockets are
    /// sessions.
    pub connections: usize,
    /// Most sessions of one address, likewise.
    pub sessions: usize,
    /// Connections that one address may open per second in the long run; 0 for no limit. Of a client behind a trusted proxy that
    /// names it by `X-Forwarded-For`: WebSockets. Default 100.
    pub connections_per_second: u32,
    /// How many it may open at once. Default 2000: all of an office whose 1000 sessions were cut off, each with a connection for
    /// SockJS's `/info` and one for the WebSocket.
    pub connections_burst: u32,
    /// Networks without these limits; trusted proxies have none either.
    pub unlimited: Vec<Network>,
}

impl Addresses {
    /// All networks without limits.
    #[must_use]
    pub fn without_limit(&self) -> Vec<Network> {
        self.unlimited.iter().chain(&self.trusted_proxies).copied().collect()
    }
}

impl Default for Addresses {
    fn default() -> Self {
        let unlimited =
            PRIVATE.iter().map(|network| network.parse().expect("the networks above are written as they should be"));
        Self {
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            connections: 1000,
            sessions: 1000,
            connections_per_second: 100,
            connections_burst: 2000,
            unlimited: unlimited.collect(),
        }
    }
}
