//! An HTTP/1 client that hides nothing: it shows chunk borders, and can leave at any moment.

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// A status line and headers.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: String,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(to)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn send_raw(&mut self, octets: &[u8]) {
        soon(self.stream.write_all(octets)).await.unwrap();
    }

    /// Sends a request. POST has a Content-Length, as browsers send it.
    pub(crate) async fn send(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{line} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if line.starts_with("POST") || !body.is_empty() {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        self.send_raw(&[head.as_bytes(), body].concat()).await;
    }

    pub(crate) async fn head(&mut self) -> Head {
        let text = String::from_utf8(self.until(b"\r\n\r\n").await).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Head { status, headers: lines.filter_map(header).collect() }
    }

    /// The next chunk of a chunked answer; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let size = String::from_utf8(self.until(b"\r\n").await).unwrap();
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let chunk = self.exactly(size + 2).await;
        (size > 0).then(|| String::from_utf8(chunk[..size].to_vec()).unwrap())
    }

    /// A whole answer with its body, however that is delimited.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let body = self.body(&head).await;
        Answer { head, body }
    }

    pub(crate) async fn ask(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(line, headers, body).await;
        self.answer().await
    }

    /// Waits until the server closes; what came before it.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        soon(async { while self.more().await > 0 {} }).await;
        std::mem::take(&mut self.read)
    }

    /// Whether the server closed without another octet.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    async fn body(&mut self, head: &Head) -> String {
        if matches!(head.status, 101 | 204 | 304) {
            return String::new();
        }
        let octets = if head.get("transfer-encoding") == Some("chunked") {
            let mut body = String::new();
            while let Some(chunk) = self.chunk().await {
                body += &chunk;
            }
            return body;
        } else if let Some(length) = head.get("content-length") {
            self.exactly(length.parse().unwrap()).await
        } else {
            self.rest().await
        };
        String::from_utf8(octets).unwrap()
    }

    async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        soon(async {
            loop {
                if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                    let rest = self.read.split_off(at + end.len());
                    return std::mem::replace(&mut self.read, rest);
                }
                let before = String::from_utf8_lossy(&self.read).into_owned();
                assert!(self.more().await > 0, "the server closed after {before:?}");
            }
        })
        .await
    }

    async fn exactly(&mut self, size: usize) -> Vec<u8> {
        soon(async {
            while self.read.len() < size {
                assert!(self.more().await > 0, "the server closed");
            }
        })
        .await;
        let rest = self.read.split_off(size);
        std::mem::replace(&mut self.read, rest)
    }

    /// Reads what is there; 0 when the server closed or reset.
    async fn more(&mut self) -> usize {
        self.stream.read_buf(&mut self.read).await.unwrap_or(0)
    }
}

impl Head {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl Answer {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// Status and body, for a short comparison.
    pub(crate) fn seen(&self) -> (u16, &str) {
        (self.head.status, &self.body)
    }
}
