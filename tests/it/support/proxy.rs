//! A TCP proxy that can break the connections it carries.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::private::{free_port, local, patiently};

/// Listens on a port of its own until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

/// What happens to connections, those that are there and new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Forward,
    /// All are closed, and no new one comes about.
    Cut,
    /// All are closed, and new ones are taken and closed: a balancer without a server behind it.
    HangUp,
    /// They stay, and nothing passes. What was on its way passes later.
    Silent,
    /// The same, towards the client alone.
    SilentToClient,
    /// The proxy was dropped.
    Ended,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Both ends of every connection.
    open: Vec<TcpStream>,
    /// Whether the listener is there.
    listens: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Proxy {
    pub(crate) fn to(port: u16) -> Self {
        let state = State { mode: Mode::Forward, open: Vec::new(), listens: false };
        let shared = Arc::new(Shared { to: local(port), state: Mutex::new(state), changed: Condvar::new() });
        let port = free_port();
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.serve(port)
        });
        let proxy = Self { port, shared };
        proxy.set(Mode::Forward);
        proxy
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Changes the mode; it holds when this returns.
    pub(crate) fn set(&self, mode: Mode) {
        let mut state = self.shared.state();
        state.mode = mode;
        if !mode.carries() {
            // The peer may have closed it.
            state.open.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        }
        self.shared.changed.notify_all();
        while state.listens != mode.listens() {
            drop(state);
            // Wakes the listener, which then sees the mode.
            let _refused = TcpStream::connect(local(self.port));
            state = self.shared.state();
            if state.listens != mode.listens() {
                state = self.shared.changed.wait_timeout(state, std::time::Duration::from_millis(20)).unwrap().0;
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Mode::Ended);
    }
}

impl Mode {
    const fn listens(self) -> bool {
        !matches!(self, Self::Cut | Self::Ended)
    }

    const fn carries(self) -> bool {
        matches!(self, Self::Forward | Self::Silent | Self::SilentToClient)
    }

    fn passes(self, direction: Direction) -> bool {
        match self {
            Self::Silent => false,
            Self::SilentToClient => direction == Direction::ToServer,
            _ => true,
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until the mode is such.
    fn until(&self, is: impl Fn(Mode) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.state(), |state| !is(state.mode)).unwrap()
    }

    fn serve(self: &Arc<Self>, port: u16) {
        while self.until(|mode| mode.listens() || mode == Mode::Ended).mode != Mode::Ended {
            let listener = patiently("the port of the proxy is taken", || TcpListener::bind(local(port)).ok());
            self.listens(true);
            while self.state().mode.listens() {
                let (client, _) = listener.accept().unwrap();
                self.carry(client);
            }
            drop(listener);
            self.listens(false);
        }
    }

    fn listens(&self, listens: bool) {
        self.state().listens = listens;
        self.changed.notify_all();
    }

    fn carry(self: &Arc<Self>, client: TcpStream) {
        // Dropping it closes it.
        let Ok(server) = TcpStream::connect(self.to) else { return };
        let _delayed = (client.set_nodelay(true), server.set_nodelay(true));
        let pairs = [(&client, &server, Direction::ToServer), (&server, &client, Direction::ToClient)];
        let pairs = pairs.map(|(from, to, way)| (from.try_clone().unwrap(), to.try_clone().unwrap(), way));
        let mut state = self.state();
        if !state.mode.carries() {
            return;
        }
        state.open.extend([client, server]);
        drop(state);
        for (from, to, direction) in pairs {
            let shared = Arc::clone(self);
            thread::spawn(move || shared.pump(from, to, direction));
        }
    }

    /// Moves octets one way until either end is closed.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, direction: Direction) {
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            drop(self.until(|mode| mode.passes(direction)));
            if to.write_all(&chunk[..count]).is_err() {
                break;
            }
        }
        // An end is not seen through a silent proxy either.
        drop(self.until(|mode| mode.passes(direction)));
        let _ended = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
