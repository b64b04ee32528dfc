//! Reads what was deleted from a block: ranges of time by series, which are left out.
//!
//! Called by [`Block`](super::Block). Spec: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/tombstones.md>

use std::{collections::HashMap, path::Path};

use super::file::{Cursor, File};
use crate::Result;

const MAGIC: u32 = 0x0130_BA30;
/// Magic number and version.
const HEAD_BYTES: usize = 5;

/// Deleted ranges by series, both ends included.
#[derive(Debug, Default)]
pub(super) struct Tombstones(HashMap<u64, Vec<(i64, i64)>>);

impl Tombstones {
    /// Reads a block's file; none is as good as one that deletes nothing.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let mut file = File::open(path)?;
        if file.word(0)? != MAGIC {
            return Err(file.fault(0, "file is no list of deletions"));
        }
        if file.exactly(4, 1)? != [1] {
            return Err(file.fault(4, "list of deletions has a version that is not known"));
        }
        let bytes = usize::try_from(file.bytes()).unwrap_or(usize::MAX);
        let Some(bytes) = bytes.checked_sub(HEAD_BYTES + 4) else {
            return Err(file.fault(0, "list of deletions is too short"));
        };
        let mut cursor = Cursor(file.checked(5, bytes)?);
        let mut stones = HashMap::<u64, Vec<(i64, i64)>>::new();
        while !cursor.0.is_empty() {
            let stone = (|| Some((cursor.uvarint()?, cursor.varint()?, cursor.varint()?)))();
            let Some((series, first_ms, last_ms)) = stone else {
                return Err(file.fault(5, "list of deletions ends too early"));
            };
            stones.entry(series).or_default().push((first_ms, last_ms));
        }
        Ok(Self(stones))
    }

    /// What was deleted of a series.
    pub(super) fn of(&self, series: u64) -> &[(i64, i64)] {
        self.0.get(&series).map_or(&[], Vec::as_slice)
    }
}
