//! What clients may send, and what is kept of it for how long.

use std::time::Duration;

/// Most connections at a time: as over the PostgreSQL protocol; one carries many calls.
pub const CONNECTIONS_MAX: usize = 128;
/// Longest message of a client: a text of the greatest length that the engine takes, and as much again for what is around it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 2 << 20;
/// Bytes of rows in one message. The least that a client is known to take is 4 MiB, and sizes are of the rows, not of the message.
pub(crate) const ROWS_BYTES_MAX: usize = 1 << 20;
/// Bytes of all messages that bring the values of a statement's parameters.
pub(crate) const VALUES_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// Time for them to come.
pub(crate) const VALUES_TIMEOUT: Duration = Duration::from_secs(30);
/// Prepared statements of all clients, and their bytes; when there are more, those go that were not used for the longest time.
pub(crate) const PREPARED_MAX: (usize, usize) = (4_096, 32 << 20);
/// A prepared statement that was not used for so long is forgotten. Clients that end without closing leave theirs behind.
pub(crate) const PREPARED_AGE_MAX: Duration = Duration::from_secs(3_600);
/// Tickets that nobody has come with yet, and their bytes; the oldest go when there are more.
pub(crate) const TICKETS_MAX: (usize, usize) = (4_096, 32 << 20);
/// A ticket is good for so long. Clients come with it at once, unless a person decides between.
pub(crate) const TICKET_AGE_MAX: Duration = Duration::from_secs(300);
/// Names of types by which tables are asked for; there are two.
pub(crate) const TABLE_TYPES_MAX: usize = 100;
/// Bytes of a message about a failure. It is a header, and clients bound those.
pub(crate) const FAILURE_BYTES_MAX: usize = 4 << 10;
