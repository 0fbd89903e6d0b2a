//! Texts with variables: `/user/{to}/{blogId}/queue/chat`. `{{` and `}}` stand for braces.

use super::Refusal;
use super::variable::{Lookup, Scope, Variable};
use crate::destination::encode_segment;

/// A text with variables, all of which exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Box<[Part]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Variable(Variable),
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let end = rest.find('}').filter(|_| brace == "{");
            let Some(end) = end else {
                return Err(format!("{brace} without its partner in {text:?}; write {brace}{brace} for the character"));
            };
            let variable = scope.variable(&rest[..end])?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(Part::Variable(variable));
            rest = &rest[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self { parts: parts.into() })
    }

    /// The variable, if there is nothing else.
    pub(crate) fn single(&self) -> Option<&Variable> {
        if let [Part::Variable(variable)] = &*self.parts { Some(variable) } else { None }
    }

    /// The text with `sample` in place of every variable.
    pub(crate) fn sample(&self, sample: &str) -> String {
        let text = |part: &Part| if let Part::Text(text) = part { text.to_string() } else { sample.to_owned() };
        self.parts.iter().map(text).collect()
    }

    /// The text; a variable that stands for nothing leaves nothing.
    pub(crate) fn text(&self, lookup: &dyn Lookup) -> Result<String, Refusal> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(variable) => out.push_str(&lookup.find(variable)?.into_text().unwrap_or_default()),
            }
        }
        Ok(out)
    }

    /// The text as a destination. A value is one segment of it or a part of one, never more: its `/` becomes `%2F`, so
    /// that nobody reaches a destination which the configuration does not name.
    pub(crate) fn destination(&self, lookup: &dyn Lookup) -> Result<String, Refusal> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(variable) => out.push_str(&encode_segment(&self.name(variable, lookup)?)),
            }
        }
        Ok(out)
    }

    /// The text as a name, of a room or member: no variable stands for nothing in it.
    pub(crate) fn identifier(&self, lookup: &dyn Lookup) -> Result<String, Refusal> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(variable) => out.push_str(&self.name(variable, lookup)?),
            }
        }
        Ok(out)
    }

    fn name(&self, variable: &Variable, lookup: &dyn Lookup) -> Result<String, Refusal> {
        let value = lookup.find(variable)?.into_text().unwrap_or_default();
        if value.is_empty() {
            return Err(Refusal::Missing { variable: variable.to_string(), template: self.to_string() });
        }
        if value.chars().any(char::is_control) {
            return Err(Refusal::ControlCharacter { variable: variable.to_string() });
        }
        Ok(value.into_owned())
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Variable(variable) => write!(f, "{variable}"),
        })
    }
}

impl std::fmt::Display for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (head, path): (&str, &[Box<str>]) = match self {
            Self::Capture(name) => (name, &[]),
            Self::Body => ("body", &[]),
            Self::BodyJson(path) if path.is_empty() => ("body.json", &[]),
            Self::BodyJson(path) => ("body", path),
            Self::User => ("user", &[]),
            Self::Claim(path) => ("user", path),
            Self::Session => ("session", &[]),
            Self::Header(name) => ("headers", std::slice::from_ref(name)),
            Self::Destination => ("destination", &[]),
            Self::Timestamp => ("timestamp", &[]),
            Self::Room => ("room", &[]),
            Self::MemberId => ("member-id", &[]),
            Self::Member(path) => ("member", path),
            Self::Node => ("node", &[]),
            Self::Members => ("members", &[]),
        };
        write!(f, "{{{head}")?;
        path.iter().try_for_each(|step| write!(f, ".{step}"))?;
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::variable::Found;

    struct Table(&'static [(&'static str, &'static str)]);

    impl Lookup for Table {
        fn find(&self, variable: &Variable) -> Result<Found<'_>, Refusal> {
            let name = variable.to_string();
            Ok(self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| *value).into())
        }
    }

    fn template(text: &str) -> Template {
        Template::parse(text, &Scope { captures: vec!["a", "b"], body: true, ..Scope::default() }).unwrap()
    }

    #[test]
    fn variables_are_replaced_and_doubled_braces_are_braces() {
        let table = Table(&[("{a}", "1"), ("{body.x.y}", "é")]);
        for (text, expected) in [("", ""), ("x{a}{b}y", "x1y"), ("{{a}}{a}", "{a}1"), ("{body.x.y}!", "é!")] {
            assert_eq!(template(text).text(&table).unwrap(), expected);
            assert_eq!(template(text).single(), None);
        }
        assert!(template("{a}").single().is_some());
    }

    #[test]
    fn a_value_stays_within_its_segment() {
        let to = template("/user/{a}/queue");
        assert_eq!(to.destination(&Table(&[("{a}", "x/../y")])).unwrap(), "/user/x%2F..%2Fy/queue");
        assert_eq!(
            to.destination(&Table(&[])).unwrap_err().to_string(),
            "{a} is empty or missing, and /user/{a}/queue needs it"
        );
        assert!(matches!(to.destination(&Table(&[("{a}", "x\ny")])), Err(Refusal::ControlCharacter { .. })));
    }

    #[test]
    fn lonely_braces_are_refused() {
        for text in ["{a", "a}", "{a}}", "{{a}", "{"] {
            assert!(Template::parse(text, &Scope { captures: vec!["a"], ..Scope::default() }).is_err(), "{text}");
        }
    }
}
