//! Turns rows into files and files into a commit.
//!
//! Called by the writer, on a task of its own; one at a time per table. Sorting and encoding run on the blocking pool. Puts are
//! retried until they succeed: the rows are safe in the log meanwhile, and visible in the head.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch, max, max_string, min, min_string};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use hashbrown::HashSet;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::Dataset;

use crate::{
    Bound, Clock, DataFile, Delete, Env, Error, ErrorKind, Lane, Replacement, Result, Rows,
    delta::{
        Backoff, Change, Table,
        action::{Add, Place},
    },
    merge::merge_runs,
    parquet_file::{self, Encoded},
    sort::{Equal, one_partition, sort, sort_into_partitions},
};

/// Commits rows of the head with the positions they reach up to.
pub(crate) async fn append(
    table: &mut Table,
    rows: Vec<Arc<Rows>>,
    positions: BTreeMap<Arc<str>, i64>,
    env: &Env,
) -> Result<()> {
    let dataset = table.dataset;
    let parts = blocking(move || {
        let mut parts = Vec::new();
        for (lane, equal) in [(Lane::InOrder, Equal::Keep), (Lane::Late, Equal::Last)] {
            let rows: Vec<&Rows> = rows.iter().map(AsRef::as_ref).filter(|rows| rows.lane == lane).collect();
            for (partition, encoded) in encode(dataset, &rows, equal)? {
                parts.push((partition, lane, encoded));
            }
        }
        Ok(parts)
    })
    .await?;
    let mut adds = Vec::with_capacity(parts.len());
    for (partition, lane, encoded) in parts {
        let kind = Kind { lane, seq: table.next_seq(lane), level: 0, trimmed: None };
        adds.push(Folder::of(table).put(partition.as_deref(), kind, &encoded, env).await);
    }
    env.probe.reach("parquet_put");
    let change = Change { operation: "WRITE", adds, positions, ..Change::default() };
    table.commit(change, env).await?;
    env.probe.reach("delta_committed");
    Ok(())
}

/// Rows of one lane as a file for each partition.
fn encode(dataset: &'static Dataset, rows: &[&Rows], equal: Equal) -> Result<Vec<(Option<Arc<str>>, Encoded)>> {
    let (runs, rest): (Vec<&Rows>, Vec<&Rows>) = rows.iter().copied().partition(|rows| rows.sorted);
    let batches = |rows: &[&Rows]| -> Vec<RecordBatch> { rows.iter().map(|rows| rows.batch.clone()).collect() };
    // Runs are merged as they are; to sort all their rows again would take a copy of them.
    if runs.len() > 1
        && equal == Equal::Keep
        && let Some(partition) = one_partition(dataset, &batches(rows))?
    {
        let rest = batches(&rest);
        let last = sort(dataset, &rest.iter().collect::<Vec<_>>(), equal)?;
        let runs = runs.iter().map(|run| &run.batch).chain([&last]);
        let runs = runs.map(|run| parquet_file::file_rows(dataset, run)).collect::<Result<Vec<_>>>()?;
        return Ok(vec![(partition, merge_runs(dataset, runs)?)]);
    }
    let all: Vec<&RecordBatch> = rows.iter().map(|rows| &rows.batch).collect();
    let mut files = Vec::new();
    sort_into_partitions(dataset, &all, equal, &mut |partition, rows| {
        files.push((partition, parquet_file::encode(dataset, rows)?));
        Ok(())
    })?;
    Ok(files)
}

/// Commits staged files in place of all files of their scope; the head is empty.
pub(crate) async fn replace(
    table: &mut Table,
    replacement: &Replacement,
    positions: BTreeMap<Arc<str>, i64>,
    env: &Env,
) -> Result<()> {
    let dataset = table.dataset;
    let removes = table.files_where(|file| file.scope(dataset) == Some(&replacement.scope));
    let removes = removes.into_iter().map(|(path, _)| path).collect();
    let seq = table.next_seq(Lane::InOrder);
    let adds = replacement.files.iter().map(|file| file.written_as(seq)).collect();
    let change = Change { operation: "WRITE", adds, removes, positions, ..Change::default() };
    table.commit(change, env).await?;
    env.probe.reach("replacement_committed");
    Ok(())
}

/// Rewrites the files that hold rows a delete takes out; the head is empty.
pub(crate) async fn delete(
    table: &mut Table,
    delete: &Delete,
    positions: BTreeMap<Arc<str>, i64>,
    env: &Env,
) -> Result<()> {
    let dataset = table.dataset;
    let mut change = Change { operation: "DELETE", positions, ..Change::default() };
    for (path, file) in table.files_where(may_hold(dataset, delete)?) {
        let bytes = get(table, &file.path, &env.clock).await?;
        let (delete, partition) = (delete.clone(), file.partition.clone());
        let rewritten = blocking(move || {
            let rows = read(dataset, bytes, partition.as_deref())?;
            let kept = survivors(dataset, &rows, &delete)?;
            let encoded =
                if kept.num_rows() > 0 { Some(parquet_file::encode(dataset, [Ok(kept.clone())])?) } else { None };
            Ok((kept.num_rows() < rows.num_rows()).then_some(encoded))
        })
        .await?;
        if let Some(encoded) = rewritten {
            change.removes.push(path);
            if let Some(encoded) = encoded {
                let DataFile { lane, seq, level, trimmed, .. } = *file;
                let kind = Kind { lane, seq, level, trimmed };
                change.adds.push(Folder::of(table).put(file.partition.as_deref(), kind, &encoded, env).await);
            }
        }
    }
    table.commit(change, env).await
}

/// Runs CPU-bound work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::new(ErrorKind::Internal, "a storage job panicked").caused_by(error)))
}

/// What the rows of a new file are to those of others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub lane: Lane,
    pub seq: i64,
    pub level: u8,
    /// Mark of the rules by which rows were left out.
    pub trimmed: Option<u64>,
}

/// Where a table's files go.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub dataset: &'static Dataset,
    pub store: Arc<dyn ObjectStore>,
    pub root: Path,
}

impl Folder {
    pub(crate) fn of(table: &Table) -> Self {
        Self { dataset: table.dataset, store: Arc::clone(table.store()), root: table.root().clone() }
    }

    /// The path of a file of the table as its log has it.
    pub(crate) fn log_path(&self, file: &DataFile) -> String {
        let path = file.path.as_ref();
        path.strip_prefix(self.root.as_ref()).map_or(path, |path| path.trim_start_matches('/')).to_owned()
    }

    /// Where a path of the log is.
    pub(crate) fn location(&self, log_path: &str) -> Path {
        Path::from(format!("{}/{log_path}", self.root))
    }

    /// Puts a file under a new name, however long the store is away.
    pub(crate) async fn put(&self, partition: Option<&str>, kind: Kind, encoded: &Encoded, env: &Env) -> Add {
        let values = partition.map(|partition| self.dataset.partition_values(partition)).unwrap_or_default();
        let folder: String = values.iter().map(|(column, value)| format!("{column}={}/", path_safe(value))).collect();
        let path = format!("{folder}part-{:032x}-{}.parquet", env.random.bits(), encoded.tail);
        let location = self.location(&path);
        let mut backoff = Backoff::default();
        while let Err(error) = self.store.put(&location, encoded.bytes.clone().into()).await {
            tracing::warn!(dataset = self.dataset.name, %error, "file cannot be put; retrying");
            backoff.wait(&env.clock).await;
        }
        let partition = partition.map(str::to_owned);
        Add::new(self.dataset, encoded, Place { path, partition, kind, now_ms: env.clock.now_ms() })
    }
}

async fn get(table: &Table, path: &Path, clock: &Clock) -> Result<Bytes> {
    let mut backoff = Backoff::default();
    loop {
        let read = async { table.store().get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => return Ok(bytes),
            Err(error @ object_store::Error::NotFound { .. }) => {
                let message = format!("a file of the table is gone, path={path}");
                return Err(Error::new(ErrorKind::Corrupt, message).caused_by(error));
            }
            Err(error) => tracing::warn!(dataset = table.dataset.name, %error, "file cannot be read; retrying"),
        }
        backoff.wait(clock).await;
    }
}

/// A folder name that needs no escaping anywhere; the value itself stands in the log.
fn path_safe(value: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    value.chars().take(80).map(safe).collect()
}

// === delete ===

/// Tells files that may hold rows a delete takes out from those that do not, by their bounds.
pub(crate) fn may_hold(dataset: &'static Dataset, delete: &Delete) -> Result<impl Fn(&DataFile) -> bool + use<>> {
    let keys = match delete.keys.columns().first() {
        Some(column) => bounds(column)?,
        None => None,
    };
    let leading = dataset.sort.first().copied().unwrap_or_default();
    let (nothing, start_us, end_us) = (delete.keys.num_rows() == 0, delete.start_us, delete.end_us);
    Ok(move |file: &DataFile| {
        let in_time = file.times_us(dataset).is_none_or(|(low, high)| low < end_us && high >= start_us);
        let in_keys = match (&keys, file.bounds.get(leading)) {
            (Some((least, greatest)), Some((low, high))) => low <= greatest && high >= least,
            _ => true,
        };
        !nothing && in_time && in_keys
    })
}

/// Least and greatest value of a column, if it is of a kind that is compared with a file's bounds.
fn bounds(column: &ArrayRef) -> Result<Option<(Bound, Bound)>> {
    let text = match column.data_type() {
        DataType::Utf8 => Arc::clone(column),
        DataType::Dictionary(_, values) if **values == DataType::Utf8 => cast(column, &DataType::Utf8)?,
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            return Ok(min(column).zip(max(column)).map(|(low, high)| (Bound::Int(low), Bound::Int(high))));
        }
        _ => return Ok(None),
    };
    let text = text.as_string::<i32>();
    let bound = |text: &str| Bound::Text(text.to_owned());
    Ok(min_string(text).zip(max_string(text)).map(|(low, high)| (bound(low), bound(high))))
}

/// All rows of a file, with the partition column restored.
pub(crate) fn read(dataset: &Dataset, bytes: Bytes, partition: Option<&str>) -> Result<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let batches = reader.build()?.collect::<Result<Vec<_>, _>>()?;
    let mut restored = Vec::with_capacity(batches.len());
    for batch in batches {
        restored.push(restore(dataset, &batch, partition)?);
    }
    let batches: Vec<&RecordBatch> = restored.iter().collect();
    // Dictionaries differ between batches; sorting unifies them and changes nothing else, as files are sorted.
    crate::sort::sort(dataset, &batches, Equal::Keep)
}

fn restore(dataset: &Dataset, batch: &RecordBatch, partition: Option<&str>) -> Result<RecordBatch> {
    let schema: &SchemaRef = &dataset.schema;
    let values = partition.map(|partition| dataset.partition_values(partition)).unwrap_or_default();
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Ok(arrow::compute::cast(column, field.data_type())?),
            None => {
                let value = values.iter().find(|(column, _)| column == field.name()).map(|(_, value)| *value);
                let text = arrow::array::StringArray::from(vec![value; batch.num_rows()]);
                Ok(arrow::compute::cast(&text, field.data_type())?)
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Rows that a delete leaves.
pub(crate) fn survivors(dataset: &Dataset, rows: &RecordBatch, delete: &Delete) -> Result<RecordBatch> {
    let fields = delete.keys.schema();
    let converter =
        RowConverter::new(fields.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect())?;
    let doomed = converter.convert_columns(delete.keys.columns())?;
    let doomed: HashSet<&[u8]> = doomed.iter().map(|row| row.data()).collect();
    let columns = fields
        .fields()
        .iter()
        .map(|field| rows.column_by_name(field.name()).cloned())
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "delete names a column the dataset lacks"))?;
    let keys = converter.convert_columns(&columns)?;
    let times = rows
        .column_by_name(dataset.time)
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| Error::new(ErrorKind::Internal, "dataset has no time column to delete by"))?;
    let range = delete.start_us..delete.end_us;
    let kept = (0..rows.num_rows()).map(|i| !(range.contains(&times.value(i)) && doomed.contains(keys.row(i).data())));
    Ok(filter_record_batch(rows, &BooleanArray::from(kept.collect::<Vec<bool>>()))?)
}
