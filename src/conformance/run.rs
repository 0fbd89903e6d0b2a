//! Plays a plan, many transcripts at a time.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use http::Method;
use tokio::time::timeout;

use super::form::show;
use super::known::Known;
use super::plan::Case;
use super::play::{self, Stop};
use super::requests;
use super::server::Server;
use super::speaker::{Read, Speaker};
use super::verdict::Outcome;
use crate::client::carrier::Carrier;
use crate::client::http::{Asked, Connection};
use crate::client::wire::{OFFERED, Wire};

/// What a server says of itself.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// `server` of CONNECTED.
    pub name: String,
    /// Whether it gives a RECEIPT for SUBSCRIBE.
    pub receipts: bool,
}

/// Connects once, to know whom one talks to.
///
/// # Errors
///
/// Why no client can connect over this carrier.
pub async fn ask(server: &Server, carrier: Carrier) -> Result<About, String> {
    let mut speaker = Speaker::new(Wire::open(&server.target, carrier, &server.access, OFFERED).await?);
    let (host, credentials) = (&server.host, server.credentials());
    speaker.say(format!("CONNECT\naccept-version:1.0,1.1,1.2\nhost:{host}\n{credentials}\n\0"));
    let connected = match speaker.read(server.patience).await {
        Read::Frame(seen) if seen.command == b"CONNECTED" => seen,
        read => return Err(format!("CONNECT was answered with {}", read.shown())),
    };
    let name = connected.header(b"server").map(show).unwrap_or_default();
    let topic = server.fresh_topic();
    speaker.say(format!("SUBSCRIBE\nid:a\ndestination:{topic}\nreceipt:asked\n\n\0"));
    let receipts = match speaker.read(Duration::from_secs(2)).await {
        Read::Frame(seen) if seen.command == b"RECEIPT" => true,
        Read::Nothing(_) => false,
        read => return Err(format!("SUBSCRIBE to {topic} was answered with {}", read.shown())),
    };
    let works = speaker.works(&topic, server.patience).await;
    works.map(|()| About { name, receipts }).map_err(|read| {
        let seen = read.shown();
        format!("who sends to what it subscribed gets neither its message nor a RECEIPT, so nothing can be waited for: {seen}")
    })
}

/// Plays all of them, `jobs` at a time; `told` hears how many are done.
pub async fn play(
    server: &Server,
    plan: &[Case<'_>],
    known: &Known,
    jobs: usize,
    told: impl Fn(usize),
) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = plan.iter().map(|_| None).collect();
    let mut waiting = plan.iter().enumerate();
    let mut playing = FuturesUnordered::new();
    let begin = |(at, case)| async move { (at, play_one(server, case, known).await) };
    playing.extend(waiting.by_ref().take(jobs.max(1)).map(begin));
    let mut done = 0;
    while let Some((at, outcome)) = playing.next().await {
        outcomes[at] = Some(outcome);
        done += 1;
        told(done);
        playing.extend(waiting.next().map(begin));
    }
    outcomes.into_iter().flatten().collect()
}

async fn play_one(server: &Server, case: &Case<'_>, known: &Known) -> Outcome {
    if let Some(hindrance) = case.hindrance(server) {
        return Outcome::NotApplicable(hindrance);
    }
    let played = match case.stomp {
        Some((version, carrier)) => play::play(server, case.transcript, version, carrier).await,
        None => requests::play(server, case.transcript).await,
    };
    match played {
        Ok(()) => Outcome::Passed,
        Err(Stop::NotApplicable(why)) => Outcome::NotApplicable(why),
        Err(Stop::Failed(failure)) => match known.reason(case) {
            Some(reason) => Outcome::Known(failure, reason.to_owned()),
            None => Outcome::Failed(failure),
        },
    }
}

/// Why there is no SockJS at this endpoint, if there is none.
pub async fn without_sockjs(server: &Server) -> Option<String> {
    let path = format!("{}/info", server.target.path);
    let asked = async {
        let mut connection = Connection::open(&server.target, &server.access).await?;
        let mut answer = connection.ask(&Asked::new(Method::GET, &*path, "")).await?;
        let info: Option<serde_json::Value> = serde_json::from_slice(&answer.rest().await?).ok();
        Ok::<_, String>((answer.status, info.is_some_and(|info| info["websocket"].is_boolean())))
    };
    match timeout(server.patience, asked).await {
        Ok(Ok((200, true))) => None,
        Ok(Ok((200, false))) => Some(format!("no SockJS: {path} is something else")),
        Ok(Ok((status, _))) => Some(format!("no SockJS: {path} is answered with {status}")),
        Ok(Err(why)) => Some(format!("no SockJS: {why}")),
        Err(_) => Some(format!("no SockJS: {path} is not answered")),
    }
}

/// The carriers among these over which the server answers, and why not over the others.
pub async fn carriers(server: &Server, asked: &[Carrier]) -> Vec<(Carrier, Result<About, String>)> {
    stream::iter(asked).then(|&carrier| async move { (carrier, ask(server, carrier).await) }).collect().await
}
