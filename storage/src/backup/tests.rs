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

mod home;

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
        let backups = Backups { store: Arc::clone(&kept) as _, place: "memory".into(), folder: None, env };
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
        self.backups.take(&self.source, false, &|_| {}).await.unwrap()
    }

    async fn verify(&self, at_ms: Option<i64>) -> Restored {
        self.backups.verify(at_ms, &[schemas::samples()], &|_| {}).await.unwrap()
    }

    /// Restores in an empty place, and reads what a server finds there.
    async fn restored(&self, at_ms: Option<i64>) -> Result<(Restored, Vec<i64>)> {
        self.restored_as(Wish { at_ms, thorough: true, leave_out: false }).await
    }

    async fn restored_as(&self, wish: Wish) -> Result<(Restored, Vec<i64>)> {
        let (folder, tables) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()));
        let target = in_memory(folder.path(), &tables);
        let restored = self.backups.restore(wish, (&target, &[schemas::samples()]), &|_| {}).await;
        let objects: Vec<_> = tables.list(None).try_collect().await.unwrap();
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) => {
                assert!(objects.is_empty(), "a restore that fails leaves nothing: {objects:?}");
                assert!(!folder.path().join(crate::folder::IDENTITY).exists());
                return Err(error);
            }
        };
        let files = restored.manifest.tables[0].files.len() - restored.left_out.len();
        assert_eq!(objects.len(), files + 2, "files, checkpoint and pointer: no more");
        let storage = open(folder.path(), tables, &self.now_us, 3).await;
        Ok((restored, ids(&storage).await))
    }

    /// Writes something else in the place of an object.
    async fn spoil(&self, object: &str, spoilt: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let object = path(object).unwrap();
        let bytes = self.backups.find(&object).await.unwrap().unwrap().to_vec();
        self.kept.put(&object, spoilt(bytes).into()).await.unwrap();
    }

    /// Objects of data files.
    async fn objects(&self) -> Vec<String> {
        let mut objects: Vec<String> = self.backups.sizes(manifest::DATA).await.unwrap().into_keys().collect();
        objects.sort();
        objects
    }
}

/// A place to restore to, with its tables in memory.
fn in_memory(data_dir: &std::path::Path, tables: &Arc<InMemory>) -> Target {
    let folder = location::open(&Location::Folder(data_dir.to_owned()), &S3::default(), &env_at(5, clock()), true);
    Target { tables: Arc::clone(tables) as _, inside: false, folder: folder.unwrap(), data_dir: data_dir.to_owned() }
}

/// Another byte a little way in.
fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[100] ^= 1;
    bytes
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
    let (folder, tables) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()));
    let target = in_memory(folder.path(), &tables);
    bench.backups.restore(Wish::default(), (&target, &[schemas::samples()]), &|_| {}).await.unwrap();
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
    for restored in [bench.restored(None).await.unwrap().0, bench.verify(None).await] {
        let why = format!("{lost} is missing");
        assert_eq!((restored.manifest.rows(), restored.passed), (10, vec![Passed { taken_ms: newest, why }]));
    }
    // The same size, another bit.
    bench.kept.put(&path(&lost).unwrap(), flipped(whole.to_vec()).into()).await.unwrap();
    let (restored, rows) = bench.restored(None).await.unwrap();
    assert_eq!(rows, all(0..10));
    assert!(restored.passed[0].why.contains(&format!("{lost} is damaged")), "{:?}", restored.passed);
    let verified = bench.verify(None).await;
    assert_eq!(verified.passed, restored.passed);
    bench.kept.put(&path(&lost).unwrap(), whole.slice(1..).into()).await.unwrap();
    assert!(bench.restored(None).await.unwrap().0.passed[0].why.contains("bytes in the place of"));

    // Whole again, it is the newest one that is restored.
    bench.kept.put(&path(&lost).unwrap(), whole.into()).await.unwrap();
    assert_eq!(bench.restored(None).await.unwrap().1, all(0..20));
    // A manifest that rotted is told, too; and if there is nothing before it, so it is.
    let newest = bench.backups.list().await.unwrap().remove(0);
    bench.spoil(newest.path.as_ref(), flipped).await;
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
    bench.spoil(&bench.objects().await[0], flipped).await;
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
    let taken = bench.backups.take(&bench.source, false, &watch).await.unwrap();
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
    let error = bench.backups.take(&bench.source, false, &|_| {}).await.unwrap_err();
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
        let verified = bench.verify(Some(taken_ms)).await;
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
async fn a_damaged_file_of_the_backups_is_mended_when_that_is_asked_for() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    bench.take().await;
    bench.spoil(&bench.objects().await[0], flipped).await;
    assert_eq!(bench.take().await.files_copied, 0, "a backup with nothing new reads nothing");
    assert_eq!(bench.restored(None).await.unwrap_err().kind, ErrorKind::Corrupt);
    let taken = bench.backups.take(&bench.source, true, &|_| {}).await.unwrap();
    assert_eq!((taken.files_copied, taken.files_mended), (1, 1));
    assert_eq!(bench.restored(None).await.unwrap().1, all(0..10));
    let again = bench.backups.take(&bench.source, true, &|_| {}).await.unwrap();
    assert_eq!((again.files_copied, again.files_mended), (0, 0));
}

#[tokio::test]
async fn the_last_resort_is_a_backup_without_its_damaged_file() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    bench.append(10..20).await;
    bench.take().await;
    bench.take().await;
    bench.spoil(&bench.objects().await[0], flipped).await;
    let error = bench.restored(None).await.unwrap_err();
    assert!(error.chain().contains("--leave-out-damaged"), "{}", error.chain());
    let wish = Wish { at_ms: None, thorough: true, leave_out: true };
    let (restored, rows) = bench.restored_as(wish).await.unwrap();
    assert_eq!((restored.left_out.len(), restored.manifest.sequence), (1, 2));
    assert!(rows == all(0..10) || rows == all(10..20), "{rows:?}");
}

#[tokio::test]
async fn a_clock_that_goes_back_does_not_bring_back_an_older_backup() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    bench.now_us.fetch_add(400 * DAY_US, Ordering::Relaxed);
    let ahead = bench.take().await.manifest;
    bench.now_us.fetch_sub(400 * DAY_US, Ordering::Relaxed);
    bench.append(10..20).await;
    let right = bench.take().await.manifest;
    assert!(right.taken_ms < ahead.taken_ms && right.sequence > ahead.sequence);
    bench.backups.prune(&Keep { days: 1, weeks: 0, months: 0, years: 0 }).await.unwrap();
    assert_eq!(bench.restored(None).await.unwrap().1, all(0..20));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_backups_at_once_leave_two_that_are_whole() {
    let bench = Bench::new(Arc::new(AtomicI64::new(LATER_US))).await;
    for part in 0..3 {
        bench.append(part * 10..part * 10 + 10).await;
    }
    bench.take().await;
    bench.append(30..40).await;
    let other = AtomicI64::new(0);
    // While one has pinned its tables and copies: files are merged, and another backup is taken and all that is old is deleted. By the
    // clock, which is far ahead of the objects' times, everything is.
    let watch = |_: Copied| {
        if other.swap(1, Ordering::Relaxed) == 0 {
            let work = async {
                bench.storage.compact(|_| {}).await.unwrap();
                bench.take().await;
                bench.now_us.fetch_add(2 * DAY_US, Ordering::Relaxed);
                bench.backups.prune(&Keep { days: 1, weeks: 0, months: 0, years: 0 }).await.unwrap()
            };
            let pruned = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
            assert!(pruned.files >= 3, "the files that the first one relied on: {pruned:?}");
        }
    };
    bench.backups.take(&bench.source, false, &watch).await.unwrap();
    let backups = bench.backups.list().await.unwrap();
    assert_eq!(backups.len(), 2);
    for backup in backups {
        let verified = bench.verify(Some(backup.taken_ms)).await;
        assert_eq!((verified.manifest.sequence, verified.passed), (backup.sequence, Vec::new()));
    }
    assert_eq!(bench.restored(None).await.unwrap().1, all(0..40));
}

#[tokio::test]
async fn while_a_manifest_is_damaged_no_file_is_deleted() {
    let bench = Bench::new(Arc::new(AtomicI64::new(LATER_US))).await;
    bench.append(0..10).await;
    bench.take().await;
    let first = bench.backups.list().await.unwrap().remove(0).path;
    bench.kept.put(&Path::from("data/default/samples/x.parquet"), Bytes::from_static(b"x").into()).await.unwrap();
    let whole = bench.backups.find(&first).await.unwrap().unwrap();
    bench.spoil(first.as_ref(), flipped).await;
    let pruned = bench.backups.prune(&Keep::default()).await.unwrap();
    assert_eq!((pruned.files, pruned.damaged), (0, vec![first.to_string()]));
    bench.kept.put(&first, whole.into()).await.unwrap();
    assert_eq!(bench.backups.prune(&Keep::default()).await.unwrap().files, 1);
    assert_eq!(bench.restored(None).await.unwrap().1, all(0..10));
}

#[tokio::test]
async fn a_manifest_that_names_a_file_elsewhere_is_passed_over() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    bench.take().await;
    bench.append(10..20).await;
    let taken = bench.take().await.manifest;
    let real = bench.backups.list().await.unwrap().remove(0).path;
    for place in
        ["wal/00000000000000000001.wal", "streamgauge.json", "../../etc/passwd", "default/samples/_delta_log/x.json"]
    {
        let mut manifest = taken.clone();
        manifest.tables[0].files[0].path = place.to_owned();
        let (path, bytes) = manifest.encode().unwrap();
        bench.kept.delete(&real).await.unwrap();
        bench.kept.put(&path, bytes.into()).await.unwrap();
        let (restored, rows) = bench.restored(None).await.unwrap();
        assert_eq!((restored.passed.len(), rows), (1, all(0..10)), "{place}");
        bench.kept.delete(&path).await.unwrap();
        let (path, bytes) = taken.encode().unwrap();
        bench.kept.put(&path, bytes.into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_version_that_does_not_know_a_table_writes_nothing() {
    let bench = Bench::new(clock()).await;
    bench.append(0..10).await;
    bench.take().await;
    let (folder, tables) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()));
    let target = in_memory(folder.path(), &tables);
    let known = [schemas::series()];
    let error = bench.backups.restore(Wish::default(), (&target, &known), &|_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.chain().contains("restore with the version that took the backup"), "{}", error.chain());
    assert!(tables.list(None).try_next().await.unwrap().is_none());
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
