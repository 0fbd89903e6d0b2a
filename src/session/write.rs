//! Entries of the outbox as frames on the link.

use std::cell::RefCell;
use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use stampede_protocol::stomp::session::{AckMode, Session};
use stampede_protocol::stomp::{Delivery as Holes, Frame, Version, encode};

use super::link::{Link, OutFrame};
use super::slots::Slots;
use crate::destination::Destinations;
use crate::message::Message;
use crate::outbox::{Delivery, Kept, SlotRef};

/// What settles a delivery: ACK, NACK, or a proof of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) to: SlotRef,
    /// Its number in the kept queue; none where nothing is kept.
    pub(super) seq: Option<u64>,
}

thread_local! {
    /// Heads are built here and copied once, into the link's own buffer.
    static HEAD: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(4096));
}

/// Writes one whole frame.
pub(super) fn frame<L: Link>(link: &mut L, frame: &Frame, version: Version) {
    let mut octets = BytesMut::new();
    encode(frame, version, &mut octets);
    link.write(OutFrame { head: &octets, body: &Bytes::new(), tail: &[], binary: false });
}

/// Writes a heart-beat: one line end (STOMP 1.2, "Heart-beating").
pub(super) fn heart_beat<L: Link>(link: &mut L) {
    link.write(OutFrame { head: b"\n", body: &Bytes::new(), tail: &[], binary: false });
}

/// What becomes of a delivery that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing more has to happen, or the client settles it.
    Done,
    /// The transport has to prove that it arrived.
    Unproved(Token),
    /// This transport cannot carry it: it stays kept, for somebody else.
    LeftOut(Token),
}

/// Writes one MESSAGE.
pub(super) fn message<L: Link>(
    link: &mut L,
    session: &mut Session<Token>,
    slots: &Slots,
    delivery: &Delivery,
    destinations: &Destinations,
) -> Written {
    // Whoever unsubscribed meanwhile gets nothing more; kept messages went back with the subscription.
    let Some(slot) = slots.get(delivery.to) else { return Written::Done };
    one(link, session, delivery.to, slot.own, &delivery.message, delivery.kept, destinations)
}

/// Writes a message that is addressed to this session, once for each of its own subscriptions that wants it.
pub(super) fn own<L: Link>(
    link: &mut L,
    session: &mut Session<Token>,
    slots: &Slots,
    message: &Message,
    rest: &str,
    destinations: &Destinations,
) {
    for (to, slot) in slots.iter() {
        let wanted = slot.own
            && session.subscription(to.slot).is_some_and(|subscription| {
                let prefix = destinations.user_prefix();
                // The prefix ends with the slash that `rest` begins with.
                let wanted = &subscription.destination[prefix.len() - 1..];
                wanted == rest
                    || crate::destination::is_pattern(wanted)
                        && crate::destination::Pattern::parse(wanted).is_ok_and(|pattern| pattern.matches(rest))
            });
        if wanted {
            // Nothing is kept here, so there is nothing to prove.
            let _done = one(link, session, to, true, message, None, destinations);
        }
    }
}

fn one<L: Link>(
    link: &mut L,
    session: &mut Session<Token>,
    to: SlotRef,
    own: bool,
    message: &Message,
    kept: Option<Kept>,
    destinations: &Destinations,
) -> Written {
    let version = session.version();
    let Some(subscription) = session.subscription(to.slot) else { return Written::Done };
    let token = Token { to, seq: kept.map(|kept| kept.seq) };
    // A kept message has one id, however often it comes (`docs/differences.md`); only where ACK names nothing but that id
    // does a second copy in one session need its own.
    let copy = if kept.is_some() && (version == Version::V1_2 || subscription.ack == AckMode::Auto) {
        0
    } else {
        subscription.copy
    };
    let automatic = subscription.ack == AckMode::Auto;
    let ack = if automatic {
        None
    } else {
        let mut id = String::from(&*message.id);
        if copy > 0 {
            // Writing to a String cannot fail.
            let _always_ok = write!(id, "-{copy}");
        }
        session.delivered(to.slot, &id, token).map(|ack| ack.to_string())
    };
    let Some(subscription) = session.subscription(to.slot) else { return Written::Done };
    let holes = Holes {
        subscription: subscription.escaped_id.as_deref(),
        copy,
        ack: ack.as_deref().filter(|_| version == Version::V1_2),
        redelivered: kept.is_some_and(|kept| kept.redelivered),
    };
    let template = if own {
        message.own_template(version, || {
            let prefix = destinations.user_prefix();
            let rest = message.destination[prefix.len()..].split_once('/').map_or("", |(_, rest)| rest);
            format!("{prefix}{rest}")
        })
    } else {
        message.template(version)
    };
    let taken = HEAD.with_borrow_mut(|head| {
        head.clear();
        template.write_head(&holes, head);
        link.write(OutFrame { head, body: &message.body, tail: b"\0", binary: message.is_binary() })
    });
    match token.seq {
        Some(_) if !taken => Written::LeftOut(token),
        Some(_) if automatic => Written::Unproved(token),
        _ => Written::Done,
    }
}
