//! What one backup is: tables with their versions, and every file with its size and checksum.
//!
//! A manifest's name has the time it was taken and the checksum of its bytes, so that damage of the manifest itself shows.

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
    /// When it was taken, milliseconds: when the tables were pinned.
    pub taken_ms: i64,
    /// Version of the program that took it.
    pub program: String,
    /// Tenant whose tables they are.
    pub tenant: String,
    /// Rows by dataset that were in the write-ahead log and in no file when the tables were pinned: they are not in the backup. None
    /// if the log could not be read.
    pub waiting: Option<BTreeMap<String, u64>>,
    /// The tables.
    pub tables: Vec<TableCopy>,
    /// Files of the data folder beside the tables.
    pub others: Vec<Kept>,
}

/// A table of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCopy {
    /// Name of the dataset.
    pub dataset: String,
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
            taken_ms,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            tenant: tenant.to_owned(),
            waiting: None,
            tables: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Every file of it.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Kept> {
        let tables = self.tables.iter().flat_map(|table| table.files.iter().chain([&table.log]));
        tables.chain(&self.others)
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
        let name = format!("{:015}-{:08x}.json", self.taken_ms, crc32c::crc32c(&bytes));
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

/// Time and checksum in a manifest's name; `None` if it is none.
pub(super) fn name_of(path: &Path) -> Option<(i64, u32)> {
    let (time, sum) = path.filename()?.strip_suffix(".json")?.split_once('-')?;
    Some((time.parse().ok()?, u32::from_str_radix(sum, 16).ok()?))
}
