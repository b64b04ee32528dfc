//! Leaves out what a filter cannot match: files by partition and bounds, sorted head rows by binary search.
//!
//! Called when a scan is planned; hands back fewer files and narrower slices. All of it works on what is in memory.
//!
//! Invariant: what is left out holds no matching row. Bounds of doubles are not used: a NaN lies outside every bound and yet
//! is greater than any number to a comparison.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, UInt64Array, make_comparator},
    compute::{SortOptions, cast},
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    catalog::Session,
    common::{
        Column, DFSchema, Result, ScalarValue,
        pruning::PruningStatistics,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Between, BinaryExpr, Expr, Operator},
    physical_expr::{
        PhysicalExpr, conjunction_opt, split_conjunction,
        utils::{Guarantee, LiteralGuarantee, collect_columns},
    },
    physical_optimizer::pruning::PruningPredicateBuilder,
};
use schemas::{Dataset, Partition};
use storage::{Bound, DataFile};

use super::{DAY_US, Slice, Table};

/// Longest list of values by which files and pages are pruned one value at a time. A longer one prunes nothing, which costs
/// less than thousands of comparisons a page.
pub(crate) const IN_LIST_MAX: usize = 500;
/// Slices a batch of head rows may be cut into; beyond, one slice that holds them all is cheaper.
const SLICES_MAX: usize = 256;

/// The filters of a scan, each to be true.
pub(crate) struct Filter {
    conjuncts: Vec<Arc<dyn PhysicalExpr>>,
    guarantees: Vec<LiteralGuarantee>,
}

impl Filter {
    /// Filters over columns of `schema`.
    pub(crate) fn new(session: &dyn Session, schema: &SchemaRef, filters: &[Expr]) -> Result<Self> {
        let df_schema = DFSchema::try_from(schema.as_ref().clone())?;
        let mut conjuncts = Vec::new();
        for filter in filters.iter().filter(|f| pushable(f)) {
            let expr = session.create_physical_expr(filter.clone(), &df_schema)?;
            conjuncts.extend(split_conjunction(&expr).into_iter().cloned());
        }
        let guarantees = conjuncts.iter().flat_map(LiteralGuarantee::analyze).collect();
        Ok(Self { conjuncts, guarantees })
    }

    /// All of them as one expression.
    pub(crate) fn all(&self) -> Option<Arc<dyn PhysicalExpr>> {
        conjunction_opt(self.conjuncts.iter().cloned())
    }

    /// Those that use no other columns than `columns`.
    pub(crate) fn over(&self, columns: &BTreeSet<&str>) -> Option<Arc<dyn PhysicalExpr>> {
        let within = |expr: &&Arc<dyn PhysicalExpr>| collect_columns(expr).iter().all(|c| columns.contains(c.name()));
        conjunction_opt(self.conjuncts.iter().filter(within).cloned())
    }

    /// The values a column must have one of, if the filters say so.
    pub(crate) fn pins(&self, column: &str) -> Option<Vec<ScalarValue>> {
        let pins = |g: &&LiteralGuarantee| g.column.name() == column && g.guarantee == Guarantee::In;
        let shortest = self.guarantees.iter().filter(pins).min_by_key(|g| g.literals.len())?;
        Some(shortest.literals.iter().cloned().collect())
    }
}

/// May a filter be evaluated while planning, row by row and any number of times?
pub(crate) fn pushable(filter: &Expr) -> bool {
    let has_subquery = filter.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    });
    !filter.is_volatile() && matches!(has_subquery, Ok(false))
}

/// Least and greatest time, microseconds and inclusive, that filters allow in a timestamp column.
pub(crate) fn time_range(filters: &[Expr], column: &str) -> (Option<i64>, Option<i64>) {
    let (mut least, mut greatest) = (None::<i64>, None::<i64>);
    let mut narrow = |op: Operator, value: &ScalarValue| {
        let Some(us) = micros(value) else { return };
        if matches!(op, Operator::Gt | Operator::GtEq | Operator::Eq) {
            least = Some(least.map_or(us, |l| l.max(us)));
        }
        if matches!(op, Operator::Lt | Operator::LtEq | Operator::Eq) {
            greatest = Some(greatest.map_or(us, |g| g.min(us)));
        }
    };
    let is_time = |expr: &Expr| matches!(expr, Expr::Column(c) if c.name == column);
    for filter in filters {
        let visited = filter.apply(|expr| {
            match expr {
                Expr::BinaryExpr(BinaryExpr { op: Operator::And, .. }) => return Ok(TreeNodeRecursion::Continue),
                Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
                    (time, Expr::Literal(value, _)) if is_time(time) => narrow(*op, value),
                    (Expr::Literal(value, _), time) if is_time(time) => {
                        if let Some(op) = op.swap() {
                            narrow(op, value);
                        }
                    }
                    _ => {}
                },
                Expr::Between(Between { expr, negated: false, low, high }) if is_time(expr) => {
                    if let (Expr::Literal(low, _), Expr::Literal(high, _)) = (low.as_ref(), high.as_ref()) {
                        narrow(Operator::GtEq, low);
                        narrow(Operator::LtEq, high);
                    }
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Jump)
        });
        debug_assert!(visited.is_ok(), "the closure returns no error");
    }
    (least, greatest)
}

fn micros(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&schemas::timestamp()) {
        Ok(ScalarValue::TimestampMicrosecond(us, _)) => us,
        _ => None,
    }
}

/// The files that can hold a row for which `predicate` is true.
pub(super) fn files(
    table: &Table,
    files: &[Arc<DataFile>],
    predicate: Option<&Arc<dyn PhysicalExpr>>,
) -> Result<Vec<Arc<DataFile>>> {
    let pruning = predicate.and_then(|predicate| {
        PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&table.schema))
            .with_max_in_list_size(IN_LIST_MAX)
            .build(Arc::clone(predicate))
    });
    let Some(pruning) = pruning else { return Ok(files.to_vec()) };
    let keep = pruning.prune(&Bounds { table, files })?;
    Ok(files.iter().zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| Arc::clone(file)).collect())
}

/// Bounds of files as DataFusion asks for them: one array a column.
struct Bounds<'a> {
    table: &'a Table,
    files: &'a [Arc<DataFile>],
}

impl Bounds<'_> {
    fn array(&self, column: &Column, pick: impl Fn(&(ScalarValue, ScalarValue)) -> ScalarValue) -> Option<ArrayRef> {
        let data_type = self.table.schema.field_with_name(&column.name).ok()?.data_type();
        let null = ScalarValue::try_from(data_type).ok()?;
        let dataset = self.table.dataset();
        let values = self.files.iter().map(|file| bounds(dataset, file, &column.name, data_type));
        ScalarValue::iter_to_array(values.map(|both| both.as_ref().map_or_else(|| null.clone(), &pick))).ok()
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.array(column, |(min, _)| min.clone())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.array(column, |(_, max)| max.clone())
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|f| Some(f.rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// Least and greatest value of a column of the table in a file, as far as they are known.
pub(super) fn bounds(
    dataset: &Dataset,
    file: &DataFile,
    column: &str,
    data_type: &DataType,
) -> Option<(ScalarValue, ScalarValue)> {
    if dataset.partition_columns().any(|name| name == column) {
        let value = partition_value(dataset, file, column, data_type).ok()?;
        return Some((value.clone(), value));
    }
    if let Some((min, max)) = file.bounds.get(column) {
        return Some((scalar(min, data_type)?, scalar(max, data_type)?));
    }
    // A foreign engine may have written no statistics, but the partition still bounds the time.
    if dataset.partition == Partition::DayOfTime && dataset.time == column {
        let ScalarValue::Date32(Some(day)) = partition_value(dataset, file, "day", &DataType::Date32).ok()? else {
            return None;
        };
        let start = i64::from(day) * DAY_US;
        return Some((scalar(&Bound::Int(start), data_type)?, scalar(&Bound::Int(start + DAY_US - 1), data_type)?));
    }
    None
}

fn scalar(bound: &Bound, data_type: &DataType) -> Option<ScalarValue> {
    match (bound, data_type) {
        (Bound::Text(text), DataType::Utf8View) => Some(ScalarValue::Utf8View(Some(text.clone()))),
        (Bound::Int(us), DataType::Timestamp(..)) => {
            ScalarValue::TimestampMicrosecond(Some(*us), Some("UTC".into())).cast_to(data_type).ok()
        }
        (Bound::Int(day), DataType::Date32) => Some(ScalarValue::Date32(Some(i32::try_from(*day).ok()?))),
        (Bound::Int(value), _) => ScalarValue::Int64(Some(*value)).cast_to(data_type).ok(),
        _ => None,
    }
}

/// Value of a partition column of a file's rows.
pub(super) fn partition_value(
    dataset: &Dataset,
    file: &DataFile,
    column: &str,
    data_type: &DataType,
) -> Result<ScalarValue> {
    let values = file.partition.as_deref().map(|partition| dataset.partition_values(partition)).unwrap_or_default();
    let value = values.into_iter().find(|(name, _)| *name == column).map(|(_, value)| value.to_owned());
    ScalarValue::Utf8(value).cast_to(data_type)
}

/// Narrows sorted head rows to those whose leading key columns have pinned values.
pub(super) fn head(dataset: &Dataset, pins: &[Option<Vec<ScalarValue>>], slice: Slice) -> Result<Vec<Slice>> {
    let mut ranges = vec![slice.range.clone()];
    if slice.rows.sorted {
        for (name, values) in dataset.sort.iter().zip(pins) {
            let (Some(values), Some(index)) = (values, dataset.index_of(name)) else { break };
            if ranges.len() * values.len() > SLICES_MAX {
                break;
            }
            let column = slice.rows.batch.column(index);
            let values = ScalarValue::iter_to_array(values.iter().cloned())?;
            let compare = make_comparator(column, &cast(&values, column.data_type())?, SortOptions::default())?;
            let mut narrowed = Vec::new();
            for range in &ranges {
                for value in 0..values.len() {
                    let first = partition_point(range.start, range.end, |row| compare(row, value).is_lt());
                    let end = partition_point(first, range.end, |row| compare(row, value).is_le());
                    if first < end {
                        narrowed.push(first..end);
                    }
                }
            }
            narrowed.sort_by_key(|range| range.start);
            ranges = narrowed;
        }
    }
    let filled = ranges.into_iter().filter(|range| !range.is_empty());
    Ok(filled.map(|range| Slice { rows: Arc::clone(&slice.rows), range, written: slice.written }).collect())
}

/// First row of `start..end` for which `before` is false.
fn partition_point(start: usize, end: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (start, end);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
