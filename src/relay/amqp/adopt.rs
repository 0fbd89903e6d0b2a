//! How a queue ends: that of this node when it leaves in order, that of another when it is dead.
//!
//! Whoever reads it alone takes it out of the exchanges, so that nothing new comes and what is meant for it becomes an orphan,
//! reads on until it is empty, and deletes it.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::connect::{connect, refusal};
use super::reader::Reader;
use crate::ids::NodeId;
use crate::relay::{AdoptError, Source};

/// How often a queue is looked at that should become empty.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// See [`crate::relay::Relay::adopt`].
pub(super) async fn adopt(inner: &Inner, node: &NodeId) -> Result<u64, AdoptError> {
    let failed = |error: String| AdoptError::Failed(error.into());
    let connection = connect(inner.topology.config(), &inner.node, "adopts").await;
    let connection = connection.map_err(|trouble| failed(trouble.text().into()))?;
    let adopting = async {
        let queue = inner.topology.queue(node);
        // A refusal closes the channel.
        let channel = connection.create_channel().await.map_err(|error| failed(error.to_string()))?;
        match messages(&channel, queue.clone()).await {
            Ok(_) => {}
            Err(error) if refusal(&error) == Some(404) => return Ok(0),
            Err(error) => return Err(failed(error.to_string())),
        }
        // From here on neither its owner nor another node reads it.
        let reader =
            begin(&connection, inner, queue, Source::Adopted).await.map_err(|error| match refusal(&error) {
                Some(403) => AdoptError::InUse,
                _ => failed(error.to_string()),
            })?;
        let now = CancellationToken::new();
        now.cancel();
        read_to_the_end(&connection, inner, node, reader, &now).await.map_err(failed)
    };
    let adopted = adopting.await;
    // A lost connection closes itself.
    drop(tokio::time::timeout(Duration::from_secs(1), connection.close(200, "done".into())).await);
    adopted
}

async fn begin(connection: &Connection, inner: &Inner, queue: ShortString, source: Source) -> lapin::Result<Reader> {
    let channel = connection.create_channel().await?;
    Reader::begin(channel, queue, inner.topology.config().prefetch, true, source, Arc::clone(&inner.inbox)).await
}

/// Reads the queue of a node, and once it is asked to, to its end: deletes it, and gives the number of envelopes. It is left
/// alone when somebody else has begun to read it.
pub(super) async fn read_to_the_end(
    connection: &Connection,
    inner: &Inner,
    node: &NodeId,
    mut reader: Reader,
    asked: &CancellationToken,
) -> Result<u64, String> {
    let text = |error: lapin::Error| error.to_string();
    let queue = inner.topology.queue(node);
    let source = reader.source();
    let mut taken = 0;
    loop {
        let looks_empty = CancellationToken::new();
        let looking = async {
            asked.cancelled().await;
            let channel = connection.create_channel().await?;
            inner.topology.unbind(&channel, node).await?;
            while messages(&channel, queue.clone()).await? > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            looks_empty.cancel();
            Ok(())
        };
        let (finished, _) = tokio::try_join!(reader.run(&looks_empty), async { looking.await.map_err(text) })?;
        taken += finished.taken;
        // All that was handed out is acknowledged, and the broker has read that before this. It refuses when something has come
        // since the look, or when a node that returned reads it.
        let safely = QueueDeleteOptions { if_unused: true, if_empty: true, nowait: false };
        match finished.channel.queue_delete(queue.clone(), safely).await {
            Ok(_) => return Ok(taken),
            Err(error) if refusal(&error) == Some(404) => return Ok(taken),
            Err(error) if refusal(&error) == Some(406) => {}
            Err(error) => return Err(text(error)),
        }
        reader = match begin(connection, inner, queue.clone(), source).await {
            Ok(reader) => reader,
            Err(error) if matches!(refusal(&error), Some(403 | 404)) => return Ok(taken),
            Err(error) => return Err(text(error)),
        };
    }
}

/// How many wait in a queue, those that a consumer has not counted.
async fn messages(channel: &Channel, queue: ShortString) -> lapin::Result<u32> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue, passive, FieldTable::default()).await?;
    Ok(declared.message_count())
}
