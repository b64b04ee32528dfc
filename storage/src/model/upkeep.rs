//! Upkeep in the model test: crossed by deletes, replacements and a second server's upkeep, and broken off at every call.

use std::sync::{Arc, atomic::Ordering, mpsc};

use std::error::Error as StdError;

use arrow::array::RecordBatch;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use schemas::Dataset;

use super::{World, kill};
use crate::{
    Batch, ErrorKind, Result, Storage, Trim, TrimRule, Write,
    test_rows::{DAY_US, samples},
};

/// A rule for one series of samples, while there is one: which, and for how many days it is kept.
#[derive(Clone, Default)]
pub(super) struct SeriesRule(Arc<Mutex<Option<(u8, u32)>>>);

impl Trim for SeriesRule {
    fn rules(&self, dataset: &'static Dataset) -> Vec<TrimRule> {
        let rule = self.0.lock().filter(|_| dataset.name == schemas::samples().name);
        rule.into_iter().map(|(series, days)| TrimRule { id: format!("series {series}").into(), days }).collect()
    }

    fn keys<'a>(
        &'a self,
        _: &'static Dataset,
        _: &'a str,
        due: &'a [usize],
    ) -> BoxFuture<'a, Result<RecordBatch, Box<dyn StdError + Send + Sync>>> {
        assert_eq!(due, [0]);
        let rule = *self.0.lock();
        async move {
            let (series, _) = rule.ok_or("there is no rule any more")?;
            Ok(samples(&[("cpu".into(), series.into(), 0, 0.0)]).project(&[0, 1])?)
        }
        .boxed()
    }
}

/// Stages series and puts them in the place of those of their scope, with other batches beside them.
pub(super) async fn replace_series(storage: &Storage, scope: String, rows: RecordBatch, mut batches: Vec<Batch>) {
    let mut staging = storage.stage(schemas::series());
    staging.push(rows).await.unwrap();
    let write = Write::Replace(staging.finish(&scope).await.unwrap());
    batches.push(Batch { dataset: schemas::series(), write });
    let room = storage.reserve(1000).await.unwrap();
    storage.append(room, batches).done().await.unwrap();
}

impl World {
    pub(super) fn delete_amid_upkeep(&mut self, id: u8, delete_first: bool) {
        let batch = self.doom(id, 0, 40);
        self.amid_upkeep(delete_first, async |storage| {
            let room = storage.reserve(1000).await.unwrap();
            storage.append(room, vec![batch]).done().await.unwrap();
        });
    }

    pub(super) fn replace_amid_upkeep(&mut self, day: u8, ids: &[u8], replace_first: bool) {
        let (scope, rows) = self.replacement(day, ids);
        self.amid_upkeep(replace_first, async |storage| replace_series(storage, scope, rows, Vec::new()).await);
    }

    /// Works while upkeep does: begins before it, or when it has put its first file and is to commit it.
    fn amid_upkeep(&self, first: bool, work: impl AsyncFnOnce(&Storage)) {
        let begun = Arc::new(tokio::sync::Notify::new());
        let merged = Arc::clone(&begun);
        self.probe.set(move |name| {
            if name == "merge_put" {
                merged.notify_one();
            }
        });
        let troubled = self.is_troubled();
        self.run(async |storage| {
            let work = async {
                if !first {
                    begun.notified().await;
                }
                work(&storage).await;
            };
            let upkeep = async {
                let upkept = storage.compact(|_| {}).await;
                // It may have found nothing to do.
                begun.notify_one();
                upkept
            };
            let ((), upkept) = tokio::join!(work, upkeep);
            forgive(troubled, upkept);
        });
        self.probe.set(|_| {});
    }

    /// The first server has put a merged file when the second one takes over and merges; then it goes on, and must not commit.
    pub(super) fn two_compactors(&mut self) {
        if self.bucket.is_none() {
            return;
        }
        self.run(async |storage| storage.flush().await).unwrap();
        // A commit that waits for the bucket counts as one to the server that waits.
        self.calm(true);
        self.recover();
        self.held.clear();
        let (old_runtime, old) = self.life.take().unwrap();
        let (stops, stopped) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let (stop, goes_on) = (stops.clone(), Mutex::new(Some(goes_on)));
        self.probe.set(move |name| {
            if name == "merge_put"
                && let Some(goes_on) = goes_on.lock().take()
            {
                stop.send(true).unwrap();
                goes_on.recv().unwrap();
            }
        });
        let troubled = self.is_troubled();
        let storage = old.clone();
        let first = std::thread::spawn(move || {
            let outcome = old_runtime.block_on(storage.compact(|_| {}));
            // There may have been nothing to merge.
            let _ = stops.send(false);
            (old_runtime, outcome)
        });
        let begun = stopped.recv().unwrap();
        self.probe.set(|_| {});
        let old_dir = self.move_out();
        self.start();
        self.compact();
        // Nobody hears it if nobody stopped.
        let _ = go_on.send(());
        let (old_runtime, outcome) = first.join().unwrap();
        match outcome {
            Err(error) if begun => assert!(troubled || error.kind == ErrorKind::Fenced, "{}", error.chain()),
            outcome => {
                assert!(!begun, "a server that is no longer the writer merged");
                forgive(troubled, outcome);
            }
        }
        self.compact();
        self.calm(false);
        kill(old_runtime, old);
        drop(old_dir);
    }

    fn compact(&self) {
        let troubled = self.is_troubled();
        forgive(troubled, self.run(async |storage| storage.compact(|_| {}).await));
    }

    pub(super) fn upkeep(&self, by_hand: bool) {
        let troubled = self.is_troubled();
        forgive(troubled, self.run(async |storage| storage.upkeep().await.work(&storage, by_hand, &mut |_| {}).await));
    }

    /// What is in files and selected is gone when upkeep has done all there is to do under the rule.
    pub(super) fn trim(&mut self, series: u8, days: u32, calls: Option<u8>) {
        *self.rule.0.lock() = Some((series, days));
        if let Some(calls) = calls {
            self.upkeep_death(calls);
        }
        self.run(async |storage| storage.flush().await).unwrap();
        let troubled = self.is_troubled();
        forgive(troubled, self.run(async |storage| storage.compact(|_| {}).await));
        // Tables rest while anything waits for their bucket.
        self.calm(true);
        self.recover();
        self.run(async |storage| storage.compact(|_| {}).await).unwrap();
        self.calm(false);
        *self.rule.0.lock() = None;
        let now_us = self.now_us.load(Ordering::Relaxed);
        // Two hours after its end a day is taken to be over.
        let is_due =
            |day: i64| (day + 1 + i64::from(days)) * DAY_US <= now_us && (day + 1) * DAY_US + 7_200_000_000 <= now_us;
        let goes =
            |key: &(String, i64, i64)| key.0 == "cpu" && key.1 == i64::from(series) && is_due(key.2.div_euclid(DAY_US));
        self.samples.retain(|key, _| !goes(key));
    }

    pub(super) fn sweep(&self) {
        let troubled = self.is_troubled();
        forgive(troubled, self.run(async |storage| storage.upkeep().await.sweep(&storage).await));
    }

    /// Upkeep until it comes to a point, if it does.
    pub(super) fn upkeep_crash(&mut self, point: &'static str) {
        let reached = Arc::new(tokio::sync::Notify::new());
        let (crashing, hit) = (Arc::clone(&reached), point);
        self.probe.set(move |name| {
            if name == hit {
                crashing.notify_one();
            }
        });
        self.upkeep_until(&reached);
    }

    /// Upkeep until one of its calls is the last of its process.
    pub(super) fn upkeep_death(&mut self, calls: u8) {
        let died = Arc::new(tokio::sync::Notify::new());
        match &self.bucket {
            Some(bucket) => bucket.die_after(calls.into(), Arc::clone(&died)),
            None => self.disk.die_after(calls.into(), Arc::clone(&died)),
        }
        self.upkeep_until(&died);
    }

    fn upkeep_until(&mut self, crash: &tokio::sync::Notify) {
        self.run(async |storage| {
            tokio::select! {
                biased;
                () = crash.notified() => {}
                _ = storage.compact(|_| {}) => {}
            }
        });
        self.probe.set(|_| {});
        self.crash();
        self.start();
    }
}

/// Upkeep ends with an error if the store fails, and is tried again later.
fn forgive<T>(troubled: bool, outcome: Result<T>) {
    if let Err(error) = outcome
        && !troubled
    {
        panic!("upkeep failed without a reason: {}", error.chain());
    }
}
