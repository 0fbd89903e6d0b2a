//! Reads a queue: envelopes to the inbox in order, acknowledged in order when they are done.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::relay::{Inbox, Source, Token};
use crate::telemetry::{count, metrics};

/// Envelopes acknowledged together at the latest.
const ACKNOWLEDGE_AFTER: u64 = 64;
/// And how long a finished one waits for others.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(5);
/// How often one envelope may become an orphan before it is given up: it would go round for ever.
const MAX_DEATHS: i64 = 8;

/// One queue being read.
#[derive(Debug)]
pub(super) struct Reader {
    channel: Channel,
    consumer: Consumer,
    source: Source,
    inbox: Arc<dyn Inbox>,
    /// Envelopes that are not acknowledged.
    pub(super) open: Arc<AtomicUsize>,
    /// Envelopes that came.
    pub(super) taken: Arc<AtomicUsize>,
}

impl Reader {
    /// Begins; with `exclusive` nobody else can, and it fails where somebody does already.
    pub(super) async fn begin(
        channel: Channel,
        queue: ShortString,
        prefetch: u16,
        exclusive: bool,
        source: Source,
        inbox: Arc<dyn Inbox>,
    ) -> lapin::Result<Self> {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions { exclusive, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        Ok(Self { channel, consumer, source, inbox, open: Arc::default(), taken: Arc::default() })
    }

    /// Reads until the queue, the channel or the connection is gone; says why.
    pub(super) async fn run(mut self) -> String {
        let (finished, mut finished_tags) = mpsc::unbounded_channel();
        let mut tags = Tags::default();
        let mut due: Option<Instant> = None;
        let never = Instant::now() + Duration::from_secs(86_400);
        loop {
            let mut wait = pin!(sleep_until(due.unwrap_or(never)));
            tokio::select! {
                delivery = self.consumer.next() => match delivery {
                    Some(Ok(delivery)) => {
                        let tag = delivery.delivery_tag;
                        tags.open(tag);
                        self.open.fetch_add(1, Ordering::AcqRel);
                        self.taken.fetch_add(1, Ordering::AcqRel);
                        count(&metrics().envelopes_received, label(self.source));
                        let finished = finished.clone();
                        let token = Token::new(move || {
                            // Whoever reads the tags may have ended: then the broker hands the envelope out again.
                            let _told = finished.send(tag);
                        });
                        if deaths(&delivery.properties) > MAX_DEATHS {
                            count(&metrics().messages_dropped, "orphan-given-up");
                            tracing::warn!("an envelope that no node takes is given up");
                        } else {
                            self.inbox.deliver(Bytes::from(delivery.data), self.source, token);
                        }
                    }
                    Some(Err(error)) => return error.to_string(),
                    None => return "the queue is gone, or read by nobody any more".into(),
                },
                Some(tag) = finished_tags.recv() => {
                    tags.finish(tag);
                    if tags.ready() > 0 && due.is_none() {
                        due = Some(Instant::now() + ACKNOWLEDGE_WITHIN);
                    }
                }
                () = &mut wait, if due.is_some() => {}
            }
            let overdue = due.is_some_and(|due| due <= Instant::now());
            if (overdue || tags.ready() >= ACKNOWLEDGE_AFTER)
                && let Some((tag, number)) = tags.take()
            {
                due = None;
                if let Err(error) = self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await {
                    return error.to_string();
                }
                self.open.fetch_sub(usize::try_from(number).unwrap_or(usize::MAX), Ordering::AcqRel);
            }
        }
    }
}

/// Which deliveries are done. They are numbered from 1 on.
#[derive(Debug, Default)]
struct Tags {
    /// Everything up to here is acknowledged.
    acknowledged: u64,
    /// Done or not, from there on.
    done: VecDeque<bool>,
    /// So many at the front are done.
    ready: u64,
}

impl Tags {
    fn open(&mut self, tag: u64) {
        if self.done.is_empty() {
            self.acknowledged = tag - 1;
            self.ready = 0;
        }
        self.done.push_back(false);
    }

    fn finish(&mut self, tag: u64) {
        let at = tag.checked_sub(self.acknowledged + 1).and_then(|at| usize::try_from(at).ok());
        if let Some(done) = at.and_then(|at| self.done.get_mut(at)) {
            *done = true;
        }
        while self.done.get(usize::try_from(self.ready).unwrap_or(usize::MAX)) == Some(&true) {
            self.ready += 1;
        }
    }

    const fn ready(&self) -> u64 {
        self.ready
    }

    /// The last tag that can be acknowledged, and how many that are.
    fn take(&mut self) -> Option<(u64, u64)> {
        let number = std::mem::take(&mut self.ready);
        self.done.drain(..usize::try_from(number).unwrap_or(usize::MAX));
        self.acknowledged += number;
        (number > 0).then_some((self.acknowledged, number))
    }
}

/// How often the broker has sent this one on because it waited too long.
fn deaths(properties: &BasicProperties) -> i64 {
    let Some(headers) = properties.headers() else { return 0 };
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else { return 0 };
    let counts = deaths.as_slice().iter().map(|death| match death {
        AMQPValue::FieldTable(death) => match death.inner().get("count") {
            Some(AMQPValue::LongLongInt(count)) => *count,
            _ => 1,
        },
        _ => 1,
    });
    counts.sum()
}

const fn label(source: Source) -> &'static str {
    match source {
        Source::Own => "own",
        Source::Adopted => "adopted",
        Source::Orphans => "orphans",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_done_without_a_hole_is_acknowledged() {
        let mut tags = Tags::default();
        for tag in 1..=4 {
            tags.open(tag);
        }
        tags.finish(2);
        assert_eq!(tags.take(), None);
        tags.finish(1);
        assert_eq!(tags.take(), Some((2, 2)));
        tags.finish(4);
        tags.open(5);
        assert_eq!(tags.take(), None);
        tags.finish(3);
        assert_eq!(tags.take(), Some((4, 2)));
        tags.finish(5);
        tags.finish(5);
        assert_eq!(tags.take(), Some((5, 1)));
    }
}
