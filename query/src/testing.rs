//! Views made by hand for tests: Parquet files in a store in memory that counts what is read, and head rows.

pub(crate) mod bills;
pub(crate) mod books;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arrow::{
    array::{
        ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray,
        StringBuilder, TimestampMicrosecondArray,
    },
    compute::{cast, max, min},
    datatypes::{DataType, Field, Int64Type, TimestampMicrosecondType},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, memory::InMemory, path::Path,
};
use parking_lot::Mutex;
use parquet::{
    arrow::ArrowWriter,
    basic::Compression,
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};
use schemas::{Dataset, Partition};
use serde_json::Value;
use storage::{Bound, Clock, DataFile, Lane, Rows, View};

use crate::{Catalog, Config, Engine, Result, format};

/// 2026-11-22T00:00:00Z, milliseconds.
pub(crate) const DAY_MS: i64 = 1_795_305_600_000;
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// A catalog under construction.
pub(crate) struct Bench {
    pub store: Arc<Counting>,
    pub(crate) views: Arc<Mutex<BTreeMap<&'static str, View>>>,
    datasets: Vec<&'static Dataset>,
    next: AtomicI64,
}

/// A sample: metric, series id, milliseconds, value.
pub(crate) type Sample = (&'static str, i64, i64, f64);

/// A file of which nothing else is known yet.
pub(crate) fn data_file(lane: Lane, seq: i64, sorted: bool) -> DataFile {
    DataFile {
        path: Path::from("unset"),
        size: 0,
        rows: 0,
        partition: None,
        bounds: BTreeMap::new(),
        lane,
        seq,
        sorted,
        level: 0,
        trimmed: None,
        written_ms: 0,
        known_at: 0,
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// With datasets that only a test knows.
    pub(crate) fn with(others: &[&'static Dataset]) -> Self {
        let datasets = [schemas::all().as_slice(), others].concat();
        let views = datasets.iter().map(|d| (d.name, View::empty(d))).collect();
        Self { store: Arc::default(), views: Arc::new(Mutex::new(views)), datasets, next: AtomicI64::new(1) }
    }

    /// The next order of writing.
    pub(crate) fn seq(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A committed file of rows of one partition.
    pub(crate) async fn file(&self, dataset: &'static Dataset, batch: &RecordBatch, lane: Lane) -> Path {
        self.file_as(dataset, batch, data_file(lane, self.seq(), true)).await
    }

    /// A committed file with some properties given; those the rows tell are filled in.
    pub(crate) async fn file_as(&self, dataset: &'static Dataset, batch: &RecordBatch, mut file: DataFile) -> Path {
        file.partition = partition(dataset, batch);
        let folder = file.partition.as_deref().unwrap_or("all");
        file.path = Path::from(format!("{}/day={folder}/{}.parquet", dataset.name, self.seq()));
        file.rows = batch.num_rows() as u64;
        file.bounds = bounds(batch);
        let stored = match dataset.partition {
            Partition::Columns(columns) => batch.project(&(columns..batch.num_columns()).collect::<Vec<_>>()).unwrap(),
            _ => batch.clone(),
        };
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(Default::default()))
            .set_data_page_size_limit(64 << 10)
            .set_data_page_row_count_limit(8_192)
            .set_column_dictionary_enabled(ColumnPath::from("ts"), false)
            .set_column_dictionary_enabled(ColumnPath::from("value"), false)
            .set_column_statistics_enabled(ColumnPath::from("value"), EnabledStatistics::None)
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), stored.schema(), Some(properties)).unwrap();
        writer.write(&stored).unwrap();
        let bytes = writer.into_inner().unwrap();
        file.size = bytes.len() as u64;
        self.store.inner.put(&file.path, bytes.into()).await.unwrap();
        let path = file.path.clone();
        let mut views = self.views.lock();
        let view = views.get_mut(dataset.name).unwrap();
        view.version = Some(view.version.map_or(0, |v| v + 1));
        file.known_at = view.version.unwrap_or(0);
        Arc::make_mut(&mut view.files).push(Arc::new(file));
        path
    }

    /// Puts one file in place of all those of its partition, as upkeep does.
    pub(crate) async fn merged(&self, dataset: &'static Dataset, batch: &RecordBatch) -> Path {
        let path = self.file(dataset, batch, Lane::InOrder).await;
        let mut views = self.views.lock();
        let view = views.get_mut(dataset.name).unwrap();
        let version = view.version.unwrap_or(0);
        let files = Arc::make_mut(&mut view.files);
        let mut merged = DataFile::clone(&files.pop().unwrap());
        merged.known_at = version - 1;
        files.retain(|file| file.partition != merged.partition);
        files.push(Arc::new(merged));
        path
    }

    /// Head rows.
    pub(crate) fn head(&self, dataset: &'static Dataset, batch: RecordBatch, lane: Lane, sorted: bool) {
        let rows = Rows { batch, sorted, lane, seq: self.seq() };
        self.views.lock().get_mut(dataset.name).unwrap().head.push(Arc::new(rows));
    }

    /// The newest view of a dataset.
    pub(crate) fn view(&self, dataset: &'static Dataset) -> Arc<View> {
        Arc::new(self.views.lock()[dataset.name].clone())
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine_with(Config::default())
    }

    pub(crate) fn engine_with(&self, config: Config) -> Engine {
        let views = Arc::clone(&self.views);
        let catalog = Catalog {
            store: Arc::clone(&self.store) as _,
            datasets: self.datasets.clone(),
            views: Arc::new(move |datasets| {
                let views = views.lock();
                datasets.iter().map(|dataset| Arc::new(views[dataset.name].clone())).collect()
            }),
        };
        let clock = Clock::new(|| DAY_MS * 1_000);
        Engine::new(config, catalog, clock, &prometheus::Registry::new()).unwrap()
    }

    /// Rows of a query as JSON.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Value> {
        rows(&self.engine(), sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Plan of a query as text.
    pub(crate) async fn plan(&self, sql: &str) -> String {
        let rows = self.rows(&format!("EXPLAIN FORMAT INDENT {sql}")).await;
        let physical = rows.iter().find(|row| row[0] == "physical_plan").unwrap();
        physical[1].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn rows(engine: &Engine, sql: &str) -> Result<Vec<Value>> {
    let answer = engine.sql(sql).await?;
    let schema = Arc::clone(&answer.schema);
    let text = format::json(&schema, &answer.collect().await?)?;
    let json: Value = serde_json::from_str(&text).unwrap();
    Ok(json["data"]["rows"].as_array().unwrap().clone())
}

/// Rows of `samples`, in the order given.
pub(crate) fn samples(rows: &[Sample]) -> RecordBatch {
    let dataset = schemas::samples();
    let columns: Vec<ArrayRef> = vec![
        text(rows.iter().map(|r| r.0)),
        Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.2 * 1_000)).with_timezone("UTC")),
        Arc::new(rows.iter().map(|r| r.3).collect::<Float64Array>()),
        Arc::new(TimestampMicrosecondArray::new_null(rows.len()).with_timezone("UTC")),
    ];
    RecordBatch::try_new(Arc::clone(&dataset.schema), columns).unwrap()
}

/// A series: metric, id, labels.
pub(crate) type Labelled<'a> = (&'a str, i64, &'a [(&'a str, &'a str)]);

/// Rows of `series` of the day that holds `ms`.
pub(crate) fn series(ms: i64, rows: &[Labelled<'_>]) -> RecordBatch {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut labels = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_values_field(Field::new("value", DataType::Utf8, false));
    for (_, _, pairs) in rows {
        for (name, value) in *pairs {
            labels.keys().append_value(name);
            labels.values().append_value(value);
        }
        labels.append(true).unwrap();
    }
    let day = i32::try_from(ms.div_euclid(24 * HOUR_MS)).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from(vec![day; rows.len()])),
        text(rows.iter().map(|r| r.0)),
        Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>()),
        Arc::new(labels.finish()),
        Arc::new(TimestampMicrosecondArray::from(vec![ms * 1_000; rows.len()]).with_timezone("UTC")),
    ];
    RecordBatch::try_new(Arc::clone(&schemas::series().schema), columns).unwrap()
}

fn text<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    cast(&(Arc::new(StringArray::from_iter_values(values)) as ArrayRef), &schemas::dictionary()).unwrap()
}

fn partition(dataset: &Dataset, batch: &RecordBatch) -> Option<Arc<str>> {
    let columns = match dataset.partition {
        Partition::None => return None,
        Partition::Columns(columns) => batch.columns()[..columns].to_vec(),
        Partition::DayOfTime => {
            vec![cast(batch.column_by_name(dataset.time).unwrap(), &DataType::Date32).unwrap()]
        }
    };
    let value = |column: &ArrayRef| {
        let texts = cast(column, &DataType::Utf8).unwrap();
        let texts = texts.as_string::<i32>();
        assert!(texts.iter().all(|text| text == Some(texts.value(0))), "a file holds rows of one partition");
        texts.value(0).to_owned()
    };
    Some(Arc::from(columns.iter().map(value).collect::<Vec<_>>().join("/")))
}

fn bounds(batch: &RecordBatch) -> BTreeMap<String, (Bound, Bound)> {
    let mut out = BTreeMap::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let both = match field.data_type() {
            DataType::Int64 => {
                let column = column.as_primitive::<Int64Type>();
                min(column).zip(max(column)).map(|(a, b)| (Bound::Int(a), Bound::Int(b)))
            }
            DataType::Timestamp(..) => {
                let column = column.as_primitive::<TimestampMicrosecondType>();
                min(column).zip(max(column)).map(|(a, b)| (Bound::Int(a), Bound::Int(b)))
            }
            DataType::Dictionary(..) => {
                let column = cast(column, &DataType::Utf8).unwrap();
                let values = column.as_string::<i32>().iter().flatten();
                values.clone().min().zip(values.max()).map(|(a, b)| (Bound::Text(a.into()), Bound::Text(b.into())))
            }
            _ => None,
        };
        out.extend(both.map(|both| (field.name().clone(), both)));
    }
    out
}

/// A store in memory that remembers which ranges were asked for.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    pub inner: InMemory,
    reads: Mutex<Vec<(Path, Range<u64>)>>,
}

impl Counting {
    /// Reads since the last call.
    pub(crate) fn reads(&self) -> Vec<(Path, Range<u64>)> {
        std::mem::take(&mut *self.reads.lock())
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let result = self.inner.get_opts(path, options).await?;
        self.reads.lock().push((path.clone(), result.range.clone()));
        Ok(result)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.reads.lock().extend(ranges.iter().map(|range| (path.clone(), range.clone())));
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
