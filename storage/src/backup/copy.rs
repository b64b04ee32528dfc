//! Copies one file between stores, part by part, and sums it up on the way.

use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use crate::{Error, ErrorKind, Result};

/// Bytes that are read and written at once, and the largest file that is put whole. S3 wants parts of 5 MiB at least, and takes 10,000
/// of them: 80 GiB, far more than a file ever has.
const PART_BYTES: u64 = 8 << 20;

/// Why a file could not be copied.
#[derive(Debug)]
pub(super) enum Failed {
    /// It is not there, or not as long as it should be: what is wrong with it.
    Gone(String),
    /// One of the stores does not answer.
    Store(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Failed {
    /// As an error of somebody who cannot go on without the file.
    pub(super) fn told(self) -> Error {
        match self {
            Self::Gone(what) => Error::new(ErrorKind::Corrupt, what),
            Self::Store(error) => error,
        }
    }
}

/// A file and its size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copying<'a> {
    pub store: &'a dyn ObjectStore,
    pub path: &'a Path,
    pub size: u64,
}

impl Copying<'_> {
    /// Bytes from a place on, at most a part.
    async fn part(&self, start: u64) -> Result<bytes::Bytes, Failed> {
        let end = self.size.min(start + PART_BYTES);
        if start == end {
            return Ok(bytes::Bytes::new());
        }
        let Self { store, path, size } = self;
        match store.get_range(path, start..end).await {
            Ok(bytes) if bytes.len() as u64 == end - start => Ok(bytes),
            Ok(_) => Err(Failed::Gone(format!("{path} is shorter than its {size} bytes"))),
            Err(object_store::Error::NotFound { .. }) => Err(Failed::Gone(format!("{path} is missing"))),
            Err(error) => {
                let message = format!("file cannot be read, path={path}");
                Err(Failed::Store(Error::new(ErrorKind::Unavailable, message).caused_by(error)))
            }
        }
    }

    /// CRC-32C of the file.
    pub(super) async fn sum(&self) -> Result<u32, Failed> {
        let (mut sum, mut at) = (0, 0);
        while at < self.size {
            let part = self.part(at).await?;
            sum = crc32c::crc32c_append(sum, &part);
            at += part.len() as u64;
        }
        Ok(sum)
    }

    /// Copies the file; gives the CRC-32C of what was written. The copy shows when all of it is there.
    pub(super) async fn to(&self, store: &dyn ObjectStore, path: &Path) -> Result<u32, Failed> {
        let unwritten = |error: object_store::Error| {
            let message = format!("file cannot be written, path={path}");
            Failed::Store(Error::new(ErrorKind::Unavailable, message).caused_by(error))
        };
        if self.size <= PART_BYTES {
            let bytes = self.part(0).await?;
            let sum = crc32c::crc32c(&bytes);
            store.put(path, bytes.into()).await.map_err(unwritten)?;
            return Ok(sum);
        }
        let mut upload = store.put_multipart(path).await.map_err(unwritten)?;
        let copied = async {
            let (mut sum, mut at) = (0, 0);
            while at < self.size {
                let part = self.part(at).await?;
                sum = crc32c::crc32c_append(sum, &part);
                at += part.len() as u64;
                upload.put_part(part.into()).await.map_err(unwritten)?;
            }
            upload.complete().await.map_err(unwritten)?;
            Ok(sum)
        };
        let copied = copied.await;
        if copied.is_err() {
            // What a server keeps of it all the same is for the bucket's lifecycle rule.
            let _ = upload.abort().await;
        }
        copied
    }
}
