//! Accepts connections, with limits that keep slow or many clients from starving the others.
//!
//! Called by `app` for HTTP and for Flight SQL, which is HTTP/2; hands requests to a router. TLS, if configured, is spoken here.
//! Invariants: as many connections as there are [`Seats`]; a connection that does not say what it wants is closed in time.
//! Not here: limits on bodies, which are layers of the router and of the handlers.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, extract::ConnectInfo, http::Request};
use axum_server::{
    Handle, Server,
    accept::{Accept, DefaultAcceptor},
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::rt::TokioTimer;
use prometheus::IntCounter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinHandle},
    time::Sleep,
};

/// Most connections at a time, the number Prometheus allows. With the files of the tables it stays below the 1,024 open
/// files that many systems allow a process.
pub const CONNECTIONS_MAX: usize = 512;
/// Connections that wait to be accepted. With the usual 128 a crowd makes the system drop openings, and each client that it
/// drops tries again only after a second.
const BACKLOG: u32 = 4096;
/// Time for a new connection to send its first bytes. Until then the protocol is not known, so no other limit applies.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that tell the protocol: the length of HTTP/2's opening.
const FIRST_BYTES: usize = 24;
/// Time for the headers of a request, the first or a later one on the connection. Longer than the usual pause between two
/// scrapes or writes, so that clients keep their connections.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(75);
/// Most bytes buffered for one connection before its handler reads; also the limit of its headers.
const BUFFER_BYTES_MAX: usize = 128 << 10;
/// Limits of HTTP/2, where one connection carries many requests.
const STREAMS_MAX: u32 = 64;
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that may be open at a time.
pub struct Seats {
    free: Arc<Semaphore>,
    refused: IntCounter,
}

/// A server while it runs.
pub struct Serving {
    task: JoinHandle<io::Result<()>>,
    handle: Handle<SocketAddr>,
}

impl Seats {
    /// So many; who finds none is counted by `refused`.
    #[must_use]
    pub fn new(most: usize, refused: IntCounter) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), refused }
    }
}

impl Serving {
    /// How it ended, which it does not by itself.
    ///
    /// # Errors
    /// If it panicked.
    pub async fn ended(&mut self) -> Result<io::Result<()>, JoinError> {
        (&mut self.task).await
    }

    /// Lets nobody in any more, and waits until requests have ended; those that take longer than `most` are cut.
    pub async fn stop(&self, most: Duration) {
        self.handle.graceful_shutdown(Some(most));
        while self.connections() > 0 || !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.handle.connection_count()
    }
}

/// Opens `address` for connections.
///
/// # Errors
/// If the address is taken or not of this machine.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart does not wait for the connections of the server before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Serves `router` on `listener` until it is told to stop.
#[must_use]
pub fn serve(listener: TcpListener, tls: Option<RustlsConfig>, router: Router, seats: Seats) -> Serving {
    let handle = Handle::new();
    Serving { task: tokio::spawn(accept(listener, (tls, handle.clone()), router, seats)), handle }
}

async fn accept(
    listener: TcpListener,
    (tls, handle): (Option<RustlsConfig>, Handle<SocketAddr>),
    router: Router,
    Seats { free: seats, refused }: Seats,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let server = axum_server::from_tcp(listener)?.handle(handle);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        Some(tls) => {
            let acceptor = Guard { inner: RustlsAcceptor::new(tls), seats, refused };
            limited(server.acceptor(acceptor)).serve(service).await
        }
        None => {
            let acceptor = Guard { inner: DefaultAcceptor::new(), seats, refused };
            limited(server.acceptor(acceptor)).serve(service).await
        }
    }
}

fn limited<A>(mut server: Server<SocketAddr, A>) -> Server<SocketAddr, A> {
    let http = server.http_builder();
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT).max_buf_size(BUFFER_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    server
}

/// The address of a request's client.
pub fn client<B>(request: &Request<B>) -> Option<SocketAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// Lets a connection in if there is a seat, and watches its first bytes.
#[derive(Clone)]
struct Guard<A> {
    inner: A,
    seats: Arc<Semaphore>,
    refused: IntCounter,
}

impl<A, S> Accept<TcpStream, S> for Guard<A>
where
    A: Accept<TcpStream, S>,
    A::Stream: Send + 'static,
    A::Service: Send + 'static,
    A::Future: Send + 'static,
    S: Send + 'static,
{
    type Stream = Guarded<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            self.refused.inc();
            return Box::pin(std::future::ready(Err(io::Error::other("too many connections"))));
        };
        if let Err(error) = stream.set_nodelay(true) {
            return Box::pin(std::future::ready(Err(error)));
        }
        // With TLS this is the handshake, which has a timeout of its own.
        let inner = self.inner.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = inner.await?;
            let waiting = Some(Box::pin(tokio::time::sleep(FIRST_BYTES_TIMEOUT)));
            Ok((Guarded { stream, waiting, seen: 0, _seat: seat }, service))
        })
    }
}

/// A connection that holds a seat and must soon say what it wants.
struct Guarded<IO> {
    stream: IO,
    waiting: Option<Pin<Box<Sleep>>>,
    seen: usize,
    _seat: OwnedSemaphorePermit,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let Some(waiting) = &mut this.waiting else { return read };
        match read {
            Poll::Ready(read) => {
                let bytes = buf.filled().len() - before;
                this.seen += bytes;
                if bytes == 0 || this.seen >= FIRST_BYTES {
                    this.waiting = None;
                }
                Poll::Ready(read)
            }
            Poll::Pending => waiting.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
