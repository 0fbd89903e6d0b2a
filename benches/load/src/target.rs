//! Where the server under test is, and how to get in.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
};

use crate::{Error, Result};

/// The endpoint under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its address, already resolved: no run measures a resolver.
    pub addr: SocketAddr,
    /// The `Host` and `host` headers.
    pub host: String,
    /// The path of the WebSocket endpoint.
    pub path: String,
    /// `login` and `passcode`, where the server wants them.
    pub login: Option<(String, String)>,
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let rest = ["ws://", "http://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .ok_or_else(|| Error::Usage(format!("not a ws:// URL: {url}")))?;
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let with_port = match host.rsplit_once(':') {
            Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
            _ => format!("{host}:80"),
        };
        let addr = with_port
            .to_socket_addrs()
            .map_err(Error::system(format!("resolving {with_port}")))?
            .next()
            .ok_or_else(|| Error::Usage(format!("no address for {with_port}")))?;
        Ok(Self { addr, host: host.to_owned(), path: path.to_owned(), login: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, addr: &str, path: &str) {
        let target: Target = url.parse().unwrap();
        assert_eq!((target.addr.to_string().as_str(), target.path.as_str()), (addr, path));
    }

    #[test]
    fn urls_are_read() {
        check("ws://127.0.0.1:8080/ws", "127.0.0.1:8080", "/ws");
        check("http://127.0.0.1:8080", "127.0.0.1:8080", "/");
        check("ws://[::1]/a/b", "[::1]:80", "/a/b");
        assert!("wss://127.0.0.1/ws".parse::<Target>().is_err());
    }
}
