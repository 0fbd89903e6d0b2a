use super::*;

#[track_caller]
fn check(pattern: &str, matching: &[&str], other: &[&str]) {
    check_separated(pattern, SLASH, matching, other);
}

#[track_caller]
fn check_separated(pattern: &str, separator: char, matching: &[&str], other: &[&str]) {
    let parsed = Pattern::with_separator(pattern, separator).unwrap();
    for destination in matching {
        assert!(parsed.matches(destination), "{pattern} must match {destination}");
        assert!(parsed.captures(destination).is_some(), "{pattern} must capture from {destination}");
    }
    for destination in other {
        assert!(!parsed.matches(destination), "{pattern} must not match {destination}");
        assert!(parsed.captures(destination).is_none(), "{pattern} must not capture from {destination}");
    }
}

#[test]
fn patterns_mean_what_they_mean_in_spring() {
    check("/topic/*", &["/topic/a", "/topic/", "/topic//a"], &["/topic", "/topic/a/", "/topic/a/b", "topic/a"]);
    check(
        "/topic/**",
        &["/topic", "/topic/", "/topic/a", "/topic/a/", "/topic/a/b/c"],
        &["/topical", "/queue/a", "topic/a"],
    );
    check("/topic/?", &["/topic/a", "/topic/é"], &["/topic/12", "/topic/", "/topic"]);
    check("/topic/{x}", &["/topic/a", "/topic//a"], &["/topic/", "/topic", "/topic/a/b", "/topic/a/"]);
    check("/topic/**/b", &["/topic/b", "/topic/a/b", "/topic/a/c/b"], &["/topic/b/", "/topic/bb", "/topic"]);
    check("/topic/**/*", &["/topic/a", "/topic/a/b"], &["/topic", "/topic/", "/topic/a/"]);
    check("/topic/a/**", &["/topic/a", "/topic/a/", "/topic/a/x"], &["/topic/ab", "/topic"]);
    check("/topic/*.x", &["/topic/a.x", "/topic/.x"], &["/topic/a.y", "/topic/a.x/b"]);
    check("/topic/{a}-{b}", &["/topic/1-2", "/topic/-"], &["/topic/12"]);
    check("/topic/*/", &["/topic/a/", "/topic//"], &["/topic/a"]);
    check("/**", &["/", "/a", "/a/b/"], &["a", ""]);
    check("/**/a/**/b", &["/a/b", "/x/a/y/a/b", "/a/a/b/b"], &["/b/a", "/a", "/a/b/"]);
    check("/a/**/b/**/c", &["/a/b/c", "/a/x/b/y/z/b/c"], &["/a/c", "/a/b/b"]);
    check("*", &["a", "a b"], &["a/b", "/a"]);
}

#[test]
fn a_text_without_wildcards_matches_itself_only() {
    check("/topic/a", &["/topic/a"], &["/topic//a", "/topic/a/", "/topic/A"]);
    check("/topic/{", &["/topic/{"], &["/topic/a"]);
    assert!(Pattern::parse("/topic/a").unwrap().is_plain());
}

#[test]
fn with_dots_the_slash_is_an_ordinary_character() {
    check_separated("/topic/a.*", '.', &["/topic/a.b"], &["/topic/a.b.c", "/topic/a"]);
    check_separated("/topic/a.**", '.', &["/topic/a", "/topic/a.b.c"], &["/topic/b"]);
    check_separated("/topic/*", '.', &["/topic/a/b"], &["/topic/a.b"]);
}

#[test]
fn regular_expressions_and_endless_patterns_are_refused() {
    assert_eq!(Pattern::parse("/topic/{x:[0-9]+}"), Err(PatternError::RegularExpression));
    assert_eq!(Pattern::parse(&"/*".repeat(MAX_SEGMENTS + 1)), Err(PatternError::TooManySegments));
    assert_eq!(Pattern::parse(&"/**".repeat(MAX_WILDCARDS + 1)), Err(PatternError::TooManyWildcards));
    assert!(Pattern::parse(&"/*".repeat(MAX_SEGMENTS)).is_ok());
}

#[test]
fn captures_name_the_segments() {
    let pattern = Pattern::parse("/app/chat/{from}/{to}/{blogId}").unwrap();
    let captures = pattern.captures("/app/chat/alice/bob/34").unwrap();
    assert_eq!(captures.iter().collect::<Vec<_>>(), [("from", "alice"), ("to", "bob"), ("blogId", "34")]);
    let pattern = Pattern::parse("/a/**/{last}").unwrap();
    assert_eq!(pattern.captures("/a/b/c/d").unwrap().get("last"), Some("d"));
    let pattern = Pattern::parse("/a/**/x/{after}/**").unwrap();
    assert_eq!(pattern.captures("/a/x/1/x/2").unwrap().get("after"), Some("1"));
}

#[test]
fn the_narrower_pattern_comes_first() {
    let order = ["/app/a/b", "/app/a/*.x", "/app/a/{x}", "/app/a/*", "/app/**/b", "/app/*/{x}", "/app/a/**", "/**"];
    let order = order.map(|text| (Pattern::parse(text).unwrap().specificity(), text));
    for pair in order.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{} before {}", pair[0].1, pair[1].1);
    }
    let same = |a: &str, b: &str| Pattern::parse(a).unwrap().specificity() == Pattern::parse(b).unwrap().specificity();
    assert!(same("/app/{a}/x", "/app/y/{b}") && same("/app/{long}", "/app/{x}"));
}

#[test]
fn a_pattern_holds_a_star_a_question_mark_or_a_pair_of_braces() {
    assert!(is_pattern("/a/*") && is_pattern("/a?") && is_pattern("{x}") && is_pattern("/{a/b}"));
    assert!(!is_pattern("/a/b") && !is_pattern("}{") && !is_pattern("{a"));
}

#[test]
fn the_worst_pattern_is_matched_within_the_product_of_the_lengths() {
    let pattern = Pattern::parse(&"/**/a".repeat(MAX_SEGMENTS / 2)).unwrap();
    assert!(!pattern.matches(&format!("{}/b", "/a".repeat(5_000))));
}
