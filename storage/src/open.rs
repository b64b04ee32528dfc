//! Opens storage, hands out appends and views, and closes it in order.
//!
//! Called by the composition root; hands appends to the log and views to readers. What is read and started first is in `start`.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use object_store::ObjectStore;
use parking_lot::Mutex;
use prometheus::Registry;
use schemas::Dataset;
use tokio::sync::{Semaphore, mpsc, oneshot};

mod metrics;
mod start;

use crate::{
    Ack, Batch, Env, Error, ErrorKind, Result, Room, Staging, View, Write,
    disk::{Disk, LocalDisk},
    folder::Folder,
    store::{
        Tables,
        spool::{self, Spools},
    },
    ticket::{Slot, Ticket},
    upkeep::{Step, Trim, Upkeep, Upkept},
    wal::{Entry, Log, Segments},
    writer::{Message, Shared},
};

use start::{Found, Started, check_types};
pub(crate) use start::{load_table, writes_of};

/// Settings of storage.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder for the log, and for the tables unless they are elsewhere.
    pub data_dir: PathBuf,
    /// Where the tables are.
    pub tables: Tables,
    /// Tenant whose tables are kept.
    pub tenant: String,
    /// Bytes of head rows of one dataset at which they are committed.
    pub flush_bytes: usize,
    /// Age of the oldest head row at which it is committed, milliseconds.
    pub flush_age_ms: i64,
    /// Bytes that appended rows may take in queues and heads together; appends beyond are refused.
    pub head_bytes_max: usize,
    /// Size of a log segment, bytes.
    pub wal_segment_bytes: u64,
    /// Are files merged, dropped and deleted in the background?
    pub upkeep: bool,
    /// Days that rows of a dataset are kept, where that is not as the dataset says.
    pub retention_days: BTreeMap<String, u32>,
}

/// Appends under way at once. Every inbox has this many places, so that handing on never waits.
const APPENDS_MAX: usize = 4096;
/// How long an append waits for room before it is refused.
const ROOM_WAIT: Duration = Duration::from_millis(1500);
/// Share of the head's budget that appends may hold before they are visible.
const QUEUED_PERCENT: usize = 25;

/// The open storage of a process. Cheap to clone.
#[derive(Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    store: Arc<dyn ObjectStore>,
    spools: Spools,
    views: HashMap<&'static str, Slot>,
    writers: Mutex<HashMap<&'static str, mpsc::Sender<Message>>>,
    /// Gone once storage closes.
    log: Mutex<Option<mpsc::Sender<Entry>>>,
    log_thread: Mutex<Option<JoinHandle<()>>>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    datasets: Vec<&'static Dataset>,
    tenant: String,
    upkeep: tokio::sync::Mutex<Upkeep>,
    /// Rules by which rows go early, once somebody knows them.
    trim: Mutex<Option<Arc<dyn Trim>>>,
    upkeep_task: Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// Storage closes: what could take long ends early.
    stopping: Arc<AtomicBool>,
    generation: Arc<AtomicU64>,
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: u32,
    /// Held for the life of the process: the lock on the folder.
    _folder: Folder,
}

/// What tests put in the place of the machine.
pub(crate) struct Parts {
    pub disk: Arc<dyn Disk>,
    /// Where tables are, if not in the folder.
    pub store: Option<Arc<dyn ObjectStore>>,
    /// The spool before that store.
    pub spool: Option<spool::Settings>,
}

impl Storage {
    /// Opens the data folder, recovers the log into the heads, and starts the writers of `datasets`.
    ///
    /// # Errors
    /// `Fenced` if another process has the folder, `Invalid` if another version wrote it, `Corrupt` if the log or a table is
    /// damaged.
    pub async fn open(config: Config, datasets: Vec<&'static Dataset>, env: Env, registry: &Registry) -> Result<Self> {
        let parts = Parts { disk: Arc::new(LocalDisk), store: None, spool: None };
        Self::open_with(config, datasets, env, registry, parts).await
    }

    pub(crate) async fn open_with(
        config: Config,
        datasets: Vec<&'static Dataset>,
        env: Env,
        registry: &Registry,
        parts: Parts,
    ) -> Result<Self> {
        check_types(&datasets)?;
        let disk = Arc::clone(&parts.disk);
        let Found { folder, store, spools, failure, source, tables, mut recovered } =
            Found::read(&config, &datasets, &env, registry, parts).await?;
        let (wal_metrics, writer_metrics, upkeep_metrics) = metrics::register(registry, &env)?;
        let shared = Arc::new(Shared {
            env: env.clone(),
            source: Arc::clone(&source),
            segments: Arc::new(Segments::of(&recovered)),
            disk: Arc::clone(&disk),
            committed: Mutex::default(),
            head_bytes: AtomicUsize::new(0),
            head_bytes_max: config.head_bytes_max,
            flush_bytes: config.flush_bytes,
            flush_age_ms: config.flush_age_ms,
            moment: Arc::default(),
            failure,
            metrics: writer_metrics,
        });
        spools.start();

        let mut started = Started::default();
        let next_lsn = started.start_all(tables, &mut recovered, &shared).await?;
        spools.begin();
        let (log, entries) = mpsc::channel(APPENDS_MAX);
        let generation = Arc::new(AtomicU64::new(0));
        let thread = Log {
            disk,
            dir: folder.wal_dir(),
            id: folder.log,
            next_lsn,
            segment_bytes: config.wal_segment_bytes,
            writers: started.writers.clone(),
            segments: Arc::clone(&shared.segments),
            clock: env.clock.clone(),
            probe: env.probe.clone(),
            metrics: wal_metrics,
            failure: Arc::clone(&shared.failure),
            generation: Arc::clone(&generation),
        };
        let thread = std::thread::Builder::new().name("wal".into()).spawn(move || thread.run(entries))?;
        let bytes_max = u32::try_from(config.head_bytes_max / 100 * QUEUED_PERCENT).unwrap_or(u32::MAX).max(1);
        let storage = Self {
            inner: Arc::new(Inner {
                shared,
                store,
                spools,
                views: started.views,
                writers: Mutex::new(started.writers),
                log: Mutex::new(Some(log)),
                log_thread: Mutex::new(Some(thread)),
                tasks: Mutex::new(started.tasks),
                datasets,
                tenant: config.tenant,
                upkeep: tokio::sync::Mutex::new(Upkeep::new(upkeep_metrics, config.retention_days)),
                trim: Mutex::default(),
                upkeep_task: Mutex::default(),
                stopping: Arc::default(),
                generation,
                places: Arc::new(Semaphore::new(APPENDS_MAX)),
                bytes: Arc::new(Semaphore::new(bytes_max as usize)),
                bytes_max,
                _folder: folder,
            }),
        };
        if config.upkeep {
            *storage.inner.upkeep_task.lock() = Some(tokio::spawn(Upkeep::run(storage.clone())));
        }
        Ok(storage)
    }

    /// Reserves room for an append of about `bytes`; waits a moment for it.
    ///
    /// # Errors
    /// `Overloaded` if there is none, `Unavailable`, `Fenced` or `Corrupt` if storage takes no writes.
    pub async fn reserve(&self, bytes: usize) -> Result<Room> {
        self.healthy()?;
        let inner = &self.inner;
        // What is larger than all room there is takes all of it.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(inner.bytes_max);
        let room = async {
            while inner.shared.head_bytes.load(Ordering::Relaxed) >= inner.shared.head_bytes_max {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let place = Arc::clone(&inner.places).acquire_owned().await.ok()?;
            let bytes = Arc::clone(&inner.bytes).acquire_many_owned(bytes).await.ok()?;
            Some(Room { _place: place, _bytes: bytes })
        };
        match tokio::time::timeout(ROOM_WAIT, room).await {
            Ok(Some(room)) => Ok(room),
            Ok(None) => Err(closed()),
            Err(_) => Err(Error::new(
                ErrorKind::Overloaded,
                format!(
                    "rows come faster than they are committed: send slower, or raise `memory`, head_bytes={} head_bytes_max={}",
                    inner.shared.head_bytes.load(Ordering::Relaxed),
                    inner.shared.head_bytes_max
                ),
            )),
        }
    }

    /// Hands batches to the log as one record: all of them become durable and visible, or none. Does not block, so the
    /// caller may hold the lock that ordered the batches. An append without rows is a barrier: its ack resolves when
    /// everything appended before it is durable and visible. A delete is an append of its own; a replacement has others beside it, but
    /// none for its dataset.
    pub fn append(&self, room: Room, batches: Vec<Batch>) -> Ack {
        self.append_in(self.generation(), room, batches)
    }

    /// A number that changes when the log refuses appends that it was handed. Whoever remembers what it appended forgets it then
    /// and looks what is in the views.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }

    /// As [`Storage::append`], by who last looked at the views in this generation. Refused if another has begun.
    pub fn append_in(&self, generation: u64, room: Room, batches: Vec<Batch>) -> Ack {
        let replaces = batches.iter().any(|batch| matches!(batch.write, Write::Replace(_)));
        let moment = replaces.then(|| Arc::clone(&self.inner.shared.moment));
        let (ticket, ack) = Ticket::new(room, moment);
        if let Err(error) = self.check_datasets(&batches).and_then(|()| check_company(&batches)) {
            ticket.fail(error);
            return ack;
        }
        let sent = match &*self.inner.log.lock() {
            // The room holds a place in this queue.
            Some(log) => log.try_send(Entry { generation, batches, ticket: Arc::clone(&ticket) }).is_ok(),
            None => false,
        };
        if !sent {
            ticket.fail(closed());
        }
        ack
    }

    fn check_datasets(&self, batches: &[Batch]) -> Result<()> {
        match batches.iter().find(|batch| !self.inner.views.contains_key(batch.dataset.name)) {
            None => Ok(()),
            Some(batch) => {
                let message = format!("storage was opened without a dataset, dataset={}", batch.dataset.name);
                Err(Error::new(ErrorKind::Internal, message))
            }
        }
    }

    /// Begins files that are to take the place of rows of a dataset that is partitioned by columns.
    pub fn stage(&self, dataset: &'static Dataset) -> Staging {
        Staging::new(self.clone(), dataset)
    }

    /// The newest views of datasets, all of one moment: what was replaced in several of them by one append is in all or in none.
    #[must_use]
    pub fn views(&self, datasets: &[&'static Dataset]) -> Vec<Arc<View>> {
        let _moment = self.inner.shared.moment.read();
        datasets.iter().map(|dataset| self.view(dataset)).collect()
    }

    /// The newest view of a dataset; empty if storage was opened without it.
    #[must_use]
    pub fn view(&self, dataset: &'static Dataset) -> Arc<View> {
        self.inner
            .views
            .get(dataset.name)
            .map_or_else(|| Arc::new(View::empty(dataset)), |view| Arc::clone(&view.read()))
    }

    /// The store that holds the files of views.
    #[must_use]
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.store)
    }

    /// Commits all head rows; returns when they are in files.
    ///
    /// # Errors
    /// Those of the commits.
    pub async fn flush(&self) -> Result<()> {
        let names: Vec<&'static str> = self.inner.views.keys().copied().collect();
        let flushes = names.into_iter().map(|name| self.ask(name, Message::Flush));
        futures::future::join_all(flushes).await.into_iter().collect()
    }

    /// Merges what can be merged and drops what is past its retention, now; tells `watch` of each step. Waits for upkeep that is
    /// under way.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer or storage closes, `Corrupt` if a file cannot be read.
    pub async fn compact(&self, mut watch: impl FnMut(Step) + Send) -> Result<Upkept> {
        let mut upkeep = self.upkeep().await;
        let mut upkept = upkeep.work(self, true, &mut watch).await?;
        upkept.files_deleted = upkeep.sweep(self).await?;
        Ok(upkept)
    }

    /// Upkeep, once nobody else is at it.
    pub(crate) async fn upkeep(&self) -> tokio::sync::MutexGuard<'_, Upkeep> {
        self.inner.upkeep.lock().await
    }

    pub(crate) fn trim(&self) -> &Mutex<Option<Arc<dyn Trim>>> {
        &self.inner.trim
    }

    pub(crate) fn head_bytes_max(&self) -> usize {
        self.inner.shared.head_bytes_max
    }

    pub(crate) fn stopping(&self) -> &Arc<AtomicBool> {
        &self.inner.stopping
    }

    pub(crate) fn spools(&self) -> &Spools {
        &self.inner.spools
    }

    pub(crate) fn datasets(&self) -> Vec<&'static Dataset> {
        self.inner.datasets.clone()
    }

    pub(crate) fn tenant(&self) -> &str {
        &self.inner.tenant
    }

    pub(crate) fn env(&self) -> &Env {
        &self.inner.shared.env
    }

    /// Why writes are refused, if they are.
    ///
    /// # Errors
    /// The state that refuses writes.
    pub fn healthy(&self) -> Result<()> {
        self.inner.shared.failure.check()?;
        match &*self.inner.log.lock() {
            Some(log) if !log.is_closed() => Ok(()),
            _ => Err(closed()),
        }
    }

    /// Drains, commits and closes. Appends after this are refused.
    ///
    /// # Errors
    /// Those of the last commits; what is not committed stays in the log.
    pub async fn close(&self) -> Result<()> {
        self.inner.stopping.store(true, Ordering::Relaxed);
        // Who knows the rules may hold storage.
        drop(self.inner.trim.lock().take());
        let upkeep = self.inner.upkeep_task.lock().take();
        if let Some(task) = upkeep {
            task.abort();
            // What it was doing on other threads ends by itself, and its files are nobody's.
            let _ = task.await;
        }
        drop(self.inner.log.lock().take());
        let thread = self.inner.log_thread.lock().take();
        if let Some(thread) = thread {
            // The thread ends when it has handed on what was queued.
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                return Err(Error::new(ErrorKind::Internal, "the log's thread panicked"));
            }
        }
        let flushed = self.flush().await;
        self.inner.writers.lock().clear();
        self.inner.spools.stop();
        let tasks = std::mem::take(&mut *self.inner.tasks.lock());
        for task in tasks {
            if task.await.is_err() {
                return Err(Error::new(ErrorKind::Internal, "a writer panicked"));
            }
        }
        flushed
    }

    /// Tells a writer something that has no answer.
    pub(crate) async fn tell(&self, dataset: &str, message: Message) -> Result<()> {
        let writer = self.inner.writers.lock().get(dataset).cloned().ok_or_else(closed)?;
        writer.send(message).await.map_err(|_| closed())
    }

    /// Asks a writer something.
    pub(crate) async fn ask<T>(
        &self,
        dataset: &str,
        message: impl FnOnce(oneshot::Sender<Result<T>>) -> Message,
    ) -> Result<T> {
        let writer = self.inner.writers.lock().get(dataset).cloned().ok_or_else(closed)?;
        let (answer, answered) = oneshot::channel();
        writer.send(message(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

/// May these batches be one append? A delete and a replacement commit what came before them with a position before theirs, so their
/// datasets have nothing else of it.
fn check_company(batches: &[Batch]) -> Result<()> {
    let alone = |batch: &Batch| match &batch.write {
        Write::Append(..) => true,
        Write::Delete(_) => batches.len() == 1,
        Write::Replace(_) => batches.iter().filter(|other| other.dataset.name == batch.dataset.name).count() == 1,
    };
    if batches.iter().all(alone) {
        return Ok(());
    }
    let message = "a delete must be an append of its own, and a replacement the only batch for its dataset";
    Err(Error::new(ErrorKind::Invalid, message))
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is stopping and takes no writes; send it again in a moment")
}
