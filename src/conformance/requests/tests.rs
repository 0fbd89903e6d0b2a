use std::collections::BTreeSet;

use super::play::VERBS;
use super::*;

#[test]
fn every_file_has_a_title_and_every_step_a_verb() {
    let mut ids = BTreeSet::new();
    for (name, section) in sections() {
        assert!(!section.title.is_empty(), "{name} has no title");
        assert!(!section.transcripts.is_empty(), "{name} is empty");
        for transcript in section.transcripts {
            let at = format!("{name}.txt:{}", transcript.line);
            assert!(ids.insert(transcript.clauses[0].clone()), "{at}: {} is there twice", transcript.clauses[0]);
            assert!(transcript.clauses[0].starts_with('K') && !transcript.title.is_empty(), "{at}");
            assert!(!transcript.steps.is_empty(), "{at} has no steps");
            for step in &transcript.steps {
                assert!(
                    VERBS.split(' ').any(|verb| verb == step.verb),
                    "{name}.txt:{}: {:?} is no step",
                    step.line,
                    step.verb
                );
            }
            assert!(transcript.words("needs").all(Features::knows), "{at}: nobody knows what it needs");
            assert!(transcript.words("level").all(|level| level == "should"), "{at}");
        }
    }
    assert!(ids.len() > 100, "{} transcripts", ids.len());
}
