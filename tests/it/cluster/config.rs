//! Redis and RabbitMQ come together or not at all.

use crate::support::process::{Ended, Launch};

/// Both ways to hear of it: asking, and starting.
#[track_caller]
fn is_refused(config: &str, because_of: &[&str]) {
    let check: Ended = Launch::new(&["check-config"]).config(config).run();
    let start: Ended = Launch::new(&["--listen", "127.0.0.1:0"]).config(config).run();
    for ended in [check, start] {
        assert_eq!(ended.code, Some(1), "{config}");
        because_of.iter().for_each(|text| assert!(ended.errors.contains(text), "{text} is not in {}", ended.errors));
    }
}

#[test]
fn one_section_without_the_other_is_refused() {
    is_refused("[redis]\nurl = 'redis://127.0.0.1:6379/0'\n", &["[rabbitmq]"]);
    is_refused("[rabbitmq]\nurl = 'amqp://guest:guest@127.0.0.1:5672/%2f'\n", &["[redis]"]);
}

#[test]
fn the_environment_counts_as_the_file_does() {
    let check = || Launch::new(&["check-config"]).env("STAMPEDE__REDIS__URL", "redis://127.0.0.1:6379/0");
    let alone = check().run();
    assert_eq!(alone.code, Some(1));
    assert!(alone.errors.contains("[rabbitmq]"), "{}", alone.errors);
    let both = check().env("STAMPEDE__RABBITMQ__URL", "amqp://guest:guest@127.0.0.1:5672/%2f").run();
    assert_eq!((both.code, &*both.errors), (Some(0), ""));
}

#[test]
fn values_that_cannot_work_are_refused() {
    let both = |redis: &str, rabbit: &str| format!("[redis]\n{redis}\n[rabbitmq]\n{rabbit}\n");
    is_refused(&both("url = 'http://127.0.0.1'", ""), &["redis", "url"]);
    is_refused(&both("", "url = 'redis://127.0.0.1'"), &["rabbitmq", "url"]);
    is_refused(&both("lease = '1s'\nlease_renewal = '2s'", ""), &["lease"]);
    is_refused(&format!("{}[server]\nnode_id = 'a/b'\n", both("", "")), &["node_id"]);
}
