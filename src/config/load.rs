//! Reading: the file, then the environment, then the checks.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::Config;
use super::problem::{Key, Problems};
use crate::ids::NodeId;

/// Prefix of environment variables that override the file; `__` separates section and key.
pub const ENVIRONMENT_PREFIX: &str = "STAMPEDE__";

/// What was wrong with the configuration, each with the place where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// One text per problem.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            f.write_str(problem.trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<String> for ConfigError {
    fn from(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

/// Reads a file, if one is given, and lays the environment over it.
///
/// # Errors
///
/// Names file, line and key, or the environment variable.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, String), ConfigError> {
    let text = match file {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| ConfigError::from(format!("{}: cannot be read: {error}", path.display())))?,
    };
    let name = file.map_or_else(|| "the defaults".to_owned(), |path| path.display().to_string());
    Ok((parse(&text, &name, environment)?, text))
}

/// As [`load`], from text.
///
/// # Errors
///
/// As [`load`].
pub fn parse(
    text: &str,
    name: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    // First the text alone: only there do errors know their line.
    let config: Config = toml::from_str(text).map_err(|error| located(&error, text, name))?;
    let mut table: Table = toml::from_str(text).map_err(|error| located(&error, text, name))?;
    let mut overridden = Vec::new();
    for (variable, value) in environment {
        let Some(path) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        set(&mut table, &keys, value_of(&value))
            .map_err(|problem| ConfigError::from(format!("{variable}: {problem}")))?;
        overridden.push(variable);
    }
    let config = if overridden.is_empty() {
        config
    } else {
        Config::deserialize(table)
            .map_err(|error| ConfigError::from(format!("{}: {}", overridden.join(", "), error.message())))?
    };
    let problems = config.problems(name, text);
    if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
}

/// `stampede.toml:12: server.listen: …`
fn located(error: &toml::de::Error, text: &str, name: &str) -> ConfigError {
    let Some(span) = error.span() else { return ConfigError::from(format!("{name}: {}", error.message())) };
    let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
    // Without the value: it may be a secret, whatever its key is called.
    let source = text.lines().nth(line - 1).unwrap_or_default();
    let source = source.split_once('=').map_or(source, |(key, _)| key).trim();
    ConfigError::from(format!("{name}:{line}: {}: {}", error.message(), source))
}

/// A value as TOML reads it, or a plain string.
fn value_of(text: &str) -> Value {
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(table: &mut Table, keys: &[String], value: Value) -> Result<(), String> {
    let Some((first, rest)) = keys.split_first() else { return Err("names no key".into()) };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return Ok(());
    }
    let list = rest[0].parse::<usize>().ok();
    let entry = table
        .entry(first.clone())
        .or_insert_with(|| if list.is_some() { Value::Array(Vec::new()) } else { Value::Table(Table::new()) });
    match (entry, list) {
        (Value::Table(inner), None) => set(inner, rest, value),
        (Value::Array(items), Some(index)) => {
            if index == items.len() {
                items.push(Value::Table(Table::new()));
            }
            match items.get_mut(index) {
                Some(Value::Table(inner)) if rest.len() > 1 => set(inner, &rest[1..], value),
                Some(_) => Err(format!("{first}.{index} has no keys")),
                None => Err(format!("{first} has no entry {index}; the next free one is {}", items.len())),
            }
        }
        _ => Err(format!("{first} is not a section with such keys")),
    }
}

impl Config {
    /// What the types cannot say.
    fn problems(&self, name: &str, text: &str) -> Vec<String> {
        let mut problems = Problems::new(text, name);
        let endpoints = Key::root("endpoint");
        if self.endpoint.is_empty() {
            problems.add(&endpoints, "there is none, so no client could connect");
        }
        for (index, endpoint) in self.endpoint.iter().enumerate() {
            let key = endpoints.index(index);
            let path = &endpoint.path;
            if !path.starts_with('/') || path.ends_with('/') || path.contains("//") || path.contains(['?', '#', ' ']) {
                let what = format!("{path:?} must start with / and must not end with it, e.g. \"/ws\"");
                problems.add(&key.name("path"), what);
            }
            problems.take(&key.name("sockjs"), endpoint.sockjs.check());
            if self.endpoint[..index].iter().any(|other| other.path == *path) {
                problems.add(&key.name("path"), format!("{path:?} stands twice"));
            }
        }
        let broker = Key::root("broker");
        if self.broker.prefixes.is_empty() {
            problems.add(&broker.name("prefixes"), "there is none, so no message would have a receiver");
        }
        for (key, prefix) in
            [("application_prefix", &self.broker.application_prefix), ("user_prefix", &self.broker.user_prefix)]
        {
            if !prefix.starts_with('/') || prefix.len() < 2 || prefix.ends_with('/') {
                problems.add(&broker.name(key), format!("{prefix:?} must start with / and must not end with it"));
            }
        }
        if self.server.header_size_limit < 8192 {
            let what = format!("{} is below the least of 8192", self.server.header_size_limit);
            problems.add(&Key::root("server").name("header_size_limit"), what);
        }
        if let Some(admin) = self.server.admin_listen {
            let server = Key::root("server");
            if admin == self.server.listen && admin.port() != 0 {
                problems.add(&server.name("admin_listen"), format!("{admin} is server.listen too; take another port"));
            }
            if self.server.admin_connections == 0 {
                problems.add(&server.name("admin_connections"), "is 0, so nobody could ask");
            }
        }
        if self.server.addresses.connections_per_second > 0 && self.server.addresses.connections_burst == 0 {
            let what = "is 0, so nobody could connect; connections_per_second = 0 lifts the limit";
            problems.add(&Key::root("server").name("addresses").name("connections_burst"), what);
        }
        self.limits(&mut problems);
        self.cluster(&mut problems);
        problems.take(&Key::root("identity"), self.identity.check());
        problems.take(&Key::root("api"), self.api.check());
        problems.take(&Key::root("mailbox"), self.mailbox.check());
        for (index, policy) in self.destination.iter().enumerate() {
            if let Some(keep) = policy.keep {
                let check = keep.check().map_err(|what| format!("{:?}: {what}", policy.pattern));
                problems.take(&Key::root("destination").index(index).name("keep"), check);
            }
        }
        problems.or_all(()).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn cluster(&self, problems: &mut Problems<'_>) {
        if let Some(id) = &self.server.node_id {
            let checked = NodeId::named(id).map(drop);
            problems.take(&Key::root("server").name("node_id"), checked);
        }
        let (redis, rabbitmq) = (Key::root("redis"), Key::root("rabbitmq"));
        match (&self.redis, &self.rabbitmq) {
            (None, None) => {}
            (Some(_), None) => {
                problems.add(
                    &redis,
                    "[redis] needs [rabbitmq] beside it: a cluster has both, and a node that is alone neither",
                );
            }
            (None, Some(_)) => {
                problems.add(
                    &rabbitmq,
                    "[rabbitmq] needs [redis] beside it: a cluster has both, and a node that is alone neither",
                );
            }
            (Some(registry), Some(relay)) => {
                problems.take(&redis, registry.check());
                problems.take(&rabbitmq, relay.check());
                if self.server.data_dir.is_some() {
                    let what = "a cluster keeps messages in Redis and RabbitMQ, not on the node: leave it out";
                    problems.add(&Key::root("server").name("data_dir"), what);
                }
            }
        }
        problems.take(&Key::root("relay"), self.relay.check());
        problems.take(&Key::root("rooms"), self.rooms.check());
    }

    fn limits(&self, problems: &mut Problems<'_>) {
        let section = Key::root("limits");
        for (key, value, least) in [
            ("message_size_limit", self.limits.message_size_limit, 1),
            ("headers", self.limits.headers, 1),
            ("connect_size_limit", self.limits.connect_size_limit, 256),
            ("heart_beat_tolerance", self.limits.heart_beat_tolerance as usize, 2),
            ("frames_in_progress", self.limits.frames_in_progress, 1),
        ] {
            if value < least {
                problems.add(&section.name(key), format!("{value} is below the least of {least}"));
            }
        }
        if self.outbox.send_buffer_size_limit == 0 {
            let key = Key::root("outbox");
            problems.add(&key.name("send_buffer_size_limit"), "is 0, so nothing could be delivered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = parse(
            "[server]\nlisten = '127.0.0.1:1'\n",
            "t.toml",
            environment(&[
                ("STAMPEDE__SERVER__LISTEN", "127.0.0.1:2"),
                ("STAMPEDE__LIMITS__HEADERS", "7"),
                ("STAMPEDE__ENDPOINT__0__PATH", "/stomp"),
                ("STAMPEDE__BROKER__PREFIXES", "[\"/a\"]"),
                ("PATH", "ignored"),
            ]),
        )
        .unwrap();
        assert_eq!(config.server.listen.port(), 2);
        assert_eq!(config.limits.headers, 7);
        assert_eq!(config.endpoint[0].path, "/stomp");
        assert_eq!(config.broker.prefixes, ["/a"]);
    }

    #[test]
    fn mistakes_name_their_place() {
        for (text, expected) in [
            ("[server]\nlisten = 'here'\n", "t.toml:2:"),
            ("\n[servers]\n", "t.toml:2: unknown field `servers`"),
            ("[limits]\nheader = 3\n", "t.toml:2: unknown field `header`"),
            ("[[endpoint]]\npath = 'ws'\n", "t.toml:2: endpoint.path: \"ws\" must start with /"),
            ("[outbox]\nsend_time_limit = '10'\n", "t.toml:2:"),
            ("[server\n", "t.toml:1:"),
            (
                "[server]\nadmin_listen = '127.0.0.1:8080'\n",
                "t.toml:2: server.admin_listen: 127.0.0.1:8080 is server.listen",
            ),
            ("[server.addresses]\nconnections_burst = 0\n", "t.toml:2: server.addresses.connections_burst: is 0"),
        ] {
            let error = parse(text, "t.toml", []).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error = parse("", "t", environment(&[("STAMPEDE__LIMITS__HEADERS", "many")])).unwrap_err().to_string();
        assert!(error.contains("STAMPEDE__LIMITS__HEADERS"), "{error}");
    }
}
