//! Plans reads of committed files: which groups, in what declared order, with what pushed into the Parquet reader.
//!
//! Called by the table; hands DataFusion's own Parquet scan what our file list knows already, so that nothing is listed and
//! no footer is read twice (one cache for all queries).
//!
//! Invariants: an order is declared only where every file was written sorted and the files of a group do not overlap; the
//! partition value and the order of writing are constants of a file.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use chrono::{DateTime, Utc};
use datafusion::{
    catalog::Session,
    common::{ColumnStatistics, Result, ScalarValue, Statistics, config::TableParquetOptions, stats::Precision},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{
            FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
            parquet::{CachedParquetFileReaderFactory, ParquetRowSelection},
        },
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    execution::{object_store::ObjectStoreUrl, runtime_env::RuntimeEnv},
    physical_expr::{LexOrdering, PhysicalExpr},
    physical_plan::{ExecutionPlan, metrics::ExecutionPlanMetricsSet},
};
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::{arrow_reader::RowSelection, async_reader::AsyncFileReader};
use storage::DataFile;

use super::{
    Table, WRITTEN,
    blocks::Blocks,
    ordering, prune,
    ranges::{Known, Ranges},
    view_types,
};

/// Groups that are read side by side to keep an order, at most: each holds a decoder and some pages. With more, sorting what
/// comes out is cheaper than merging what goes in.
const ORDERED_GROUPS_MAX: usize = 32;
/// Footer and page index take about a hundredth of a file of ours; one GET is to fetch both.
const FOOTER_SHARE: u64 = 64;
const FOOTER_BYTES_MIN: u64 = 32 << 10;
const FOOTER_BYTES_MAX: u64 = 512 << 10;

/// Reads files of one store, with one cache of footers and page indexes for all queries.
#[derive(Debug)]
pub(crate) struct Reader {
    url: ObjectStoreUrl,
    factory: Arc<dyn ParquetFileReaderFactory>,
    ranges: Known,
    pub(super) blocks: Blocks,
}

impl Reader {
    /// A reader of the files in `store`, which `runtime` knows as `url`.
    /// `ranges_bytes`: memory for what is known of the places of series in files; `blocks_bytes`: for decoded samples.
    pub(crate) fn new(
        url: ObjectStoreUrl,
        store: Arc<dyn ObjectStore>,
        runtime: &RuntimeEnv,
        [ranges_bytes, blocks_bytes]: [usize; 2],
    ) -> Self {
        let cache = runtime.cache_manager.get_file_metadata_cache();
        Self {
            ranges: Known::new(ranges_bytes),
            blocks: Blocks::new(blocks_bytes),
            url,
            factory: Arc::new(CachedParquetFileReaderFactory::new(store, cache)),
        }
    }

    /// Where the rows of each series stand in a file that was written sorted.
    pub(super) async fn ranges(&self, file: &DataFile) -> Result<Arc<Ranges>> {
        if let Some(known) = self.known_ranges(file) {
            return Ok(known);
        }
        // Two that ask at once both read: that is seldom, and to wait for each other would take more.
        let ranges = Arc::new(Ranges::read(self.open(file)?, file).await?);
        self.ranges.put(file.path.clone(), Arc::clone(&ranges));
        Ok(ranges)
    }

    /// The same, if it is in memory.
    pub(super) fn known_ranges(&self, file: &DataFile) -> Option<Arc<Ranges>> {
        self.ranges.get(&file.path)
    }

    /// Opens a file, whose footer comes from the cache and goes there.
    pub(super) fn open(&self, file: &DataFile) -> Result<Box<dyn AsyncFileReader + Send>> {
        let opened = PartitionedFile::new_from_meta(meta(file));
        self.factory.create_reader(0, opened, Some(footer_bytes(file)), &ExecutionPlanMetricsSet::new())
    }
}

/// Files in groups that are read one file after another, and the order that keeps.
struct Grouped {
    groups: Vec<FileGroup>,
    order: Option<LexOrdering>,
    rows: Precision<usize>,
}

/// One scan of files.
pub(super) struct Scan<'a> {
    pub table: &'a Table,
    /// Columns to read, in order; may name the internal one.
    pub columns: &'a [&'a str],
    /// Decode only rows that match what is pushed down?
    pub needle: bool,
    /// Filter to push down while planning; the optimizer adds its own where nothing stands between.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
}

impl Scan<'_> {
    /// Reads files no key of which was written twice.
    pub(super) fn plain(&self, session: &dyn Session, files: &[Arc<DataFile>]) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema(false);
        let partitioned = files.iter().map(|f| self.file(f, None)).collect::<Result<Vec<_>>>()?;
        let order = files
            .iter()
            .all(|f| f.sorted)
            .then(|| ordering(schema.table_schema(), self.table.dataset().sort.iter().copied()));
        let partitions = session.config().target_partitions().max(1);
        let (groups, order) = group(partitioned, order.flatten(), schema.table_schema(), partitions);
        self.exec(session, schema, Grouped { groups, order, rows: rows(files) })
    }

    /// Reads some rows of files.
    pub(super) fn stretches(
        &self,
        session: &dyn Session,
        files: Vec<(Arc<DataFile>, RowSelection)>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = Precision::Exact(files.iter().map(|(_, rows)| rows.row_count()).sum());
        let file = |(file, rows)| Ok(self.file(file, None)?.with_extension(ParquetRowSelection::new(rows)));
        let files = files.iter().map(|(f, rows)| file((f, rows.clone()))).collect::<Result<Vec<_>>>()?;
        let size = files.len().div_ceil(session.config().target_partitions().max(1));
        let groups = files.chunks(size.max(1)).map(|files| FileGroup::new(files.to_vec())).collect();
        self.exec(session, self.schema(false), Grouped { groups, order: None, rows })
    }

    /// Reads files with the order in which they were written, one a group, in order of `key` and then of writing.
    pub(super) fn late(
        &self,
        session: &dyn Session,
        files: &[(Arc<DataFile>, i64)],
        key: &[&str],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema(true);
        let group = |(file, written): &(Arc<DataFile>, i64)| Ok(FileGroup::new(vec![self.file(file, Some(*written))?]));
        let groups = files.iter().map(group).collect::<Result<Vec<_>>>()?;
        let sorted = files.iter().all(|(f, _)| f.sorted);
        let order = sorted.then(|| ordering(schema.table_schema(), key.iter().copied().chain([WRITTEN]))).flatten();
        self.exec(session, schema, Grouped { groups, order, rows: Precision::Absent })
    }

    fn exec(&self, session: &dyn Session, schema: TableSchema, files: Grouped) -> Result<Arc<dyn ExecutionPlan>> {
        let Grouped { groups, order, rows } = files;
        let reader = &self.table.reader;
        let mut options = TableParquetOptions::new();
        options.global = session.config_options().execution.parquet.clone();
        let full = Arc::clone(schema.table_schema());
        let mut source = ParquetSource::new(schema)
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::clone(&reader.factory))
            .with_pushdown_filters(self.needle);
        if let Some(predicate) = &self.predicate {
            let predicate = datafusion::physical_expr::utils::reassign_expr_columns(Arc::clone(predicate), &full)?;
            source = source.with_predicate(predicate);
        }
        let indices = self.columns.iter().map(|name| Ok(full.index_of(name)?)).collect::<Result<Vec<_>>>()?;
        let statistics = Statistics { num_rows: rows, ..Statistics::new_unknown(&full) };
        let config = FileScanConfigBuilder::new(reader.url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_output_ordering(order.into_iter().collect())
            .with_projection_indices(Some(indices))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Columns of the files, then the constants of a file.
    fn schema(&self, with_written: bool) -> TableSchema {
        let dataset = self.table.dataset();
        let partition = dataset.partition_columns().filter_map(|name| self.table.schema.field_with_name(name).ok());
        let mut constants: Vec<FieldRef> = partition.map(|field| Arc::new(field.clone())).collect();
        if with_written {
            constants.push(Arc::new(Field::new(WRITTEN, DataType::Int64, false)));
        }
        TableSchema::builder(view_types(&dataset.file_schema())).with_table_partition_cols(constants).build()
    }

    fn file(&self, file: &DataFile, written: Option<i64>) -> Result<PartitionedFile> {
        let dataset = self.table.dataset();
        let mut constants = Vec::new();
        for name in dataset.partition_columns() {
            let data_type = self.table.schema.field_with_name(name)?.data_type();
            constants.push(prune::partition_value(dataset, file, name, data_type)?);
        }
        constants.extend(written.map(|written| ScalarValue::Int64(Some(written))));
        Ok(PartitionedFile::new_from_meta(meta(file))
            .with_partition_values(constants)
            .with_statistics(Arc::new(self.statistics(file)))
            .with_metadata_size_hint(footer_bytes(file)))
    }

    /// What the file list knows about the columns of a file. Bounds contain the values but need not be one of them.
    fn statistics(&self, file: &DataFile) -> Statistics {
        let dataset = self.table.dataset();
        let schema: SchemaRef = view_types(&dataset.file_schema());
        let column = |field: &FieldRef| {
            let bounds = prune::bounds(dataset, file, field.name(), field.data_type());
            bounds.map_or_else(ColumnStatistics::new_unknown, |(min, max)| ColumnStatistics {
                min_value: Precision::Inexact(min),
                max_value: Precision::Inexact(max),
                null_count: if field.is_nullable() { Precision::Absent } else { Precision::Exact(0) },
                ..ColumnStatistics::new_unknown()
            })
        };
        Statistics {
            num_rows: rows(std::slice::from_ref(&Arc::new(file.clone()))),
            total_byte_size: Precision::Absent,
            column_statistics: schema.fields().iter().map(column).collect(),
        }
    }
}

/// A file as DataFusion knows it.
fn meta(file: &DataFile) -> ObjectMeta {
    // The cache of footers compares size and time; names are never used twice, so any constant time will do.
    ObjectMeta {
        location: file.path.clone(),
        last_modified: DateTime::<Utc>::UNIX_EPOCH,
        size: file.size,
        e_tag: None,
        version: None,
    }
}

/// Bytes at a file's end that are fetched for its footer and page index.
fn footer_bytes(file: &DataFile) -> usize {
    let bytes = (file.size / FOOTER_SHARE).clamp(FOOTER_BYTES_MIN, FOOTER_BYTES_MAX);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Number of rows, by which `count(*)` is answered. A foreign engine may not have stated it, so its files are counted.
fn rows(files: &[Arc<DataFile>]) -> Precision<usize> {
    if files.iter().any(|f| !f.sorted) {
        return Precision::Absent;
    }
    usize::try_from(files.iter().map(|f| f.rows).sum::<u64>()).map_or(Precision::Absent, Precision::Exact)
}

/// Groups of files to read one after another, and the order they keep.
fn group(
    files: Vec<PartitionedFile>,
    order: Option<LexOrdering>,
    schema: &SchemaRef,
    partitions: usize,
) -> (Vec<FileGroup>, Option<LexOrdering>) {
    let all = FileGroup::new(files);
    if let Some(order) = order {
        let groups = if all.len() <= partitions {
            Ok(all.iter().map(|file| FileGroup::new(vec![file.clone()])).collect())
        } else {
            let all = std::slice::from_ref(&all);
            FileScanConfig::split_groups_by_statistics_with_target_partitions(schema, all, &order, partitions)
        };
        if let Ok(groups) = groups
            && groups.len() <= ORDERED_GROUPS_MAX.max(partitions)
        {
            return (groups, Some(order));
        }
    }
    (all.split_files(partitions), None)
}
