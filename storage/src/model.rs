//! The model test of storage: whatever happens to disk, store and process, the view is what was acknowledged, once.
//!
//! Random steps run against storage and against plain maps; after each the views are compared. Lives end by a crash (the
//! process goes, the disk stays), by a power cut (what was not synced goes too), or orderly; the object store refuses, answers
//! late or not at all, is away for long, and lists what it had a while ago; a second server takes over and the first one goes on;
//! the disk is lost and the tables survive. Upkeep merges and deletes in between, by the clock and by hand, crashes at its points and
//! at any call it makes, is crossed by deletes, by replacements and by the upkeep of a second server, takes out what rules select,
//! and takes no file from a view that is still read.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory};
use parking_lot::Mutex;
use proptest::prelude::*;
use schemas::Dataset;
use tokio::runtime::Runtime;

use crate::{
    Batch, Config, Delete, Env, ErrorKind, Lane, Probe, Result, Storage, Tables, View, Write, commit,
    open::Parts,
    store::spool,
    test_rows::{DAY_US, Sample, clock, env_at, samples, samples_of, series, series_of},
};

pub(crate) mod faults;
mod power;
mod steps;
mod upkeep;

use faults::FaultStore;
use power::PowerDisk;
use steps::{Step, step};
use upkeep::SeriesRule;

/// The day before the clock's, which is over, as all before it.
const FIRST_DAY: i64 = 20_716;

/// A spool without patience, so that every fault meets it.
const SPOOL: spool::Settings = spool::Settings {
    bytes_max: 64 << 20,
    free_bytes_min: 0,
    patience: Duration::ZERO,
    pauses: (Duration::from_millis(1), Duration::from_millis(2)),
};

fn batches(lanes: &BTreeMap<Lane, Vec<Sample>>) -> Vec<Batch> {
    let append = |(lane, rows): (&Lane, &Vec<Sample>)| Batch::append(schemas::samples(), samples(rows), *lane);
    lanes.iter().map(append).collect()
}

/// A sixteenth of a day.
fn at(time: u8) -> i64 {
    FIRST_DAY * DAY_US + i64::from(time) * (DAY_US / 16)
}

type Hook = Arc<dyn Fn(&'static str) + Send + Sync>;

/// A probe that can be set anew.
#[derive(Clone, Default)]
struct Trap(Arc<Mutex<Option<Hook>>>);

impl Trap {
    fn set(&self, reached: impl Fn(&'static str) + Send + Sync + 'static) {
        *self.0.lock() = Some(Arc::new(reached));
    }

    fn reach(&self, point: &'static str) {
        let reached = self.0.lock().clone();
        if let Some(reached) = reached {
            reached(point);
        }
    }
}

/// Bits of the value of each metric, series and time.
type Samples = BTreeMap<(String, i64, i64), u64>;

/// A world: storage as it lives and dies, and what must be in it.
struct World {
    dir: tempfile::TempDir,
    disk: Arc<PowerDisk>,
    /// Shared tables, or `None` when they are in the folder.
    bucket: Option<Arc<FaultStore>>,
    life: Option<(Runtime, Storage)>,
    lives: u64,
    samples: Samples,
    /// Every key ever written, deleted or not: a row with such a key is late.
    ever: BTreeMap<(String, i64, i64), ()>,
    series: BTreeMap<i32, Vec<(String, i64)>>,
    value: u64,
    now_us: Arc<AtomicI64>,
    probe: Trap,
    rule: SeriesRule,
    /// What running queries read, and what they must find. They end with their process.
    held: Vec<(Arc<View>, Samples)>,
}

impl World {
    fn new(bucket: bool) -> Self {
        let (dir, now_us) = (tempfile::tempdir().unwrap(), clock());
        let mut world = Self {
            disk: Arc::new(PowerDisk::new(Arc::clone(&now_us))),
            dir,
            bucket: bucket.then(|| FaultStore::new(Arc::new(InMemory::new()), Arc::clone(&now_us))),
            life: None,
            lives: 0,
            samples: BTreeMap::new(),
            ever: BTreeMap::new(),
            series: BTreeMap::new(),
            value: 0,
            now_us,
            probe: Trap::default(),
            rule: SeriesRule::default(),
            held: Vec::new(),
        };
        world.start();
        world
    }

    fn config(&self) -> Config {
        Config {
            data_dir: self.dir.path().to_owned(),
            tables: Tables::default(),
            tenant: "default".into(),
            flush_bytes: 3000,
            flush_age_ms: i64::MAX,
            head_bytes_max: 64 << 20,
            wal_segment_bytes: 4096,
            upkeep: false,
            // Times before 1971 are kept, too.
            retention_days: [("samples".to_owned(), 40_000), ("series".to_owned(), 40_000)].into(),
        }
    }

    /// A process, or the error with which its start ended.
    fn open(&mut self) -> Result<(Runtime, Storage)> {
        self.lives += 1;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let parts = Parts {
            disk: Arc::clone(&self.disk) as _,
            store: self.bucket.clone().map(|bucket| bucket as Arc<dyn ObjectStore>),
            spool: Some(SPOOL),
        };
        let registry = prometheus::Registry::new();
        let datasets = vec![schemas::samples(), schemas::series()];
        let opened = runtime.block_on(Storage::open_with(self.config(), datasets, self.env(), &registry, parts));
        match opened {
            Ok(storage) => {
                storage.trim_by(Arc::new(self.rule.clone()));
                Ok((runtime, storage))
            }
            Err(error) => {
                runtime.shutdown_timeout(SHUTDOWN);
                Err(error)
            }
        }
    }

    fn env(&self) -> Env {
        let probe = self.probe.clone();
        Env { probe: Probe::new(move |point| probe.reach(point)), ..env_at(self.lives, Arc::clone(&self.now_us)) }
    }

    /// Starts until it succeeds: as long as the store fails, or something of an earlier life is on its way there, a start may end
    /// with an error, but none that calls the data damaged.
    fn start(&mut self) {
        // To take tables over, the bucket must answer, unless that follows what waits for it.
        let waits = self.spooled().iter().any(|file| file.extension().is_some_and(|name| name == "put"));
        let away = self.bucket.as_ref().is_some_and(|bucket| !waits && bucket.away(false));
        loop {
            let troubled = self.is_troubled();
            match self.open() {
                Ok(life) => break self.life = Some(life),
                Err(error) if troubled && matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Fenced) => {}
                Err(error) => panic!("storage opens again: {}", error.chain()),
            }
        }
        if away && let Some(bucket) = &self.bucket {
            bucket.away(true);
        }
    }

    /// Files of what waits for the bucket.
    fn spooled(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.dir.path().join("spool"));
        files.map(|files| files.map(|file| file.unwrap().path()).collect()).unwrap_or_default()
    }

    fn is_troubled(&self) -> bool {
        self.bucket.as_ref().is_some_and(|bucket| bucket.is_troubled())
    }

    /// The process goes; what it was doing stops where it was.
    fn crash(&mut self) {
        self.held.clear();
        if let Some((runtime, storage)) = self.life.take() {
            kill(runtime, storage);
        }
        self.disk.revive();
        if let Some(bucket) = &self.bucket {
            bucket.revive();
        }
    }

    /// Another machine: a folder and a disk of its own.
    fn move_out(&mut self) -> tempfile::TempDir {
        self.disk = Arc::new(PowerDisk::new(Arc::clone(&self.now_us)));
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    fn run<T>(&self, work: impl AsyncFnOnce(Storage) -> T) -> T {
        let (runtime, storage) = self.life.as_ref().unwrap();
        runtime.block_on(work(storage.clone()))
    }

    /// Adds samples to what is expected; gives them by the lane that they take.
    fn samples(&mut self, points: &[(u8, u8)]) -> BTreeMap<Lane, Vec<Sample>> {
        let mut lanes: BTreeMap<Lane, Vec<Sample>> = BTreeMap::new();
        for (series, time) in points {
            self.value += 1;
            let row = ("cpu".to_owned(), i64::from(*series), at(*time));
            let lane = if self.ever.insert(row.clone(), ()).is_some() { Lane::Late } else { Lane::InOrder };
            let value = f64::from_bits(self.value);
            lanes.entry(lane).or_default().push((row.0.clone(), row.1, row.2, value));
            self.samples.insert(row, value.to_bits());
        }
        lanes
    }

    fn append(&mut self, points: &[(u8, u8)], twice: bool) {
        let lanes = self.samples(points);
        // In one request a key may come twice: the in-order one first, then the late one.
        self.send(batches(&lanes));
        if twice {
            let again = lanes.into_values().flatten().collect::<Vec<_>>();
            // What the first request wrote under one key twice, it wrote in this order.
            self.send(batches(&[(Lane::Late, again)].into()));
        }
    }

    fn send(&self, batches: Vec<Batch>) {
        self.run(async |storage| {
            let room = storage.reserve(1000).await.unwrap();
            storage.append(room, batches).done().await.unwrap();
        });
    }

    fn replace(&mut self, day: u8, ids: &[u8], points: &[(u8, u8)]) {
        let (scope, rows) = self.replacement(day, ids);
        let batches = batches(&self.samples(points));
        self.run(async |storage| upkeep::replace_series(&storage, scope, rows, batches).await);
    }

    /// Puts series in the place of those of a day in what is expected; gives the scope and the rows that make it so.
    fn replacement(&mut self, day: u8, ids: &[u8]) -> (String, arrow::array::RecordBatch) {
        let day = i32::from(day) + i32::try_from(FIRST_DAY).unwrap();
        let mut expected: Vec<(String, i64)> = ids.iter().map(|id| ("up".to_owned(), i64::from(*id))).collect();
        expected.sort();
        self.series.insert(day, expected);
        let rows: Vec<(i32, &str, i64)> = ids.iter().map(|id| (day, "up", i64::from(*id))).collect();
        (crate::sort::day_text(day), series(&rows))
    }

    fn delete(&mut self, id: u8, from: u8, to: u8) {
        let batch = self.doom(id, from, to);
        self.send(vec![batch]);
    }

    /// Takes samples out of what is expected; gives the delete that makes it so.
    fn doom(&mut self, id: u8, from: u8, to: u8) -> Batch {
        let (start_us, end_us) = (at(from), at(to));
        let doomed = |key: &(String, i64, i64)| key.1 == i64::from(id) && (start_us..end_us).contains(&key.2);
        self.samples.retain(|key, _| !doomed(key));
        let keys = samples(&[("cpu".into(), i64::from(id), 0, 0.0)]).project(&[0, 1]).unwrap();
        Batch { dataset: schemas::samples(), write: Write::Delete(Delete { keys, start_us, end_us }) }
    }

    /// The outage ends, and what waits on the disk gets into the bucket: what survives the disk is what is there.
    pub(super) fn recover(&self) {
        let Some(bucket) = &self.bucket else { return };
        bucket.away(false);
        self.run(async |storage| {
            while ["samples", "series"].iter().any(|dataset| storage.spools().waits(dataset)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    /// A second server takes the tables over; the first finds out at its next commit and changes nothing any more.
    fn zombie(&mut self) {
        if self.bucket.is_none() {
            return;
        }
        self.run(async |storage| storage.flush().await).unwrap();
        self.recover();
        // To the new server, queries of the old one are another process's: they have an hour.
        self.held.clear();
        let (old_runtime, old) = self.life.take().unwrap();
        let old_dir = self.move_out();
        self.start();
        let exists = old.view(schemas::samples()).version.is_some();
        let outcome: Result<()> = old_runtime.block_on(async {
            let room = old.reserve(1000).await.unwrap();
            let rows = samples(&[("zombie".into(), 1, 1, 1.0)]);
            old.append(room, vec![Batch::append(schemas::samples(), rows, Lane::InOrder)]).done().await?;
            old.flush().await
        });
        let waits = async || {
            while old.spools().waits("samples") && old.healthy().is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // What the old one did may wait on its disk, and is found out when it is uploaded.
        old_runtime.block_on(waits());
        if exists {
            assert_eq!(outcome.and_then(|()| old.healthy()).unwrap_err().kind, ErrorKind::Fenced);
            assert!(old_runtime.block_on(old.reserve(1)).is_err(), "a fenced server takes no writes");
        } else if outcome.is_ok() {
            // There was no table to take over: the first to make it has it, and the rows are in it.
            self.samples.insert(("zombie".into(), 1, 1), 1f64.to_bits());
            self.ever.insert(("zombie".into(), 1, 1), ());
            self.crash();
            self.start();
        }
        kill(old_runtime, old);
        drop(old_dir);
    }

    fn hold(&mut self) {
        let view = self.run(async |storage| storage.view(schemas::samples()));
        self.held.push((view, self.samples.clone()));
    }

    fn check(&self) {
        self.calm(true);
        self.compare();
        self.calm(false);
    }

    /// While it is calm, the bucket's faults wait.
    fn calm(&self, calm: bool) {
        if let Some(bucket) = &self.bucket {
            bucket.calm(calm);
        }
    }

    fn compare(&self) {
        let (runtime, storage) = self.life.as_ref().unwrap();
        runtime.block_on(async {
            let view = storage.view(schemas::samples());
            let found: BTreeMap<(String, i64, i64), u64> = latest(&view, storage).await;
            assert_eq!(found, self.samples);
            for (view, expected) in &self.held {
                assert_eq!(&latest(view, storage).await, expected, "a view never changes");
            }
            let view = storage.view(schemas::series());
            let mut found: BTreeMap<i32, Vec<(String, i64)>> = BTreeMap::new();
            for (_, _, rows) in all_rows(&view, storage).await {
                for (day, metric, id) in series_of(&rows) {
                    found.entry(day).or_default().push((metric, id));
                }
            }
            found.values_mut().for_each(|rows| rows.sort());
            let expected: BTreeMap<_, _> =
                self.series.clone().into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
            assert_eq!(found, expected);
        });
    }
}

/// Jobs on blocking threads are waited for, as their file system calls cannot be cut in the middle from here.
const SHUTDOWN: std::time::Duration = std::time::Duration::from_secs(10);

fn kill(runtime: Runtime, storage: Storage) {
    drop(storage);
    runtime.shutdown_timeout(SHUTDOWN);
}

async fn all_rows(view: &View, storage: &Storage) -> Vec<(Lane, i64, arrow::array::RecordBatch)> {
    let mut out = Vec::new();
    for file in view.files.iter() {
        let bytes = storage.store().get(&file.path).await.unwrap().bytes().await.unwrap();
        let rows = commit::read(view.dataset, bytes, file.partition.as_deref()).unwrap();
        assert_eq!(rows.num_rows() as u64, file.rows);
        out.push((file.lane, file.seq, rows));
    }
    out.extend(view.head.iter().map(|rows| (rows.lane, rows.seq, rows.batch.clone())));
    out
}

/// What a reader sees: of rows with one key the one with the largest `seq`, and in-order rows of one key only once.
async fn latest(view: &View, storage: &Storage) -> BTreeMap<(String, i64, i64), u64> {
    let mut found: BTreeMap<(String, i64, i64), (i64, u64)> = BTreeMap::new();
    let mut in_order = std::collections::BTreeSet::new();
    for (lane, seq, rows) in all_rows(view, storage).await {
        for (metric, id, time, value) in samples_of(&rows) {
            let key = (metric, id, time);
            assert!(lane == Lane::Late || in_order.insert(key.clone()), "{key:?} is twice among rows in order");
            let best = found.entry(key).or_insert((seq, value.to_bits()));
            if seq >= best.0 {
                *best = (seq, value.to_bits());
            }
        }
    }
    found.into_iter().map(|(key, (_, value))| (key, value)).collect()
}

fn check(bucket: bool, steps: Vec<Step>) {
    let dataset: &'static Dataset = schemas::samples();
    assert_eq!(dataset.key, 3);
    let mut world = World::new(bucket);
    for step in steps {
        match step {
            Step::Append(points) => world.append(&points, false),
            Step::AppendTwice(points) => world.append(&points, true),
            Step::Flush => world.run(async |storage| storage.flush().await).unwrap(),
            Step::Replace { day, ids, points } => world.replace(day, &ids, &points),
            Step::Delete { series, from, to } => world.delete(series, from.min(to), from.max(to)),
            Step::DeleteAmidUpkeep { series, delete_first } => world.delete_amid_upkeep(series, delete_first),
            Step::ReplaceAmidUpkeep { day, ids, replace_first } => world.replace_amid_upkeep(day, &ids, replace_first),
            Step::Crash => {
                world.crash();
                world.start();
            }
            Step::PowerCut { seed } => {
                world.crash();
                world.disk.cut_power(seed);
                world.start();
            }
            Step::Restart => {
                world.run(async |storage| storage.close().await).unwrap();
                world.crash();
                world.start();
            }
            Step::Faults { request, faults } => {
                if let Some(bucket) = &world.bucket {
                    bucket.next(request, faults);
                }
            }
            Step::Outage(away) => {
                let _ = world.bucket.as_ref().map(|bucket| bucket.away(away));
            }
            Step::Upkeep { by_hand } => world.upkeep(by_hand),
            Step::UpkeepCrash { point } => world.upkeep_crash(point),
            Step::UpkeepDeath { calls } => world.upkeep_death(calls),
            Step::Trim { series, days, calls } => world.trim(series, days.into(), calls),
            Step::Sweep => world.sweep(),
            Step::Hours(hours) => {
                world.now_us.fetch_add(i64::from(hours) * 3_600_000_000, Ordering::Relaxed);
            }
            Step::Hold => world.hold(),
            Step::Zombie => world.zombie(),
            Step::TwoCompactors => world.two_compactors(),
            Step::LostDisk => {
                if world.bucket.is_some() {
                    // Only what is committed survives the loss, so commit first.
                    world.run(async |storage| storage.flush().await).unwrap();
                    world.recover();
                    world.crash();
                    let lost: PathBuf = world.dir.path().to_owned();
                    std::fs::remove_dir_all(&lost).unwrap();
                    world.disk = Arc::new(PowerDisk::new(Arc::clone(&world.now_us)));
                    world.start();
                }
            }
        }
        world.check();
    }
    // Whatever waited is in the bucket, and nothing of it is needed on the disk.
    world.recover();
    world.crash();
    assert_eq!(world.spooled(), [""; 0].map(PathBuf::from), "files are left in the spool");
    world.start();
    world.check();
}

/// Random schedules a test: 100 of each kind, or as many as `STREAMGAUGE_SCHEDULES` says.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn cases() -> u32 {
    std::env::var("STREAMGAUGE_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there_once_on_a_bucket(steps in prop::collection::vec(step(), 1..30)) {
        check(true, steps);
    }

    #[test]
    fn what_was_acknowledged_is_there_once_on_a_disk(steps in prop::collection::vec(step(), 1..30)) {
        check(false, steps);
    }
}
