//! SockJS frames over a WebSocket. Such a session ends with its socket and stands in no table.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use stampede_protocol::sockjs::frame::{self, Array};
use stampede_protocol::sockjs::payload;

use super::SockJs;
use super::link::register;
use super::sessions::Sessions;
use crate::session::link::{Gone, Input, Link, OutFrame};
use crate::timers::{Alarm, TimerId};

/// A link that dresses what its application writes over another link, and undresses what comes.
#[derive(Debug)]
pub(in crate::transport) struct SockJsWs<L> {
    socket: L,
    sessions: Arc<Sessions>,
    inputs: VecDeque<Input>,
    state: State,
    heart_beat: HeartBeat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The peer sent what is no SockJS: it may not be told anything readable any more.
    Broken,
    Closed,
}

/// When to show life, and when the peer has to have shown some.
#[derive(Debug)]
struct HeartBeat {
    bell: Arc<Bell>,
    timer: TimerId,
    every: Duration,
    patience: Duration,
    /// Front ends that listen for `h` get it until the application sends heart-beats of its own, as in Spring.
    visible: bool,
    due: Instant,
    /// A ping is out: until when something has to come.
    silence: Option<Instant>,
}

/// The mark of the pings that ask for a sign of life; marks of applications count from zero.
const SIGN_OF_LIFE: u64 = u64::MAX;

/// What a message of `octets` may take once it is a JSON string, escaped as sockjs-client does: it writes characters of
/// two octets and more as six.
pub(in crate::transport) const fn escaped(octets: usize) -> usize {
    octets.saturating_mul(3).saturating_add(64)
}

impl<L: Link> SockJsWs<L> {
    /// Opens a session on a socket whose handshake is done.
    pub(in crate::transport) fn new(mut socket: L, sockjs: &SockJs) -> Self {
        write(&mut socket, frame::OPEN.as_bytes());
        let sessions = Arc::clone(&sockjs.sessions);
        let bell = Arc::new(Bell::default());
        let timer = sessions.bells.add(Arc::clone(&bell));
        let due = Instant::now() + sockjs.config.heartbeat_time;
        sessions.bells.set(timer, Some(due));
        let heart_beat = HeartBeat {
            bell,
            timer,
            every: sockjs.config.heartbeat_time,
            patience: sockjs.config.pong_time_limit,
            visible: true,
            due,
            silence: None,
        };
        Self { socket, sessions, inputs: VecDeque::new(), state: State::Open, heart_beat }
    }

    /// Does what is due, if the bell rang. Call when nothing more can be read: an application that did not read for a
    /// while must not take an unread pong for silence.
    fn keep_alive(&mut self, cx: &mut Context<'_>) {
        if !self.heart_beat.bell.rang(cx) {
            return;
        }
        let now = Instant::now();
        let beat = &mut self.heart_beat;
        if beat.silence.is_some_and(|until| until <= now) {
            let (code, reason) = frame::close::SILENT;
            self.sessions.counters.silent.fetch_add(1, Ordering::Relaxed);
            self.farewell(code, reason);
            self.inputs.push_back(Input::Gone(Gone::Silent));
            return;
        }
        if beat.due <= now {
            beat.due = now + beat.every;
            beat.silence.get_or_insert(now + beat.patience);
            if beat.visible {
                write(&mut self.socket, frame::HEART_BEAT.as_bytes());
            }
            self.socket.fence(SIGN_OF_LIFE);
            // Only pushes: what the socket does not take now goes with the next flush.
            let _ = self.socket.poll_flush(cx);
        }
        self.set_timer();
    }

    fn set_timer(&self) {
        let beat = &self.heart_beat;
        let next = beat.silence.map_or(beat.due, |until| until.min(beat.due));
        self.sessions.bells.set(beat.timer, Some(next));
    }

    /// Something came: the peer lives.
    fn alive(&mut self) {
        if self.heart_beat.silence.take().is_some() {
            self.set_timer();
        }
    }

    fn undress(&mut self, message: &Bytes) {
        if let Ok(messages) = payload::socket_messages(message) {
            self.inputs.extend(messages.into_iter().map(|message| Input::Data(message.into())));
            return;
        }
        self.sessions.counters.bad_payload.fetch_add(1, Ordering::Relaxed);
        self.state = State::Broken;
        self.inputs.push_back(Input::Gone(Gone::Broken));
    }

    fn farewell(&mut self, code: u16, reason: &str) {
        write(&mut self.socket, &frame::close(code, reason));
        self.socket.close(1000, "Normal closure");
        self.state = State::Closed;
    }
}

impl<L: Link> Link for SockJsWs<L> {
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        loop {
            if let Some(input) = self.inputs.pop_front() {
                if self.inputs.is_empty() {
                    self.inputs = VecDeque::new();
                }
                return Poll::Ready(input);
            }
            if self.state != State::Open {
                return Poll::Pending;
            }
            let Poll::Ready(input) = self.socket.poll_input(cx) else {
                self.keep_alive(cx);
                if self.inputs.is_empty() {
                    return Poll::Pending;
                }
                continue;
            };
            self.alive();
            match input {
                Input::Data(message) => self.undress(&message),
                Input::Proved(SIGN_OF_LIFE) => {}
                input @ (Input::Proved(_) | Input::Gone(_)) => return Poll::Ready(input),
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_ready(cx)
    }

    fn write(&mut self, frame: OutFrame<'_>) -> bool {
        if self.state != State::Open {
            return true;
        }
        let mut array = Array::default();
        if array.push(&[frame.head, frame.body, frame.tail]).is_err() {
            self.sessions.counters.binary_dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        if let Some(text) = array.take() {
            let body = Bytes::from(text);
            self.socket.write(OutFrame { head: &[], body: &body, tail: &[], binary: false });
        }
        true
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_flush(cx)
    }

    fn fence(&mut self, mark: u64) {
        self.socket.fence(mark);
    }

    fn close(&mut self, code: u16, reason: &str) {
        match self.state {
            State::Open => self.farewell(code, reason),
            State::Broken => {
                let (code, reason) = frame::close::BROKEN_FRAMING;
                self.socket.close(code, reason);
                self.state = State::Closed;
            }
            State::Closed => {}
        }
        self.inputs.clear();
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_closed(cx)
    }

    fn transport(&self) -> &'static str {
        self.socket.transport()
    }

    fn application_heart_beats(&mut self) {
        self.heart_beat.visible = false;
    }

    fn limit_input(&mut self, message_bytes: usize) {
        self.socket.limit_input(escaped(message_bytes));
    }
}

impl<L> Drop for SockJsWs<L> {
    fn drop(&mut self) {
        self.sessions.bells.remove(self.heart_beat.timer);
    }
}

/// Wakes the task of a socket when its deadline has come.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rang: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Bell {
    /// Whether it rang since it was asked last; the task that asks is woken when it does.
    fn rang(&self, cx: &mut Context<'_>) -> bool {
        register(&mut self.task.lock(), cx);
        self.rang.swap(false, Ordering::AcqRel)
    }
}

impl Alarm for Bell {
    fn ring(&self) {
        self.rang.store(true, Ordering::Release);
        if let Some(task) = self.task.lock().take() {
            task.wake();
        }
    }
}

fn write(socket: &mut impl Link, text: &[u8]) {
    socket.write(OutFrame { head: text, body: &Bytes::new(), tail: &[], binary: false });
}
