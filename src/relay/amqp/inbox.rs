//! The node's own queue and the orphans, on a connection of their own: one that the broker has blocked for publishing could
//! not even acknowledge.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::{Connection, Event};
use tokio::sync::oneshot;

use super::Inner;
use super::adopt::read_to_the_end;
use super::connect::{Backoff, Trouble, connect, refusal};
use super::reader::Reader;
use crate::relay::Source;

/// Orphans a node takes at a time; all nodes share them.
const ORPHANS: u16 = 20;

/// Reads until the node retires or ends. `ready` hears of the first time.
pub(super) async fn run(inner: Arc<Inner>, ready: oneshot::Sender<Result<(), String>>) {
    tokio::select! {
        () = read(&inner, ready) => {}
        () = inner.ended.cancelled() => {}
    }
    inner.reading.store(false, Ordering::Release);
    // Also where the queue could not be deleted: nothing is delivered any more.
    inner.retired.cancel();
}

async fn read(inner: &Inner, ready: oneshot::Sender<Result<(), String>>) {
    let mut ready = Some(ready);
    let mut backoff = Backoff::default();
    loop {
        let error = match open(inner).await {
            Ok(Open { connection, own, orphans }) => {
                backoff = Backoff::default();
                inner.reading.store(true, Ordering::Release);
                inner.found("reading");
                match ready.take() {
                    // Nobody may wait for it any more.
                    Some(ready) => drop(ready.send(Ok(()))),
                    None => inner.inbox.resumed(),
                }
                let ended = Box::pin(serve(&connection, own, orphans, inner)).await;
                inner.reading.store(false, Ordering::Release);
                // A lost connection closes itself.
                drop(tokio::time::timeout(Duration::from_secs(1), connection.close(200, "done".into())).await);
                match ended {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(Trouble::Final(error)) if ready.is_some() => {
                if let Some(ready) = ready.take() {
                    let _told = ready.send(Err(error));
                }
                return;
            }
            Err(trouble) if inner.retire.is_cancelled() => {
                return tracing::warn!(error = trouble.text(), "the node's queue is left to the others");
            }
            Err(trouble) => trouble.text().to_owned(),
        };
        inner.lost("reading", &error);
        backoff.pause().await;
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
                // An earlier connection of this node, or a namesake, or whoever adopts it.
                match refusal(&error) {
                    Some(403) => Trouble::Passing("another consumer reads the node's queue".into()),
                    _ => error.into(),
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

/// Reads until the node has retired, or something fails, which it says.
async fn serve(connection: &Connection, own: Reader, orphans: Reader, inner: &Inner) -> Result<(), String> {
    let mut events = pin!(connection.events_listener());
    let failed = async {
        while let Some(event) = events.next().await {
            if let Event::Error(error) = event {
                return error.to_string();
            }
        }
        pending().await
    };
    let orphans = async { orphans.run(&inner.retire).await.map(drop) };
    let own = async { read_to_the_end(connection, inner, &inner.node, own, &inner.retire).await.map(drop) };
    tokio::select! {
        ended = async { tokio::try_join!(own, orphans) } => ended.map(drop),
        error = failed => Err(error),
    }
}
