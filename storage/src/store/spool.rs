//! A bucket behind a spool: what the bucket does not take waits on the local disk and is uploaded later.
//!
//! Stands between the cache and the requests to a bucket. A put that fails as a bucket does that is away, for some seconds, is
//! written to the data folder ([`kept`]) and answered as done; so are all puts of that root until the last one of those is in the
//! bucket, uploaded in their order ([`upload`]), so that files are there before the commit that names them. Reads and lists see
//! what waits over what is in the bucket.
//!
//! Invariants: who puts sees the bucket as if the put had reached it; nothing is deleted from a bucket while anything waits for it;
//! what waits is removed only when it is in the bucket. Beyond the bounds a put fails, and who puts tries again.
//! Not here: who else may commit to a table, which `delta` and the order of uploads settle. Why: decision 0009.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use hashbrown::HashMap;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use crate::{Probe, error::Failure};

mod kept;
mod opening;
mod upload;

use kept::{Entry, Kept};
pub(crate) use opening::{Opening, Side};

const STORE: &str = "spool";

/// How much waits, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Most bytes that wait for all buckets together; 0 for none.
    pub bytes_max: u64,
    /// Bytes that are left free on the disk.
    pub free_bytes_min: u64,
    /// How long a bucket may fail before it counts as away.
    pub patience: Duration,
    /// First pause between tries, and the longest.
    pub pauses: (Duration, Duration),
}

/// A bucket behind a spool.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: String,
    /// The bucket, asked with the patience of a reader.
    bucket: Arc<dyn ObjectStore>,
    /// The same, giving up soon.
    puts: Arc<dyn ObjectStore>,
    role: Role,
    waiting: Mutex<Waiting>,
    /// Told when something begins to wait.
    came: Notify,
}

#[derive(Debug)]
enum Role {
    Writer(Writer),
    /// Beside a server: the folder is looked at anew with every listing.
    Reader(PathBuf),
}

#[derive(Debug)]
struct Writer {
    kept: Arc<Kept>,
    settings: Settings,
    /// Does more than what follows something that waits?
    begins: AtomicBool,
    /// Why storage takes no writes, once it does not.
    failure: Arc<Failure>,
    probe: Probe,
}

impl Writer {
    fn takes(&self) -> bool {
        self.kept.takes() && self.begins.load(Ordering::Relaxed)
    }
}

/// What waits for the bucket, by number and by path. A path that was put twice is the later one's.
#[derive(Debug, Default)]
struct Waiting {
    entries: BTreeMap<u64, Arc<Entry>>,
    newest: HashMap<Path, u64>,
}

/// The spools of a process. Dropping them ends the uploads.
#[derive(Debug, Default)]
pub(crate) struct Spools {
    spools: Vec<Spool>,
    /// Number of the spool of a dataset's root, where the root is not that of the rest; none for the folder.
    by_dataset: HashMap<String, Option<usize>>,
    rest: Option<usize>,
    tasks: Mutex<JoinSet<()>>,
}

impl Spools {
    /// Does anything of a dataset's root wait for its bucket?
    pub(crate) fn waits(&self, dataset: &str) -> bool {
        let spool = self.by_dataset.get(dataset).copied().unwrap_or(self.rest);
        spool.and_then(|at| self.spools.get(at)).is_some_and(Spool::waits)
    }

    /// Begins to upload. Called when the tables were read: not before it is sure that the buckets are those of the folder.
    pub(crate) fn start(&self) {
        let mut tasks = self.tasks.lock();
        for spool in &self.spools {
            tasks.spawn(upload::run(spool.clone()));
        }
    }

    /// From now on what finds its bucket away waits. Called when the tables are taken over from earlier writers: a bucket that does
    /// not know it yet would take their commits.
    pub(crate) fn begin(&self) {
        for spool in &self.spools {
            if let Role::Writer(writer) = &spool.inner.role {
                writer.begins.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Ends the uploads. One that was under way is made again at the next start, to the same end.
    pub(crate) fn stop(&self) {
        self.tasks.lock().abort_all();
    }
}

impl Waiting {
    fn insert(&mut self, entry: Arc<Entry>) {
        let newest = self.newest.entry(entry.path.clone()).or_insert(entry.number);
        *newest = entry.number.max(*newest);
        self.entries.insert(entry.number, entry);
    }

    fn remove(&mut self, entry: &Entry) {
        self.entries.remove(&entry.number);
        if self.newest.get(&entry.path) == Some(&entry.number) {
            self.newest.remove(&entry.path);
        }
    }

    fn find(&self, path: &Path) -> Option<Arc<Entry>> {
        self.newest.get(path).and_then(|number| self.entries.get(number)).cloned()
    }

    fn below(&self, prefix: Option<&Path>) -> BTreeMap<Path, ObjectMeta> {
        let below = |entry: &&Arc<Entry>| prefix.is_none_or(|prefix| entry.path.prefix_matches(prefix));
        self.entries.values().filter(below).map(|entry| (entry.path.clone(), entry.meta())).collect()
    }
}

impl Spool {
    fn new(
        root: &str,
        (bucket, puts): (Arc<dyn ObjectStore>, Arc<dyn ObjectStore>),
        role: Role,
        entries: Vec<Entry>,
    ) -> Self {
        let mut waiting = Waiting::default();
        entries.into_iter().for_each(|entry| waiting.insert(Arc::new(entry)));
        let (root, waiting) = (root.to_owned(), Mutex::new(waiting));
        Self { inner: Arc::new(Inner { root, bucket, puts, role, waiting, came: Notify::new() }) }
    }

    /// Does anything wait for the bucket?
    pub(crate) fn waits(&self) -> bool {
        !self.inner.waiting.lock().entries.is_empty()
    }

    /// Puts into the bucket as long as it may only have been disturbed.
    async fn put_now(&self, writer: &Writer, object: &Object) -> Result<PutResult> {
        let until = Instant::now() + writer.settings.patience;
        let (mut pause, pause_max) = writer.settings.pauses;
        loop {
            let error = match self.inner.puts.put_opts(&object.path, object.payload.clone(), object.options()).await {
                Err(error) if away(&error) => error,
                other => return other,
            };
            if !writer.takes() || Instant::now() >= until || self.waits() {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(pause_max);
        }
    }

    /// Puts into the folder. `cause`: why the bucket did not take it, if it was asked.
    async fn put_later(&self, object: Object, cause: Option<Error>) -> Result<PutResult> {
        let spool = self.clone();
        // On a task of its own to the end: a file that is written and not known would be uploaded by the next process alone.
        let written = tokio::task::spawn_blocking(move || spool.keep(&object, cause)).await;
        written.map_err(generic)??;
        Ok(PutResult { e_tag: None, version: None })
    }

    fn keep(&self, object: &Object, cause: Option<Error>) -> Result<()> {
        let Role::Writer(writer) = &self.inner.role else { return Err(generic("it is only read")) };
        let (root, path) = (self.inner.root.as_str(), &object.path);
        if object.create && self.inner.waiting.lock().find(path).is_some() {
            let source = "it waits in the spool".into();
            return Err(Error::AlreadyExists { path: path.to_string(), source });
        }
        let entry = writer.kept.write(root, path, object.create, &object.payload).map_err(|error| {
            writer.kept.metrics.refused_total.with_label_values(&[root]).inc();
            match &cause {
                Some(cause) => generic(format!("{cause}; it cannot wait on the local disk: {error}")),
                None => generic(format!("what waits for the bucket goes first, and there is no more room: {error}")),
            }
        })?;
        writer.probe.reach("spool_written");
        let first = {
            let mut waiting = self.inner.waiting.lock();
            let first = waiting.entries.is_empty();
            waiting.insert(Arc::new(entry));
            first
        };
        self.inner.came.notify_one();
        if first {
            let error = cause.map_or_else(String::new, |error| error.to_string());
            tracing::warn!(root, error, "the bucket is away: what it does not take waits on the local disk");
        }
        Ok(())
    }

    /// The answer to a read of what waits; none if it does no longer.
    async fn read(&self, entry: &Arc<Entry>, options: &GetOptions) -> Result<Option<GetResult>> {
        let meta = entry.meta();
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(entry.size).map_err(generic)?,
            None => 0..entry.size,
        };
        let read = if options.head { 0..0 } else { range.clone() };
        let Some(bytes) = self.bytes(entry, read).await? else { return Ok(None) };
        let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
        Ok(Some(GetResult { payload, meta, range, attributes: Attributes::default() }))
    }

    async fn bytes(&self, entry: &Arc<Entry>, range: Range<u64>) -> Result<Option<Bytes>> {
        let (folder, entry) = (self.inner.folder().clone(), Arc::clone(entry));
        let read = move || {
            kept::read(&folder, &entry, range).map_err(|error| generic(format!("{error}, path={}", folder.display())))
        };
        tokio::task::spawn_blocking(read).await.map_err(generic)?
    }

    /// What waits below a prefix; who reads beside a server looks anew.
    fn below(&self, prefix: Option<&Path>) -> Result<BTreeMap<Path, ObjectMeta>> {
        let mut waiting = self.inner.waiting.lock();
        if let Role::Reader(folder) = &self.inner.role {
            *waiting = Waiting::default();
            let found = kept::scan(folder).map_err(|error| generic(error.chain()))?;
            let ours = found.into_iter().filter(|entry| entry.root == self.inner.root);
            ours.for_each(|entry| waiting.insert(Arc::new(entry)));
        }
        Ok(waiting.below(prefix))
    }
}

impl Inner {
    fn folder(&self) -> &PathBuf {
        match &self.role {
            Role::Writer(writer) => &writer.kept.folder,
            Role::Reader(folder) => folder,
        }
    }
}

/// What is put.
struct Object {
    path: Path,
    payload: PutPayload,
    create: bool,
}

impl Object {
    fn options(&self) -> PutOptions {
        let mode = if self.create { PutMode::Create } else { PutMode::Overwrite };
        PutOptions { mode, ..PutOptions::default() }
    }
}

/// Does a bucket fail like this that is away? A refusal (no rights, no such bucket) waits for whoever runs the server instead, as it
/// is most likely one of its settings.
fn away(error: &Error) -> bool {
    matches!(error, Error::Generic { .. })
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: STORE, source: source.into() }
}

impl fmt::Display for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.bucket.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Spool {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let create = match options.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            // Nobody here asks for it, and what it compares with may wait.
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "conditional update".into(),
                    implementer: STORE.into(),
                });
            }
        };
        let Role::Writer(writer) = &self.inner.role else {
            return self.inner.bucket.put_opts(location, payload, options).await;
        };
        let object = Object { path: location.clone(), payload, create };
        let mut cause = None;
        if !self.waits() {
            match self.put_now(writer, &object).await {
                Err(error) if away(&error) && (writer.takes() || self.waits()) => cause = Some(error),
                other => return other,
            }
        }
        self.put_later(object, cause).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if self.waits() {
            return Err(generic("what waits for the bucket goes first; put it as a whole"));
        }
        self.inner.puts.put_multipart_opts(location, options).await
    }

    // `get_ranges` is the trait's own, which merges near ranges and calls this.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let waiting = self.inner.waiting.lock().find(location);
        if let Some(entry) = waiting
            && let Some(found) = self.read(&entry, &options).await?
        {
            return Ok(found);
        }
        self.inner.bucket.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.waits() {
            // The commits that took a file out of its table may be among what waits.
            let later = |_| Err(generic("nothing is deleted while anything waits for the bucket"));
            return locations.map(move |path| path.and_then(later)).boxed();
        }
        self.inner.bucket.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // First what waits: what is uploaded meanwhile is seen here or there.
        let waiting = match self.below(prefix) {
            Ok(waiting) => waiting,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let known: HashSet<Path> = waiting.keys().cloned().collect();
        let others = move |meta: &ObjectMeta| std::future::ready(!known.contains(&meta.location));
        let bucket = self.inner.bucket.list(prefix).try_filter(others);
        stream::iter(waiting.into_values().map(Ok)).chain(bucket).boxed()
    }

    // `list_with_offset` is the trait's own, which calls `list`.
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let waiting = self.below(prefix)?;
        let mut found = self.inner.bucket.list_with_delimiter(prefix).await?;
        found.objects.retain(|meta| !waiting.contains_key(&meta.location));
        let depth = prefix.map_or(0, |prefix| prefix.parts().count()) + 1;
        for meta in waiting.into_values() {
            if meta.location.parts().count() == depth {
                found.objects.push(meta);
            } else {
                found.common_prefixes.push(Path::from_iter(meta.location.parts().take(depth)));
            }
        }
        found.common_prefixes.sort();
        found.common_prefixes.dedup();
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if self.waits() {
            return Err(generic("what waits for the bucket goes first"));
        }
        self.inner.bucket.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
