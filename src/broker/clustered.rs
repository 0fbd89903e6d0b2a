//! The broker as one of several: what it tells the cluster, and what it does for other nodes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::kept::unix_millis;
use super::policy::Policy;
use super::together::Job;
use super::{Broker, Handover};
use crate::cluster::{Cluster, Local, Target};
use crate::destination::Kind;
use crate::ids::{Boot, NodeId, SessionId};
use crate::mailbox::queue::{Mode, Policy as Kept};
use crate::mailbox::record;
use crate::message::Message;
use crate::registry::Name;
use crate::relay::Later;

impl Broker {
    /// Whether so much waits for other nodes that sessions should send no more for now.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.is_congested())
    }

    /// The cluster that this broker is part of.
    #[must_use]
    pub const fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// Looks after the mailboxes and rooms that all nodes share; never ends.
    pub async fn keep_in_touch(self: Arc<Self>) {
        if let Some(cluster) = &self.cluster {
            tokio::join!(
                self.kept.run(cluster),
                self.run_rooms(cluster),
                self.run_reports(cluster),
                self.keep_revocations(cluster)
            );
        }
    }

    /// Hands a message on to the other nodes.
    pub(super) fn relay(
        &self,
        cluster: &Cluster,
        message: &Message,
        policy: Policy,
        by_name_only: bool,
        delivered: bool,
        handover: &mut Handover,
    ) {
        let target = match (policy.kept, self.destinations.send_target(&message.destination)) {
            (Some(Kept { mode: Mode::One, keep }), _) => Target::Work(keep),
            (Some(Kept { mode: Mode::Everyone, keep }), _) => Target::Kept(keep),
            (None, Kind::UserExplicit { addressee, .. }) => {
                Target::User { addressee: (&*addressee).into(), by_name_only }
            }
            (None, _) => Target::Destination,
        };
        cluster.send(message, target, delivered, Some(handover.later()));
    }

    /// Hands a message on to a session of another node.
    pub(super) fn relay_to_session(&self, id: &str, rest: &str, message: &Message, handover: &mut Handover) {
        let (Some(cluster), Some(node)) = (&self.cluster, self.node_of_session(id)) else { return };
        cluster.send_to_session(node, id, &format!("/{rest}"), message, Some(handover.later()));
    }

    /// The other node that a session with this id is connected to, if there can be one.
    pub(super) fn node_of_session(&self, id: &str) -> Option<NodeId> {
        self.cluster.as_ref()?;
        let session = SessionId::parse(id)?;
        NodeId::named(session.node()).ok().filter(|node| *node != self.node)
    }

    /// Under which name the receivers of this destination are registered.
    pub(super) fn name_of(&self, destination: &str) -> Option<Name> {
        match self.destinations.send_target(destination) {
            Kind::UserExplicit { addressee, .. } => Some(Name::User((&*addressee).into())),
            Kind::Broker => Some(Name::Destination(destination.into())),
            Kind::UserOwn(_) | Kind::Application(_) | Kind::Unknown => None,
        }
    }

    /// There is one more receiver for the name; the frame is done when every node knows.
    pub(super) fn tell_cluster(&self, name: impl FnOnce() -> Option<Name>, handover: &mut Handover) {
        let Some(cluster) = &self.cluster else { return };
        if let Some(name) = name() {
            cluster.add(name, handover.if_asked());
        }
    }

    /// There is one receiver fewer for the name.
    pub(super) fn untell_cluster(&self, name: impl FnOnce() -> Option<Name>) {
        let Some(cluster) = &self.cluster else { return };
        if let Some(name) = name() {
            cluster.remove(name);
        }
    }
}

impl Local for Broker {
    fn wants(&self, destination: &str) -> bool {
        if self.topics.find(destination).is_some() {
            return true;
        }
        let mut found = false;
        self.patterns.for_each_match(destination, |_| found = true);
        found
    }

    fn deliver(&self, message: Message, by_name_only: bool) -> u64 {
        self.deliver_here(&Arc::new(message), by_name_only)
    }

    fn deliver_to(&self, session: &str, rest: &str, message: Message) -> bool {
        let Some(session) = self.session(session) else { return false };
        // A session without room for it has been told to end.
        let _told = session.outbox.offer_own(Arc::new(message), rest.into(), self.outbox_limit);
        true
    }

    fn kept(&self, seq: u64, bytes: Bytes) {
        let Ok(destination) = record::destination(&bytes) else { return };
        self.kept.arrive(&destination, seq, bytes, unix_millis());
    }

    fn notice(&self, record: &[u8]) {
        self.hear_of_revocation(record);
    }

    fn look_again(&self) {
        self.kept.look_again();
        self.answers_again();
    }

    fn answers_again(&self) {
        // Mailboxes and names ask again by themselves.
        if let Some(queue) = self.rooms.shared() {
            queue.push(Job::Look);
        }
    }

    fn died<'a>(&'a self, boot: &'a Boot, alive: &'a HashMap<NodeId, Boot>) -> Later<'a, bool> {
        Box::pin(self.end_of_dead(boot, alive))
    }
}
