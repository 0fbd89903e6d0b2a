//! Arguments about the connection.

use std::time::Duration;

use clap::Args;
use stampede_protocol::Limits;
use stampede_protocol::stomp::{HeartBeat, Version};

use super::Failure;
use super::session::{Session, Wish};
use crate::client::carrier::Carrier;
use crate::client::entrance::{Entrance, Way};

/// How to talk to the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "The connection")]
pub(super) struct Connecting {
    /// What carries STOMP: tcp, websocket, sockjs, xhr-streaming, xhr-polling, eventsource, htmlfile, jsonp-polling [default: websocket, or tcp for tcp://]
    #[arg(long, value_name = "CARRIER")]
    over: Option<Carrier>,
    /// Speak this version of STOMP [default: the highest that the server has too]
    #[arg(long = "version", value_name = "VERSION", value_parser = version)]
    version: Option<Version>,
    /// How often each side is to say that it lives, in milliseconds; 0 for never
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    heart_beat: u32,
    /// How long an answer of the server may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// The largest body to take, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    max_body: u16,
    /// Say nothing on standard error but what goes wrong
    #[arg(long, short)]
    pub(super) quiet: bool,
    #[command(flatten)]
    entrance: Entrance,
}

impl Connecting {
    /// Begins a session.
    pub(super) async fn open(self, url: &str) -> Result<Session, Failure> {
        let Self { over, version, heart_beat, patience, max_body, quiet: _, entrance } = self;
        let mut way = entrance.way(url).map_err(Failure::NotAsked)?;
        let carrier = carrier(&way, over).map_err(Failure::NotAsked)?;
        way.access.patience = Some(patience);
        let wish = Wish {
            carrier,
            versions: version.map_or_else(|| Version::ALL.to_vec(), |version| vec![version]),
            heart_beat: HeartBeat { can_ms: heart_beat, want_ms: heart_beat },
            patience,
            limits: Limits { body_bytes: usize::from(max_body) << 20, ..LIMITS },
        };
        Session::open(&way, &wish).await
    }
}

fn carrier(way: &Way, over: Option<Carrier>) -> Result<Carrier, String> {
    match (way.target.bare, over) {
        (true, None | Some(Carrier::Tcp)) => Ok(Carrier::Tcp),
        (true, Some(other)) => {
            Err(format!("tcp:// names a connection without HTTP, which {other} needs: ws:// names one"))
        }
        (false, Some(Carrier::Tcp)) => {
            Err("ws:// names a connection with HTTP; for --over tcp name one with tcp://".to_owned())
        }
        (false, over) => Ok(over.unwrap_or(Carrier::WebSocket)),
    }
}

fn version(text: &str) -> Result<Version, String> {
    let known = || format!("the versions are {}", Version::ALL.map(Version::as_str).join(", "));
    Version::parse(text).ok_or_else(known)
}

/// What a head may cost: whoever debugs wants to see frames that are too large for others.
const LIMITS: Limits = Limits { head_bytes: 1 << 20, headers: 1000, header_line_bytes: 1 << 20, body_bytes: 0 };

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Tool {
        url: String,
        #[command(flatten)]
        connecting: Connecting,
    }

    #[track_caller]
    fn check(arguments: &[&str], expected: Result<Carrier, &str>) {
        let tool = Tool::try_parse_from([&["tool"], arguments].concat()).unwrap();
        let way = tool.connecting.entrance.way(&tool.url).unwrap();
        match (carrier(&way, tool.connecting.over), expected) {
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (found, expected) => assert_eq!(found.as_ref().ok(), expected.as_ref().ok()),
        }
    }

    #[test]
    fn the_url_says_what_carries_unless_the_argument_does() {
        check(&["ws://h/ws"], Ok(Carrier::WebSocket));
        check(&["http://h/ws", "--over=xhr-polling"], Ok(Carrier::XhrPolling));
        check(&["tcp://h"], Ok(Carrier::Tcp));
        check(&["tcp://h", "--over=tcp"], Ok(Carrier::Tcp));
        check(&["tcp://h", "--over=sockjs"], Err("sockjs needs"));
        check(&["ws://h/ws", "--over=tcp"], Err("tcp://"));
    }

    #[test]
    fn there_are_three_versions() {
        assert_eq!(version("1.1"), Ok(Version::V1_1));
        assert!(version("1.3").unwrap_err().contains("1.0, 1.1, 1.2"));
    }
}
