//! `stampede bench`: what it measures adds up, and what a server does wrong is found out.

mod wrong;

use serde_json::Value;

use crate::support::process::{self, Ended, Launch};
use wrong::Fault;

fn bench(url: &str, arguments: &[&str]) -> Ended {
    Launch::new(&[&["bench", url], arguments].concat()).run()
}

/// The figures of the only run, which must have been sound.
#[track_caller]
fn figures(url: &str, arguments: &[&str]) -> Value {
    let ended = bench(url, &[arguments, &["--json"]].concat());
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""), "{}", ended.output);
    let report: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!(report["sound"], true, "{report}");
    report["figures"].clone()
}

#[track_caller]
fn is_positive(figures: &Value, names: &[&str]) {
    for name in names {
        assert!(figures[name].as_f64().is_some_and(|value| value > 0.0), "{name}: {figures}");
    }
}

#[test]
fn messages_are_counted_and_timed_in_a_closed_and_an_open_loop() {
    let server = process::serve("");
    let (url, pid) = (format!("ws://{}/ws", server.address), server.pid().to_string());
    let times = ["p50_us", "p99_us", "p999_us", "max_us", "rate", "count"];
    let few = ["--messages", "400", "--seconds", "60", "--warm-up", "0", "--pid", &pid];
    for scenario in [
        &["fanout", "--subscribers", "7", "--publishers", "3", "--in-flight", "4"][..],
        &["fanout", "--subscribers", "7", "--rate", "2000"],
        &["fanout", "--subscribers", "7", "--threads", "3"],
        &["unicast", "--pairs", "5"],
        &["unicast", "--pairs", "5", "--rate", "2000", "--threads", "2"],
        &["topics", "--topics", "40", "--per-connection", "6", "--threads", "2"],
        &["topics", "--topics", "40", "--rate", "2000"],
    ] {
        let figures = figures(&url, &[scenario, &few].concat());
        is_positive(&figures, &times);
        for wrong in ["lost", "duplicates", "out_of_order", "misdirected"] {
            assert_eq!(figures[wrong], 0.0, "{scenario:?}: {figures}");
        }
        assert!(figures["cpu_us"].is_number(), "{figures}");
        assert_eq!(figures["lag_p99_us"].is_number(), scenario.contains(&"--rate"), "{figures}");
    }
}

#[test]
fn connections_come_stay_and_come_back() {
    let server = process::serve("");
    let (url, pid) = (format!("ws://{}/ws", server.address), server.pid().to_string());
    let made = figures(&url, &["connect", "--count", "100"]);
    assert_eq!(made["refused"], 0.0, "{made}");
    is_positive(&made, &["count", "rate", "p50_us"]);
    is_positive(&figures(&url, &["connect", "--rate", "200", "--count", "40"]), &["count", "rate", "p50_us"]);
    let back = figures(&url, &["reconnect", "--count", "50", "--rounds", "2", "--threads", "2"]);
    assert_eq!(back["count"], 100.0, "{back}");
    is_positive(&figures(&url, &["idle", "--count", "50", "--seconds", "1", "--pid", &pid]), &["with_kib"]);
    let slow = ["slow", "--seconds", "0.3", "--subscribers", "3", "--in-flight", "2", "--pid", &pid];
    is_positive(&figures(&url, &slow), &["rate_without", "rate_with", "p99_with_us"]);
}

#[test]
fn sockjs_routes_and_logins_can_be_told() {
    let hash = Launch::new(&["hash-password"]).input("bee\n").run().output;
    let server = process::serve(&format!(
        "[identity]\nanonymous = \"never\"\n[[identity.user]]\nname = \"ann\"\npassword_hash = \"{}\"\n\
         [[route]]\non = \"/app/to/{{n}}\"\nto = \"/topic/{{n}}\"\n[[endpoint]]\npath = \"/ws\"\n[endpoint.sockjs]\nallowed_origins = [\"http://a.test\"]",
        hash.trim()
    ));
    let url = format!("http://{}/ws", server.address);
    let few = ["unicast", "--messages", "50", "--pairs", "2", "--warm-up", "0", "--destination", "/topic/{n}"];
    let route = ["--send-to", "/app/to/{n}"];
    let user = ["--login", "ann", "--passcode", "bee"];
    let origin = ["--handshake-header", "Origin:http://a.test"];
    is_positive(&figures(&url, &[&few[..], &route, &user, &origin, &["--sockjs"]].concat()), &["count"]);
    let past_the_route = bench(&url, &[&few[..], &user, &origin].concat());
    assert!(past_the_route.errors.starts_with("bench: "), "{past_the_route:?}");
    assert!(past_the_route.errors.contains("ERROR"), "{past_the_route:?}");
    assert_eq!(bench(&url, &few).code, Some(1));
    let stranger = bench(&url, &[&few[..], &user, &["--handshake-header", "Origin:http://b.test"]].concat());
    assert!(stranger.errors.contains("403"), "{stranger:?}");
}

#[test]
fn nobody_there_is_said() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = bench(&format!("ws://{nobody}/ws"), &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("refused"), "{ended:?}");
    assert!(bench("ftp://127.0.0.1/", &[]).errors.contains("not a ws:// or wss:// URL"));
    assert!(bench(&format!("ws://{nobody}/ws"), &["--login", "ann", "--passcode"]).code == Some(2));
}

#[test]
fn a_server_that_confirms_no_subscription_is_measured_all_the_same() {
    let url = format!("ws://{}/", wrong::serve(Fault::Unconfirmed));
    let few = ["--messages", "100", "--warm-up", "0"];
    is_positive(&figures(&url, &[&["fanout", "--subscribers", "5"][..], &few].concat()), &["count"]);
    is_positive(&figures(&url, &[&["unicast", "--pairs", "5", "--proof", "echo"][..], &few].concat()), &["count"]);
}

#[test]
fn whatever_a_server_does_wrong_is_counted() {
    let all = ["lost", "duplicates", "out_of_order", "misdirected"];
    for (fault, wrong) in [
        (Fault::Lost, "lost"),
        (Fault::Twice, "duplicates"),
        (Fault::OutOfOrder, "out_of_order"),
        (Fault::Misdirected, "misdirected"),
    ] {
        let url = format!("ws://{}/", wrong::serve(fault));
        for pace in [["--in-flight", "16"], ["--rate", "5000"]] {
            let few = ["unicast", "--pairs", "3", "--messages", "600", "--warm-up", "0", "--patience", "1", "--json"];
            let ended = bench(&url, &[&few[..], &pace].concat());
            assert_eq!(ended.code, Some(1), "{fault:?}: {ended:?}");
            let report: Value = serde_json::from_str(&ended.output).unwrap();
            assert_eq!(report["sound"], false, "{report}");
            for name in all {
                // The last that was held back never came.
                let may_be = name == wrong || (name == "lost" && fault == Fault::OutOfOrder);
                let count = report["figures"][name].as_f64().unwrap();
                assert!(if name == wrong { count > 0.0 } else { may_be || count == 0.0 }, "{fault:?} {name}: {report}");
            }
        }
    }
    let url = format!("ws://{}/", wrong::serve(Fault::Changed));
    let ended = bench(&url, &["fanout", "--subscribers", "3", "--messages", "100"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("changed body"), "{ended:?}");
}
