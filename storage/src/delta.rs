//! One Delta Lake table: its state, read from the log in one pass, and the commit that moves it on.
//!
//! Owned by the dataset's writer, through which every commit of the table goes. A commit writes `N+1.json` if absent; after an
//! ambiguous answer it reads that version back until it is known whose it is. A version that is not ours means that another
//! process writes the table: fenced, no more writes.
//!
//! Invariants, checked before every commit: a removed or marked file is active; positions never go back.
//! Spec: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md>. Why not the `deltalake` crate: decision 0002.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use schemas::Dataset;
use serde::{Deserialize, Serialize};

use crate::{Clock, DataFile, Env, Error, ErrorKind, Result};

pub(crate) mod action;
mod checkpoint;
pub(crate) mod pin;
mod schema;

use action::{Add, Line, Remove, Txn};
pub(crate) use schema::uuid_text;

/// Transaction id under which each start of a writer leaves its epoch.
const WRITER: &str = "writer/0";
/// Commits between checkpoints, so that opening reads at most this many small files.
const CHECKPOINT_COMMITS: i64 = 100;
/// Version of what is written below the table root, checked at start.
const FORMAT: &str = "1";

/// A table and its newest state.
#[derive(Debug)]
pub(crate) struct Table {
    pub dataset: &'static Dataset,
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// Newest version; `None` while the table does not exist.
    pub version: Option<i64>,
    files: BTreeMap<String, ActiveFile>,
    removes: BTreeMap<String, Removed>,
    positions: BTreeMap<Arc<str>, i64>,
    /// Lines of protocol and metadata, as they stand in checkpoints.
    preamble: Vec<Line>,
    epoch: i64,
    /// Version of the newest checkpoint that was begun.
    checkpointed: i64,
}

#[derive(Debug)]
struct ActiveFile {
    add: Add,
    file: Arc<DataFile>,
    /// As it was before it was marked, while views hold it so.
    earlier: Vec<Arc<DataFile>>,
}

/// A file that is no longer active, while its bytes may be there.
#[derive(Debug)]
struct Removed {
    remove: Remove,
    /// Shared with the views that still read it; none if an earlier process removed it.
    files: Vec<Arc<DataFile>>,
}

/// Where the newest checkpoint is, for readers that look; for us, whether its bytes are right.
#[derive(Debug, Serialize, Deserialize)]
struct LastCheckpoint {
    version: i64,
    size: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crc32c: Option<u32>,
}

/// What a commit changes.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Delta's name of the operation.
    pub operation: &'static str,
    /// Do the added files hold the rows of the removed ones, and no others?
    pub rearranges: bool,
    pub adds: Vec<Add>,
    /// Log paths of files to remove.
    pub removes: Vec<String>,
    /// Files that stay and get a mark, by log path.
    pub marks: BTreeMap<String, u64>,
    /// Positions the table contains after the commit.
    pub positions: BTreeMap<Arc<str>, i64>,
}

impl Table {
    /// A table that does not exist.
    fn empty(store: Arc<dyn ObjectStore>, root: Path, dataset: &'static Dataset) -> Self {
        Self {
            dataset,
            store,
            root,
            version: None,
            files: BTreeMap::new(),
            removes: BTreeMap::new(),
            positions: BTreeMap::new(),
            preamble: Vec::new(),
            epoch: 0,
            checkpointed: 0,
        }
    }

    /// Reads the table's newest state; a table that does not exist is empty.
    pub(crate) async fn load(store: Arc<dyn ObjectStore>, root: Path, dataset: &'static Dataset) -> Result<Self> {
        let mut table = Self::empty(store, root, dataset);
        let (mut checkpoints, last) = table.list_log().await?;
        // A listing may lag behind: what it leaves out is found by its name, and what it shows may be gone.
        let pointer = table.last_checkpoint().await?;
        checkpoints.extend(pointer.as_ref().map(|pointer| pointer.version));
        let mut next = 0;
        while let Some(version) = checkpoints.pop_last() {
            match table.read_checkpoint(version, pointer.as_ref()).await {
                Ok(true) => {
                    next = version + 1;
                    break;
                }
                Ok(false) => {}
                // An older one and the commits after it say the same, as long as they are kept.
                Err(error) if error.kind == ErrorKind::Corrupt && !checkpoints.is_empty() => {
                    tracing::error!(error = %error.chain(), "a checkpoint is damaged; reading an older one");
                }
                Err(error) => return Err(error),
            }
        }
        // Ends, as no writer commits as fast as its commits are read.
        while table.read_commit(next).await? {
            next += 1;
        }
        if let Some(last) = last.filter(|last| *last >= next) {
            return Err(table.corrupt(&format!("a commit is missing, version={next} last={last}")));
        }
        table.check_format()?;
        Ok(table)
    }

    /// Active files, oldest `seq` first.
    pub(crate) fn files(&self) -> Vec<Arc<DataFile>> {
        let mut files: Vec<_> = self.files.values().map(|active| Arc::clone(&active.file)).collect();
        files.sort_by_key(|file| file.seq);
        files
    }

    /// Log paths and files that satisfy a condition.
    pub(crate) fn files_where(&self, keep: impl Fn(&DataFile) -> bool) -> Vec<(String, Arc<DataFile>)> {
        self.files
            .iter()
            .filter(|(_, active)| keep(&active.file))
            .map(|(path, active)| (path.clone(), Arc::clone(&active.file)))
            .collect()
    }

    /// Committed positions by source, our own writer epoch left out.
    pub(crate) fn positions(&self) -> BTreeMap<Arc<str>, i64> {
        self.positions.clone()
    }

    /// Committed position of a source; 0 if none.
    pub(crate) fn position(&self, source: &str) -> i64 {
        self.positions.get(source).copied().unwrap_or(0)
    }

    /// The path below the store's root of a file whose log path is `path`.
    pub(crate) fn file_path(&self, path: &str) -> Path {
        Path::from(format!("{}/{path}", self.root))
    }

    /// Folder of the table below the store's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// `seq` of rows the next commit writes; late ones come after those in order.
    pub(crate) fn next_seq(&self, lane: crate::Lane) -> i64 {
        let version = self.version.map_or(0, |version| version + 1);
        version * 2 + i64::from(lane == crate::Lane::Late)
    }

    /// Takes the table over from earlier writers, whose commits fail from here on.
    pub(crate) async fn fence(&mut self, env: &Env) -> Result<()> {
        self.epoch += 1;
        if self.version.is_some() {
            self.commit(Change { operation: "STREAMGAUGE START", ..Change::default() }, env).await?;
        }
        Ok(())
    }

    /// Commits a change as the next version. Retries until the outcome is known, however long the store is away.
    pub(crate) async fn commit(&mut self, change: Change, env: &Env) -> Result<()> {
        self.check(&change)?;
        let version = self.version.map_or(0, |version| version + 1);
        let lines = self.lines(change, env)?;
        let body = action::encode(&lines).map_err(|error| internal("a commit cannot be encoded", error))?;
        self.put_commit(version, body.into(), &env.clock).await?;
        for line in lines {
            self.apply(line, version)?;
        }
        self.version = Some(version);
        Ok(())
    }

    /// Are all these log paths active?
    pub(crate) fn has_all<'a>(&self, mut paths: impl Iterator<Item = &'a String>) -> bool {
        paths.all(|path| self.files.contains_key(path))
    }

    /// Log paths of files removed before a time that no view reads any more.
    pub(crate) fn garbage(&self, before_ms: i64) -> Vec<String> {
        let unread = |file: &Arc<DataFile>| Arc::strong_count(file) == 1;
        let old = |removed: &Removed| removed.remove.deletion_timestamp.is_none_or(|ms| ms < before_ms);
        self.removes
            .iter()
            .filter(|(_, removed)| old(removed) && removed.files.iter().all(unread))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Forgets removed files, whose bytes are gone.
    pub(crate) fn forget(&mut self, paths: &[String]) {
        for path in paths {
            self.removes.remove(path);
        }
    }

    /// Those of some log paths that the table knows nothing of.
    pub(crate) fn unknown(&self, paths: Vec<String>) -> Vec<String> {
        paths.into_iter().filter(|path| !self.files.contains_key(path) && !self.removes.contains_key(path)).collect()
    }

    fn check(&self, change: &Change) -> Result<()> {
        if let Some(path) =
            change.removes.iter().chain(change.marks.keys()).find(|path| !self.files.contains_key(*path))
        {
            let message = format!("commit removes or marks a file that is not active, path={path}");
            return Err(Error::new(ErrorKind::Internal, message));
        }
        if let Some((source, position)) = change.positions.iter().find(|(source, new)| **new < self.position(source)) {
            let message = format!("commit would take a position back, source={source} position={position}");
            return Err(Error::new(ErrorKind::Internal, message));
        }
        Ok(())
    }

    fn lines(&self, change: Change, env: &Env) -> Result<Vec<Line>> {
        let now_ms = env.clock.now_ms();
        let blind = change.removes.is_empty() && change.marks.is_empty();
        let data_change = !change.rearranges;
        let mut lines = vec![Line::commit_info(change.operation, blind, now_ms, env.random.bits())];
        if self.version.is_none() {
            lines.extend(schema::preamble(self.dataset, FORMAT, env.random.bits(), now_ms)?);
        }
        let txn = |app_id: &str, version: i64| Line {
            txn: Some(Txn { app_id: app_id.to_owned(), version, last_updated: Some(now_ms) }),
            ..Line::default()
        };
        lines.push(txn(WRITER, self.epoch));
        lines.extend(change.positions.iter().map(|(source, position)| txn(source, *position)));
        lines.extend(change.removes.iter().filter_map(|path| {
            let add = &self.files.get(path)?.add;
            Some(Line { remove: Some(Remove::of(add, data_change, now_ms)), ..Line::default() })
        }));
        lines.extend(change.marks.iter().filter_map(|(path, mark)| {
            Some(Line { add: Some(self.files.get(path)?.add.marked(*mark)), ..Line::default() })
        }));
        lines.extend(
            change.adds.into_iter().map(|add| Line { add: Some(Add { data_change, ..add }), ..Line::default() }),
        );
        Ok(lines)
    }

    /// Writes `version` if absent. An error that leaves open whether it was written is settled by reading it back.
    async fn put_commit(&self, version: i64, body: Bytes, clock: &Clock) -> Result<()> {
        let path = self.log_path(&format!("{version:020}.json"));
        let mut backoff = Backoff::default();
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(&path, PutPayload::from_bytes(body.clone()), options).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    tracing::warn!(dataset = self.dataset.name, version, %error, "commit not confirmed; reading it back");
                }
            }
            // A missing version may still be on its way, so the same bytes are put again: whichever lands first is ours.
            match self.store.get(&path).await {
                Ok(found) => match found.bytes().await {
                    Ok(found) if found == body => return Ok(()),
                    Ok(found) => return Err(self.fenced(version, &found)),
                    Err(error) => {
                        tracing::warn!(dataset = self.dataset.name, version, %error, "commit not readable yet")
                    }
                },
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(dataset = self.dataset.name, version, %error, "commit not readable yet"),
            }
            backoff.wait(clock).await;
        }
    }

    fn fenced(&self, version: i64, found: &[u8]) -> Error {
        let engine = action::parse(found)
            .ok()
            .and_then(|lines| lines.iter().find_map(|line| line.engine_info()))
            .unwrap_or_else(|| "unknown".to_owned());
        Error::new(
            ErrorKind::Fenced,
            format!(
                "another process committed to this table, so this one writes no more; run one server per data folder and \
                 restart this one, dataset={} version={version} engine={engine}",
                self.dataset.name
            ),
        )
    }

    /// The work of writing a checkpoint of this version, if one is due. Commits go on meanwhile, and stand without it: a reader
    /// then reads more small files.
    pub(crate) fn checkpoint(&mut self, now_ms: i64) -> Option<impl Future<Output = ()> + Send + use<>> {
        let version = self.version.filter(|version| version - self.checkpointed >= CHECKPOINT_COMMITS)?;
        self.checkpointed = version;
        let lines = self.state(now_ms);
        let (store, name) = (Arc::clone(&self.store), self.dataset.name);
        let path = self.log_path(&format!("{version:020}.checkpoint.parquet"));
        let pointer = self.log_path("_last_checkpoint");
        Some(async move {
            let write = async {
                let count = lines.len();
                let bytes = crate::commit::blocking(move || checkpoint::write(&lines)).await?;
                let last = LastCheckpoint { version, size: count, crc32c: Some(crc32c::crc32c(&bytes)) };
                let text =
                    serde_json::to_vec(&last).map_err(|error| internal("a checkpoint cannot be encoded", error))?;
                store.put(&path, bytes.into()).await?;
                store.put(&pointer, text.into()).await?;
                Ok::<_, Error>(())
            };
            if let Err(error) = write.await {
                tracing::warn!(dataset = name, error = %error.chain(), "checkpoint failed; the next one comes later");
            }
        })
    }

    /// The lines that make up the table, and what was removed lately.
    fn state(&self, now_ms: i64) -> Vec<Line> {
        // Removed files older than any vacuum's delay need no record.
        const REMOVES_KEPT_MS: i64 = 7 * 86_400_000;
        let since_ms = now_ms - REMOVES_KEPT_MS;
        let mut lines = self.standing();
        let recent = self.removes.values().map(|removed| &removed.remove);
        let recent = recent.filter(|remove| remove.deletion_timestamp.is_none_or(|ms| ms >= since_ms));
        lines.extend(recent.map(|remove| Line { remove: Some(remove.clone()), ..Line::default() }));
        lines
    }

    /// The lines that make up the table.
    fn standing(&self) -> Vec<Line> {
        let mut lines = self.preamble.clone();
        let txn = |(app_id, version): (&str, i64)| Line {
            txn: Some(Txn { app_id: app_id.to_owned(), version, last_updated: None }),
            ..Line::default()
        };
        lines.push(txn((WRITER, self.epoch)));
        lines.extend(self.positions.iter().map(|(source, position)| txn((source, *position))));
        lines.extend(self.files.values().map(|active| Line { add: Some(active.add.clone()), ..Line::default() }));
        lines
    }

    /// What stands in for the newest checkpoint's name, if there is one.
    async fn last_checkpoint(&self) -> Result<Option<LastCheckpoint>> {
        let found = self.find(&self.log_path("_last_checkpoint")).await?;
        Ok(found.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Is the checkpoint of this version there? Then the table is as it says.
    async fn read_checkpoint(&mut self, version: i64, pointer: Option<&LastCheckpoint>) -> Result<bool> {
        let path = self.log_path(&format!("{version:020}.checkpoint.parquet"));
        let Some(bytes) = self.find(&path).await? else { return Ok(false) };
        let sum = pointer.filter(|pointer| pointer.version == version).and_then(|pointer| pointer.crc32c);
        if sum.is_some_and(|sum| sum != crc32c::crc32c(&bytes)) {
            return Err(self.corrupt(&format!("its bytes are not those that were written, file={path}")));
        }
        let lines = checkpoint::read(bytes)
            .map_err(|error| self.corrupt(&format!("a checkpoint is not readable, file={path}")).caused_by(error))?;
        for line in lines {
            self.apply(line, version)?;
        }
        self.version = Some(version);
        self.checkpointed = version;
        Ok(true)
    }

    /// Checkpoints, and the newest commit.
    async fn list_log(&self) -> Result<(BTreeSet<i64>, Option<i64>)> {
        let mut last = None;
        let mut checkpoints = BTreeSet::new();
        let mut objects = self.store.list(Some(&Path::from(format!("{}/_delta_log", self.root))));
        while let Some(object) = objects.try_next().await? {
            let Some(name) = object.location.filename() else { continue };
            let number = |text: &str| text.parse::<i64>().ok();
            if let Some(version) = name.strip_suffix(".json").and_then(number) {
                last = last.max(Some(version));
            } else if let Some(version) = name.strip_suffix(".checkpoint.parquet").and_then(number) {
                checkpoints.insert(version);
            }
        }
        Ok((checkpoints, last))
    }

    /// Is the commit of this version there? Then the table moves on to it.
    async fn read_commit(&mut self, version: i64) -> Result<bool> {
        let path = self.log_path(&format!("{version:020}.json"));
        let Some(bytes) = self.find(&path).await? else { return Ok(false) };
        let lines = action::parse(&bytes)
            .map_err(|error| self.corrupt(&format!("a commit is not readable, file={path}")).caused_by(error))?;
        if !action::intact(&bytes, &lines) {
            return Err(self.corrupt(&format!("a commit's bytes are not those that were written, file={path}")));
        }
        for line in lines {
            self.apply(line, version)?;
        }
        self.version = Some(version);
        Ok(true)
    }

    /// An object's bytes; `None` if it is not there.
    async fn find(&self, path: &Path) -> Result<Option<Bytes>> {
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn apply(&mut self, line: Line, version: i64) -> Result<()> {
        if let Some(add) = line.add {
            let file = Arc::new(add.to_file(self.dataset, self.file_path(&add.path), version)?);
            self.removes.remove(&add.path);
            let mut earlier = self.files.remove(&add.path).map(ActiveFile::into_files).unwrap_or_default();
            earlier.retain(|file| Arc::strong_count(file) > 1);
            self.files.insert(add.path.clone(), ActiveFile { add, file, earlier });
        } else if let Some(remove) = line.remove {
            let files = self.files.remove(&remove.path).map(ActiveFile::into_files).unwrap_or_default();
            self.removes.insert(remove.path.clone(), Removed { remove, files });
        } else if let Some(txn) = line.txn {
            if txn.app_id == WRITER {
                self.epoch = self.epoch.max(txn.version);
            } else {
                self.positions.insert(txn.app_id.into(), txn.version);
            }
        } else if line.protocol.is_some() || line.meta_data.is_some() {
            let same = |kept: &Line| kept.protocol.is_some() == line.protocol.is_some();
            self.preamble.retain(|kept| !same(kept));
            self.preamble.push(line);
        }
        Ok(())
    }

    /// Refuses a table that a newer version wrote, or whose columns differ from the dataset's.
    fn check_format(&self) -> Result<()> {
        let Some(meta_data) = self.preamble.iter().find_map(|line| line.meta_data.as_ref()) else {
            return if self.version.is_none() { Ok(()) } else { Err(self.corrupt("the log has no metadata")) };
        };
        let format = meta_data.configuration.get("streamgauge.format").map_or("", String::as_str);
        if format != FORMAT {
            let message = format!(
                "the table has another on-disk format; use the version that wrote it, dataset={} found={format:?} known={FORMAT:?}",
                self.dataset.name
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if !schema::same_columns(&meta_data.schema_string, &schema::schema_string(self.dataset)?) {
            return Err(self.corrupt("the table's columns are not those of the dataset"));
        }
        let newer = |protocol: &action::Protocol| protocol.min_reader_version > 1 || protocol.min_writer_version > 2;
        if self.preamble.iter().filter_map(|line| line.protocol.as_ref()).any(newer) {
            let message = format!("the table was given Delta features this version does not know, table={}", self.root);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(())
    }

    fn log_path(&self, name: &str) -> Path {
        Path::from(format!("{}/_delta_log/{name}", self.root))
    }

    fn corrupt(&self, what: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("delta table is damaged: {what}, table={}", self.root))
    }
}

impl ActiveFile {
    fn into_files(mut self) -> Vec<Arc<DataFile>> {
        self.earlier.push(self.file);
        self.earlier
    }
}

fn internal(what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Internal, what).caused_by(error)
}

/// Waits between attempts: 50 ms, doubling to 5 s.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub(crate) async fn wait(&mut self, clock: &Clock) {
        let millis = 50u64 << self.attempts.min(7);
        self.attempts += 1;
        clock.wait(Duration::from_millis(millis.min(5_000))).await;
    }
}

#[cfg(test)]
mod tests;
