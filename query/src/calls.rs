//! `promql('…', start, end, step)` and `promql_instant('…', time)`: answers of PromQL as tables in SQL.
//!
//! Put by the engine into the session of each query. A call is read when the statement is planned, so that its columns are known and what is
//! wrong with it is told before anything is read; it is evaluated when its rows are asked for (`exec`), as over HTTP, by the same evaluator
//! under the same limits. A last argument such as `'job,instance'` makes columns of these labels.
//!
//! Invariants: a call is evaluated in the place that its query has among the running ones, and takes none of its own, so queries with calls
//! cannot wait for each other; times are known when the statement is planned. What a call reads is the tables as they are when it is
//! evaluated, which may be a moment after the query's own view of them. Warnings of PromQL have no place in an answer of SQL: they are in the
//! log, at level debug.

mod arguments;
mod exec;
mod place;
mod rows;

use std::{collections::HashSet, fmt, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableFunctionArgs, TableFunctionImpl},
    common::Result as DataFusionResult,
    datasource::{TableProvider, TableType},
    execution::SessionState,
    logical_expr::Expr,
    physical_plan::ExecutionPlan,
};
use promql::Query;

pub(crate) use place::check;

use crate::{Engine, Error, ErrorKind, Result, When, check_range, engine::Place};

use arguments::{literal_text, step_ms, time_ms};
use exec::PromqlExec;

/// Over a range.
const RANGE: &str = "promql";
/// At a moment.
const INSTANT: &str = "promql_instant";
/// The functions.
pub(crate) const NAMES: [&str; 2] = [RANGE, INSTANT];
/// Columns that every call has.
const COLUMNS: [&str; 3] = ["time", "value", "labels"];
/// Labels of one call that are columns: more than a series has.
const LABELS_MAX: usize = 64;

/// Makes the functions known in the session of a query, which holds `place`.
pub(crate) fn put_into(state: &mut SessionState, engine: &Engine, place: &Place) {
    for name in NAMES {
        let function = Function { name, engine: engine.clone(), place: Arc::clone(place) };
        state.register_udtf(name, Arc::new(function));
    }
}

/// One of the functions, in the session of one query.
struct Function {
    name: &'static str,
    engine: Engine,
    place: Place,
}

/// A call: the table of an answer.
struct Call {
    name: &'static str,
    engine: Engine,
    place: Place,
    query: Query,
    when: When,
    /// Those that are columns.
    labels: Vec<String>,
    schema: SchemaRef,
}

impl Function {
    fn usage(&self) -> &'static str {
        match self.name {
            RANGE => "promql('expression', start, end, step[, 'label,…'])",
            _ => "promql_instant('expression', time[, 'label,…'])",
        }
    }

    fn call(&self, args: &[Expr]) -> Result<Call> {
        let (query, when, labels) = match (self.name, args) {
            (RANGE, [query, start, end, step, labels @ ..]) if labels.len() <= 1 => {
                let (start_ms, end_ms) = (time_ms("start", start)?, time_ms("end", end)?);
                if end_ms < start_ms {
                    return Err(invalid("the end is before the start"));
                }
                (query, When { start_ms, end_ms, step_ms: step_ms(step)?, ..When::at(start_ms) }, labels)
            }
            (INSTANT, [query, time, labels @ ..]) if labels.len() <= 1 => {
                (query, When::at(time_ms("time", time)?), labels)
            }
            _ => return Err(invalid(format!("write {} arguments={}", self.usage(), args.len()))),
        };
        let query = self.engine.parse(literal_text("the expression", query)?)?;
        self.check(&query, when)?;
        let labels = labels.first().map_or(Ok(Vec::new()), |names| label_names(literal_text("the labels", names)?))?;
        let schema = schema(&labels);
        let Self { name, engine, place } = self;
        Ok(Call { name, engine: engine.clone(), place: Arc::clone(place), query, when, labels, schema })
    }

    fn check(&self, query: &Query, when: When) -> Result<()> {
        if self.name == RANGE {
            check_range(query, when, &self.engine)?;
        } else if query.type_text() == "string" {
            return Err(invalid("the expression is a string, which has no value"));
        }
        self.engine.check_plan(query, when)
    }
}

impl TableFunctionImpl for Function {
    fn call_with_args(&self, args: TableFunctionArgs) -> DataFusionResult<Arc<dyn TableProvider>> {
        let call = self.call(args.exprs()).map_err(|error| error.within(self.name))?;
        Ok(Arc::new(CallTable(Arc::new(call))))
    }
}

/// A call as a table.
#[derive(Debug)]
struct CallTable(Arc<Call>);

#[async_trait]
impl TableProvider for CallTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.0.schema.fields().len()).collect();
        let columns = projection.map_or_else(all, Clone::clone);
        Ok(Arc::new(PromqlExec::new(Arc::clone(&self.0), columns)?))
    }
}

/// Labels that are to be columns.
fn label_names(text: &str) -> Result<Vec<String>> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.len() > LABELS_MAX {
        return Err(invalid(format!("too many labels labels={} labels_max={LABELS_MAX}", names.len())));
    }
    let mut seen = HashSet::from(COLUMNS);
    for name in &names {
        if name.is_empty() {
            return Err(invalid("a label has no name: write names with commas between them, as in 'job,instance'"));
        }
        if !seen.insert(name) {
            let message = format!("two columns would have one name; ask for labels['{name}'] instead label={name:?}");
            return Err(invalid(message));
        }
    }
    Ok(names)
}

fn schema(labels: &[String]) -> SchemaRef {
    let [time, value, map] = COLUMNS;
    let time = Field::new(time, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false);
    let fields = [time, Field::new(value, DataType::Float64, false), Field::new(map, schemas::string_map(), false)];
    let labels = labels.iter().map(|name| Field::new(name, DataType::Utf8, true));
    Arc::new(Schema::new(fields.into_iter().chain(labels).collect::<Vec<_>>()))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("query", &self.query.text()).field("when", &self.when).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
