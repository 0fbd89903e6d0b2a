//! Where a token stands.

use bytestring::ByteString;
use stampede_protocol::stomp::session::Connect;

use crate::config::identity::Jwt;
use crate::session::link::Handshake;

/// The places, in the order in which they are looked at.
#[derive(Debug)]
pub(super) struct Places {
    header: String,
    passcode: bool,
    cookie: Option<String>,
    query_parameter: Option<String>,
}

impl Places {
    pub(super) fn new(config: &Jwt) -> Self {
        Self {
            header: config.header.clone(),
            passcode: config.passcode,
            cookie: config.cookie.clone(),
            query_parameter: config.query_parameter.clone(),
        }
    }

    /// The first token there is; what is clearly meant for somebody else (`Basic …`) is none.
    pub(super) fn find(&self, connect: &Connect, handshake: &Handshake) -> Option<ByteString> {
        self.in_connect(connect).or_else(|| self.in_handshake(handshake))
    }

    fn in_connect(&self, connect: &Connect) -> Option<ByteString> {
        // STOMP has case in header names, HTTP has not, and front ends copy from there.
        let header =
            connect.headers.iter().find(|(name, _)| !self.header.is_empty() && name.eq_ignore_ascii_case(&self.header));
        let header = header.and_then(|(_, value)| bare(value));
        header.or_else(|| self.passcode.then(|| connect.passcode.as_deref().and_then(bare)).flatten())
    }

    fn in_handshake(&self, handshake: &Handshake) -> Option<ByteString> {
        let header = handshake.headers.get(&self.header).and_then(|value| bare(value.to_str().ok()?));
        header.or_else(|| self.in_cookies(handshake)).or_else(|| self.in_query(handshake))
    }

    fn in_cookies(&self, handshake: &Handshake) -> Option<ByteString> {
        let wanted = self.cookie.as_deref()?;
        let lines = handshake.headers.get_all(::http::header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == wanted)?;
        bare(value.trim_matches('"'))
    }

    fn in_query(&self, handshake: &Handshake) -> Option<ByteString> {
        let wanted = self.query_parameter.as_deref()?;
        let query = handshake.query.as_deref()?;
        let (_, value) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted)?;
        bare(&value)
    }
}

/// The token itself, copied: what it is part of lives no longer than the CONNECT.
fn bare(value: &str) -> Option<ByteString> {
    let value = match value.trim_start().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some((token, "")) => token,
        Some(_) => return None,
        None => value,
    };
    (!value.is_empty()).then(|| ByteString::from(value))
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderMap, HeaderValue};
    use stampede_protocol::stomp::{Headers, Version};

    use super::*;

    fn connect(headers: &[(&'static str, &'static str)]) -> Connect {
        let headers: Headers = headers.iter().copied().collect();
        let of = |name: &str| headers.get(name).cloned();
        Connect { version: Version::V1_2, login: of("login"), passcode: of("passcode"), host: None, headers }
    }

    fn handshake(headers: &[(&'static str, &'static str)], query: Option<&str>) -> Handshake {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Handshake { endpoint: "/ws".into(), peer: None, headers: map, query: query.map(Into::into) }
    }

    fn find(config: &str, c: &[(&'static str, &'static str)], h: &[(&'static str, &'static str)]) -> Option<String> {
        let places = Places::new(&toml::from_str(config).unwrap());
        places.find(&connect(c), &handshake(h, Some("a=1&access_token=q%2Et&b"))).map(|token| token.to_string())
    }

    #[test]
    fn a_token_is_found_where_the_configuration_says() {
        let everywhere = "passcode = true\ncookie = 'sid'\nquery_parameter = 'access_token'";
        let t = |text: &str| Some(text.to_owned());
        for (config, c, h, expected) in [
            ("", &[("Authorization", "Bearer a.b.c")][..], &[][..], t("a.b.c")),
            ("", &[("authorization", "bearer  a.b.c ")], &[], t("a.b.c")),
            ("", &[("Authorization", "a.b.c")], &[], t("a.b.c")),
            ("", &[("Authorization", "Basic YTpi")], &[], None),
            ("", &[("Authorization", "")], &[], None),
            ("", &[("Authorization", "Bearer ")], &[], None),
            ("", &[("passcode", "a.b.c"), ("login", "x")], &[("cookie", "sid=c.c.c")], None),
            ("", &[], &[("authorization", "Bearer h.h.h")], t("h.h.h")),
            ("", &[("Authorization", "c.c.c")], &[("authorization", "Bearer h.h.h")], t("c.c.c")),
            ("header = 'X-Token'", &[("X-Token", "x"), ("Authorization", "a")], &[], t("x")),
            (everywhere, &[("passcode", "p.p.p")], &[], t("p.p.p")),
            (everywhere, &[], &[("cookie", "a=1; sid=\"c.c.c\"; b=2")], t("c.c.c")),
            (everywhere, &[], &[("cookie", "xsid=no"), ("cookie", "sid=second")], t("second")),
            (everywhere, &[], &[], t("q.t")),
        ] {
            assert_eq!(find(config, c, h), expected, "{config} {c:?} {h:?}");
        }
    }
}
