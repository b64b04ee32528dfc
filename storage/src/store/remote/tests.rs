//! What is counted, and large files in parts.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, memory::InMemory};

use super::*;

fn remote(inner: Arc<dyn ObjectStore>) -> (Remote, Registry) {
    let registry = Registry::new();
    let now_us = AtomicI64::new(0);
    let clock = Clock::new(move || now_us.fetch_add(1000, Ordering::Relaxed));
    let metrics = Metrics::register(&registry, &clock).unwrap();
    (Remote::new(inner, metrics), registry)
}

fn value(registry: &Registry, line: &str) -> u64 {
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {line} in\n{text}"))
}

fn requests(registry: &Registry, operation: &str, outcome: &str) -> u64 {
    let line = format!("streamgauge_store_requests_total{{operation=\"{operation}\",outcome=\"{outcome}\"}}");
    value(registry, &line)
}

#[tokio::test]
async fn requests_are_counted_by_outcome_and_bytes_by_direction() {
    let (store, registry) = remote(Arc::new(InMemory::new()));
    let path = Path::from("a/b");
    store.put(&path, vec![1; 100].into()).await.unwrap();
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(&path, vec![2; 7].into(), create).await.unwrap_err();
    store.get(&path).await.unwrap().bytes().await.unwrap();
    // Near each other, so one request reads both.
    store.get_ranges(&path, &[0..10, 20..30]).await.unwrap();
    store.get(&Path::from("none")).await.unwrap_err();
    store.head(&path).await.unwrap();
    store.list(None).try_collect::<Vec<_>>().await.unwrap();
    store.delete(&path).await.unwrap();
    for (operation, outcome, count) in [
        ("put", "ok", 1),
        ("put", "exists", 1),
        ("get", "ok", 2),
        ("get", "missing", 1),
        ("head", "ok", 1),
        ("list", "ok", 1),
    ] {
        assert_eq!(requests(&registry, operation, outcome), count, "{operation} {outcome}");
    }
    assert_eq!(requests(&registry, "delete", "ok"), 1);
    assert_eq!(value(&registry, "streamgauge_store_bytes_total{direction=\"written\"}"), 100);
    assert_eq!(value(&registry, "streamgauge_store_bytes_total{direction=\"read\"}"), 130);
    assert_eq!(value(&registry, "streamgauge_store_put_seconds_count"), 2);
    assert_eq!(value(&registry, "streamgauge_store_get_seconds_count"), 3);
}

#[tokio::test]
async fn a_large_file_is_put_in_parts_and_is_the_same() {
    let (store, registry) = remote(Arc::new(InMemory::new()));
    let bytes: Bytes = (0..251).cycle().take(PART_BYTES / 4 * 9).collect::<Vec<u8>>().into();
    store.put(&Path::from("large"), bytes.clone().into()).await.unwrap();
    assert!(store.get(&Path::from("large")).await.unwrap().bytes().await.unwrap() == bytes);
    assert_eq!(requests(&registry, "put_part", "ok"), 3);
    assert_eq!(requests(&registry, "complete", "ok"), 1);
    assert_eq!(value(&registry, "streamgauge_store_bytes_total{direction=\"written\"}"), bytes.len() as u64);
    // One that fits is not.
    store.put(&Path::from("fits"), bytes.slice(..PART_BYTES).into()).await.unwrap();
    assert_eq!(requests(&registry, "put", "ok"), 1);
}

/// A store whose uploads break at the second part.
#[derive(Debug, Default)]
struct Breaking {
    inner: InMemory,
    aborted: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct BreakingUpload {
    parts: usize,
    aborted: Arc<AtomicUsize>,
}

impl fmt::Display for Breaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("breaking")
    }
}

#[async_trait]
impl MultipartUpload for BreakingUpload {
    fn put_part(&mut self, _: PutPayload) -> UploadPart {
        self.parts += 1;
        let broken = self.parts == 2;
        Box::pin(async move {
            if broken { Err(Error::Generic { store: "breaking", source: "broken".into() }) } else { Ok(()) }
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        panic!("an upload that lacks a part is completed")
    }

    async fn abort(&mut self) -> Result<()> {
        self.aborted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for Breaking {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(BreakingUpload { parts: 0, aborted: Arc::clone(&self.aborted) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn an_upload_that_fails_is_aborted_and_the_error_is_told() {
    let breaking = Breaking::default();
    let aborted = Arc::clone(&breaking.aborted);
    let (store, registry) = remote(Arc::new(breaking));
    let error = store.put(&Path::from("large"), vec![0; 3 * PART_BYTES].into()).await.unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
    assert_eq!(aborted.load(Ordering::Relaxed), 1);
    assert_eq!(requests(&registry, "put_part", "error"), 1);
    assert_eq!(requests(&registry, "abort", "ok"), 1);
}

#[test]
fn of_a_servers_document_the_code_and_the_message_are_told() {
    let document = "PUT https://own/a - 403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>SignatureDoesNotMatch</Code>\
                    <Message>It does not match.</Message><CanonicalRequest>x-amz-security-token:hush</CanonicalRequest>\
                    <Token-0>hush</Token-0></Error>";
    let error = told(Error::PermissionDenied { path: "a".into(), source: document.into() });
    assert!(matches!(error, Error::PermissionDenied { .. }));
    let text = format!("{error} {error:?}");
    assert!(text.contains("PUT https://own/a - 403 Forbidden: SignatureDoesNotMatch: It does not match."), "{text}");
    assert!(!text.contains("hush"), "{text}");
    assert_eq!(shorten("connection refused"), "connection refused");
}
