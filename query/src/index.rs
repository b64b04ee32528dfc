//! Series in memory: which of them have which labels, and on which days they were seen.
//!
//! Called by the engine (selectors, names and values of labels) and by the `metrics` view, to narrow what table `series` is asked.
//! Filled by reading that table: the days that are asked for, once, and afterwards only what came since. A label is a number (its
//! *pair* of name and value), a series is a number in the order of discovery, and each pair has the set of series that carry it, so
//! that a selector is answered by uniting and intersecting sets.
//!
//! Invariants: after [`Index::load`] it knows every series that the view has on those days, and perhaps newer ones; a series keeps its
//! number until everything is forgotten at once; its memory is taken from the queries' pool, and if that is too little it is empty and
//! says so, and callers read the table instead.
//! Derived state: nothing here is stored.

mod counts;
mod pairs;
mod postings;
mod select;

use std::{
    collections::{BTreeMap, HashSet},
    ops::RangeInclusive,
    sync::{Arc, Weak},
};

use arrow::{
    array::{ArrayRef, AsArray, MapArray, MapBuilder, MapFieldNames, RecordBatch, StringBuilder, StringViewArray},
    compute::cast,
    datatypes::{DataType, Date32Type, Field, Int64Type},
};
use datafusion::{
    common::{DataFusionError, Result},
    datasource::provider_as_source,
    execution::{
        SendableRecordBatchStream, SessionState,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    logical_expr::{LogicalPlanBuilder, col},
    physical_plan::execute_stream,
};
use futures::StreamExt;
use hashbrown::HashTable;
use object_store::path::Path;
use parking_lot::{RwLock, RwLockReadGuard};
use promql::NAME;
use roaring::RoaringBitmap;
use storage::{Clock, Rows, View};

use crate::table::{DAY_US, Table};

pub use counts::Counts;
pub(crate) use select::NEVER;

use pairs::Pairs;
use postings::Posting;

/// How long the index stays empty after it met the end of its memory: reading days again and again for nothing would take the
/// processor from the queries that read the table instead.
const REST_US: i64 = 60_000_000;

/// Days since 1970, both included.
pub(crate) type Days = RangeInclusive<i32>;

/// Series in memory.
pub(crate) struct Index {
    known: RwLock<Known>,
    /// Held by who reads table `series`; others wait, and find it read.
    loading: tokio::sync::Mutex<Loaded>,
    clock: Clock,
}

/// What was read.
#[derive(Default)]
struct Loaded {
    days: BTreeMap<i32, Day>,
    /// Rows that were not in files yet.
    head: Vec<Weak<Rows>>,
    rests_until_us: i64,
}

#[derive(Default)]
struct Day {
    files: HashSet<Path>,
    /// Version of the table up to which all rows of the day are known.
    through: Option<i64>,
}

/// All that is known. Series and pairs are numbered from zero.
pub(crate) struct Known {
    pairs: Pairs,
    /// By series.
    ids: Vec<i64>,
    /// By series: where its pairs begin in `carried`; the first is its name. One more than there are series.
    starts: Vec<u32>,
    carried: Vec<u32>,
    /// Series by name and id.
    numbers: HashTable<u32>,
    /// By pair.
    postings: Vec<Posting>,
    days: BTreeMap<i32, RoaringBitmap>,
    memory: MemoryReservation,
}

impl Index {
    /// An empty index that takes its memory from the pool of `state`.
    pub(crate) fn new(state: &SessionState, clock: Clock) -> Self {
        let memory = MemoryConsumer::new("index of series").register(&state.runtime_env().memory_pool);
        let known = Known {
            pairs: Pairs::default(),
            ids: Vec::new(),
            starts: vec![0],
            carried: Vec::new(),
            numbers: HashTable::new(),
            postings: Vec::new(),
            days: BTreeMap::new(),
            memory,
        };
        Self { known: RwLock::new(known), loading: tokio::sync::Mutex::default(), clock }
    }

    /// Reads what is not known yet of `days` of table `series`, and gives what is known: as long as it is held, nothing is forgotten.
    /// `None` if the memory does not suffice.
    ///
    /// # Errors
    /// What reading met.
    pub(crate) async fn load(
        &self,
        state: &SessionState,
        table: &Table,
        days: &Days,
    ) -> Result<Option<RwLockReadGuard<'_, Known>>> {
        let mut loaded = self.loading.lock().await;
        let done = self.load_under(&mut loaded, state, table, days).await?;
        // Everything is forgotten by whoever loads, and nobody else does before this has begun to read.
        Ok(done.then(|| self.known.read()))
    }

    /// The same for one day, but only if it was asked for before, or is in memory as a whole. `None` if not.
    ///
    /// # Errors
    /// What reading met.
    pub(crate) async fn load_if_cheap(
        &self,
        state: &SessionState,
        table: &Table,
        day: i32,
    ) -> Result<Option<RwLockReadGuard<'_, Known>>> {
        let mut loaded = self.loading.lock().await;
        let cheap = loaded.days.contains_key(&day) || !table.view().files.iter().any(|file| day_of(file) == Some(day));
        let done = cheap && self.load_under(&mut loaded, state, table, &(day..=day)).await?;
        Ok(done.then(|| self.known.read()))
    }

    async fn load_under(&self, loaded: &mut Loaded, state: &SessionState, table: &Table, days: &Days) -> Result<bool> {
        if self.clock.now_us() < loaded.rests_until_us {
            return Ok(false);
        }
        self.forget_what_went(loaded, table.view());
        match self.read(state, table, loaded, days).await {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) => {
                tracing::warn!(%error, "no memory for the index of series; table `series` is read instead for a minute");
                self.known.write().clear();
                *loaded = Loaded { rests_until_us: self.clock.now_us() + REST_US, ..Loaded::default() };
                Ok(false)
            }
            // Files are noted when all of them was read, so what broke off is read again.
            Err(error) => Err(error),
        }
    }

    /// Days past their retention go; when most series are of no day any more, all is forgotten.
    fn forget_what_went(&self, loaded: &mut Loaded, view: &View) {
        let active: HashSet<&Path> = view.files.iter().map(|file| &file.path).collect();
        let mut gone = Vec::new();
        loaded.days.retain(|day, of_day| {
            let had_files = !of_day.files.is_empty();
            of_day.files.retain(|path| active.contains(path));
            let stays =
                !had_files || !of_day.files.is_empty() || view.files.iter().any(|file| day_of(file) == Some(*day));
            if !stays {
                gone.push(*day);
            }
            stays
        });
        loaded.head.retain(|rows| rows.strong_count() > 0);
        if gone.is_empty() {
            return;
        }
        let mut known = self.known.write();
        for day in gone {
            known.days.remove(&day);
        }
        let live = known.days.values().fold(RoaringBitmap::new(), |all, day| all | day);
        if live.len() * 2 < known.ids.len() as u64 {
            known.clear();
            *loaded = Loaded::default();
        }
    }

    async fn read(&self, state: &SessionState, table: &Table, loaded: &mut Loaded, days: &Days) -> Result<()> {
        let view = table.view();
        let head: Vec<_> = view.head.iter().filter(|rows| !loaded.head.iter().any(|known| is(known, rows))).collect();
        if !head.is_empty() {
            let head: Vec<Arc<Rows>> = head.into_iter().cloned().collect();
            let part = View { files: Arc::default(), head: head.clone(), ..View::clone(view) };
            self.read_part(state, table.of(part), false).await?;
            loaded.head.extend(head.iter().map(Arc::downgrade));
        }
        let mut new: BTreeMap<i32, Vec<_>> = BTreeMap::new();
        for file in view.files.iter() {
            let Some(day) = day_of(file).filter(|day| days.contains(day)) else { continue };
            let of_day = loaded.days.entry(day).or_default();
            if of_day.through.is_some_and(|through| file.known_at <= through) {
                of_day.files.insert(file.path.clone());
            } else if !of_day.files.contains(&file.path) {
                new.entry(day).or_default().push(Arc::clone(file));
            }
        }
        for (day, files) in new {
            let paths: Vec<Path> = files.iter().map(|file| file.path.clone()).collect();
            let part = View { files: Arc::new(files), head: Vec::new(), ..View::clone(view) };
            self.read_part(state, table.of(part), true).await?;
            let of_day = loaded.days.entry(day).or_default();
            of_day.files.extend(paths);
            of_day.through = view.version;
        }
        Ok(())
    }

    /// Reads some rows. Most series of a file of a day are those of the day before, so labels, which are most of its bytes, are read
    /// only if there are others.
    async fn read_part(&self, state: &SessionState, table: Table, in_files: bool) -> Result<()> {
        let table = Arc::new(table);
        let mut all_known = in_files && !self.known.read().ids.is_empty();
        if all_known {
            let mut rows = scan(state, &table, &["day", "metric", "series_id"]).await?;
            while let Some(batch) = rows.next().await {
                if !self.known.write().note(&batch?)? {
                    all_known = false;
                    break;
                }
            }
        }
        if !all_known {
            let mut rows = scan(state, &table, &["day", "metric", "series_id", "labels"]).await?;
            while let Some(batch) = rows.next().await {
                self.known.write().add(&batch?)?;
            }
        }
        Ok(())
    }
}

/// Rows of some columns of a table.
pub(crate) async fn scan(
    state: &SessionState,
    table: &Arc<Table>,
    columns: &[&str],
) -> Result<SendableRecordBatchStream> {
    let source = provider_as_source(Arc::clone(table) as _);
    let plan = LogicalPlanBuilder::scan(table.dataset().name, source, None)?
        .project(columns.iter().map(|name| col(*name)))?
        .build()?;
    let plan = state.create_physical_plan(&plan).await?;
    execute_stream(plan, state.task_ctx())
}

fn is(known: &Weak<Rows>, rows: &Arc<Rows>) -> bool {
    std::ptr::eq(known.as_ptr(), Arc::as_ptr(rows))
}

fn day_of(file: &storage::DataFile) -> Option<i32> {
    let day = chrono::NaiveDate::parse_from_str(file.partition.as_deref()?, "%Y-%m-%d").ok()?;
    i32::try_from(day.signed_duration_since(chrono::NaiveDate::default()).num_days()).ok()
}

/// The days that hold times from `least` to `greatest`, microseconds and inclusive.
pub(crate) fn days_of(least: Option<i64>, greatest: Option<i64>) -> Days {
    let day = |us: i64| i32::try_from(us.div_euclid(DAY_US)).unwrap_or(i32::MAX);
    least.map_or(i32::MIN, day)..=greatest.map_or(i32::MAX, day)
}

impl Known {
    /// Marks the series of a batch as seen on its days; false if one is not known.
    fn note(&mut self, batch: &RecordBatch) -> Result<bool> {
        let rows = Columns::of(batch)?;
        let mut name = (usize::MAX, None);
        let mut seen: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let metric = rows.metrics.value(row);
            if name.0 == usize::MAX || rows.metrics.value(name.0) != metric {
                name = (row, self.pairs.find(NAME, metric));
            }
            let Some(number) = name.1.and_then(|name| self.number(name, rows.ids[row])) else { return Ok(false) };
            seen.entry(rows.days[row]).or_default().push(number);
        }
        self.see(seen);
        Ok(true)
    }

    /// Adds the series of a batch.
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = Columns::of(batch)?;
        let labels = batch.column_by_name("labels").and_then(|labels| labels.as_map_opt()).ok_or_else(no_column)?;
        let (names, values) = (cast(labels.keys(), &DataType::Utf8)?, cast(labels.values(), &DataType::Utf8)?);
        let (names, values) = (names.as_string::<i32>(), values.as_string::<i32>());
        let before = self.bytes();
        let mut seen: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let name = self.pair(NAME, rows.metrics.value(row))?;
            let number = match self.number(name, rows.ids[row]) {
                Some(number) => number,
                None => {
                    let entries = labels.value_offsets();
                    let index = |at: i32| usize::try_from(at).unwrap_or(0);
                    let entries = index(entries[row])..index(entries[row + 1]);
                    let labels = entries.map(|entry| (names.value(entry), values.value(entry)));
                    self.insert(name, rows.ids[row], labels)?
                }
            };
            seen.entry(rows.days[row]).or_default().push(number);
        }
        self.see(seen);
        self.memory.try_grow(self.bytes().saturating_sub(before))
    }

    fn see(&mut self, seen: BTreeMap<i32, Vec<u32>>) {
        for (day, mut numbers) in seen {
            numbers.sort_unstable();
            self.days.entry(day).or_default().extend(numbers);
        }
    }

    fn insert<'a>(&mut self, name: u32, id: i64, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Result<u32> {
        let number = u32::try_from(self.ids.len()).map_err(|_| too_many())?;
        self.carried.push(name);
        for (label, value) in labels.filter(|(label, _)| *label != NAME) {
            let pair = self.pair(label, value)?;
            self.carried.push(pair);
        }
        let end = u32::try_from(self.carried.len()).map_err(|_| too_many())?;
        let start = self.starts.last().copied().unwrap_or(0);
        for at in start..end {
            let pair = self.carried[at as usize];
            self.postings[pair as usize].push(number);
        }
        self.ids.push(id);
        self.starts.push(end);
        let Self { numbers, ids, starts, carried, .. } = self;
        let hash = |of: &u32| hash(carried[starts[*of as usize] as usize], ids[*of as usize]);
        numbers.insert_unique(hash(&number), number, hash);
        Ok(number)
    }

    /// The number of a pair, which gets one if it has none.
    fn pair(&mut self, name: &str, value: &str) -> Result<u32> {
        let pair = self.pairs.number(name, value)?;
        if pair as usize == self.postings.len() {
            self.postings.push(Posting::None);
        }
        Ok(pair)
    }

    /// The series of a name and id.
    fn number(&self, name: u32, id: i64) -> Option<u32> {
        let same = |of: &u32| self.ids[*of as usize] == id && self.carried[self.starts[*of as usize] as usize] == name;
        self.numbers.find(hash(name, id), same).copied()
    }

    /// The series of a metric and id.
    pub(crate) fn series(&self, metric: &str, id: i64) -> Option<u32> {
        self.number(self.pairs.find(NAME, metric)?, id)
    }

    /// Its id, unique within its metric.
    pub(crate) fn id(&self, series: u32) -> i64 {
        self.ids[series as usize]
    }

    /// Its metric.
    pub(crate) fn metric(&self, series: u32) -> &str {
        self.pairs.value(self.pairs_of(series)[0])
    }

    /// Name and value of a pair.
    pub(crate) fn pair_texts(&self, pair: u32) -> (&str, &str) {
        (self.pairs.name(pair), self.pairs.value(pair))
    }

    /// The pairs of a series, its name first.
    pub(crate) fn pairs_of(&self, series: u32) -> &[u32] {
        let at = series as usize;
        &self.carried[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// Labels of some series as table `series` has them, without the name.
    pub(crate) fn labels(&self, series: impl Iterator<Item = u32>) -> Result<ArrayRef> {
        let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
        let mut labels = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
            .with_values_field(Field::new("value", DataType::Utf8, false));
        for series in series {
            for pair in &self.pairs_of(series)[1..] {
                labels.keys().append_value(self.pairs.name(*pair));
                labels.values().append_value(self.pairs.value(*pair));
            }
            labels.append(true)?;
        }
        let labels: MapArray = labels.finish();
        Ok(Arc::new(labels))
    }

    /// About how many bytes it takes; vectors and tables double, so twice what is in them.
    fn bytes(&self) -> usize {
        let series = self.ids.len() * (8 + 4 + 8);
        let carried = self.carried.len() * (4 + 3);
        2 * (series + carried) + self.pairs.bytes() + self.postings.len() * size_of::<Posting>() * 2
    }

    fn clear(&mut self) {
        self.pairs = Pairs::default();
        (self.ids, self.starts, self.carried) = (Vec::new(), vec![0], Vec::new());
        (self.numbers, self.postings) = (HashTable::new(), Vec::new());
        self.days.clear();
        self.memory.free();
    }
}

/// The columns every scan has.
struct Columns<'a> {
    days: &'a [i32],
    metrics: &'a StringViewArray,
    ids: &'a [i64],
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(no_column);
        Ok(Self {
            days: column("day")?.as_primitive_opt::<Date32Type>().ok_or_else(no_column)?.values(),
            metrics: column("metric")?.as_string_view_opt().ok_or_else(no_column)?,
            ids: column("series_id")?.as_primitive_opt::<Int64Type>().ok_or_else(no_column)?.values(),
        })
    }
}

/// Ids are hashes already; those of one label set under two names are the same.
fn hash(name: u32, id: i64) -> u64 {
    (id.cast_unsigned() ^ u64::from(name)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn no_column() -> DataFusionError {
    DataFusionError::Internal("table `series` lacks a column".to_owned())
}

fn too_many() -> DataFusionError {
    DataFusionError::ResourcesExhausted("more series and labels than can be numbered".to_owned())
}

#[cfg(test)]
mod tests;
