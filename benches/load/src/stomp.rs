//! STOMP 1.2 frames: what a client of a scenario sends, and the check of what it gets.

use crate::ws;

/// The subscription id of every subscriber: each has only the one.
pub const SUBSCRIPTION: &str = "0";

/// The receipt that every SUBSCRIBE asks for.
pub const RECEIPT: &str = "subscribed";

/// Digits of the message number in front of every body.
pub const NUMBER_LEN: usize = 16;

/// CONNECT; heart-beats in milliseconds as the header has them: what we send, what we want.
#[must_use]
pub fn connect(host: &str, login: Option<(&str, &str)>, heart_beat: (u64, u64)) -> String {
    let login = login.map_or_else(String::new, |(login, passcode)| format!("login:{login}\npasscode:{passcode}\n"));
    let (sends, wants) = heart_beat;
    format!("CONNECT\naccept-version:1.2\nhost:{host}\n{login}heart-beat:{sends},{wants}\n\n\0")
}

/// SUBSCRIBE with a receipt, so that the server says when it is in force.
#[must_use]
pub fn subscribe(destination: &str) -> String {
    format!("SUBSCRIBE\nid:{SUBSCRIPTION}\ndestination:{destination}\nreceipt:{RECEIPT}\n\n\0")
}

/// The heart-beat header of a CONNECTED frame in milliseconds: what the server sends, what it wants; 0 without one.
#[must_use]
pub fn heart_beat(connected: &[u8]) -> (u64, u64) {
    let connected = String::from_utf8_lossy(connected);
    let header = connected.lines().find_map(|line| line.strip_prefix("heart-beat:")).unwrap_or_default();
    let (sends, wants) = header.split_once(',').unwrap_or_default();
    (sends.trim().parse().unwrap_or(0), wants.trim().parse().unwrap_or(0))
}

/// A SEND frame, masked and ready but for its number.
#[derive(Debug)]
pub struct Send {
    frame: Vec<u8>,
    number_at: usize,
    mask_from: usize,
}

impl Send {
    /// Prepares messages of `body_len` bytes, at least [`NUMBER_LEN`].
    #[must_use]
    pub fn new(destination: &str, body_len: usize) -> Self {
        let mut payload = format!("SEND\ndestination:{destination}\ncontent-length:{body_len}\n\n").into_bytes();
        let body_at = payload.len();
        payload.resize(body_at + body_len, FILLER);
        payload.push(0);
        let mut frame = Vec::new();
        ws::put_client(&mut frame, ws::TEXT, &payload);
        let number_at = frame.len() - payload.len() + body_at;
        Self { frame, number_at, mask_from: body_at }
    }

    /// Appends message `number` to `out`.
    pub fn put(&self, out: &mut Vec<u8>, number: u64) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let mut rest = number;
        for i in (0..NUMBER_LEN).rev() {
            out[start + self.number_at + i] = (b'0' + (rest % 10) as u8) ^ ws::MASK[(self.mask_from + i) % 4];
            rest /= 10;
        }
    }
}

/// Checks one MESSAGE to the last byte and returns its number.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn check_message(payload: &[u8], destination: &str, body_len: usize) -> Result<u64, String> {
    let split = payload.windows(2).position(|two| two == b"\n\n").ok_or("a MESSAGE without an empty line")?;
    let head = str::from_utf8(&payload[..split]).map_err(|_| "a MESSAGE head that is not UTF-8")?;
    let (body, end) = payload[split + 2..]
        .split_at_checked(body_len)
        .ok_or_else(|| format!("a MESSAGE with a body of less than {body_len} bytes"))?;
    if end.first() != Some(&0) || end[1..].iter().any(|&byte| byte != b'\n') {
        return Err(format!("a MESSAGE that does not end behind its body: {end:?}"));
    }
    let mut lines = head.lines();
    if lines.next() != Some("MESSAGE") {
        return Err(format!("not a MESSAGE: {head}"));
    }
    let mut wanted = [("subscription", Some(SUBSCRIPTION)), ("destination", Some(destination)), ("message-id", None)];
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("a header without a colon: {line}"))?;
        for (wanted_name, wanted_value) in &mut wanted {
            if name == *wanted_name {
                if wanted_value.is_some_and(|wanted| wanted != value) {
                    return Err(format!("a MESSAGE with {line}"));
                }
                *wanted_name = "";
            }
        }
    }
    if let Some((missing, _)) = wanted.iter().find(|(name, _)| !name.is_empty()) {
        return Err(format!("a MESSAGE without {missing}"));
    }
    let (number, filler) = body.split_at(NUMBER_LEN.min(body.len()));
    if filler.iter().any(|&byte| byte != FILLER) {
        return Err("a MESSAGE with a changed body".to_owned());
    }
    str::from_utf8(number)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("a MESSAGE whose body has no number: {number:?}"))
}

const FILLER: u8 = b'x';

#[cfg(test)]
mod tests {
    use super::*;

    /// What a faithful broker makes of a SEND.
    fn message(number: u64, body_len: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        Send::new("/topic/a", body_len).put(&mut wire, number);
        let head = ws::head(&wire).unwrap().unwrap();
        let payload = &mut wire[head.len..];
        ws::mask(payload, ws::MASK);
        let sent = str::from_utf8(payload).unwrap();
        let prefix = format!("SEND\ndestination:/topic/a\ncontent-length:{body_len}\n\n");
        let body = sent.strip_prefix(&prefix).unwrap();
        format!("MESSAGE\nmessage-id:1-2\nsubscription:0\ndestination:/topic/a\n\n{body}").into_bytes()
    }

    #[test]
    fn a_sent_number_is_read_back() {
        for number in [0, 7, 1_234_567_890_123_456] {
            for body_len in [NUMBER_LEN, 17, 128, 8192] {
                assert_eq!(check_message(&message(number, body_len), "/topic/a", body_len), Ok(number));
            }
        }
    }

    #[test]
    fn the_heart_beat_of_the_server_is_read() {
        assert_eq!(heart_beat(b"CONNECTED\nversion:1.2\nheart-beat:10000,5000\n\n\0"), (10_000, 5_000));
        assert_eq!(heart_beat(b"CONNECTED\nversion:1.2\n\n\0"), (0, 0));
    }

    #[track_caller]
    fn check_refused(from: &str, to: &str, says: &str) {
        let good = String::from_utf8(message(5, 20)).unwrap();
        let bad = good.replacen(from, to, 1);
        assert_ne!(good, bad);
        let error = check_message(bad.as_bytes(), "/topic/a", 20).unwrap_err();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn a_message_that_is_not_the_one_sent_is_refused() {
        check_refused("MESSAGE", "RECEIPT", "not a MESSAGE");
        check_refused("subscription:0", "subscription:1", "subscription:1");
        check_refused("message-id:1-2\n", "", "without message-id");
        check_refused("/topic/a", "/topic/b", "/topic/b");
        check_refused("xxxx", "xxyx", "changed body");
        check_refused("xxxx", "xxx", "does not end");
        check_refused("xxxx\0", "", "less than 20");
        check_refused("xxxx\0", "xxxx\0MESSAGE\n\n\0", "does not end");
        check_refused("0000", "000-", "no number");
    }
}
