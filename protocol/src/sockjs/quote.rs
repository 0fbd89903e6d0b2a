//! JSON strings as SockJS wants them on the wire.
//!
//! Besides what JSON demands, code points that browsers of the field mangled travel as `\u` and four lower-case hex
//! digits: U+200C–200F, U+2028–202F, U+2060–206F, U+FFF0–FFFF, and everything beyond U+FFFF as two UTF-16 halves
//! (sockjs-protocol `JSONEncoding`; sockjs-node and Spring do the same). All else is verbatim UTF-8, DEL included.

/// Appends `text` as a quoted JSON string.
pub fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// Appends the inside of a JSON string, without the quotation marks; pieces of one string may follow each other.
pub fn escape(out: &mut Vec<u8>, text: &str) {
    escape_with(out, text, &JSON);
}

/// Appends `text` as a quoted string for use inside a script element or a script.
///
/// `<`, `>` and `&` are escaped too: a message holding `</script>` would otherwise end the element it is written into
/// and run as code in the page's origin.
pub fn quote_for_script(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape_with(out, text, &SCRIPT);
    out.push(b'"');
}

/// What the first octet of a character asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Octet {
    /// Verbatim, as any continuation octet.
    Plain,
    /// A backslash and this letter.
    Short(u8),
    /// `\u00xx`.
    Hex,
    /// Starts a character that has to be decoded to be judged.
    Lead,
}

const JSON: [Octet; 256] = table(false);
const SCRIPT: [Octet; 256] = table(true);

const fn table(script: bool) -> [Octet; 256] {
    let mut table = [Octet::Plain; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = Octet::Hex;
        control += 1;
    }
    table[b'"' as usize] = Octet::Short(b'"');
    table[b'\\' as usize] = Octet::Short(b'\\');
    table[0x08] = Octet::Short(b'b');
    table[b'\t' as usize] = Octet::Short(b't');
    table[b'\n' as usize] = Octet::Short(b'n');
    table[0x0c] = Octet::Short(b'f');
    table[b'\r' as usize] = Octet::Short(b'r');
    if script {
        table[b'<' as usize] = Octet::Hex;
        table[b'>' as usize] = Octet::Hex;
        table[b'&' as usize] = Octet::Hex;
    }
    // U+2000–2FFF, U+F000–FFFF, and the four-octet sequences.
    table[0xe2] = Octet::Lead;
    table[0xef] = Octet::Lead;
    let mut lead = 0xf0;
    while lead < 0xf8 {
        table[lead] = Octet::Lead;
        lead += 1;
    }
    table
}

fn escape_with(out: &mut Vec<u8>, text: &str, table: &[Octet; 256]) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 16);
    let (mut plain, mut at) = (0, 0);
    while at < bytes.len() {
        let octet = table[usize::from(bytes[at])];
        if octet == Octet::Plain {
            at += 1;
            continue;
        }
        let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
        let next = at + character.len_utf8();
        if octet != Octet::Lead || mangled(character) {
            out.extend_from_slice(&bytes[plain..at]);
            if let Octet::Short(letter) = octet {
                out.extend_from_slice(&[b'\\', letter]);
            } else {
                for half in character.encode_utf16(&mut [0; 2]) {
                    push_hex(out, *half);
                }
            }
            plain = next;
        }
        at = next;
    }
    out.extend_from_slice(&bytes[plain..]);
}

const fn mangled(character: char) -> bool {
    matches!(character as u32, 0x200c..=0x200f | 0x2028..=0x202f | 0x2060..=0x206f | 0xfff0..)
}

fn push_hex(out: &mut Vec<u8>, unit: u16) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(DIGITS[usize::from(unit >> shift & 0xf)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut out = Vec::new();
        quote(&mut out, text);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_escapes_use_short_forms_and_lower_case_hex() {
        check("", r#""""#);
        check("x\"\\\u{8}\t\n\u{c}\r", r#""x\"\\\b\t\n\f\r""#);
        check("\0\u{1f}\u{1b}", r#""\u0000\u001f\u001b""#);
        check("CONNECTED\n\n\0", r#""CONNECTED\n\n\u0000""#);
    }

    #[test]
    fn code_points_that_browsers_mangle_are_escaped_and_their_neighbours_are_not() {
        check("\u{200b}\u{200c}\u{200f}\u{2010}", "\"\u{200b}\\u200c\\u200f\u{2010}\"");
        check("\u{2027}\u{2028}\u{202f}\u{2030}", "\"\u{2027}\\u2028\\u202f\u{2030}\"");
        check("\u{205f}\u{2060}\u{206f}\u{2070}", "\"\u{205f}\\u2060\\u206f\u{2070}\"");
        check("\u{ffef}\u{fff0}\u{ffff}", "\"\u{ffef}\\ufff0\\uffff\"");
        check("é\u{7f}😀</script>", "\"é\u{7f}\\ud83d\\ude00</script>\"");
    }

    #[test]
    fn inside_a_script_no_markup_survives() {
        let mut out = Vec::new();
        quote_for_script(&mut out, "a[\"</script>&\"]");
        assert_eq!(out, br#""a[\"\u003c/script\u003e\u0026\"]""#);
    }

    proptest! {
        #[test]
        fn any_text_survives_a_json_parser(text in any::<String>()) {
            for quoted in [quote, quote_for_script] {
                let mut out = Vec::new();
                quoted(&mut out, &text);
                prop_assert_eq!(&serde_json::from_slice::<String>(&out).unwrap(), &text);
            }
        }
    }
}
