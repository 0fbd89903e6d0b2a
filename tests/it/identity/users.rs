//! Users with passwords.

use super::{accepted, refused};
use crate::support::process::{Launch, serve};

fn config() -> String {
    let made = Launch::new(&["hash-password"]).input("hunter2\n").run();
    format!(
        "[[identity.user]]\nname = 'ann'\npassword_hash = '{}'\nclaims = {{ role = 'editor' }}\n",
        made.output.trim()
    )
}

#[test]
fn only_the_right_password_lets_in() {
    let node = serve(&config());
    let mut ann = accepted(&node, &["login:ann", "passcode:hunter2"], Some("ann"));
    for headers in [
        &["login:ann", "passcode:hunter3"][..],
        &["login:ann", "passcode:"],
        &["login:ann"],
        &["login:ben", "passcode:hunter2"],
    ] {
        refused(&node, headers, "login or passcode is wrong");
    }
    refused(&node, &[], "nothing that proves who you are");
    refused(&node, &["login:", "passcode:hunter2"], "nothing that proves who you are");
    ann.subscribe("0", "/user/queue/x");
    assert!(node.get("/metrics").1.contains("stampede_identified_total{reason=\"password\"} 5"));
    node.is_well();
}

#[test]
fn what_is_known_of_a_user_serves_routes() {
    let route = "[[route]]\non = '/app/who'\nto = '/user/{user}/queue/who'\njson = { role = '{user.role}' }\n";
    let node = serve(&format!("{}{route}", config()));
    let mut ann = accepted(&node, &["login:ann", "passcode:hunter2"], Some("ann"));
    ann.subscribe("0", "/user/queue/who");
    ann.send("SEND\ndestination:/app/who\n\n\0");
    ann.message(r#"{"role":"editor"}"#);
}

#[test]
fn without_a_proof_somebody_may_come_in_as_nobody_where_that_is_said() {
    let node = serve(&format!("[identity]\nanonymous = 'always'\n{}", config()));
    accepted(&node, &[], None);
    accepted(&node, &["login:ann", "passcode:hunter2"], Some("ann"));
    // Who claims to be somebody has to prove it.
    refused(&node, &["login:ann", "passcode:no"], "login or passcode is wrong");
}
