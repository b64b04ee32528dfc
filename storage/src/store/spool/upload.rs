//! Uploads what waits for a bucket, in its order, until nothing does.
//!
//! One task per root. An upload may be made twice, by this process or the next, and comes to the same: names of data files are
//! random, and what must not overwrite is compared with what is there. Other bytes there are another process's: then uploads end,
//! and what waits stays.

use std::{sync::Arc, time::Duration};

use object_store::{ObjectStoreExt, PutPayload};

use super::{Entry, Object, Role, Spool, Writer, away, kept};
use crate::{Error, ErrorKind, Result};

/// Why an upload did not come to its end.
enum Halt {
    /// The bucket does not take it yet.
    Later(object_store::Error),
    /// It never will.
    ForGood(Error),
}

/// Uploads as long as the process runs.
pub(super) async fn run(spool: Spool) {
    let Role::Writer(writer) = &spool.inner.role else { return };
    let (first, pause_max) = writer.settings.pauses;
    let mut pause = first;
    while let Some(entry) = next(&spool, writer).await {
        match spool.upload(writer, &entry).await {
            Ok(()) => pause = first,
            Err(Halt::Later(error)) => {
                let root = spool.inner.root.as_str();
                writer.kept.metrics.failures_total.with_label_values(&[root]).inc();
                if away(&error) {
                    tracing::debug!(root, path = %entry.path, %error, "the bucket is still away");
                } else {
                    tracing::warn!(root, path = %entry.path, %error, "the bucket refuses what waits for it; retrying");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(pause_max);
            }
            Err(Halt::ForGood(error)) => {
                tracing::error!(error = %error.chain(), "uploads have ended; what waits stays on the local disk");
                writer.kept.metrics.stopped.with_label_values(&[&spool.inner.root]).set(1);
                writer.failure.set(&error);
                return;
            }
        }
    }
}

/// The next object, once there is one.
async fn next(spool: &Spool, writer: &Writer) -> Option<Arc<Entry>> {
    loop {
        let oldest = spool.inner.waiting.lock().entries.first_key_value().map(|(_, entry)| Arc::clone(entry));
        let age = oldest.as_ref().map_or(0, |entry| writer.kept.clock.now_ms().saturating_sub(entry.since_ms) / 1000);
        writer.kept.metrics.oldest_seconds.with_label_values(&[&spool.inner.root]).set(age);
        if oldest.is_some() {
            return oldest;
        }
        spool.inner.came.notified().await;
    }
}

impl Spool {
    async fn upload(&self, writer: &Writer, entry: &Arc<Entry>) -> Result<(), Halt> {
        let (kept, reading) = (Arc::clone(&writer.kept), Arc::clone(entry));
        let bytes = blocking(move || kept::read_whole(&kept.folder, &reading)).await?;
        let object =
            Object { path: entry.path.clone(), payload: PutPayload::from_bytes(bytes.clone()), create: entry.create };
        match self.inner.puts.put_opts(&entry.path, object.payload.clone(), object.options()).await {
            Ok(_) => {}
            // Ours, if an earlier answer was lost.
            Err(object_store::Error::AlreadyExists { .. }) if entry.create => {
                let found = async { self.inner.bucket.get(&entry.path).await?.bytes().await };
                if found.await.map_err(Halt::Later)? != bytes {
                    return Err(Halt::ForGood(foreign(self, entry)));
                }
            }
            Err(error) => return Err(Halt::Later(error)),
        }
        writer.probe.reach("spool_uploaded");
        let (kept, gone) = (Arc::clone(&writer.kept), Arc::clone(entry));
        let removed = blocking(move || {
            if let Err(error) = kept.remove(&gone) {
                // The next start finds it and uploads it again.
                tracing::warn!(path = %gone.path, %error, "what was uploaded cannot be removed from the local disk");
            }
            Ok(())
        });
        removed.await?;
        let drained = {
            let mut waiting = self.inner.waiting.lock();
            waiting.remove(entry);
            waiting.entries.is_empty()
        };
        let root = self.inner.root.as_str();
        writer.kept.metrics.uploads_total.with_label_values(&[root]).inc();
        if drained {
            tracing::warn!(root, "the bucket is back: nothing waits on the local disk any more");
        }
        Ok(())
    }
}

/// Disk errors may pass; damage does not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T, Halt> {
    crate::commit::blocking(work).await.map_err(|error| match error.kind {
        ErrorKind::Unavailable => Halt::Later(super::generic(error)),
        _ => Halt::ForGood(error),
    })
}

/// Another process has committed what waits here under the same name.
pub(super) fn foreign(spool: &Spool, entry: &Entry) -> Error {
    let message = format!(
        "another process committed to a table while commits of this one waited for the bucket. Nothing is lost: they stay on the \
         local disk and are not uploaded. Run one server per table; keep this data folder, start with a new one, and take the rows \
         from the Parquet files in its spool, root={} path={} spool={}",
        spool.inner.root,
        entry.path,
        spool.inner.folder().display()
    );
    Error::new(ErrorKind::Fenced, message)
}

impl super::Settings {
    /// As servers have them.
    pub(crate) fn of(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            free_bytes_min: crate::disk::FREE_BYTES_MIN,
            // A server that is restarted is back by then, and a head is not full.
            patience: Duration::from_secs(5),
            pauses: (Duration::from_millis(250), Duration::from_secs(15)),
        }
    }
}
