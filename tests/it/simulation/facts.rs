//! One thing goes wrong at a time.

use std::time::Duration;

use stampede::rooms::shared::SharedRooms;

use super::simulate;
use super::world::{LEASE, World};

const MOMENT: Duration = Duration::from_millis(100);

/// Two nodes with a sender on the first and ann on the second, subscribed.
async fn sender_and_ann(destination: &str) -> (World, usize, usize, usize) {
    let mut world = World::calm(2).await;
    let (sender, ann) = (world.connect(0, None), world.connect(1, Some("ann")));
    let subscription = world.subscribe(ann, destination);
    world.pass(MOMENT).await;
    assert!(world.history.subscriptions[subscription].is_confirmed());
    (world, sender, ann, subscription)
}

#[test]
fn what_is_sent_after_the_receipt_of_a_subscription_reaches_it() {
    simulate(async {
        for destination in ["/user/queue/live", "/user/queue/kept", "/topic/a", "/topic/*"] {
            let (mut world, sender, _, subscription) = sender_and_ann(destination).await;
            for _ in 0..20 {
                for to in ["/user/ann/queue/live", "/user/ann/queue/kept", "/topic/a"] {
                    world.send(sender, to);
                }
            }
            world.check().await;
            assert_eq!(world.history.subscriptions[subscription].received.len(), 20, "{destination}");
        }
    });
}

#[test]
fn what_has_piled_up_leaves_by_few_look_ups_and_in_order() {
    simulate(async {
        let (mut world, sender, _, subscription) = sender_and_ann("/user/queue/live").await;
        let before = world.nodes[0].link.look_ups();
        let sent: Vec<usize> = (0..3000).map(|_| world.send(sender, "/user/ann/queue/live")).collect();
        world.pass(MOMENT).await;
        // An envelope holds 512 of them.
        let asked = world.nodes[0].link.look_ups() - before;
        assert!(asked <= 2, "{asked} look-ups");
        assert_eq!(world.history.subscriptions[subscription].received, sent);
        world.check().await;
    });
}

#[test]
fn one_message_for_many_nodes_goes_to_those_that_want_it() {
    simulate(async {
        let mut world = World::calm(10).await;
        let sender = world.connect(0, None);
        for node in 0..10 {
            let user = format!("u{}", node % 3);
            let client = world.connect(node, Some(&user));
            world.subscribe(client, "/user/queue/live");
            world.subscribe(client, if node % 2 == 0 { "/topic/even" } else { "/topic/odd" });
        }
        // So many nodes that messages go to those that want them only.
        world.pass(4 * MOMENT).await;
        world.settle().await;
        for _ in 0..10 {
            for to in ["/topic/even", "/topic/odd", "/user/u0/queue/live", "/user/u1/queue/live"] {
                world.send(sender, to);
            }
        }
        world.check().await;
    });
}

#[test]
fn a_message_follows_a_user_who_moved_while_it_was_on_its_way() {
    simulate(async {
        let (mut world, sender, ann, _) = sender_and_ann("/user/queue/live").await;
        let third = world.start_node().await;
        let node = world.nodes[1].id.clone();
        world.bus.set_cut(&node, true);
        world.send(sender, "/user/ann/queue/live");
        world.pass(MOMENT).await;
        world.disconnect(ann);
        let again = world.connect(third, Some("ann"));
        let subscription = world.subscribe(again, "/user/queue/live");
        world.pass(MOMENT).await;
        world.bus.set_cut(&node, false);
        world.check().await;
        assert_eq!(world.history.subscriptions[subscription].received, [0]);
    });
}

#[test]
fn what_a_dead_node_did_not_read_goes_to_where_the_user_is_now() {
    simulate(async {
        let (mut world, sender, _, _) = sender_and_ann("/user/queue/live").await;
        world.kill(1);
        world.send(sender, "/user/ann/queue/live");
        world.pass(MOMENT).await;
        let third = world.start_node().await;
        let again = world.connect(third, Some("ann"));
        let subscription = world.subscribe(again, "/user/queue/live");
        world.history.had_faults = true;
        world.check().await;
        assert_eq!(world.history.subscriptions[subscription].received, [0]);
    });
}

#[test]
fn a_node_that_died_is_buried_once() {
    simulate(async {
        let mut world = World::calm(4).await;
        let client = world.connect(3, Some("ann"));
        for destination in ["/user/queue/live", "/user/queue/kept", "/topic/a", "/topic/*"] {
            world.subscribe(client, destination);
        }
        world.pass(MOMENT).await;
        world.kill(3);
        world.check().await;
        assert_eq!(world.store.destinations(), 0, "its mailbox has no reader");
        assert!(world.nodes.iter().filter(|node| node.alive).all(|node| node.cluster.gauges().nodes == 3));
    });
}

#[test]
fn a_node_that_comes_back_under_its_name_reads_its_old_queue() {
    simulate(async {
        let (mut world, sender, _, _) = sender_and_ann("/user/queue/live").await;
        let id = world.nodes[1].id.clone();
        world.kill(1);
        world.send(sender, "/user/ann/queue/live");
        world.pass(MOMENT).await;
        let again = world.start_node_as(id).await;
        let ann = world.connect(again, Some("ann"));
        let subscription = world.subscribe(ann, "/user/queue/live");
        world.pass(MOMENT).await;
        world.send(sender, "/user/ann/queue/live");
        world.history.had_faults = true;
        world.check().await;
        assert_eq!(world.history.subscriptions[subscription].received.last(), Some(&1));
    });
}

#[test]
fn a_node_whose_lease_ran_out_is_served_on_and_enters_again() {
    simulate(async {
        for destination in ["/user/queue/live", "/user/queue/kept", "/topic/a", "/topic/*"] {
            let (mut world, sender, ann, _) = sender_and_ann(destination).await;
            let boot = world.nodes[1].cluster.boot();
            world.nodes[1].link.set_down(true);
            for _ in 0..40 {
                for to in ["/user/ann/queue/live", "/user/ann/queue/kept", "/topic/a"] {
                    world.send(sender, to);
                }
                world.pass(LEASE / 20).await;
            }
            world.nodes[1].link.set_down(false);
            world.settle().await;
            assert_ne!(world.nodes[1].cluster.boot(), boot);
            world.subscribe(ann, "/topic/later");
            world.pass(MOMENT).await;
            for to in ["/user/ann/queue/live", "/user/ann/queue/kept", "/topic/a", "/topic/later"] {
                world.send(sender, to);
            }
            world.check().await;
        }
    });
}

#[test]
fn a_subscription_is_not_confirmed_where_the_lease_has_run_out() {
    simulate(async {
        let mut world = World::calm(2).await;
        let (sender, ann) = (world.connect(0, None), world.connect(1, Some("ann")));
        world.nodes[1].link.set_down(true);
        world.settle().await;
        let subscription = world.subscribe(ann, "/user/queue/live");
        world.nodes[1].link.set_down(false);
        while !world.history.subscriptions[subscription].is_confirmed() {
            world.pass(Duration::from_millis(1)).await;
        }
        world.send(sender, "/user/ann/queue/live");
        world.check().await;
    });
}

#[test]
fn without_the_registry_messages_reach_everybody_and_kept_ones_are_refused() {
    simulate(async {
        let (mut world, sender, ann, live) = sender_and_ann("/user/queue/live").await;
        world.subscribe(ann, "/topic/a");
        world.pass(MOMENT).await;
        world.nodes.iter().for_each(|node| node.link.set_down(true));
        let kept = world.send(sender, "/user/ann/queue/kept");
        for _ in 0..3 {
            world.send(sender, "/user/ann/queue/live");
            world.send(sender, "/topic/a");
            world.pass(Duration::from_secs(5)).await;
        }
        assert!(world.history.sent[kept].failed);
        assert_eq!(world.history.subscriptions[live].received.len(), 3);
        world.nodes.iter().for_each(|node| node.link.set_down(false));
        world.check().await;
    });
}

#[test]
fn while_the_relay_is_away_messages_wait_in_order_and_nothing_is_confirmed() {
    simulate(async {
        let (mut world, sender, _, subscription) = sender_and_ann("/topic/a").await;
        world.bus.set_down(true);
        let sent: Vec<usize> = (0..30).map(|_| world.send(sender, "/topic/a")).collect();
        world.pass(Duration::from_secs(20)).await;
        assert!(sent.iter().all(|&sent| !world.history.sent[sent].confirmed && !world.history.sent[sent].failed));
        world.bus.set_down(false);
        world.pass(MOMENT).await;
        assert_eq!(world.history.subscriptions[subscription].received, sent);
        world.bus.set_down(true);
        let late = world.send(sender, "/topic/a");
        world.pass(Duration::from_secs(40)).await;
        assert!(world.history.sent[late].failed);
        world.bus.set_down(false);
        world.check().await;
    });
}

#[test]
fn without_registry_and_relay_each_node_serves_its_own_and_loses_nothing_that_was_confirmed() {
    simulate(async {
        for away in [LEASE / 4, 3 * LEASE / 2] {
            for relay_first in [true, false] {
                both_away(away, relay_first).await;
            }
        }
    });
}

/// The registry and the relay are away for so long, and come back one after the other.
async fn both_away(away: Duration, relay_first: bool) {
    let (mut world, sender, ann, _) = sender_and_ann("/topic/a").await;
    let near = world.connect(0, Some("ben"));
    let near_by = world.subscribe(near, "/topic/a");
    for destination in ["/user/queue/live", "/user/queue/kept"] {
        world.subscribe(ann, destination);
    }
    world.pass(MOMENT).await;
    let everything = ["/user/ann/queue/live", "/user/ann/queue/kept", "/topic/a"];
    let boot = world.nodes[1].cluster.boot();
    // These lie in the queue of ann's node when all goes.
    let far = world.nodes[1].id.clone();
    world.bus.set_cut(&far, true);
    let before: Vec<usize> = everything.iter().map(|to| world.send(sender, to)).collect();
    world.pass(MOMENT).await;
    assert!(before.iter().all(|&sent| world.history.sent[sent].confirmed));

    world.nodes.iter().for_each(|node| node.link.set_down(true));
    world.bus.set_down(true);
    world.bus.set_cut(&far, false);
    world.history.had_faults = true;
    world.pass(away / 2).await;
    let sent: Vec<usize> = everything.iter().map(|to| world.send(sender, to)).collect();
    world.pass(MOMENT).await;
    assert!(world.history.subscriptions[near_by].received.contains(&sent[2]), "whoever is here does not wait");
    world.pass(away / 2).await;
    let [live, kept, topic] = sent[..] else { unreachable!() };
    assert!(world.history.sent[kept].failed, "it cannot be kept, and its sender is told");
    assert!([live, topic].iter().all(|&sent| !world.history.sent[sent].confirmed && !world.history.sent[sent].failed));
    if away > LEASE {
        assert!(world.nodes.iter().all(|node| node.cluster.complaints().len() == 2));
    }

    for relay in [relay_first, !relay_first] {
        if relay {
            world.bus.set_down(false);
        } else {
            world.nodes.iter().for_each(|node| node.link.set_down(false));
        }
        world.pass(MOMENT).await;
    }
    world.pass(Duration::from_secs(4)).await;
    assert_eq!(world.nodes[1].cluster.boot() == boot, away < LEASE, "a new run where the lease has run out");
    assert!(world.nodes.iter().all(|node| node.cluster.complaints().is_empty()));
    assert!([live, topic].iter().all(|&sent| world.history.sent[sent].confirmed));
    for to in everything {
        world.send(sender, to);
    }
    world.check().await;
}

#[test]
fn kept_messages_wait_for_their_user_wherever_he_comes() {
    simulate(async {
        let mut world = World::calm(3).await;
        let sender = world.connect(0, None);
        for _ in 0..50 {
            world.send(sender, "/user/ann/queue/kept");
        }
        world.pass(MOMENT).await;
        let ann = world.connect(1, Some("ann"));
        world.clients[ann].acknowledges = false;
        let first = world.subscribe(ann, "/user/queue/kept");
        world.pass(MOMENT).await;
        world.disconnect(ann);
        world.pass(MOMENT).await;
        let again = world.connect(2, Some("ann"));
        let second = world.subscribe(again, "/user/queue/kept");
        world.check().await;
        assert_eq!(world.history.subscriptions[first].received, (0..32).collect::<Vec<_>>(), "one window");
        assert_eq!(world.history.subscriptions[second].received, (0..50).collect::<Vec<_>>());
        world.disconnect(again);
        world.pass(MOMENT).await;
        assert_eq!(world.store.destinations(), 0);
    });
}

#[test]
fn a_mailbox_read_on_two_nodes_has_one_order_on_both() {
    simulate(async {
        let mut world = World::calm(3).await;
        let senders = [world.connect(0, None), world.connect(1, None), world.connect(2, None)];
        for node in [1, 2] {
            let client = world.connect(node, Some("ann"));
            world.clients[client].acknowledges = node == 1;
            world.subscribe(client, "/user/queue/kept");
        }
        world.pass(MOMENT).await;
        for round in 0..10 {
            for sender in senders {
                world.send(sender, "/user/ann/queue/kept");
            }
            world.pass(Duration::from_millis(round % 3)).await;
        }
        world.check().await;
        let [first, second] = [0, 1].map(|number| world.history.subscriptions[number].received.clone());
        assert_eq!(first, second);
        assert_eq!(first.len(), 30);
    });
}

#[test]
fn a_node_that_makes_room_drops_nothing_that_the_store_has_room_for() {
    simulate(async {
        let mut world = World::calm(1).await;
        world.keep = 3;
        let nodes = [world.start_node().await, world.start_node().await];
        let sender = world.connect(0, None);
        let [most, nothing] = nodes.map(|node| world.connect(node, Some("ann")));
        world.clients[most].but_not = Some(0);
        world.clients[nothing].acknowledges = false;
        for client in [most, nothing] {
            world.subscribe(client, "/user/queue/kept");
        }
        world.pass(MOMENT).await;
        for _ in 0..4 {
            world.send(sender, "/user/ann/queue/kept");
            world.pass(MOMENT).await;
        }
        world.disconnect(nothing);
        world.disconnect(most);
        world.pass(MOMENT).await;
        let again = world.connect(0, Some("ann"));
        let subscription = world.subscribe(again, "/user/queue/kept");
        world.check().await;
        assert_eq!(world.history.subscriptions[subscription].received, [0]);
    });
}

#[test]
fn who_left_while_one_question_went_unanswered_has_left() {
    simulate(async {
        let mut world = World::calm(1).await;
        let ann = world.connect(0, Some("ann"));
        world.subscribe(ann, "/topic/room/r");
        world.pass(MOMENT).await;
        assert_eq!(world.rooms.members("r").await.unwrap().members.len(), 1);
        world.rooms.set_away(true);
        world.disconnect(ann);
        world.pass(MOMENT).await;
        world.rooms.set_away(false);
        // Nothing was away for long enough to be called so; still the leave is made up for.
        world.pass(LEASE / 2).await;
        assert!(world.rooms.members("r").await.unwrap().members.is_empty());
    });
}
