//! A connection whose octets are seen as they are, for whoever judges more than what they mean.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::stream::{self, Stream};
use super::target::Target;
use super::wire::Access;

/// A connection, and what came over it. Dropping it cuts it.
#[derive(Debug)]
pub struct Octets {
    stream: Stream,
    /// What came and was not taken yet.
    pub came: Vec<u8>,
}

impl Octets {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub async fn open(target: &Target, access: &Access) -> Result<Self, String> {
        let stream = stream::connect(target, access.tls.as_ref()).await;
        let stream = stream.map_err(|error| format!("{}: {error}", target.authority))?;
        Ok(Self { stream, came: Vec::new() })
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// Where the connection is gone.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), String> {
        self.stream.write_all(octets).await.map_err(|error| error.to_string())?;
        self.stream.flush().await.map_err(|error| error.to_string())
    }

    /// Waits for more, which is put behind what [`came`](Self::came). `false` at the end.
    ///
    /// # Errors
    ///
    /// Where the connection breaks.
    ///
    /// # Cancel safety
    ///
    /// Whoever stops waiting loses nothing.
    pub async fn more(&mut self) -> Result<bool, String> {
        let read = self.stream.read_buf(&mut self.came).await;
        read.map(|octets| octets > 0).map_err(|error| error.to_string())
    }
}
