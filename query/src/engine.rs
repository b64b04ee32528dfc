//! Runs one query from text to stream, under limits.
//!
//! Called by `http` and the command line. Hands the text to the gate, takes one view per dataset, plans over them, and gives
//! back a stream that ends with an error when a limit is reached. Finds series under the same limits.
//!
//! Invariants: the views of a query are taken before it is planned, samples before series; a query holds its place among the
//! running ones from before planning until its work has ended; the time limit covers both; a panic in a query is that query's
//! error. The session has no settings a query could change, no functions that read files, and one store.

mod bounded;
mod run;
mod setup;

use std::{collections::BTreeMap, fmt, ops::Range, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use billing::TagRules;
use chrono::DateTime;
use datafusion::{
    datasource::TableProvider,
    execution::{SendableRecordBatchStream, SessionState, memory_pool::MemoryPool, object_store::ObjectStoreUrl},
    sql::parser::Statement,
};
use futures::StreamExt;
use object_store::{ObjectStore, memory::InMemory};
use roaring::RoaringBitmap;
use schemas::Dataset;
use storage::{Clock, View};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};

use bounded::Bounded;
pub(crate) use run::Threads;
use run::Work;
pub(crate) use run::defect;
pub(crate) use run::logical;
use setup::{runtime, template};

use crate::{
    Error, ErrorKind, Fault, PromqlConfig, Result, Selector, Series, Wanted, calls,
    evaluate::kept::Answers,
    filter::filters,
    functions, gate,
    index::{Counts, Index, Known, days_of},
    metadata::Metadata,
    meter::{Count, Meter},
    metrics::{self, Metrics},
    parameters::{self, Described, Parameter},
    running::{Asking, Run, Running},
    saved::{self, Bound, Queries},
    series::on_days,
    system::headings::Headings,
    table::{Reader, Table},
    views::Tables,
};

/// URL under which plans name the tables' store; no path of it can be written in SQL.
const STORE_URL: &str = "streamgauge://tables/";
/// How long a query waits for one of the running ones to end: long enough for a dashboard's panels to pass one after
/// another, short enough that a client still listens when it is told to come later.
const QUEUE_WAIT_MS: u64 = 5_000;
/// Queries that may wait, for each that may run.
const QUEUE_FACTOR: usize = 8;

/// Gives a view for each dataset, all of one moment.
type Views = dyn Fn(&[&'static Dataset]) -> Vec<Arc<View>> + Send + Sync;

/// Where the rows are.
#[derive(Clone)]
pub struct Catalog {
    /// Store that holds the files of the views.
    pub store: Arc<dyn ObjectStore>,
    /// Datasets shown as tables.
    pub datasets: Vec<&'static Dataset>,
    /// Gives the newest views of datasets, all of one moment, at once.
    pub views: Arc<Views>,
}

impl Catalog {
    /// Tables of the datasets, without rows.
    #[must_use]
    pub fn empty(datasets: Vec<&'static Dataset>) -> Self {
        let views = |of: &[&'static Dataset]| of.iter().map(|dataset| Arc::new(View::empty(dataset))).collect();
        Self { store: Arc::new(InMemory::new()), datasets, views: Arc::new(views) }
    }
}

/// Limits of queries.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes that all running queries may hold together.
    pub memory_bytes: usize,
    /// Time a query may take, from its text to the end of its answer, milliseconds.
    pub timeout_ms: u64,
    /// Rows an answer may have.
    pub rows_max: usize,
    /// Queries that may run at once.
    pub concurrent_max: usize,
    /// Bytes kept in memory of files: footers, page indexes, where the rows of each series are, and decoded samples.
    pub metadata_cache_bytes: usize,
    /// How PromQL is evaluated.
    pub promql: PromqlConfig,
    /// Queries that take longer are logged, milliseconds.
    pub slow_ms: u64,
    /// Folder in which sorts and aggregations may put what does not fit in memory; without it they fail.
    pub spill_dir: Option<PathBuf>,
    /// How the mandatory tags of a row of costs are found; each query sticks to the rules of its begin.
    pub tags: TagRules,
    /// Queries that can be asked by name.
    pub queries: Queries,
}

impl Default for Config {
    /// A million rows are some 100 MB of JSON and seconds of reading: more than a person or a panel looks at, less than the
    /// hundreds of millions an unbounded `SELECT *` would send by mistake. Two minutes is the time limit of Prometheus. Nobody waits
    /// for ten seconds without asking why.
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            timeout_ms: 120_000,
            rows_max: 1_000_000,
            concurrent_max: 8,
            metadata_cache_bytes: 512 << 20,
            promql: PromqlConfig::default(),
            slow_ms: 10_000,
            spill_dir: None,
            tags: TagRules::default(),
            queries: Queries::default(),
        }
    }
}

impl Config {
    /// The shares of ranges, which of a file with many rows a series take less than its footer and page index, and of decoded
    /// samples, which take most.
    fn reader_cache_bytes(&self) -> [usize; 2] {
        [self.metadata_cache_bytes / 8, self.metadata_cache_bytes / 8 * 5]
    }

    /// The share of answers that are kept: what a few dozen panels show.
    fn answers_bytes(&self) -> usize {
        self.metadata_cache_bytes / 16
    }

    /// The share of footers and page indexes.
    fn footers_cache_bytes(&self) -> usize {
        self.metadata_cache_bytes - self.reader_cache_bytes().iter().sum::<usize>() - self.answers_bytes()
    }
}

/// A query's place among the running ones, given back when the last part of its work has ended.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// Answers queries. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    config: Config,
    catalog: Catalog,
    clock: Clock,
    /// What all sessions have in common; cloned for each query and given the query's tables.
    template: Arc<SessionState>,
    reader: Arc<Reader>,
    index: Arc<Index>,
    running: Arc<Semaphore>,
    waiting: Semaphore,
    metadata: Metadata,
    meter: Arc<Meter>,
    asking: Arc<Running>,
    threads: Threads,
    answers: Answers,
}

/// The answer to a query. Dropping it cancels the query.
pub struct Answer {
    /// Columns.
    pub schema: SchemaRef,
    /// Rows. Errors are of [`Error`] inside DataFusion's `External`; `Error::from` takes them out.
    pub stream: SendableRecordBatchStream,
}

impl Engine {
    /// An engine over a catalog; its counters go to `registry`.
    ///
    /// # Errors
    /// `Invalid` if a limit is zero, `Internal` if the counters are registered already.
    pub fn new(config: Config, catalog: Catalog, clock: Clock, registry: &prometheus::Registry) -> Result<Self> {
        for (name, value) in [
            ("memory_bytes", config.memory_bytes),
            ("rows_max", config.rows_max),
            ("concurrent_max", config.concurrent_max),
            ("timeout_ms", usize::try_from(config.timeout_ms).unwrap_or(usize::MAX)),
        ] {
            if value == 0 {
                return Err(Error::new(ErrorKind::Invalid, format!("a limit of queries is zero limit={name}")));
            }
        }
        let runtime = runtime(&config)?;
        let url = ObjectStoreUrl::parse(STORE_URL)?;
        runtime.register_object_store(url.as_ref(), Arc::clone(&catalog.store));
        let reader = Arc::new(Reader::new(url, Arc::clone(&catalog.store), &runtime, config.reader_cache_bytes()));
        let meter = Meter::register(registry, clock.clone())
            .map_err(|error| Error::new(ErrorKind::Internal, format!("counters of queries: {error}")))?;
        let (running, waiting) = (config.concurrent_max, config.concurrent_max.saturating_mul(QUEUE_FACTOR));
        let template = Arc::new(template(runtime));
        Ok(Self(Arc::new(Inner {
            index: Arc::new(Index::new(&template, clock.clone())),
            template,
            running: Arc::new(Semaphore::new(running.min(Semaphore::MAX_PERMITS))),
            waiting: Semaphore::new(waiting.min(Semaphore::MAX_PERMITS)),
            metadata: Metadata::default(),
            meter: Arc::new(meter),
            asking: Arc::new(Running::new(config.slow_ms, clock.clone())),
            threads: Threads::new()?,
            answers: Answers::new(config.answers_bytes()),
            config,
            catalog,
            clock,
            reader,
        })))
    }

    /// Answers a query: one read-only statement. Returns when it is planned; rows follow in the stream.
    ///
    /// # Errors
    /// `Invalid` if the text is no query we answer, `Overloaded` if too many run, `Timeout`, or what planning met.
    pub async fn sql(&self, text: &str) -> Result<Answer> {
        self.sql_at(text, self.0.clock.now_us()).await
    }

    /// The same with another time for `now()`, microseconds. Rows are those of today, whatever their time.
    ///
    /// # Errors
    /// As [`Engine::sql`].
    pub async fn sql_at(&self, text: &str, now_us: i64) -> Result<Answer> {
        let asked = self.ask(text, now_us, |statement| parameters::put(statement, &[])).await;
        asked.map(|(answer, _)| answer)
    }

    /// Answers a saved query with its values.
    pub(crate) async fn bound(&self, bound: &Bound, now_us: i64) -> Result<Answer> {
        let asked = self.ask(&bound.sql, now_us, |statement| saved::bind(statement, &bound.values)).await;
        asked.map(|(answer, _)| answer)
    }

    /// Answers a query with places `$1`, `$2`, …, and a value for each. Columns are called as PostgreSQL calls them, and two may be called
    /// alike.
    ///
    /// # Errors
    /// As [`Engine::sql`]; `Invalid` too if a place has no value.
    pub async fn sql_with(&self, text: &str, parameters: &[Parameter]) -> Result<Answer> {
        let put = |statement: &mut Statement| parameters::put(statement, parameters);
        let (answer, headings) = self.ask(text, self.0.clock.now_us(), put).await?;
        Ok(Answer { schema: headings.over(&answer.schema), ..answer })
    }

    /// Answers a query once values are put into it; with what PostgreSQL would call its columns.
    async fn ask(
        &self,
        text: &str,
        now_us: i64,
        put: impl FnOnce(&mut Statement) -> Result<()>,
    ) -> Result<(Answer, Headings)> {
        let mut count = self.0.meter.begin();
        let run = self.0.asking.begin("sql", text);
        match run.or_killed(self.begin(text, now_us, put)).await {
            Ok((schema, work, deadline, headings)) => {
                let Config { rows_max, timeout_ms, .. } = self.0.config;
                let of_answer = Arc::clone(&schema);
                let stream = Bounded {
                    work: Some(work),
                    schema: of_answer,
                    deadline,
                    rows: 0,
                    rows_max,
                    timeout_ms,
                    count,
                    killed: Box::pin(run.killed().cancelled_owned()),
                    run: Some(run),
                    _engine: self.clone(),
                };
                Ok((Answer { schema, stream: Box::pin(stream) }, headings))
            }
            Err(error) => {
                count.end(Err(error.kind));
                Err(error)
            }
        }
    }

    async fn begin(
        &self,
        text: &str,
        now_us: i64,
        put: impl FnOnce(&mut Statement) -> Result<()>,
    ) -> Result<(SchemaRef, Work, Pin<Box<Sleep>>, Headings)> {
        let (mut statement, headings) = gate::with_headings(text)?;
        put(&mut statement)?;
        calls::check(self, &statement, text)?;
        let place = Arc::new(self.admit().await?);
        let timeout_ms = self.0.config.timeout_ms;
        let mut deadline = Box::pin(sleep(Duration::from_millis(timeout_ms)));
        let mut work = self.0.threads.start(self.session(now_us, &place), statement, place)?;
        let schema = tokio::select! {
            planned = &mut work.schema => planned.unwrap_or_else(|_| Err(defect()))?,
            () = &mut deadline => return Err(timed_out(timeout_ms)),
        };
        Ok((schema, work, deadline, headings))
    }

    /// Says what a query would take and give, without running it. `types` are those that are known of its places, as SQL names
    /// them; places beyond them are of a type that planning finds.
    ///
    /// # Errors
    /// As [`Engine::sql`].
    pub async fn describe(&self, text: &str, types: &[Option<&'static str>]) -> Result<Described> {
        self.counted("describe", text, async |_| {
            let (statement, headings) = gate::with_headings(text)?;
            let place = Arc::new(self.admit().await?);
            let (session, types) = (self.session(self.0.clock.now_us(), &place), types.to_vec());
            let work = async move { run::describe(&session, statement, &types).await };
            let described = self.within(work, place, None).await?;
            Ok(Described { schema: headings.over(&described.schema), ..described })
        })
        .await
    }

    /// Finds the series of any of `selectors` that had rows on the days of `times_us`, microseconds, half-open; in files and
    /// in memory.
    ///
    /// # Errors
    /// `Overloaded` if too many queries run, `Timeout`, `Execution` if there are more series than memory for them, or what
    /// reading met.
    pub async fn series(&self, selectors: &[Selector], times_us: Range<i64>, wanted: Wanted) -> Result<Series> {
        let mut count = self.0.meter.begin();
        let found = self.find(selectors, times_us, wanted).await;
        count.end(found.as_ref().map(|_| ()).map_err(|error| error.kind));
        found
    }

    async fn find(&self, selectors: &[Selector], times_us: Range<i64>, wanted: Wanted) -> Result<Series> {
        let permit = self.admit().await?;
        let (engine, selectors) = (self.clone(), selectors.to_vec());
        let work = async move { engine.series_of(&selectors, times_us, wanted).await };
        self.under_limits(work, permit).await
    }

    /// The same as part of work that has its place among the running.
    pub(crate) async fn series_of(
        &self,
        selectors: &[Selector],
        times_us: Range<i64>,
        wanted: Wanted,
    ) -> Result<Series> {
        let (table, state) = (self.table(schemas::series()), &self.0.template);
        let mut series = Series::none(state, wanted);
        if times_us.is_empty() {
            return Ok(series);
        }
        let (least, greatest) = (Some(times_us.start), Some(times_us.end - 1));
        let days = days_of(least, greatest);
        if let Some(known) = self.0.index.load(state, &table, &days).await? {
            series.take(&known, known.selected(selectors, known.on(&days)))?;
            return Ok(series);
        }
        for selector in selectors {
            series.find(state, &table, [filters(selector.matchers()), on_days(least, greatest)].concat()).await?;
        }
        Ok(series)
    }

    /// Does work that is a query of its kind: it is counted, shown among the running ones, and can be ended.
    pub(crate) async fn counted<T>(
        &self,
        kind: &'static str,
        text: &str,
        work: impl AsyncFnOnce(&Run) -> Result<T>,
    ) -> Result<T> {
        let (mut count, run) = self.begin_run(kind, text);
        let done = run.or_killed(work(&run)).await;
        count.end(done.as_ref().map(|_| ()).map_err(|error| error.kind));
        done
    }

    /// The queries that are running, the oldest first.
    #[must_use]
    pub fn asking(&self) -> Vec<Asking> {
        self.0.asking.list()
    }

    /// Ends a running query; false if there is none of this id.
    #[must_use]
    pub fn kill(&self, id: u64) -> bool {
        self.0.asking.kill(id)
    }

    /// Names of the labels that series of any of `selectors`, or all series, had on the days of `times_us`; sorted.
    ///
    /// # Errors
    /// As [`Engine::series`].
    pub async fn label_names(&self, selectors: &[Selector], times_us: Range<i64>) -> Result<Vec<String>> {
        self.ask_index(selectors, times_us, Known::label_names).await
    }

    /// Values that a label of these series had; sorted.
    ///
    /// # Errors
    /// As [`Engine::series`].
    pub async fn label_values(&self, label: &str, selectors: &[Selector], times_us: Range<i64>) -> Result<Vec<String>> {
        let label = label.to_owned();
        self.ask_index(selectors, times_us, move |known, series| known.label_values(&label, series)).await
    }

    /// What the series of the days of `times_us` are made of; at most `most` of each list.
    ///
    /// # Errors
    /// As [`Engine::series`].
    pub async fn counts(&self, times_us: Range<i64>, most: usize) -> Result<Counts> {
        self.ask_index(&[], times_us, move |known, series| known.counts(series, most)).await
    }

    async fn ask_index<T: Default + Send + 'static>(
        &self,
        selectors: &[Selector],
        times_us: Range<i64>,
        ask: impl FnOnce(&Known, &RoaringBitmap) -> T + Send + 'static,
    ) -> Result<T> {
        if times_us.is_empty() {
            return Ok(T::default());
        }
        let mut count = self.0.meter.begin();
        let answer = async {
            let permit = self.admit().await?;
            let (table, index) = (self.table(schemas::series()), Arc::clone(&self.0.index));
            let (state, selectors) = (Arc::clone(&self.0.template), selectors.to_vec());
            let work = async move {
                let days = days_of(Some(times_us.start), Some(times_us.end - 1));
                let Some(known) = index.load(&state, &table, &days).await? else {
                    let message =
                        "more series than there is memory for their index; ask for fewer days, or raise `memory`";
                    return Err(Error::new(ErrorKind::Execution, message).of(Fault::OutOfMemory));
                };
                Ok(ask(&known, &known.selected(&selectors, known.on(&days))))
            };
            self.under_limits(work, permit).await
        };
        let answer = answer.await;
        count.end(answer.as_ref().map(|_| ()).map_err(|error| error.kind));
        answer
    }

    async fn under_limits<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
        permit: OwnedSemaphorePermit,
    ) -> Result<T> {
        self.within(work, permit, None).await
    }

    /// Work under the limit of time, or under a shorter one.
    pub(crate) async fn within<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
        permit: impl Send + 'static,
        timeout_ms: Option<u64>,
    ) -> Result<T> {
        let timeout_ms = timeout_ms.unwrap_or(u64::MAX).min(self.0.config.timeout_ms);
        match timeout(Duration::from_millis(timeout_ms), self.0.threads.spawn(work, permit)?).await {
            Ok(done) => done.unwrap_or_else(|_| Err(defect())),
            Err(_) => Err(timed_out(timeout_ms)),
        }
    }

    /// The table of a dataset as it is now.
    pub(crate) fn table(&self, dataset: &'static Dataset) -> Arc<Table> {
        let mut views = (self.0.catalog.views)(&[dataset]).into_iter();
        let view = views.next().unwrap_or_else(|| Arc::new(View::empty(dataset)));
        Arc::new(Table::new(view, Arc::clone(&self.0.reader)))
    }

    pub(crate) async fn admit(&self) -> Result<OwnedSemaphorePermit> {
        let overloaded = || {
            let running = self.0.config.concurrent_max;
            Error::new(ErrorKind::Overloaded, format!("too many queries at once; retry later concurrent_max={running}"))
        };
        if let Ok(permit) = Arc::clone(&self.0.running).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = self.0.waiting.try_acquire().map_err(|_| overloaded())?;
        match timeout(Duration::from_millis(QUEUE_WAIT_MS), Arc::clone(&self.0.running).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(overloaded()),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    /// How long a query may take, from its text to the end of its answer.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.0.config.timeout_ms)
    }

    /// How it evaluates PromQL.
    #[must_use]
    pub fn promql_config(&self) -> &PromqlConfig {
        &self.0.config.promql
    }

    /// Now, milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_us().div_euclid(1000)
    }

    /// Now, microseconds.
    pub(crate) fn now_us(&self) -> i64 {
        self.0.clock.now_us()
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.0.answers
    }

    pub(crate) fn index(&self) -> &Index {
        &self.0.index
    }

    /// A session that can read tables, but names none.
    pub(crate) fn session_state(&self) -> &Arc<SessionState> {
        &self.0.template
    }

    /// The threads that work on queries.
    pub(crate) fn threads(&self) -> &Threads {
        &self.0.threads
    }

    /// Notes a query that is at work, until what comes back is dropped.
    pub(crate) fn begin_run(&self, kind: &'static str, text: &str) -> (Count, Run) {
        (self.0.meter.begin(), self.0.asking.begin(kind, text))
    }

    pub(crate) fn memory_pool(&self) -> &Arc<dyn MemoryPool> {
        &self.0.template.runtime_env().memory_pool
    }

    /// A session over one view per dataset, in which it is some time, microseconds, for a query that holds `place`.
    fn session(&self, now_us: i64, place: &Place) -> SessionState {
        let mut datasets = self.0.catalog.datasets.clone();
        // A series is committed before its samples: whoever sees the samples first finds all their series.
        datasets.sort_by_key(|dataset| dataset.name == schemas::series().name);
        let views = (self.0.catalog.views)(&datasets).into_iter();
        let tables: BTreeMap<&'static str, Arc<Table>> =
            views.map(|view| (view.dataset.name, Arc::new(Table::new(view, Arc::clone(&self.0.reader))))).collect();
        let mut named: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        for (name, table) in &tables {
            named.insert((*name).to_owned(), Arc::clone(table) as _);
        }
        let of = |dataset: &'static Dataset| tables.get(dataset.name).map(Arc::clone);
        if let (Some(samples), Some(series)) = (of(schemas::samples()), of(schemas::series())) {
            let metrics = Metrics::new(samples, series, Arc::clone(&self.0.index));
            named.insert(metrics::NAME.to_owned(), Arc::new(metrics));
        }
        let tags = functions::mandatory_tag(self.0.config.tags.now());
        let tables = Tables::new(Arc::clone(&self.0.template), named, Arc::clone(&tags));
        let mut state = SessionState::clone(&self.0.template);
        calls::put_into(&mut state, self, place);
        tables.put_into(&mut state);
        state.execution_props_mut().query_execution_start_time = DateTime::from_timestamp_micros(now_us);
        state
    }
}

impl Answer {
    /// All rows at once; for answers known to be short.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

pub(crate) fn timed_out(timeout_ms: u64) -> Error {
    let message = format!("query took too long; narrow it or raise `sql.timeout` timeout_ms={timeout_ms}");
    Error::new(ErrorKind::Timeout, message)
}

#[cfg(test)]
mod tests;
