//! Durations and sizes as people write them: `"10s"`, `"512KiB"`.
//!
//! Used as `#[serde(with = "units::duration")]` and `#[serde(with = "units::bytes")]`.

/// A duration as text with units: `"250ms"`, `"10s"`, `"7d"`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the shortest text that reads back as the same duration.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    /// Reads a duration.
    ///
    /// # Errors
    ///
    /// When the text is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format_args!("{text:?} is not a duration such as \"10s\": {error}")))
    }
}

/// A number of octets as text with units: `"64KiB"`, `"1MiB"`, or a plain number.
pub mod bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const UNITS: [(&str, usize); 7] = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("KB", 1_000),
        ("B", 1),
    ];

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(usize),
        Text(String),
    }

    /// Writes the largest unit that divides the number.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        let (unit, factor) =
            UNITS[..3].iter().find(|(_, factor)| *value != 0 && value.is_multiple_of(*factor)).unwrap_or(&("B", 1));
        serializer.collect_str(&format_args!("{}{unit}", value / factor))
    }

    /// Reads a size.
    ///
    /// # Errors
    ///
    /// When the text is no size.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(number),
            Written::Text(text) => parse(&text)
                .ok_or_else(|| D::Error::custom(format_args!("{text:?} is not a size such as \"64KiB\" or \"1MiB\""))),
        }
    }

    fn parse(text: &str) -> Option<usize> {
        let (digits, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits.trim_end(), *factor)))
            .unwrap_or((text, 1));
        digits.parse::<usize>().ok()?.checked_mul(factor)
    }

    #[cfg(test)]
    mod tests {
        use super::parse;

        #[test]
        fn sizes_read_with_and_without_units() {
            for (text, expected) in [
                ("64KiB", Some(65536)),
                ("1 MiB", Some(1 << 20)),
                ("10", Some(10)),
                ("10B", Some(10)),
                ("2KB", Some(2000)),
                ("-1", None),
                ("MiB", None),
                ("99999999999GiB", None),
            ] {
                assert_eq!(parse(text), expected, "{text}");
            }
        }
    }
}
