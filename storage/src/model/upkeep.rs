//! Upkeep in the model test: crossed by deletes, replacements and a second server's upkeep, and broken off at every call.

use std::sync::{Arc, mpsc};

use parking_lot::Mutex;

use super::{World, kill};
use crate::{ErrorKind, Result, Storage};

impl World {
    pub(super) fn delete_amid_upkeep(&mut self, id: u8, delete_first: bool) {
        let batch = self.doom(id, 0, 40);
        self.amid_upkeep(delete_first, async |storage| {
            let room = storage.reserve(1000).await.unwrap();
            storage.append(room, vec![batch]).done().await.unwrap();
        });
    }

    pub(super) fn replace_amid_upkeep(&mut self, day: u8, ids: &[u8], replace_first: bool) {
        let replace = self.replacement(day, ids, false);
        self.amid_upkeep(replace_first, async |storage| storage.replace(replace).await.unwrap());
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
