//! What a connection may hold, and for how long.

use std::time::Duration;

/// Most connections at a time: pools of a few dashboards and notebooks. With those of HTTP and the files of tables it stays below the
/// 1,024 open files that many systems allow a process.
pub const CONNECTIONS_MAX: usize = 128;
/// Time to say who it is: a handshake and a computed password take milliseconds, a person who types one does so before.
pub(crate) const OPENING_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest message before it is known who sends it; PostgreSQL's own limit of the first one.
pub(crate) const OPENING_BYTES_MAX: usize = 10_000;
/// Longest message: a text of the greatest length that the engine takes, and as much again for values.
pub(crate) const MESSAGE_BYTES_MAX: usize = 2 << 20;
/// Prepared statements of a connection. Drivers keep some hundred.
pub(crate) const STATEMENTS_MAX: usize = 1_024;
/// Bytes of the texts of all of them together.
pub(crate) const STATEMENTS_BYTES_MAX: usize = 8 << 20;
/// Portals of a connection: each that is not at its end holds a place among the running queries.
pub(crate) const PORTALS_MAX: usize = 16;
/// Statements in one string; scripts are for files.
pub(crate) const SCRIPT_MAX: usize = 100;
/// Bytes that are gathered before they are sent.
pub(crate) const SEND_BYTES: usize = 64 << 10;
/// Time for a client to take what is sent. One that stands still longer has gone without saying so.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(300);
