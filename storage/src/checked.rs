//! Data files whose every byte is checked when it is read.
//!
//! A file of ours carries a checksum of each block in its footer, and a checksum of what is not in blocks (footer and page index) in
//! its name. The store that hands out views' files reads whole blocks and checks them, so that a byte that rotted is an error that
//! names file and place, whoever reads: a merge, a query, the start. Log entries and files of other engines pass through.
//!
//! Invariant: no byte of a file of ours leaves here unchecked. Not here: which files there are, caching of bytes.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream, stream::BoxStream};
use hashbrown::HashMap;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use parking_lot::Mutex;
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader};

/// Bytes of a block: a page of a needle is about as large, and a checksum of four bytes is small beside it.
const BLOCK_BYTES: u64 = 16 << 10;
/// Key in the footer under which the blocks' checksums stand.
const KEY: &str = "streamgauge.blocks";
/// Files whose checksums are kept in memory: of 128 MiB each, a hundred megabytes.
const FILES_MAX: usize = 3_000;

/// The checksums of a file's blocks, for its footer.
pub(crate) fn seal(data: &[u8]) -> KeyValue {
    let sums: Vec<u8> = data
        .chunks(BLOCK_BYTES.try_into().unwrap_or(usize::MAX))
        .flat_map(|block| crc32c::crc32c(block).to_le_bytes())
        .collect();
    KeyValue::new(KEY.to_owned(), BASE64_STANDARD_NO_PAD.encode(sums))
}

/// The part of a file's name that says how long what follows its blocks is, and its checksum.
pub(crate) fn name_of_tail(tail: &[u8]) -> String {
    format!("{:08x}{:08x}", tail.len(), crc32c::crc32c(tail))
}

/// What a path says of its file's tail: length and checksum. `None` if the file is not one of ours.
fn tail_of(path: &Path) -> Option<(u64, u32)> {
    let name = path.filename()?.strip_prefix("part-")?.strip_suffix(".parquet")?;
    let (_, tail) = name.split_once('-')?;
    let (len, sum) = (tail.get(..8)?, tail.get(8..16)?);
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    (tail.len() == 16).then_some((number(len)?.into(), number(sum)?))
}

/// Is every byte of a file checked, going by its name?
pub(crate) fn is_sealed(path: &Path) -> bool {
    tail_of(path).is_some()
}

/// A file as it was written.
#[derive(Debug)]
struct Sealed {
    /// Where the blocks end and the tail begins.
    data: u64,
    size: u64,
    sums: Vec<u32>,
    tail: Bytes,
}

/// A store whose data files are checked as they are read.
#[derive(Debug, Clone)]
pub(crate) struct CheckedStore {
    inner: Arc<dyn ObjectStore>,
    files: Arc<Mutex<HashMap<Path, Arc<Sealed>>>>,
}

impl CheckedStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, files: Arc::default() }
    }

    /// What a file must be; its tail is read and checked the first time.
    async fn sealed(&self, path: &Path, (len, sum): (u64, u32)) -> Result<Arc<Sealed>> {
        if let Some(sealed) = self.files.lock().get(path) {
            return Ok(Arc::clone(sealed));
        }
        let options = GetOptions { range: Some(GetRange::Suffix(len)), ..GetOptions::default() };
        let found = self.inner.get_opts(path, options).await?;
        let size = found.meta.size;
        let tail = found.bytes().await?;
        let data = size.saturating_sub(len);
        if tail.len() as u64 != len || crc32c::crc32c(&tail) != sum {
            return Err(damaged(path, &(data..size), "its footer is not what was written"));
        }
        let sums = sums_of(&tail, size).ok_or_else(|| damaged(path, &(data..size), "its footer has no checksums"))?;
        if sums.len() as u64 != data.div_ceil(BLOCK_BYTES) {
            return Err(damaged(path, &(0..size), "it is not as long as it was written"));
        }
        let sealed = Arc::new(Sealed { data, size, sums, tail });
        let mut files = self.files.lock();
        if files.len() >= FILES_MAX {
            // Which one goes hardly matters: all can be read again.
            files.clear();
        }
        files.insert(path.clone(), Arc::clone(&sealed));
        Ok(sealed)
    }

    /// Reads ranges of a sealed file.
    async fn read(&self, path: &Path, sealed: &Sealed, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let blocks: Vec<Range<u64>> = ranges.iter().map(|range| sealed.blocks(range)).collect();
        let wanted: Vec<Range<u64>> = blocks.iter().filter(|blocks| !blocks.is_empty()).cloned().collect();
        let mut found = match wanted.is_empty() {
            true => Vec::new(),
            false => self.inner.get_ranges(path, &wanted).await?,
        }
        .into_iter();
        let mut out = Vec::with_capacity(ranges.len());
        for (range, blocks) in ranges.iter().zip(blocks) {
            let data = if blocks.is_empty() { Bytes::new() } else { found.next().unwrap_or_default() };
            sealed.check(path, &blocks, &data)?;
            out.push(sealed.cut(range, blocks.start, &data));
        }
        Ok(out)
    }
}

impl Sealed {
    /// The whole blocks that a range touches.
    fn blocks(&self, range: &Range<u64>) -> Range<u64> {
        let end = range.end.min(self.data);
        if range.start >= end {
            return range.start..range.start;
        }
        range.start / BLOCK_BYTES * BLOCK_BYTES..(end.div_ceil(BLOCK_BYTES) * BLOCK_BYTES).min(self.data)
    }

    fn check(&self, path: &Path, blocks: &Range<u64>, data: &Bytes) -> Result<()> {
        if data.len() as u64 != blocks.end - blocks.start {
            return Err(damaged(path, blocks, "it is shorter than it was written"));
        }
        let first = usize::try_from(blocks.start / BLOCK_BYTES).unwrap_or(usize::MAX);
        let sums = self.sums.iter().skip(first);
        for (at, (block, sum)) in data.chunks(usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX)).zip(sums).enumerate()
        {
            if crc32c::crc32c(block) != *sum {
                let start = blocks.start + at as u64 * BLOCK_BYTES;
                return Err(damaged(
                    path,
                    &(start..start + block.len() as u64),
                    "its bytes are not those that were written",
                ));
            }
        }
        Ok(())
    }

    /// A range, out of the data that begins at `start` and the tail.
    fn cut(&self, range: &Range<u64>, start: u64, data: &Bytes) -> Bytes {
        let within = |bytes: &Bytes, from: u64, to: u64| {
            let len = bytes.len();
            let place = |at: u64| usize::try_from(at).unwrap_or(len).min(len);
            bytes.slice(place(from)..place(to))
        };
        let from_data = within(data, range.start.saturating_sub(start), range.end.min(self.data).saturating_sub(start));
        if range.end <= self.data {
            return from_data;
        }
        let from_tail = within(&self.tail, range.start.saturating_sub(self.data), range.end - self.data);
        if range.start >= self.data {
            return from_tail;
        }
        let mut both = BytesMut::with_capacity(from_data.len() + from_tail.len());
        both.extend_from_slice(&from_data);
        both.extend_from_slice(&from_tail);
        both.freeze()
    }
}

/// The blocks' checksums in a footer.
fn sums_of(tail: &Bytes, size: u64) -> Option<Vec<u32>> {
    let mut reader = ParquetMetaDataReader::new();
    reader.try_parse_sized(tail, size).ok()?;
    let metadata = reader.finish().ok()?;
    let value = metadata.file_metadata().key_value_metadata()?.iter().find(|pair| pair.key == KEY)?.value.as_ref()?;
    let bytes = BASE64_STANDARD_NO_PAD.decode(value).ok()?;
    Some(bytes.chunks_exact(4).filter_map(|sum| sum.first_chunk()).map(|sum| u32::from_le_bytes(*sum)).collect())
}

fn damaged(path: &Path, bytes: &Range<u64>, what: &str) -> Error {
    let message = format!(
        "file is damaged: {what}; restore it from a copy, path={path} first_byte={} last_byte={}",
        bytes.start,
        bytes.end.saturating_sub(1)
    );
    Error::Generic { store: "checked files", source: message.into() }
}

impl fmt::Display for CheckedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for CheckedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let Some(tail) = tail_of(location).filter(|_| !options.head) else {
            return self.inner.get_opts(location, options).await;
        };
        let sealed = self.sealed(location, tail).await?;
        let range = match options.range {
            None => 0..sealed.size,
            Some(GetRange::Bounded(range)) => range.start..range.end.min(sealed.size),
            Some(GetRange::Offset(start)) => start..sealed.size,
            Some(GetRange::Suffix(len)) => sealed.size.saturating_sub(len)..sealed.size,
        };
        let bytes = self.read(location, &sealed, std::slice::from_ref(&range)).await?.pop().unwrap_or_default();
        let meta = ObjectMeta {
            location: location.clone(),
            // Names are never used twice, so nobody asks how old the bytes are.
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: sealed.size,
            e_tag: None,
            version: None,
        };
        let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }.boxed()).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match tail_of(location) {
            Some(tail) => {
                let sealed = self.sealed(location, tail).await?;
                self.read(location, &sealed, ranges).await
            }
            None => self.inner.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
