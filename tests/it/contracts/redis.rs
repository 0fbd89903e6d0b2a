//! The implementations in Redis, against a real one, also while it fails.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::test_runner::{Config as Cases, TestRunner};
use stampede::config::cluster::Redis as Settings;
use stampede::config::mailbox::Keep;
use stampede::mailbox::Refused;
use stampede::mailbox::redis::RedisStore;
use stampede::mailbox::shared::{Append, SharedStore};
use stampede::registry::redis::{Connection, RedisRegistry, connect};
use stampede::registry::{Change, Name, Registry};
use tokio::runtime::Runtime;

use super::{boot, registry, store};
use crate::support::private;
use crate::support::redis::Redis;

/// Longer than any answer takes on a busy machine, shorter than a test may last.
const TIMEOUT: Duration = Duration::from_millis(1500);

fn settings(url: &str) -> Settings {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let key_prefix = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let (lease, lease_renewal) = (registry::LEASE, registry::LEASE / 3);
    Settings { url: url.into(), key_prefix, command_timeout: TIMEOUT, lease, lease_renewal, ..Settings::default() }
}

/// Two implementations over one connection, with a prefix of their own.
pub(super) async fn both(url: &str) -> (RedisRegistry, RedisStore) {
    let settings = settings(url);
    let connection: Connection = connect(&settings).await.unwrap();
    (RedisRegistry::new(connection.clone(), &settings), RedisStore::new(connection))
}

pub(super) fn ann() -> Vec<Change> {
    vec![Change { name: Name::User("ann".into()), present: true }]
}

pub(super) async fn keep_one(store: &RedisStore) -> Result<u64, Refused> {
    let append = Append { queue: "/q".into(), record: "text".into(), sent_at: 1, keep: Keep::default() };
    store.append(vec![append]).await.pop().unwrap().map(|appended| appended.seq)
}

#[tokio::test]
async fn they_keep_the_contracts_and_leave_nothing_behind() {
    let redis = Redis::start();
    let (registry, store) = both(&redis.url()).await;
    registry::check(&registry).await;
    store::check(&store).await;
    store::no_reader_misses_a_message(&store).await;
    let version = redis.keys("*:{patterns}:version");
    assert_eq!(redis.keys("*"), version, "the number of the next version is all that stays");
}

#[tokio::test]
async fn the_schemes_of_valkey_are_taken_as_well() {
    let redis = Redis::start();
    for url in [format!("valkey://127.0.0.1:{}/0", redis.port()), format!("valkey://127.0.0.1:{}", redis.port())] {
        let (registry, store) = both(&url).await;
        registry::check(&registry).await;
        store::check(&store).await;
    }
    let cluster = Redis::cluster();
    let (registry, store) = both(&format!("valkey-cluster://127.0.0.1:{}", cluster[0].port())).await;
    comes_back(&registry, &store).await;
    assert!(cluster.iter().all(|redis| redis.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")));
}

#[tokio::test]
async fn they_keep_the_contracts_in_redis_cluster() {
    let redis = Redis::cluster();
    let url = format!("redis-cluster://127.0.0.1:{}", redis[0].port());
    let (registry, store) = both(&url).await;
    registry::check(&registry).await;
    store::check(&store).await;
    store::no_reader_misses_a_message(&store).await;
    assert!(redis.iter().all(|redis| redis.cli(&["INFO", "commandstats"]).contains("evalsha")), "all took part");
}

#[test]
fn they_do_what_those_in_memory_do() {
    let redis = Redis::start();
    let runtime = Runtime::new().unwrap();
    let mut cases = TestRunner::new(Cases { cases: 64, failure_persistence: None, ..Cases::default() });
    let of_registry = cases.run(&registry::steps(), |steps| {
        runtime.block_on(async { registry::agrees_with_memory(&both(&redis.url()).await.0, &steps).await });
        Ok(())
    });
    of_registry.unwrap();
    let of_store = cases.run(&store::steps(), |steps| {
        runtime.block_on(async { store::agrees_with_memory(&both(&redis.url()).await.1, &steps).await });
        Ok(())
    });
    of_store.unwrap();
}

#[tokio::test]
async fn a_killed_redis_is_reported_and_comes_back() {
    let mut redis = Redis::start();
    let (registry, store) = both(&redis.url()).await;
    let run = boot("one/1");
    registry.change(&run, &ann()).await.unwrap();
    let before = registry.interruptions();
    redis.kill();
    fails_in_time(&registry, &store).await;
    redis.restart();
    comes_back(&registry, &store).await;
    assert!(registry.interruptions() > before, "it may have forgotten everything, and has");
    assert_eq!(registry.locate(&[Name::User("ann".into())]).await.unwrap().nodes, [vec![]]);
}

#[tokio::test]
async fn a_silent_redis_is_reported_and_comes_back() {
    let redis = Redis::start();
    let (registry, store) = both(&redis.url()).await;
    redis.freeze();
    fails_in_time(&registry, &store).await;
    // Long enough for the connection to be given up.
    tokio::time::sleep(TIMEOUT * 5).await;
    fails_in_time(&registry, &store).await;
    redis.thaw();
    comes_back(&registry, &store).await;
    assert!(registry.interruptions() > 0, "another server may have taken over");
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_waited_for() {
    let mut redis = Redis::start();
    redis.kill();
    let url = redis.url();
    let connecting = tokio::spawn(async move { both(&url).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    redis.restart();
    let (registry, store) = connecting.await.unwrap();
    comes_back(&registry, &store).await;
}

#[tokio::test]
async fn a_redis_that_is_silent_at_first_is_waited_for() {
    let redis = Redis::start();
    redis.freeze();
    let url = redis.url();
    let connecting = tokio::spawn(async move { both(&url).await });
    tokio::time::sleep(TIMEOUT * 4).await;
    assert!(!connecting.is_finished());
    redis.thaw();
    let (registry, store) = connecting.await.unwrap();
    comes_back(&registry, &store).await;
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let redis = Redis::start();
    let (registry, store) = both(&redis.url()).await;
    keep_one(&store).await.unwrap();
    redis.cli(&["SCRIPT", "FLUSH"]);
    keep_one(&store).await.unwrap();
    registry.renew(&boot("one/1"), "info").await.unwrap();
}

#[tokio::test]
async fn a_redis_without_memory_refuses_and_lets_go() {
    let redis = Redis::start();
    let (registry, store) = both(&redis.url()).await;
    let (run, first) = (boot("one/1"), keep_one(&store).await.unwrap());
    store.open("/q", &run).await.unwrap();
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = keep_one(&store).await.unwrap_err();
    let Refused::Store(error) = &refused else { panic!("{refused:?}") };
    let source = std::error::Error::source(error).unwrap().to_string();
    assert!(source.contains("maxmemory"), "{source}");
    assert!(registry.change(&run, &ann()).await.is_err());
    // What makes room is not refused.
    store.remove(&[("/q".into(), vec![first, first + 1])]).await.unwrap();
    store.close("/q", &run, 0).await.unwrap();
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    keep_one(&store).await.unwrap();
}

#[tokio::test]
async fn what_no_waiting_would_mend_is_said_at_once_and_without_the_password() {
    let redis = Redis::start();
    redis.cli(&["CONFIG", "SET", "requirepass", "right-word"]);
    let port = redis.port();
    for (url, expected) in [
        (format!("redis://:wrong-word@127.0.0.1:{port}/0"), "WRONGPASS"),
        (format!("redis://someone:wrong-word@127.0.0.1:{port}/0"), "WRONGPASS"),
        (format!("redis://127.0.0.1:{port}/0"), "NOAUTH"),
        ("redis://:wrong-word@127.0.0.1:port/0".to_owned(), "redis.url"),
        ("redis://:wrong-word@127.0.0.1/zero".to_owned(), "redis.url"),
        ("redis-sentinel://:wrong-word@127.0.0.1".to_owned(), "redis.url"),
    ] {
        let settings = settings(&url);
        let told = tokio::time::timeout(TIMEOUT * 4, connect(&settings)).await.expect("it waits").unwrap_err();
        assert!(told.contains(expected) && !told.contains("wrong-word"), "{told}");
    }
    let url = format!("redis://:right-word@127.0.0.1:{port}/0");
    let (registry, store) = both(&url).await;
    comes_back(&registry, &store).await;
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_file_alone() {
    let directory = private::directory();
    let (certificate, key) = (directory.path().join("certificate.pem"), directory.path().join("key.pem"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    let output = command.output().expect("openssl makes the certificate; install it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let redis = Redis::encrypted(&certificate, &key);
    let url = format!("rediss://127.0.0.1:{}/0", redis.tls_port().unwrap());

    for url in [&url, &url.replace("rediss", "valkeys")] {
        let told = connect(&settings(url)).await.unwrap_err();
        assert!(told.contains("certificate is not trusted") && told.contains("redis.ca_file"), "{told}");
        let trusting = Settings { ca_file: Some(certificate.clone()), ..settings(url) };
        let connection = connect(&trusting).await.unwrap();
        comes_back(&RedisRegistry::new(connection.clone(), &trusting), &RedisStore::new(connection)).await;
    }
    let missing = Settings { ca_file: Some("missing.pem".into()), ..settings(&url) };
    let told = connect(&missing).await.unwrap_err();
    assert!(told.contains("redis.ca_file missing.pem"), "{told}");
}

/// Calls fail in little more than the time that one may take.
async fn fails_in_time(registry: &RedisRegistry, store: &RedisStore) {
    let began = Instant::now();
    let (run, changes) = (boot("one/1"), ann());
    let names = [Name::User("ann".into())];
    let (changed, located, kept) =
        futures_util::join!(registry.change(&run, &changes), registry.locate(&names), keep_one(store));
    changed.unwrap_err();
    located.unwrap_err();
    assert!(matches!(kept, Err(Refused::Store(_))), "{kept:?}");
    assert!(began.elapsed() < TIMEOUT * 2, "{:?}", began.elapsed());
}

/// Everything works again, soon.
pub(super) async fn comes_back(registry: &RedisRegistry, store: &RedisStore) {
    let run = boot("back/1");
    super::until_it_is((true, true), || async {
        (registry.change(&run, &ann()).await.is_ok(), keep_one(store).await.is_ok())
    })
    .await;
    registry.remove(&run).await.unwrap();
}
