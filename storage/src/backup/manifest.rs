//! What one backup is: tables with their versions, and every file with its size and checksum.
//!
//! A manifest's name has its number, the time it was taken and the checksum of its bytes, so that damage of the manifest itself shows,
//! and a clock that went back does not make an older backup the newest.

use std::collections::BTreeMap;

use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// Folders of a place with backups.
pub(super) const FOLDER: &str = "manifests";
pub(super) const DATA: &str = "data";
pub(super) const LOG: &str = "log";
pub(super) const OTHERS: &str = "folder";

/// Version of the layout.
const FORMAT: u32 = 1;

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub(super) format: u32,
    /// Grows from one backup of a place to the next.
    pub sequence: u64,
    /// When it was taken, milliseconds: when the tables were pinned.
    pub taken_ms: i64,
    /// Version of the program that took it.
    pub program: String,
    /// Tenant whose tables they are.
    pub tenant: String,
    /// The write-ahead log above the tables. None if it could not be read: its rows are not in the backup.
    pub log: Option<LogCopy>,
    /// The tables.
    pub tables: Vec<TableCopy>,
    /// Files of the data folder beside the tables.
    pub others: Vec<Kept>,
}

/// What of the write-ahead log the tables of a backup lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCopy {
    /// The log as a source of rows, as the tables' positions name it.
    pub(super) source: String,
    /// Rows by dataset that are in it and in no table.
    pub rows: BTreeMap<String, u64>,
    /// Its segments, the oldest first, each up to its last whole record.
    pub(super) segments: Vec<Kept>,
    /// Data files that its records put into tables.
    pub(super) staged: Vec<Kept>,
}

/// A table of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCopy {
    /// Name of the dataset.
    pub dataset: String,
    /// Identity of the table, which it keeps when it is restored.
    pub(super) id: String,
    /// Delta version that was pinned.
    pub version: i64,
    /// Rows in its files.
    pub rows: u64,
    /// Time of the newest of them, microseconds, if that is known.
    pub newest_us: Option<i64>,
    /// The checkpoint of that version.
    pub log: Kept,
    /// Its data files.
    pub files: Vec<Kept>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where it belongs: below the root of the tables, or below the data folder.
    pub path: String,
    /// Where it is kept among the backups.
    pub object: String,
    /// Its size, bytes.
    pub size: u64,
    /// CRC-32C of its bytes.
    pub crc32c: u32,
    /// When it was last written, milliseconds; of files that may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_ms: Option<i64>,
}

impl Manifest {
    /// A backup of nothing yet.
    pub(super) fn new(taken_ms: i64, tenant: &str) -> Self {
        Self {
            format: FORMAT,
            sequence: 0,
            taken_ms,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            tenant: tenant.to_owned(),
            log: None,
            tables: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Every file of it.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Kept> {
        let logs = self.tables.iter().map(|table| &table.log);
        self.data().chain(logs).chain(self.beside())
    }

    /// Files of the tables.
    pub(super) fn data(&self) -> impl Iterator<Item = &Kept> {
        let staged = self.log.iter().flat_map(|log| &log.staged);
        self.tables.iter().flat_map(|table| &table.files).chain(staged)
    }

    /// Files of the data folder beside the tables.
    pub(super) fn beside(&self) -> impl Iterator<Item = &Kept> {
        self.others.iter().chain(self.log.iter().flat_map(|log| &log.segments))
    }

    /// What it names that has no place where it says: a manifest must not make a restore write elsewhere.
    pub(super) fn misplaced(&self) -> Option<&str> {
        let below =
            |kept: &Kept, folder: &str| kept.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let data = self.data().filter(|kept| !below(kept, &self.tenant) || kept.path.contains("/_delta_log/"));
        let segments = self.log.iter().flat_map(|log| &log.segments).filter(|kept| !below(kept, "wal"));
        let ours =
            |kept: &&Kept| !kept.path.contains('/') || ["tables", "wal", "spool"].iter().any(|part| below(kept, part));
        let no_path = |kept: &&Kept| [&kept.path, &kept.object].iter().any(|text| Path::parse(text).is_err());
        let ours = self.others.iter().filter(ours);
        let wrong = self.kept().filter(no_path).chain(data).chain(segments).chain(ours).next();
        wrong.map(|kept| kept.path.as_str())
    }

    /// Rows of all tables.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Size of all files, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kept().map(|kept| kept.size).sum()
    }

    /// Path and bytes.
    pub(super) fn encode(&self) -> Result<(Path, Vec<u8>)> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(ErrorKind::Internal, "a manifest cannot be encoded").caused_by(error))?;
        let name = format!("{:010}-{:015}-{:08x}.json", self.sequence, self.taken_ms, crc32c::crc32c(&bytes));
        Ok((Path::from_iter([FOLDER, &name]), bytes))
    }

    /// Of bytes that are those that were written; `None` if they make no sense all the same.
    ///
    /// # Errors
    /// `Invalid` if another version of the program wrote them in another form.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let Ok(Form { format }) = serde_json::from_slice(bytes) else { return Ok(None) };
        if format != FORMAT {
            let message = format!(
                "the backups have another form; use the version of streamgauge that wrote them, found={format} known={FORMAT}"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(serde_json::from_slice(bytes).ok())
    }
}

/// What a manifest's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub sequence: u64,
    pub taken_ms: i64,
    pub sum: u32,
}

impl Name {
    /// Of a manifest's path; `None` if it is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let (sequence, rest) = path.filename()?.strip_suffix(".json")?.split_once('-')?;
        let (time, sum) = rest.split_once('-')?;
        let sum = u32::from_str_radix(sum, 16).ok()?;
        Some(Self { sequence: sequence.parse().ok()?, taken_ms: time.parse().ok()?, sum })
    }
}
