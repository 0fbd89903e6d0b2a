//! A web server of the test's own: it answers each request as it is told to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// How it answers.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// A status and a body.
    With(u16, String),
    /// Octets as they are.
    Raw(Vec<u8>),
    /// Never.
    Silence,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) head: String,
    pub(super) body: String,
}

#[derive(Debug)]
struct State {
    reply: Reply,
    asked: Vec<Asked>,
    /// Connections that get no answer stay open.
    silent: Vec<TcpStream>,
}

/// See the module; its threads end with the process.
#[derive(Debug, Clone)]
pub(super) struct Web {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Web {
    pub(super) fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { reply, asked: Vec::new(), silent: Vec::new() }));
        let web = Self { address, state };
        let serving = web.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream));
            }
        });
        web
    }

    pub(super) fn answer(&self, reply: Reply) {
        self.state.lock().unwrap().reply = reply;
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(asked) = request(&mut reader) {
            let mut state = self.state.lock().unwrap();
            state.asked.push(asked);
            let octets = match state.reply.clone() {
                Reply::With(status, body) => {
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
                }
                Reply::Raw(octets) => octets,
                Reply::Silence => return state.silent.push(stream),
            };
            drop(state);
            if stream.write_all(&octets).is_err() {
                return;
            }
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { head, body: String::from_utf8(body).unwrap() })
}
