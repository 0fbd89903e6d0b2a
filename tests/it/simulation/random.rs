//! Everything goes wrong at once, as a seed decides.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use stampede::config::cluster::{Broadcast, Relay};

use super::faults::{Chance, Rough};
use super::simulate;
use super::world::World;

/// Histories that are tried, or the one that this variable names.
const SEEDS: u64 = 200;
const SEED: &str = "STAMPEDE_TEST_SEED";
/// What is done in one of them.
const STEPS: usize = 120;

const USERS: [&str; 3] = ["ann", "ben", "eve"];
const SUBSCRIBED: [&str; 5] = ["/user/queue/live", "/user/queue/kept", "/topic/a", "/topic/b", "/topic/*"];

#[test]
fn whatever_goes_wrong_clients_get_what_they_were_promised() {
    let only = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    let seeds = only.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    for seed in seeds {
        // What went wrong has been printed.
        let done = catch_unwind(AssertUnwindSafe(|| simulate(history(seed))));
        assert!(done.is_ok(), "seed {seed}: again with {SEED}={seed} cargo test --test it simulation::random");
    }
}

/// What is broken and when it is mended.
enum Broken {
    Link(usize),
    Cut(usize),
    Bus,
    /// The registry and the relay at once, for every node.
    All,
}

async fn history(seed: u64) {
    let chance = Chance::new(seed);
    let rough = seed.is_multiple_of(2);
    let often = |often| if rough { often } else { 0 };
    let weather = Rough { chance: chance.clone(), delay_ms: 1 + chance.below(20), breaks: often(10), loses: often(5) };
    let broadcast = *chance.pick(&[Broadcast::Auto, Broadcast::Interest, Broadcast::Fanout]);
    let relay = Relay { broadcast, fanout_nodes: 3, ..Relay::default() };
    let mut world = World::new(chance.clone(), weather, relay);
    world.history.had_faults = rough;
    for _ in 0..2 + chance.below(3) {
        world.start_node().await;
    }
    let mut senders = Vec::new();
    for node in 0..world.nodes.len() {
        senders.push(world.connect(node, None));
    }
    let mut broken: Vec<(u32, Broken)> = Vec::new();
    for _ in 0..STEPS {
        for (left, broken) in &mut broken {
            *left -= 1;
            if *left == 0 {
                set(&world, broken, false);
            }
        }
        broken.retain(|(left, _)| *left > 0);
        step(&mut world, &mut broken).await;
        let time = if chance.per_mille(100) { chance.millis(5000) } else { chance.millis(30) };
        world.pass(time).await;
    }
    broken.iter().for_each(|(_, broken)| set(&world, broken, false));
    finish(&mut world).await;
}

async fn step(world: &mut World, broken: &mut Vec<(u32, Broken)>) {
    let chance = world.chance.clone();
    let alive: Vec<usize> = (0..world.nodes.len()).filter(|&node| world.nodes[node].alive).collect();
    let client =
        (!world.clients.is_empty()).then(|| usize::try_from(chance.below(world.clients.len() as u64)).unwrap());
    match (chance.below(100), client) {
        (0..60, _) => {
            let senders: Vec<usize> = (0..world.clients.len()).filter(|&at| world.clients[at].user.is_none()).collect();
            if senders.is_empty() {
                world.connect(*chance.pick(&alive), None);
                return;
            }
            let sender = *chance.pick(&senders);
            let user = chance.pick(&USERS);
            let to = match chance.below(4) {
                0 => format!("/user/{user}/queue/live"),
                1 => format!("/user/{user}/queue/kept"),
                2 => "/topic/a".to_owned(),
                _ => "/topic/b".to_owned(),
            };
            for _ in 0..1 + chance.below(4) {
                world.send(sender, &to);
            }
        }
        (60..75, _) => {
            let client = world.connect(*chance.pick(&alive), Some(*chance.pick(&USERS)));
            world.clients[client].acknowledges = chance.per_mille(700);
            for _ in 0..1 + chance.below(2) {
                let destination = *chance.pick(&SUBSCRIBED);
                world.subscribe(client, destination);
            }
        }
        (75..80, Some(client)) if world.clients[client].user.is_some() => world.unsubscribe(client),
        (80..88, Some(client)) => world.disconnect(client),
        (88..97, _) => {
            let node = *chance.pick(&alive);
            // A node that reaches neither the registry nor the relay is as good as dead, and is buried.
            let by_link = broken.iter().any(|(_, broken)| matches!(broken, Broken::Link(_) | Broken::All));
            let what = match chance.below(5) {
                0 | 1 if broken.is_empty() || by_link => Broken::Link(node),
                2 | 3 if !by_link => Broken::Cut(node),
                // One node without both would be buried by the others; here nobody can.
                4 if broken.is_empty() && chance.per_mille(300) => Broken::All,
                4 if !by_link => Broken::Bus,
                _ => return,
            };
            if world.weather.breaks > 0 && matches!(what, Broken::Link(_)) {
                return;
            }
            world.history.had_faults = true;
            set(world, &what, true);
            broken.push((1 + u32::try_from(chance.below(30)).unwrap(), what));
        }
        (97.., _) if alive.len() > 1 => {
            world.history.had_faults = true;
            world.kill(*chance.pick(&alive));
            world.start_node().await;
        }
        _ => {}
    }
}

fn set(world: &World, what: &Broken, broken: bool) {
    match what {
        Broken::Link(node) => world.nodes[*node].link.set_down(broken),
        Broken::Cut(node) if world.nodes[*node].alive => world.bus.set_cut(&world.nodes[*node].id, broken),
        Broken::Cut(_) => {}
        Broken::Bus => world.bus.set_down(broken),
        Broken::All => {
            world.bus.set_down(broken);
            world.nodes.iter().filter(|node| node.alive).for_each(|node| node.link.set_down(broken));
        }
    }
}

/// All is well again; every user comes once more for what is kept.
async fn finish(world: &mut World) {
    world.settle().await;
    while let Some(client) = world.clients.iter().position(|client| client.user.is_some() && !client.acknowledges) {
        world.disconnect(client);
    }
    world.pass(Duration::from_secs(5)).await;
    let alive: Vec<usize> = (0..world.nodes.len()).filter(|&node| world.nodes[node].alive).collect();
    for user in USERS {
        let client = world.connect(*world.chance.pick(&alive), Some(user));
        world.subscribe(client, "/user/queue/kept");
    }
    world.check().await;
}
