//! What a node that others can reach asks for before it starts; what never shows.

use super::{SECRET, token, with_tokens};
use crate::support::process::Launch;

#[test]
fn a_node_that_others_can_reach_does_not_start_without_a_proof() {
    let reachable = "[server]\nlisten = '0.0.0.0:0'\n";
    for arguments in [&["check-config"][..], &[]] {
        let ended = Launch::new(arguments).config(reachable).run();
        assert_eq!(ended.code, Some(1));
        for part in [".toml:2: server.listen: 0.0.0.0", "[identity.jwt]", "identity.anonymous = \"always\""] {
            assert!(ended.errors.contains(part), "{}", ended.errors);
        }
    }
    let says_so = format!("{reachable}[identity]\nanonymous = 'always'\n");
    for config in [&says_so, &format!("{reachable}{}", with_tokens(""))] {
        let ended = Launch::new(&["check-config"]).config(config).run();
        assert_eq!(ended.code, Some(0), "{config}: {}", ended.errors);
    }
}

#[test]
fn mistakes_are_found_before_anything_listens() {
    for (config, told) in [
        ("[identity.jwt]\n", "identity: jwt.secret: exactly one"),
        ("[identity.jwt]\npublic_key = 'none'\n", "identity.jwt.public_key: is no public key"),
        ("[[identity.user]]\nname = 'ann'\npassword_hash = 'hunter2-hunter2'\n", "\"ann\" is no argon2 hash"),
        ("[identity.callback]\nurl = 'http://example.com/'\n", "callback.url: http:// is for this machine"),
        ("[identity.jwt]\nsecret = { env = 'STAMPEDE_TEST_UNSET' }\n", "STAMPEDE_TEST_UNSET is not set"),
        ("[identity.jwt]\nsecret = 4711\n", "a text, { file"),
        ("[identity]\nanonymous = 'sometimes'\n", "sometimes"),
    ] {
        for arguments in [&["check-config"][..], &[]] {
            let ended = Launch::new(arguments).config(config).run();
            assert_eq!(ended.code, Some(1), "{config}");
            assert!(ended.errors.contains(told), "{config}: {}", ended.errors);
            assert!(!ended.errors.contains("hunter2") && !ended.errors.contains("4711"), "{}", ended.errors);
        }
    }
}

#[test]
fn a_hash_is_made_for_a_password_and_never_the_same_twice() {
    let hash = || {
        let ended = Launch::new(&["hash-password"]).input("hunter2\n").run();
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        ended.output.trim().to_owned()
    };
    let (first, second) = (hash(), hash());
    assert!(first.starts_with("$argon2id$v=19$") && !first.contains("hunter2"), "{first}");
    assert_ne!(first, second);
    assert_eq!(Launch::new(&["hash-password"]).input("\n").run().code, Some(1));
}

#[test]
fn secrets_are_shown_nowhere() {
    let config = format!("{}[log]\nfilter = 'trace'\n", with_tokens("passcode = true"));
    let token = token(&config, &["ann"]);
    let node = Launch::new(&[]).config(&config).serve();
    drop(super::accepted(&node, &[&format!("passcode:{token}")], Some("ann")));
    super::refused(&node, &[&format!("Authorization:Bearer {token}x"), "login:ben"], "not accepted");
    node.until_metric("stampede_sessions_closed_total", 2);
    let shown = node.errors() + &node.get("/metrics").1;
    let signature = token.rsplit('.').next().unwrap();
    assert!(!shown.contains(SECRET) && !shown.contains(signature), "a secret stands in what the node wrote");
}
