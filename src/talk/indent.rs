//! JSON as people read it. Only blanks between its parts change: numbers, escapes and equal names stay as they were sent.

use serde::de::IgnoredAny;

/// The same JSON on several lines; `None` where the text is no object or array, or one that is nested too deeply to be read.
pub(super) fn indented(text: &str) -> Option<String> {
    if !text.trim_start().starts_with(['{', '[']) || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth: usize = 0;
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quoted => {
                out.push(letter);
                out.extend(letters.next());
                continue;
            }
            '"' => quoted = !quoted,
            _ if quoted => {}
            ' ' | '\t' | '\r' | '\n' => continue,
            '{' | '[' if depth == DEEPEST => return None,
            '{' | '[' => {
                out.push(letter);
                while letters.next_if(char::is_ascii_whitespace).is_some() {}
                match letters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
                continue;
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
            }
            ',' => {
                out.push(letter);
                line(&mut out, depth);
                continue;
            }
            ':' => {
                out.push_str(": ");
                continue;
            }
            _ => {}
        }
        out.push(letter);
    }
    Some(out)
}

/// Nested deeper, the blanks would outgrow the text.
const DEEPEST: usize = 64;

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(indented(text).as_deref(), expected, "{text}");
    }

    #[test]
    fn parts_stand_on_lines_of_their_own() {
        check(
            r#"{"a":1,"b":[true,null],"c":{}}"#,
            Some("{\n  \"a\": 1,\n  \"b\": [\n    true,\n    null\n  ],\n  \"c\": {}\n}"),
        );
        check(" [ ] ", Some("[]"));
        check("[ [\r\n] , 1 ]", Some("[\n  [],\n  1\n]"));
    }

    #[test]
    fn what_is_said_stays_as_it_was_sent() {
        let text = r#"{"n":12345678901234567890123,"n":1.0e400,"s":"a\" , {\\","u":"\u00e9 : [x]"}"#;
        let read = indented(text).unwrap();
        let expected = [
            "{",
            r#"  "n": 12345678901234567890123,"#,
            r#"  "n": 1.0e400,"#,
            r#"  "s": "a\" , {\\","#,
            r#"  "u": "\u00e9 : [x]""#,
            "}",
        ];
        assert_eq!(read.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn other_texts_are_left_alone() {
        for text in ["", "1", "\"x\"", "{", "{a:1}", "[1] [2]", "hello"] {
            check(text, None);
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(indented(&deep(DEEPEST)).is_some());
        check(&deep(DEEPEST + 2), None);
        check(&deep(100_000), None);
    }
}
