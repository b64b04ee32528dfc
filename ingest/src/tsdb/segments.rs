//! Reads the chunks of a block from its segment files, and checks their checksums.
//!
//! Called by [`Block`](super::Block) with places that the index names: the file in the upper half, the offset in the lower.
//! Spec: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md>

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    chunk,
    file::{Cursor, File},
};
use crate::{Error, ErrorKind, Result, samples::Samples};

const MAGIC: u32 = 0x85BD_40DD;
/// Bytes in which the length of a chunk ends.
const LENGTH_BYTES: usize = 5;

/// The files of a block's chunks, opened when they are asked for. One is open at a time, since series come in their order.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    paths: BTreeMap<u64, PathBuf>,
    open: Option<(u64, File)>,
}

impl Segments {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let unreadable = |error: std::io::Error| {
            let message = format!("folder cannot be read: {error} folder={}", folder.display());
            Error::new(ErrorKind::Unavailable, message).caused_by(error)
        };
        let mut paths = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
            if let Some(number) = number.and_then(|number| number.checked_sub(1)) {
                paths.insert(number, path);
            }
        }
        Ok(Self { folder: folder.to_owned(), paths, open: None })
    }

    /// Appends the samples of the chunk at a place.
    pub(super) fn read(&mut self, place: u64, out: &mut Samples) -> Result<()> {
        let at = place & u64::from(u32::MAX);
        let file = self.file(place >> 32)?;
        let mut cursor = Cursor(file.up_to(at, LENGTH_BYTES)?);
        let before = cursor.0.len();
        let bytes = cursor.uvarint().and_then(|bytes| usize::try_from(bytes).ok());
        let prefix = u64::try_from(before - cursor.0.len()).unwrap_or_default();
        let Some(bytes) = bytes.and_then(|bytes| bytes.checked_add(1)) else {
            return Err(file.fault(at, "chunk has no length"));
        };
        let decoded = match file.checked(at.saturating_add(prefix), bytes)?.split_first() {
            Some((encoding, data)) => chunk::decode(u64::from(*encoding), data, out),
            None => Ok(()),
        };
        decoded.map_err(|broken| file.fault(at, broken))
    }

    fn file(&mut self, number: u64) -> Result<&mut File> {
        let file = match self.open.take() {
            Some((open, file)) if open == number => file,
            _ => {
                let Some(path) = self.paths.get(&number) else {
                    let name = number.saturating_add(1);
                    let what = format!("file of chunks is missing: file={}/{name:06}", self.folder.display());
                    return Err(Error::new(ErrorKind::Corrupt, what));
                };
                let mut file = File::open(path)?;
                if file.word(0)? != MAGIC {
                    return Err(file.fault(0, "file holds no chunks"));
                }
                match file.exactly(4, 1)? {
                    [1] => file,
                    _ => return Err(file.fault(4, "chunks have a version that is not known")),
                }
            }
        };
        Ok(&mut self.open.insert((number, file)).1)
    }
}
