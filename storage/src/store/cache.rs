//! A bucket behind a cache of blocks on the local disk.
//!
//! Data files only (`*.parquet` outside `_delta_log`): they never change and their names are never used again, so a block that
//! is there is right. Filled with what was just put, as fresh files are asked for most, and with what is read. Reads of a range,
//! and of a file's end, are answered from blocks; runs of blocks that are not there are fetched with one request each. Everything
//! else goes through.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

use super::blocks::{BLOCK_BYTES, Blocks, NOTE, Of, length};
use crate::Clock;

/// A bucket behind a cache.
#[derive(Debug, Clone)]
pub(crate) struct Cached {
    inner: Arc<dyn ObjectStore>,
    blocks: Arc<Blocks>,
    clock: Clock,
}

/// Blocks of a range as far as they are known.
struct Found {
    of: Option<Of>,
    blocks: Vec<Option<Bytes>>,
}

impl Cached {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, blocks: Arc<Blocks>, clock: Clock) -> Self {
        Self { inner, blocks, clock }
    }

    /// Answers a range from blocks, fetching those that are not there; none if the file ends before the range begins.
    async fn read(&self, location: &Path, range: Range<u64>, extensions: &GetOptions) -> Result<Option<GetResult>> {
        let (first, end) = (range.start / BLOCK_BYTES, range.end.div_ceil(BLOCK_BYTES));
        let mut found = self.look(location, first..end).await;
        let mut number = first;
        while number < end {
            // A file of known size may end before the range does.
            if found.of.is_some_and(|of| number * BLOCK_BYTES >= of.size) {
                break;
            }
            let missing = |number: u64| found.blocks[index(number - first)].is_none();
            if !missing(number) {
                number += 1;
                continue;
            }
            let mut run_end = number + 1;
            while run_end < end && missing(run_end) {
                run_end += 1;
            }
            let Some((of, fetched)) = self.fetch(location, number..run_end, extensions).await? else { return Ok(None) };
            found.of = Some(of);
            for (offset, block) in fetched.into_iter().enumerate() {
                found.blocks[index(number - first) + offset] = Some(block);
            }
            number = run_end;
        }
        let Some(of) = found.of.filter(|of| range.start < of.size) else { return Ok(None) };
        let range = range.start..range.end.min(of.size);
        let needed = index(range.end.div_ceil(BLOCK_BYTES) - first);
        if found.blocks.iter().take(needed).any(Option::is_none) {
            // A body that ended early; the bucket is asked once more, by whom the answer is for.
            return Ok(None);
        }
        let bytes = cut(found.blocks.into_iter().flatten().collect(), first * BLOCK_BYTES, &range);
        Ok(Some(answer(location, of, range, bytes)))
    }

    /// Answers for the last `len` bytes of a file, whose size the asker need not know.
    async fn read_end(&self, location: &Path, len: u64, options: &GetOptions) -> Result<GetResult> {
        let (cache, path) = (Arc::clone(&self.blocks), location.to_string());
        if let Ok(Some(of)) = tokio::task::spawn_blocking(move || cache.of(&path)).await
            && let Some(answer) = self.read(location, of.size.saturating_sub(len)..of.size, options).await?
        {
            return Ok(answer);
        }
        self.blocks.metrics.blocks_total.with_label_values(&["miss"]).inc();
        // The last block lies in the last BLOCK_BYTES, wherever it begins.
        let range = Some(GetRange::Suffix(len.max(BLOCK_BYTES)));
        let options = GetOptions { range, extensions: options.extensions.clone(), ..GetOptions::default() };
        let found = self.inner.get_opts(location, options).await?;
        let of = Of { size: found.meta.size, modified_ms: found.meta.last_modified.timestamp_millis() };
        let start = found.range.start;
        let bytes = found.bytes().await?;
        let first = start.div_ceil(BLOCK_BYTES);
        let aligned = index(first * BLOCK_BYTES - start).min(bytes.len());
        self.keep(location, first, of, split(bytes.slice(aligned..), first, of.size)).await;
        if first > 0 {
            self.keep(location, NOTE, of, vec![Bytes::new()]).await;
        }
        let from = of.size.saturating_sub(len).max(start);
        Ok(answer(location, of, from..of.size, bytes.slice(index(from - start).min(bytes.len())..)))
    }

    async fn look(&self, location: &Path, numbers: Range<u64>) -> Found {
        let (cache, path) = (Arc::clone(&self.blocks), location.to_string());
        let count = index(numbers.end - numbers.start);
        let look = move || {
            let mut found = Found { of: None, blocks: Vec::with_capacity(count) };
            for number in numbers {
                let block = match found.of {
                    // Beyond the end of the file there is nothing to look for.
                    Some(of) if number * BLOCK_BYTES >= of.size => break,
                    _ => cache.get(&path, number),
                };
                let outcome = if block.is_some() { "hit" } else { "miss" };
                cache.metrics.blocks_total.with_label_values(&[outcome]).inc();
                found.of = found.of.or(block.as_ref().map(|(of, _)| *of));
                found.blocks.push(block.map(|(_, bytes)| bytes));
            }
            found
        };
        let mut found =
            tokio::task::spawn_blocking(look).await.unwrap_or_else(|_| Found { of: None, blocks: Vec::new() });
        found.blocks.resize(count, None);
        found
    }

    /// Reads a run of blocks from the bucket, and keeps them; none if the file ends before the run begins.
    async fn fetch(&self, location: &Path, run: Range<u64>, options: &GetOptions) -> Result<Option<(Of, Vec<Bytes>)>> {
        let range = run.start * BLOCK_BYTES..run.end * BLOCK_BYTES;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            extensions: options.extensions.clone(),
            ..GetOptions::default()
        };
        let answer = self.inner.get_opts(location, options).await?;
        let of = Of { size: answer.meta.size, modified_ms: answer.meta.last_modified.timestamp_millis() };
        if answer.range.start != range.start {
            return Ok(None);
        }
        let blocks = split(answer.bytes().await?, run.start, of.size);
        self.keep(location, run.start, of, blocks.clone()).await;
        Ok(Some((of, blocks)))
    }

    /// Keeps blocks from `first` on. Waits for it, so that no more blocks wait for a slow disk than there are readers.
    async fn keep(&self, location: &Path, first: u64, of: Of, blocks: Vec<Bytes>) {
        let (cache, path) = (Arc::clone(&self.blocks), location.to_string());
        let keep = move || (first..=NOTE).zip(&blocks).for_each(|(number, block)| cache.put(&path, number, of, block));
        if tokio::task::spawn_blocking(keep).await.is_err() {
            tracing::warn!(%location, "blocks were not kept");
        }
    }
}

fn answer(location: &Path, of: Of, range: Range<u64>, bytes: Bytes) -> GetResult {
    GetResult {
        payload: GetResultPayload::Stream(futures::stream::once(async { Ok(bytes) }).boxed()),
        meta: ObjectMeta {
            location: location.clone(),
            last_modified: DateTime::from_timestamp_millis(of.modified_ms).unwrap_or_default(),
            size: of.size,
            e_tag: None,
            version: None,
        },
        range,
        attributes: object_store::Attributes::default(),
    }
}

/// Is it a file that never changes?
fn kept(location: &Path) -> bool {
    location.extension() == Some("parquet") && location.parts().all(|part| part.as_ref() != "_delta_log")
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Bytes that begin with block `first` of a file, as blocks. One that is cut short is left out.
fn split(mut bytes: Bytes, first: u64, size: u64) -> Vec<Bytes> {
    let mut blocks = Vec::new();
    for number in first.. {
        let length = index(length(size, number));
        if length == 0 || bytes.len() < length {
            break;
        }
        blocks.push(bytes.split_to(length));
    }
    blocks
}

/// A range out of blocks that lie one after the other from `start` on.
fn cut(blocks: Vec<Bytes>, start: u64, range: &Range<u64>) -> Bytes {
    let within = |at: u64| index(at - start);
    if let [block] = &blocks[..] {
        return block.slice(within(range.start)..within(range.end));
    }
    let mut out = BytesMut::with_capacity(within(range.end) - within(range.start));
    let mut at = start;
    for block in blocks {
        let end = at + block.len() as u64;
        let (from, to) = (range.start.clamp(at, end), range.end.clamp(at, end));
        out.extend_from_slice(&block[index(from - at)..index(to - at)]);
        at = end;
    }
    out.freeze()
}

impl fmt::Display for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Cached {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if !kept(location) {
            return self.inner.put_opts(location, payload, options).await;
        }
        let put = self.inner.put_opts(location, payload.clone(), options).await?;
        let of = Of { size: payload.content_length() as u64, modified_ms: self.clock.now_ms() };
        self.keep(location, 0, of, split(payload.into(), 0, of.size)).await;
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    // `get_ranges` is the trait's own, which merges near ranges and calls this.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let plain = !options.head
            && options.version.is_none()
            && options.if_match.is_none()
            && options.if_none_match.is_none()
            && options.if_modified_since.is_none()
            && options.if_unmodified_since.is_none();
        if plain && kept(location) {
            match options.range.clone() {
                Some(GetRange::Bounded(range)) if range.start < range.end => {
                    if let Some(answer) = self.read(location, range, &options).await? {
                        return Ok(answer);
                    }
                }
                Some(GetRange::Suffix(len)) if len > 0 => return self.read_end(location, len, &options).await,
                _ => {}
            }
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // Blocks of files that are gone are asked for no more, and make room in their turn.
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
