//! Users who move between nodes and write to each other while everything breaks: nodes are killed, RabbitMQ and Redis are
//! restarted, connections are cut and go silent. Afterwards a checker reads what every client saw.
//!
//! The seed decides what breaks when, and who writes to whom; what falls together in time differs from run to run. A long
//! run: `STAMPEDE_CHAOS_SECONDS=600 STAMPEDE_CHAOS_SEED=7 cargo test --test it chaos -- --nocapture`

mod check;
mod random;
mod user;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use check::{Kind, Letter};
use random::Random;
use user::{Stage, User};

use crate::support::cluster::{Cluster, Setup};
use crate::support::proxy::{Mode, Proxy};
use crate::support::rabbit::Rabbit;
use crate::support::redis::Redis;

const USERS: usize = 8;
const NODES: usize = 3;

const CONFIG: &str = "
[[destination]]
match = '/user/*/queue/kept'
keep = { for = '1d', max = 100000, max_bytes = '64MiB' }
";

/// A node, and what stands between it and the others.
struct Place {
    node: usize,
    redis: Proxy,
    rabbit: Proxy,
}

struct Theatre {
    cluster: Cluster,
    places: Vec<Place>,
    stage: Arc<Stage>,
    random: Random,
}

#[test]
fn nothing_confirmed_is_lost_whatever_breaks() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (seed, seconds) = (number("STAMPEDE_CHAOS_SEED", 1), number("STAMPEDE_CHAOS_SECONDS", 20));
    let mut rabbit = Rabbit::own();
    let vhost = rabbit.vhost();
    let cluster = Setup::new()
        .redis(Redis::durable())
        .vhost(vhost)
        .config(CONFIG)
        .set("STAMPEDE__RABBITMQ__HEARTBEAT", "1s")
        .set("STAMPEDE__SERVER__SHUTDOWN_GRACE", "3s")
        .start(0);
    let mut theatre = Theatre { cluster, places: Vec::new(), stage: Arc::default(), random: Random(seed) };
    for _ in 0..NODES {
        theatre.add();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let users: Vec<_> = (0..USERS)
        .map(|number| runtime.spawn(User::new(number, USERS, &theatre.stage, theatre.random.split()).live()))
        .collect();

    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        theatre.grow(200);
        theatre.break_something(&mut rabbit);
    }

    theatre.stage.over.store(true, Ordering::Release);
    for user in users {
        runtime.block_on(user).unwrap();
    }
    runtime.block_on(last_words(&theatre.stage));
    let history = theatre.stage.history.lock();
    #[allow(clippy::print_stderr, reason = "shown with --nocapture and with a failure")]
    {
        eprintln!("seed {seed}, {seconds} s: {}", history.summary());
    }
    let violations = history.violations();
    assert!(
        violations.is_empty(),
        "seed {seed}: {} violations, first {:#?}",
        violations.len(),
        &violations[..violations.len().min(20)]
    );
    assert!(history.confirmed.len() > 100, "too little happened to say anything: {}", history.summary());
}

/// A letter behind all others into every mailbox; who has read it has read everything.
async fn last_words(stage: &Stage) {
    for to in 0..USERS {
        let letter = Letter { kind: Kind::Kept, from: USERS, session: u64::MAX, to, number: 1 };
        let node = *stage.nodes.lock().last().unwrap();
        user::send_last(stage, node, letter).await.unwrap();
        User::read_to_the_end(to, stage, node, letter).await.unwrap();
    }
}

impl Theatre {
    fn add(&mut self) {
        let (redis, rabbit) = (Proxy::to(self.cluster.redis().port()), Proxy::to(self.cluster.vhost().port()));
        let redis_url = format!("redis://127.0.0.1:{}/0", redis.port());
        let rabbit_url = self.cluster.vhost().url_through(rabbit.port());
        let node = self
            .cluster
            .add_node_with(&[("STAMPEDE__REDIS__URL", &redis_url), ("STAMPEDE__RABBITMQ__URL", &rabbit_url)]);
        self.places.push(Place { node, redis, rabbit });
        self.tell();
    }

    /// Tells the users where they can go.
    fn tell(&self) {
        *self.stage.nodes.lock() = self.places.iter().map(|place| self.cluster.node(place.node).address).collect();
    }

    /// Waits until so many more messages were confirmed, or for a few seconds where little can be.
    fn grow(&self, by: usize) {
        let confirmed = || self.stage.history.lock().confirmed.len();
        let (before, begun) = (confirmed(), Instant::now());
        while confirmed() < before + by && begun.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn break_something(&mut self, rabbit: &mut Rabbit) {
        let place = self.random.below(self.places.len() as u64) as usize;
        let moment = Duration::from_millis(200 + self.random.below(1500));
        match self.random.below(12) {
            0..4 => {
                let place = self.places.swap_remove(place);
                self.tell();
                self.cluster.crash(place.node);
                self.add();
            }
            4 => {
                let place = self.places.swap_remove(place);
                self.tell();
                self.cluster.terminate(place.node);
                self.add();
            }
            5 => self.cluster.redis_mut().restart(),
            6 => {
                rabbit.stop_app();
                rabbit.start_app();
            }
            7 => rabbit.restart(),
            8 => disturb(&self.places[place].redis, Mode::Cut, moment),
            9 => disturb(&self.places[place].redis, Mode::Silent, moment * 3),
            10 => disturb(&self.places[place].rabbit, Mode::Cut, moment),
            _ => disturb(&self.places[place].rabbit, Mode::Silent, moment * 3),
        }
    }
}

/// For so long; the length is the fault itself.
fn disturb(proxy: &Proxy, mode: Mode, moment: Duration) {
    proxy.set(mode);
    std::thread::sleep(moment);
    proxy.set(Mode::Forward);
}
