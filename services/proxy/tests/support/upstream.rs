//! An upstream that reads strictly, keeps what it read, and answers whatever a test tells it to.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use super::eventually;
use super::strict::{self, Request};

/// What an upstream answers to one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These bytes; the connection stays open.
    Bytes(Vec<u8>),
    /// These bytes, and then the end of the connection.
    Last(Vec<u8>),
    /// A reset.
    Reset,
    /// Nothing, for as long as the connection lives.
    Silence,
    /// The usual, once the gate is open.
    Held(Gate),
}

/// Holds answers back.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets all through, from now on.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn opened() -> Self {
        let gate = Self::default();
        gate.open();
        gate
    }

    fn pass(&self) {
        let (open, opened) = &*self.0;
        drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
    }
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    unclear: Vec<String>,
    answers: VecDeque<Answer>,
    /// Last answers that were written, as far as somebody took them.
    left: usize,
    /// By the proxy's end of them.
    connections: Vec<(SocketAddr, TcpStream)>,
}

/// The upstream.
pub struct Upstream {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    stopped: Arc<AtomicBool>,
}

impl Upstream {
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// One that takes the connections of `listener`.
    pub fn on(listener: TcpListener) -> Self {
        let upstream =
            Self { address: listener.local_addr().unwrap(), state: Arc::default(), stopped: Arc::default() };
        let (state, stopped) = (upstream.state.clone(), upstream.stopped.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let Ok(peer) = stream.peer_addr() else { continue };
                let state = state.clone();
                state.lock().unwrap().connections.push((peer, stream.try_clone().unwrap()));
                std::thread::spawn(move || {
                    let reset = serve(&stream, &state);
                    // The socket ends only when nobody holds it any more.
                    state.lock().unwrap().connections.retain(|(known, _)| *known != peer);
                    if reset {
                        super::process::reset(stream);
                    }
                });
            }
        });
        upstream
    }

    /// The next request is answered with this; those after it as always, with 200 and what was asked for.
    pub fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().answers.push_back(answer);
    }

    /// The next requests are answered as always.
    pub fn forget_answers(&self) {
        self.state.lock().unwrap().answers.clear();
    }

    /// Waits until nobody is connected.
    pub fn has_no_connections(&self) -> bool {
        eventually(|| self.state.lock().unwrap().connections.is_empty())
    }

    /// What arrived in full since the last look.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// How many requests arrived since the last look.
    pub fn count(&self) -> usize {
        self.take().len()
    }

    /// Waits for a request.
    pub fn wait(&self) -> Request {
        let mut found = None;
        let came = eventually(|| {
            let mut state = self.state.lock().unwrap();
            if found.is_none() && !state.requests.is_empty() {
                found = Some(state.requests.remove(0));
            }
            found.is_some()
        });
        assert!(came, "nothing reached the upstream");
        found.unwrap()
    }

    /// What arrived and could be read in two ways.
    pub fn unclear(&self) -> Vec<String> {
        self.state.lock().unwrap().unclear.clone()
    }

    /// Waits until a last answer is out, or nobody takes it any more.
    pub fn is_left(&self) -> bool {
        eventually(|| self.state.lock().unwrap().left > 0)
    }

    /// Ends all connections, and takes no more.
    pub fn stop(&self) {
        self.stopped.store(true, SeqCst);
        // Whoever waits in accept wakes up.
        drop(TcpStream::connect(self.address));
        for (_, stream) in self.state.lock().unwrap().connections.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Serves a connection, and answers whether it is to end with a reset.
fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> bool {
    let mut bytes = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        match strict::read(&bytes) {
            Ok(Some(request)) => {
                bytes.drain(..request.raw.len());
                let echo = format!("{} {}", request.method, request.target);
                let is_head = request.method == "HEAD";
                let answer = {
                    let mut state = state.lock().unwrap();
                    state.requests.push(request);
                    state.answers.pop_front()
                };
                let size = echo.len();
                let echo = if is_head { "" } else { echo.as_str() };
                let usual = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{echo}");
                match answer.unwrap_or(Answer::Held(Gate::opened())) {
                    Answer::Held(gate) => {
                        gate.pass();
                        let _ = stream.write_all(usual.as_bytes());
                    }
                    Answer::Bytes(bytes) => drop(stream.write_all(&bytes)),
                    Answer::Last(bytes) => {
                        let _ = stream.write_all(&bytes);
                        state.lock().unwrap().left += 1;
                        let _ = stream.shutdown(Shutdown::Both);
                        return false;
                    }
                    Answer::Reset => return true,
                    Answer::Silence => {}
                }
            }
            Ok(None) => match stream.read(&mut part) {
                Ok(0) | Err(_) => return false,
                Ok(count) => bytes.extend_from_slice(&part[..count]),
            },
            Err(unclear) => {
                let shown = format!("{unclear}: {}", bytes.escape_ascii());
                state.lock().unwrap().unclear.push(shown);
                let _ = stream.shutdown(Shutdown::Both);
                return false;
            }
        }
    }
}
