//! STOMP frames: what a client of a scenario sends, and the check of what it gets.

use crate::ws;

/// The subscription id of subscribers that have only the one.
pub const SUBSCRIPTION: &str = "0";

/// The receipt that every SUBSCRIBE asks for.
pub const RECEIPT: &str = "subscribed";

/// Bytes of the [`Stamp`] in front of every body.
pub const STAMP_LEN: usize = 36;

/// CONNECT; heart-beats in milliseconds as the header has them: what we send, what we want.
#[must_use]
pub fn connect(host: &str, login: Option<(&str, &str)>, heart_beat: (u64, u64), headers: &[String]) -> String {
    let login = login.map_or_else(String::new, |(login, passcode)| format!("login:{login}\npasscode:{passcode}\n"));
    let (sends, wants) = heart_beat;
    let more = lines(headers);
    format!("CONNECT\naccept-version:1.2,1.1\nhost:{host}\n{login}heart-beat:{sends},{wants}\n{more}\n\0")
}

/// SUBSCRIBE, with a receipt where the server shall say when it is in force.
#[must_use]
pub fn subscribe(id: usize, destination: &str, receipt: bool, headers: &[String]) -> String {
    let receipt = if receipt { format!("receipt:{RECEIPT}\n") } else { String::new() };
    let more = lines(headers);
    format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\n{receipt}{more}\n\0")
}

fn lines(headers: &[String]) -> String {
    headers.iter().map(|header| format!("{header}\n")).collect()
}

/// The heart-beat header of a CONNECTED frame in milliseconds: what the server sends, what it wants; 0 without one.
#[must_use]
pub fn heart_beat(connected: &[u8]) -> (u64, u64) {
    let connected = String::from_utf8_lossy(connected);
    let header = connected.lines().find_map(|line| line.strip_prefix("heart-beat:")).unwrap_or_default();
    let (sends, wants) = header.split_once(',').unwrap_or_default();
    (sends.trim().parse().unwrap_or(0), wants.trim().parse().unwrap_or(0))
}

/// What stands in front of every body: which message of which group it is, and when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its group.
    pub group: u32,
    /// Its number in the group, below 2⁴⁸.
    pub number: u64,
    /// When it was due, in nanoseconds since the run's own beginning.
    pub due: u64,
}

/// The number of a message that only asks whether it arrives.
pub const PROBE: u64 = (1 << 48) - 1;

/// A SEND frame, masked and ready but for its stamp.
#[derive(Debug)]
pub struct Send {
    frame: Vec<u8>,
    stamp_at: usize,
    mask_from: usize,
    group: u32,
}

impl Send {
    /// Prepares messages of `body_len` bytes, at least [`STAMP_LEN`]; with `sockjs` in its framing.
    #[must_use]
    pub fn new(destination: &str, group: u32, body_len: usize, headers: &[String], sockjs: bool) -> Self {
        let more = lines(headers);
        let head = format!("SEND\ndestination:{destination}\ncontent-length:{body_len}\n{more}\n");
        let mut payload = if sockjs {
            let quoted = serde_json::Value::from(head).to_string();
            format!("[{}", quoted.strip_suffix('"').unwrap_or(&quoted)).into_bytes()
        } else {
            head.into_bytes()
        };
        let body_at = payload.len();
        payload.resize(body_at + body_len, FILLER);
        payload.extend_from_slice(if sockjs { br#"\u0000"]"# } else { b"\0" });
        let mut frame = Vec::new();
        ws::put_client(&mut frame, ws::TEXT, &payload);
        let stamp_at = frame.len() - payload.len() + body_at;
        Self { frame, stamp_at, mask_from: body_at, group }
    }

    /// Appends a message to `out`: its number, and when it was due.
    pub fn put(&self, out: &mut Vec<u8>, number: u64, due: u64) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let at = start + self.stamp_at;
        let stamp = &mut out[at..at + STAMP_LEN];
        put_hex(&mut stamp[..8], u64::from(self.group));
        put_hex(&mut stamp[8..20], number);
        put_hex(&mut stamp[20..], due);
        for (i, byte) in stamp.iter_mut().enumerate() {
            *byte ^= ws::MASK[(self.mask_from + i) % 4];
        }
    }
}

/// The stamp of a MESSAGE with a body of `body_len` bytes, found from its end; `None` where there is none.
#[must_use]
#[inline]
pub fn stamp(payload: &[u8], body_len: usize) -> Option<Stamp> {
    let mut end = payload.len();
    while end > 0 && payload[end - 1] == b'\n' {
        end -= 1;
    }
    let body_at = end.checked_sub(1 + body_len)?;
    let stamp = payload.get(body_at..body_at + STAMP_LEN)?;
    Some(Stamp { group: hex(&stamp[..8])? as u32, number: hex(&stamp[8..20])?, due: hex(&stamp[20..])? })
}

/// Checks one MESSAGE to the last byte.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn check_message(payload: &[u8], subscription: &str, destination: &str, body_len: usize) -> Result<(), String> {
    let split = memchr::memmem::find(payload, b"\n\n").ok_or("a MESSAGE without an empty line")?;
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
    let mut wanted = [("subscription", Some(subscription)), ("destination", Some(destination)), ("message-id", None)];
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
    let (stamp, filler) = body.split_at(STAMP_LEN.min(body.len()));
    if filler.iter().any(|&byte| byte != FILLER) || hex(&stamp[..stamp.len().min(8)]).is_none() {
        return Err("a MESSAGE with a changed body".to_owned());
    }
    Ok(())
}

fn put_hex(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[inline]
fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

const FILLER: u8 = b'x';

#[cfg(test)]
mod tests {
    use super::*;

    /// What a faithful broker makes of a SEND.
    fn message(number: u64, body_len: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        Send::new("/topic/a", 7, body_len, &["x:y".to_owned()], false).put(&mut wire, number, 99);
        let head = ws::head(&wire).unwrap().unwrap();
        let payload = &mut wire[head.len..];
        ws::mask(payload, ws::MASK);
        let sent = str::from_utf8(payload).unwrap();
        let prefix = format!("SEND\ndestination:/topic/a\ncontent-length:{body_len}\nx:y\n\n");
        let body = sent.strip_prefix(&prefix).unwrap();
        format!("MESSAGE\nmessage-id:1-2\nsubscription:0\ndestination:/topic/a\n\n{body}").into_bytes()
    }

    #[test]
    fn a_stamp_is_read_back() {
        for number in [0, 7, 123_456_789_012, PROBE] {
            for body_len in [STAMP_LEN, 37, 128, 8192] {
                let mut message = message(number, body_len);
                let stamped = Some(Stamp { group: 7, number, due: 99 });
                assert_eq!(stamp(&message, body_len), stamped);
                assert_eq!(check_message(&message, "0", "/topic/a", body_len), Ok(()));
                message.push(b'\n');
                assert_eq!(stamp(&message, body_len), stamped);
            }
        }
        assert_eq!(stamp(b"MESSAGE\n\nshort\0", 128), None);
    }

    #[test]
    fn sockjs_carries_the_same_frame_as_json() {
        let mut wire = Vec::new();
        Send::new("/topic/a", 7, 40, &[], true).put(&mut wire, 5, 99);
        let head = ws::head(&wire).unwrap().unwrap();
        ws::mask(&mut wire[head.len..], ws::MASK);
        let texts: Vec<String> = serde_json::from_slice(&wire[head.len..]).unwrap();
        assert!(texts[0].starts_with("SEND\ndestination:/topic/a\ncontent-length:40\n\n00000007"));
        assert_eq!(stamp(texts[0].as_bytes(), 40), Some(Stamp { group: 7, number: 5, due: 99 }));
    }

    #[test]
    fn the_heart_beat_of_the_server_is_read() {
        assert_eq!(heart_beat(b"CONNECTED\nversion:1.2\nheart-beat:10000,5000\n\n\0"), (10_000, 5_000));
        assert_eq!(heart_beat(b"CONNECTED\nversion:1.2\n\n\0"), (0, 0));
    }

    #[track_caller]
    fn check_refused(from: &str, to: &str, says: &str) {
        let good = String::from_utf8(message(5, 40)).unwrap();
        let bad = good.replacen(from, to, 1);
        assert_ne!(good, bad);
        let error = check_message(bad.as_bytes(), "0", "/topic/a", 40).unwrap_err();
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
        check_refused("xxxx\0", "", "less than 40");
        check_refused("xxxx\0", "xxxx\0MESSAGE\n\n\0", "does not end");
        check_refused("0000000", "000-000", "changed body");
    }
}
