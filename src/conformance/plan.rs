//! What is to be played: which transcripts, at which versions, over which carriers.

use super::library::{self, File};
use super::script::Transcript;
use super::server::Server;
use super::verdict::Level;
use crate::client::carrier::Carrier;

/// The versions of STOMP, from the oldest.
pub const VERSIONS: [&str; 3] = ["1.0", "1.1", "1.2"];

/// What somebody wants to know.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Only these versions.
    pub versions: Vec<String>,
    /// Only these carriers.
    pub carriers: Vec<Carrier>,
    /// Whether to play what SockJS asks.
    pub sockjs: bool,
    /// Only transcripts with an id or clause that begins with one of these, or whose section has it in its title; empty for all.
    pub only: Vec<String>,
    /// Leave out what a specification only recommends.
    pub must: bool,
}

/// One transcript to play.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// The file it is in.
    pub file: &'a File,
    /// The transcript.
    pub transcript: &'a Transcript,
    /// How much it asks.
    pub level: Level,
    /// At which version over what; `None` for what SockJS asks.
    pub stomp: Option<(&'a str, Carrier)>,
}

/// All files, in the order in which they are told.
#[derive(Debug)]
pub struct Library {
    stomp: Vec<File>,
    sockjs: Vec<File>,
}

impl Default for Library {
    fn default() -> Self {
        Self { stomp: library::stomp(), sockjs: library::sockjs() }
    }
}

impl Library {
    /// What is to be played.
    #[must_use]
    pub fn plan<'a>(&'a self, wanted: &Wanted) -> Vec<Case<'a>> {
        let mut cases = Vec::new();
        for &carrier in &wanted.carriers {
            for (file, transcript) in all(&self.stomp).filter(|(file, transcript)| wanted.has(file, transcript)) {
                let overs: Vec<&str> = transcript.words("over").collect();
                if !overs.is_empty() && !overs.contains(&carrier.name()) {
                    continue;
                }
                let versions: Vec<&str> = transcript.words("in").collect();
                for version in VERSIONS {
                    let there = versions.is_empty() || versions.contains(&version);
                    if there && wanted.versions.iter().any(|wanted| wanted == version) {
                        let level = level(transcript);
                        cases.push(Case { file, transcript, level, stomp: Some((version, carrier)) });
                    }
                }
            }
        }
        if wanted.sockjs {
            let sockjs = all(&self.sockjs).filter(|(file, transcript)| wanted.has(file, transcript));
            cases.extend(sockjs.map(|(file, transcript)| Case {
                file,
                transcript,
                level: level(transcript),
                stomp: None,
            }));
        }
        cases
    }
}

fn all(files: &[File]) -> impl Iterator<Item = (&File, &Transcript)> {
    files.iter().flat_map(|file| file.section.transcripts.iter().map(move |transcript| (file, transcript)))
}

fn level(transcript: &Transcript) -> Level {
    if transcript.words("level").any(|word| word == "should") { Level::Should } else { Level::Must }
}

impl Wanted {
    fn has(&self, file: &File, transcript: &Transcript) -> bool {
        if self.must && level(transcript) == Level::Should {
            return false;
        }
        let title = file.section.title.to_lowercase();
        let fits = |only: &String| {
            transcript.clauses.iter().any(|clause| clause.starts_with(only.as_str()))
                || title.contains(&only.to_lowercase())
        };
        self.only.is_empty() || self.only.iter().any(fits)
    }
}

impl Case<'_> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.transcript.clauses.first().map_or("", String::as_str)
    }

    /// Why it cannot be played against this server, if it cannot.
    #[must_use]
    pub fn hindrance(&self, server: &Server) -> Option<String> {
        for need in self.transcript.words("needs") {
            let missing = match need {
                "queue" if server.queue.is_none() => {
                    "no destination is known whose messages go to one subscriber each (--queue)"
                }
                "refused" if server.refused.is_none() => "no destination is known that clients may not use (--refused)",
                "login" if server.way.login.is_none() => "nobody has to say who they are (--login)",
                "slow" if !server.slow => "takes long; --slow plays it",
                _ => continue,
            };
            return Some(missing.to_owned());
        }
        let (_, carrier) = self.stomp?;
        let octets = self.transcript.steps.iter().any(|step| matches!(&*step.verb, ">>" | "binary"));
        (octets && !carrier.carries_octets()).then(|| "SockJS carries text only".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn wanted() -> Wanted {
        let versions = VERSIONS.map(str::to_owned).to_vec();
        Wanted { versions, carriers: vec![Carrier::WebSocket], sockjs: true, only: Vec::new(), must: false }
    }

    #[test]
    fn every_transcript_has_an_id_of_its_own() {
        let library = Library::default();
        let mut ids = BTreeSet::new();
        for (file, transcript) in all(&library.stomp).chain(all(&library.sockjs)) {
            let id = &transcript.clauses[0];
            assert!(ids.insert(id), "{}:{}: {id} is there twice", file.path, transcript.line);
            assert!(!transcript.title.is_empty() && !transcript.steps.is_empty(), "{}:{}", file.path, transcript.line);
        }
        assert!(ids.len() > 200, "{}", ids.len());
    }

    #[test]
    fn settings_mean_something() {
        let known = |setting: &str, word: &str| match setting {
            "in" => VERSIONS.contains(&word),
            "level" => word == "should",
            "needs" => ["queue", "refused", "login", "slow"].contains(&word),
            "over" => word.parse::<Carrier>().is_ok(),
            _ => false,
        };
        let library = Library::default();
        for (file, transcript) in all(&library.stomp) {
            for setting in play_settings() {
                for word in transcript.words(setting) {
                    assert!(known(setting, word), "{}:{}: {setting} {word}", file.path, transcript.line);
                }
            }
        }
    }

    fn play_settings() -> [&'static str; 4] {
        crate::conformance::play::SETTINGS
    }

    #[test]
    fn a_plan_has_what_is_wanted() {
        let library = Library::default();
        let whole = library.plan(&wanted());
        let narrow = library.plan(&Wanted { versions: vec!["1.1".into()], sockjs: false, ..wanted() });
        assert!(narrow.len() > 100 && narrow.len() < whole.len());
        assert!(narrow.iter().all(|case| case.stomp == Some(("1.1", Carrier::WebSocket))));
        let h05 = library.plan(&Wanted { only: vec!["H05".into()], ..wanted() });
        assert_eq!(h05.iter().map(|case| case.stomp.unwrap().0).collect::<Vec<_>>(), ["1.1"]);
        let escapes = library.plan(&Wanted { only: vec!["escapes".into()], ..wanted() });
        assert!(escapes.len() > 10 && escapes.iter().all(|case| case.file.path.ends_with("escapes.txt")));
        assert!(library.plan(&Wanted { must: true, ..wanted() }).len() < whole.len());
    }
}
