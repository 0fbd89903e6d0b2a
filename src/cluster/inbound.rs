//! What comes from other nodes.
//!
//! Envelopes of one run of a node are numbered, so that repetitions are known. What was in the queue of a dead node, or found
//! no queue, is looked up again; so is a message for a user who has left this node meanwhile. Both end after [`MAX_HOPS`].

use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::envelope::{Envelope, Item, Way};
use super::router::{Job, What};
use super::streams::Streams;
use super::{Local, Shared};
use crate::destination::Destinations;
use crate::mailbox::record;
use crate::message::ListVersion;
use crate::registry::Name;
use crate::relay::{Inbox, Source, Token};
use crate::telemetry::{count, metrics};

/// How often one message is looked up again.
const MAX_HOPS: u8 = 3;

/// Takes envelopes from the relay.
#[derive(Debug)]
pub struct Inbound {
    way_in: Mutex<WayIn>,
    streams: Mutex<Streams>,
}

/// A node reads its queue before its broker is there: what an earlier run left in it must not get lost. The relay bounds
/// how much waits by what it hands out unacknowledged.
#[derive(Debug)]
enum WayIn {
    Closed(Vec<(Bytes, Source, Token)>),
    Open(Weak<Shared>),
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self { way_in: Mutex::new(WayIn::Closed(Vec::new())), streams: Mutex::default() }
    }

    /// Hands on what came so far, and everything from now on.
    pub(super) fn open(&self, shared: &Arc<Shared>) {
        let mut way_in = self.way_in.lock();
        if let WayIn::Closed(waiting) = &mut *way_in {
            for (bytes, source, token) in std::mem::take(waiting) {
                self.take(shared, bytes, source, &token);
            }
        }
        *way_in = WayIn::Open(Arc::downgrade(shared));
    }

    fn shared(&self) -> Option<Arc<Shared>> {
        match &*self.way_in.lock() {
            WayIn::Open(shared) => shared.upgrade(),
            WayIn::Closed(_) => None,
        }
    }

    fn take(&self, shared: &Arc<Shared>, bytes: Bytes, source: Source, token: &Token) {
        let Some(local) = shared.local() else { return };
        let mut envelope = match Envelope::open(bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                count(&metrics().messages_dropped, "unreadable-envelope");
                return tracing::error!(%error, "an envelope from another node cannot be read");
            }
        };
        if source == Source::Own {
            // The own copy of what went to everybody, and what came before.
            if *envelope.stream == *shared.stream || !self.streams.lock().is_new(&envelope.stream, envelope.seq) {
                return;
            }
        }
        while let Some(item) = envelope.next() {
            match item {
                Ok(item) => take(shared, &*local, item, source, token),
                Err(error) => {
                    count(&metrics().messages_dropped, "unreadable-envelope");
                    tracing::error!(%error, "an envelope from another node cannot be read to its end");
                }
            }
        }
    }
}

impl Inbox for Inbound {
    fn deliver(&self, bytes: Bytes, source: Source, token: Token) {
        let shared = match &mut *self.way_in.lock() {
            WayIn::Open(shared) => shared.upgrade(),
            WayIn::Closed(waiting) => return waiting.push((bytes, source, token)),
        };
        if let Some(shared) = shared {
            self.take(&shared, bytes, source, &token);
        }
    }

    fn resumed(&self) {
        if let Some(local) = self.shared().and_then(|shared| shared.local()) {
            local.look_again();
        }
    }
}

fn take(shared: &Shared, local: &dyn Local, item: Item, source: Source, token: &Token) {
    match item {
        Item::Message { way, record, list } => message(shared, local, way, (record, list), source, token),
        Item::Session { session, rest, record } => {
            // A session lives on one node; with the node it is gone.
            let there = source == Source::Own
                && decoded(record).is_some_and(|message| local.deliver_to(&session, &rest, message));
            if !there {
                count(&metrics().messages_dropped, "no-such-session");
            }
        }
        // Whoever opens the destination finds it in the store, so nothing is lost where nobody has it open.
        Item::Kept { seq, record } => local.kept(seq, record),
        Item::Notice { record } => local.notice(&record),
    }
}

/// A message, and which list of members it is if it is nothing else.
type Listed = (Bytes, Option<ListVersion>);

fn message(shared: &Shared, local: &dyn Local, way: Way, what: Listed, source: Source, token: &Token) {
    let (bytes, list) = what;
    let Ok(destination) = record::destination(&bytes) else {
        return count(&metrics().messages_dropped, "unreadable-envelope");
    };
    let stranded = source != Source::Own;
    if !way.sought {
        // It went to everybody: the others have their own copies.
        if !stranded && local.wants(&destination) {
            deliver(shared, local, way, bytes, list);
        }
        return;
    }
    let Some(addressee) = shared.addressee(&destination) else {
        // As above: a broadcast that went only to those who wanted it.
        if !stranded && local.wants(&destination) {
            deliver(shared, local, way, bytes, list);
        }
        return;
    };
    let name = Name::User(addressee);
    let (holds, wants) = (shared.interests.holds(&name), local.wants(&destination));
    let way = Way { repeated: way.repeated || stranded, ..way };
    if holds || wants {
        deliver(shared, local, way, bytes.clone(), list.clone());
    }
    // Who has a pattern for it may never have had the name.
    if stranded || !(holds || wants) {
        if way.hops >= MAX_HOPS {
            return count(&metrics().messages_dropped, "receiver-moved-on");
        }
        let way = Way { hops: way.hops + 1, repeated: true, ..way };
        let what = What::Find { name, way, record: bytes, list, stranded };
        shared.router.submit(Job::new(what, None, Some(token.clone())));
    }
}

fn deliver(shared: &Shared, local: &dyn Local, way: Way, bytes: Bytes, list: Option<ListVersion>) {
    let Some(mut message) = decoded(bytes) else { return };
    message.list = list;
    if way.repeated && shared.recent.knows(&message.id) {
        return count(&metrics().messages_dropped, "repeated");
    }
    let id = message.id.clone();
    // Only what was looked up can be sent again by somebody else, and only who has got it may be spared.
    if local.deliver(message, way.by_name_only) > 0 && way.sought {
        shared.recent.insert(&id);
    }
}

fn decoded(bytes: Bytes) -> Option<crate::message::Message> {
    // A message may wait in an outbox for long: it must not hold the whole envelope in memory.
    match record::decode(Bytes::copy_from_slice(&bytes)) {
        Ok(message) => Some(message),
        Err(error) => {
            count(&metrics().messages_dropped, "unreadable-envelope");
            tracing::error!(%error, "a message from another node cannot be read");
            None
        }
    }
}

impl Shared {
    /// The addressee of a user destination.
    fn addressee(&self, destination: &str) -> Option<Box<str>> {
        addressee(&self.destinations, destination)
    }
}

/// What stands between the user prefix and the next slash, decoded.
pub(crate) fn addressee(destinations: &Destinations, destination: &str) -> Option<Box<str>> {
    use crate::destination::Kind;
    match destinations.send_target(destination) {
        Kind::UserExplicit { addressee, .. } => Some((&*addressee).into()),
        _ => None,
    }
}
