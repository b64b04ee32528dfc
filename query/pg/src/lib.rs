//! Speaks the PostgreSQL protocol, so that psql, Grafana, BI tools and drivers can ask the engine.
//!
//! Called by the binary, which accepts connections and hands each to [`Server::serve`] with what it knows of it. A connection's way:
//! `opening` (TLS, who is it) → `connection` (messages in order) → `script` (which statements, and which of them are a closed list that
//! is answered here) → [`query::Engine`] (everything that reads) → `value` (rows as the protocol has them) → the socket.
//!
//! Invariants: queries go through the engine's gate, limits and kinds of errors, and through nothing else; nothing here writes; what a
//! connection may hold is bounded (`limits`); a query ends when its client is gone, cancels it, or closes its portal.
//! Not here: what tokens there are, certificates, and listening (the binary); tables of the system catalog (`query`).

mod cancel;
mod connection;
mod failure;
mod limits;
mod meter;
mod opening;
mod parameter;
pub mod scram;
mod script;
mod settings;
mod value;
mod wire;

use std::{sync::Arc, time::Duration};

use prometheus::Registry;
use query::{Engine, Random};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

pub use limits::CONNECTIONS_MAX;

use cancel::Keys;
use connection::Connection;
use meter::Meter;

/// What a connection is read from and written to.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// How a user shows who it is.
pub enum Access {
    /// Not at all: everybody is let in.
    Open,
    /// By SCRAM-SHA-256.
    Scram(scram::Verifier),
    /// By its password, of which only a hash is known.
    Password,
}

/// Who may come in.
pub trait Guard: Send + Sync {
    /// How `user` shows who it is; none if nobody is called so.
    fn access(&self, user: &str) -> Option<Access>;

    /// Is this the user's password?
    fn is_password(&self, user: &str, password: &[u8]) -> bool;

    /// May the user, who has shown who it is, ask queries now?
    ///
    /// # Errors
    /// Why not, in a sentence.
    fn admit(&self, user: &str) -> Result<(), String>;
}

/// Gives the newest settings of TLS.
pub type Tls = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// What connections are served with. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    engine: Engine,
    guard: Arc<dyn Guard>,
    tls: Option<Tls>,
    random: Random,
    /// From which salts of users that are not there are made, so that they look like those that are.
    secret: [u8; 16],
    keys: Keys,
    meter: Meter,
    idle: Duration,
    /// Of connections that were let in.
    seats: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Server {
    /// A server of an engine. With `tls`, connections without it are refused. A connection that says nothing for `idle` is closed.
    ///
    /// # Errors
    /// If the counters are registered already.
    pub fn new(
        engine: Engine,
        (guard, tls): (Arc<dyn Guard>, Option<Tls>),
        random: Random,
        idle: Duration,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let secret = random.bits().to_be_bytes();
        let meter = Meter::register(registry)?;
        let (keys, stopping) = (Keys::default(), CancellationToken::new());
        let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Ok(Self(Arc::new(Inner { engine, guard, tls, random, secret, keys, meter, idle, seats, stopping })))
    }

    /// Serves a connection until either side ends it; `is_near` says that it comes from this machine.
    pub async fn serve(&self, socket: impl Socket + 'static, is_near: bool) {
        let opened = opening::open(&self.0, Box::new(socket), is_near);
        let Ok(Ok(Some(opened))) = tokio::time::timeout(limits::OPENING_TIMEOUT, opened).await else { return };
        let _open = self.0.meter.open();
        Connection::new(Arc::clone(&self.0), opened).run().await;
    }

    /// Ends connections when what they asked is answered; returns when all have ended.
    pub async fn stop(&self) {
        self.0.stopping.cancel();
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        // An error would say that nobody can sit down any more, which is what is waited for.
        let _ = self.0.seats.acquire_many(all).await;
    }
}

#[cfg(test)]
mod tests;
