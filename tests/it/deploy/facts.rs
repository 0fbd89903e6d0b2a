//! Facts that stand in several files, and what the programs say that read them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use saphyr::{LoadableYamlNode as _, YamlOwned};
use stampede::config::Config;
use stampede::config::load::parse;

use super::proxy::{check_haproxy, check_nginx, free_address};
use super::{path, read};
use crate::support::process::Launch;

/// What the environment adds to the file, without which nobody could prove anything.
const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn the_cluster_configuration_is_good() {
    let ended = Launch::new(&["check-config"])
        .config(&read("stampede.toml"))
        .env("STAMPEDE__REDIS__URL", "redis://:secret@redis:6379/0")
        .env("STAMPEDE__RABBITMQ__URL", "amqp://stampede:secret@rabbitmq:5672/%2f")
        .env("STAMPEDE__IDENTITY__JWT__SECRET", JWT_SECRET)
        .run();
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let config = config();
    assert!(config.redis.is_some() && config.rabbitmq.is_some() && !config.demo.enabled);
    assert!(config.server.node_id.is_none() && config.server.listen.ip().is_unspecified());
}

#[test]
fn haproxy_accepts_its_file_without_a_warning() {
    let checked = check_haproxy([free_address(); 3]);
    assert!(checked.status.success() && !said(&checked).contains("WARNING"), "{}", said(&checked));
}

#[test]
fn nginx_accepts_its_file() {
    let checked = check_nginx([free_address(); 3]);
    assert!(checked.status.success() && !said(&checked).contains("[emerg]"), "{}", said(&checked));
}

/// Not every machine that runs the tests is run by systemd.
#[test]
fn systemd_accepts_the_unit() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("stampede.service");
    // It wants the program to be there.
    let text = read("stampede.service").replace("/usr/local/bin/stampede", env!("CARGO_BIN_EXE_stampede"));
    std::fs::write(&unit, text).unwrap();
    if let Ok(checked) = Command::new("systemd-analyze").arg("verify").arg(&unit).output() {
        assert!(checked.status.success() && said(&checked).trim().is_empty(), "{}", said(&checked));
    }
}

/// SIGKILL must not meet a node that still closes sessions.
#[test]
fn whoever_stops_a_node_waits_longer_than_it_drains() {
    let drain = config().server.shutdown_grace;
    let least = drain + Duration::from_secs(5);

    let compose = &yaml("docker-compose.yml")[0];
    for node in nodes() {
        let period = text(&compose["services"][node.as_str()]["stop_grace_period"]);
        assert!(humantime::parse_duration(&period).unwrap() >= least, "docker-compose.yml: {node}: {period}");
    }

    let period = setting(&read("stampede.service"), "TimeoutStopSec=");
    assert!(humantime::parse_duration(&period).unwrap() >= least, "stampede.service: {period}");

    let pod = &yaml("kubernetes/deployment.yaml")[0]["spec"]["template"]["spec"];
    let before = number(&pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]);
    let period = number(&pod["terminationGracePeriodSeconds"]);
    assert!(Duration::from_secs(period) >= least + Duration::from_secs(before), "deployment.yaml: {period} s");
}

/// More sessions of a node than it may have open files would be refused.
#[test]
fn nodes_may_open_as_many_files_as_they_have_connections() {
    let connections = config().server.connections as u64;
    assert!(setting(&read("stampede.service"), "LimitNOFILE=").parse::<u64>().unwrap() > connections + 1024);
    let compose = &yaml("docker-compose.yml")[0];
    for node in nodes() {
        assert!(number(&compose["services"][node.as_str()]["ulimits"]["nofile"]) > connections + 1024);
    }
}

#[test]
fn ports_and_paths_are_the_same_everywhere() {
    let config = config();
    let port = u64::from(config.server.listen.port());
    let compose = &yaml("docker-compose.yml")[0];
    let haproxy = read("haproxy.cfg");
    for (at, node) in (1..).zip(nodes()) {
        let address = format!("{node}:{port}");
        assert_eq!(text(&compose["services"][node.as_str()]["expose"][0]), port.to_string());
        assert_eq!(text(&compose["services"]["haproxy"]["environment"][format!("NODE{at}").as_str()]), address);
        assert_eq!(setting(&haproxy, &format!("presetenv NODE{at} ")), address);
    }
    assert_eq!(setting(&read("Dockerfile"), "EXPOSE "), port.to_string());

    let container = &yaml("kubernetes/deployment.yaml")[0]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(number(&container["ports"][0]["containerPort"]), port);
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"], "{probe}");
    }
    let services = yaml("kubernetes/service.yaml");
    for service in &services {
        assert_eq!(service["spec"]["ports"][0]["targetPort"], container["ports"][0]["name"]);
    }
    let path = &config.endpoint[0].path;
    for ingress in yaml("kubernetes/ingress.yaml") {
        let rule = &ingress["spec"]["rules"][0]["http"]["paths"][0];
        assert!(text(&rule["path"]).starts_with(path.as_str()), "{rule:?}");
        let service = &rule["backend"]["service"]["name"];
        assert!(services.iter().any(|known| known["metadata"]["name"] == *service), "{service:?}");
    }
    assert!(
        haproxy.contains(&format!("unless {{ path {path} }}")) && read("nginx.conf").contains(&format!("~ ^{path}/"))
    );
}

/// A transport that one of them forgot would meet any node.
#[test]
fn balancers_know_every_http_transport() {
    let transports = config().endpoint[0].sockjs.transports.clone();
    let named = "xhr|xhr_streaming|xhr_send|eventsource|htmlfile|jsonp|jsonp_send";
    for file in ["haproxy.cfg", "nginx.conf", "kubernetes/ingress.yaml"] {
        assert!(read(file).contains(&format!("{named})/?$")), "{file}");
    }
    let text = serde_json::to_value(transports).unwrap();
    for transport in text.as_array().unwrap() {
        assert!(named.split('|').any(|known| known == transport), "{transport}");
    }
}

/// Waiting for a receiver is not a fault of the connection.
#[test]
fn balancers_wait_longer_than_sockjs_is_silent() {
    let silent = config().endpoint[0].sockjs.heartbeat_time;
    let haproxy = read("haproxy.cfg");
    let nginx = read("nginx.conf");
    let ingress = &yaml("kubernetes/ingress.yaml")[1]["metadata"]["annotations"];
    let waits = [
        setting(&haproxy, "timeout client "),
        setting(&haproxy, "timeout server "),
        setting(&haproxy, "timeout tunnel "),
        setting(&nginx, "proxy_read_timeout "),
        setting(&nginx, "proxy_send_timeout "),
        format!("{}s", text(&ingress["nginx.ingress.kubernetes.io/proxy-read-timeout"])),
        format!("{}s", text(&ingress["nginx.ingress.kubernetes.io/proxy-send-timeout"])),
    ];
    for wait in waits {
        assert!(humantime::parse_duration(&wait).unwrap() > 2 * silent, "{wait}");
    }
}

#[test]
fn pods_run_with_the_same_configuration() {
    let copy = text(&yaml("kubernetes/configmap.yaml")[0]["data"]["stampede.toml"]);
    assert!(copy == read("stampede.toml"), "deploy/kubernetes/configmap.yaml differs from deploy/stampede.toml");
    let pod = &yaml("kubernetes/deployment.yaml")[0]["spec"]["template"]["spec"];
    let given = text(&pod["containers"][0]["args"][1]);
    let mounted = text(&pod["containers"][0]["volumeMounts"][0]["mountPath"]);
    assert_eq!(given, format!("{mounted}/stampede.toml"));
}

/// Every variable that Compose and Kubernetes set is one that the node reads, and every secret is there.
#[test]
fn secrets_reach_the_node() {
    let compose = &yaml("docker-compose.yml")[0];
    let pod = &yaml("kubernetes/deployment.yaml")[0]["spec"]["template"]["spec"];
    let secret = &yaml("kubernetes/secret.example.yaml")[0];
    let environment = pod["containers"][0]["env"].as_sequence().unwrap();
    for variable in ["STAMPEDE__REDIS__URL", "STAMPEDE__RABBITMQ__URL"] {
        for node in nodes() {
            let value = text(&compose["services"][node.as_str()]["environment"][variable]);
            // What Compose puts in place of `${NAME:?hint}`.
            let (before, rest) = value.split_once("${").unwrap();
            accepted(variable, &format!("{before}secret{}", rest.split_once('}').unwrap().1));
        }
        let entry = environment.iter().find(|entry| text(&entry["name"]) == variable).expect(variable);
        let from = &entry["valueFrom"]["secretKeyRef"];
        assert_eq!(from["name"], secret["metadata"]["name"]);
        accepted(variable, &text(&secret["stringData"][text(&from["key"]).as_str()]));
    }
}

#[test]
fn images_are_pinned() {
    let mut images: Vec<String> = yaml("docker-compose.yml")[0]["services"]
        .as_mapping()
        .unwrap()
        .values()
        .map(|service| text(&service["image"]))
        .collect();
    images.push(text(&yaml("kubernetes/deployment.yaml")[0]["spec"]["template"]["spec"]["containers"][0]["image"]));
    let dockerfile = read("Dockerfile");
    let from =
        dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).map(|rest| rest.split(' ').next().unwrap());
    images.extend(from.filter(|image| *image != "scratch").map(str::to_owned));
    assert_eq!(images.len(), 8, "{images:?}");
    for image in images {
        let tag = image.split_once(':').unwrap_or_else(|| panic!("{image} has no tag")).1;
        assert!(tag.split('-').next().unwrap().split('.').count() == 3, "{image} can change");
        if image.contains("stampede") {
            assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{image}");
        }
    }
}

#[test]
fn the_build_image_has_the_rust_that_the_manifest_asks_for() {
    let manifest: toml::Table = std::fs::read_to_string(path("../Cargo.toml")).unwrap().parse().unwrap();
    let wanted = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    let image = setting(&read("Dockerfile"), "FROM rust:");
    assert!(image.starts_with(&format!("{wanted}.")), "{image} is not {wanted}");
}

#[test]
fn the_kustomization_names_every_manifest() {
    let named = &yaml("kubernetes/kustomization.yaml")[0]["resources"];
    let named: Vec<String> = named.as_sequence().unwrap().iter().map(text).collect();
    for entry in std::fs::read_dir(path("kubernetes")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        yaml(&format!("kubernetes/{name}"));
        let is_not_applied = name == "kustomization.yaml" || name.ends_with(".example.yaml");
        assert_eq!(named.contains(&name), !is_not_applied, "{name}");
    }
}

#[test]
fn the_image_is_built_from_what_the_context_holds() {
    let ignored = std::fs::read_to_string(path("../.dockerignore")).unwrap();
    let manifest: toml::Table = std::fs::read_to_string(path("../Cargo.toml")).unwrap().parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap());
    for needed in members.filter(|member| *member != ".").chain(["src", "tests/it/main.rs", "Cargo.lock"]) {
        let is_ignored = |line: &&str| Path::new(needed).starts_with(line.trim_end_matches('/'));
        assert_eq!(ignored.lines().filter(|line| !line.starts_with('#')).find(is_ignored), None, "{needed}");
    }
}

fn config() -> Config {
    parse(&read("stampede.toml"), "deploy/stampede.toml", []).unwrap()
}

/// The nodes in `docker-compose.yml`.
fn nodes() -> [String; 3] {
    [1, 2, 3].map(|number| format!("stampede-{number}"))
}

/// The documents in a file.
fn yaml(name: &str) -> Vec<YamlOwned> {
    YamlOwned::load_from_str(&read(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

#[track_caller]
fn text(value: &YamlOwned) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value:?} is not text")).to_owned()
}

#[track_caller]
fn number(value: &YamlOwned) -> u64 {
    value.as_integer().and_then(|number| number.try_into().ok()).unwrap_or_else(|| panic!("{value:?} is no number"))
}

/// What follows this at the beginning of a line, up to blank or semicolon.
#[track_caller]
fn setting(text: &str, name: &str) -> String {
    let rest = text.lines().find_map(|line| line.trim_start().strip_prefix(name));
    let rest = rest.unwrap_or_else(|| panic!("{name:?} is not set"));
    rest.trim_start().split([' ', ';']).next().unwrap().to_owned()
}

/// A node reads this variable with this value.
#[track_caller]
fn accepted(variable: &str, value: &str) {
    let launch = Launch::new(&["check-config"]).config(&read("stampede.toml"));
    let ended = launch.env("STAMPEDE__IDENTITY__JWT__SECRET", JWT_SECRET).env(variable, value).run();
    assert_eq!(ended.code, Some(0), "{variable}={value}: {}", ended.errors);
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|octets| String::from_utf8_lossy(octets)).concat()
}
