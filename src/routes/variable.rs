//! Variables of templates and guards: `{from}`, `{body.name}`, `{user.roles}`, `{members}`.

use std::borrow::Cow;

use serde_json::Value;

use super::Refusal;

/// A variable that exists where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    /// A segment of the destination, named in the pattern.
    Capture(Box<str>),
    /// `body`: the body as text.
    Body,
    /// `body.json` (no path) or `body.field.sub`: the body as JSON, or a part of it.
    BodyJson(Path),
    /// `user`: who the session belongs to.
    User,
    /// `user.claim`: what the user's token says.
    Claim(Path),
    /// `session`: the session's id.
    Session,
    /// `node`: the name of the node that the session is connected to.
    Node,
    /// `headers.name`: a header of the frame.
    Header(Box<str>),
    /// `destination`: where the frame was sent.
    Destination,
    /// `timestamp`: when the node took the frame, as Unix time in milliseconds.
    Timestamp,
    /// `room`: the room an announcement is about.
    Room,
    /// `member-id`: who an announcement is about.
    MemberId,
    /// `member` (no path) or `member.field`: the profile of the one who joined or left.
    Member(Path),
    /// `members`: the profiles of all members, in the order they joined.
    Members,
}

/// Field names or list indices, from outside in.
pub(crate) type Path = Box<[Box<str>]>;

/// Which variables exist in one place of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope<'p> {
    /// Names in the pattern.
    pub(crate) captures: Vec<&'p str>,
    /// Whether there is a session at the other end: `user`, `session`, `node`, `destination`.
    pub(crate) sender: bool,
    /// Whether there is a frame: `headers`, `timestamp`.
    pub(crate) frame: bool,
    /// Whether that frame has a body.
    pub(crate) body: bool,
    /// Whether a room is known: `members`.
    pub(crate) members: bool,
    /// Whether somebody joined or left: `member`.
    pub(crate) member: bool,
    /// Whether this is an announcement of a room: `room`, `member-id`.
    pub(crate) announcement: bool,
}

impl Scope<'_> {
    /// Reads the name of a variable.
    pub(crate) fn variable(&self, name: &str) -> Result<Variable, String> {
        if self.captures.contains(&name) {
            return Ok(Variable::Capture(name.into()));
        }
        let written = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || !name.chars().all(written) {
            return Err(format!("{{{name}}} is no variable; write {{{{ and }}}} for the characters themselves"));
        }
        let (head, path) = name.split_once('.').unwrap_or((name, ""));
        if name.split('.').any(str::is_empty) {
            return Err(self.unknown(name));
        }
        let whole = path.is_empty();
        let path: Path = path.split('.').filter(|_| !whole).map(Box::from).collect();
        let variable = match head {
            "body" if self.body && whole => Variable::Body,
            "body" if self.body && name == "body.json" => Variable::BodyJson([].into()),
            "body" if self.body => Variable::BodyJson(path),
            "user" if self.sender && whole => Variable::User,
            "user" if self.sender => Variable::Claim(path),
            "session" if self.sender && whole => Variable::Session,
            "node" if self.sender && whole => Variable::Node,
            "destination" if self.sender && whole => Variable::Destination,
            "headers" if self.frame && !whole => Variable::Header(name["headers.".len()..].into()),
            "timestamp" if self.frame && whole => Variable::Timestamp,
            "members" if self.members && whole => Variable::Members,
            "member" if self.member => Variable::Member(path),
            "room" if self.announcement && whole => Variable::Room,
            "member-id" if self.announcement && whole => Variable::MemberId,
            _ => return Err(self.unknown(name)),
        };
        Ok(variable)
    }

    /// Variables that a pattern may not name, because they mean something else here.
    pub(crate) fn hides(&self, name: &str) -> bool {
        Scope { captures: Vec::new(), ..self.clone() }.variable(name).is_ok()
    }

    fn unknown(&self, name: &str) -> String {
        let mut known: Vec<String> = self.captures.iter().map(|name| format!("{{{name}}}")).collect();
        let builtin: [(bool, &[&str]); 6] = [
            (self.body, &["{body}", "{body.json}", "{body.FIELD}"]),
            (self.sender, &["{user}", "{user.CLAIM}", "{session}", "{node}", "{destination}"]),
            (self.frame, &["{headers.NAME}", "{timestamp}"]),
            (self.announcement, &["{room}", "{member-id}"]),
            (self.member, &["{member}", "{member.FIELD}"]),
            (self.members, &["{members}"]),
        ];
        for name in builtin.iter().filter(|(there, _)| *there).flat_map(|(_, names)| *names) {
            if !known.iter().any(|known| known == name) {
                known.push((*name).to_owned());
            }
        }
        let mut text = format!("unknown variable {{{name}}}; known here: {}", known.join(", "));
        if matches!(name, "members" | "member") || name.starts_with("member.") {
            text.push_str("; for members the route needs join, leave or room");
        }
        text
    }
}

/// What a variable stands for in one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found<'a> {
    /// Nothing.
    Missing,
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Number(u64),
    /// A JSON value, and how it was written if that is known: numbers too long for us are passed on as they came.
    Json(Cow<'a, Value>, Option<&'a str>),
    /// JSON as text.
    Raw(Cow<'a, str>),
}

impl<'a> From<Option<&'a str>> for Found<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Missing, |text| Self::Text(text.into()))
    }
}

impl<'a> From<Option<&'a Value>> for Found<'a> {
    fn from(value: Option<&'a Value>) -> Self {
        value.map_or(Self::Missing, |value| Self::Json(Cow::Borrowed(value), None))
    }
}

impl<'a> Found<'a> {
    /// The value as text: strings and numbers as they are, lists and tables as JSON; `None` for nothing and null.
    pub(crate) fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Missing => None,
            Self::Text(text) => Some(text),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Json(value, raw) => match (value, raw) {
                (value, _) if value.is_null() => None,
                (Cow::Borrowed(Value::String(text)), _) => Some(text.as_str().into()),
                (Cow::Owned(Value::String(text)), _) => Some(text.into()),
                (_, Some(raw)) => Some(raw.into()),
                (value, None) => Some(value.to_string().into()),
            },
            Self::Raw(raw) => match serde_json::from_str(&raw) {
                Ok(Value::String(text)) => Some(text.into()),
                Ok(Value::Null) => None,
                _ => Some(raw),
            },
        }
    }

    /// Writes the value as JSON; nothing becomes null.
    pub(crate) fn write_json(&self, out: &mut String) {
        match self {
            Self::Missing => out.push_str("null"),
            Self::Text(text) => quote(text, out),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Json(value, None) => out.push_str(&value.to_string()),
            Self::Json(_, Some(raw)) | Self::Raw(Cow::Borrowed(raw)) => out.push_str(raw),
            Self::Raw(Cow::Owned(raw)) => out.push_str(raw),
        }
    }
}

/// Writes `text` as a JSON string.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push_str(&Value::from(text).to_string());
}

/// Follows field names and list indices into a JSON value.
pub(crate) fn follow<'v>(value: &'v Value, path: &[Box<str>]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Object(fields) => fields.get(&**step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Knows what the variables stand for in one case.
pub(crate) trait Lookup {
    /// What `variable` stands for.
    fn find(&self, variable: &Variable) -> Result<Found<'_>, Refusal>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_thing_in_its_scope() {
        let scope = Scope { captures: vec!["blogId"], sender: true, frame: true, body: true, ..Scope::default() };
        let path = |text: &str| text.split('.').map(Box::from).collect::<Path>();
        for (name, expected) in [
            ("blogId", Variable::Capture("blogId".into())),
            ("body", Variable::Body),
            ("body.json", Variable::BodyJson([].into())),
            ("body.a.0", Variable::BodyJson(path("a.0"))),
            ("user.username", Variable::Claim(path("username"))),
            ("node", Variable::Node),
            ("headers.x.y", Variable::Header("x.y".into())),
        ] {
            assert_eq!(scope.variable(name), Ok(expected));
        }
        for name in ["blogid", "", "body.", "headers", "session.x", "node.x", "members", "member.name", "room", ".body"]
        {
            assert!(scope.variable(name).is_err(), "{name}");
        }
        assert!(scope.hides("user") && !scope.hides("from"));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let scope = Scope { captures: vec!["from", "blogId"], sender: true, ..Scope::default() };
        assert_eq!(
            scope.variable("blogid").unwrap_err(),
            "unknown variable {blogid}; known here: {from}, {blogId}, {user}, {user.CLAIM}, {session}, {node}, {destination}"
        );
    }

    #[test]
    fn paths_lead_into_tables_and_lists() {
        let value: Value = serde_json::from_str(r#"{"a":{"b":[1,{"c":true}]}}"#).unwrap();
        let path = |text: &str| text.split('.').map(Box::from).collect::<Path>();
        assert_eq!(follow(&value, &path("a.b.1.c")), Some(&Value::Bool(true)));
        assert_eq!(follow(&value, &path("a.b.2")), None);
        assert_eq!(follow(&value, &path("a.b.0.c")), None);
    }
}
