//! Threads of their own for queries, and the rule that makes them yield.
//!
//! Called by the engine. Planning is one long step, and some operators of DataFusion can work for minutes between two
//! points at which they can be stopped (a join whose rows never match). On threads of their own they hold up other queries at
//! worst, never the acknowledgement of a write; and the client has its answer, or its timeout, in time.
//!
//! Invariants: batches wait in a queue of [`BATCHES_MAX`], so a slow reader slows its query down; a query's place among the
//! running ones is given back when its work has really ended, not when it was told to.

use std::{
    collections::BTreeMap, num::NonZeroUsize, panic::AssertUnwindSafe, sync::Arc, thread::available_parallelism,
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    common::{
        Result as DataFusionResult,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    execution::{SendableRecordBatchStream, SessionState, context::SQLOptions},
    logical_expr::LogicalPlan,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{ExecutionPlan, coop::CooperativeExec, execute_stream},
    sql::parser::Statement,
};
use futures::{FutureExt, StreamExt};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
};
use tokio_util::task::AbortOnDropHandle;

use super::Place;
use crate::{
    Error, ErrorKind, Result, asof, decimal, functions, gate, names,
    parameters::{self, Described, Parameter},
};

/// Batches that wait for the reader: one being written to the network, one ready.
const BATCHES_MAX: usize = 2;

/// Stack of a thread: the longest chain of operators that the gate lets through is evaluated level by level, and each level of exact
/// decimals takes some kilobytes. What is not used is not there.
const STACK_BYTES: usize = 32 << 20;

/// A batch, the end of the answer, or why there is none.
type Item = Result<Option<RecordBatch>>;

/// The threads that work on queries.
pub(crate) struct Threads {
    runtime: Option<Runtime>,
    /// How many work at once.
    pub count: usize,
}

/// A query at work. Dropping it stops the work at the next point where it can stop.
pub(super) struct Work {
    pub schema: oneshot::Receiver<Result<SchemaRef>>,
    /// Ends with `None`: a queue that closes without it belongs to work that was cut off.
    pub batches: mpsc::Receiver<Item>,
    #[allow(dead_code, reason = "kept to be dropped, which stops the work")]
    pub task: AbortOnDropHandle<()>,
}

impl Threads {
    pub(super) fn new() -> Result<Self> {
        let threads = available_parallelism().map_or(1, NonZeroUsize::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build();
        let failed = |error| Error::new(ErrorKind::Internal, format!("threads for queries cannot be started: {error}"));
        Ok(Self { runtime: Some(runtime.map_err(failed)?), count: threads })
    }

    /// Starts to plan and then to run a statement, which holds `place` until it has ended.
    pub(super) fn start(&self, state: SessionState, statement: Statement, place: Place) -> Result<Work> {
        let runtime = self.runtime()?;
        let (planned, schema) = oneshot::channel();
        let (sender, batches) = mpsc::channel(BATCHES_MAX);
        let task = runtime.spawn(async move {
            let work = run(state, statement, planned, &sender);
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                // A reader that is gone needs no answer.
                let _ = sender.send(Err(defect())).await;
            }
            drop(place);
        });
        Ok(Work { schema, batches, task: AbortOnDropHandle::new(task) })
    }

    /// Starts work that ends in one value, and holds `permit` until it has ended. Dropping the handle stops it.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
        permit: impl Send + 'static,
    ) -> Result<AbortOnDropHandle<Result<T>>> {
        let task = self.runtime()?.spawn(async move {
            let _permit = permit;
            AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(defect()))
        });
        Ok(AbortOnDropHandle::new(task))
    }

    pub(crate) fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().ok_or_else(|| Error::new(ErrorKind::Unavailable, "the engine is stopping"))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime must not wait for its threads inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a query that panicked answers.
pub(crate) fn defect() -> Error {
    Error::new(ErrorKind::Internal, "query met a defect of the engine; the log has the place")
}

async fn run(
    state: SessionState,
    statement: Statement,
    planned: oneshot::Sender<Result<SchemaRef>>,
    batches: &mpsc::Sender<Item>,
) {
    // Whoever does not receive is gone, and the work ends.
    let mut stream = match plan(&state, statement).await {
        Ok(stream) => stream,
        Err(error) => return drop(planned.send(Err(error))),
    };
    if planned.send(Ok(stream.schema())).is_err() {
        return;
    }
    loop {
        let item = stream.next().await.transpose().map_err(Error::from);
        let ends = !matches!(item, Ok(Some(_)));
        if batches.send(item).await.is_err() || ends {
            return;
        }
    }
}

async fn plan(state: &SessionState, statement: Statement) -> Result<SendableRecordBatchStream> {
    let bound = functions::bind(state, &statement).await?;
    let state = bound.as_ref().unwrap_or(state);
    let plan = logical(state, statement).await?;
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan)?;
    let plan = state.create_physical_plan(&plan).await?;
    Ok(execute_stream(plan, state.task_ctx())?)
}

/// Finds what a statement takes and gives; those of its places whose type `types` tells are of that.
pub(super) async fn describe(
    state: &SessionState,
    statement: Statement,
    types: &[Option<&'static str>],
) -> Result<Described> {
    let count = parameters::count(&statement)?;
    let mut found = BTreeMap::new();
    if count > types.iter().filter(|known| known.is_some()).count() {
        // What cannot be planned with open places can be with values; then nothing is found.
        if let Ok(plan) = logical(state, statement.clone()).await
            && let Ok(fields) = plan.get_parameter_types()
        {
            found.extend(fields);
        }
        for (place, sql_type) in parameters::stated(&statement) {
            let of_cast = gate::check(&format!("SELECT CAST(NULL AS {sql_type})"))?;
            let plan = logical(state, of_cast).await?;
            let data_type = plan.schema().fields().first().map(|field| field.data_type().clone());
            let known = found.entry(format!("${place}")).or_default();
            *known = known.take().or(data_type);
        }
    }
    let parameters = parameters::in_order(count, found);
    let null = |(place, found): (usize, &Option<DataType>)| {
        let known = types.get(place).copied().flatten();
        Parameter::One(None, known.or_else(|| found.as_ref().and_then(parameters::sql_type)))
    };
    let nulls: Vec<Parameter> = parameters.iter().enumerate().map(null).collect();
    let mut statement = statement;
    parameters::put(&mut statement, &nulls)?;
    let bound = functions::bind(state, &statement).await?;
    let state = bound.as_ref().unwrap_or(state);
    let plan = logical(state, statement).await?;
    let plan = state.create_physical_plan(&plan).await?;
    Ok(Described { parameters, schema: plan.schema() })
}

/// Plans a statement as far as it does not depend on how tables are read.
pub(crate) async fn logical(state: &SessionState, mut statement: Statement) -> Result<LogicalPlan> {
    names::resolve(state, &mut statement).await?;
    asof::prepare(&mut statement)?;
    decimal::prepare(&mut statement)?;
    Ok(state.statement_to_plan(statement).await?)
}

/// Makes operators yield that can turn one batch into any number of batches. Leaves yield by themselves, but what is above a
/// join of two small tables may take its rows for hours without asking a leaf for more.
#[derive(Debug)]
pub(super) struct YieldInJoins;

impl PhysicalOptimizerRule for YieldInJoins {
    fn name(&self) -> &'static str {
        "YieldInJoins"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let wrap = |plan: Arc<dyn ExecutionPlan>| {
            let name = plan.name();
            if name.ends_with("JoinExec") || matches!(name, "UnnestExec" | "RecursiveQueryExec") {
                return Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>));
            }
            Ok(Transformed::no(plan))
        };
        plan.transform_up(wrap).data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}
