//! Guards: `from == user || "editor" in user.roles`.
//!
//! ```text
//! or         = and *( ("||" / "or") and )
//! and        = not *( ("&&" / "and") not )
//! not        = ("!" / "not") not / "(" or ")" / comparison
//! comparison = operand ( "==" / "!=" ) operand / operand "in" ( operand / list )
//! list       = "[" operand *( "," operand ) "]"
//! operand    = 'text' / "text" / number / "true" / "false" / variable
//! ```
//!
//! Values are compared as text, so `id == user.id` holds whether the token writes `12` or `"12"`. What is missing equals
//! nothing, not even something else that is missing.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while1};
use nom::character::complete::{char, digit1, multispace0, satisfy};
use nom::combinator::{map, not, opt, peek, recognize, value};
use nom::multi::{fold_many0, many0_count, separated_list1};
use nom::sequence::{delimited, pair, preceded};
use nom::{IResult, Parser};
use serde_json::Value;

use super::Refusal;
use super::variable::{Found, Lookup, Scope, Variable};

/// A condition under which a route may be used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Guard {
    text: Box<str>,
    condition: Expression<Variable>,
}

/// `V` is the name of a variable as long as nobody has looked whether it exists.
#[derive(Debug, Clone, PartialEq)]
enum Expression<V> {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    Equal(Operand<V>, Operand<V>),
    In(Operand<V>, Vec<Operand<V>>),
    InValue(Operand<V>, Operand<V>),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand<V> {
    Text(Box<str>),
    Variable(V),
}

/// Longest guard.
const MAX_LENGTH: usize = 1024;
/// Most brackets and negations; reading descends once for each.
const MAX_DEPTH: usize = 32;

impl Guard {
    /// Reads a guard.
    pub(crate) fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, String> {
        let descents = text.matches(['(', '!']).count() + text.matches("not").count();
        if text.len() > MAX_LENGTH || descents > MAX_DEPTH {
            return Err(format!(
                "longer than {MAX_LENGTH} characters, or more than {MAX_DEPTH} brackets and negations"
            ));
        }
        let near = |rest: &str| {
            let rest: String = rest.trim_start().chars().take(20).collect();
            let place = if rest.is_empty() { "at its end".to_owned() } else { format!("at `{rest}`") };
            format!("cannot be read {place}; write e.g. from == user, \"admin\" in user.roles, a != b && !(c == d)")
        };
        match or(text) {
            Ok((rest, condition)) if rest.trim().is_empty() => {
                Ok(Self { text: text.into(), condition: condition.bind(scope)? })
            }
            Ok((rest, _)) => Err(near(rest)),
            Err(nom::Err::Error(error) | nom::Err::Failure(error)) => Err(near(error.input)),
            Err(nom::Err::Incomplete(_)) => Err(near("")),
        }
    }

    /// Whether the condition is met.
    pub(crate) fn holds(&self, lookup: &dyn Lookup) -> Result<bool, Refusal> {
        self.condition.holds(lookup)
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl Expression<&str> {
    fn bind(self, scope: &Scope<'_>) -> Result<Expression<Variable>, String> {
        let all = |list: Vec<Self>| list.into_iter().map(|item| item.bind(scope)).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Self::Any(list) => Expression::Any(all(list)?),
            Self::All(list) => Expression::All(all(list)?),
            Self::Not(inner) => Expression::Not(Box::new(inner.bind(scope)?)),
            Self::Equal(a, b) => Expression::Equal(a.bind(scope)?, b.bind(scope)?),
            Self::In(a, list) => {
                let list = list.into_iter().map(|item| item.bind(scope)).collect::<Result<_, _>>()?;
                Expression::In(a.bind(scope)?, list)
            }
            Self::InValue(a, b) => Expression::InValue(a.bind(scope)?, b.bind(scope)?),
        })
    }
}

impl Expression<Variable> {
    fn holds(&self, lookup: &dyn Lookup) -> Result<bool, Refusal> {
        Ok(match self {
            Self::Any(list) => {
                for item in list {
                    if item.holds(lookup)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::All(list) => {
                for item in list {
                    if !item.holds(lookup)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Not(inner) => !inner.holds(lookup)?,
            Self::Equal(a, b) => equal(a.find(lookup)?, b.find(lookup)?),
            Self::In(a, list) => {
                let a = a.find(lookup)?;
                for item in list {
                    if equal(a.clone(), item.find(lookup)?) {
                        return Ok(true);
                    }
                }
                false
            }
            Self::InValue(a, b) => match b.find(lookup)? {
                Found::Json(list, _) => {
                    let a = a.find(lookup)?;
                    let items: &[Value] = list.as_array().map_or(&[], Vec::as_slice);
                    items.iter().any(|item| equal(a.clone(), Some(item).into()))
                }
                _ => false,
            },
        })
    }
}

impl Operand<&str> {
    fn bind(self, scope: &Scope<'_>) -> Result<Operand<Variable>, String> {
        Ok(match self {
            Self::Text(text) => Operand::Text(text),
            Self::Variable(name) => Operand::Variable(scope.variable(name)?),
        })
    }
}

impl Operand<Variable> {
    fn find<'a>(&'a self, lookup: &'a dyn Lookup) -> Result<Found<'a>, Refusal> {
        match self {
            Self::Text(text) => Ok(Found::Text((&**text).into())),
            Self::Variable(variable) => lookup.find(variable),
        }
    }
}

fn equal(a: Found<'_>, b: Found<'_>) -> bool {
    a.into_text().zip(b.into_text()).is_some_and(|(a, b)| a == b)
}

type Read<'t, T> = IResult<&'t str, T>;

fn or(input: &str) -> Read<'_, Expression<&str>> {
    chain(input, and, "||", "or", Expression::Any)
}

fn and(input: &str) -> Read<'_, Expression<&str>> {
    chain(input, negation, "&&", "and", Expression::All)
}

fn chain<'t>(
    input: &'t str,
    item: fn(&'t str) -> Read<'t, Expression<&'t str>>,
    sign: &'static str,
    spelled: &'static str,
    join: fn(Vec<Expression<&'t str>>) -> Expression<&'t str>,
) -> Read<'t, Expression<&'t str>> {
    let (rest, first) = item(input)?;
    let mut first = vec![first];
    let next = preceded(alt((token(sign), word(spelled))), item);
    let (rest, mut list) = fold_many0(next, Vec::new, |mut list, item| {
        list.push(item);
        list
    })
    .parse(rest)?;
    first.append(&mut list);
    Ok((rest, if first.len() == 1 { first.remove(0) } else { join(first) }))
}

fn negation(input: &str) -> Read<'_, Expression<&str>> {
    alt((
        map(preceded(alt((token("!"), word("not"))), negation), |inner| Expression::Not(Box::new(inner))),
        delimited(token("("), or, token(")")),
        comparison,
    ))
    .parse(input)
}

fn comparison(input: &str) -> Read<'_, Expression<&str>> {
    let (rest, a) = operand(input)?;
    let list = delimited(token("["), separated_list1(token(","), operand), token("]"));
    enum After<'t> {
        Equal(Operand<&'t str>),
        Unequal(Operand<&'t str>),
        In(Vec<Operand<&'t str>>),
        InValue(Operand<&'t str>),
    }
    let (rest, after) = alt((
        map(preceded(token("=="), operand), After::Equal),
        map(preceded(token("!="), operand), After::Unequal),
        map(preceded(word("in"), list), After::In),
        map(preceded(word("in"), operand), After::InValue),
    ))
    .parse(rest)?;
    Ok((
        rest,
        match after {
            After::Equal(b) => Expression::Equal(a, b),
            After::Unequal(b) => Expression::Not(Box::new(Expression::Equal(a, b))),
            After::In(list) => Expression::In(a, list),
            After::InValue(b) => Expression::InValue(a, b),
        },
    ))
}

fn operand(input: &str) -> Read<'_, Operand<&str>> {
    let quoted = |quote| delimited(char(quote), take_till(move |c| c == quote), char(quote));
    let number = recognize((opt(char('-')), digit1, opt(pair(char('.'), digit1))));
    let text = alt((quoted('"'), quoted('\''), number, recognize(word("true")), recognize(word("false"))));
    preceded(multispace0, alt((map(text, |text: &str| Operand::Text(text.into())), map(name, Operand::Variable))))
        .parse(input)
}

/// A variable without its braces; words of the language are none.
fn name(input: &str) -> Read<'_, &str> {
    let reserved = alt((word("and"), word("or"), word("not"), word("in")));
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    let name = recognize(pair(satisfy(|c| c.is_alphabetic() || c == '_'), many0_count(satisfy(part))));
    preceded(not(peek(reserved)), name).parse(input)
}

fn token<'t>(sign: &'static str) -> impl Parser<&'t str, Output = (), Error = nom::error::Error<&'t str>> {
    value((), preceded(multispace0, tag(sign)))
}

/// A whole word: `in`, but not the beginning of `inbox`.
fn word<'t>(word: &'static str) -> impl Parser<&'t str, Output = (), Error = nom::error::Error<&'t str>> {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    let whole = preceded(multispace0, take_while1(part));
    value((), nom::combinator::verify(whole, move |found: &str| found == word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Values(Value);

    impl Lookup for Values {
        fn find(&self, variable: &Variable) -> Result<Found<'_>, Refusal> {
            let name = variable.to_string();
            Ok(self.0.get(name.trim_matches(['{', '}'])).into())
        }
    }

    fn scope() -> Scope<'static> {
        Scope { captures: vec!["from", "to", "inbox"], sender: true, frame: true, body: true, ..Scope::default() }
    }

    #[track_caller]
    fn check(guard: &str, expected: bool) {
        let values = Values(json!({
            "from": "alice", "to": "12", "inbox": "x", "user": "alice", "user.id": 12, "user.roles": ["editor", 7],
            "user.admin": true, "user.none": null,
        }));
        let parsed = Guard::parse(guard, &scope()).unwrap_or_else(|error| panic!("{guard}: {error}"));
        assert_eq!(parsed.holds(&values).unwrap(), expected, "{guard}");
    }

    #[test]
    fn guards_say_what_they_say() {
        check("from == user", true);
        check("from==user&&to!=user", true);
        check("from == 'bob' || user == \"alice\"", true);
        check("from == 'bob' or not to == '12'", false);
        check("!(from == 'bob') and (to == 12 or to == 13)", true);
        check("to == user.id", true);
        check("user.admin == true and not user.admin == false", true);
        check("'editor' in user.roles", true);
        check("'7' in user.roles && 7 in user.roles", true);
        check("from in ['bob', user]", true);
        check("from in ['bob']", false);
        check("from in to", false);
        check("inbox == 'x'", true);
        check("from == 'bob' && to == 'x' || user == 'alice'", true);
        check("from == '' || from == user", true);
    }

    #[test]
    fn what_is_missing_equals_nothing() {
        check("session == session", false);
        check("session != session", true);
        check("user.none == user.none", false);
        check("session in [session]", false);
        check("from in headers.x", false);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        let error = |guard: &str| Guard::parse(guard, &scope()).unwrap_err();
        assert!(error("from = user").contains("at `= user`"), "{}", error("from = user"));
        assert!(error("from == user ||").contains("at `||`"), "{}", error("from == user ||"));
        assert!(error("").contains("at its end"));
        for guard in ["from", "(from == user", "from == 'x", "from == user to", "and == or", "== user", "x in []"] {
            assert!(Guard::parse(guard, &scope()).is_err(), "{guard}");
        }
        assert!(error("form == user").starts_with("unknown variable {form}; known here: {from}, {to}"));
        assert!(error(&format!("{}from == user", "!".repeat(40))).contains("negations"));
    }
}
