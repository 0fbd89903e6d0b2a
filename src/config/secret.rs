//! Values that nobody should see: passwords, keys, addresses that hold them.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What is shown instead.
const HIDDEN: &str = "***";

/// A text that is never shown: not in logs, not by `check-config`, not in an error.
///
/// In the file it stands as itself, or as where it is to be found: `{ file = "/run/secrets/jwt" }` (one line break at its end
/// does not count) or `{ env = "JWT_SECRET" }`. It is read with the configuration, so what is missing is found before a port
/// is bound.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// The text itself: hand it to whoever needs it, and to nothing that prints.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

/// Where a secret stands. Private: what cannot be read is told without the value.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a text, { file = \"PATH\" } or { env = \"NAME\" } is expected")]
enum Source {
    Text(String),
    Place(Place),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Place {
    File(PathBuf),
    Env(String),
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Source::deserialize(deserializer)? {
            Source::Text(text) => Ok(Self(text)),
            Source::Place(Place::File(path)) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| de::Error::custom(format!("{}: cannot be read: {error}", path.display())))?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(Self(text.strip_suffix('\r').unwrap_or(text).to_owned()))
            }
            Source::Place(Place::Env(name)) => std::env::var(&name)
                .map(Self)
                .map_err(|_| de::Error::custom(format!("the environment variable {name} is not set, or is no text"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct Section {
        password: Secret,
    }

    fn read(text: &str) -> Result<Section, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_secret_stands_as_itself_in_a_file_or_in_the_environment() {
        assert_eq!(read("password = 'x y'").unwrap().password.reveal(), "x y");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "of a file\n").unwrap();
        let section = read(&format!("password = {{ file = '{}' }}", path.display())).unwrap();
        assert_eq!(section.password.reveal(), "of a file");
        // Cargo sets it for tests.
        assert_eq!(read("password = { env = 'CARGO_PKG_NAME' }").unwrap().password.reveal(), "stampede");
    }

    #[test]
    fn it_is_shown_nowhere() {
        let section = read("password = 'hunter2'").unwrap();
        assert!(!format!("{section:?}").contains("hunter2"));
        assert!(!toml::to_string(&section).unwrap().contains("hunter2"));
        for mistake in ["password = 4711", "password = { fiel = '4711' }", "password = ['4711']"] {
            let error = read(mistake).unwrap_err();
            assert!(!error.message().contains("4711"), "{}", error.message());
            assert!(error.message().contains("{ file = "), "{}", error.message());
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = read("password = { env = 'STAMPEDE_TEST_IS_NOT_SET' }").unwrap_err();
        assert!(error.message().contains("STAMPEDE_TEST_IS_NOT_SET"), "{}", error.message());
        let error = read("password = { file = '/nowhere/at/all' }").unwrap_err();
        assert!(error.message().contains("/nowhere/at/all"), "{}", error.message());
    }
}
