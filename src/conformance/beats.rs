//! Steps about heart-beats. How often there are any is agreed with CONNECTED, so some cannot be played against some servers.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::form::show;
use super::frames::Seen;
use super::play::{Otherwise, broken, number, otherwise};
use super::server::Server;
use super::speaker::{Speaker, ended};
use crate::client::wire::Event;

/// What takes longer is played only where slow ones are wanted.
const QUICK: Duration = Duration::from_secs(15);

/// The two numbers of CONNECTED.
pub(super) fn offered(connected: &Seen) -> (Duration, Duration) {
    let text = connected.header(b"heart-beat").and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let number = |text: &str| Duration::from_millis(text.trim().parse().unwrap_or_default());
    text.split_once(',').map_or((Duration::ZERO, Duration::ZERO), |(keeps, wants)| (number(keeps), number(wants)))
}

/// The agreed period, and the second number of the step.
fn agreed(server: &Server, offer: Duration, rest: &str, does: &str) -> Result<(Duration, u32), Otherwise> {
    let (asked, times) = rest.split_once(' ').unwrap_or((rest, "4"));
    let (asked, times) = (Duration::from_millis(number(asked)?), number(times)?);
    let times = u32::try_from(times).map_err(|_| broken("too often"))?;
    if offer.is_zero() {
        return Err((None, format!("CONNECTED says that the server {does} no heart-beats")));
    }
    let period = offer.max(asked);
    if period * times > QUICK && !server.slow {
        return Err((None, format!("takes {}; --slow plays it", humantime::format_duration(period * times))));
    }
    Ok((period, times))
}

/// `hears MILLISECONDS TIMES`: octets at least so often.
pub(super) async fn hears(server: &Server, speaker: &mut Speaker, rest: &str) -> Result<(), Otherwise> {
    let (period, times) = agreed(server, speaker.heart_beat.0, rest, "sends")?;
    for _ in 0..times {
        let came = speaker.message(period + server.margin).await;
        let expected = || format!("octets at least every {}", humantime::format_duration(period));
        came.map_err(|read| otherwise(expected(), read.shown()))?;
    }
    Ok(())
}

/// `breathes MILLISECONDS TIMES`: so many heart-beats, each a line feed and nothing else.
pub(super) async fn breathes(server: &Server, speaker: &mut Speaker, rest: &str) -> Result<(), Otherwise> {
    let (period, times) = agreed(server, speaker.heart_beat.0, rest, "sends")?;
    for _ in 0..times {
        let seen = match speaker.message(period * 2 + server.margin).await {
            Ok(Event::Text(octets) | Event::Binary(octets)) if &*octets == b"\n" => continue,
            Ok(Event::Text(octets) | Event::Binary(octets)) => show(&octets),
            Ok(event) => ended(&event),
            Err(read) => read.shown(),
        };
        return Err(otherwise("one line feed", seen));
    }
    Ok(())
}

/// `beats MILLISECONDS TIMES`: writes heart-beats, each a tenth of the agreed period late.
pub(super) async fn beats(server: &Server, speaker: &Speaker, rest: &str) -> Result<(), Otherwise> {
    let (period, times) = agreed(server, speaker.heart_beat.1, rest, "wants")?;
    let start = Instant::now();
    for at in 1..=times {
        sleep_until(start + period * 11 / 10 * at).await;
        speaker.say("\n");
    }
    Ok(())
}
