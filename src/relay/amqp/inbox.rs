//! The node's own queue and the orphans, on a connection of their own: one that the broker has blocked for publishing could
//! not even acknowledge.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Connection, ErrorKind, Event};
use tokio::sync::oneshot;

use super::Inner;
use super::connect::{Backoff, Trouble, connect};
use super::reader::Reader;
use crate::ids::NodeId;
use crate::relay::{AdoptError, Source};

/// Orphans a node takes at a time; all nodes share them.
const ORPHANS: u16 = 20;
/// How often a queue is looked at that should become empty.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Reads as long as the node runs. `ready` hears of the first time; `retire` ends it in order.
pub(super) async fn run(
    inner: Arc<Inner>,
    ready: oneshot::Sender<Result<(), String>>,
    mut retire: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let mut ready = Some(ready);
    let mut backoff = Backoff::default();
    loop {
        let error = match open(&inner).await {
            Ok(Open { connection, own, orphans }) => {
                backoff = Backoff::default();
                inner.reading.store(true, Ordering::Release);
                inner.found("reading");
                match ready.take() {
                    Some(ready) => drop(ready.send(Ok(()))),
                    None => inner.inbox.resumed(),
                }
                let error = tokio::select! {
                    error = serve(&connection, own, orphans, &inner, &mut retire) => error,
                };
                inner.reading.store(false, Ordering::Release);
                // A lost connection closes itself.
                drop(tokio::time::timeout(Duration::from_secs(1), connection.close(200, "done".into())).await);
                match error {
                    Some(error) => error,
                    None => return,
                }
            }
            Err(Trouble::Final(error)) if ready.is_some() => {
                if let Some(ready) = ready.take() {
                    let _told = ready.send(Err(error));
                }
                return;
            }
            Err(trouble) => trouble.text().to_owned(),
        };
        inner.lost("reading", &error);
        tokio::select! {
            () = backoff.pause() => {}
            // Nothing can be read to its end now: another node adopts the queue.
            _retired = &mut retire => return,
        }
    }
}

struct Open {
    connection: Connection,
    own: Reader,
    orphans: Reader,
}

async fn open(inner: &Inner) -> Result<Open, Trouble> {
    let config = inner.topology.config();
    let connection = connect(config, &inner.node, "reads").await?;
    let opening = async {
        let channel = connection.create_channel().await?;
        inner.topology.declare_shared(&channel).await?;
        inner.topology.declare_queue(&channel, &inner.node).await?;
        let inbox = || Arc::clone(&inner.inbox);
        let queue = inner.topology.queue(&inner.node);
        let own =
            Reader::begin(channel, queue, config.prefetch, true, Source::Own, inbox()).await.map_err(|error| {
                // An earlier connection of this node, or of a namesake, still reads it.
                if is_in_use(&error) {
                    Trouble::Passing("another consumer reads the node's queue".into())
                } else {
                    error.into()
                }
            })?;
        let channel = connection.create_channel().await?;
        let orphans =
            Reader::begin(channel, inner.topology.orphans(), ORPHANS, false, Source::Orphans, inbox()).await?;
        Ok::<_, Trouble>((own, orphans))
    };
    match tokio::time::timeout(config.connect_timeout, opening).await {
        Ok(opened) => {
            let (own, orphans) = opened?;
            Ok(Open { connection, own, orphans })
        }
        Err(_) => Err(Trouble::Passing("the broker does not answer".into())),
    }
}

/// Reads until something fails, which it says, or until the node has retired.
async fn serve(
    connection: &Connection,
    own: Reader,
    orphans: Reader,
    inner: &Inner,
    retire: &mut oneshot::Receiver<oneshot::Sender<()>>,
) -> Option<String> {
    let mut events = pin!(connection.events_listener());
    let failed = async {
        while let Some(event) = events.next().await {
            if let Event::Error(error) = event {
                return error.to_string();
            }
        }
        pending().await
    };
    let open = Arc::clone(&own.open);
    let reading = async {
        tokio::select! {
            error = own.run() => error,
            error = orphans.run() => error,
            error = failed => error,
        }
    };
    let retiring = async {
        let Ok(retired) = retire.await else { return pending().await };
        if let Err(error) = empty_and_delete(connection, inner, &inner.node, &open).await {
            tracing::warn!(%error, "the node's queue is left to the others");
        }
        // Who asked may have given up waiting.
        let _told = retired.send(());
    };
    tokio::select! {
        error = reading => Some(error),
        () = retiring => None,
    }
}

/// Takes the queue of a node out of the exchanges, waits until whoever reads it has done everything, and deletes it.
async fn empty_and_delete(
    connection: &Connection,
    inner: &Inner,
    node: &NodeId,
    open: &AtomicUsize,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    inner.topology.unbind(&channel, node).await?;
    let queue = inner.topology.queue(node);
    let mut quiet = false;
    loop {
        let waiting = messages(connection, queue.clone()).await?;
        if waiting == 0 && open.load(Ordering::Acquire) == 0 {
            // Twice, since what has left the queue may not have been handed over the first time.
            if quiet {
                break;
            }
            quiet = true;
        } else {
            quiet = false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let options = QueueDeleteOptions { if_empty: true, ..QueueDeleteOptions::default() };
    channel.queue_delete(queue, options).await.map(drop)
}

async fn messages(connection: &Connection, queue: ShortString) -> lapin::Result<u32> {
    // What fails closes its channel.
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue, passive, FieldTable::default()).await?;
    let waiting = declared.message_count();
    channel.close(200, "done".into()).await?;
    Ok(waiting)
}

/// See [`crate::relay::Relay::adopt`].
pub(super) async fn adopt(inner: &Inner, node: &NodeId) -> Result<u64, AdoptError> {
    let failed = |error: lapin::Error| AdoptError::Failed(error.to_string().into());
    let connection = connect(inner.topology.config(), &inner.node, "adopts").await;
    let connection = connection.map_err(|trouble| AdoptError::Failed(trouble.text().into()))?;
    let adopting = async {
        let queue = inner.topology.queue(node);
        match messages(&connection, queue.clone()).await {
            Ok(_) => {}
            Err(error) if code(&error) == Some(404) => return Ok(0),
            Err(error) => return Err(failed(error)),
        }
        let channel = connection.create_channel().await.map_err(failed)?;
        let prefetch = inner.topology.config().prefetch;
        let inbox = Arc::clone(&inner.inbox);
        let reader = Reader::begin(channel, queue, prefetch, true, Source::Adopted, inbox).await;
        let reader = reader.map_err(|error| if is_in_use(&error) { AdoptError::InUse } else { failed(error) })?;
        let (open, taken) = (Arc::clone(&reader.open), Arc::clone(&reader.taken));
        tokio::select! {
            error = reader.run() => Err(AdoptError::Failed(error.into())),
            emptied = empty_and_delete(&connection, inner, node, &open) => {
                emptied.map(|()| taken.load(Ordering::Acquire) as u64).map_err(failed)
            }
        }
    };
    let adopted = adopting.await;
    drop(tokio::time::timeout(Duration::from_secs(1), connection.close(200, "done".into())).await);
    adopted
}

fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(refused) => Some(refused.get_id()),
        _ => None,
    }
}

/// ACCESS_REFUSED: an exclusive consumer is there.
fn is_in_use(error: &lapin::Error) -> bool {
    code(error) == Some(403)
}
