//! Keeps rows: a write-ahead log, recent rows in memory, and Delta Lake tables of Parquet files, read as one.
//!
//! `ingest` appends [`Batch`]es; `query` asks for a [`View`]. A row's way: [`wal`](self) (durable) → the dataset's writer
//! (visible in the head) → Parquet and a Delta commit that carries the row and its position in one version → the log is
//! trimmed.
//!
//! Invariants: an acknowledged row is in every later view exactly once, whatever crashes; writers see the log's records in
//! order; every queue is bounded in bytes; no dataset is known by name here.
//! Not here: SQL (no DataFusion), decoding of any protocol, clocks and randomness (they enter through [`Env`]).

mod backup;
mod batch;
mod checked;
mod commit;
mod delta;
mod disk;
mod env;
mod error;
mod folder;
mod gather;
mod head;
mod latency;
mod merge;
mod open;
mod parquet_file;
mod read_only;
mod sort;
mod staging;
mod store;
mod stored_file;
mod ticket;
mod upkeep;
mod view;
mod wal;
mod writer;

pub use backup::{
    Backup, Backups, Copied, Keep, Kept, Location, LogCopy, Manifest, Passed, Pruned, Restored, Source, TableCopy,
    Taken, Target, Wish,
};
pub use batch::{Batch, Delete, Lane, Replacement, Write};
pub use disk::{FREE_BYTES_MIN, free_bytes};
pub use env::{Clock, Env, Probe, Random};
pub use error::{Error, ErrorKind, Result};
pub use latency::Latency;
pub use open::{Config, Storage};
pub use read_only::open_read_only;
pub use staging::Staging;
pub use store::{CREDENTIAL_VARIABLES, Credentials, Root, S3, Sse, Tables};
pub use stored_file::StoredFile;
pub use ticket::{Ack, Room};
pub use upkeep::{Step, Trim, TrimRule, Upkept};
pub use view::{Bound, DataFile, Rows, View};

#[cfg(test)]
mod model;
#[cfg(test)]
mod test_rows;

/// Reads bytes as a log segment, and as a record's payload; for the fuzzer, which has no other way in.
#[cfg(fuzzing)]
pub fn fuzz_wal_segment(bytes: &[u8]) {
    for found in wal::segment::scan(bytes, 1).records {
        let _ = wal::payload::decode(&bytes[found.payload], &schemas::all());
    }
    let _ = wal::payload::decode(bytes, &schemas::all());
}
