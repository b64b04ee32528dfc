//! Reads ranges of a file through a window, and checks their checksums.
//!
//! Called by the readers of index and chunks, which go through their files from front to back, so most ranges are in the window
//! already. Invariants: memory is taken only for what is in the file; every error names the file and the place.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::{Error, ErrorKind, Result};

/// Bytes read at once. A series' chunks of a day are about so many; more would be read in vain where most are skipped.
const STEP_BYTES: usize = 32 << 10;
/// Bytes of a checksum.
const CHECKSUM_BYTES: usize = 4;

/// A file being read.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    file: fs::File,
    bytes: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let unreadable = |error: std::io::Error| {
            let message = format!("file cannot be opened: {error} file={}", path.display());
            Error::new(ErrorKind::Unavailable, message).caused_by(error)
        };
        let file = fs::File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        Ok(Self { path: path.to_owned(), file, bytes, window: Vec::new(), window_at: 0 })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The error that says what is wrong at a place.
    pub(super) fn fault(&self, at: u64, what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{what} file={} at_byte={at}", self.path.display()))
    }

    /// The bytes at a place, fewer where the file ends.
    pub(super) fn up_to(&mut self, at: u64, bytes: usize) -> Result<&[u8]> {
        let left = usize::try_from(self.bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        let bytes = bytes.min(left);
        let inside = at.checked_sub(self.window_at).and_then(|start| usize::try_from(start).ok());
        let inside = inside.filter(|start| self.window.len().checked_sub(*start).is_some_and(|have| have >= bytes));
        if let Some(start) = inside {
            return Ok(&self.window[start..start + bytes]);
        }
        self.window.resize(bytes.max(STEP_BYTES).min(left), 0);
        self.window_at = at;
        if let Err(error) = self.file.read_exact_at(&mut self.window, at) {
            self.window.clear();
            let message = format!("file cannot be read: {error} file={} at_byte={at}", self.path.display());
            return Err(Error::new(ErrorKind::Unavailable, message).caused_by(error));
        }
        Ok(&self.window[..bytes])
    }

    /// So many bytes at a place.
    pub(super) fn exactly(&mut self, at: u64, bytes: usize) -> Result<&[u8]> {
        // Before memory is taken: the number of bytes is what the file says.
        let have =
            u64::try_from(bytes).ok().and_then(|bytes| at.checked_add(bytes)).is_some_and(|end| end <= self.bytes);
        if !have {
            return Err(self.fault(at, format_args!("file ends too early: bytes_wanted={bytes}")));
        }
        self.up_to(at, bytes)
    }

    /// A big-endian word of 32 bits.
    pub(super) fn word(&mut self, at: u64) -> Result<u32> {
        let bytes = self.exactly(at, 4)?;
        Ok(bytes.first_chunk().copied().map(u32::from_be_bytes).unwrap_or_default())
    }

    /// So many bytes at a place, if the checksum that follows them is theirs.
    pub(super) fn checked(&mut self, at: u64, bytes: usize) -> Result<&[u8]> {
        let whole = self.exactly(at, bytes.saturating_add(CHECKSUM_BYTES))?;
        let good = whole
            .split_last_chunk::<CHECKSUM_BYTES>()
            .is_some_and(|(body, checksum)| crc32c::crc32c(body) == u32::from_be_bytes(*checksum));
        if !good {
            return Err(self.fault(at, "checksum does not match"));
        }
        self.exactly(at, bytes)
    }

    /// Checks a range too large for memory against the checksum that follows it.
    pub(super) fn check(&mut self, at: u64, bytes: u64) -> Result<()> {
        let (mut place, mut left, mut checksum) = (at, bytes, 0);
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(STEP_BYTES);
            let part = self.exactly(place, step)?;
            checksum = crc32c::crc32c_append(checksum, part);
            let step = u64::try_from(step).unwrap_or(u64::MAX);
            (place, left) = (place.saturating_add(step), left.saturating_sub(step));
        }
        if self.word(place)? == checksum { Ok(()) } else { Err(self.fault(at, "checksum does not match")) }
    }
}

/// Reads bytes from front to back. Everything is `None` where they end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn word(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().copied().map(u32::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().copied().map(u64::from_be_bytes)
    }

    pub(super) fn uvarint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for i in 0..10 {
            let byte = self.byte()?;
            if i == 9 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn varint(&mut self) -> Option<i64> {
        let value = self.uvarint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Bytes after their length.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let bytes = usize::try_from(self.uvarint()?).ok()?;
        self.take(bytes)
    }
}
