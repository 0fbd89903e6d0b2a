//! Files of transcripts: what is in them, before anything is played.

/// A file of transcripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is about: its first line, without the `#`.
    pub title: String,
    /// Its transcripts, in order.
    pub transcripts: Vec<Transcript>,
}

/// One conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// The line it begins in, from 1.
    pub line: usize,
    /// The clauses it shows. The first is its id where ids are wanted.
    pub clauses: Vec<String>,
    /// What it shows, in words.
    pub title: String,
    /// Settings, as `in 1.1 1.2`: a word of those that were asked for, and what follows it.
    pub settings: Vec<(String, String)>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// Who does what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its line, from 1.
    pub line: usize,
    /// `A`, `B`, …
    pub who: String,
    /// What it does.
    pub verb: String,
    /// The rest of the line, as it is.
    pub rest: String,
}

impl Transcript {
    /// The words of a setting; none where it is not there.
    pub fn words<'a>(&'a self, setting: &str) -> impl Iterator<Item = &'a str> {
        let rests = self.settings.iter().filter(move |(name, _)| name == setting).map(|(_, rest)| rest.as_str());
        rests.flat_map(str::split_ascii_whitespace).collect::<Vec<_>>().into_iter()
    }
}

/// Reads a file. `settings` are the words that begin a setting; any other line within a transcript is a step.
#[must_use]
pub fn parse(text: &str, settings: &[&str]) -> Section {
    let mut section = Section { title: String::new(), transcripts: Vec::new() };
    for (line, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text)) {
        if let Some(head) = text.strip_prefix("## ") {
            let (clauses, title) = head.split_once("  ").unwrap_or((head, ""));
            section.transcripts.push(Transcript {
                line,
                clauses: clauses.split(' ').map(str::to_owned).collect(),
                title: title.to_owned(),
                settings: Vec::new(),
                steps: Vec::new(),
            });
        } else if let Some(title) = text.strip_prefix("# ")
            && section.title.is_empty()
        {
            title.trim_end_matches('.').clone_into(&mut section.title);
        } else if text.is_empty() || text.starts_with('#') {
            continue;
        } else if let Some(transcript) = section.transcripts.last_mut() {
            let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
            if settings.contains(&first) {
                transcript.settings.push((first.to_owned(), rest.to_owned()));
            } else {
                let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let (who, verb, rest) = (first.to_owned(), verb.to_owned(), rest.to_owned());
                transcript.steps.push(Step { line, who, verb, rest });
            }
        }
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read() {
        let text =
            "# Frames.\n# more\n\n## F01 S07  a frame\nin 1.1 1.2\nA connects\nA > SEND\\n k\n\n## F02\nB quiet\n";
        let section = parse(text, &["in"]);
        assert_eq!(section.title, "Frames");
        let [first, second] = section.transcripts.as_slice() else { panic!("{section:?}") };
        assert_eq!(first.clauses, ["F01", "S07"]);
        assert_eq!((first.line, first.title.as_str()), (4, "a frame"));
        assert_eq!(first.words("in").collect::<Vec<_>>(), ["1.1", "1.2"]);
        let steps: Vec<_> = first.steps.iter().map(|step| (step.line, &*step.who, &*step.verb, &*step.rest)).collect();
        assert_eq!(steps, [(6, "A", "connects", ""), (7, "A", ">", "SEND\\n k")]);
        assert_eq!(second.steps[0].verb, "quiet");
    }
}
