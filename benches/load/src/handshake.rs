//! The opening handshake (RFC 6455 section 4), both ends.

use sha1::{Digest, Sha1};

/// The sub-protocols we offer, best first.
pub const OFFER: &str = "v12.stomp, v11.stomp, v10.stomp";

/// An end of a head longer than this is not waited for.
pub const MAX_HEAD: usize = 8 << 10;

/// The client's request, offering the sub-protocols or none, with these headers more. The key is the RFC's own example: it proves nothing but that the server can compute.
#[must_use]
pub fn request(host: &str, path: &str, offer: bool, headers: &[String]) -> String {
    let offer = if offer { format!("Sec-WebSocket-Protocol: {OFFER}\r\n") } else { String::new() };
    let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{offer}{more}\r\n"
    )
}

/// Checks the server's answer to [`request`].
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn check_response(head: &[u8]) -> Result<(), String> {
    let head = String::from_utf8_lossy(head);
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Err(format!("refused the WebSocket: {status}"));
    }
    if header(&head, "sec-websocket-accept") != Some(ACCEPT) {
        return Err("a wrong Sec-WebSocket-Accept".to_owned());
    }
    match header(&head, "sec-websocket-protocol") {
        // Some servers choose none and speak STOMP all the same.
        None | Some("v12.stomp" | "v11.stomp" | "v10.stomp") => Ok(()),
        Some(other) => Err(format!("no STOMP sub-protocol but {other:?}")),
    }
}

/// The server's answer to a request, whatever its path; `None` if it is no WebSocket request.
#[must_use]
pub fn response(head: &[u8]) -> Option<String> {
    let head = str::from_utf8(head).ok()?;
    let key = header(head, "sec-websocket-key")?;
    let offer = header(head, "sec-websocket-protocol").unwrap_or_default();
    let protocol = ["v12.stomp", "v11.stomp", "v10.stomp"]
        .into_iter()
        .find(|known| offer.split(',').any(|offered| offered.trim() == *known))
        .map_or_else(String::new, |chosen| format!("Sec-WebSocket-Protocol: {chosen}\r\n"));
    let accept = accept(key);
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
    ))
}

/// Length of the HTTP head at the front of `bytes`, its empty line included.
#[must_use]
pub fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    data_encoding::BASE64.encode(&hash.finalize())
}

/// The first header of this name, given in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree() {
        let request = request("127.0.0.1:80", "/ws", true, &["Origin: http://a".to_owned()]);
        assert_eq!(head_len(request.as_bytes()), Some(request.len()));
        let response = response(request.as_bytes()).unwrap();
        assert_eq!(head_len(response.as_bytes()), Some(response.len()));
        assert!(response.contains("Sec-WebSocket-Protocol: v12.stomp\r\n"));
        assert_eq!(check_response(response.as_bytes()), Ok(()));
    }

    #[test]
    fn the_highest_offered_version_is_taken() {
        let request = "GET / HTTP/1.1\r\nsec-websocket-key: x\r\nSEC-WEBSOCKET-PROTOCOL: v10.stomp,v11.stomp,x\r\n\r\n";
        assert!(response(request.as_bytes()).unwrap().contains("Protocol: v11.stomp\r\n"));
    }

    #[test]
    fn other_answers_are_refused() {
        let refused = b"HTTP/1.1 404 Not Found\r\n\r\n";
        assert_eq!(check_response(refused), Err("refused the WebSocket: HTTP/1.1 404 Not Found".to_owned()));
        let wrong = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n";
        assert!(check_response(wrong).is_err());
        assert_eq!(response(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), None);
    }
}
