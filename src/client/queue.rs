//! What waits between a connection and whoever uses it: writing never waits, but whoever has much to say can.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

/// A queue: where it is filled, and where it is emptied.
pub(super) fn queue<T>() -> (Filler<T>, Taker<T>) {
    let (to, from) = unbounded_channel();
    let waiting = Arc::new(watch::Sender::new(0));
    (Filler { to, waiting: Arc::clone(&waiting) }, Taker { from, waiting })
}

/// Where a queue is filled.
#[derive(Debug)]
pub(super) struct Filler<T> {
    to: UnboundedSender<T>,
    waiting: Arc<watch::Sender<usize>>,
}

impl<T> Filler<T> {
    /// Puts it behind the others. Nobody may take it any more.
    pub(super) fn put(&self, entry: T) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        if self.to.send(entry).is_err() {
            self.waiting.send_replace(0);
        }
    }

    /// Waits until fewer than this many wait, or nobody takes them any more.
    ///
    /// # Cancel safety
    ///
    /// Whoever stops waiting loses nothing.
    pub(super) fn room(&self, most: usize) -> impl Future<Output = ()> + use<T> {
        let mut waiting = self.waiting.subscribe();
        async move {
            // Without its queue there is nothing to wait for.
            let _ = waiting.wait_for(|waiting| *waiting < most).await;
        }
    }
}

/// Where a queue is emptied.
#[derive(Debug)]
pub(super) struct Taker<T> {
    from: UnboundedReceiver<T>,
    waiting: Arc<watch::Sender<usize>>,
}

impl<T> Taker<T> {
    /// The next one; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// Whoever stops waiting loses nothing.
    pub(super) async fn recv(&mut self) -> Option<T> {
        let taken = self.from.recv().await;
        self.took(usize::from(taken.is_some()));
        taken
    }

    /// Waits for one, and takes up to this many.
    ///
    /// # Cancel safety
    ///
    /// Whoever stops waiting loses nothing.
    pub(super) async fn recv_many(&mut self, into: &mut Vec<T>, most: usize) -> usize {
        let taken = self.from.recv_many(into, most).await;
        self.took(taken);
        taken
    }

    fn took(&self, entries: usize) {
        self.waiting.send_modify(|waiting| *waiting = waiting.saturating_sub(entries));
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        self.from.close();
        self.waiting.send_replace(0);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_wants_room_waits_for_it() {
        let (filler, mut taker) = queue();
        for entry in 0..3 {
            assert!(filler.room(3).now_or_never().is_some());
            filler.put(entry);
        }
        assert!(filler.room(3).now_or_never().is_none());
        assert_eq!(taker.recv().await, Some(0));
        assert!(filler.room(3).now_or_never().is_some());
        assert!(filler.room(2).now_or_never().is_none());
        let mut rest = Vec::new();
        assert_eq!(taker.recv_many(&mut rest, 10).await, 2);
        assert_eq!(rest, [1, 2]);
        assert!(filler.room(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_one_who_is_gone() {
        let (filler, taker) = queue();
        filler.put(1);
        let room = filler.room(1);
        drop(taker);
        room.await;
        filler.put(2);
        assert!(filler.room(1).now_or_never().is_some());
    }
}
