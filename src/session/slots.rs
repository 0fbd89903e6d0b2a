//! The subscriptions of one session, as its task sees them: where each sits in the broker.

use bytestring::ByteString;

use crate::broker::Placement;
use crate::outbox::SlotRef;

/// Subscriptions by slot.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Option<Slot>>,
    /// Counts subscriptions, so that a reused slot is told from the one before.
    generation: u32,
}

/// One live subscription.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) placement: Placement,
    /// Subscribed as `/user/queue/…`: messages show the destination in that form.
    pub(super) own: bool,
    /// What was subscribed, if the end of the subscription may leave a room.
    pub(super) joins: Option<ByteString>,
}

impl Slots {
    /// A name for the subscription that is about to sit in `slot`.
    pub(super) const fn next(&mut self, slot: u32) -> SlotRef {
        self.generation = self.generation.wrapping_add(1);
        SlotRef { slot, generation: self.generation }
    }

    pub(super) fn put(&mut self, to: SlotRef, placement: Placement, own: bool, joins: Option<ByteString>) {
        let index = to.slot as usize;
        if self.slots.len() <= index {
            self.slots.reserve_exact(index + 1 - self.slots.len());
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(Slot { generation: to.generation, placement, own, joins });
    }

    pub(super) fn take(&mut self, slot: u32) -> Option<Slot> {
        self.slots.get_mut(slot as usize)?.take()
    }

    /// The subscription, if it is still the one that was meant.
    pub(super) fn get(&self, to: SlotRef) -> Option<&Slot> {
        self.slots.get(to.slot as usize)?.as_ref().filter(|slot| slot.generation == to.generation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotRef, &Slot)> {
        self.slots.iter().zip(0_u32..).filter_map(|(slot, index)| {
            let slot = slot.as_ref()?;
            Some((SlotRef { slot: index, generation: slot.generation }, slot))
        })
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Slot> + use<> {
        std::mem::take(&mut self.slots).into_iter().flatten()
    }
}
