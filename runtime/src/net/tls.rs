//! TLS by rustls: what a server must prove, and what this side shows.
//!
//! Takes streams that are open already; `socket` and `async_connection` open
//! them.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::error::{Error, ErrorKind};
use crate::net::fault::{Fault, Trouble};
use crate::net::stream::{Socket, rounded};
use crate::time::budget::Deadline;

/// Which authorities to trust, and perhaps a certificate to show.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the authorities in this file, or else the system's, and shows
    /// this certificate with its key if asked to. The files are in PEM.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has nothing of its kind in it, or if the
    /// system has no authorities.
    pub(crate) fn new(ca: Option<&str>, own: Option<(&str, &str)>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let versions = versions.map_err(|error| refused("TLS cannot be used", error))?;
        let trusting = versions.with_root_certificates(roots(ca)?);
        let config = match own {
            None => trusting.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("MEMCACHED_TLS_CERT", certificate)?;
                let secret = PrivateKeyDer::from_pem_file(key);
                let secret = secret.map_err(|error| unusable("MEMCACHED_TLS_KEY", key, "a private key", error))?;
                let pair = format!("MEMCACHED_TLS_CERT={certificate:?} and MEMCACHED_TLS_KEY={key:?} are no pair");
                let showing = trusting.with_client_auth_cert(chain, secret);
                let mut config = showing.map_err(|error| refused(pair, error))?;
                // memcached refuses to resume a session in which it has seen a
                // certificate.
                config.resumption = Resumption::disabled();
                config
            }
        };
        Ok(Tls(Arc::new(config)))
    }

    /// Speaks TLS over this stream, with the server of this name.
    pub(crate) fn open(&self, host: &str, deadline: Deadline, stream: TcpStream) -> Result<Box<dyn Socket>, Fault> {
        let session = ClientConnection::new(Arc::clone(&self.0), name(host)?);
        let mut session = session.map_err(|error| Fault::unreachable("TLS cannot begin").because(error))?;
        let left = deadline.left_to_connect().ok_or(Trouble::OutOfTime)?;
        let late = Trouble::unconnected_in(left, deadline);
        let mut stream = Timed { stream, until: Instant::now() + left, armed: Duration::ZERO };
        while session.is_handshaking() {
            session.complete_io(&mut stream).map_err(|error| unsecured(error, late))?;
        }
        Ok(Box::new(StreamOwned::new(session, stream)))
    }

    /// Does the same on tokio.
    #[cfg(feature = "tokio")]
    pub(crate) async fn open_async(
        &self,
        host: &str,
        stream: tokio::net::TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, Fault> {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.0));
        connector.connect(name(host)?, stream).await.map_err(|error| unsecured(error, Trouble::Silent))
    }
}

/// A stream whose reads and writes share one time limit: TLS makes several of
/// them for one of its own.
struct Timed {
    stream: TcpStream,
    until: Instant,
    /// The limit that the system has been given.
    armed: Duration,
}

impl Timed {
    /// Gives the system the time that is left.
    fn arm(&mut self) -> io::Result<&mut TcpStream> {
        let left = self.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        let limit = rounded(left.ok_or(io::ErrorKind::TimedOut)?);
        if limit != self.armed {
            self.stream.limit(limit)?;
            self.armed = limit;
        }
        Ok(&mut self.stream)
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.arm()?.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arm()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for StreamOwned<ClientConnection, Timed> {
    fn limit(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn until(&mut self, until: Instant) {
        self.sock.until = until;
    }

    fn waits(&self, waits: bool) -> io::Result<()> {
        self.sock.stream.waits(waits)
    }

    fn is_quiet(&mut self) -> bool {
        let stream = &self.sock.stream;
        // Tickets for later sessions come unasked; only a closed stream counts.
        let waits = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        stream.set_nonblocking(false).is_ok() && !matches!(waits, Ok(0))
    }
}

/// Returns the name that the certificate must be for.
fn name(host: &str) -> Result<ServerName<'static>, Fault> {
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|error| Fault::unreachable("a certificate cannot be for this name").because(error))
}

/// Returns the authorities in this file, or the system's.
fn roots(ca: Option<&str>) -> Result<RootCertStore, Error> {
    /// The variable that the file comes from.
    const CA: &str = "MEMCACHED_TLS_CA";
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(CA, path)? {
                let unfit = || format!("{CA}={path:?} cannot be used: not every certificate in it is an authority's");
                roots.add(certificate).map_err(|error| refused(unfit(), error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let message = format!("this system has no certificate authorities to trust: name a file with {CA}");
                return Err(Error::new(ErrorKind::Configuration, message));
            }
        }
    }
    Ok(roots)
}

/// Returns the certificates in a file.
fn certificates(variable: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(Path::new(path)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.and_then(|found| if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) });
    found.map_err(|error| unusable(variable, path, "certificates", error))
}

/// Returns the error for a file that is not what its variable asks for. It does not quote the
/// file, which may hold a key.
fn unusable(variable: &str, path: &str, wanted: &str, error: pem::Error) -> Error {
    let why = match &error {
        pem::Error::Io(error) => format!(": {error}"),
        _ => String::new(),
    };
    let message = format!("{variable}={path:?} cannot be used{why}; accepted: a file in PEM with {wanted}");
    match error {
        pem::Error::Io(error) => refused(message, error),
        _ => Error::new(ErrorKind::Configuration, message),
    }
}

/// Returns the error for a setting that rustls does not accept.
fn refused(message: impl Into<String>, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Configuration, message).with_source(error)
}

/// Returns the fault of a failed handshake, which is `late` if its time is over. There is no
/// fallback to plain text.
fn unsecured(error: io::Error, late: Trouble) -> Fault {
    let trouble = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => late,
        _ => Trouble::Unproven,
    };
    Fault::from(trouble).because(error)
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}
