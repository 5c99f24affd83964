//! A connection that many tasks share, for when the pool's are all in use.
//!
//! Callers put requests into a queue; a task of the runtime, the *driver*, sends
//! all that is queued with one call and reads the replies in the same order. The
//! reply to a caller that has gone is dropped. A connection that has failed in
//! any way is closed, and all callers that wait on it learn of it. Opens no
//! connection.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Id;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::error::ErrorKind;
use crate::exchange::Request;
use crate::net::async_connection::AsyncConnection;
use crate::net::fault::Fault;
use crate::net::stream::AsyncSocket;
use crate::node::observer::Connections;
use crate::protocol::{self, Answer, Dialect, KEPT, Session, Ticket, Unspeakable};
use crate::sync::lock;
use crate::time::budget::Deadline;

/// With this many callers at once, sharing is faster: each system call serves
/// several of them.
const CROWD: usize = 4;
/// Requests under way on one connection.
const MOST_REQUESTS: usize = 1024;
/// Values that have not been sent, in bytes.
const MOST_BYTES: usize = 256 * 1024;
/// A connection is closed when nothing has been asked for this long.
const IDLE: Duration = Duration::from_secs(10);
/// A caller with less time than this says nothing about the connection.
const SHORTEST_LIMIT: Duration = Duration::from_millis(20);

/// The shared connections to one node, one for each runtime.
pub(crate) struct Pipelines {
    lines: Mutex<Vec<(Id, Line)>>,
    /// With this many callers at once, they share.
    crowd: usize,
}

/// The shared connection of one runtime.
enum Line {
    /// A caller opens the connection.
    Opening,
    Open(Arc<Queue>),
}

/// The connection for a caller to use.
pub(crate) enum Way<'a> {
    /// One of its own, out of the pool.
    Own,
    /// The one that callers share.
    Shared(Arc<Queue>),
    /// The one that callers share, which this caller must open first.
    Open(Opening<'a>),
}

/// The right to open the connection of a runtime.
pub(crate) struct Opening<'a> {
    pipelines: &'a Pipelines,
    runtime: Id,
}

impl Pipelines {
    /// The pipelines to a node that this many connections may be open to. If that
    /// is one, none is shared.
    pub(crate) fn new(pool_size: usize) -> Self {
        let crowd = if pool_size > 1 { CROWD.min(pool_size - 1) } else { usize::MAX };
        Pipelines { lines: Mutex::default(), crowd }
    }

    /// Chooses a connection for a caller, when this many others have connections
    /// of their own.
    pub(crate) fn way(&self, runtime: Id, others: usize) -> Way<'_> {
        let mut lines = lock(&self.lines);
        let known = lines.iter().find(|(owner, _)| *owner == runtime);
        match known.map(|(_, line)| line) {
            Some(Line::Open(queue)) if !queue.is_closed() => {
                let is_crowded = queue.company.load(Ordering::Relaxed) > 1 || others >= self.crowd;
                return if is_crowded { Way::Shared(Arc::clone(queue)) } else { Way::Own };
            }
            Some(Line::Opening) => return Way::Own,
            Some(Line::Open(_)) | None if others < self.crowd => return Way::Own,
            Some(Line::Open(_)) | None => {}
        }
        // The connections of runtimes that have ended go too.
        lines.retain(|(_, line)| !matches!(line, Line::Open(queue) if queue.is_closed()));
        lines.push((runtime, Line::Opening));
        Way::Open(Opening { pipelines: self, runtime })
    }

    /// The connections that are open now.
    pub(crate) fn connections(&self) -> Connections {
        let lines = lock(&self.lines);
        let is_used = |line: &Line| match line {
            Line::Opening => Some(true),
            Line::Open(queue) => (!queue.is_closed()).then(|| queue.requests.load(Ordering::Relaxed) > 0),
        };
        let open: Vec<bool> = lines.iter().filter_map(|(_, line)| is_used(line)).collect();
        let used = open.iter().filter(|used| **used).count();
        Connections { idle: open.len() - used, used }
    }

    /// Closes each connection as soon as no caller waits on it.
    pub(crate) fn clear(&self) {
        lock(&self.lines).retain(|(_, line)| match line {
            Line::Open(queue) => {
                queue.close();
                false
            }
            Line::Opening => true,
        });
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Opening<'_> {
    /// Lets a task of this runtime drive the connection from now on.
    pub(crate) fn open(self, connection: AsyncConnection) -> Arc<Queue> {
        let peer = connection.peer;
        let (socket, session) = connection.into_parts();
        let queue = Arc::new(Queue::new(session.dialect(), peer));
        tokio::spawn(Driver::new(Arc::clone(&queue), socket, session).run());
        self.end(Some(Line::Open(Arc::clone(&queue))));
        queue
    }

    /// Replaces the mark that the connection is being opened.
    fn end(&self, line: Option<Line>) {
        let mut lines = lock(&self.pipelines.lines);
        lines.retain(|(owner, line)| *owner != self.runtime || matches!(line, Line::Open(_)));
        lines.extend(line.map(|line| (self.runtime, line)));
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// What callers have put in and the driver has not taken out yet.
pub(crate) struct Queue {
    dialect: Dialect,
    pub(crate) peer: Option<SocketAddr>,
    /// How many replies have not come yet.
    requests: AtomicUsize,
    /// How many they were when something was sent last.
    company: AtomicUsize,
    state: Mutex<Queued>,
}

/// What the driver takes out next.
#[derive(Default)]
struct Queued {
    bytes: Vec<u8>,
    waiting: Vec<PendingReply>,
    number: u32,
    is_closed: bool,
    /// Set while the driver sleeps.
    driver: Option<Waker>,
}

/// A reply that a caller waits for.
struct PendingReply {
    ticket: Ticket,
    /// By when there must be a reply.
    limit: Instant,
    caller: oneshot::Sender<Delivery>,
}

/// An answer, or the fault that the connection has ended with.
pub(crate) type Delivery = Result<Answer, Fault>;

impl Queue {
    /// An empty queue.
    fn new(dialect: Dialect, peer: Option<SocketAddr>) -> Self {
        Queue { dialect, peer, requests: AtomicUsize::new(0), company: AtomicUsize::new(0), state: Mutex::default() }
    }

    /// Puts a request behind the others; `None` if there is no room.
    pub(crate) fn push(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Option<oneshot::Receiver<Delivery>>, Unspeakable> {
        let mut state = lock(&self.state);
        let value = if let Request::Store { value, .. } = request { value.len() } else { 0 };
        let is_full = self.requests.load(Ordering::Relaxed) >= MOST_REQUESTS || state.bytes.len() + value > MOST_BYTES;
        if state.is_closed || is_full {
            return Ok(None);
        }
        state.number = state.number.wrapping_add(1);
        let number = state.number;
        let ticket = protocol::encode(self.dialect, number, request, &mut state.bytes)?;
        let limit = deadline.instant().max(deadline.begun() + SHORTEST_LIMIT);
        let (caller, receiver) = oneshot::channel();
        state.waiting.push(PendingReply { ticket, limit, caller });
        self.requests.fetch_add(1, Ordering::Relaxed);
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        Ok(Some(receiver))
    }

    /// Whether the queue refuses requests.
    fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    /// Refuses further requests; those in the queue are still answered.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
    }
}

/// Sends the requests and receives the replies.
struct Driver {
    queue: Arc<Queue>,
    socket: Box<dyn AsyncSocket>,
    session: Box<Session>,
    output: Vec<u8>,
    sent: usize,
    /// In the order of their requests.
    waiting: VecDeque<PendingReply>,
    timer: Pin<Box<Sleep>>,
    /// Whether anything has been sent since the timer was set.
    was_used: bool,
}

impl Driver {
    /// A driver that has not done anything yet.
    fn new(queue: Arc<Queue>, socket: Box<dyn AsyncSocket>, session: Box<Session>) -> Self {
        Driver {
            queue,
            socket,
            session,
            output: Vec::new(),
            sent: 0,
            waiting: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(IDLE)),
            was_used: true,
        }
    }

    /// Drives the connection to its end.
    async fn run(mut self) {
        let ended = std::future::poll_fn(|context| self.drive(context)).await;
        self.end(ended);
    }

    /// Sends and receives what it can now. Ready once the connection has ended.
    fn drive(&mut self, context: &mut Context<'_>) -> Poll<Fault> {
        loop {
            let fault = match (self.send(context), self.receive(context)) {
                (Err(fault), _) | (_, Err(fault)) => fault,
                (Ok(Intake::Closed), Ok(())) if self.waiting.is_empty() => ErrorKind::Io.into(),
                (Ok(_), Ok(())) => {
                    ready!(self.timer.as_mut().poll(context));
                    if self.set_timer() {
                        continue;
                    }
                    ErrorKind::Timeout.into()
                }
            };
            return Poll::Ready(fault);
        }
    }

    /// Sets when to look again; returns whether no reply is overdue.
    fn set_timer(&mut self) -> bool {
        let now = tokio::time::Instant::now().into_std();
        let next = match self.waiting.front() {
            Some(oldest) if oldest.limit <= now => return false,
            Some(oldest) => oldest.limit,
            None => {
                if !std::mem::take(&mut self.was_used) {
                    // What is in the queue by now is still answered.
                    self.queue.close();
                }
                now + IDLE
            }
        };
        self.timer.as_mut().reset(next.into());
        true
    }

    /// Sends what is in the queue, as far as the socket takes it.
    fn send(&mut self, context: &mut Context<'_>) -> Result<Intake, Fault> {
        loop {
            if self.sent == self.output.len() {
                self.output.clear();
                self.output.shrink_to(KEPT);
                self.sent = 0;
                let intake = self.take(context);
                if self.output.is_empty() {
                    let _ = Pin::new(&mut self.socket).poll_flush(context).map_err(io_fault)?;
                    return Ok(intake);
                }
            }
            match Pin::new(&mut self.socket).poll_write(context, &self.output[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(ErrorKind::Io.into()),
                Poll::Ready(Ok(bytes)) => self.sent += bytes,
                Poll::Ready(Err(error)) => return Err(io_fault(error)),
                Poll::Pending => return Ok(Intake::Open),
            }
        }
    }

    /// Takes out what is in the queue.
    fn take(&mut self, context: &mut Context<'_>) -> Intake {
        let mut state = lock(&self.queue.state);
        if state.waiting.is_empty() {
            state.driver = Some(context.waker().clone());
            return if state.is_closed { Intake::Closed } else { Intake::Open };
        }
        std::mem::swap(&mut self.output, &mut state.bytes);
        self.waiting.extend(state.waiting.drain(..));
        drop(state);
        self.queue.company.store(self.waiting.len(), Ordering::Relaxed);
        self.was_used = true;
        let oldest = self.waiting.front().map(|oldest| oldest.limit.into());
        if let Some(limit) = oldest.filter(|limit| *limit < self.timer.deadline()) {
            self.timer.as_mut().reset(limit);
        }
        Intake::Open
    }

    /// Reads what has come, and hands it to the callers.
    fn receive(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        loop {
            let mut space = ReadBuf::new(self.session.space());
            match Pin::new(&mut self.socket).poll_read(context, &mut space) {
                Poll::Ready(Ok(())) if space.filled().is_empty() => return Err(ErrorKind::Io.into()),
                Poll::Ready(Ok(())) => {
                    let bytes = space.filled().len();
                    self.session.received(bytes);
                    self.deliver()?;
                }
                Poll::Ready(Err(error)) => return Err(io_fault(error)),
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Hands the complete replies to their callers.
    fn deliver(&mut self) -> Result<(), Fault> {
        while let Some(oldest) = self.waiting.pop_front() {
            match self.session.reply(oldest.ticket) {
                Ok(Some(answer)) => {
                    // A caller that has gone does not take it.
                    let _ = oldest.caller.send(Ok(answer));
                    self.queue.requests.fetch_sub(1, Ordering::Relaxed);
                }
                incomplete => {
                    self.waiting.push_front(oldest);
                    return Ok(incomplete.map(drop)?);
                }
            }
        }
        if self.session.is_drained() { Ok(()) } else { Err(ErrorKind::Protocol.into()) }
    }

    /// Tells all callers that wait. The fault itself goes to the first, whose
    /// reply it concerns; the others only learn that it ended.
    fn end(&mut self, fault: Fault) {
        let mut state = lock(&self.queue.state);
        state.is_closed = true;
        self.waiting.extend(state.waiting.drain(..));
        drop(state);
        let rest = if fault.kind() == ErrorKind::Timeout { ErrorKind::Timeout } else { ErrorKind::Io };
        let faults = std::iter::once(fault).chain(std::iter::repeat_with(|| rest.into()));
        for (waiting, fault) in self.waiting.drain(..).zip(faults) {
            let _ = waiting.caller.send(Err(fault));
        }
    }
}

/// The runtime ends, or the driver has ended.
impl Drop for Driver {
    fn drop(&mut self) {
        self.end(ErrorKind::Io.into());
    }
}

/// Whether there can be more requests.
enum Intake {
    Open,
    Closed,
}

/// The fault that an error of the socket's is.
fn io_fault(error: io::Error) -> Fault {
    Fault::from(ErrorKind::Io).because(error)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::exchange::{Guard, Reply, Ttl, Write};
    use crate::time::budget::Budget;

    const MINUTE: Duration = Duration::from_secs(60);

    fn ask(queue: &Queue, request: &Request<'_>) -> Option<oneshot::Receiver<Delivery>> {
        queue.push(request, Budget::new(MINUTE, MINUTE).deadline()).expect("it can be said")
    }

    fn push(queue: &Queue, value: &[u8]) -> Option<oneshot::Receiver<Delivery>> {
        let (how, guard) = (Write::Set, Guard::None);
        ask(queue, &Request::Store { key: "key", value, flags: 0, ttl: Ttl::Forever, how, guard })
    }

    fn peek(queue: &Queue) -> oneshot::Receiver<Delivery> {
        ask(queue, &Request::Peek { key: "key" }).expect("there is room")
    }

    /// A connection to a server that the test plays.
    fn line() -> (Arc<Queue>, DuplexStream) {
        let (here, there) = tokio::io::duplex(1 << 16);
        let queue = Arc::new(Queue::new(Dialect::Meta, None));
        let session = Box::new(Session::new(Dialect::Meta));
        tokio::spawn(Driver::new(Arc::clone(&queue), Box::new(here), session).run());
        (queue, there)
    }

    /// A delivery, with the kind of the fault alone.
    fn kind(delivery: Result<Delivery, oneshot::error::RecvError>) -> Result<Result<Answer, ErrorKind>, ()> {
        delivery.map(|delivery| delivery.map_err(|fault| fault.kind())).map_err(drop)
    }

    /// A socket on which nothing goes.
    struct Broken;

    impl AsyncRead for Broken {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other("gone")))
        }
    }

    impl AsyncWrite for Broken {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::Error::other("gone")))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn value(delivery: Result<Delivery, oneshot::error::RecvError>) -> Vec<u8> {
        match delivery {
            Ok(Ok(Ok(Reply::Found(item)))) => item.value,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_reply_to_a_caller_that_has_gone_is_dropped() {
        let (queue, mut server) = line();
        drop(peek(&queue));
        let waiting = peek(&queue);
        server.write_all(b"VA 1 O1 f0 c1 t-1\r\na\r\nVA 1 O2 f0 c1 t-1\r\nb\r\n").await.unwrap();
        assert_eq!(value(waiting.await), b"b");
        assert_eq!(queue.requests.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_reply_to_something_else_ends_the_connection() {
        let (queue, mut server) = line();
        let (first, second) = (peek(&queue), peek(&queue));
        server.write_all(b"VA 1 O2 f0 c1 t-1\r\nb\r\n").await.unwrap();
        assert_eq!(kind(first.await), Ok(Err(ErrorKind::Protocol)));
        assert_eq!(kind(second.await), Ok(Err(ErrorKind::Io)));
        assert!(queue.is_closed());
    }

    #[tokio::test]
    async fn the_first_caller_learns_why_the_connection_broke() {
        let socket = Box::new(Broken);
        let queue = Arc::new(Queue::new(Dialect::Meta, None));
        let (first, second) = (peek(&queue), peek(&queue));
        tokio::spawn(Driver::new(Arc::clone(&queue), socket, Box::new(Session::new(Dialect::Meta))).run());
        let fault = first.await.unwrap().unwrap_err();
        assert_eq!((fault.kind(), fault.source.unwrap().to_string()), (ErrorKind::Io, "gone".to_owned()));
        assert!(second.await.unwrap().is_err_and(|fault| fault.kind() == ErrorKind::Io && fault.source.is_none()));
    }

    #[tokio::test]
    async fn a_reply_to_nothing_ends_the_connection() {
        let (queue, mut server) = line();
        let waiting = peek(&queue);
        server.write_all(b"EN\r\nEN\r\n").await.unwrap();
        assert_eq!(kind(waiting.await), Ok(Ok(Ok(Reply::Missing(crate::exchange::Grant::Free)))));
        let closed = async {
            while !queue.is_closed() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(MINUTE, closed).await.expect("it ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_given_up() {
        let (queue, _server) = line();
        let (first, second) = (peek(&queue), peek(&queue));
        assert_eq!(kind(first.await), Ok(Err(ErrorKind::Timeout)));
        assert_eq!(kind(second.await), Ok(Err(ErrorKind::Timeout)));
        assert!(queue.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_connection_is_closed() {
        let (queue, _server) = line();
        tokio::time::sleep(3 * IDLE).await;
        assert!(queue.is_closed());
    }

    #[test]
    fn waiting_callers_learn_of_the_end_of_the_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (waiting, _server) = runtime.block_on(async {
            let (queue, server) = line();
            let waiting = peek(&queue);
            tokio::task::yield_now().await;
            (waiting, server)
        });
        drop(runtime);
        assert_eq!(kind(waiting.blocking_recv()), Ok(Err(ErrorKind::Io)));
    }

    #[test]
    fn a_queue_has_room_for_so_many_requests() {
        let queue = Queue::new(Dialect::Meta, None);
        let pushed = (0..2 * MOST_REQUESTS).map_while(|_| push(&queue, b"1"));
        assert_eq!(pushed.count(), MOST_REQUESTS);
    }

    #[test]
    fn a_queue_has_room_for_so_many_bytes() {
        let queue = Queue::new(Dialect::Meta, None);
        assert!(push(&queue, &vec![0; MOST_BYTES + 1]).is_none());
        let pushed = (0..100).map_while(|_| push(&queue, &vec![0; MOST_BYTES / 10]));
        assert_eq!(pushed.count(), 9);
    }

    #[test]
    fn a_closed_queue_takes_nothing() {
        let queue = Queue::new(Dialect::Meta, None);
        queue.close();
        assert!(push(&queue, b"1").is_none());
    }
}
