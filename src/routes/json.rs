//! JSON with variables: a text that is one variable keeps the variable's type, all other texts stay strings.

use serde_json::Value;

use super::Refusal;
use super::template::Template;
use super::variable::{Lookup, Scope, Variable, quote};

/// A JSON value with variables in its strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JsonTemplate {
    /// Without variables, as it is written.
    Fixed(Box<str>),
    /// `"{members}"`.
    Variable(Variable),
    /// `"hello {user}"`.
    Text(Template),
    /// `[ … ]`.
    List(Box<[Self]>),
    /// `{ … }`, in the order of the configuration.
    Table(Box<[(Box<str>, Self)]>),
}

/// One step on the way to a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a table.
    Field(String),
    /// Into a list.
    Item(usize),
}

/// How TOML dates arrive here.
const TOML_DATE: &str = "$__toml_private_datetime";

impl JsonTemplate {
    /// Reads a template; a mistake comes with the way to it.
    pub(crate) fn parse(value: &Value, scope: &Scope<'_>) -> Result<Self, (Vec<Step>, String)> {
        match value {
            Value::String(text) => {
                let template = Template::parse(text, scope).map_err(|message| (Vec::new(), message))?;
                Ok(match template.single() {
                    Some(variable) => Self::Variable(variable.clone()),
                    None => Self::Text(template),
                })
            }
            Value::Array(items) => {
                let items =
                    items.iter().enumerate().map(|(number, item)| Self::parse_at(Step::Item(number), item, scope));
                items.collect::<Result<_, _>>().map(Self::List)
            }
            Value::Object(fields) if fields.contains_key(TOML_DATE) => {
                Err((Vec::new(), "JSON has no dates; write it as text, in quotes".to_owned()))
            }
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| {
                    Ok((name.as_str().into(), Self::parse_at(Step::Field(name.clone()), value, scope)?))
                };
                fields.iter().map(field).collect::<Result<_, _>>().map(Self::Table)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(Self::Fixed(value.to_string().into())),
        }
    }

    fn parse_at(step: Step, value: &Value, scope: &Scope<'_>) -> Result<Self, (Vec<Step>, String)> {
        Self::parse(value, scope).map_err(|(mut way, message)| {
            way.insert(0, step);
            (way, message)
        })
    }

    /// The JSON text.
    pub(crate) fn render(&self, lookup: &dyn Lookup) -> Result<String, Refusal> {
        let mut out = String::new();
        self.write(lookup, &mut out)?;
        Ok(out)
    }

    pub(super) fn for_each_variable(&self, see: &mut dyn FnMut(&Variable)) {
        match self {
            Self::Fixed(_) => {}
            Self::Variable(variable) => see(variable),
            Self::Text(template) => template.for_each_variable(see),
            Self::List(items) => items.iter().for_each(|item| item.for_each_variable(see)),
            Self::Table(fields) => fields.iter().for_each(|(_, value)| value.for_each_variable(see)),
        }
    }

    fn write(&self, lookup: &dyn Lookup, out: &mut String) -> Result<(), Refusal> {
        match self {
            Self::Fixed(text) => out.push_str(text),
            Self::Variable(variable) => lookup.find(variable)?.write_json(out),
            Self::Text(template) => quote(&template.text(lookup)?, out),
            Self::List(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    out.push_str(if number == 0 { "" } else { "," });
                    item.write(lookup, out)?;
                }
                out.push(']');
            }
            Self::Table(fields) => {
                out.push('{');
                for (number, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if number == 0 { "" } else { "," });
                    quote(name, out);
                    out.push(':');
                    value.write(lookup, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::routes::variable::Found;

    /// Everything stands for this.
    struct Always<'a>(Found<'a>);

    impl Lookup for Always<'_> {
        fn find(&self, _: &Variable) -> Result<Found<'_>, Refusal> {
            Ok(self.0.clone())
        }
    }

    fn render(toml: &str, found: Found<'_>) -> String {
        let table: Value = toml::from_str(toml).unwrap();
        let scope = Scope { captures: vec!["x"], body: true, ..Scope::default() };
        JsonTemplate::parse(&table["json"], &scope).unwrap().render(&Always(found)).unwrap()
    }

    #[test]
    fn one_variable_keeps_its_type_and_text_stays_text() {
        let value = serde_json::json!({"n": 1.5, "l": [null]});
        let json = || Found::Json(Cow::Borrowed(&value), None);
        assert_eq!(render("json = '{x}'", json()), r#"{"n":1.5,"l":[null]}"#);
        assert_eq!(render("json = ['{x} ', 3, true]", json()), r#"["{\"n\":1.5,\"l\":[null]} ",3,true]"#);
        assert_eq!(render("json = { z = '{x}', a = { m = '{x}' } }", Found::Number(7)), r#"{"z":7,"a":{"m":7}}"#);
        assert_eq!(render("json = '{x}'", Found::Missing), "null");
        assert_eq!(render("json = '<{x}>'", Found::Missing), r#""<>""#);
        assert_eq!(render("json = '{x}'", Found::Json(Cow::Borrowed(&value), Some("1e999"))), "1e999");
    }

    #[test]
    fn a_mistake_is_named_with_its_way() {
        let value = serde_json::json!({"profile": {"name": ["{y}"]}});
        let (way, message) = JsonTemplate::parse(&value, &Scope::default()).unwrap_err();
        assert_eq!(way, [Step::Field("profile".into()), Step::Field("name".into()), Step::Item(0)]);
        assert!(message.starts_with("unknown variable {y}"));
        let date: Value = toml::from_str("json = 2026-01-01").unwrap();
        assert!(JsonTemplate::parse(&date, &Scope::default()).unwrap_err().1.contains("no dates"));
    }

    proptest! {
        #[test]
        fn whatever_the_text_the_result_is_json_that_holds_it(text in ".*") {
            let rendered = render("json = { whole = '{x}', part = 'a{x}b' }", Found::Text(Cow::Borrowed(&text)));
            let read: Value = serde_json::from_str(&rendered).unwrap();
            prop_assert_eq!(&read["whole"], &Value::from(text.as_str()));
            prop_assert_eq!(&read["part"], &Value::from(format!("a{text}b")));
        }
    }
}
