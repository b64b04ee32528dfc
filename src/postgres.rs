//! Listens for the PostgreSQL protocol and says who may come in.
//!
//! Called by `app`; hands connections to `pg`, which speaks the protocol over the engine of HTTP's queries. Users are tokens with the
//! read scope: the user's name is the token's, the password is the token.
//!
//! Invariants: what is closed over HTTP is closed here, and TLS is as strict; an address that is taken ends the start. Not here: the
//! protocol (`pg`), and what queries may do (`query`).

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use axum_server::tls_rustls::RustlsConfig;
use pg::{Access, Guard, Server};
use prometheus::Registry;
use query::Engine;
use storage::Random;
use tokio::{sync::Semaphore, task::JoinHandle};
use tracing::{info, warn};

use crate::{
    auth::{Auth, Scope},
    http::listen,
};

/// Connections that may be on their way in beside those that are in: cancel requests come on connections of their own.
const OPENING_MAX: usize = 32;
/// Pause after an opening failed, as it does when there are no more files: trying at once would only burn time.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Settings of the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address to listen on; none if nobody listens.
    pub listen: Option<SocketAddr>,
    /// A connection that asks nothing for so long is closed.
    pub idle: Duration,
}

/// An address that is ours, before there is anything to ask.
pub struct Listener {
    listener: TcpListener,
    idle: Duration,
}

/// The listener while it works.
pub struct Serving {
    task: JoinHandle<()>,
    server: Server,
}

impl Listener {
    /// Takes the address of the settings; none if nobody listens.
    ///
    /// # Errors
    /// If it is taken.
    pub fn bind(config: &Config) -> Result<Option<Self>> {
        let Some(address) = config.listen else { return Ok(None) };
        let listener = listen::bind(address).with_context(|| {
            format!(
                "cannot listen on {address} for the PostgreSQL protocol: is another server running there? \
                 --pg-listen names another address, or `off`"
            )
        })?;
        listener.set_nonblocking(true)?;
        info!(address = %listener.local_addr()?, "PostgreSQL protocol: listening");
        Ok(Some(Self { listener, idle: config.idle }))
    }

    /// The address that was taken.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Lets connections in.
    ///
    /// # Errors
    /// If the listener cannot be used.
    pub fn serve(
        self,
        engine: Engine,
        (auth, tls): (Auth, Option<RustlsConfig>),
        random: Random,
        registry: &Registry,
    ) -> Result<Serving> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let tls = tls.map(|tls| Arc::new(move || tls.get_inner()) as pg::Tls);
        let server = Server::new(engine, (Arc::new(Tokens(auth)), tls), random, self.idle, registry)?;
        Ok(Serving { task: tokio::spawn(accept(listener, server.clone())), server })
    }
}

impl Serving {
    /// Lets nobody in any more, and waits for the others to have their answers.
    pub async fn stop(&self) {
        self.task.abort();
        self.server.stop().await;
    }
}

async fn accept(listener: tokio::net::TcpListener, server: Server) {
    let seats = Arc::new(Semaphore::new(pg::CONNECTIONS_MAX + OPENING_MAX));
    loop {
        // Whoever finds no seat waits before the door, where the system lets a few thousand wait.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, peer)) => {
                let server = server.clone();
                let is_near = peer.ip().to_canonical().is_loopback();
                tokio::spawn(async move {
                    // Without it answers only come a little later.
                    let _ = socket.set_nodelay(true);
                    server.serve(socket, is_near).await;
                    drop(seat);
                });
            }
            Err(error) => {
                warn!(%error, "a connection of the PostgreSQL protocol could not be accepted");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// The tokens in force as users.
struct Tokens(Auth);

impl Guard for Tokens {
    fn access(&self, user: &str) -> Option<Access> {
        if self.0.is_open() {
            return Some(Access::Open);
        }
        let token = self.0.named(user)?;
        Some(token.scram.clone().map_or(Access::Password, Access::Scram))
    }

    fn is_password(&self, user: &str, password: &[u8]) -> bool {
        self.0.is_token(user, password)
    }

    fn admit(&self, user: &str) -> Result<(), String> {
        self.0.may(user, Scope::Read).map_err(|denied| denied.to_string())
    }
}
