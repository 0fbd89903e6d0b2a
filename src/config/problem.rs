//! Mistakes in the configuration, each with the place where it stands.

use std::fmt;

use toml::de::{DeTable, DeValue};

/// One mistake: `stampede.toml:12: route.to: unknown variable {blogid}; known here: {from}, {to}, {blogId}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Name of the file.
    pub file: String,
    /// Line of the key, counted from 1; none if it does not stand in the file (the environment can set it too).
    pub line: Option<usize>,
    /// The key, e.g. `route.to`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}: {}", self.file, self.key, self.message),
            None => write!(f, "{}: {}: {}", self.file, self.key, self.message),
        }
    }
}

impl std::error::Error for ConfigProblem {}

/// The mistakes found in one file so far.
#[derive(Debug)]
pub(crate) struct Problems<'s> {
    file: &'s str,
    source: &'s str,
    /// None if the source is no TOML; then nobody could have read a configuration from it.
    table: Option<DeTable<'s>>,
    list: Vec<ConfigProblem>,
}

impl<'s> Problems<'s> {
    pub(crate) fn new(source: &'s str, file: &'s str) -> Self {
        let table = DeTable::parse(source).ok().map(toml::Spanned::into_inner);
        Self { file, source, table, list: Vec::new() }
    }

    /// Notes a mistake at a key.
    pub(crate) fn add(&mut self, key: &Key<'_>, message: impl Into<String>) {
        let problem = ConfigProblem {
            file: self.file.to_owned(),
            line: self.line(key),
            key: key.to_string(),
            message: message.into(),
        };
        self.list.push(problem);
    }

    /// The value, or `None` and a mistake noted.
    pub(crate) fn take<T, E: fmt::Display>(&mut self, key: &Key<'_>, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(key, error.to_string())).ok()
    }

    /// `value` if there was no mistake.
    pub(crate) fn or_all<T>(self, value: T) -> Result<T, Vec<ConfigProblem>> {
        if self.list.is_empty() { Ok(value) } else { Err(self.list) }
    }

    /// The line of the longest part of the key that stands in the file.
    fn line(&self, key: &Key<'_>) -> Option<usize> {
        let mut value: Option<&DeValue<'_>> = None;
        let mut start = None;
        for step in key.steps() {
            let next = match (step, value) {
                (Step::Name(name), None) => self.table.as_ref().and_then(|table| table.get_key_value(name)),
                (Step::Name(name), Some(DeValue::Table(table))) => table.get_key_value(name),
                (Step::Index(index), Some(DeValue::Array(list))) => {
                    let Some(item) = list.get(index) else { break };
                    start = Some(item.span().start);
                    value = Some(item.get_ref());
                    continue;
                }
                _ => None,
            };
            let Some((name, inner)) = next else { break };
            start = Some(name.span().start);
            value = Some(inner.get_ref());
        }
        start.map(|start| self.source.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count() + 1)
    }
}

/// The way to a value: `route`, the third, `join`, `room`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'k> {
    parent: Option<&'k Self>,
    step: Step<'k>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'k> {
    Name(&'k str),
    Index(usize),
}

impl<'k> Key<'k> {
    pub(crate) const fn root(name: &'k str) -> Self {
        Self { parent: None, step: Step::Name(name) }
    }

    pub(crate) const fn name<'c>(&'c self, name: &'c str) -> Key<'c> {
        Key { parent: Some(self), step: Step::Name(name) }
    }

    pub(crate) const fn index(&self, index: usize) -> Key<'_> {
        Key { parent: Some(self), step: Step::Index(index) }
    }

    fn steps(&self) -> Vec<Step<'_>> {
        let mut steps = self.parent.map_or_else(Vec::new, Self::steps);
        steps.push(self.step);
        steps
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.steps().into_iter().filter_map(|step| match step {
            Step::Name(name) => Some(name),
            Step::Index(_) => None,
        });
        for (number, name) in names.enumerate() {
            let dot = if number == 0 { "" } else { "." };
            write!(f, "{dot}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_stands_at_its_line() {
        let source = "[[route]]\non = 'a'\n[[route]]\non = 'b'\njoin = { room = 'x' }\n[route.json]\nkey = [\n1,\n2]\n";
        let mut problems = Problems::new(source, "t.toml");
        let root = Key::root("route");
        let route = root.index(1);
        problems.add(&route.name("join").name("room"), "bad");
        problems.add(&route.name("json").name("key").index(1), "bad");
        problems.add(&route.name("to"), "missing");
        problems.add(&Key::root("rooms").name("max"), "absent");
        let texts: Vec<String> = problems.or_all(()).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "t.toml:5: route.join.room: bad",
                "t.toml:9: route.json.key: bad",
                "t.toml:3: route.to: missing",
                "t.toml: rooms.max: absent"
            ]
        );
    }
}
