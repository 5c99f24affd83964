//! A proxy in front of a real server, which spoils replies as it is told to.
//!
//! It knows where requests and replies end, in both protocols, so that a fault
//! hits a whole reply: the third, say, or every one. It can also hold requests back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use super::memcached::until;

/// What becomes of one reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) form: Form,
    pub(crate) pace: Pace,
    pub(crate) then: Then,
}

/// The bytes that are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    Whole,
    Nothing,
    Half,
    Twice,
    /// Others in its place.
    Other(&'static [u8]),
    /// In front of it.
    Before(&'static [u8]),
    /// Behind it.
    After(&'static [u8]),
    /// The reply before it, on this connection or another.
    Swapped,
    /// A value said to be so many bytes longer than it is, or shorter.
    Lying(i64),
}

/// When they are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    AtOnce,
    Late(Duration),
    /// One byte each time.
    Drip(Duration),
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Then {
    GoOn,
    Close,
    Reset,
}

/// Which fault hits the reply with this number, counted from 0 over all
/// connections since the proxy was told so.
pub(crate) type Script = dyn Fn(u64) -> Option<Fault> + Send + Sync;

/// Listens until it is dropped; connections last as long as their clients and
/// the server.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
    listening: Option<JoinHandle<()>>,
}

struct State {
    server: u16,
    script: RwLock<Arc<Script>>,
    gate: Mutex<Option<Arc<Gate>>>,
    replies: AtomicU64,
    accepted: AtomicUsize,
    last: Mutex<Vec<u8>>,
    is_over: AtomicBool,
}

impl Proxy {
    /// In front of a server on this port of the loopback interface, which need
    /// not be there all the time.
    pub(crate) fn before(server: u16) -> Self {
        Self::at(0, server)
    }

    /// The same, on this port.
    pub(crate) fn at(port: u16, server: u16) -> Self {
        // A connection of another test may have the port for a moment.
        let listener = until("a free port", || TcpListener::bind(("127.0.0.1", port)).ok());
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            server,
            script: RwLock::new(Arc::new(|_| None)),
            gate: Mutex::default(),
            replies: AtomicU64::new(0),
            accepted: AtomicUsize::new(0),
            last: Mutex::default(),
            is_over: false.into(),
        });
        let shared = Arc::clone(&state);
        let listening = std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _ = serve(&client, &state);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Proxy { port, state, listening: Some(listening) }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Inflicts faults as the script says, from the next reply on.
    pub(crate) fn follow(&self, script: impl Fn(u64) -> Option<Fault> + Send + Sync + 'static) {
        let mut place = self.state.script.write().unwrap_or_else(PoisonError::into_inner);
        self.state.replies.store(0, Ordering::SeqCst);
        *place = Arc::new(script);
    }

    /// Inflicts this fault on all replies but the first ones.
    pub(crate) fn inflict(&self, fault: Fault, spared: u64) {
        self.follow(move |reply| (reply >= spared).then_some(fault));
    }

    /// Holds back each request that this is true of: its first line.
    pub(crate) fn hold(&self, is_held: impl Fn(&str) -> bool + Send + Sync + 'static) -> Held {
        let gate = Gate { is_held: Box::new(is_held), state: Mutex::default(), changed: Condvar::new() };
        let gate = Arc::new(gate);
        *self.state.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&gate));
        Held(gate)
    }

    /// Lets nothing through any more, as if the client had been killed.
    pub(crate) fn cut(&self) {
        drop(self.hold(|_| true));
    }

    pub(crate) fn heal(&self) {
        self.follow(|_| None);
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

/// What holds requests back.
struct Gate {
    is_held: Box<dyn Fn(&str) -> bool + Send + Sync>,
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    held: u64,
    /// Whether they go on to the server; if not, their connections end.
    let_through: Option<bool>,
}

impl Gate {
    /// Waits until the request may go on; whether it does.
    fn passes(&self, request: &[u8]) -> bool {
        let line = String::from_utf8_lossy(request);
        if !(self.is_held)(line.lines().next().unwrap_or_default()) {
            return true;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.held += 1;
        self.changed.notify_all();
        loop {
            match state.let_through {
                Some(passes) => return passes,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn end(&self, passes: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.let_through.get_or_insert(passes);
        self.changed.notify_all();
    }
}

/// Requests that are held back. When this is dropped, they are lost, and so are later ones
/// of their kind.
pub(crate) struct Held(Arc<Gate>);

impl Held {
    /// Waits until a request is held.
    pub(crate) fn caught(&self) {
        until("a request to hold back", || {
            let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            (state.held > 0).then_some(())
        });
    }

    /// Lets them go on to the server, and later ones of their kind as well.
    pub(crate) fn release(self) {
        self.0.end(true);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.end(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener. Behind this, the port refuses connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.listening.take().map(JoinHandle::join);
    }
}

fn serve(client: &TcpStream, state: &State) -> io::Result<()> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect(("127.0.0.1", state.server))?;
    server.set_nodelay(true)?;
    let (mut requests, mut replies) = (BufReader::new(client), BufReader::new(&server));
    let mut output = Vec::new();
    loop {
        let request = request(&mut requests)?;
        let gate = state.gate.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if gate.is_some_and(|gate| !gate.passes(&request)) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        (&server).write_all(&request)?;
        let reply = reply(&mut replies)?;
        let fault = {
            let script = state.script.read().unwrap_or_else(PoisonError::into_inner);
            script(state.replies.fetch_add(1, Ordering::SeqCst))
        };
        let before = {
            let mut last = state.last.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *last, reply.clone())
        };
        let fault = fault.unwrap_or(Fault { form: Form::Whole, pace: Pace::AtOnce, then: Then::GoOn });
        output.extend(formed(reply, before, fault.form));
        // Requests that came together are answered together.
        if requests.buffer().is_empty() || fault.pace != Pace::AtOnce || fault.then != Then::GoOn {
            send(client, &std::mem::take(&mut output), fault)?;
        }
    }
}

/// What a fault makes of a reply.
fn formed(reply: Vec<u8>, before: Vec<u8>, form: Form) -> Vec<u8> {
    match form {
        Form::Whole => reply,
        Form::Nothing => Vec::new(),
        Form::Half => reply[..reply.len() / 2].to_vec(),
        Form::Twice => [&reply[..], &reply].concat(),
        Form::Other(bytes) => bytes.to_vec(),
        Form::Before(bytes) => [bytes, &reply].concat(),
        Form::After(bytes) => [&reply, bytes].concat(),
        Form::Swapped => before,
        Form::Lying(by) => lying(reply, by),
    }
}

/// Sends as a fault has it. An error ends the connection.
fn send(mut client: &TcpStream, bytes: &[u8], fault: Fault) -> io::Result<()> {
    match fault.pace {
        Pace::AtOnce => client.write_all(bytes)?,
        Pace::Late(pause) => {
            std::thread::sleep(pause);
            client.write_all(bytes)?;
        }
        Pace::Drip(pause) => {
            for byte in bytes {
                std::thread::sleep(pause);
                client.write_all(&[*byte])?;
            }
        }
    }
    match fault.then {
        Then::GoOn => Ok(()),
        Then::Close => Err(io::ErrorKind::ConnectionAborted.into()),
        Then::Reset => {
            SockRef::from(client).set_linger(Some(Duration::ZERO))?;
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}

/// The reply with another length of the value, if there is one.
fn lying(reply: Vec<u8>, by: i64) -> Vec<u8> {
    let Some(end) = reply.iter().position(|byte| *byte == b'\n') else { return reply };
    let line = String::from_utf8_lossy(&reply[..=end]).into_owned();
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let place = match words[0].as_str() {
        "VA" => 1,
        "VALUE" => 3,
        _ => return reply,
    };
    let length = words[place].trim().parse::<i64>().expect("a length");
    words[place] = words[place].replace(&length.to_string(), &(length + by).max(0).to_string());
    [words.join(" ").as_bytes(), &reply[end + 1..]].concat()
}

fn line(from: &mut impl BufRead, to: &mut Vec<u8>) -> io::Result<Vec<String>> {
    let begin = to.len();
    if from.read_until(b'\n', to)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&to[begin..]).split_ascii_whitespace().map(str::to_owned).collect())
}

fn value(size: &str, from: &mut impl Read, to: &mut Vec<u8>) -> io::Result<()> {
    let begin = to.len();
    to.resize(begin + size.parse::<usize>().expect("a size") + 2, 0);
    from.read_exact(&mut to[begin..])
}

fn request(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let words = line(from, &mut bytes)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["ms", _, size, ..] | ["set" | "add" | "replace" | "append" | "prepend" | "cas", _, _, _, size, ..] => {
            value(size, from, &mut bytes)?;
        }
        _ => {}
    }
    Ok(bytes)
}

fn reply(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let words = line(from, &mut bytes)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["VA", size, ..] => value(size, from, &mut bytes)?,
            ["VALUE", _, _, size, ..] => {
                value(size, from, &mut bytes)?;
                continue;
            }
            ["STAT", ..] => continue,
            _ => {}
        }
        return Ok(bytes);
    }
}
