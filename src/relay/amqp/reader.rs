//! Reads a queue: envelopes to the inbox in order, acknowledged in order when they are done.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

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
    /// Envelopes that came.
    taken: u64,
}

/// What a reader leaves when it was told to finish: everything that was handed to it is acknowledged.
#[derive(Debug)]
pub(super) struct Finished {
    /// What is asked on it comes after the last acknowledgement.
    pub(super) channel: Channel,
    pub(super) taken: u64,
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
        Ok(Self { channel, consumer, source, inbox, taken: 0 })
    }

    pub(super) const fn source(&self) -> Source {
        self.source
    }

    /// Reads until it is told to finish, or fails: the queue, the channel or the connection is gone.
    pub(super) async fn run(mut self, finish: &CancellationToken) -> Result<Finished, String> {
        let (finished, mut finished_tags) = mpsc::unbounded_channel();
        let mut tags = Tags::default();
        let mut due: Option<Instant> = None;
        let (mut finishing, mut ended) = (false, false);
        let never = Instant::now() + Duration::from_secs(86_400);
        while !ended || !tags.is_empty() {
            let mut wait = pin!(sleep_until(due.unwrap_or(never)));
            tokio::select! {
                delivery = self.consumer.next(), if !ended => match delivery {
                    Some(Ok(delivery)) => {
                        tags.open(delivery.delivery_tag);
                        self.take(delivery, &finished);
                    }
                    Some(Err(error)) => return Err(error.to_string()),
                    None if finishing => ended = true,
                    None => return Err("the queue is gone, or its broker node".into()),
                },
                Some(tag) = finished_tags.recv() => {
                    tags.finish(tag);
                    if tags.ready() > 0 && due.is_none() {
                        due = Some(Instant::now() + ACKNOWLEDGE_WITHIN);
                    }
                }
                () = &mut wait, if due.is_some() => {}
                () = finish.cancelled(), if !finishing => {
                    finishing = true;
                    // What is on its way comes before the answer, which ends the stream.
                    let cancelled = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
                    cancelled.await.map_err(|error| error.to_string())?;
                }
            }
            let overdue = due.is_some_and(|due| due <= Instant::now());
            if (overdue || tags.ready() >= ACKNOWLEDGE_AFTER)
                && let Some(tag) = tags.take()
            {
                due = None;
                let acknowledged = self.channel.basic_ack(tag, BasicAckOptions { multiple: true });
                acknowledged.await.map_err(|error| error.to_string())?;
            }
        }
        Ok(Finished { channel: self.channel, taken: self.taken })
    }

    fn take(&mut self, delivery: Delivery, finished: &mpsc::UnboundedSender<u64>) {
        self.taken += 1;
        count(&metrics().envelopes_received, label(self.source));
        let (tag, finished) = (delivery.delivery_tag, finished.clone());
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

    /// Whether everything is acknowledged.
    fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// The last tag that can be acknowledged, with all before it.
    fn take(&mut self) -> Option<u64> {
        let number = std::mem::take(&mut self.ready);
        self.done.drain(..usize::try_from(number).unwrap_or(usize::MAX));
        self.acknowledged += number;
        (number > 0).then_some(self.acknowledged)
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
        assert_eq!(tags.take(), Some(2));
        tags.finish(4);
        tags.open(5);
        assert_eq!(tags.take(), None);
        tags.finish(3);
        assert_eq!(tags.take(), Some(4));
        tags.finish(5);
        tags.finish(5);
        assert!(!tags.is_empty());
        assert_eq!(tags.take(), Some(5));
        assert!(tags.is_empty());
    }
}
