//! What browsers are told about every kind of answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::support::openssl;
use crate::support::process::{Launch, serve};
use crate::support::tcp::Tcp;

type Headers = BTreeMap<String, String>;

/// Status and headers of the answer to a request without a body.
fn ask(to: SocketAddr, line: &str, more: &str) -> (u16, Headers) {
    let mut connection = Tcp::connect(to);
    connection.write(format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n").as_bytes());
    read(&String::from_utf8_lossy(&connection.rest()))
}

fn read(answer: &str) -> (u16, Headers) {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())).unwrap();
    (status, lines.map(header).collect())
}

/// Everything of the kind that browsers act on.
const TOLD: [&str; 7] = [
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "referrer-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
];

fn told(headers: &Headers) -> Vec<(&str, &str)> {
    TOLD.iter().filter_map(|name| Some((*name, headers.get(*name)?.as_str()))).collect()
}

const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";
const NO_SNIFFING: (&str, &str) = ("x-content-type-options", "nosniff");

/// Of answers that only the node's own pages have a use for.
fn own(policy: &str) -> Vec<(&str, &str)> {
    vec![
        ("content-security-policy", policy),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "same-origin"),
        NO_SNIFFING,
    ]
}

const TOKEN: &str = "a token of operators, long enough";

#[test]
fn pages_of_the_node_load_nothing_foreign_and_are_framed_by_nobody() {
    let node = serve(&format!("[api]\ntoken = '{TOKEN}'\n"));
    for (line, status, policy) in [
        ("GET /health", 200, NO_PAGE),
        ("GET /ready", 200, NO_PAGE),
        ("GET /metrics", 200, NO_PAGE),
        ("POST /health", 405, NO_PAGE),
        ("GET /nothing", 404, NO_PAGE),
        ("GET /api/nothing", 404, NO_PAGE),
        ("GET /api/revocations", 401, NO_PAGE),
        ("GET /", 200, stampede::web::CONTENT_SECURITY_POLICY),
        ("GET /demo/app.js", 200, stampede::web::CONTENT_SECURITY_POLICY),
        ("GET /demo/style.css", 200, stampede::web::CONTENT_SECURITY_POLICY),
        ("GET /demo/icon.svg", 200, stampede::web::CONTENT_SECURITY_POLICY),
    ] {
        let (found, headers) = ask(node.address, line, "");
        assert_eq!((found, told(&headers)), (status, own(policy)), "{line}");
    }
    for (line, status) in [("GET /api/revocations", 200), ("PUT /api/revocations", 405)] {
        let (found, headers) = ask(node.address, line, &format!("Authorization: Bearer {TOKEN}\r\n"));
        assert_eq!((found, told(&headers)), (status, own(NO_PAGE)), "{line}");
    }
}

/// What pages of other origins use must stay usable for them: nothing but the type is fixed, and what pages load themselves.
#[test]
fn answers_of_sockjs_are_what_their_type_says() {
    let node = serve("[[endpoint]]\npath = '/ws'\n[endpoint.sockjs]\nallowed_origins = ['*']\n");
    let htmlfile = "default-src 'none'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    let page = |policy| vec![("content-security-policy", policy), ("referrer-policy", "same-origin"), NO_SNIFFING];
    let text = || vec![NO_SNIFFING];
    let close = "Content-Length: 0\r\n";
    for (line, more, status, expected) in [
        ("GET /ws", "", 200, text()),
        ("GET /ws/info", "", 200, text()),
        ("OPTIONS /ws/info", "", 204, text()),
        ("PUT /ws", close, 405, text()),
        ("GET /ws/nothing", "", 404, text()),
        ("GET /ws/websocket", "", 400, text()),
        ("POST /ws/0/a/xhr", close, 200, text()),
        ("POST /ws/0/a/xhr_send", close, 500, text()),
        ("GET /ws/0/b/jsonp?c=x", "", 200, text()),
        ("GET /ws/0/c/jsonp", "", 500, text()),
        ("GET /ws/0/d/htmlfile", "", 500, text()),
    ] {
        let (found, headers) = ask(node.address, line, more);
        assert_eq!((found, told(&headers)), (status, expected), "{line}");
    }
    // These do not end by themselves.
    for (line, expected) in [
        ("POST /ws/0/e/xhr_streaming", text()),
        ("GET /ws/0/f/eventsource", text()),
        ("GET /ws/0/g/htmlfile?c=x", page(htmlfile)),
    ] {
        let mut connection = Tcp::connect(node.address);
        connection.write(format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").as_bytes());
        let (found, headers) = read(&connection.until("\r\n\r\n"));
        assert_eq!((found, told(&headers)), (200, expected), "{line}");
    }
}

#[test]
fn the_iframe_page_runs_its_own_script_and_the_library() {
    // Of the text between the tags in the page, made with `openssl dgst -sha256 -binary | base64`.
    let own = "'sha256-lYmFXEsqdsgpRcqXPmVFJyV4CiaTNuS5IK/HjT7/fdk='";
    let policy = |library: &str, framed: &str| {
        format!(
            "default-src 'none'; script-src {own} {library}; connect-src 'self'; frame-src 'self'; base-uri 'none'; \
             form-action 'none'{framed}"
        )
    };
    for (config, status, policy, framed) in [
        ("", 200, policy("'self'", "; frame-ancestors 'self'"), Some("SAMEORIGIN")),
        ("allowed_origins = ['*']", 200, policy("'self'", ""), None),
        (
            "allowed_origins = ['*']\nclient_library_url = 'https://cdn.example.com/a/sockjs.min.js'",
            200,
            policy("https://cdn.example.com", ""),
            None,
        ),
    ] {
        let node = serve(&format!("[[endpoint]]\npath = '/ws'\n[endpoint.sockjs]\n{config}\n"));
        let (found, headers) = ask(node.address, "GET /ws/iframe.html", "");
        let mut expected =
            vec![("content-security-policy", policy.as_str()), ("referrer-policy", "same-origin"), NO_SNIFFING];
        expected.extend(framed.map(|framed| ("x-frame-options", framed)));
        assert_eq!((found, told(&headers)), (status, expected), "{config}");
        // What a browser has kept goes on having its policy.
        let known = format!("If-None-Match: {}\r\n", headers["etag"]);
        let (found, again) = ask(node.address, "GET /ws/iframe.html", &known);
        assert_eq!((found, told(&again)), (304, told(&headers)), "{config}");
    }
}

#[test]
fn a_node_that_speaks_tls_wants_it_spoken_where_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    openssl::certificate(directory.path(), "node");
    let (certificate, key) = (directory.path().join("node.crt"), directory.path().join("node.key"));
    for (key_in_file, expected) in [
        ("", None),
        ("strict_transport_security = '1d'", Some("max-age=86400")),
        ("strict_transport_security = '0s'", None),
    ] {
        let config = format!("[server.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{key_in_file}\n");
        let node = Launch::new(&[]).config(&config).env("STAMPEDE__LOG__FILTER", "warn").serve();
        for path in ["/", "/health", "/ws/info", "/ws/iframe.html", "/nothing"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let (_, headers) = read(&openssl::ask(node.address, &request));
            let found = headers.get("strict-transport-security").map(String::as_str);
            assert_eq!(found, expected, "{path} {key_in_file}");
        }
    }
}
