//! Speaks Arrow Flight SQL, so that ADBC, JDBC and notebooks take answers as Arrow, without text in between.
//!
//! Called by the binary, which serves [`Server::router`] as it serves HTTP: with its TLS, its limits of connections, and its stop. A
//! call's way: `door` (who is it) → `service` (which call, which command) → [`query::Engine`] for what reads, or `catalog` and `about`
//! for what clients ask about the server → `wire` (rows as messages). `statements` has what a client may come back to: prepared
//! statements, tickets, and queries under way.
//!
//! Invariants: queries go through the engine's gate, limits and kinds of errors, and through nothing else; nothing here writes; what is
//! kept between calls is bounded, forgotten in time, and only its owner's; a query ends when its client is gone or cancels it, and
//! when nobody takes its rows for as long as a query may take.
//! Not here: what tokens there are, certificates, and listening (the binary).

mod about;
mod binding;
mod catalog;
mod door;
mod failure;
mod limits;
mod meter;
mod service;
mod statements;
mod wire;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::{Router, http::HeaderMap};
use prometheus::Registry;
use query::{Engine, Random};
use tonic::service::{Routes, interceptor::InterceptedService};
use tower_http::catch_panic::CatchPanicLayer;

pub use limits::CONNECTIONS_MAX;

use door::Door;
use meter::Meter;
use service::Service;
use statements::Statements;

/// Who sends a call: the name of its token, or nobody in particular where everybody is let in.
pub type User = Option<Arc<str>>;

/// Why a call is refused, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It does not show who it is.
    Unknown(String),
    /// Who it is may not ask.
    Forbidden(String),
}

/// Who may come in.
pub trait Guard: Send + Sync {
    /// Who sends a call with these headers.
    ///
    /// # Errors
    /// Why it may not ask queries.
    fn admit(&self, headers: &HeaderMap) -> Result<User, Refused>;

    /// The secret by which these headers show who it is, if they do.
    fn secret(&self, headers: &HeaderMap) -> Option<String>;
}

/// What calls are answered with. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    engine: Engine,
    guard: Arc<dyn Guard>,
    random: Random,
    meter: Meter,
    statements: Statements,
}

impl Server {
    /// A server of an engine.
    ///
    /// # Errors
    /// If the counters are registered already.
    pub fn new(engine: Engine, guard: Arc<dyn Guard>, random: Random, registry: &Registry) -> prometheus::Result<Self> {
        let meter = Meter::register(registry)?;
        Ok(Self(Arc::new(Inner { engine, guard, random, meter, statements: Statements::default() })))
    }

    /// Answers calls. Whoever serves it bounds connections, the calls of each, and headers.
    pub fn router(&self) -> Router {
        let service = FlightServiceServer::new(Service(Arc::clone(&self.0)))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            // Rows are cut to their size before; only a row that is larger than a message is not.
            .max_encoding_message_size(usize::MAX);
        let service = InterceptedService::new(service, Door(Arc::clone(&self.0)));
        Routes::new(service).into_axum_router().layer(CatchPanicLayer::custom(failure::panicked))
    }
}

#[cfg(test)]
mod tests;
