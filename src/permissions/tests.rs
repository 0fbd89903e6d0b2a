use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::permissions::RuleConfig;
use crate::destination::{Destinations, Kind, generate, is_pattern};

fn rule(pattern: &str, subscribe: &str, when: Option<&str>) -> RuleConfig {
    let effect = Some(if subscribe == "allow" { Effect::Allow } else { Effect::Deny });
    RuleConfig {
        pattern: pattern.to_owned(),
        send: effect,
        subscribe: effect,
        when: when.map(str::to_owned),
        name: None,
    }
}

fn permissions(rules: &[(&str, &str)]) -> Permissions {
    let rules: Vec<RuleConfig> = rules
        .iter()
        .map(|(written, effect)| match written.split_once(" if ") {
            Some((pattern, when)) => rule(pattern, effect, Some(when)),
            None => rule(written, effect, None),
        })
        .collect();
    check(&rules, &Destinations::default(), "", "").unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What the gate says to a SUBSCRIBE as a client writes it.
fn subscribes(gate: &Gate, user: Option<&str>, destination: &str) -> Result<(), Denial> {
    let destinations = Destinations::default();
    let kind = destinations.subscription(destination);
    let (name, wild) = match &kind {
        Kind::UserOwn(rest) => (destinations.user_destination(user.unwrap_or("-"), rest), is_pattern(rest)),
        _ => (destination.to_owned(), is_pattern(destination)),
    };
    let claims = || Some(Arc::new(json!({ "rooms": ["34", "35"], "id": 12 })));
    let asking = Asking::new(user, "n1-s1", &claims);
    let pattern = Pattern::parse(&name).unwrap();
    let target = if wild { Target::Pattern(&pattern) } else { Target::Exact(&name) };
    gate.ask(None, Verb::Subscribe, &kind, target, &asking)
}

fn sends(gate: &Gate, user: Option<&str>, destination: &str) -> Result<(), Denial> {
    let kind = Destinations::default();
    let kind = kind.send_target(destination);
    let claims = || None;
    gate.ask(None, Verb::Send, &kind, Target::Exact(destination), &Asking::new(user, "n1-s1", &claims))
}

fn gate(profile: Profile, rules: &[(&str, &str)]) -> Gate {
    Gate::new(permissions(rules), profile, true, &Destinations::default())
}

#[track_caller]
fn table(gate: &Gate, user: Option<&str>, cases: &[(&str, bool)]) {
    for (destination, expected) in cases {
        let found = subscribes(gate, user, destination);
        assert_eq!(found.is_ok(), *expected, "SUBSCRIBE {destination} by {user:?}: {found:?}");
    }
}

#[test]
fn guarded_opens_what_is_public_or_ones_own() {
    let gate = gate(Profile::Guarded, &[]);
    let cases = [
        ("/topic/news", true),
        ("/topic/*", true),
        ("/topic/{a}/{b}", true),
        ("/topic/**", false),
        ("/topic/**/b", false),
        ("/queue/x-userabc", true),
        ("/user/queue/x", true),
        ("/user/queue/**", true),
        ("/user/ann/queue/x", true),
        ("/user/ann/**", true),
        ("/user/ann/12/queue/chat", true),
        ("/user/bob/queue/x", false),
        ("/user/bob/queue/*", false),
        ("/user/*/queue/x", false),
        ("/user/{who}/queue/x", false),
        ("/user/a?n/queue/x", false),
        ("/user/ann*/queue/x", false),
        ("/user/**", false),
        ("/user/**/queue/x", false),
        ("/user/Ann/queue/x", false),
        ("/user/ann%20/queue/x", false),
        ("/user/\u{430}nn/queue/x", false),
        ("/user/n1-s1/queue/x", false),
        ("/app/anything", true),
    ];
    table(&gate, Some("ann"), &cases);
    for (destination, expected) in
        [("/app/x", true), ("/topic/x", false), ("/queue/x", false), ("/user/ann/queue/x", false), ("/nowhere", true)]
    {
        assert_eq!(sends(&gate, Some("ann"), destination).is_ok(), expected, "SEND {destination}");
    }
    assert!(!gate.is_open());
}

#[test]
fn names_of_users_are_no_patterns_and_are_compared_decoded() {
    let gate = gate(Profile::Guarded, &[]);
    table(&gate, Some("a/b"), &[("/user/a%2Fb/queue/x", true), ("/user/queue/x", true), ("/user/a/b/queue/x", false)]);
    table(&gate, Some("a%2Fb"), &[("/user/a%2Fb/queue/x", false)]);
    table(&gate, Some("*"), &[("/user/*/queue/x", false), ("/user/queue/x", true)]);
    table(&gate, Some("a{b}"), &[("/user/a{b}/queue/x", false), ("/user/queue/x", true)]);
    table(&gate, None, &[("/user/bob/queue/x", false), ("/user//queue/x", true)]);
}

#[test]
fn spring_opens_everything_but_patterns_over_several_users() {
    let gate = gate(Profile::Spring, &[]);
    let cases = [
        ("/topic/**", true),
        ("/user/bob/queue/x", true),
        ("/user/bob/queue/**", true),
        ("/user/*/queue/x", false),
        ("/user/b*/queue/x", false),
        ("/user/**", false),
    ];
    table(&gate, Some("ann"), &cases);
    assert!(gate.is_open());
    assert!(sends(&gate, None, "/user/bob/queue/x").is_ok());
}

#[test]
fn a_short_broker_prefix_opens_no_users() {
    let destinations = Destinations::new(["/"], "/app", "/user");
    let gate = Gate::new(Permissions::default(), Profile::Spring, true, &destinations);
    let claims = || None;
    let asking = Asking::new(Some("ann"), "s", &claims);
    for (text, expected) in [("/**", false), ("/{a}/bob/queue/x", false), ("/us*r/bob/**", false), ("/topic/**", true)]
    {
        let pattern = Pattern::parse(text).unwrap();
        let kind = destinations.subscription(text);
        let found = gate.ask(None, Verb::Subscribe, &kind, Target::Pattern(&pattern), &asking);
        assert_eq!(found.is_ok(), expected, "{text}");
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = [
        ("/topic/secret", "deny"),
        ("/topic/chat/{room} if room in user.rooms", "allow"),
        ("/topic/chat/**", "deny"),
        ("/topic/**", "allow"),
        ("/user/{user}/queue/audit", "deny"),
        ("/user/*/topic/users if user == 'bob'", "allow"),
    ];
    let gate = gate(Profile::Guarded, &rules);
    let cases = [
        ("/topic/secret", false),
        ("/topic//secret", false),
        ("/topic/secret/", false),
        ("/topic/secret//", false),
        ("/topic/secret/../x", true),
        ("/topic/secret\u{7}", true),
        ("/topic/secr%65t", true),
        ("/topic/\u{455}ecret", true),
        ("/topic/secre?", false),
        ("/topic/{x}", false),
        ("/topic/**", false),
        ("/topic/a/**", true),
        ("/topic/chat/34", true),
        ("/topic/chat/36", false),
        ("/topic/chat/34/", false),
        ("/topic/chat//34", true),
        ("/topic/chat/3*", false),
        ("/topic/chat/{room}", false),
        ("/topic/chat/*", false),
        ("/topic/chat", false),
        ("/user/queue/audit", false),
        ("/user/ann/queue/audit", false),
        ("/user/queue/*", false),
        ("/user/queue/other", true),
        ("/user/34/topic/users", false),
    ];
    table(&gate, Some("ann"), &cases);
    table(&gate, Some("bob"), &[("/user/34/topic/users", true), ("/user/*/topic/users", true), ("/user/*/x/y", false)]);
    assert!(sends(&gate, Some("ann"), "/topic/open").is_ok());
    assert!(sends(&gate, Some("ann"), "/topic/secret").is_err());
    // Without claims.
    assert!(sends(&gate, Some("ann"), "/topic/chat/34").is_err());
}

#[test]
fn own_user_in_a_rule_is_one_segment() {
    let gate = gate(Profile::Guarded, &[("/topic/of/{user}/**", "allow"), ("/topic/of/**", "deny")]);
    let own = |name: &str| format!("/topic/of/{name}/x");
    for (user, name, expected) in [
        (Some("ann"), "ann", true),
        (Some("ann"), "bob", false),
        (Some("ann"), "*", false),
        (Some("a/b"), "a%2Fb", true),
        (Some("a/b"), "a/b", false),
        (Some("a%2Fb"), "a%2Fb", false),
        (Some("**"), "bob", false),
        (Some("*"), "*", false),
        (Some("{user}"), "bob", false),
        (None, "", false),
        (None, "ann", false),
    ] {
        assert_eq!(subscribes(&gate, user, &own(name)).is_ok(), expected, "{user:?} {name}");
    }
    assert!(subscribes(&gate, Some("ann"), "/topic/of/ann/**").is_ok());
    assert!(subscribes(&gate, Some("ann"), "/topic/of/{user}/**").is_err());
    // Exactly what it is called, not what it would match.
    assert!(sends(&gate, Some("*"), "/topic/of/*/x").is_ok());
    assert!(sends(&gate, Some("*"), "/topic/of/bob/x").is_err());
}

#[test]
fn conditions_are_decided_where_a_pattern_leaves_nothing_open() {
    let rules = [
        ("/topic/chat/{room}/** if room in user.rooms", "allow"),
        ("/topic/deep/**/{room}/x if room in user.rooms", "allow"),
        ("/topic/not/{room} if room != '99'", "allow"),
        ("/topic/here/* if destination != '/topic/here/99'", "allow"),
        ("/topic/out/{room} if room == '99'", "deny"),
        ("/topic/out/*", "allow"),
    ];
    let gate = gate(Profile::Guarded, &rules);
    let closed = Gate::new(
        permissions(&[&rules[..], &[("/topic/**", "deny")]].concat()),
        Profile::Guarded,
        true,
        &Destinations::default(),
    );
    let cases = [
        ("/topic/chat/34/*", true),
        ("/topic/chat/36/*", false),
        ("/topic/chat/*/a", false),
        ("/topic/deep/a/34/x", true),
        ("/topic/deep/*/34/x", false),
        ("/topic/not/{room}", false),
        ("/topic/not/1", true),
        ("/topic/not/99", false),
        ("/topic/here/*", false),
        ("/topic/here/9", true),
        ("/topic/out/*", false),
        ("/topic/out/1", true),
        ("/topic/out/99", false),
    ];
    table(&closed, Some("ann"), &cases);
    // What a condition might deny a part of is denied whole.
    table(&gate, Some("ann"), &[("/topic/chat/34/**", true), ("/topic/out/a?", false)]);
}

#[test]
fn a_denial_names_what_decided() {
    let gate = gate(Profile::Guarded, &[("/topic/x", "deny")]);
    let denial = subscribes(&gate, Some("ann"), "/topic/x").unwrap_err();
    assert_eq!(denial.message, "SUBSCRIBE to \"/topic/x\": forbidden by permissions.rule \"/topic/x\"");
    assert_eq!(denial.by, "rule");
    let denial = sends(&gate, Some("ann"), "/topic/y").unwrap_err();
    assert_eq!(
        denial.message,
        "SEND to \"/topic/y\": forbidden by profile guarded: clients send to broker destinations through routes; \
         allow it with [[permissions.rule]] match = \"/topic/y\", send = \"allow\""
    );
    assert_eq!(denial.by, "profile");
}

#[test]
fn rules_of_the_user_come_first_and_are_bounded() {
    let destinations = Destinations::default();
    let own = Permissions::of_user(&[rule("/topic/x", "allow", None)], &destinations).unwrap();
    let gate = gate(Profile::Guarded, &[("/topic/**", "deny")]);
    let claims = || None;
    let asking = Asking::new(Some("ann"), "s", &claims);
    let ask = |text: &str| gate.ask(Some(&own), Verb::Send, &Kind::Broker, Target::Exact(text), &asking);
    assert!(ask("/topic/x").is_ok() && ask("/topic/y").is_err());

    let many = vec![rule("/topic/x", "allow", None); MAX_OWN_RULES + 1];
    assert!(Permissions::of_user(&many, &destinations).unwrap_err().contains("65 rules"));
    let large = rule(&format!("/topic/{}", "x".repeat(MAX_OWN_SIZE)), "allow", None);
    assert!(Permissions::of_user(&[large], &destinations).unwrap_err().contains("octets"));
    let wrong = rule("/topics*/{x", "allow", Some("x =="));
    assert!(Permissions::of_user(&[wrong], &destinations).is_err());
}

#[test]
fn rules_that_could_never_match_are_mistakes() {
    let destinations = Destinations::default();
    for (pattern, when, expected) in [
        ("topic/x", None, "matches no destination"),
        ("/user/queue/x", None, "/user/{user}/queue/x"),
        ("/topic/a-{user}", None, "whole segment"),
        ("/topic/{session}", None, "meaning of its own"),
        ("/topic/{user.id}", None, "meaning of its own"),
        ("/topic/{a}/{a}", None, "twice"),
        ("/topic/{a:[0-9]}", None, "regular expressions"),
        ("/topic/{a}", Some("b == user"), "unknown variable {b}"),
        ("/topic/{a}", Some("body == user"), "unknown variable {body}"),
    ] {
        let problems = check(&[rule(pattern, "deny", when)], &destinations, "", "").unwrap_err();
        let found = problems.iter().map(ToString::to_string).collect::<String>();
        assert!(found.contains(expected), "{pattern}: {found}");
    }
    for pattern in ["/**", "/topic/**", "/topicality", "/user/*/queue/x", "/user/{user}/**", "/app/x", "/*/x"] {
        assert!(check(&[rule(pattern, "deny", None)], &destinations, "", "").is_ok(), "{pattern}");
    }
}

fn random_rules() -> impl Strategy<Value = Permissions> {
    prop::collection::vec((generate::pattern(), any::<bool>()), 1..5).prop_map(|rules| {
        let mut permissions = Permissions::default();
        for (pattern, allow) in rules {
            let effect = Some(if allow { Effect::Allow } else { Effect::Deny });
            permissions.add(Rule {
                name: pattern.as_str().into(),
                wide: pattern.by_segment(),
                narrow: pattern,
                by_user: false,
                send: effect,
                subscribe: effect,
                when: None,
            });
        }
        permissions
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_pattern_that_is_allowed_matches_nothing_that_is_denied(
        rules in random_rules(), pattern in generate::pattern(), destination in generate::destination(),
    ) {
        let claims = || None;
        let asking = Asking::new(None, "s", &claims);
        let whole = rules.decide(Verb::Subscribe, Target::Pattern(&pattern), &asking);
        if whole == Some(Decision::Allowed) && pattern.matches(&destination) {
            let part = rules.decide(Verb::Subscribe, Target::Exact(&destination), &asking);
            prop_assert_eq!(part, Some(Decision::Allowed), "{} {}", pattern.as_str(), destination);
        }
        // And what no rule denies as a whole is denied nowhere: the profile may open it.
        if whole.is_none() && pattern.matches(&destination) {
            let part = rules.decide(Verb::Subscribe, Target::Exact(&destination), &asking);
            let opened = part.is_none() || part == Some(Decision::Allowed);
            prop_assert!(opened, "{} {}", pattern.as_str(), destination);
        }
    }

    #[test]
    fn the_index_finds_what_a_look_at_each_rule_finds(
        rules in random_rules(), destination in generate::destination(),
    ) {
        let claims = || None;
        let asking = Asking::new(None, "s", &claims);
        let trimmed = destination.trim_end_matches('/');
        let each = rules.rules.iter().find_map(|rule| rule.decide_exact(Verb::Send, &destination, trimmed, &asking));
        prop_assert_eq!(rules.decide(Verb::Send, Target::Exact(&destination), &asking), each);
    }
}
