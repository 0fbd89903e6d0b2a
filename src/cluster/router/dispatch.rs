//! One batch: looked up, and put into envelopes.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use bytestring::ByteString;

use super::super::Shared;
use super::super::envelope::{Builder, Item, Way};
use super::{Job, Part, What};
use crate::config::cluster::{Broadcast, Relay as RelayConfig};
use crate::ids::{Boot, NodeId};
use crate::mailbox::shared::{Append, Appended};
use crate::mailbox::{Refused, StoreError, record};
use crate::registry::{Located, Name, RegistryError};
use crate::relay::Route;

/// Looks up who has receivers, and publishes.
pub(super) async fn route(shared: &Shared, batch: Vec<Job>) {
    let by_interest = match shared.config.relay.broadcast {
        Broadcast::Fanout => false,
        Broadcast::Interest => true,
        Broadcast::Auto => shared.members.live() > shared.config.relay.fanout_nodes,
    };
    let mut names = Names::default();
    let mut appends = Vec::new();
    for job in &batch {
        match &job.what {
            What::Find { name, .. } => names.ask(name),
            What::Broadcast { destination, .. } if by_interest => names.ask(&Name::Destination(destination.clone())),
            What::Keep { append } => appends.push(append.clone()),
            What::Broadcast { .. } | What::Session { .. } | What::Notice { .. } => {}
        }
    }
    let keeps = !appends.is_empty();
    let (located, appended) = tokio::join!(locate(shared, &names.list, keeps), append(shared, appends));
    let mut answers = Answers { located: located.as_ref().ok(), names: &names.at, appended: appended.into_iter() };
    let mut groups = Groups::new(shared.config.relay);
    for job in batch {
        dispatch(shared, job, by_interest, &mut answers, &mut groups);
    }
    for (route, groups) in groups.routes {
        for group in groups {
            shared.router.publish(&shared.stream, route.clone(), group);
        }
    }
}

/// Messages for the same nodes: one envelope.
#[derive(Default)]
pub(super) struct Group {
    pub(super) builder: Builder,
    pub(super) parts: Vec<Part>,
}

impl Group {
    fn push(&mut self, item: &Item, part: Part) {
        self.builder.push(item);
        self.parts.push(part);
    }

    fn has_room_for(&self, item: &Item, config: &RelayConfig) -> bool {
        self.parts.len() < config.envelope_messages
            && self.builder.len() + item.record().len() <= config.envelope_size_limit
    }
}

/// Envelopes by their routes, which are in the order in which they began. What has the same destination has the same route,
/// and stays in order.
struct Groups {
    config: RelayConfig,
    routes: Vec<(Route, Vec<Group>)>,
    at: HashMap<Route, usize>,
    /// What was found for a destination of this batch: most have many messages in it.
    found: HashMap<(ByteString, bool), Found>,
}

/// Where the messages to a destination go.
#[derive(Clone, Copy)]
enum Found {
    Nowhere,
    /// The registry does not know, or nobody asked it.
    Everywhere(usize),
    Nodes(usize),
}

impl Groups {
    fn new(config: RelayConfig) -> Self {
        Self { config, routes: Vec::new(), at: HashMap::new(), found: HashMap::new() }
    }

    fn add(&mut self, route: Route, item: &Item, part: Part) {
        let at = self.route(route);
        self.push(at, item, part);
    }

    fn route(&mut self, route: Route) -> usize {
        if let Some(&at) = self.at.get(&route) {
            return at;
        }
        let at = self.routes.len();
        self.at.insert(route.clone(), at);
        self.routes.push((route, Vec::new()));
        at
    }

    /// The answer for a destination, looked for once; messages that were stranded have their own.
    fn find(&mut self, sought: (ByteString, bool), look: impl FnOnce(&str) -> Option<Vec<NodeId>>) -> Found {
        if let Some(&found) = self.found.get(&sought) {
            return found;
        }
        let found = match look(&sought.0) {
            None => Found::Everywhere(self.route(Route::Everyone)),
            Some(nodes) if nodes.is_empty() => Found::Nowhere,
            Some(nodes) => Found::Nodes(self.route(Route::Nodes(nodes))),
        };
        self.found.insert(sought, found);
        found
    }

    fn push(&mut self, at: usize, item: &Item, part: Part) {
        let groups = &mut self.routes[at].1;
        match groups.last_mut() {
            Some(group) if group.has_room_for(item, &self.config) => group.push(item, part),
            _ => {
                let mut group = Group::default();
                group.push(item, part);
                groups.push(group);
            }
        }
    }
}

/// Each name once.
#[derive(Default)]
struct Names {
    list: Vec<Name>,
    at: HashMap<Name, usize>,
}

impl Names {
    fn ask(&mut self, name: &Name) {
        if !self.at.contains_key(name) {
            self.at.insert(name.clone(), self.list.len());
            self.list.push(name.clone());
        }
    }
}

/// What the registry and the store said about a batch.
struct Answers<'a> {
    /// None when the registry does not answer.
    located: Option<&'a Located>,
    names: &'a HashMap<Name, usize>,
    appended: std::vec::IntoIter<Result<Appended, Refused>>,
}

async fn locate(shared: &Shared, names: &[Name], patterns: bool) -> Result<Located, RegistryError> {
    if names.is_empty() && !patterns {
        return Ok(Located::default());
    }
    if !shared.trusts_registry() {
        // Asking again and again would hold up every message for the time of a command; and the answers could have holes.
        return Err(RegistryError("it did not answer lately".into()));
    }
    let found = async {
        let located = shared.registry.locate(names).await?;
        shared.router.patterns.update(located.patterns_version, &*shared.registry).await?;
        Ok(located)
    };
    found.await.inspect_err(|error| shared.registry_failed(error))
}

async fn append(shared: &Shared, appends: Vec<Append>) -> Vec<Result<Appended, Refused>> {
    if appends.is_empty() {
        return Vec::new();
    }
    if !shared.registry_up.load(Ordering::Acquire) {
        return appends.iter().map(|_| Err(Refused::Store(StoreError::Away))).collect();
    }
    shared.store.append(appends).await
}

/// Adds one message to the envelopes it belongs in.
fn dispatch(shared: &Shared, job: Job, by_interest: bool, answers: &mut Answers<'_>, groups: &mut Groups) {
    let Job { what, part, .. } = job;
    match what {
        What::Session { node, session, rest, record } => {
            groups.add(Route::Nodes(vec![node]), &Item::Session { session, rest, record }, part);
        }
        What::Notice { record } => groups.add(Route::Everyone, &Item::Notice { record }, part),
        What::Broadcast { destination, record, list } => {
            if !by_interest {
                return groups.add(Route::Everyone, &Item::Message { way: Way::default(), record, list }, part);
            }
            let found = groups.find((ByteString::from(&*destination), false), |text| {
                let name = Name::Destination(destination.clone());
                nodes(shared, answers, Sought { name: Some(&name), destination: text, stranded: false })
            });
            match found {
                Found::Nowhere => {}
                Found::Everywhere(at) => groups.push(at, &Item::Message { way: Way::default(), record, list }, part),
                Found::Nodes(at) => {
                    let way = Way { sought: true, ..Way::default() };
                    groups.push(at, &Item::Message { way, record, list }, part);
                }
            }
        }
        What::Find { name, way, record, list, stranded } => {
            let destination = record::destination(&record).unwrap_or_default();
            // The name follows from the destination.
            let found = groups.find((destination, stranded), |destination| {
                nodes(shared, answers, Sought { name: Some(&name), destination, stranded })
            });
            match found {
                Found::Nowhere => {}
                // Everybody looks; nobody sends it on.
                Found::Everywhere(at) => {
                    groups.push(at, &Item::Message { way: Way { sought: false, ..way }, record, list }, part);
                }
                Found::Nodes(at) => groups.push(at, &Item::Message { way, record, list }, part),
            }
        }
        What::Keep { append } => {
            let Append { queue, record, .. } = append;
            let Appended { seq, readers } = match answers.appended.next() {
                Some(Ok(appended)) => appended,
                Some(Err(refused)) => return part.fail(&refused),
                None => return part.fail(&"the store of kept messages gave no answer"),
            };
            // Patterns get live messages, wherever they are; what is kept goes to those who have its destination open.
            let matching = nodes(shared, answers, Sought { name: None, destination: &queue, stranded: false });
            let to_patterns = match matching {
                None => Some(Route::Everyone),
                Some(nodes) => (!nodes.is_empty()).then_some(Route::Nodes(nodes)),
            };
            if let Some(route) = to_patterns {
                let also = Part { charge: None, outcome: part.outcome.clone(), _token: None };
                let item = Item::Message { way: Way::default(), record: record.clone(), list: None };
                groups.add(route, &item, also);
            }
            let mut remote: Vec<NodeId> = Vec::new();
            let boot = shared.boot();
            for reader in readers {
                if reader == boot {
                    if let Some(local) = shared.local() {
                        local.kept(seq, record.clone());
                    }
                } else if reader.node() != shared.node {
                    remote.push(reader.node());
                }
            }
            if !remote.is_empty() {
                tidy(&mut remote);
                groups.add(Route::Nodes(remote), &Item::Kept { seq, record }, part);
            }
        }
    }
}

/// Whose receivers are looked for.
struct Sought<'a> {
    name: Option<&'a Name>,
    destination: &'a str,
    /// It lay in a queue that nobody reads. Otherwise runs whose lease has ended count as well: one that is merely cut off
    /// from the registry still reads its queue, and what is in that of a dead one is looked up again by whoever adopts it.
    stranded: bool,
}

/// The other nodes that have receivers for the name or for a pattern that matches; `None` when nobody knows.
fn nodes(shared: &Shared, answers: &Answers<'_>, sought: Sought<'_>) -> Option<Vec<NodeId>> {
    let located = answers.located?;
    let mut nodes: Vec<NodeId> = Vec::new();
    let mut add = |boot: &Boot| {
        let node = boot.node();
        if node != shared.node && !(sought.stranded && shared.members.is_dead(boot)) {
            nodes.push(node);
        }
    };
    if let Some(at) = sought.name.and_then(|name| answers.names.get(name)) {
        located.nodes.get(*at).into_iter().flatten().for_each(&mut add);
    }
    shared.router.patterns.for_each_match(sought.destination, &mut add);
    tidy(&mut nodes);
    Some(nodes)
}

/// In one order and each once, so that equal sets are equal routes.
fn tidy(nodes: &mut Vec<NodeId>) {
    nodes.sort_unstable();
    nodes.dedup();
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_one_envelope_does_not_hold_begins_another_of_the_same_route() {
        let config = RelayConfig { envelope_messages: 3, envelope_size_limit: 1000, ..RelayConfig::default() };
        let mut groups = Groups::new(config);
        let [one, other] = ["a", "b"].map(|id| Route::Nodes(vec![NodeId::named(id).unwrap()]));
        let mut add = |route: &Route, bytes: usize| {
            let item = Item::Notice { record: Bytes::from(vec![0; bytes]) };
            groups.add(route.clone(), &item, Part { charge: None, outcome: None, _token: None });
        };
        // Four short ones for one node, between them what is too much for one envelope for the other, and one that is too
        // much by itself.
        for (first, second) in [(10, 600), (10, 600), (10, 5000), (10, 600)] {
            add(&one, first);
            add(&other, second);
        }
        let counts: Vec<(Route, Vec<usize>)> = groups
            .routes
            .into_iter()
            .map(|(route, groups)| (route, groups.iter().map(|group| group.parts.len()).collect()))
            .collect();
        assert_eq!(counts, [(one, vec![3, 1]), (other, vec![1, 1, 1, 1])]);
    }
}
