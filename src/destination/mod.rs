//! What a destination means: application, broker or user, and which patterns match it.
//!
//! Nothing here keeps state about who subscribed; [`Destinations`] only reads texts, [`Pattern`] matches them, and
//! [`PatternIndex`] finds the patterns for a destination.

mod contain;
#[cfg(test)]
pub(crate) mod generate;
mod index;
mod meet;
mod pattern;
mod segment;

use std::borrow::Cow;

pub use index::PatternIndex;
pub use pattern::{Captures, MAX_SEGMENTS, MAX_WILDCARDS, Pattern, PatternError, Specificity, is_pattern};

/// The prefixes that tell kinds of destinations apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destinations {
    broker: Vec<Box<str>>,
    application: Box<str>,
    user: Box<str>,
}

/// What a destination means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `/app/…`; the rest begins with its `/`.
    Application(&'a str),
    /// SUBSCRIBE only: `/user/queue/…`, the session's own; the rest (`queue/…`) has no `/` in front.
    UserOwn(&'a str),
    /// `/user/{addressee}/{rest}`.
    UserExplicit {
        /// Who is meant, with `%2F` turned back into `/`. In a SUBSCRIBE this may hold wildcards, see [`is_pattern`].
        addressee: Cow<'a, str>,
        /// What follows, without a `/` in front, never empty.
        rest: &'a str,
    },
    /// `/topic/…`, `/queue/…` and the like.
    Broker,
    /// None of them; such frames reach nobody.
    Unknown,
}

impl Default for Destinations {
    /// Spring's: `/topic` and `/queue`, `/app`, `/user/`.
    fn default() -> Self {
        Self::new(["/topic", "/queue"], "/app", "/user/")
    }
}

impl Destinations {
    /// Prefixes as Spring takes them: those of the broker are plain texts (`/topicality` begins with `/topic`), the others
    /// get a `/` at the end if they have none.
    pub fn new<'p>(broker: impl IntoIterator<Item = &'p str>, application: &str, user: &str) -> Self {
        let closed = |prefix: &str| format!("{}/", prefix.strip_suffix('/').unwrap_or(prefix)).into();
        let user: Box<str> = closed(user);
        // The article's configuration names `/user` among the broker prefixes; the explicit form below serves it.
        let broker = broker.into_iter().filter(|prefix| **prefix != *user && **prefix != user[..user.len() - 1]);
        Self { broker: broker.map(Box::from).collect(), application: closed(application), user }
    }

    /// What a SUBSCRIBE to this destination asks for.
    #[must_use]
    pub fn subscription<'a>(&self, destination: &'a str) -> Kind<'a> {
        match destination.strip_prefix(&*self.user) {
            Some(rest) if self.is_own_queue(rest) => Kind::UserOwn(rest),
            _ => self.send_target(destination),
        }
    }

    /// Where a message to this destination goes. `/user/queue/x` is addressed to somebody called `queue`.
    #[must_use]
    pub fn send_target<'a>(&self, destination: &'a str) -> Kind<'a> {
        if let Some(rest) = destination.strip_prefix(&*self.user) {
            return match rest.split_once('/') {
                Some((addressee, rest)) if !addressee.is_empty() && !rest.is_empty() => {
                    Kind::UserExplicit { addressee: decode_addressee(addressee), rest }
                }
                _ => Kind::Unknown,
            };
        }
        if destination.starts_with(&*self.application) {
            return Kind::Application(&destination[self.application.len() - 1..]);
        }
        // Spring with no broker prefix at all: the broker takes every destination.
        if self.broker.is_empty() || self.broker.iter().any(|prefix| destination.starts_with(&**prefix)) {
            return Kind::Broker;
        }
        Kind::Unknown
    }

    /// The one text for an addressee's destination, however it was written: `/user/{addressee}/{rest}`.
    #[must_use]
    pub fn user_destination(&self, addressee: &str, rest: &str) -> String {
        format!("{}{}/{rest}", self.user, encode_segment(addressee))
    }

    /// The application prefix, with its `/` at the end.
    #[must_use]
    pub fn application_prefix(&self) -> &str {
        &self.application
    }

    /// The user prefix, with its `/` at the end.
    #[must_use]
    pub fn user_prefix(&self) -> &str {
        &self.user
    }

    /// The broker prefixes, without the user prefix.
    pub fn broker_prefixes(&self) -> impl Iterator<Item = &str> {
        self.broker.iter().map(|prefix| &**prefix)
    }

    /// Whether what follows `/user/` is a broker prefix, whole segments of it, or up to the dot of `/user/queue.x`.
    fn is_own_queue(&self, rest: &str) -> bool {
        self.broker.iter().any(|prefix| {
            let name = prefix.trim_matches('/');
            let after = rest.strip_prefix(name).filter(|_| !name.is_empty());
            after.is_some_and(|after| after.is_empty() || after.starts_with(['/', '.']))
        })
    }
}

/// A value as one segment of a destination: `/` becomes `%2F`, as Spring writes user names.
#[must_use]
pub fn encode_segment(value: &str) -> Cow<'_, str> {
    if value.contains('/') { value.replace('/', "%2F").into() } else { value.into() }
}

fn decode_addressee(segment: &str) -> Cow<'_, str> {
    if segment.contains("%2F") { segment.replace("%2F", "/").into() } else { segment.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explicit<'a>(addressee: &'a str, rest: &'a str) -> Kind<'a> {
        Kind::UserExplicit { addressee: addressee.into(), rest }
    }

    #[test]
    fn prefixes_tell_kinds_apart() {
        let destinations = Destinations::default();
        let cases = [
            ("/app/chat/1", Kind::Application("/chat/1"), Kind::Application("/chat/1")),
            ("/app", Kind::Unknown, Kind::Unknown),
            ("/topic", Kind::Broker, Kind::Broker),
            ("/topicality", Kind::Broker, Kind::Broker),
            ("/queue/a", Kind::Broker, Kind::Broker),
            ("topic/a", Kind::Unknown, Kind::Unknown),
            ("", Kind::Unknown, Kind::Unknown),
            ("/user/queue/x", Kind::UserOwn("queue/x"), explicit("queue", "x")),
            ("/user/queue.x", Kind::UserOwn("queue.x"), Kind::Unknown),
            ("/user/queuex/y", explicit("queuex", "y"), explicit("queuex", "y")),
            ("/user/12/34/queue/chat", explicit("12", "34/queue/chat"), explicit("12", "34/queue/chat")),
            ("/user/34/topic/users", explicit("34", "topic/users"), explicit("34", "topic/users")),
            ("/user/a%2Fb/queue", explicit("a/b", "queue"), explicit("a/b", "queue")),
            ("/user/", Kind::Unknown, Kind::Unknown),
            ("/user/bob", Kind::Unknown, Kind::Unknown),
            ("/user/bob/", Kind::Unknown, Kind::Unknown),
            ("/user//x", Kind::Unknown, Kind::Unknown),
            ("/user/**", Kind::Unknown, Kind::Unknown),
        ];
        for (destination, subscription, target) in cases {
            assert_eq!(destinations.subscription(destination), subscription, "SUBSCRIBE {destination}");
            assert_eq!(destinations.send_target(destination), target, "SEND {destination}");
        }
    }

    #[test]
    fn user_among_the_broker_prefixes_stays_a_user_destination() {
        let destinations = Destinations::new(["/topic", "/queue", "/user", "/logs"], "/app", "/user");
        assert_eq!(destinations.subscription("/user/12/34/queue/chat"), explicit("12", "34/queue/chat"));
        assert_eq!(destinations.subscription("/user/user/x"), explicit("user", "x"));
        assert_eq!(destinations.send_target("/logs/a"), Kind::Broker);
    }

    #[test]
    fn without_broker_prefixes_the_broker_takes_the_rest() {
        let destinations = Destinations::new([], "/app/", "/user/");
        assert_eq!(destinations.send_target("anything"), Kind::Broker);
        assert_eq!(destinations.send_target("/app/x"), Kind::Application("/x"));
    }

    #[test]
    fn an_addressee_is_written_as_one_segment() {
        let destinations = Destinations::default();
        let written = destinations.user_destination("a/b", "queue/x");
        assert_eq!(written, "/user/a%2Fb/queue/x");
        assert_eq!(destinations.send_target(&written), explicit("a/b", "queue/x"));
    }
}
