//! What a server says it has: checks of what it has not do not apply.

use serde_json::Value;

use super::super::script::Transcript;
use super::super::server::Server;
use super::answers;
use super::http::{Asked, Exchange, Until};

/// A page that no server knows.
const ELSEWHERE: &str = "http://front.example";

/// What a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Features {
    websocket: bool,
    cookies: bool,
    /// Whether pages of any origin may connect.
    open: bool,
    jsonp: bool,
}

/// What transcripts may need, and why they cannot be played without it.
const NEEDS: [(&str, &str); 7] = [
    ("websocket", "/info says that WebSockets are off"),
    ("cookies", "/info says that no cookies are set"),
    ("no-cookies", "/info says that cookies are set"),
    ("open", "it refuses pages of origins that it does not know"),
    ("restricted", "it lets pages of any origin in"),
    ("jsonp", "it has no JSONP, which would let in pages of origins that it refuses"),
    ("slow", "it takes more than a few seconds: --slow"),
];

impl Features {
    /// Asks the server.
    ///
    /// # Errors
    ///
    /// Where it has no SockJS.
    pub(in super::super) async fn ask(server: &Server) -> Result<Self, String> {
        let endpoint = &server.way.target.path;
        let (status, body) = get(server, &format!("{endpoint}/info"), None).await?;
        if status != 200 {
            return Err(format!("no SockJS: {endpoint}/info is answered with {status}"));
        }
        let info: Value =
            serde_json::from_slice(&body).map_err(|error| format!("no SockJS: {endpoint}/info: {error}"))?;
        let says = |name: &str| info.get(name).and_then(Value::as_bool);
        let (elsewhere, _) = get(server, &format!("{endpoint}/info"), Some(ELSEWHERE)).await?;
        let session = format!("{endpoint}/000/{:016x}", getrandom::u64().unwrap_or_default());
        let (jsonp, _) = get(server, &format!("{session}/jsonp?c=x"), None).await?;
        let open = elsewhere != 403;
        Ok(Self {
            websocket: says("websocket").unwrap_or(true),
            cookies: says("cookie_needed").unwrap_or(false),
            open,
            // Whoever lets everybody in has no reason to be without.
            jsonp: open || jsonp != 404,
        })
    }

    /// Why a transcript does not apply, if it does not.
    pub(in super::super) fn obstacle(self, transcript: &Transcript, slow: bool) -> Option<String> {
        let has = |need: &str| match need {
            "websocket" => self.websocket,
            "cookies" => self.cookies,
            "no-cookies" => !self.cookies,
            "open" => self.open,
            "restricted" => !self.open,
            "jsonp" => self.jsonp,
            "slow" => slow,
            _ => false,
        };
        let missing = transcript.words("needs").find(|need| !has(need))?;
        let why = NEEDS.iter().find(|(need, _)| *need == missing);
        Some(why.map_or_else(|| format!("nobody knows what {missing} is"), |(_, why)| (*why).to_owned()))
    }

    /// Whether a transcript may need this.
    #[cfg(test)]
    pub(super) fn knows(need: &str) -> bool {
        NEEDS.iter().any(|(known, _)| *known == need)
    }
}

async fn get(server: &Server, path: &str, origin: Option<&str>) -> Result<(u16, Vec<u8>), String> {
    let mut asked = Asked::new("GET", path);
    asked.headers.extend(origin.map(|origin| ("Origin".to_owned(), origin.to_owned())));
    let mut exchange = Exchange::start(server, asked).await?;
    let until = Until::within(server.patience);
    let status =
        exchange.head(until).await.map(|head| head.status).map_err(|lack| format!("{path}: {}", lack.shown()))?;
    answers::whole(&mut exchange, until).await.map_err(|(_, seen)| format!("{path}: {seen}"))?;
    Ok((status, exchange.body))
}
