use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::sockjs::transport::Callback;

/// One step of a table: what happens, and what then shows.
enum Step {
    /// A receiver comes and gets this at once; `…` at the end means it stays.
    Ask(&'static str, &'static str),
    /// The attached receiver gets this.
    Gets(&'static str),
    /// The application writes, and flushes.
    Says(&'static str),
    /// The application writes without flushing.
    Offers(&'static str),
    Flush,
    Closes,
    /// The attached receiver's connection breaks.
    Breaks,
    /// So many milliseconds pass, and what is due is done.
    Pass(u64),
    Fence(u64),
    /// These marks are proved.
    Proved(&'static [u64]),
    Ready(bool),
    Ends(Option<End>),
    Free(bool),
}
use Step::*;

struct Table {
    session: Session,
    now: Instant,
    receiver: Option<ReceiverId>,
}

const SETTINGS: Settings = Settings {
    heartbeat_time: Duration::from_secs(25),
    disconnect_delay: Duration::from_secs(5),
    stream_bytes_limit: 64,
    queued_bytes_limit: 200,
    queued_messages_limit: 4,
    send_time_limit: Duration::from_secs(10),
    quiet_time: Duration::from_secs(2),
};

#[track_caller]
fn check(steps: &[Step]) {
    let session = Session::new(Arc::new(SETTINGS));
    let mut table = Table { session, now: Instant::now(), receiver: None };
    for (number, step) in steps.iter().enumerate() {
        table.step(number, step);
    }
}

impl Table {
    #[track_caller]
    fn step(&mut self, number: usize, step: &Step) {
        let now = self.now;
        match step {
            Ask(transport, expected) => assert_eq!(self.ask(transport), *expected, "step {number}"),
            Gets(expected) => assert_eq!(self.drain(), *expected, "step {number}"),
            Says(text) => {
                let _ = self.session.offer(&[text.as_bytes()], now);
                self.session.flush(now);
            }
            Offers(text) => drop(self.session.offer(&[text.as_bytes()], now)),
            Flush => self.session.flush(now),
            Closes => self.session.close(3000, "Go away!", now),
            Breaks => self.session.abort(self.receiver.take().unwrap()),
            Pass(millis) => self.pass(Duration::from_millis(*millis)),
            Fence(mark) => self.session.fence(*mark, now),
            Proved(marks) => {
                let proved: Vec<u64> = std::iter::from_fn(|| self.session.poll_proof()).collect();
                assert_eq!(proved, *marks, "step {number}");
            }
            Ready(ready) => assert_eq!(self.session.is_ready(), *ready, "step {number}"),
            Ends(end) => assert_eq!(self.session.end(), *end, "step {number}"),
            Free(free) => assert_eq!(self.session.is_gone(), *free, "step {number}"),
        }
    }

    /// A name ending in `+` comes while the application waits to write.
    fn ask(&mut self, transport: &str) -> String {
        let wrapping = match transport.trim_end_matches('+') {
            "xhr" => Wrapping::Xhr,
            "streaming" => Wrapping::XhrStreaming,
            "jsonp" => Wrapping::Jsonp(Callback::parse(["f"].iter()).unwrap()),
            _ => Wrapping::EventSource,
        };
        match self.session.attach(wrapping, transport.ends_with('+'), self.now) {
            Attach::Attached(id) => {
                self.receiver = Some(id);
                self.drain()
            }
            Attach::Answer(chunks) => show(&chunks) + ".",
            Attach::Busy => "busy".into(),
            Attach::Gone => "gone".into(),
        }
    }

    fn drain(&mut self) -> String {
        let mut chunks = Vec::new();
        let Some(id) = self.receiver else { return "nobody".into() };
        loop {
            match self.session.take(id, self.now) {
                Take::Chunk(chunk) => chunks.push(chunk),
                Take::Nothing => return show(&chunks) + "…",
                end => {
                    self.receiver = None;
                    return show(&chunks) + if end == Take::End { "." } else { "!" };
                }
            }
        }
    }

    /// As a driver would: wakes at each deadline on the way.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            assert!(self.session.poll_timeout().is_none_or(|next| next > self.now), "a deadline that never passes");
        }
        self.now = until;
    }
}

/// Chunks between bars, the streaming prelude as `H`.
fn show(chunks: &[Bytes]) -> String {
    chunks.iter().fold(String::new(), |mut out, chunk| {
        let text = if chunk.len() == 2049 { "H".into() } else { String::from_utf8_lossy(chunk).replace('\n', "") };
        let _ = write!(out, "{text}|");
        out
    })
}

const GO_AWAY: &str = r#"c[3000,"Go away!"]|."#;

#[test]
fn polls_get_one_frame_each() {
    check(&[
        Ask("xhr", "o|."),
        Ready(false),
        Ask("xhr", "…"),
        Ready(true),
        Ask("xhr", "busy"),
        Offers("m0"),
        Offers("m1"),
        Gets("…"),
        Flush,
        Ready(false),
        Gets(r#"a["m0","m1"]|."#),
        Offers("m2"),
        Offers("m3"),
        Ask("jsonp", "/**/f(\"a[\\\"m2\\\",\\\"m3\\\"]\");\r|."),
        Ends(None),
    ]);
}

#[test]
fn streams_get_what_waited_as_one_frame_and_then_each_message_alone() {
    check(&[Ask("streaming", "H|o|…"), Offers("a"), Offers("b"), Gets(r#"a["a"]|a["b"]|…"#), Ask("xhr", "busy")]);
    check(&[
        Ask("xhr", "o|."),
        Offers("a"),
        Offers("b"),
        Ask("streaming", "H|a[\"a\",\"b\"]|…"),
        Says("c"),
        Gets("a[\"c\"]|…"),
    ]);
    // The application held its output back until a receiver came.
    check(&[
        Ask("xhr", "o|."),
        Ask("streaming+", "H|…"),
        Offers("a"),
        Offers("b"),
        Gets("…"),
        Flush,
        Offers("c"),
        Gets(r#"a["a","b"]|a["c"]|…"#),
    ]);
}

#[test]
fn streams_end_at_the_limit_and_go_on_in_the_next_answer() {
    check(&[
        Ask("streaming", "H|o|…"),
        Says("0123456789012345678901234567890123456789012345678"),
        Gets("a[\"0123456789012345678901234567890123456789012345678\"]|…"),
        Says("x"),
        Ready(false),
        Says("y"),
        Gets("a[\"x\"]|."),
        Ask("streaming", "H|a[\"y\"]|…"),
    ]);
}

#[test]
fn close_reaches_every_receiver_for_five_seconds_after_the_last() {
    check(&[
        Ask("xhr", "o|."),
        Says("last"),
        Closes,
        Says("dropped"),
        Ends(Some(End::Closed)),
        Ask("xhr", "a[\"last\"]|."),
        Ask("xhr", GO_AWAY),
        Pass(4900),
        Ask("streaming", r#"H|c[3000,"Go away!"]|."#),
        Pass(4900),
        Free(false),
        Pass(100),
        Free(true),
        Ask("xhr", "gone"),
    ]);
    check(&[Ask("xhr", "o|."), Ask("xhr", "…"), Closes, Gets(GO_AWAY), Ask("xhr", GO_AWAY)]);
    check(&[Ask("xhr", "o|."), Ask("xhr", "…"), Offers("x"), Closes, Gets("a[\"x\"]|."), Ask("xhr", GO_AWAY)]);
    check(&[Ask("streaming", "H|o|…"), Offers("x"), Closes, Gets("a[\"x\"]|c[3000,\"Go away!\"]|.")]);
}

#[test]
fn a_session_nobody_returns_to_expires() {
    check(&[Ask("xhr", "o|."), Pass(4999), Ends(None), Pass(1), Ends(Some(End::Expired)), Free(true)]);
    check(&[Ask("xhr", "o|."), Pass(4999), Ask("xhr", "…"), Pass(10_000), Ends(None)]);
}

#[test]
fn a_broken_receiver_ends_the_session() {
    check(&[Ask("xhr", "o|."), Ask("xhr", "…"), Breaks, Ends(Some(End::Aborted)), Free(true)]);
    check(&[Ask("streaming", "H|o|…"), Closes, Breaks, Ends(Some(End::Closed)), Free(false), Ask("xhr", GO_AWAY)]);
}

#[test]
fn heart_beats_keep_receivers_alive() {
    check(&[Ask("xhr", "o|."), Ask("xhr", "…"), Pass(24_999), Gets("…"), Pass(1), Gets("h|.")]);
    check(&[
        Ask("streaming", "H|o|…"),
        Pass(20_000),
        Says("x"),
        Gets("a[\"x\"]|…"),
        Pass(5000),
        Gets("h|…"),
        Pass(25_000),
        Gets("h|…"),
    ]);
}

#[test]
fn a_receiver_that_takes_nothing_is_given_up() {
    check(&[
        Ask("streaming", "H|o|…"),
        Says("x"),
        Pass(9999),
        Ends(None),
        Pass(1),
        Ends(Some(End::Stalled)),
        Gets("!"),
    ]);
}

#[test]
fn output_is_bounded_in_messages_and_octets() {
    check(&[
        Ask("xhr", "o|."),
        Offers("1"),
        Offers("2"),
        Offers("3"),
        Offers("4"),
        Ends(None),
        Offers("5"),
        Ends(Some(End::Overflow)),
        Ask("xhr", r#"c[1008,"Too much output waits"]|."#),
    ]);
    const LONG: &str = "012345678901234567890123456789012345678901234567890123456789";
    check(&[
        Ask("streaming", "H|o|…"),
        Offers(LONG),
        Offers(LONG),
        Ready(false),
        Offers(LONG),
        Offers(LONG),
        Ends(None),
        Offers(LONG),
        Ends(Some(End::Overflow)),
    ]);
}

#[test]
fn binary_is_refused_and_harms_nothing() {
    let mut session = Session::new(Arc::new(SETTINGS));
    assert_eq!(session.offer(&[b"a", b"\xff"], Instant::now()), Err(OfferError::NotText(NotText)));
    assert!(session.is_open());
}

#[test]
fn the_next_poll_proves_the_one_before() {
    check(&[
        Ask("xhr", "o|."),
        Ask("xhr", "…"),
        Says("a"),
        Fence(1),
        Gets("a[\"a\"]|."),
        Pass(3000),
        Proved(&[]),
        Ask("xhr", "…"),
        Proved(&[1]),
    ]);
    // Still queued: the poll that fetches it proves nothing, the one after it does.
    check(&[
        Ask("xhr", "o|."),
        Offers("a"),
        Fence(1),
        Ask("xhr", "a[\"a\"]|."),
        Proved(&[]),
        Fence(2),
        Ask("xhr", "…"),
        Proved(&[1, 2]),
    ]);
}

#[test]
fn a_quiet_time_proves_what_was_streamed() {
    check(&[
        Ask("streaming", "H|o|…"),
        Says("a"),
        Fence(1),
        Pass(3000),
        Proved(&[]),
        Gets("a[\"a\"]|…"),
        Pass(1999),
        Proved(&[]),
        Fence(2),
        Pass(1),
        Proved(&[1]),
        Pass(1999),
        Proved(&[2]),
    ]);
    check(&[Ask("streaming", "H|o|…"), Says("a"), Gets("a[\"a\"]|…"), Fence(1), Breaks, Pass(5000), Proved(&[])]);
}

/// What may happen to a session whose application numbers its messages.
#[derive(Debug, Clone, Copy)]
enum Event {
    Attach { streaming: bool, waiting: bool },
    Take,
    Offer,
    Flush,
    Pass { millis: u64 },
    Close,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (any::<bool>(), any::<bool>()).prop_map(|(streaming, waiting)| Event::Attach { streaming, waiting }),
        4 => Just(Event::Take),
        4 => Just(Event::Offer),
        2 => Just(Event::Flush),
        1 => (1..6000_u64).prop_map(|millis| Event::Pass { millis }),
        1 => Just(Event::Close),
    ]
}

/// The messages in a chunk of either kind of answer.
fn messages(chunk: &[u8]) -> Vec<u64> {
    let Some(array) = chunk.strip_prefix(b"a") else { return Vec::new() };
    let texts: Vec<String> = serde_json::from_slice(array).unwrap();
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

proptest! {
    #[test]
    fn messages_arrive_once_and_in_order(events in proptest::collection::vec(event(), 0..60)) {
        let mut table = Table { session: Session::new(Arc::new(SETTINGS)), now: Instant::now(), receiver: None };
        let (mut offered, mut received, mut farewells) = (0, Vec::new(), 0);
        for event in events {
            let now = table.now;
            let mut chunks = Vec::new();
            match event {
                Event::Attach { streaming, waiting } => {
                    let wrapping = if streaming { Wrapping::XhrStreaming } else { Wrapping::Xhr };
                    match table.session.attach(wrapping, waiting, now) {
                        Attach::Attached(id) => table.receiver = Some(id),
                        Attach::Answer(answer) => {
                            prop_assert!(!answer.is_empty());
                            chunks = answer;
                        }
                        Attach::Busy => prop_assert!(table.receiver.is_some()),
                        Attach::Gone => prop_assert!(table.session.is_gone()),
                    }
                }
                Event::Take => {
                    while let Some(id) = table.receiver {
                        match table.session.take(id, now) {
                            Take::Chunk(chunk) => chunks.push(chunk),
                            Take::Nothing => break,
                            Take::End | Take::Broken => table.receiver = None,
                        }
                    }
                }
                Event::Offer => {
                    let open = table.session.is_open();
                    if table.session.offer(&[offered.to_string().as_bytes()], now).is_ok() && open {
                        offered += 1;
                    }
                }
                Event::Flush => table.session.flush(now),
                Event::Pass { millis } => table.pass(Duration::from_millis(millis)),
                Event::Close => table.session.close(1000, "", now),
            }
            received.extend(chunks.iter().flat_map(|chunk| messages(chunk)));
            farewells += chunks.iter().filter(|chunk| chunk.starts_with(b"c[1000")).count();
            prop_assert!(table.session.queue.messages() <= SETTINGS.queued_messages_limit);
            prop_assert!(table.receiver.is_none() || !table.session.is_gone() || table.session.receiver.is_none());
        }
        prop_assert!(received.iter().copied().eq(0..received.len() as u64), "{:?} of {}", received, offered);
        // A close is said only after everything that was offered before it.
        prop_assert!(farewells == 0 || received.len() as u64 == offered, "{:?} of {}", received, offered);
    }
}
