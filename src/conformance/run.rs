//! Plays a plan, many transcripts at a time.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};

use super::form::show;
use super::known::Known;
use super::plan::Case;
use super::play::{self, Stop};
use super::requests::{self, Features};
use super::server::Server;
use super::speaker::{Read, Speaker};
use super::verdict::Outcome;
use crate::client::carrier::Carrier;
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
    let mut speaker = Speaker::new(Wire::open(&server.way.target, carrier, &server.way.access, OFFERED).await?);
    let (host, credentials) = (&server.way.host, server.credentials());
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

/// Plays all of them, `jobs` at a time; `told` hears how many are done. What SockJS asks is played as far as the server says it has
/// that.
pub async fn play(
    server: &Server,
    plan: &[Case<'_>],
    known: &Known,
    jobs: usize,
    told: impl Fn(usize),
) -> Vec<Outcome> {
    let sockjs = match plan.iter().any(|case| case.stomp.is_none()) {
        true => Features::ask(server).await,
        false => Err("nobody asked for SockJS".to_owned()),
    };
    let mut outcomes: Vec<Option<Outcome>> = plan.iter().map(|_| None).collect();
    let mut waiting = plan.iter().enumerate();
    let mut playing = FuturesUnordered::new();
    let sockjs = &sockjs;
    let begin = |(at, case)| async move { (at, play_one(server, sockjs, case, known).await) };
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

async fn play_one(server: &Server, sockjs: &Result<Features, String>, case: &Case<'_>, known: &Known) -> Outcome {
    let hindrance = match (case.stomp, sockjs) {
        (Some(_), _) => case.hindrance(server),
        (None, Ok(features)) => features.obstacle(case.transcript, server.slow),
        (None, Err(why)) => Some(why.clone()),
    };
    if let Some(hindrance) = hindrance {
        return Outcome::NotApplicable(hindrance);
    }
    let played = match case.stomp {
        Some((version, carrier)) => play::play(server, case.transcript, version, carrier).await,
        None => requests::play(server, case.transcript).await.map_err(Stop::Failed),
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

/// The carriers among these over which the server answers, and why not over the others.
pub async fn carriers(server: &Server, asked: &[Carrier]) -> Vec<(Carrier, Result<About, String>)> {
    stream::iter(asked).then(|&carrier| async move { (carrier, ask(server, carrier).await) }).collect().await
}
