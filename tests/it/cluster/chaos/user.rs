//! A client that survives everything: it moves from node to node, sends, and notes what it gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::check::{Got, History, Kind, Letter};
use super::random::Random;

/// What all users share with the one who breaks things.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// Nodes that run.
    pub(super) nodes: Mutex<Vec<SocketAddr>>,
    pub(super) history: Mutex<History>,
    /// Nobody sends any more.
    pub(super) over: AtomicBool,
    sessions: AtomicU64,
}

/// How long anything may take before the client gives its connection up.
const PATIENCE: Duration = Duration::from_secs(8);
/// Messages a session sends at most before it moves.
const STAY: u64 = 40;

/// One user.
#[derive(Debug)]
pub(super) struct User {
    pub(super) number: usize,
    pub(super) users: usize,
    pub(super) stage: Arc<Stage>,
    pub(super) random: Random,
    /// How many letters went to whom.
    counts: Vec<[u64; 3]>,
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

struct Session {
    socket: WebSocketStream<TcpStream>,
    number: u64,
    receipts: u64,
    by: usize,
}

impl User {
    pub(super) fn new(number: usize, users: usize, stage: &Arc<Stage>, random: Random) -> Self {
        Self { number, users, stage: Arc::clone(stage), random, counts: vec![[0; 3]; users] }
    }

    /// Lives until it is over.
    pub(super) async fn live(mut self) {
        while !self.stage.over.load(Ordering::Acquire) {
            // A connection that breaks is what all this is about.
            if self.one_session().await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads the mailbox until this letter is there, which was sent after all others.
    pub(super) async fn read_to_the_end(
        number: usize,
        stage: &Stage,
        node: SocketAddr,
        last: Letter,
    ) -> Result<(), Broken> {
        let mut session = Session::open(number, stage, node).await?;
        session.ask(stage, "SUBSCRIBE\ndestination:/user/queue/kept\nid:kept\n", "").await?;
        while !stage.history.lock().got.iter().any(|got| got.letter == last) {
            session.one_frame(stage).await?;
        }
        // The proof of the last deliveries travels with the answers to pings; a receipt comes behind them.
        session.ask(stage, "UNSUBSCRIBE\nid:kept\n", "").await.map(drop)
    }

    async fn one_session(&mut self) -> Result<(), Broken> {
        let stage = Arc::clone(&self.stage);
        let node = {
            let nodes = stage.nodes.lock();
            nodes[self.random.below(nodes.len() as u64) as usize]
        };
        let mut session = Session::open(self.number, &stage, node).await?;
        for kind in Kind::ALL {
            let destination = match kind {
                Kind::Topic => "/topic/all".to_owned(),
                kind => format!("/user/queue/{}", kind.name()),
            };
            let name = kind.name();
            session.ask(&stage, &format!("SUBSCRIBE\ndestination:{destination}\nid:{name}\n"), "").await?;
        }
        for _ in 0..self.random.below(STAY) {
            if stage.over.load(Ordering::Acquire) {
                break;
            }
            let letter = self.next_letter(session.number);
            let destination = match letter.kind {
                Kind::Topic => "/topic/all".to_owned(),
                kind => format!("/user/u{}/queue/{}", letter.to, kind.name()),
            };
            stage.history.lock().sent += 1;
            session.ask(&stage, &format!("SEND\ndestination:{destination}\n"), &letter.body()).await?;
            stage.history.lock().confirmed.insert(letter);
        }
        if self.random.below(2) == 0 {
            session.ask(&stage, "DISCONNECT\n", "").await?;
        }
        Ok(())
    }

    fn next_letter(&mut self, session: u64) -> Letter {
        let kind = match self.random.below(10) {
            0..6 => Kind::Kept,
            6..8 => Kind::Live,
            _ => Kind::Topic,
        };
        let to = if kind == Kind::Topic { 0 } else { self.random.below(self.users as u64) as usize };
        let count = &mut self.counts[to][kind as usize];
        *count += 1;
        Letter { kind, from: self.number, session, to, number: *count }
    }
}

/// Sends one letter, again and again until it is confirmed: its number counts as one message.
pub(super) async fn send_last(stage: &Stage, node: SocketAddr, letter: Letter) -> Result<(), Broken> {
    let mut session = Session::open(letter.from, stage, node).await?;
    let head = format!("SEND\ndestination:/user/u{}/queue/kept\n", letter.to);
    session.ask(stage, &head, &letter.body()).await
}

impl Session {
    async fn open(by: usize, stage: &Stage, node: SocketAddr) -> Result<Self, Broken> {
        let number = stage.sessions.fetch_add(1, Ordering::Relaxed);
        let socket = timeout(PATIENCE, async {
            let stream = TcpStream::connect(node).await?;
            let (socket, _) = tokio_tungstenite::client_async(format!("ws://{node}/ws"), stream).await?;
            Ok::<_, Broken>(socket)
        });
        let mut session = Self { socket: socket.await??, number, receipts: 0, by };
        session.write(&format!("CONNECT\naccept-version:1.2\nhost:h\nlogin:u{by}\nheart-beat:0,0\n\n\0")).await?;
        let (command, ..) = session.read(stage).await?;
        if command == "CONNECTED" { Ok(session) } else { Err(command.into()) }
    }

    /// Sends a frame and reads until its receipt.
    async fn ask(&mut self, stage: &Stage, head: &str, body: &str) -> Result<(), Broken> {
        self.receipts += 1;
        let receipt = format!("r{}", self.receipts);
        self.write(&format!("{head}receipt:{receipt}\n\n{body}\0")).await?;
        loop {
            let (command, headers) = self.one_frame(stage).await?;
            if command == "RECEIPT" && headers.iter().any(|line| *line == format!("receipt-id:{receipt}")) {
                return Ok(());
            }
        }
    }

    /// Reads one frame and notes it when it is a message.
    async fn one_frame(&mut self, stage: &Stage) -> Result<(String, Vec<String>), Broken> {
        let (command, headers, body) = self.read(stage).await?;
        match command.as_str() {
            "MESSAGE" => {
                let letter = Letter::read(&body).ok_or_else(|| format!("no letter: {body}"))?;
                let id = headers.iter().find_map(|line| line.strip_prefix("message-id:")).unwrap_or_default();
                let got = Got { letter, by: self.by, session: self.number, message_id: id.to_owned() };
                stage.history.lock().got.push(got);
            }
            "ERROR" => return Err(headers.join(", ").into()),
            _ => {}
        }
        Ok((command, headers))
    }

    async fn read(&mut self, _stage: &Stage) -> Result<(String, Vec<String>, String), Broken> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await?.ok_or("the connection ended")??;
            let Message::Text(text) = message else { continue };
            let frame = text.trim_start_matches('\n');
            if frame.is_empty() {
                continue;
            }
            let (head, body) = frame.split_once("\n\n").ok_or("no frame")?;
            let mut lines = head.lines().map(str::to_owned);
            let command = lines.next().unwrap_or_default();
            return Ok((command, lines.collect(), body.trim_end_matches('\0').to_owned()));
        }
    }

    async fn write(&mut self, frame: &str) -> Result<(), Broken> {
        timeout(PATIENCE, self.socket.send(Message::text(frame))).await?.map_err(Into::into)
    }
}
