//! Listens for Arrow Flight SQL and says who may come in.
//!
//! Called by `app`; hands calls to crate `flight`, which answers them over the engine of HTTP's queries. Flight SQL is HTTP/2, so it is
//! served as HTTP is (`http::listen`), at an address of its own: clients take no path.
//!
//! Invariants: what is closed over HTTP is closed here, and TLS is the same; an address that is taken ends the start. Not here: the
//! protocol (`flight`), and what queries may do (`query`).

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::{Context, Result};
use axum::http::HeaderMap;
use axum_server::tls_rustls::RustlsConfig;
use flight::{Guard, Refused, Server, User};
use prometheus::{IntCounter, Registry};
use query::Engine;
use storage::Random;
use tracing::info;

use crate::{
    auth::{Auth, Denied, Scope},
    http::listen::{self, Seats, Serving},
};

/// Settings of the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address to listen on; none if nobody listens.
    pub listen: Option<SocketAddr>,
}

/// An address that is ours, before there is anything to ask.
pub struct Listener(TcpListener);

impl Listener {
    /// Takes the address of the settings; none if nobody listens.
    ///
    /// # Errors
    /// If it is taken.
    pub fn bind(config: &Config) -> Result<Option<Self>> {
        let Some(address) = config.listen else { return Ok(None) };
        let listener = listen::bind(address).with_context(|| {
            format!(
                "cannot listen on {address} for Flight SQL: is another server running there? --flight-listen names another \
                 address, or `off`"
            )
        })?;
        info!(address = %listener.local_addr()?, "Flight SQL: listening");
        Ok(Some(Self(listener)))
    }

    /// Lets connections in.
    ///
    /// # Errors
    /// If the counters are registered already.
    pub fn serve(
        self,
        engine: Engine,
        (auth, tls): (Auth, Option<RustlsConfig>),
        random: Random,
        registry: &Registry,
    ) -> Result<Serving> {
        let help = "Connections of Flight SQL refused because there were too many.";
        let refused = IntCounter::new("streamgauge_flight_connections_refused_total", help)?;
        registry.register(Box::new(refused.clone()))?;
        let server = Server::new(engine, Arc::new(Tokens(auth)), random, registry)?;
        Ok(listen::serve(self.0, tls, server.router(), Seats::new(flight::CONNECTIONS_MAX, refused)))
    }
}

/// The tokens in force as users.
struct Tokens(Auth);

impl Guard for Tokens {
    fn admit(&self, headers: &HeaderMap) -> Result<User, Refused> {
        self.0.check(headers, Some(Scope::Read)).map_err(|denied| match denied {
            Denied::Unknown | Denied::Expired => Refused::Unknown(denied.to_string()),
            Denied::Scope(_) => Refused::Forbidden(denied.to_string()),
        })
    }

    fn secret(&self, headers: &HeaderMap) -> Option<String> {
        Auth::secret(headers)
    }
}
