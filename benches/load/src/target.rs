//! Where the server under test is, and how to get in.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
};

use crate::{Error, Result, stream::Secure, trust::Trust};

/// The endpoint under test.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its address, already resolved: no run measures a resolver.
    pub addr: SocketAddr,
    /// The `Host` header of the handshake.
    pub host: String,
    /// The path of the WebSocket endpoint; with `sockjs` that of the SockJS service.
    pub path: String,
    /// Whether the URL asks for TLS; [`secured`](Self::secured) makes it so.
    pub wants_tls: bool,
    /// How to speak TLS.
    pub secure: Option<Secure>,
    /// Speaks SockJS' own framing over its WebSocket transport.
    pub sockjs: bool,
    /// The `host` header of CONNECT: the virtual host.
    pub vhost: String,
    /// `login` and `passcode`, where the server wants them.
    pub login: Option<(String, String)>,
    /// Further headers.
    pub headers: Headers,
}

/// Headers beside those that every client sends, each as `name:value`.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// Of the WebSocket handshake.
    pub handshake: Vec<String>,
    /// Of CONNECT.
    pub connect: Vec<String>,
    /// Of every SUBSCRIBE.
    pub subscribe: Vec<String>,
    /// Of every SEND.
    pub send: Vec<String>,
}

impl Target {
    /// The same with what TLS needs, where the URL asks for it.
    ///
    /// # Errors
    ///
    /// Where the trust cannot be set up.
    pub fn secured(mut self, trust: &Trust) -> Result<Self> {
        if self.wants_tls {
            self.secure = Some(Secure::new(name_of(&self.host), trust)?);
        }
        Ok(self)
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let known = [("ws://", 80, false), ("http://", 80, false), ("wss://", 443, true), ("https://", 443, true)];
        let (rest, port, wants_tls) = known
            .iter()
            .find_map(|&(scheme, port, tls)| url.strip_prefix(scheme).map(|rest| (rest, port, tls)))
            .ok_or_else(|| Error::Usage(format!("not a ws:// or wss:// URL: {url}")))?;
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let with_port = match host.rsplit_once(':') {
            Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
            _ => format!("{host}:{port}"),
        };
        let addr = with_port
            .to_socket_addrs()
            .map_err(Error::system(format!("resolving {with_port}")))?
            .next()
            .ok_or_else(|| Error::Usage(format!("no address for {with_port}")))?;
        Ok(Self {
            addr,
            host: host.to_owned(),
            path: path.to_owned(),
            wants_tls,
            secure: None,
            sockjs: false,
            vhost: host.to_owned(),
            login: None,
            headers: Headers::default(),
        })
    }
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, addr: &str, path: &str, tls: bool) {
        let target: Target = url.parse().unwrap();
        assert_eq!((target.addr.to_string().as_str(), target.path.as_str(), target.wants_tls), (addr, path, tls));
    }

    #[test]
    fn urls_are_read() {
        check("ws://127.0.0.1:8080/ws", "127.0.0.1:8080", "/ws", false);
        check("http://127.0.0.1:8080", "127.0.0.1:8080", "/", false);
        check("ws://[::1]/a/b", "[::1]:80", "/a/b", false);
        check("wss://127.0.0.1/ws", "127.0.0.1:443", "/ws", true);
        assert!("ftp://127.0.0.1/ws".parse::<Target>().is_err());
    }

    #[test]
    fn tls_needs_a_name_or_an_address() {
        let target: Target = "wss://127.0.0.1:1/".parse().unwrap();
        assert!(target.secured(&Trust { ca_file: None, insecure: true }).unwrap().secure.is_some());
        let target: Target = "wss://[::1]:1/".parse().unwrap();
        assert!(target.secured(&Trust { ca_file: None, insecure: true }).unwrap().secure.is_some());
    }
}
