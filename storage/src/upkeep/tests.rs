//! Rules of retention against a table: what they select goes once, and what stays is not touched again.

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arrow::array::RecordBatch;
use futures::{FutureExt, future::BoxFuture};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory};
use parking_lot::Mutex;
use schemas::Dataset;
use serde_json::Value;

use super::{Trim, TrimRule, Upkept};
use crate::{
    Batch, Config, Delete, ErrorKind, Lane, Result, Storage, Write, commit,
    disk::LocalDisk,
    open::Parts,
    test_rows::{DAY_US, Sample, clock, config, env_at, samples, samples_of},
};

/// The day before the clock's.
const DAY: i64 = 20_716 * DAY_US;

type Keys = Vec<(String, i64)>;
type Rule = (TrimRule, Option<Keys>);
/// What a rule is called, and what it selects, if anybody can say that.
type Written<'a> = (&'a str, Option<&'a [(&'a str, i64)]>);

/// Rules that select what they say.
#[derive(Clone, Default)]
struct Stub(Arc<Mutex<Vec<Rule>>>);

impl Stub {
    fn set(&self, rules: &[Written<'_>]) {
        let keys = |keys: &[(&str, i64)]| keys.iter().map(|(metric, id)| ((*metric).to_owned(), *id)).collect();
        let rule = |(id, selected): &Written<'_>| (TrimRule { id: (*id).into(), days: 0 }, selected.map(keys));
        *self.0.lock() = rules.iter().map(rule).collect();
    }
}

impl Trim for Stub {
    fn rules(&self, _: &'static Dataset) -> Vec<TrimRule> {
        self.0.lock().iter().map(|(rule, _)| rule.clone()).collect()
    }

    fn keys<'a>(
        &'a self,
        _: &'static Dataset,
        partition: &'a str,
        due: &'a [usize],
    ) -> BoxFuture<'a, Result<RecordBatch, Box<dyn StdError + Send + Sync>>> {
        assert_eq!(partition, "2026-09-20");
        let selected: Vec<_> = due.iter().map(|at| self.0.lock()[*at].1.clone()).collect();
        async move {
            let mut keys = Vec::new();
            for selected in selected {
                keys.extend(selected.ok_or("the engine is busy")?);
            }
            keys.sort();
            let rows: Vec<Sample> = keys.into_iter().map(|(metric, id)| (metric, id, 0, 0.0)).collect();
            Ok(samples(&rows).project(&[0, 1])?)
        }
        .boxed()
    }
}

/// A table of samples, in memory.
struct Bench {
    folder: tempfile::TempDir,
    store: Arc<InMemory>,
    now_us: Arc<AtomicI64>,
    stub: Stub,
    storage: Storage,
    lives: u64,
}

impl Bench {
    async fn new() -> Self {
        let (folder, store, now_us, stub) =
            (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()), clock(), Stub::default());
        let storage = open(folder.path(), &store, &now_us, 1).await;
        storage.trim_by(Arc::new(stub.clone()));
        Self { folder, store, now_us, stub, storage, lives: 1 }
    }

    async fn restart(&mut self) {
        self.storage.close().await.unwrap();
        self.lives += 1;
        // The lock on the folder goes with the last of the old one.
        self.storage = {
            let (folder, store, now_us) = (self.folder.path().to_owned(), &self.store, &self.now_us);
            let empty = tempfile::tempdir().unwrap();
            let other = open(empty.path(), &Arc::new(InMemory::new()), now_us, 99).await;
            drop(std::mem::replace(&mut self.storage, other));
            open(&folder, store, now_us, self.lives).await
        };
        self.storage.trim_by(Arc::new(self.stub.clone()));
    }

    async fn append(&self, rows: &[Sample], lane: Lane) {
        let room = self.storage.reserve(1000).await.unwrap();
        let batch = Batch::append(schemas::samples(), samples(rows), lane);
        self.storage.append(room, vec![batch]).done().await.unwrap();
        self.storage.flush().await.unwrap();
    }

    async fn compact(&self) -> Upkept {
        self.storage.compact(|_| {}).await.unwrap()
    }

    /// Metrics and ids of all rows in files.
    async fn rows(&self) -> Keys {
        let mut rows = Vec::new();
        for file in self.storage.view(schemas::samples()).files.iter() {
            let bytes = self.storage.store().get(&file.path).await.unwrap().bytes().await.unwrap();
            let found = commit::read(schemas::samples(), bytes, file.partition.as_deref()).unwrap();
            rows.extend(samples_of(&found).into_iter().map(|(metric, id, _, _)| (metric, id)));
        }
        rows.sort();
        rows
    }

    /// Actions of the newest commit: name and whether it changes data.
    async fn last_commit(&self) -> Vec<(String, bool)> {
        let version = self.storage.view(schemas::samples()).version.unwrap();
        let path = format!("default/samples/_delta_log/{version:020}.json");
        let text = self.store.get(&path.into()).await.unwrap().bytes().await.unwrap();
        let lines = serde_json::Deserializer::from_slice(&text).into_iter::<Value>().map(Result::unwrap);
        let action = |line: Value| {
            let (name, action) =
                line.as_object()?.iter().next().map(|(name, action)| (name.clone(), action.clone()))?;
            Some((name, action.get("dataChange")?.as_bool()?))
        };
        lines.filter_map(action).collect()
    }
}

async fn open(folder: &std::path::Path, store: &Arc<InMemory>, now_us: &Arc<AtomicI64>, seed: u64) -> Storage {
    let config = Config { retention_days: [("samples".to_owned(), 40_000)].into(), ..config(folder) };
    let parts =
        Parts { disk: Arc::new(LocalDisk), store: Some(Arc::clone(store) as Arc<dyn ObjectStore>), spool: None };
    let (env, registry) = (env_at(seed, Arc::clone(now_us)), prometheus::Registry::new());
    Storage::open_with(config, vec![schemas::samples()], env, &registry, parts).await.unwrap()
}

fn row(metric: &str, id: i64, at: i64) -> Sample {
    (metric.to_owned(), id, DAY + at, 1.0)
}

fn named(rows: &[(&str, i64)]) -> Keys {
    rows.iter().map(|(metric, id)| ((*metric).to_owned(), *id)).collect()
}

#[tokio::test]
async fn what_a_rule_selects_goes_with_the_merge_of_its_day_or_after_it_and_only_once() {
    let mut bench = Bench::new().await;
    bench.append(&[row("a", 1, 0), row("a", 2, 0), row("b", 1, 0)], Lane::InOrder).await;
    bench.append(&[row("a", 1, 5), row("a", 2, 5), row("c", 1, 5)], Lane::InOrder).await;
    bench.stub.set(&[("first", Some(&[("a", 1)]))]);
    let done = bench.compact().await;
    assert_eq!((done.merges, done.trims, done.rows_trimmed), (1, 0, 2));
    assert_eq!(bench.rows().await, named(&[("a", 2), ("a", 2), ("b", 1), ("c", 1)]));
    assert!(bench.last_commit().await.iter().all(|(_, changes)| *changes), "rows went");
    assert_eq!(bench.compact().await, Upkept::default());

    // A second rule, after the merge; and a start that remembers what was done.
    bench.stub.set(&[("first", Some(&[("a", 1)])), ("second", Some(&[("c", 1), ("d", 1)]))]);
    let done = bench.compact().await;
    assert_eq!((done.merges, done.trims, done.rows_trimmed, done.files_added), (0, 1, 1, 1));
    assert_eq!(bench.rows().await, named(&[("a", 2), ("a", 2), ("b", 1)]));
    let actions = bench.last_commit().await;
    assert_eq!(actions, [("remove".to_owned(), true), ("add".to_owned(), true)]);
    bench.restart().await;
    assert_eq!(bench.compact().await, Upkept::default());

    // Late rows go with the next merge of their day, and a delete leaves what was done as it is.
    bench.append(&[row("a", 1, 9), row("b", 1, 9)], Lane::Late).await;
    let done = bench.compact().await;
    assert_eq!((done.merges, done.rows_trimmed), (1, 1));
    let keys = samples(&[row("a", 2, 0)]).project(&[0, 1]).unwrap();
    let delete = Write::Delete(Delete { keys, start_us: i64::MIN, end_us: i64::MAX });
    let room = bench.storage.reserve(1000).await.unwrap();
    bench.storage.append(room, vec![Batch { dataset: schemas::samples(), write: delete }]).done().await.unwrap();
    assert_eq!(bench.compact().await, Upkept::default());
    assert_eq!(bench.rows().await, named(&[("b", 1), ("b", 1)]));

    // All that is left.
    bench.stub.set(&[("all", Some(&[("a", 1), ("a", 2), ("b", 1), ("c", 1)]))]);
    let done = bench.compact().await;
    assert_eq!((done.trims, done.rows_trimmed, done.files_added), (1, 2, 0));
    assert_eq!(bench.rows().await, []);
    assert_eq!(bench.compact().await, Upkept::default());
}

#[tokio::test]
async fn a_file_without_a_row_that_goes_is_marked_and_stays_for_whoever_reads_it() {
    let mut bench = Bench::new().await;
    bench.append(&[row("a", 1, 0), row("b", 1, 0)], Lane::InOrder).await;
    bench.compact().await;
    let held = bench.storage.view(schemas::samples());
    let path = held.files[0].path.clone();
    bench.stub.set(&[("nothing", Some(&[("x", 1)]))]);
    let done = bench.compact().await;
    assert_eq!((done.trims, done.rows_trimmed, done.files_added, done.files_removed), (1, 0, 0, 0));
    assert_eq!(bench.last_commit().await, [("add".to_owned(), false)], "no reader sees rows twice");
    assert_eq!(bench.storage.view(schemas::samples()).files.len(), 1);
    assert_eq!(bench.compact().await, Upkept::default());

    // The file goes from the table; the view from before it was marked still reads it.
    bench.stub.set(&[("nothing", Some(&[("x", 1)])), ("a", Some(&[("a", 1)]))]);
    assert_eq!(bench.compact().await.rows_trimmed, 1);
    bench.now_us.fetch_add(2 * 3_600_000_000, Ordering::Relaxed);
    assert_eq!(bench.compact().await.files_deleted, 1, "the file from before the merge");
    bench.store.head(&path).await.expect("a view holds it");
    drop(held);
    assert_eq!(bench.compact().await.files_deleted, 1);
    bench.store.head(&path).await.expect_err("nobody holds it");
    bench.restart().await;
    let done = bench.compact().await;
    assert_eq!((done.merges, done.trims), (0, 0));
    assert_eq!(bench.rows().await, named(&[("b", 1)]));
}

#[tokio::test]
async fn a_rule_of_which_nobody_can_say_what_it_selects_is_told_and_holds_nothing_up() {
    let bench = Bench::new().await;
    bench.append(&[row("a", 1, 0), row("b", 1, 0)], Lane::InOrder).await;
    bench.append(&[row("a", 1, 5)], Lane::InOrder).await;
    bench.stub.set(&[("busy", None)]);
    let error = bench.storage.compact(|_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.chain().contains("partition=2026-09-20: the engine is busy"), "{}", error.chain());
    assert_eq!(bench.storage.view(schemas::samples()).files.len(), 1, "merged all the same");
    assert_eq!(bench.rows().await.len(), 3);
    bench.stub.set(&[("busy", Some(&[("a", 1)]))]);
    let done = bench.compact().await;
    assert_eq!((done.trims, done.rows_trimmed), (1, 2));
}
