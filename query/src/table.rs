//! A dataset as a table of DataFusion: one view of it, fixed for a query.
//!
//! Called by the engine, which makes one per dataset and query; hands DataFusion a plan of three kinds of leaves: committed
//! files in order (`files`), head rows (`head`), and, only for partitions that hold late rows, both merged by key with the
//! latest kept (`dedup`). `prune` leaves out what cannot match before anything is opened. PromQL reads without a plan (`samples`).
//!
//! Invariants: every row of the view that a filter can match is in the plan exactly once; a filter on a column outside the
//! key never acts below `dedup`, since it could hide the row that replaced another; filters are inexact here, so DataFusion
//! applies them again wherever a leaf did not.
//! Not here: labels (`metrics`), and what the columns mean (`schemas`).

mod blocks;
mod dedup;
mod files;
mod head;
mod prune;
mod ranges;
mod samples;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray},
    compute::{max, min},
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimestampMicrosecondType},
};
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{DataFusionError, Result, ScalarValue},
    datasource::{TableProvider, TableType},
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan,
        empty::EmptyExec,
        projection::{ProjectionExec, ProjectionExpr},
        union::UnionExec,
    },
};
use futures::{StreamExt, TryStreamExt};
use schemas::{Dataset, Partition};
use storage::{DataFile, Lane, Rows, View};

pub(crate) use files::Reader;
pub(crate) use prune::{IN_LIST_MAX, pushable, time_range};
pub(crate) use samples::{Found, Histograms, Present, Read};

use prune::Filter;

use crate::series::Series;

use dedup::DedupExec;
use head::{HeadExec, Slice};

/// Internal column: orders writes of one key. Users never see it, because it is no column of the table.
const WRITTEN: &str = "__written";
/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;
/// Files whose ranges are read at once.
const READ_AT_ONCE: usize = 4;

/// One view of a dataset as a table.
pub(crate) struct Table {
    view: Arc<View>,
    schema: SchemaRef,
    reader: Arc<Reader>,
}

/// What a scan reads, after pruning.
struct Parts {
    /// Files no key of which was written twice.
    files: Vec<Arc<DataFile>>,
    /// Head rows no key of which was written twice.
    head: Vec<Slice>,
    /// Files of partitions that hold late rows.
    late_files: Vec<(Arc<DataFile>, i64)>,
    /// Head rows of partitions that hold late rows.
    late_head: Vec<Slice>,
}

/// Plans over the rows of some series.
pub(crate) struct Stretches {
    /// Rows of these series and no other.
    pub exact: Option<Arc<dyn ExecutionPlan>>,
    /// Rows among which theirs are.
    pub rest: Option<Arc<dyn ExecutionPlan>>,
}

impl Table {
    pub(crate) fn new(view: Arc<View>, reader: Arc<Reader>) -> Self {
        let schema = view_types(&view.dataset.table_schema());
        Self { view, schema, reader }
    }

    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The same dataset, read in the same way, with some of the rows.
    pub(crate) fn of(&self, view: View) -> Self {
        Self::new(Arc::new(view), Arc::clone(&self.reader))
    }

    /// Rows that may be of some series: those columns of what was found by its place in files, and of the rest.
    pub(crate) async fn scan_series(
        &self,
        session: &dyn Session,
        [exact, rest]: [&[usize]; 2],
        filters: &[Expr],
        series: &Series,
    ) -> Result<Stretches> {
        let fields = self.schema.fields();
        let names = |indices: &[usize]| indices.iter().map(|i| fields[*i].name().as_str()).collect::<Vec<_>>();
        let filter = Filter::new(session, &self.schema, filters)?;
        let mut parts = self.choose(&filter)?;
        let (sorted, unsorted): (Vec<_>, Vec<_>) = parts.files.drain(..).partition(|file| file.sorted);
        parts.files = unsorted;
        let wanted: Vec<(&str, i64)> = series.iter().collect();
        let selected = futures::stream::iter(sorted).map(|file| {
            let wanted = &wanted;
            async move {
                let rows = self.reader.ranges(&file).await?.select(wanted.iter().copied());
                Ok::<_, DataFusionError>((rows, file))
            }
        });
        let selected: Vec<_> = selected.buffered(READ_AT_ONCE).try_collect().await?;
        let stretches: Vec<_> = selected.into_iter().filter_map(|(rows, file)| Some((file, rows?))).collect();
        let columns = names(exact);
        let scan = files::Scan { table: self, columns: &columns, needle: false, predicate: None };
        let exact = if stretches.is_empty() { None } else { Some(scan.stretches(session, stretches)?) };
        let columns = names(rest);
        let rest = self.inputs(session, &parts, &filter, &columns)?;
        let rest = if rest.is_empty() { None } else { Some(union(rest, &self.columns(&columns)?)?) };
        Ok(Stretches { exact, rest })
    }

    /// Plans over the parts of a scan.
    fn inputs(
        &self,
        session: &dyn Session,
        parts: &Parts,
        filter: &Filter,
        columns: &[&str],
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let mut inputs = self.plain(session, parts, filter, columns)?;
        if !parts.late_files.is_empty() || !parts.late_head.is_empty() {
            inputs.push(self.late(session, parts, filter, columns)?);
        }
        Ok(inputs)
    }

    /// Is there any row?
    pub(crate) fn has_rows(&self) -> bool {
        !self.view.files.is_empty() || !self.view.head.is_empty()
    }

    pub(crate) fn dataset(&self) -> &'static Dataset {
        self.view.dataset
    }

    /// Columns that are the same in all rows of one key: the key itself, and the partition.
    fn identity(&self) -> BTreeSet<&'static str> {
        let dataset = self.dataset();
        dataset.sort.iter().take(dataset.key).copied().chain(dataset.partition_columns()).collect()
    }

    fn choose(&self, filter: &Filter) -> Result<Parts> {
        let identity = self.identity();
        let by_key = prune::files(self, &self.view.files, filter.over(&identity).as_ref())?;
        let mut head: Vec<Slice> = self.view.head.iter().map(Slice::all).collect();
        let pins: Vec<_> = self.dataset().sort.iter().take(self.dataset().key).map(|c| filter.pins(c)).collect();
        head = head
            .into_iter()
            .map(|slice| prune::head(self.dataset(), &pins, slice))
            .collect::<Result<Vec<_>>>()?
            .concat();

        let dirty = self.late_partitions(&by_key, &head)?;
        if dirty.is_empty() {
            let files = prune::files(self, &by_key, filter.all().as_ref())?;
            return Ok(Parts { files, head, late_files: Vec::new(), late_head: Vec::new() });
        }
        let is_dirty = |file: &Arc<DataFile>| dirty.contains(&file.partition);
        let (late_files, clean): (Vec<_>, Vec<_>) = by_key.into_iter().partition(is_dirty);
        let files = prune::files(self, &clean, filter.all().as_ref())?;
        let (mut late_head, mut clean_head) = (Vec::new(), Vec::new());
        for slice in head {
            let touches = match self.partitions(&slice)? {
                Some(partitions) => partitions.iter().any(|p| dirty.contains(p)),
                None => true,
            };
            if touches { late_head.push(slice) } else { clean_head.push(slice) }
        }
        let (late_files, late_head) = rank(late_files, late_head);
        Ok(Parts { files, head: clean_head, late_files, late_head })
    }

    /// Values of the partition column under which late rows are.
    fn late_partitions(&self, files: &[Arc<DataFile>], head: &[Slice]) -> Result<BTreeSet<Option<Arc<str>>>> {
        let mut dirty: BTreeSet<_> =
            files.iter().filter(|f| f.lane == Lane::Late).map(|f| f.partition.clone()).collect();
        for slice in head.iter().filter(|s| s.rows.lane == Lane::Late) {
            match self.partitions(slice)? {
                Some(partitions) => dirty.extend(partitions),
                // Of unknown partitions: all that are read.
                None => dirty.extend(files.iter().map(|f| f.partition.clone()).chain([None])),
            }
        }
        Ok(dirty)
    }

    /// Partition values between the least and the greatest of head rows; `None` if they cannot be told cheaply.
    fn partitions(&self, slice: &Slice) -> Result<Option<Vec<Option<Arc<str>>>>> {
        match self.dataset().partition {
            Partition::None => Ok(Some(vec![None])),
            Partition::Columns(_) => Ok(None),
            Partition::DayOfTime => {
                let Some(time) = self.dataset().index_of(self.dataset().time) else { return Ok(None) };
                let column = slice.rows.batch.column(time).slice(slice.range.start, slice.range.len());
                let Some(column) = column.as_primitive_opt::<TimestampMicrosecondType>() else { return Ok(None) };
                let (Some(first), Some(last)) = (min(column), max(column)) else { return Ok(Some(Vec::new())) };
                let (first, last) = (first.div_euclid(DAY_US), last.div_euclid(DAY_US));
                // A batch that spans years has a broken clock in it; it is then read with every late partition.
                if last - first > 366 {
                    return Ok(None);
                }
                Ok(Some((first..=last).map(|day| day_text(day).map(Arc::from)).collect()))
            }
        }
    }

    /// Plan over rows no key of which was written twice.
    fn plain(
        &self,
        session: &dyn Session,
        parts: &Parts,
        filter: &Filter,
        columns: &[&str],
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !parts.files.is_empty() {
            let scan = files::Scan { table: self, columns, needle: self.is_needle(filter), predicate: None };
            inputs.push(scan.plain(session, &parts.files)?);
        }
        let (sorted, unsorted): (Vec<_>, Vec<_>) = parts.head.iter().cloned().partition(|s| s.rows.sorted);
        for slices in [sorted, unsorted] {
            if !slices.is_empty() {
                inputs.push(Arc::new(HeadExec::new(self.dataset(), self.columns(columns)?, slices)?));
            }
        }
        Ok(inputs)
    }

    /// Plan over rows of partitions that hold late rows: merged by key, the latest kept.
    fn late(
        &self,
        session: &dyn Session,
        parts: &Parts,
        filter: &Filter,
        wanted: &[&str],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let dataset = self.dataset();
        let mut key: Vec<&str> = dataset.sort.iter().take(dataset.key).copied().collect();
        if dataset.columns_of_partition() > 0 {
            key.extend(dataset.partition_columns());
        }
        let mut columns = key.clone();
        columns.extend(wanted.iter().filter(|c| !key.contains(c)));
        columns.push(WRITTEN);

        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        let predicate = filter.over(&self.identity());
        let scan = files::Scan { table: self, columns: &columns, needle: self.is_needle(filter), predicate };
        for sorted in [true, false] {
            let files: Vec<_> = parts.late_files.iter().filter(|(f, _)| f.sorted == sorted).cloned().collect();
            if !files.is_empty() {
                inputs.push(scan.late(session, &files, &key)?);
            }
        }
        let (sorted, unsorted): (Vec<_>, Vec<_>) = parts.late_head.iter().cloned().partition(|s| s.rows.sorted);
        for slices in [sorted, unsorted] {
            if !slices.is_empty() {
                inputs.push(Arc::new(HeadExec::new(dataset, self.columns(&columns)?, slices)?));
            }
        }
        let latest: Arc<dyn ExecutionPlan> =
            Arc::new(DedupExec::new(union(inputs, &self.columns(&columns)?)?, key.len())?);
        let schema = latest.schema();
        let project = wanted.iter().map(|name| {
            Ok(ProjectionExpr { expr: Arc::new(Column::new_with_schema(name, &schema)?), alias: (*name).to_owned() })
        });
        Ok(Arc::new(ProjectionExec::try_new(project.collect::<Result<Vec<_>>>()?, latest)?))
    }

    /// Does a filter pin the leading sort column? Then decoding only matching rows beats decoding all and dropping most.
    fn is_needle(&self, filter: &Filter) -> bool {
        self.dataset().sort.first().is_some_and(|column| filter.pins(column).is_some())
    }

    /// Schema of some columns of the table, in the order given.
    fn columns(&self, names: &[&str]) -> Result<SchemaRef> {
        let field = |name: &&str| match *name {
            WRITTEN => Ok(Arc::new(Field::new(WRITTEN, DataType::Int64, false))),
            name => Ok(Arc::clone(&self.schema.fields()[self.schema.index_of(name)?])),
        };
        Ok(Arc::new(Schema::new(names.iter().map(field).collect::<Result<Fields>>()?)))
    }
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |expr: &&Expr| match pushable(expr) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let fields = self.schema.fields();
        let wanted: Vec<&str> = match projection {
            Some(indices) => indices.iter().map(|i| fields[*i].name().as_str()).collect(),
            None => fields.iter().map(|f| f.name().as_str()).collect(),
        };
        let filter = Filter::new(session, &self.schema, filters)?;
        let parts = self.choose(&filter)?;
        union(self.inputs(session, &parts, &filter, &wanted)?, &self.columns(&wanted)?)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("dataset", &self.dataset().name).field("version", &self.view.version).finish()
    }
}

/// One plan of several; of none, one without rows.
pub(crate) fn union(mut inputs: Vec<Arc<dyn ExecutionPlan>>, schema: &SchemaRef) -> Result<Arc<dyn ExecutionPlan>> {
    match inputs.len() {
        0 => Ok(Arc::new(EmptyExec::new(Arc::clone(schema)))),
        1 => Ok(inputs.remove(0)),
        _ => UnionExec::try_new(inputs),
    }
}

/// Numbers files and head rows in the order in which they were written, so that one integer tells the later of two rows:
/// the number in the upper half, the row within a batch of the head in the lower.
fn rank(files: Vec<Arc<DataFile>>, head: Vec<Slice>) -> (Vec<(Arc<DataFile>, i64)>, Vec<Slice>) {
    let mut numbers: BTreeMap<i64, i64> = files.iter().map(|f| (f.seq, 0)).collect();
    numbers.extend(head.iter().map(|s| (s.rows.seq, 0)));
    // Head rows of one `seq` stand in the order in which they came, above a file of that `seq`.
    let mut next = 0;
    for (seq, number) in &mut numbers {
        *number = next << 32;
        next += 1 + i64::try_from(head.iter().filter(|s| s.rows.seq == *seq).count()).unwrap_or(0);
    }
    let number_of = |seq: i64| numbers.get(&seq).copied().unwrap_or(0);
    let files = files
        .into_iter()
        .map(|f| {
            let number = number_of(f.seq);
            (f, number)
        })
        .collect();
    let mut used: BTreeMap<i64, (*const Rows, i64)> = BTreeMap::new();
    let head = head.into_iter().map(|slice| {
        let this = Arc::as_ptr(&slice.rows);
        let (last, nth) = used.entry(slice.rows.seq).or_insert((this, 1));
        if *last != this {
            (*last, *nth) = (this, *nth + 1);
        }
        Slice { written: number_of(slice.rows.seq) + (*nth << 32), ..slice }
    });
    (files, head.collect())
}

/// An ordering by the longest prefix of `names` that a schema has; `None` if it lacks the first.
fn ordering<'a>(schema: &Schema, names: impl IntoIterator<Item = &'a str>) -> Option<LexOrdering> {
    let columns = names.into_iter().map_while(|name| Column::new_with_schema(name, schema).ok());
    LexOrdering::new(columns.map(|column| PhysicalSortExpr::new_default(Arc::new(column))))
}

/// Types as queries see them: strings as views, which DataFusion compares and groups faster than dictionaries.
fn view_types(schema: &Schema) -> SchemaRef {
    let view = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(_, values) if **values == DataType::Utf8 => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View))
        }
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(view).collect::<Fields>()))
}

/// A day as the text that names its partition.
fn day_text(day: i64) -> Option<String> {
    let value = ScalarValue::Date32(Some(i32::try_from(day).ok()?));
    Some(value.to_string())
}

#[cfg(test)]
mod tests;
