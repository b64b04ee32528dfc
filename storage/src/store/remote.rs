//! A bucket, counted: every request with its outcome, bytes both ways, and how long the server takes. Large files are put in
//! parts.
//!
//! Stands directly above the client, so that what is served from the cache is not counted. One request here may be several tries
//! of the client.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};
use prometheus::{IntCounterVec, Opts, Registry};

use crate::{Clock, Latency};

/// Size of a part, and the largest file that is put with one request. A part is sent well within a request's time on a slow
/// line, and 10,000 parts, the most there may be, are far more than a file ever has.
const PART_BYTES: usize = 16 << 20;
/// Parts under way at once.
const PARTS_AT_ONCE: usize = 4;

/// What `/metrics` says of buckets.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests_total: IntCounterVec,
    bytes_total: IntCounterVec,
    get_seconds: Latency,
    put_seconds: Latency,
    clock: Clock,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry, clock: &Clock) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let latency = |name: &str, help: &str| Latency::register(registry, clock.clone(), name, help);
        Ok(Self {
            requests_total: counter(
                "streamgauge_store_requests_total",
                "Requests to buckets; those the client had to repeat count once.",
                &["operation", "outcome"],
            )?,
            bytes_total: counter("streamgauge_store_bytes_total", "Bytes to and from buckets.", &["direction"])?,
            get_seconds: latency("streamgauge_store_get_seconds", "Time until a bucket begins to answer a read.")?,
            put_seconds: latency("streamgauge_store_put_seconds", "Time to put an object or a part of one.")?,
            clock: clock.clone(),
        })
    }

    /// Waits for a request, and counts it.
    async fn counted<T>(&self, operation: &str, request: impl Future<Output = Result<T>>) -> Result<T> {
        let start_us = self.clock.now_us();
        let answer = request.await.map_err(told);
        self.count(operation, answer.as_ref().err());
        match operation {
            "get" => self.get_seconds.observe_since(start_us),
            "put" | "put_part" => self.put_seconds.observe_since(start_us),
            _ => {}
        }
        answer
    }

    fn count(&self, operation: &str, error: Option<&Error>) {
        let outcome = match error {
            None => "ok",
            Some(Error::NotFound { .. }) => "missing",
            Some(Error::AlreadyExists { .. } | Error::Precondition { .. }) => "exists",
            Some(_) => "error",
        };
        self.requests_total.with_label_values(&[operation, outcome]).inc();
    }

    fn moved(&self, direction: &str, bytes: u64) {
        self.bytes_total.with_label_values(&[direction]).inc_by(bytes);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// A bucket, counted.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    inner: Arc<dyn ObjectStore>,
    metrics: Metrics,
}

impl Remote {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    /// Puts a large file. Whatever fails, no part of it is left to be paid for, unless the server is gone for good.
    async fn put_in_parts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let PutOptions { tags, attributes, extensions, .. } = options;
        let options = PutMultipartOptions { tags, attributes, extensions };
        let mut upload = self.put_multipart_opts(location, options).await?;
        let put = async {
            let mut rest = Bytes::from(payload);
            let mut parts = Vec::with_capacity(rest.len().div_ceil(PART_BYTES));
            while !rest.is_empty() {
                parts.push(upload.put_part(rest.split_to(rest.len().min(PART_BYTES)).into()));
            }
            let mut sent = futures::stream::iter(parts).buffer_unordered(PARTS_AT_ONCE);
            while let Some(part) = sent.next().await {
                part?;
            }
            drop(sent);
            upload.complete().await
        };
        let put = put.await;
        if put.is_err()
            && let Err(error) = upload.abort().await
        {
            // After a completion of which only the answer was lost there is nothing to abort.
            tracing::debug!(%location, %error, "an upload that failed could not be aborted");
        }
        put
    }
}

/// An upload in parts, counted.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    metrics: Metrics,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (bytes, metrics) = (data.content_length() as u64, self.metrics.clone());
        let sent = self.inner.put_part(data);
        Box::pin(async move {
            metrics.counted("put_part", sent).await?;
            metrics.moved("written", bytes);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.metrics.counted("complete", self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.metrics.counted("abort", self.inner.abort()).await
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Remote {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let bytes = payload.content_length();
        if bytes > PART_BYTES && options.mode == PutMode::Overwrite {
            return self.put_in_parts(location, payload, options).await;
        }
        let put = self.metrics.counted("put", self.inner.put_opts(location, payload, options)).await?;
        self.metrics.moved("written", bytes as u64);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.metrics.counted("create", self.inner.put_multipart_opts(location, options)).await?;
        Ok(Box::new(Upload { inner: upload, metrics: self.metrics.clone() }))
    }

    // `get_ranges` is the trait's own, which merges near ranges and calls this, so that each request is counted.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            return self.metrics.counted("head", self.inner.get_opts(location, options)).await;
        }
        let found = self.metrics.counted("get", self.inner.get_opts(location, options)).await?;
        self.metrics.moved("read", found.range.end - found.range.start);
        Ok(found)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        counting(self.inner.delete_stream(locations), &self.metrics, "delete")
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        counting(self.inner.list(prefix), &self.metrics, "list")
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        counting(self.inner.list_with_offset(prefix, offset), &self.metrics, "list")
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.metrics.counted("list", self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.metrics.counted("copy", self.inner.copy_opts(from, to, options)).await
    }
}

/// The same error without the server's document, which repeats the signed request, session tokens included: of it the code and
/// the message are kept.
fn told(error: Error) -> Error {
    let short = |source: Box<dyn std::error::Error + Send + Sync>| shorten(&source.to_string()).into();
    match error {
        Error::Generic { store, source } => Error::Generic { store, source: short(source) },
        Error::NotFound { path, source } => Error::NotFound { path, source: short(source) },
        Error::AlreadyExists { path, source } => Error::AlreadyExists { path, source: short(source) },
        Error::Precondition { path, source } => Error::Precondition { path, source: short(source) },
        Error::NotModified { path, source } => Error::NotModified { path, source: short(source) },
        Error::PermissionDenied { path, source } => Error::PermissionDenied { path, source: short(source) },
        Error::Unauthenticated { path, source } => Error::Unauthenticated { path, source: short(source) },
        other => other,
    }
}

fn shorten(text: &str) -> String {
    let Some(start) = text.find("<?xml").or_else(|| text.find("<Error")) else { return text.to_owned() };
    let (before, document) = text.split_at(start);
    let element = |name: &str| {
        let (_, rest) = document.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
    };
    let said: Vec<&str> = ["Code", "Message"].into_iter().filter_map(element).collect();
    format!("{before}{}", said.join(": "))
}

/// Counts a stream as one request when it ends: failed, if any of it did.
fn counting<T: 'static>(
    stream: BoxStream<'static, Result<T>>,
    metrics: &Metrics,
    operation: &'static str,
) -> BoxStream<'static, Result<T>> {
    let stream = stream.map(|item| item.map_err(told));
    let mut counted = Counted { metrics: metrics.clone(), operation, failed: false };
    stream.inspect(move |item| counted.saw(item.is_err())).boxed()
}

struct Counted {
    metrics: Metrics,
    operation: &'static str,
    failed: bool,
}

impl Counted {
    /// A method, so that the stream holds all of this until it ends.
    fn saw(&mut self, failed: bool) {
        self.failed |= failed;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let outcome = if self.failed { "error" } else { "ok" };
        self.metrics.requests_total.with_label_values(&[self.operation, outcome]).inc();
    }
}

#[cfg(test)]
mod tests;
