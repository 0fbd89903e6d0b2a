//! Documents that are the same for every session: greeting, info, iframe page.

use super::quote;

/// What the base of an endpoint says.
pub const GREETING: &str = "Welcome to SockJS!\n";

/// The capabilities document.
#[derive(Debug, Clone, Copy)]
pub struct Info<'a> {
    /// Whether the WebSocket transport is on.
    pub websocket: bool,
    /// Whether load balancers need a cookie to find the node again.
    pub cookie_needed: bool,
    /// Where the client shall find the transports instead, if elsewhere: a node without sticky sessions in front of it
    /// names itself.
    pub base_url: Option<&'a str>,
    /// 32 unpredictable bits, new for every answer: a source of chance for clients that have none.
    pub entropy: u32,
}

impl Info<'_> {
    /// The document. Nobody reads `origins`; the value is part of the protocol.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let mut out = format!(
            r#"{{"websocket":{},"origins":["*:*"],"cookie_needed":{},"entropy":{}"#,
            self.websocket, self.cookie_needed, self.entropy
        )
        .into_bytes();
        if let Some(base_url) = self.base_url {
            out.extend_from_slice(b",\"base_url\":");
            quote::quote(&mut out, base_url);
        }
        out.push(b'}');
        out
    }
}

/// The page that iframe transports load, made once per endpoint.
#[derive(Debug)]
pub struct IframePage {
    /// The document.
    pub html: String,
    /// Its strong entity tag, quoted.
    pub etag: String,
}

impl IframePage {
    /// The page that loads the client library from `script`, which comes from configuration, never from a request.
    #[must_use]
    pub fn new(script: &str) -> Self {
        let script = script.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        let html = IFRAME.replace("SCRIPT", &script);
        let etag = format!("\"{:016x}\"", fnv1a(html.as_bytes()));
        Self { html, etag }
    }

    /// The script that stands in the page itself, for policies that name it by its digest.
    #[must_use]
    pub fn inline_script(&self) -> &str {
        let script = self.html.split_once("<script>").and_then(|(_, rest)| rest.split_once("</script>"));
        script.map_or("", |(script, _)| script)
    }

    /// Whether an `If-None-Match` value names this page: weak comparison, lists and `*` (RFC 9110, 13.1.2).
    #[must_use]
    pub fn matches(&self, if_none_match: &str) -> bool {
        if_none_match
            .split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
    }
}

/// FNV-1a, 64 bits: stable over versions of the compiler, which the tag of a page kept for a year has to be.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
}

/// Compared whole by the protocol suite.
const IFRAME: &str = r#"<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="SCRIPT"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_json() {
        let info = Info { websocket: true, cookie_needed: false, base_url: None, entropy: u32::MAX };
        let expected = r#"{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":4294967295}"#;
        assert_eq!(info.json(), expected.as_bytes());
        let pinned = Info { base_url: Some("https://n1/\"ws"), ..info }.json();
        let pinned: serde_json::Value = serde_json::from_slice(&pinned).unwrap();
        assert_eq!(pinned["base_url"], "https://n1/\"ws");
    }

    #[test]
    fn iframe_page_holds_the_script_and_nothing_breaks_out() {
        let page = IframePage::new("/sockjs.min.js?a=1&b=\"><x>");
        assert!(page.html.contains("<script src=\"/sockjs.min.js?a=1&amp;b=&quot;>&lt;x>\"></script>"));
        assert_eq!(IframePage::new("/s").html.len(), 409 + 2);
        let script = "\n    document.domain = document.domain;\n    SockJS.bootstrap_iframe();\n  ";
        assert_eq!(page.inline_script(), script);
    }

    #[test]
    fn tags_match_in_lists_and_weakly() {
        let page = IframePage::new("/s");
        for value in [page.etag.clone(), format!("W/{}", page.etag), format!("\"x\", {}", page.etag), "*".into()] {
            assert!(page.matches(&value), "{value}");
        }
        assert!(!page.matches("\"x\""));
        assert!(!page.matches(""));
    }
}
