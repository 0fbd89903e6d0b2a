//! Where a server is.

use std::str::FromStr;

/// A server, as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host and port, to connect to.
    pub authority: String,
    /// The host without the port: the virtual host of CONNECT, and the name on a certificate.
    pub host: String,
    /// The path of the endpoint, without a slash at its end; empty for STOMP on a bare connection.
    pub path: String,
    /// What follows the path, with its question mark; empty or not.
    pub query: String,
    /// Whether STOMP is spoken without WebSocket or HTTP.
    pub bare: bool,
    /// Whether to speak TLS.
    pub tls: bool,
}

/// The schemes, each with its usual port, whether it is bare, and whether it is TLS.
const SCHEMES: [(&str, u16, bool, bool); 9] = [
    ("ws://", 80, false, false),
    ("http://", 80, false, false),
    ("wss://", 443, false, true),
    ("https://", 443, false, true),
    ("tcp://", 61613, true, false),
    ("stomp://", 61613, true, false),
    ("stomp+ssl://", 61614, true, true),
    ("ssl://", 61614, true, true),
    ("tls://", 61614, true, true),
];

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let known = SCHEMES.iter().find_map(|&(scheme, port, bare, tls)| {
            let rest = url.strip_prefix(scheme)?;
            Some((rest, port, bare, tls))
        });
        let (rest, port, bare, tls) = known.ok_or_else(|| {
            format!("{url:?} is no URL of a STOMP server: ws://, wss://, http://, https://, tcp://, or stomp+ssl://")
        })?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.is_empty() || authority.contains('@') {
            return Err(format!("{url:?} must name a host, and no user"));
        }
        let (host, named) = match authority.rsplit_once(':') {
            Some((host, digits)) if !host.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, digits.parse().ok())
            }
            _ => (authority, Some(port)),
        };
        let port: u16 = named.ok_or_else(|| format!("{url:?} names a port beyond 65535"))?;
        Ok(Self {
            authority: format!("{host}:{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            path: path.trim_end_matches('/').to_owned(),
            query: query.to_owned(),
            bare,
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, authority: &str, host: &str, path: &str, query: &str, (bare, tls): (bool, bool)) {
        let (authority, host, path, query) = (authority.into(), host.into(), path.into(), query.into());
        assert_eq!(url.parse(), Ok(Target { authority, host, path, query, bare, tls }));
    }

    #[test]
    fn urls_are_read() {
        check("ws://localhost:8080/ws", "localhost:8080", "localhost", "/ws", "", (false, false));
        check("http://a.example/x/y/?k=v#z", "a.example:80", "a.example", "/x/y", "?k=v", (false, false));
        check("wss://[::1]/ws", "[::1]:443", "::1", "/ws", "", (false, true));
        check("tcp://[::1]:1", "[::1]:1", "::1", "", "", (true, false));
        check("stomp+ssl://h", "h:61614", "h", "", "", (true, true));
    }

    #[test]
    fn others_are_refused() {
        for url in ["", "localhost", "ftp://x", "ws://", "ws:///x", "ws://u@h/", "ws://h:70000/"] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }
}
