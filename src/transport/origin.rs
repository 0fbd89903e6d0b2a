//! Which pages may connect: the endpoint's own origin, and a list of patterns.
//!
//! A request without `Origin` does not come from another site's script and is let through, as Spring does.

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// The origin policy of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    patterns: Vec<Pattern>,
}

impl Origins {
    /// Reads patterns: a whole origin, with `*` for any run of characters, and optionally a list of ports at the end
    /// (`https://*.example.com:[8080,8443]`, `:[*]` for any port). `*` alone allows everything, `null` included.
    #[must_use]
    pub fn new(patterns: &[String]) -> Self {
        Self { patterns: patterns.iter().map(|pattern| Pattern::new(pattern)).collect() }
    }

    /// Whether a page of any site may connect.
    #[must_use]
    pub fn allow_all(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.text == "*")
    }

    /// Whether only the endpoint's own pages may connect.
    #[must_use]
    pub const fn same_origin_only(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the page that made a request with these headers may connect.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        if self.allow_all() {
            return true;
        }
        let Ok(origin) = origin.to_str() else { return false };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| is_same(origin, host)) || self.patterns.iter().any(|pattern| pattern.matches(origin))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// Without the port list, lower case.
    text: String,
    ports: Ports,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ports {
    /// As the text says.
    Written,
    Any,
    /// One of these, or none where the scheme's own port is listed.
    OneOf(Vec<u16>),
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let pattern = pattern.trim_end_matches('/').to_ascii_lowercase();
        let listed = pattern.strip_suffix(']').and_then(|rest| rest.rsplit_once(":["));
        let Some((text, ports)) = listed else { return Self { text: pattern, ports: Ports::Written } };
        let ports = if ports == "*" {
            Ports::Any
        } else {
            Ports::OneOf(ports.split(',').filter_map(|port| port.trim().parse().ok()).collect())
        };
        Self { text: text.into(), ports }
    }

    fn matches(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let (site, port) = split_port(&origin);
        match &self.ports {
            Ports::Written => glob(self.text.as_bytes(), origin.as_bytes()),
            Ports::Any => glob(self.text.as_bytes(), site.as_bytes()),
            Ports::OneOf(ports) => {
                let port = port.or_else(|| default_port(site.split(':').next()?));
                port.is_some_and(|port| ports.contains(&port)) && glob(self.text.as_bytes(), site.as_bytes())
            }
        }
    }
}

/// The scheme is not compared: behind a proxy that ends TLS the request's own scheme says nothing. The port is, with
/// the default of the origin's scheme filled in on both sides.
fn is_same(origin: &str, host: &str) -> bool {
    let (Ok(origin), Ok(own)) = (origin.parse::<Uri>(), host.parse::<Authority>()) else { return false };
    let (Some(scheme), Some(page)) = (origin.scheme_str(), origin.authority()) else { return false };
    let port = default_port(scheme);
    page.host().eq_ignore_ascii_case(own.host())
        && page.port_u16().or(port) == own.port_u16().or(port)
        && page.port_u16().or(port).is_some()
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// `https://host:8080` as `https://host` and 8080.
fn split_port(origin: &str) -> (&str, Option<u16>) {
    origin.rsplit_once(':').and_then(|(site, port)| Some((site, Some(port.parse().ok()?)))).unwrap_or((origin, None))
}

/// Whether `text` fits `pattern`, where `*` stands for any run of octets. Linear in practice: only the last star is
/// ever tried again.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|octet| *octet == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(patterns: &[&str], origin: &str, host: &str) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(HOST, host.parse().unwrap());
        Origins::new(&patterns).allow(&headers)
    }

    #[test]
    fn the_own_origin_is_always_allowed() {
        for (origin, host, expected) in [
            ("http://a.example", "a.example", true),
            ("http://a.example", "a.example:80", true),
            ("https://a.example", "a.example", true),
            ("http://A.example:8080", "a.example:8080", true),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://a.example:8081", "a.example:8080", false),
            ("https://a.example", "a.example:8080", false),
            ("http://b.example", "a.example", false),
            ("null", "a.example", false),
            ("null", "null", false),
            ("", "a.example", false),
        ] {
            assert_eq!(allow(&[], origin, host), expected, "{origin} at {host}");
        }
        assert!(Origins::default().allow(&HeaderMap::new()));
    }

    #[test]
    fn patterns_have_stars_and_port_lists() {
        for (pattern, origin, expected) in [
            ("*", "null", true),
            ("https://a.example", "https://a.example", true),
            ("https://a.example/", "https://A.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://*.example", "https://a.b.example", true),
            ("https://*.example", "https://example", false),
            ("https://*.example", "https://a.example.evil", false),
            ("https://*.example", "https://a.example:8443", false),
            ("https://*.example:[*]", "https://a.example:8443", true),
            ("https://*.example:[*]", "https://a.example", true),
            ("https://*.example:[8080, 443]", "https://a.example:8080", true),
            ("https://*.example:[8080,443]", "https://a.example", true),
            ("https://*.example:[8080]", "https://a.example", false),
            ("http*://a.example:*", "https://a.example:1", true),
        ] {
            assert_eq!(allow(&[pattern], origin, "other"), expected, "{pattern} for {origin}");
        }
    }
}
