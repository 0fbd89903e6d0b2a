//! What an answer must have.

use super::super::form::{Names, Token, show, tokens};
use super::super::server::Server;
use super::client::{Otherwise, broken};
use super::http::{Asked, Exchange, Head, Lack, Until};

/// Judges one step.
pub(super) async fn check(
    server: &Server,
    names: &mut Names,
    exchange: &mut Exchange,
    verb: &str,
    rest: &str,
) -> Result<(), Otherwise> {
    let until = Until::within(server.patience);
    let expected = || format!("{verb} {rest}").trim_end().to_owned();
    match verb {
        "body" => {
            whole(exchange, until).await?;
            let fits = names.fits(rest, &exchange.body).map_err(broken)?;
            let body = std::mem::take(&mut exchange.body);
            if fits { Ok(()) } else { Err((rest.to_owned(), show(&body))) }
        }
        "json" => {
            whole(exchange, until).await?;
            member(names, &exchange.body, rest)
        }
        "chunk" => {
            if exchange.body.is_empty() {
                exchange.piece(until).await.map_err(|lack| (rest.to_owned(), lack.shown()))?;
            }
            let fits = names.fits(rest, &exchange.body).map_err(broken)?;
            let chunk = std::mem::take(&mut exchange.body);
            if fits { Ok(()) } else { Err((rest.to_owned(), show(&chunk))) }
        }
        "reads" => reads(names, exchange, rest, until).await,
        "repeats" => {
            let (count, text) = rest.split_once(' ').ok_or_else(|| broken("repeats COUNT TEXT"))?;
            let count = count.parse().map_err(|_| broken(format!("{count:?} is no number")))?;
            let wanted = names.fill(text).map_err(broken)?.repeat(count);
            while exchange.body.len() < wanted.len() {
                exchange.piece(until).await.map_err(|lack| (expected(), lack.shown()))?;
            }
            let rest = exchange.body.split_off(wanted.len());
            let found = std::mem::replace(&mut exchange.body, rest);
            if found == wanted { Ok(()) } else { Err((expected(), show(&found))) }
        }
        "beyond" => {
            let (count, text) = rest.split_once(' ').ok_or_else(|| broken("beyond COUNT TEXT"))?;
            let count: usize = count.parse().map_err(|_| broken(format!("{count:?} is no number")))?;
            let wanted = names.fill(text).map_err(broken)?;
            loop {
                match memchr::memmem::find(&exchange.body, &wanted) {
                    Some(at) if at > count => return Ok(()),
                    Some(at) => return Err((expected(), format!("it stands behind {at} octets"))),
                    None => exchange.piece(until).await.map_err(|lack| (expected(), lack.shown()))?,
                }
            }
        }
        "ended" => {
            whole(exchange, until).await?;
            if exchange.body.is_empty() { Ok(()) } else { Err((expected(), show(&exchange.body))) }
        }
        "reusable" => reusable(server, exchange).await,
        _ => {
            let head = exchange.head(until).await.map_err(|lack| (expected(), lack.shown()))?;
            judge(names, head, verb, rest)
        }
    }
}

/// Reads the answer to its end.
pub(super) async fn whole(exchange: &mut Exchange, until: Until) -> Result<(), Otherwise> {
    loop {
        match exchange.piece(until).await {
            Ok(()) => {}
            Err(Lack::Ended) => return Ok(()),
            Err(lack) => {
                let seen = format!("{} behind {}", lack.shown(), show(&exchange.body));
                return Err(("an answer, and its end".to_owned(), seen));
            }
        }
    }
}

/// Judges a head.
fn judge(names: &mut Names, head: &Head, verb: &str, rest: &str) -> Result<(), Otherwise> {
    if verb == "answers" {
        let good = rest.split(" or ").any(|status| status.parse() == Ok(head.status));
        return if good { Ok(()) } else { Err((format!("status {rest}"), show(&head.octets))) };
    }
    let (name, wanted) = match verb {
        "typed" => ("content-type", rest),
        "lacks" => (rest, ""),
        _ => rest.split_once(": ").ok_or_else(|| broken(format!("{verb} NAME: VALUE")))?,
    };
    let mut values = head.values(name).peekable();
    if verb == "lacks" {
        let seen = values.next();
        return seen.map_or(Ok(()), |value| Err((format!("no header {name}"), format!("{name}: {}", show(value)))));
    }
    let otherwise = |seen: String| Err((format!("{name}: {wanted}"), seen));
    if values.peek().is_none() {
        return otherwise(format!("no header {name}"));
    }
    match verb {
        "lists" => {
            let found = head.list(name);
            let missing = wanted.split(',').any(|part| !found.contains(&part.trim().to_ascii_lowercase()));
            if missing { otherwise(format!("{name}: {}", found.join(", "))) } else { Ok(()) }
        }
        "typed" => {
            let found = values.map(|value| media_type(&String::from_utf8_lossy(value))).collect::<Vec<_>>().join(", ");
            if found == media_type(wanted) { Ok(()) } else { otherwise(format!("{name}: {found}")) }
        }
        _ => {
            // Where the protocol leaves a choice there are several forms.
            for (value, form) in values.flat_map(|value| wanted.split(" | ").map(move |form| (value, form))) {
                if names.fits(form, value).map_err(broken)? {
                    return Ok(());
                }
            }
            let found: Vec<String> = head.values(name).map(show).collect();
            otherwise(format!("{name}: {}", found.join(", ")))
        }
    }
}

/// A media type without what does not matter in it: case, and blanks around its parameters.
fn media_type(text: &str) -> String {
    text.split(';').map(|part| part.trim().to_ascii_lowercase()).collect::<Vec<_>>().join("; ")
}

/// A member of an object in JSON: `NAME boolean`, `NAME integer LOW HIGH`, or `NAME TEXT` as it is written without blanks.
fn member(names: &mut Names, body: &[u8], rest: &str) -> Result<(), Otherwise> {
    let (name, wanted) = rest.split_once(' ').ok_or_else(|| broken("json NAME WHAT"))?;
    let object: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| ("JSON".to_owned(), format!("{error}: {}", show(body))))?;
    let otherwise = |seen: String| Err((format!("{name}: {wanted}"), seen));
    let Some(value) = object.get(name) else { return otherwise(show(body)) };
    let mut words = wanted.split(' ');
    let good = match (words.next(), words.next(), words.next()) {
        (Some("boolean"), None, None) => value.is_boolean(),
        (Some("integer"), Some(low), Some(high)) => {
            let bound = |digits: &str| digits.parse::<u64>().map_err(|error| broken(error.to_string()));
            let (low, high) = (bound(low)?, bound(high)?);
            value.as_u64().is_some_and(|value| (low..=high).contains(&value))
        }
        _ => names.fits(wanted, value.to_string().as_bytes()).map_err(broken)?,
    };
    if good { Ok(()) } else { otherwise(value.to_string()) }
}

/// The next octets of the body, however they are cut.
async fn reads(names: &mut Names, exchange: &mut Exchange, rest: &str, until: Until) -> Result<(), Otherwise> {
    let form = tokens(rest).map_err(broken)?;
    let last = form.last().cloned();
    let mut tried = 0;
    loop {
        for length in tried..=exchange.body.len() {
            let start = &exchange.body[..length];
            // A form that ends with an octet fits only where that octet is.
            let can = match &last {
                Some(Token::Octet(octet)) => start.last() == Some(octet),
                _ => true,
            };
            if can && names.fit(&form, start) {
                exchange.body.drain(..length);
                return Ok(());
            }
        }
        tried = exchange.body.len() + 1;
        if let Err(lack) = exchange.piece(until).await {
            let seen = format!("{}, then {}", show(&exchange.body), lack.shown());
            return Err((rest.to_owned(), seen));
        }
    }
}

/// The connection takes another request, or is closed, as the answer said.
async fn reusable(server: &Server, exchange: &mut Exchange) -> Result<(), Otherwise> {
    let until = Until::within(server.patience);
    whole(exchange, until).await?;
    let keeps = exchange.head(until).await.is_ok_and(Head::keeps);
    if !keeps {
        let closes = exchange.closes(until).await;
        return closes.map_err(|lack| ("the end of the connection, as the answer says".to_owned(), lack.shown()));
    }
    let expected = || "an answer on the same connection, as the last one says".to_owned();
    let asked = Asked::new("GET", &server.way.target.path);
    exchange.again(server, asked).await.map_err(|why| (expected(), why))?;
    let answered = exchange.head(until).await.map(|_| ());
    answered.map_err(|lack| (expected(), lack.shown()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_compared_by_what_they_mean() {
        assert_eq!(media_type("Text/Plain;charset=utf-8"), media_type("text/plain; charset=UTF-8"));
        assert_ne!(media_type("text/plain"), media_type("text/plain; charset=UTF-8"));
    }

    #[test]
    fn members_are_judged() {
        let body = br#"{"websocket":true,"origins":["*:*"],"entropy":4294967295}"#;
        let good =
            ["websocket boolean", "websocket true", "origins [\"*:*\"]", "entropy integer 0 4294967295", "entropy $e"];
        let wrong = [
            "websocket false",
            "entropy boolean",
            "entropy integer 0 4294967294",
            "cookie_needed boolean",
            "websocket",
        ];
        for rest in good {
            assert_eq!(member(&mut Names::default(), body, rest), Ok(()), "{rest}");
        }
        for rest in wrong {
            assert!(member(&mut Names::default(), body, rest).is_err(), "{rest}");
        }
        assert!(member(&mut Names::default(), b"[", "websocket boolean").is_err());
        assert!(member(&mut Names::default(), br#"{"entropy":-1}"#, "entropy integer 0 9").is_err());
    }
}
