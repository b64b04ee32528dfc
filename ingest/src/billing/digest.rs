//! Sizes and digests of files, by which deliveries are told apart.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::{Error, ErrorKind, Result};

/// Size and SHA-256 of a file. Blocks.
pub(super) fn of_file(path: &Path) -> Result<(u64, String)> {
    let unreadable = |error: io::Error| unreadable(path, error);
    let mut file = File::open(path).map_err(unreadable)?;
    let (mut digest, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer).map_err(unreadable)? {
            0 => return Ok((bytes, hex(&digest.finalize()))),
            read => {
                digest.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// An id for a delivery that has none: a digest of the digests of its files.
pub(super) fn of_delivery<'a>(digests: impl Iterator<Item = &'a str>) -> String {
    let mut all = Sha256::new();
    digests.for_each(|digest| all.update(digest));
    format!("sha256:{}", hex(&all.finalize()))
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("file cannot be read: {error} path={}", path.display())).caused_by(error)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
