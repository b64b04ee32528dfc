//! Time and randomness, handed in by the composition root so that tests own them.

use std::{fmt, sync::Arc, time::Duration};

/// What storage needs from the outside world besides disks.
#[derive(Clone, Debug)]
pub struct Env {
    /// The wall clock.
    pub clock: Clock,
    /// Source of 128 random bits, for file names and the log's identity.
    pub random: Random,
    /// Called at the named points of a row's way; crash tests die there.
    pub probe: Probe,
}

/// A hook at the named points `wal_written`, `wal_synced`, `parquet_put`, `delta_committed` and `before_wal_trim` of a row's way,
/// `spool_written` and `spool_uploaded` of what waits for a bucket, and `merge_put`, `rewrite_committed`, `before_delete` and `deleted`
/// of upkeep.
#[derive(Clone, Default)]
pub struct Probe(Option<Arc<dyn Fn(&'static str) + Send + Sync>>);

/// A wall clock in microseconds since the epoch.
#[derive(Clone)]
pub struct Clock {
    now_us: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// In tests: moves the clock on, in the place of waiting.
    skip: Option<Arc<dyn Fn(Duration) + Send + Sync>>,
}

/// A source of 128 random bits.
#[derive(Clone)]
pub struct Random(Arc<dyn Fn() -> u128 + Send + Sync>);

impl Clock {
    /// A clock that asks `now_us` for microseconds since the epoch.
    pub fn new(now_us: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self { now_us: Arc::new(now_us), skip: None }
    }

    /// The same clock, which is moved on by `skip` where others wait, so that waiting takes no time.
    #[cfg(test)]
    pub(crate) fn skipping(self, skip: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self { skip: Some(Arc::new(skip)), ..self }
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        (self.now_us)()
    }

    /// Waits.
    pub(crate) async fn wait(&self, duration: Duration) {
        match &self.skip {
            None => tokio::time::sleep(duration).await,
            Some(skip) => {
                skip(duration);
                // Whoever is waited for gets a turn.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_us().div_euclid(1000)
    }
}

impl Random {
    /// A source that asks `bits`.
    pub fn new(bits: impl Fn() -> u128 + Send + Sync + 'static) -> Self {
        Self(Arc::new(bits))
    }

    /// The next 128 random bits.
    #[must_use]
    pub fn bits(&self) -> u128 {
        (self.0)()
    }
}

impl Probe {
    /// A hook that is called with the name of each point reached.
    pub fn new(reached: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(reached)))
    }

    pub(crate) fn reach(&self, point: &'static str) {
        if let Some(reached) = &self.0 {
            reached(point);
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}
