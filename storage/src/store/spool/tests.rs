//! A bucket that goes away and comes back: what waits for it, in which order, over which crashes.

use std::{fs, path::Path as FilePath, sync::atomic::AtomicU64};

use futures::TryStreamExt;
use object_store::{GetRange, ObjectStoreExt, memory::InMemory};
use prometheus::Registry;

use super::*;
use crate::{
    Batch, Config, Env, ErrorKind, Lane, Root, Storage, Tables,
    disk::LocalDisk,
    open::Parts,
    test_rows::{clock, env, samples},
};

const ROOT: &str = "folder";

/// Without patience, so that every failure meets the spool.
fn settings() -> Settings {
    Settings {
        bytes_max: 1 << 20,
        free_bytes_min: 0,
        patience: Duration::ZERO,
        pauses: (Duration::from_millis(1), Duration::from_millis(2)),
    }
}

/// A bucket that is away, or disturbed: of a hundred puts so many fail, half of them after they took effect.
#[derive(Debug)]
struct Bucket {
    inner: InMemory,
    away: AtomicBool,
    refusing: AtomicBool,
    disturbed_percent: AtomicU64,
    random: AtomicU64,
    /// Paths in the order in which they were put with effect; again, if they were put again.
    puts: Mutex<Vec<String>>,
}

impl Bucket {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            away: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            disturbed_percent: AtomicU64::new(0),
            random: AtomicU64::new(seed),
            puts: Mutex::default(),
        })
    }

    fn away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    fn chance(&self, below: u64) -> u64 {
        let next = |state: u64| state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let before = self.random.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| Some(next(state)));
        (before.unwrap_or_else(|state| state) >> 33) % below
    }

    fn check(&self, path: &Path) -> Result<()> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Error::Generic { store: "bucket", source: "connection refused".into() });
        }
        if self.refusing.load(Ordering::Relaxed) {
            return Err(Error::PermissionDenied { path: path.to_string(), source: "no rights".into() });
        }
        Ok(())
    }

    fn order(&self) -> Vec<String> {
        let mut order = self.puts.lock().clone();
        order.dedup();
        order
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bucket")
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        tokio::task::yield_now().await;
        self.check(location)?;
        let lost = || Error::Generic { store: "bucket", source: "connection reset".into() };
        let disturbed = self.chance(100) < self.disturbed_percent.load(Ordering::Relaxed);
        if disturbed && self.chance(2) == 0 {
            return Err(lost());
        }
        let put = self.inner.put_opts(location, payload, options).await?;
        self.puts.lock().push(location.to_string());
        if disturbed { Err(lost()) } else { Ok(put) }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "upload".into(), implementer: "bucket".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location)?;
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

/// A life of a process.
struct Life {
    spool: Spool,
    spools: Spools,
    failure: Arc<Failure>,
    registry: Registry,
}

async fn open(folder: &FilePath, bucket: &Arc<Bucket>, settings: Settings) -> crate::Result<Life> {
    let (failure, registry) = (Arc::<Failure>::default(), Registry::new());
    let side = Side::Writer(Arc::new(LocalDisk), Arc::clone(&failure));
    let opening = Opening::new((folder.join("spool"), None), side, settings, &env(1), &registry)?;
    let (spool, spools) = opening.one(Arc::clone(bucket) as _).await?;
    spools.start();
    spools.begin();
    Ok(Life { spool, spools, failure, registry })
}

impl Life {
    async fn drained(&self) {
        while self.spool.waits() {
            self.failure.check().unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Puts what must not be there, as the commit of a table does: again until it is known to be there.
    async fn create(&self, path: &Path, bytes: &Bytes) {
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            if self.spool.put_opts(path, bytes.clone().into(), options).await.is_ok() {
                return;
            }
            if let Ok(found) = self.spool.get(path).await {
                assert_eq!(found.bytes().await.unwrap(), bytes);
                return;
            }
        }
    }

    fn metric(&self, name: &str) -> u64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = format!("streamgauge_store_spool_{name}{{root=\"{ROOT}\"}} ");
        let value = text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok());
        value.unwrap_or_else(|| panic!("no {line} in\n{text}"))
    }
}

fn files(folder: &FilePath) -> Vec<String> {
    let files = fs::read_dir(folder.join("spool")).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn data(n: u64) -> Path {
    Path::from(format!("default/samples/day=2026-09-21/part-{n}.parquet"))
}

fn commit(n: u64) -> Path {
    Path::from(format!("default/samples/_delta_log/{n:020}.json"))
}

fn body(n: u64, len: usize) -> Bytes {
    (n..).map(|n| (n % 251) as u8).take(len).collect::<Vec<u8>>().into()
}

async fn everything(store: &dyn ObjectStore) -> BTreeMap<String, Bytes> {
    let metas: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    let mut found = BTreeMap::new();
    for meta in metas {
        let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, meta.size);
        assert!(found.insert(meta.location.to_string(), bytes).is_none(), "{} is listed twice", meta.location);
    }
    found
}

#[tokio::test]
async fn what_waits_is_read_and_listed_as_if_it_were_in_the_bucket() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = open(folder.path(), &bucket, settings()).await.unwrap();
    life.spool.put(&data(0), body(0, 100).into()).await.unwrap();
    bucket.away(true);
    life.spool.put(&data(1), body(1, 100).into()).await.unwrap();
    // Of chunks, and put twice: the later one is there.
    let chunks = PutPayload::from_iter([body(9, 10), body(2, 50), body(3, 40)]);
    life.spool.put(&data(2), body(4, 9).into()).await.unwrap();
    life.spool.put(&data(2), chunks.clone()).await.unwrap();
    let get = |options: GetOptions| {
        let spool = life.spool.clone();
        async move { spool.get_opts(&data(2), options).await }
    };
    let whole = get(GetOptions::default()).await.unwrap();
    assert_eq!((whole.meta.size, whole.range.clone()), (100, 0..100));
    let whole = whole.bytes().await.unwrap();
    assert_eq!(whole, Bytes::from(chunks));
    for (range, expected) in [
        (GetRange::Bounded(5..20), whole.slice(5..20)),
        (GetRange::Suffix(30), whole.slice(70..)),
        (GetRange::Offset(99), whole.slice(99..)),
        (GetRange::Bounded(90..1000), whole.slice(90..)),
    ] {
        let found = get(GetOptions { range: Some(range), ..GetOptions::default() }).await.unwrap();
        assert_eq!(found.bytes().await.unwrap(), expected);
    }
    assert!(get(GetOptions { range: Some(GetRange::Bounded(100..101)), ..GetOptions::default() }).await.is_err());
    assert_eq!(life.spool.head(&data(1)).await.unwrap().size, 100);
    assert_eq!(life.spool.get_ranges(&data(1), &[0..2, 50..52]).await.unwrap()[1], body(51, 2));
    let prefix = Path::from("default/samples");
    let found = life.spool.list_with_delimiter(Some(&prefix)).await.unwrap();
    assert_eq!(found.common_prefixes, [Path::from("default/samples/day=2026-09-21")]);
    let found = life.spool.list_with_delimiter(Some(&found.common_prefixes[0])).await.unwrap();
    assert_eq!(found.objects.len(), 3);
    assert_eq!(life.spool.list(Some(&Path::from("default/series"))).count().await, 0);
    assert_eq!((life.metric("files"), life.metric("bytes")), (3, 209));
    bucket.away(false);
    life.drained().await;
    assert_eq!(everything(&life.spool).await.len(), 3);
    assert_eq!(everything(&life.spool).await, everything(&bucket.inner).await);
    assert_eq!((life.metric("files"), life.metric("bytes"), life.metric("uploads_total")), (0, 0, 3));
    assert_eq!(files(folder.path()), [""; 0]);
}

/// Random outages, disturbances and ends of the process: the bucket gets everything, files before the commits that name them.
#[tokio::test]
async fn whatever_happens_everything_gets_into_the_bucket_in_its_order() {
    for seed in 0..60 {
        let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(seed));
        let mut life = open(folder.path(), &bucket, settings()).await.unwrap();
        let mut expected = BTreeMap::new();
        for n in 0..12 {
            match bucket.chance(5) {
                0 => bucket.away(true),
                1 => bucket.away(false),
                2 => bucket.disturbed_percent.store(60, Ordering::Relaxed),
                3 => bucket.disturbed_percent.store(0, Ordering::Relaxed),
                _ => {
                    // The process goes, wherever the upload is. At the start the bucket must answer.
                    life.spools.stop();
                    drop(life);
                    tokio::task::yield_now().await;
                    let away = bucket.away.swap(false, Ordering::Relaxed);
                    life = open(folder.path(), &bucket, settings()).await.unwrap();
                    bucket.away(away);
                }
            }
            let len = usize::try_from(bucket.chance(5000)).unwrap();
            let (file, entry) = (body(n, len), body(n + 1, 20));
            while life.spool.put(&data(n), file.clone().into()).await.is_err() {}
            life.create(&commit(n), &entry).await;
            expected.insert(data(n).to_string(), file);
            expected.insert(commit(n).to_string(), entry);
            if bucket.away.load(Ordering::Relaxed) {
                let waiting = life.spool.inner.waiting.lock().entries.len();
                assert!(waiting >= 2, "seed {seed}: {waiting}");
            } else {
                assert_eq!(everything(&life.spool).await, expected, "seed {seed}");
            }
        }
        bucket.away(false);
        life.drained().await;
        assert_eq!(everything(&bucket.inner).await, expected, "seed {seed}");
        assert_eq!(files(folder.path()), [""; 0], "seed {seed}");
        let order = bucket.order();
        let at = |path: Path| order.iter().position(|put| *put == path.to_string()).unwrap();
        for n in 0..12 {
            assert!(at(data(n)) < at(commit(n)), "seed {seed}: {order:?}");
            assert!(n == 0 || at(commit(n - 1)) < at(commit(n)), "seed {seed}: {order:?}");
        }
    }
}

#[tokio::test]
async fn a_commit_that_landed_without_an_answer_is_our_own() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = open(folder.path(), &bucket, settings()).await.unwrap();
    bucket.away(true);
    life.create(&commit(0), &body(0, 20)).await;
    bucket.inner.put(&commit(0), body(0, 20).into()).await.unwrap();
    bucket.away(false);
    life.drained().await;
    // The same, found at the start.
    bucket.away(true);
    life.create(&commit(1), &body(1, 20)).await;
    drop(life);
    bucket.inner.put(&commit(1), body(1, 20).into()).await.unwrap();
    bucket.away(false);
    open(folder.path(), &bucket, settings()).await.unwrap().drained().await;
}

#[tokio::test]
async fn a_commit_of_another_process_ends_the_uploads_and_everything_stays() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = open(folder.path(), &bucket, settings()).await.unwrap();
    bucket.away(true);
    life.spool.put(&data(0), body(0, 100).into()).await.unwrap();
    life.create(&commit(7), &body(0, 20)).await;
    bucket.inner.put(&commit(7), body(1, 20).into()).await.unwrap();
    bucket.away(false);
    while life.failure.check().is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let error = life.failure.check().unwrap_err();
    assert_eq!((error.kind, life.metric("stopped")), (ErrorKind::Fenced, 1));
    for part in ["another process committed", "Nothing is lost", "7.json", folder.path().to_str().unwrap()] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(life.spool.waits());
    let kept = files(folder.path());
    assert_eq!(kept, ["00000000000000000001-00000000000000000007.json", "00000000000000000001.put"]);
    drop(life);
    // Nor does a start get over it, also when the other has gone on and its first commits are swept.
    let error = open(folder.path(), &bucket, settings()).await.err().expect("refused");
    assert_eq!(error.kind, ErrorKind::Fenced);
    bucket.inner.put(&commit(90), body(1, 20).into()).await.unwrap();
    bucket.inner.delete(&commit(7)).await.unwrap();
    let error = open(folder.path(), &bucket, settings()).await.err().expect("refused");
    assert_eq!((error.kind, files(folder.path())), (ErrorKind::Fenced, kept));
}

#[tokio::test]
async fn what_must_not_overwrite_does_not_overwrite_what_waits() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = open(folder.path(), &bucket, settings()).await.unwrap();
    bucket.away(true);
    life.create(&commit(0), &body(0, 20)).await;
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    let error = life.spool.put_opts(&commit(0), body(1, 20).into(), options).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
}

#[tokio::test]
async fn beyond_the_bounds_a_put_waits_for_its_turn() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = open(folder.path(), &bucket, Settings { bytes_max: 250, ..settings() }).await.unwrap();
    bucket.away(true);
    for n in 0..2 {
        life.spool.put(&data(n), body(n, 100).into()).await.unwrap();
    }
    let error = life.spool.put(&data(2), body(2, 100).into()).await.unwrap_err().to_string();
    assert!(error.contains("the spool is full, bytes=200 spool_bytes=250"), "{error}");
    assert_eq!(life.metric("refused_total"), 1);
    life.spool.put(&data(3), body(3, 50).into()).await.unwrap();
    bucket.away(false);
    while life.spool.put(&data(2), body(2, 100).into()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    life.drained().await;
    assert_eq!(everything(&bucket.inner).await.len(), 4);
    drop(life);
    // The watermark of the disk, and no spool at all.
    for (settings, why) in [
        (Settings { free_bytes_min: u64::MAX, ..settings() }, "the disk runs full, free_bytes="),
        (Settings { bytes_max: 0, ..settings() }, "connection refused"),
    ] {
        bucket.away(true);
        let life = open(folder.path(), &bucket, settings).await.unwrap();
        let error = life.spool.put(&data(4), body(4, 100).into()).await.unwrap_err().to_string();
        assert!(error.contains("connection refused") && error.contains(why), "{error}");
        assert!(!life.spool.waits() && files(folder.path()).is_empty());
        bucket.away(false);
        life.spool.put(&data(4), body(4, 100).into()).await.unwrap();
    }
}

#[tokio::test]
async fn what_waits_goes_first_also_when_nothing_more_may_wait() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = open(folder.path(), &bucket, settings()).await.unwrap();
    bucket.away(true);
    life.spool.put(&data(0), body(0, 100).into()).await.unwrap();
    drop(life);
    let off = Settings { bytes_max: 0, ..settings() };
    let life = open(folder.path(), &bucket, off).await.unwrap();
    let error = life.spool.put(&data(1), body(1, 100).into()).await.unwrap_err().to_string();
    assert!(error.contains("goes first"), "{error}");
    bucket.away(false);
    life.drained().await;
    life.spool.put(&data(1), body(1, 100).into()).await.unwrap();
    assert_eq!(bucket.order(), [data(0).to_string(), data(1).to_string()]);
}

#[tokio::test]
async fn a_disturbance_and_a_refusal_are_no_outage() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let patient = Settings { patience: Duration::from_secs(600), ..settings() };
    let life = open(folder.path(), &bucket, patient).await.unwrap();
    bucket.disturbed_percent.store(90, Ordering::Relaxed);
    for n in 0..20 {
        life.spool.put(&data(n), body(n, 10).into()).await.unwrap();
        assert!(!life.spool.waits());
    }
    bucket.disturbed_percent.store(0, Ordering::Relaxed);
    bucket.refusing.store(true, Ordering::Relaxed);
    let error = life.spool.put(&data(99), body(0, 10).into()).await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }) && !life.spool.waits(), "{error}");
}

#[tokio::test]
async fn nothing_is_deleted_from_a_bucket_that_does_not_know_everything() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = open(folder.path(), &bucket, settings()).await.unwrap();
    life.spool.put(&data(0), body(0, 10).into()).await.unwrap();
    bucket.away(true);
    life.spool.put(&data(1), body(1, 10).into()).await.unwrap();
    for path in [data(0), data(1)] {
        let error = life.spool.delete(&path).await.unwrap_err().to_string();
        assert!(error.contains("nothing is deleted while"), "{error}");
    }
    bucket.away(false);
    life.drained().await;
    life.spool.delete(&data(0)).await.unwrap();
    assert_eq!(everything(&bucket.inner).await.len(), 1);
}

#[tokio::test]
async fn damage_is_named_and_what_was_never_answered_is_dropped() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = open(folder.path(), &bucket, settings()).await.unwrap();
    bucket.away(true);
    life.spool.put(&data(0), body(0, 3000).into()).await.unwrap();
    life.spool.put(&data(1), body(1, 3000).into()).await.unwrap();
    drop(life);
    let [bytes, note] = ["00000000000000000001-part-1.parquet", "00000000000000000001.put"];
    for name in [bytes, note] {
        let file = folder.path().join("spool").join(name);
        let right = fs::read(&file).unwrap();
        for at in [0, right.len() / 2, right.len() - 1] {
            let mut wrong = right.clone();
            wrong[at] ^= 4;
            fs::write(&file, wrong).unwrap();
            let error = open(folder.path(), &bucket, settings()).await.err().expect("refused");
            assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        fs::write(&file, &right[..right.len() - 1]).unwrap();
        assert_eq!(open(folder.path(), &bucket, settings()).await.err().expect("refused").kind, ErrorKind::Corrupt);
        fs::write(&file, right).unwrap();
    }
    // Torn in the middle of a put, and of the removal of what was uploaded.
    fs::remove_file(folder.path().join("spool").join(note)).unwrap();
    fs::write(folder.path().join("spool/00000000000000000002.new"), "torn").unwrap();
    let life = open(folder.path(), &bucket, settings()).await.unwrap();
    assert_eq!(files(folder.path()), ["00000000000000000000-part-0.parquet", "00000000000000000000.put"]);
    // Damaged while the process runs: uploads end, and say so.
    let file = folder.path().join("spool").join("00000000000000000000-part-0.parquet");
    fs::write(&file, "rot").unwrap();
    bucket.away(false);
    while life.failure.check().is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(life.failure.check().unwrap_err().kind, ErrorKind::Corrupt);
}

#[tokio::test]
async fn what_waits_for_another_bucket_is_refused() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = open(folder.path(), &bucket, settings()).await.unwrap();
    bucket.away(true);
    life.spool.put(&data(0), body(0, 10).into()).await.unwrap();
    drop(life);
    let side = Side::Writer(Arc::new(LocalDisk), Arc::default());
    let place = (folder.path().join("spool"), None);
    let mut opening = Opening::new(place, side, settings(), &env(1), &Registry::new()).unwrap();
    opening.root("s3://other", (Arc::clone(&bucket) as _, bucket as _)).await.unwrap();
    let error = opening.finish(&Root::parse("s3://other").unwrap(), std::iter::empty()).expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.to_string().contains("root=folder objects=1"), "{error}");
}

#[tokio::test]
async fn who_reads_beside_a_server_sees_what_waits() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = open(folder.path(), &bucket, settings()).await.unwrap();
    let place = (folder.path().join("spool"), None);
    let opening = Opening::new(place, Side::Reader, settings(), &env(1), &Registry::new()).unwrap();
    let (reader, _) = opening.one(Arc::clone(&bucket) as _).await.unwrap();
    bucket.away(true);
    for n in 0..3 {
        life.spool.put(&data(n), body(n, 10).into()).await.unwrap();
        assert_eq!(everything(&reader).await, everything(&life.spool).await);
    }
    bucket.away(false);
    life.drained().await;
    // Looked up before it was uploaded, read after.
    assert_eq!(reader.get(&data(1)).await.unwrap().bytes().await.unwrap(), body(1, 10));
    assert_eq!(everything(&reader).await.len(), 3);
}

fn config(data_dir: &FilePath) -> Config {
    Config {
        data_dir: data_dir.to_owned(),
        tables: Tables::default(),
        tenant: "default".into(),
        flush_bytes: 16 << 10,
        flush_age_ms: i64::MAX,
        head_bytes_max: 256 << 10,
        wal_segment_bytes: 16 << 10,
        upkeep: false,
        retention_days: BTreeMap::new(),
    }
}

async fn rows(storage: &Storage) -> u64 {
    let view = storage.view(schemas::samples());
    let head: usize = view.head.iter().map(|rows| rows.batch.num_rows()).sum();
    for file in view.files.iter() {
        storage.store().get(&file.path).await.unwrap().bytes().await.unwrap();
    }
    view.files.iter().map(|file| file.rows).sum::<u64>() + head as u64
}

/// Many times as many rows as memory takes, while the bucket is away; the log is let go of, and the tables rest.
#[tokio::test]
async fn writes_go_on_for_longer_than_memory_lasts() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), Bucket::new(1));
    let life = async |env: Env| {
        let spool = Settings { bytes_max: 64 << 20, ..settings() };
        let parts = Parts { disk: Arc::new(LocalDisk), store: Some(Arc::clone(&bucket) as _), spool: Some(spool) };
        let datasets = vec![schemas::samples(), schemas::series()];
        Storage::open_with(config(folder.path()), datasets, env, &Registry::new(), parts).await.unwrap()
    };
    let storage = life(env(1)).await;
    bucket.away(true);
    let start_us = clock().load(Ordering::Relaxed);
    for n in 0..300 {
        let rows: Vec<_> = (0..200).map(|id| ("cpu".to_owned(), id, start_us + n, 1.5)).collect();
        let room = storage.reserve(1000).await.expect("there is room");
        let batch = Batch::append(schemas::samples(), samples(&rows), Lane::InOrder);
        storage.append(room, vec![batch]).done().await.unwrap();
    }
    storage.flush().await.unwrap();
    assert_eq!(rows(&storage).await, 60_000);
    assert!(bucket.order().is_empty() && storage.spools().waits("samples"));
    let upkept = storage.compact(|_| {}).await.unwrap();
    assert_eq!(upkept, crate::Upkept::default(), "upkeep does not rest");
    let segments = fs::read_dir(folder.path().join("wal")).unwrap().count();
    assert!(segments < 20, "the log keeps {segments} segments");
    storage.close().await.unwrap();
    drop(storage);
    bucket.away(false);
    let storage = life(env(2)).await;
    assert_eq!(rows(&storage).await, 60_000);
    while storage.spools().waits("samples") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(storage.compact(|_| {}).await.unwrap().merges > 0);
    storage.close().await.unwrap();
    drop(storage);
    // From the bucket alone.
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(rows(&life(env(3)).await).await, 60_000);
}
