//! The same bytes with the cache as without it, and fewer requests.

use std::sync::atomic::{AtomicU64, Ordering};

use object_store::{ObjectStoreExt, PutMode, memory::InMemory};
use prometheus::Registry;

use super::super::blocks;
use super::*;

/// A bucket that counts its reads.
#[derive(Debug, Default)]
struct Bucket {
    inner: InMemory,
    reads: AtomicU64,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bucket")
    }
}

#[async_trait]
impl ObjectStore for Bucket {
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
        self.reads.fetch_add(1, Ordering::Relaxed);
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

struct World {
    folder: tempfile::TempDir,
    bucket: Arc<Bucket>,
    cached: Cached,
    file: Bytes,
    path: Path,
}

impl World {
    /// A file of two blocks and a half, which is not in the cache.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Arc::new(Bucket::default());
        let clock = Clock::new(|| 0);
        let metrics = blocks::Metrics::register(&Registry::new()).unwrap();
        let blocks = Arc::new(Blocks::open(folder.path().to_owned(), 1 << 30, clock.clone(), metrics));
        let cached = Cached::new(Arc::clone(&bucket) as _, blocks, clock);
        let file: Bytes = (0..253).cycle().take(index(BLOCK_BYTES * 5 / 2)).collect::<Vec<u8>>().into();
        let path = Path::from("default/samples/day=1/part-1.parquet");
        bucket.inner.put(&path, file.clone().into()).await.unwrap();
        Self { folder, bucket, cached, file, path }
    }

    async fn check(&self, range: Range<u64>) {
        let answer = self.cached.get_range(&self.path, range.clone()).await.unwrap();
        let end = range.end.min(self.file.len() as u64);
        assert!(answer == self.file.slice(index(range.start)..index(end)), "{range:?}");
    }

    /// Requests since the last call.
    fn reads(&self) -> u64 {
        self.bucket.reads.swap(0, Ordering::Relaxed)
    }
}

const B: u64 = BLOCK_BYTES;

#[tokio::test]
async fn a_range_is_read_once_and_is_the_same_wherever_it_lies() {
    let world = World::new().await;
    world.check(B + 1..B + 9).await;
    assert_eq!(world.reads(), 1);
    world.check(B..2 * B).await;
    assert_eq!(world.reads(), 0);
    // The blocks on both sides of one that is there.
    world.check(5..2 * B + 7).await;
    assert_eq!(world.reads(), 2);
    for range in [0..1, B - 1..B + 1, 0..B * 5 / 2, 7..10 * B, B * 2..B * 5 / 2, B * 5 / 2 - 1..B * 3] {
        world.check(range).await;
    }
    let ranges = [0..10, B - 5..B + 5, 2 * B..2 * B + 1];
    let found = world.cached.get_ranges(&world.path, &ranges).await.unwrap();
    for (range, bytes) in ranges.iter().zip(found) {
        assert!(bytes == world.file.slice(index(range.start)..index(range.end)));
    }
    assert_eq!(world.reads(), 0);
    // A run that is not there is one request.
    let world = World::new().await;
    world.check(0..B * 5 / 2).await;
    assert_eq!(world.reads(), 1);
}

#[tokio::test]
async fn what_was_just_put_is_there_and_knows_its_size() {
    let world = World::new().await;
    let path = Path::from("default/samples/part-2.parquet");
    world.cached.put(&path, world.file.clone().into()).await.unwrap();
    let options = GetOptions { range: Some(GetRange::Bounded(B..3 * B)), ..GetOptions::default() };
    let answer = world.cached.get_opts(&path, options).await.unwrap();
    assert_eq!((answer.meta.size, answer.range.clone()), (world.file.len() as u64, B..B * 5 / 2));
    assert!(answer.bytes().await.unwrap() == world.file.slice(index(B)..));
    assert_eq!(world.reads(), 0);
}

#[tokio::test]
async fn the_end_of_a_file_is_read_once_by_whoever_does_not_know_its_size() {
    let world = World::new().await;
    let end = |len: u64| async move { world_end(&World::new().await, len).await };
    // A whole file and more, a block and more, and less.
    for len in [1, B / 2, B / 2 + 1, B, B * 2, B * 5 / 2, B * 9] {
        end(len).await;
    }
    world_end(&world, 100).await;
    assert_eq!(world.reads(), 1);
    world_end(&world, B / 3).await;
    world.check(2 * B + 5..2 * B + 9).await;
    assert_eq!(world.reads(), 0, "the last block is there");
    // What is not there of it is fetched.
    world_end(&world, B + 1).await;
    assert_eq!(world.reads(), 1);
    let path = Path::from("default/samples/part-3.parquet");
    world.cached.put(&path, vec![7; 10].into()).await.unwrap();
    let options = GetOptions { range: Some(GetRange::Suffix(3)), ..GetOptions::default() };
    assert_eq!(world.cached.get_opts(&path, options).await.unwrap().bytes().await.unwrap()[..], [7; 3]);
    assert_eq!(world.reads(), 0);
}

async fn world_end(world: &World, len: u64) {
    let options = GetOptions { range: Some(GetRange::Suffix(len)), ..GetOptions::default() };
    let answer = world.cached.get_opts(&world.path, options).await.unwrap();
    let size = world.file.len() as u64;
    assert_eq!((answer.meta.size, answer.range.clone()), (size, size.saturating_sub(len)..size));
    assert!(answer.bytes().await.unwrap() == world.file.slice(index(size.saturating_sub(len))..), "{len}");
}

#[tokio::test]
async fn a_damaged_block_is_read_from_the_bucket_again() {
    let world = World::new().await;
    world.check(0..B * 5 / 2).await;
    for file in blocks::files(world.folder.path()) {
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&file, bytes).unwrap();
    }
    world.reads();
    world.check(0..B * 5 / 2).await;
    assert_eq!(world.reads(), 1);
    world.check(0..B * 5 / 2).await;
    assert_eq!(world.reads(), 0);
}

#[tokio::test]
async fn a_cache_that_is_wiped_costs_requests_and_no_error() {
    let world = World::new().await;
    world.check(0..B).await;
    std::fs::remove_dir_all(world.folder.path()).unwrap();
    world.check(0..B).await;
    assert_eq!(world.reads(), 2);
    world.check(0..B).await;
    assert_eq!(world.reads(), 0, "it is made anew");
}

#[tokio::test]
async fn what_may_change_is_never_kept() {
    let world = World::new().await;
    for path in ["default/samples/_delta_log/1.json", "default/samples/_delta_log/1.checkpoint.parquet"] {
        let path = Path::from(path);
        world.cached.put(&path, vec![1; 10].into()).await.unwrap();
        world.bucket.inner.put(&path, vec![2; 10].into()).await.unwrap();
        assert_eq!(world.cached.get_range(&path, 0..1).await.unwrap()[..], [2]);
    }
    // A put that was refused says nothing about what is there.
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    world.cached.put_opts(&world.path, vec![9; 10].into(), create).await.unwrap_err();
    world.check(0..10).await;
}

#[tokio::test]
async fn what_the_bucket_refuses_is_refused() {
    let world = World::new().await;
    let error = world.cached.get_range(&Path::from("a/none.parquet"), 0..1).await.unwrap_err();
    assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
    let beyond = world.file.len() as u64 + B;
    for range in [beyond..beyond + 1, 5..5] {
        let error = world.cached.get_range(&world.path, range.clone()).await.unwrap_err();
        assert!(error.to_string().contains("nvalid range"), "{range:?}: {error}");
    }
}
