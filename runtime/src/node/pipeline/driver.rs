//! The task that drives a shared connection.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::bytes::ByteQueue;
use super::queue::{PendingReply, Queue, Queued};
use super::unsent::Unsent;
use super::watch::Watch;
use crate::error::ErrorKind;
use crate::net::fault::{Fault, Trouble};
use crate::net::stream::AsyncSocket;
use crate::protocol::Session;
use crate::sync::lock;
use crate::time::patience::{LOOK, now};
use crate::time::reminder::Reminder;

/// A connection is closed when nothing has been asked for this long.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// How many requests may be unanswered at once. More would not make the server faster: its
/// many small replies would overflow the receive buffer if this side read late, and the system
/// drops what does not fit, to be sent again only after 200 ms.
const MOST_UNANSWERED: usize = 512;

/// Sends the requests and receives the replies.
pub(super) struct Driver {
    queue: Arc<Queue>,
    socket: Box<dyn AsyncSocket>,
    session: Box<Session>,
    output: ByteQueue,
    /// In the order of their requests.
    waiting: VecDeque<PendingReply>,
    /// Requests behind those.
    unsent: Unsent,
    timer: Reminder,
    /// The driver's clock.
    watch: Watch,
    /// Whether anything has been sent since the timer was set.
    was_used: bool,
}

impl Driver {
    /// Creates a driver that has not done anything yet.
    pub(super) fn new(queue: Arc<Queue>, socket: Box<dyn AsyncSocket>, session: Box<Session>) -> Self {
        Driver {
            queue,
            socket,
            session,
            output: ByteQueue::default(),
            waiting: VecDeque::new(),
            unsent: Unsent::default(),
            timer: Reminder::at(now() + IDLE),
            watch: Watch::new(now()),
            was_used: true,
        }
    }

    /// Drives the connection to its end.
    pub(super) async fn run(mut self) {
        let ended = std::future::poll_fn(|context| self.drive(context)).await;
        self.end(ended);
    }

    /// Sends and receives what it can now. Ready once the connection has ended.
    fn drive(&mut self, context: &mut Context<'_>) -> Poll<Fault> {
        loop {
            let fault = match (self.send(context), self.receive(context)) {
                (Err(fault), _) | (_, Err(fault)) => fault,
                (Ok(_), Ok(())) if self.may_send_more() => continue,
                (Ok(Intake::Closed), Ok(())) if self.waiting.is_empty() => ErrorKind::Io.into(),
                (Ok(_), Ok(())) => {
                    ready!(self.timer.poll(context));
                    if self.look() {
                        continue;
                    }
                    ErrorKind::Timeout.into()
                }
            };
            return Poll::Ready(fault);
        }
    }

    /// Counts the time without a reply, and sets when to look again. Returns whether
    /// the connection may be alive: a queue that moves is.
    fn look(&mut self) -> bool {
        let now = now();
        let Some(oldest) = self.waiting.front() else {
            if !std::mem::take(&mut self.was_used) {
                // What is in the queue by now is still answered.
                self.queue.close();
            }
            self.timer.reset(now + IDLE);
            return true;
        };
        self.watch.look(now);
        let Some(mut next) = left(oldest.patience, self.watch.silent()) else { return false };
        for reply in self.waiting.iter_mut().chain(self.unsent.replies()) {
            match left(reply.patience, self.watch.waited() - reply.since) {
                Some(left) => next = next.min(left),
                // Its caller goes. The reply is still to come.
                None => _ = reply.caller.take().map(|caller| caller.send(Err(Trouble::Hurried.into()))),
            }
        }
        self.timer.reset(now + next.min(LOOK));
        true
    }

    /// Sends what is in the queue, as far as the limit on unanswered requests and the socket
    /// allow.
    fn send(&mut self, context: &mut Context<'_>) -> Result<Intake, Fault> {
        loop {
            let intake = self.take(context);
            if self.output.rest().is_empty() {
                let _ = Pin::new(&mut self.socket).poll_flush(context).map_err(io_fault)?;
                return Ok(intake);
            }
            match Pin::new(&mut self.socket).poll_write(context, self.output.rest()) {
                Poll::Ready(Ok(0)) => return Err(ErrorKind::Io.into()),
                Poll::Ready(Ok(bytes)) => self.output.leave(bytes),
                Poll::Ready(Err(error)) => return Err(io_fault(error)),
                Poll::Pending => return Ok(Intake::Open),
            }
        }
    }

    /// Takes everything out of the queue, even what may not be sent yet: its callers' time
    /// begins.
    fn take(&mut self, context: &mut Context<'_>) -> Intake {
        let queue = Arc::clone(&self.queue);
        let mut state = lock(&queue.state);
        let is_empty = state.waiting.is_empty();
        if !is_empty {
            self.take_in(&mut state);
        }
        self.release();
        state.unsent = self.output.rest().len() + self.unsent.bytes();
        state.driver = Some(context.waker().clone());
        let is_closed = state.is_closed;
        drop(state);
        if !is_empty {
            queue.company.store(self.waiting.len() + self.unsent.len(), Ordering::Relaxed);
        }
        if is_empty && is_closed { Intake::Closed } else { Intake::Open }
    }

    /// Takes in what callers have put into the queue.
    fn take_in(&mut self, state: &mut Queued) {
        let now = now();
        if self.waiting.is_empty() {
            self.watch.begin(now);
        }
        let (since, mut next) = (self.watch.waited(), LOOK);
        let is_free = self.unsent.len() == 0;
        let replies = state.waiting.drain(..).map(|reply| {
            next = next.min(reply.patience);
            PendingReply { since, ..reply }
        });
        if is_free && self.waiting.len() + replies.len() <= MOST_UNANSWERED {
            self.output.append(&mut state.bytes);
            self.waiting.extend(replies);
        } else {
            self.unsent.add(&mut state.bytes, replies);
        }
        self.was_used = true;
        let next = now + next;
        if next < self.timer.due() {
            self.timer.reset(next);
        }
    }

    /// Whether a reply has made room for what is held back.
    fn may_send_more(&self) -> bool {
        self.unsent.len() > 0 && self.waiting.len() < MOST_UNANSWERED
    }

    /// Lets through what need not be held back any longer.
    fn release(&mut self) {
        while self.may_send_more()
            && let Some(reply) = self.unsent.next(&mut self.output)
        {
            match reply.caller {
                Some(_) => self.waiting.push_back(reply),
                None => _ = self.queue.requests.fetch_sub(1, Ordering::Relaxed),
            }
        }
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
                    let before = self.waiting.len();
                    self.deliver()?;
                    if self.waiting.len() < before {
                        self.watch.heard();
                    }
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
                    _ = oldest.caller.map(|caller| caller.send(Ok(answer)));
                    self.queue.is_answered.store(true, Ordering::Relaxed);
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

    /// Tells all callers that wait. It is one event, so the fault itself goes to the
    /// first that is still there; the others only learn that the connection ended.
    fn end(&mut self, fault: Fault) {
        let mut state = lock(&self.queue.state);
        state.is_closed = true;
        self.waiting.append(self.unsent.replies());
        self.waiting.extend(state.waiting.drain(..));
        if self.waiting.is_empty() {
            return;
        }
        let rest = match fault.kind() {
            kind @ (ErrorKind::Timeout | ErrorKind::PoolExhausted) => kind,
            _ => ErrorKind::Io,
        };
        let mut untold = Some(fault);
        for caller in self.waiting.drain(..).filter_map(|reply| reply.caller) {
            let told = untold.take();
            let is_news = told.is_some();
            let refused = caller.send(Err(told.unwrap_or_else(|| Trouble::Shared(rest).into())));
            if let (Err(Err(fault)), true) = (refused, is_news) {
                untold = Some(fault);
            }
        }
        state.untold = untold;
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

/// Returns what is left of a patience; `None` if nothing is.
fn left(patience: Duration, used: Duration) -> Option<Duration> {
    patience.checked_sub(used).filter(|left| !left.is_zero())
}

/// Returns the fault of an error of the socket.
fn io_fault(error: io::Error) -> Fault {
    Fault::from(ErrorKind::Io).because(error)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{
        AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter, DuplexStream, Lines, ReadHalf, WriteHalf,
    };
    use tokio::sync::oneshot;

    use super::super::queue::Delivery;
    use super::*;
    use crate::exchange::{Reply, Request};
    use crate::net::fault::Verdict;
    use crate::protocol::{Answer, Dialect, RequestNumbers};
    use crate::time::budget::Budget;

    const MINUTE: Duration = Duration::from_secs(60);

    fn peek(queue: &Queue) -> oneshot::Receiver<Delivery> {
        let limit = Budget::new(MINUTE, MINUTE).deadline();
        queue.push(&Request::Peek { key: "key" }, limit).expect("it can be said").expect("there is room")
    }

    /// A connection to a server that the test plays.
    fn line() -> (Arc<Queue>, DuplexStream) {
        let (here, there) = tokio::io::duplex(1 << 16);
        let queue = Arc::new(Queue::new(Dialect::Meta.into(), RequestNumbers::from_one(), None));
        let session = Box::new(Session::alone(Dialect::Meta));
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
        let queue = Arc::new(Queue::new(Dialect::Meta.into(), RequestNumbers::from_one(), None));
        let (first, second) = (peek(&queue), peek(&queue));
        tokio::spawn(Driver::new(Arc::clone(&queue), socket, Box::new(Session::alone(Dialect::Meta))).run());
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

    /// The verdict of each caller's fault.
    async fn verdicts(callers: Vec<oneshot::Receiver<Delivery>>) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for caller in callers {
            verdicts.push(caller.await.expect("told").expect_err("a fault").trouble.verdict());
        }
        verdicts
    }

    #[tokio::test]
    async fn a_connection_that_breaks_counts_once() {
        let (queue, server) = line();
        drop(peek(&queue));
        let callers: Vec<_> = (0..22).map(|_| peek(&queue)).collect();
        tokio::task::yield_now().await;
        drop(server);
        let verdicts = verdicts(callers).await;
        assert_eq!(verdicts[0], Verdict::Fails, "the first that is still there is told");
        assert!(verdicts[1..].iter().all(|verdict| *verdict == Verdict::Unknown), "{verdicts:?}");
        assert!(queue.take_untold().is_none());
    }

    #[tokio::test]
    async fn a_connection_that_breaks_when_all_callers_have_gone_is_remembered() {
        let (queue, server) = line();
        drop((peek(&queue), peek(&queue)));
        tokio::task::yield_now().await;
        drop(server);
        let fault = tokio::time::timeout(MINUTE, async {
            loop {
                tokio::task::yield_now().await;
                if let Some(fault) = queue.take_untold() {
                    return fault;
                }
            }
        });
        assert_eq!(fault.await.expect("it ends").trouble.verdict(), Verdict::Fails);
    }

    /// The server takes half the limit for each reply.
    #[tokio::test(start_paused = true)]
    async fn a_caller_at_the_end_of_a_queue_that_moves_gives_up_alone() {
        let (queue, mut server) = line();
        let callers: Vec<_> = (0..4).map(|_| peek(&queue)).collect();
        for number in 1..=4 {
            tokio::time::sleep(MINUTE / 2).await;
            server.write_all(format!("VA 1 O{number} f0 c1 t-1\r\na\r\n").as_bytes()).await.unwrap();
        }
        let mut told = Vec::new();
        for caller in callers {
            told.push(caller.await.unwrap().err().map(|fault| fault.trouble));
        }
        assert_eq!(told[0], None);
        assert_eq!(told[2..], [Some(Trouble::Hurried); 2]);
        tokio::task::yield_now().await;
        assert!(!queue.is_closed());
    }

    /// More callers than may wait for a reply, and what the server reads of their requests.
    async fn crowd(
        extra: usize,
        queue: &Queue,
        server: DuplexStream,
    ) -> (Vec<oneshot::Receiver<Delivery>>, Lines<BufReader<ReadHalf<DuplexStream>>>, WriteHalf<DuplexStream>) {
        let callers = (0..MOST_UNANSWERED + extra).map(|_| peek(queue)).collect();
        let (server, replies) = tokio::io::split(server);
        let mut requests = BufReader::new(server).lines();
        for _ in 0..MOST_UNANSWERED {
            requests.next_line().await.expect("it is open").expect("a request");
        }
        (callers, requests, replies)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_beyond_the_most_waits_for_a_reply() {
        let (queue, server) = line();
        let (_callers, mut requests, mut replies) = crowd(1, &queue, server).await;
        let next = tokio::time::timeout(MINUTE / 2, requests.next_line());
        assert!(next.await.is_err(), "the last one is held back");
        replies.write_all(b"VA 1 O1 f0 c1 t-1\r\na\r\n").await.unwrap();
        let next = tokio::time::timeout(MINUTE / 4, requests.next_line()).await;
        let line = next.expect("in time").expect("it is open").expect("a request");
        assert!(line.contains(&format!(" O{} ", MOST_UNANSWERED + 1)), "{line}");
    }

    /// The server takes half the limit for each reply.
    #[tokio::test(start_paused = true)]
    async fn a_caller_that_is_held_back_waits_no_longer_than_others() {
        let (queue, server) = line();
        let (mut callers, mut requests, mut replies) = crowd(9, &queue, server).await;
        tokio::time::sleep(MINUTE / 4).await;
        callers.push(peek(&queue));
        let last = callers.len();
        for number in 1..=2 {
            tokio::time::sleep(MINUTE / 2).await;
            replies.write_all(format!("VA 1 O{number} f0 c1 t-1\r\na\r\n").as_bytes()).await.unwrap();
        }
        for held in callers.drain(MOST_UNANSWERED + 1..) {
            let told = tokio::time::timeout(MINUTE / 60, held).await.expect("told in time").unwrap();
            assert_eq!(told.err().map(|fault| fault.trouble), Some(Trouble::Hurried));
        }
        // The requests of those that had gone when there was room are not sent.
        let _next = peek(&queue);
        replies.write_all(b"VA 1 O3 f0 c1 t-1\r\na\r\n").await.unwrap();
        for number in [MOST_UNANSWERED + 1, last, last + 1] {
            let line = tokio::time::timeout(MINUTE / 60, requests.next_line()).await;
            let line = line.expect("in time").expect("it is open").expect("a request");
            assert!(line.contains(&format!(" O{number} ")), "{line}");
        }
    }

    /// The server reads as fast as callers ask, and never catches up.
    #[tokio::test]
    async fn what_has_been_sent_is_forgotten_though_there_is_always_more() {
        let (here, mut there) = tokio::io::duplex(64);
        let queue = Arc::new(Queue::new(Dialect::Meta.into(), RequestNumbers::from_one(), None));
        let session = Box::new(Session::alone(Dialect::Meta));
        let mut driver = Driver::new(Arc::clone(&queue), Box::new(here), session);
        let mut callers: VecDeque<_> = (0..100).map(|_| peek(&queue)).collect();
        let (mut answered, mut longest, mut chunk) = (0, 0, [0; 64]);
        // Nothing else runs that this task would have to yield to.
        let exchange = tokio::task::unconstrained(async {
            for _ in 0..1_000 {
                assert!(driver.drive(&mut Context::from_waker(Waker::noop())).is_pending());
                longest = longest.max(driver.output.kept());
                let bytes = there.read(&mut chunk).await.unwrap();
                for _ in chunk[..bytes].iter().filter(|byte| **byte == b'\n') {
                    answered += 1;
                    callers.push_back(peek(&queue));
                    there.write_all(format!("VA 1 O{answered} f0 c1 t-1\r\na\r\n").as_bytes()).await.unwrap();
                    assert!(driver.drive(&mut Context::from_waker(Waker::noop())).is_pending());
                    assert_eq!(value(callers.pop_front().expect("a caller").await), b"a");
                }
            }
        });
        exchange.await;
        assert!(answered > 1_000 && longest < 20_000, "{longest} bytes for {answered} requests");
    }

    /// A socket that keeps what is written until it is flushed.
    #[tokio::test(start_paused = true)]
    async fn what_is_sent_before_the_rest_is_held_back_leaves_the_socket() {
        let (here, there) = tokio::io::duplex(1 << 20);
        let queue = Arc::new(Queue::new(Dialect::Meta.into(), RequestNumbers::from_one(), None));
        let (session, here) =
            (Box::new(Session::alone(Dialect::Meta)), Box::new(BufWriter::with_capacity(1 << 20, here)));
        tokio::spawn(Driver::new(Arc::clone(&queue), here, session).run());
        let crowd = tokio::time::timeout(MINUTE / 2, crowd(1, &queue, there));
        assert!(crowd.await.is_ok());
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
}
