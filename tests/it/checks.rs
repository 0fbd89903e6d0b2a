//! What must hold for any octets that reach the server before a client is known. Called by the tests here and by the fuzz targets,
//! which include this file.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;
use stampede::addresses::{Network, any_holds, client, proxy_protocol};
use stampede::broker::Identity;
use stampede::config::identity::{Identity as Config, Jwt};
use stampede::destination::Destinations;
use stampede::session::identify::Authenticator;
use stampede::session::link::Handshake;
use stampede_protocol::stomp::session::Connect;
use stampede_protocol::stomp::{Headers, Version};
use tokio::io::{AsyncRead, ReadBuf};

/// The head of a connection through a balancer: the same at any cut, and not an octet more is read. The first octet says how large
/// the pieces are in which it comes.
pub(crate) fn proxy_protocol_input(data: &[u8]) {
    let Some((size, octets)) = data.split_first() else { return };
    let whole = read_head(octets, octets.len().max(1));
    assert_eq!(whole, read_head(octets, usize::from(*size).max(1)), "in pieces of {size}");
    let (found, used) = whole;
    assert!(used <= MOST_OF_A_HEAD, "{used} octets are read");
    let Ok(found) = found else { return };
    let (head, _) = octets.split_at(used);
    assert_eq!(read_head(head, used), (Ok(found), used), "what is behind the head decides nothing");
    let Some(found) = found else { return };
    let family = if found.is_ipv4() { "TCP4" } else { "TCP6" };
    let (ip, port) = (found.ip(), found.port());
    let line = format!("PROXY {family} {ip} {ip} {port} {port}\r\n");
    assert_eq!(read_head(line.as_bytes(), line.len()), (Ok(Some(found)), line.len()), "{line}");
}

/// `X-Forwarded-For`, one line of it per line of the input: whatever a client writes in front of what proxies write changes nothing.
/// The first octet chooses whether the peer is a proxy that is believed.
pub(crate) fn forwarded_for_input(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let peer = IpAddr::from(if choice & 1 == 0 { [10, 0, 0, 1] } else { [192, 0, 2, 1] });
    let trusted: [Network; 2] = TRUSTED.map(|network| network.parse().expect("they are written as they should be"));
    let lines: Vec<HeaderValue> =
        text.split(|octet| *octet == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let find = |before: &[&'static str], behind: &[&'static str]| {
        let mut headers = HeaderMap::new();
        let fixed =
            |lines: &[&'static str]| lines.iter().map(|line| HeaderValue::from_static(line)).collect::<Vec<_>>();
        for line in fixed(before).into_iter().chain(lines.clone()).chain(fixed(behind)) {
            headers.append("x-forwarded-for", line);
        }
        client(peer, &headers, &trusted)
    };
    let found = find(&[], &[]);
    if !any_holds(&trusted, peer) {
        assert_eq!(found, peer, "somebody who is not trusted was believed");
        return;
    }
    assert_eq!(found, found.to_canonical());
    assert_eq!(find(&[], &["203.0.113.9, 10.0.0.7"]), IpAddr::from([203, 0, 113, 9]), "a proxy was not believed");
    if !any_holds(&trusted, found) {
        assert_eq!(find(&["198.51.100.7", "10.0.0.9, x"], &[]), found, "a client chose its address");
    }
}

/// A token. The first octet chooses what the rest is: a token; claims, or head, line end and claims, that are signed here with the
/// right key; a query; a cookie.
pub(crate) fn token_input(data: &[u8]) {
    let Some((choice, octets)) = data.split_first() else { return };
    let text = || String::from_utf8_lossy(octets).into_owned();
    let now = seconds();
    match choice % 5 {
        0 => {
            let token = text();
            if identify(Some(token.clone()), None, None).is_some() {
                assert!(is_signed(&token), "accepted without a signature: {token:?}");
            }
        }
        1 => judge(HEAD, octets, now),
        2 => {
            let at = octets.iter().position(|octet| *octet == b'\n').unwrap_or(octets.len());
            let (head, claims) = octets.split_at(at);
            judge(head, claims.get(1..).unwrap_or_default(), now);
        }
        3 => drop(identify(None, Some(text()), None)),
        _ => drop(identify(None, None, HeaderValue::from_bytes(octets).ok())),
    }
}

/// Whether these claims let somebody in: checks that nobody passes would show nothing.
pub(crate) fn lets_in(claims: &str) -> bool {
    identify(Some(token(HEAD, claims.as_bytes())), None, None).is_some()
}

/// Whoever is let in is whom the token names, now, and by a head that is understood.
fn judge(head: &[u8], claims: &[u8], now: f64) {
    let Some(identity) = identify(Some(token(head, claims)), None, None) else { return };
    let read = |octets: &[u8]| serde_json::from_slice::<Value>(octets).expect("what is accepted is JSON");
    let (head, claims) = (read(head), read(claims));
    assert_eq!(head["alg"], "HS256", "another algorithm than it was signed with: {head}");
    assert!(head["crit"].is_null(), "what must be understood is not: {head}");
    let name = match &claims["sub"] {
        Value::String(name) => name.clone(),
        other => other.as_number().expect("whoever is let in has a name").to_string(),
    };
    assert!(!name.is_empty() && identity.name.as_deref() == Some(name.as_str()), "{claims}");
    let end = claims["exp"].as_f64().expect("a token without an end is refused");
    // Half a minute of leeway, and a second for rounding.
    assert!(end + 31.0 >= now, "expired: {claims}");
    let begin = claims["nbf"].as_f64().unwrap_or(0.0);
    assert!(begin <= seconds() + 31.0, "too early: {claims}");
}

/// Longest line of version 1, or fixed part and longest rest of version 2.
const MOST_OF_A_HEAD: usize = 16 + 2048;
const TRUSTED: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];
const HEAD: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;
const SECRET: &str = "a secret of the checks, long enough";

/// What is found, and how many octets were read for it.
fn read_head(octets: &[u8], size: usize) -> (Result<Option<SocketAddr>, io::ErrorKind>, usize) {
    let mut pieces = Pieces { octets, size };
    let found = at_once(proxy_protocol::read(&mut pieces)).map_err(|error| error.kind());
    (found, octets.len() - pieces.octets.len())
}

/// Octets that come a few at a time.
struct Pieces<'a> {
    octets: &'a [u8],
    size: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let size = self.size.min(into.remaining()).min(self.octets.len());
        let (piece, rest) = self.octets.split_at(size);
        into.put_slice(piece);
        self.octets = rest;
        Poll::Ready(Ok(()))
    }
}

fn identify(bearer: Option<String>, query: Option<String>, cookie: Option<HeaderValue>) -> Option<Identity> {
    static GATE: LazyLock<Arc<dyn Authenticator>> = LazyLock::new(|| {
        let jwt = Jwt {
            secret: Some(SECRET.into()),
            cookie: Some("sid".into()),
            query_parameter: Some("access_token".into()),
            ..Jwt::default()
        };
        let config = Config { jwt: Some(jwt), ..Config::default() };
        let destinations = Destinations::new(["/topic"], "/app", "/user");
        stampede::identity::authenticator(&config, &destinations).expect("a configuration that is good")
    });
    let headers: Headers = bearer.into_iter().map(|token| ("Authorization", token)).collect();
    let connect = Connect { version: Version::V1_2, login: None, passcode: None, host: None, headers };
    let headers: HeaderMap = cookie.into_iter().map(|cookie| (http::header::COOKIE, cookie)).collect();
    let handshake = Handshake { endpoint: "/ws".into(), peer: None, headers, query };
    at_once(GATE.identify(&connect, &handshake)).ok()
}

/// Signed with the right key, whatever it says.
fn token(head: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", BASE64.encode(head), BASE64.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256);
    format!("{signed}.{}", signature.expect("a secret signs anything"))
}

/// Whether one of the algorithms of a secret made the signature of the token in a header.
fn is_signed(header: &str) -> bool {
    let token = header.trim().rsplit(' ').next().unwrap_or_default();
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]
        .iter()
        .any(|algorithm| jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, *algorithm).unwrap_or(false))
}

/// The result of what has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits, and nothing will come"),
    }
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
