//! Backups of tables in memory: nothing is copied twice, nothing that is damaged is restored, and a server beside them goes on.

use std::sync::atomic::{AtomicI64, Ordering};

use object_store::memory::InMemory;
use prometheus::Registry;

use super::*;
use crate::{
    Batch, Lane, Storage, commit,
    disk::LocalDisk,
    open::Parts,
    test_rows::{DAY_US, Sample, clock, config, env_at, samples, samples_of},
};

/// The day before the clock's.
const DAY: i64 = 20_716 * DAY_US;
/// 2100-01-01: later than any clock that gives objects their times.
const LATER_US: i64 = 4_102_444_800_000_000;

/// Storage with its tables in memory, and backups of them.
struct Bench {
    _folder: tempfile::TempDir,
    now_us: Arc<AtomicI64>,
    storage: Storage,
    source: Source,
    kept: Arc<InMemory>,
    backups: Backups,
}

impl Bench {
    async fn new(now_us: Arc<AtomicI64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = open(folder.path(), Arc::new(InMemory::new()), &now_us, 1).await;
        let source = Source {
            tables: storage.store(),
            tenant: "default".into(),
            datasets: vec![schemas::samples()],
            folder: None,
            others: Vec::new(),
        };
        let kept = Arc::new(InMemory::new());
        let env = env_at(2, Arc::clone(&now_us));
        let backups = Backups { store: Arc::clone(&kept) as _, place: "memory".into(), env };
        Self { _folder: folder, now_us, storage, source, kept, backups }
    }

    /// Appends rows and has them in a file.
    async fn append(&self, ids: std::ops::Range<i64>) {
        append(&self.storage, ids).await;
        self.storage.flush().await.unwrap();
    }

    /// A backup, a second after the one before.
    async fn take(&self) -> Taken {
        self.now_us.fetch_add(1_000_000, Ordering::Relaxed);
        self.backups.take(&self.source, &|_| {}).await.unwrap()
    }

    /// Restores in an empty place, and reads what a server finds there.
    async fn restored(&self, at_ms: Option<i64>) -> Result<(Restored, Vec<i64>)> {
        let tables = Arc::new(InMemory::new());
        let target = Target { tables: Arc::clone(&tables) as _, folder: None };
        let restored = self.backups.restore(at_ms, (&target, &[schemas::samples()]), true, &|_| {}).await?;
        let objects: Vec<_> = tables.list(None).try_collect().await.unwrap();
        assert_eq!(
            objects.len(),
            restored.manifest.tables[0].files.len() + 2,
            "files, checkpoint and pointer: no more"
        );
        let folder = tempfile::tempdir().unwrap();
        let storage = open(folder.path(), tables, &self.now_us, 3).await;
        Ok((restored, ids(&storage).await))
    }

    /// Objects of data files.
    async fn objects(&self) -> Vec<String> {
        let mut objects: Vec<String> = self.backups.sizes(manifest::DATA).await.unwrap().into_keys().collect();
        objects.sort();
        objects
    }
}

async fn open(folder: &std::path::Path, tables: Arc<InMemory>, now_us: &Arc<AtomicI64>, seed: u64) -> Storage {
    let config = crate::Config { retention_days: [("samples".to_owned(), 40_000)].into(), ..config(folder) };
    let parts = Parts { disk: Arc::new(LocalDisk), store: Some(tables), spool: None };
    let env = env_at(seed, Arc::clone(now_us));
    Storage::open_with(config, vec![schemas::samples()], env, &Registry::new(), parts).await.unwrap()
}

async fn append(storage: &Storage, ids: std::ops::Range<i64>) {
    let rows: Vec<Sample> = ids.map(|id| ("up".to_owned(), id, DAY + id, 1.0)).collect();
    let room = storage.reserve(1000).await.unwrap();
    let batch = Batch::append(schemas::samples(), samples(&rows), Lane::InOrder);
    storage.append(room, vec![batch]).done().await.unwrap();
}

/// Ids of all rows in files.
async fn ids(storage: &Storage) -> Vec<i64> {
    let mut ids = Vec::new();
    for file in storage.view(schemas::samples()).files.iter() {
        let bytes = storage.store().get(&file.path).await.unwrap().bytes().await.unwrap();
        let rows = commit::read(schemas::samples(), bytes, file.partition.as_deref()).unwrap();
        ids.extend(samples_of(&rows).into_iter().map(|(_, id, _, _)| id));
    }
    ids.sort_unstable();
    ids
}

fn all(ids: std::ops::Range<i64>) -> Vec<i64> {
    ids.collect()
}

#[tokio::test]
async fn a_file_is_copied_once_and_serves_every_backup() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    bench.append(10..20).await;
    let first = bench.take().await;
    assert_eq!((first.files_copied, first.manifest.rows()), (3, 20), "two files and the log");
    assert_eq!(first.manifest.tables[0].newest_us, Some(DAY + 19));
    let again = bench.take().await;
    assert_eq!((again.files_copied, again.bytes_copied), (0, 0));
    assert_eq!(again.manifest.tables, first.manifest.tables);
    bench.append(20..30).await;
    let third = bench.take().await;
    assert_eq!((third.files_copied, third.manifest.rows()), (2, 30), "the new file, and the log of its version");
    assert_eq!(bench.objects().await.len(), 3);
    assert_eq!(bench.restored(None).await.unwrap().1, all(0..30));
    let (restored, rows) = bench.restored(Some(again.manifest.taken_ms)).await.unwrap();
    assert_eq!((restored.manifest.taken_ms, rows), (again.manifest.taken_ms, all(0..20)));
    assert!(restored.passed.is_empty());
}

#[tokio::test]
async fn what_is_restored_goes_on_as_a_table() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    bench.take().await;
    let tables = Arc::new(InMemory::new());
    let target = Target { tables: Arc::clone(&tables) as _, folder: None };
    bench.backups.restore(None, (&target, &[schemas::samples()]), false, &|_| {}).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), Arc::clone(&tables), &bench.now_us, 3).await;
    append(&storage, 10..20).await;
    storage.flush().await.unwrap();
    assert_eq!(storage.compact(|_| {}).await.unwrap().merges, 1);
    assert_eq!(ids(&storage).await, all(0..20));
    storage.close().await.unwrap();
    drop(storage);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ids(&open(folder.path(), tables, &bench.now_us, 4).await).await, all(0..20), "read anew");
}

#[tokio::test]
async fn a_backup_that_lacks_a_file_is_passed_over_and_the_file_is_named() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    bench.take().await;
    let before = bench.objects().await;
    bench.append(10..20).await;
    let newest = bench.take().await.manifest.taken_ms;
    let lost = bench.objects().await.into_iter().find(|object| !before.contains(object)).unwrap();
    let whole = bench.backups.find(&path(&lost).unwrap()).await.unwrap().unwrap();

    bench.kept.delete(&path(&lost).unwrap()).await.unwrap();
    for restored in [bench.restored(None).await.unwrap().0, bench.backups.verify(None, &|_| {}).await.unwrap()] {
        let why = format!("{lost} is missing");
        assert_eq!((restored.manifest.rows(), restored.passed), (10, vec![Passed { taken_ms: newest, why }]));
    }
    // The same size, another bit.
    let mut flipped = whole.to_vec();
    flipped[100] ^= 1;
    bench.kept.put(&path(&lost).unwrap(), flipped.into()).await.unwrap();
    let (restored, rows) = bench.restored(None).await.unwrap();
    assert_eq!(rows, all(0..10));
    assert!(restored.passed[0].why.contains(&format!("{lost} is damaged")), "{:?}", restored.passed);
    let verified = bench.backups.verify(None, &|_| {}).await.unwrap();
    assert_eq!(verified.passed, restored.passed);
    bench.kept.put(&path(&lost).unwrap(), whole.slice(1..).into()).await.unwrap();
    assert!(bench.restored(None).await.unwrap().0.passed[0].why.contains("bytes in the place of"));

    // Whole again, it is the newest one that is restored.
    bench.kept.put(&path(&lost).unwrap(), whole.into()).await.unwrap();
    assert_eq!(bench.restored(None).await.unwrap().1, all(0..20));
    // A manifest that rotted is told, too; and if there is nothing before it, so it is.
    let newest = bench.backups.list().await.unwrap().remove(0);
    let mut text = bench.backups.find(&newest.path).await.unwrap().unwrap().to_vec();
    text[20] ^= 1;
    bench.kept.put(&newest.path, text.into()).await.unwrap();
    let (restored, rows) = bench.restored(None).await.unwrap();
    assert_eq!((rows, restored.passed[0].why.as_str()), (all(0..10), format!("{} is damaged", newest.path).as_str()));
    bench.kept.delete(&path(&before[0]).unwrap()).await.unwrap();
    let error = bench.restored(None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.chain().contains("no backup here is whole"), "{}", error.chain());
}

#[tokio::test]
async fn what_a_broken_off_backup_has_copied_is_read_before_it_is_believed() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    bench.append(10..20).await;
    bench.take().await;
    // As if it had been killed before its manifest; and one of its files rotted since.
    let taken = bench.backups.list().await.unwrap().remove(0);
    bench.kept.delete(&taken.path).await.unwrap();
    let rotten = path(&bench.objects().await[0]).unwrap();
    let mut bytes = bench.backups.find(&rotten).await.unwrap().unwrap().to_vec();
    bytes[100] ^= 1;
    bench.kept.put(&rotten, bytes.into()).await.unwrap();
    bench.take().await;
    let (restored, rows) = bench.restored(None).await.unwrap();
    assert_eq!((restored.passed, rows), (Vec::new(), all(0..20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_server_that_merges_and_sweeps_has_every_row() {
    let bench = Bench::new(clock()).await;
    for part in 0..5 {
        bench.append(part * 10..part * 10 + 10).await;
    }
    let swept = AtomicI64::new(0);
    // Between the pin and the first byte: all files are merged, and two hours later deleted.
    let watch = |progress: Copied| {
        if progress.files == (0, 5) && swept.load(Ordering::Relaxed) == 0 {
            let work = async {
                assert_eq!(bench.storage.compact(|_| {}).await.unwrap().merges, 1);
                bench.now_us.fetch_add(2 * 3_600_000_000, Ordering::Relaxed);
                bench.storage.compact(|_| {}).await.unwrap().files_deleted
            };
            let deleted = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
            swept.store(deleted.cast_signed(), Ordering::Relaxed);
        }
    };
    let taken = bench.backups.take(&bench.source, &watch).await.unwrap();
    assert_eq!(swept.load(Ordering::Relaxed), 5);
    assert_eq!((taken.manifest.tables[0].files.len(), taken.manifest.rows()), (1, 50));
    let (restored, rows) = bench.restored(None).await.unwrap();
    assert_eq!((restored.passed, rows), (Vec::new(), all(0..50)));
}

#[tokio::test]
async fn a_table_that_lost_a_file_has_no_backup_and_the_file_is_named() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    let lost = bench.storage.view(schemas::samples()).files[0].path.clone();
    bench.storage.store().delete(&lost).await.unwrap();
    let error = bench.backups.take(&bench.source, &|_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.chain().contains(lost.as_ref()), "{}", error.chain());
    assert!(bench.backups.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn three_years_of_nights_leave_the_schedule_and_the_files_it_names() {
    let bench = Bench::new(Arc::new(AtomicI64::new(LATER_US))).await;
    let (keep, mut taken) = (Keep::default(), Vec::new());
    for night in 0..1_100_i64 {
        if night % 50 == 0 {
            bench.append(night..night + 10).await;
            bench.storage.compact(|_| {}).await.unwrap();
        }
        taken.push(bench.take().await.manifest.taken_ms);
        bench.backups.prune(&keep).await.unwrap();
        bench.now_us.fetch_add(DAY_US, Ordering::Relaxed);
    }
    let left: Vec<i64> = bench.backups.list().await.unwrap().iter().map(|backup| backup.taken_ms).collect();
    let expected: Vec<i64> = keep.pick(&taken).into_iter().rev().collect();
    assert_eq!(left, expected);
    assert!((20..=26).contains(&left.len()), "{} of at most 30", left.len());
    for taken_ms in left {
        let verified = bench.backups.verify(Some(taken_ms), &|_| {}).await.unwrap();
        assert_eq!((verified.manifest.taken_ms, verified.passed), (taken_ms, Vec::new()));
    }
    let backups = bench.backups.list().await.unwrap();
    let manifests = backups.iter().filter_map(|backup| backup.manifest.as_ref());
    let named: std::collections::HashSet<String> =
        manifests.flat_map(Manifest::kept).map(|kept| kept.object.clone()).collect();
    let there: std::collections::HashSet<String> = bench.backups.all_sizes().await.unwrap().into_keys().collect();
    assert_eq!(there, named, "nothing is left that no backup names");
}

#[tokio::test]
async fn what_a_backup_copies_meanwhile_outlives_the_retention_of_others() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    bench.take().await;
    // A file that no manifest names, as of a backup under way, of this very moment.
    bench.now_us.store(
        chrono::DateTime::parse_from_rfc3339("2020-01-01T00:00:00Z").unwrap().timestamp_micros(),
        Ordering::Relaxed,
    );
    bench.kept.put(&Path::from("data/default/samples/x.parquet"), Bytes::from_static(b"x").into()).await.unwrap();
    assert_eq!(bench.backups.prune(&Keep::default()).await.unwrap(), Pruned::default());
    bench.now_us.store(LATER_US, Ordering::Relaxed);
    assert_eq!(
        bench.backups.prune(&Keep::default()).await.unwrap(),
        Pruned { files: 1, bytes: 1, ..Pruned::default() }
    );
    assert_eq!(bench.restored(None).await.unwrap().1, all(0..10));
}

#[tokio::test]
async fn rows_of_the_log_are_counted_and_files_beside_the_tables_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let (data, kept) = (home.path().join("data"), home.path().join("kept"));
    let (config, env) = (config(&data), env_at(1, clock()));
    let datasets = vec![schemas::samples(), schemas::series()];
    let storage = Storage::open(config.clone(), datasets.clone(), env.clone(), &Registry::new()).await.unwrap();
    append(&storage, 0..10).await;
    storage.flush().await.unwrap();
    append(&storage, 10..17).await;
    std::fs::create_dir_all(data.join("rules/team a")).unwrap();
    std::fs::write(data.join("rules/team a/cpu.yaml"), "groups: []\n").unwrap();
    let backups = Backups::open(&Location::Folder(kept), &S3::default(), &env, true).unwrap();
    let source = Source::open(&config, datasets.clone(), &["rules", "raw"], &env).await.unwrap();
    let taken = backups.take(&source, &|_| {}).await.unwrap();
    assert_eq!((taken.manifest.rows(), taken.manifest.waiting), (10, Some([("samples".to_owned(), 7)].into())));
    assert_eq!(taken.manifest.others.len(), 1);
    assert_eq!(backups.take(&source, &|_| {}).await.unwrap().files_copied, 0);

    let place = Location::Folder(home.path().join("new"));
    let target = Target::open(&place, None, &S3::default(), &env).await.unwrap();
    backups.restore(None, (&target, &datasets), true, &|_| {}).await.unwrap();
    assert_eq!(std::fs::read_to_string(home.path().join("new/rules/team a/cpu.yaml")).unwrap(), "groups: []\n");
    let restored = crate::Config { data_dir: home.path().join("new"), ..config };
    let restored = Storage::open(restored, datasets, env.clone(), &Registry::new()).await.unwrap();
    assert_eq!(ids(&restored).await, all(0..10));
    let refused = Target::open(&place, None, &S3::default(), &env).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn a_large_file_is_copied_in_parts_and_shows_when_it_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let place = Location::Folder(home.path().join("kept"));
    let store = location::open(&place, &S3::default(), &env_at(1, clock()), true).unwrap();
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect();
    let from = InMemory::new();
    let name = Path::from("large");
    from.put(&name, bytes.clone().into()).await.unwrap();
    let whole = copy::Copying { store: &from, path: &name, size: bytes.len() as u64 };
    assert_eq!(whole.to(store.as_ref(), &name).await.unwrap(), crc32c::crc32c(&bytes));
    assert_eq!(std::fs::read(home.path().join("kept/large")).unwrap(), bytes);
    let longer = copy::Copying { size: bytes.len() as u64 + 9_000_000, ..whole };
    let other = Path::from("other");
    assert!(matches!(longer.to(store.as_ref(), &other).await, Err(copy::Failed::Gone(_))));
    let names: Vec<_> =
        std::fs::read_dir(home.path().join("kept")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["large"], "nothing is left of what broke off");
}
