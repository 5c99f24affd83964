//! Streams of bytes, whatever carries them: what a connection asks of a socket.
//!
//! Opens none; `socket` and `tls` do.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

#[cfg(feature = "tokio")]
use std::future::poll_fn;
#[cfg(feature = "tokio")]
use std::pin::Pin;

#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of bytes with a time limit on each call.
pub(crate) trait Socket: Read + Write + Send {
    /// Limits how long a read or a write may take.
    fn limit(&self, timeout: Duration) -> io::Result<()>;

    /// Sets the moment by which the next reads and writes must have ended.
    /// Where each is a single call of the system's, the limit is enough.
    fn until(&mut self, _: Instant) {}

    /// Makes reads wait for what has not arrived yet, or fail.
    fn waits(&self, waits: bool) -> io::Result<()>;

    /// Reads what has arrived, without waiting.
    fn read_arrived(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.waits(false)?;
        let read = self.read(buffer);
        self.waits(true)?;
        read
    }

    /// Whether the other side has neither closed nor said anything unasked.
    fn is_quiet(&mut self) -> bool;
}

/// A stream of bytes on tokio.
#[cfg(feature = "tokio")]
pub(crate) trait AsyncSocket: AsyncRead + AsyncWrite + Send + Unpin {}

#[cfg(feature = "tokio")]
impl<S: AsyncRead + AsyncWrite + Send + Unpin> AsyncSocket for S {}

// Like the methods of tokio's feature `io-util`, which is left off because it makes tokio take a
// quarter longer to build.
#[cfg(feature = "tokio")]
impl dyn AsyncSocket {
    /// Waits for bytes; there are none at the stream's end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        poll_fn(|context| Pin::new(&mut *self).poll_read(context, &mut buffer)).await?;
        Ok(buffer.filled().len())
    }

    /// Writes all these bytes and flushes.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match poll_fn(|context| Pin::new(&mut *self).poll_write(context, bytes)).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => bytes = &bytes[written..],
            }
        }
        poll_fn(|context| Pin::new(&mut *self).poll_flush(context)).await
    }
}

/// Time limits are rounded up to multiples of this, so that the system need not be told
/// a new one for each request.
pub(crate) const STEP: Duration = Duration::from_millis(4);

/// Rounds a time limit up.
pub(crate) fn rounded(left: Duration) -> Duration {
    let steps = u32::try_from(left.as_nanos().div_ceil(STEP.as_nanos())).unwrap_or(u32::MAX);
    STEP.saturating_mul(steps)
}
