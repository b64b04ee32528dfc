//! Measures what a bill takes as Parquet: `size FILE`, of each column its bytes per row.
//!
//! Rows are gathered, sorted and written as loads of bills write them (`storage/src/staging.rs`, `storage/src/parquet_file.rs`), which this
//! copies since it is not public. Options after the file: `zstd=3` for files that are kept, `page=65536` for the size of a page,
//! `group=64` for the MiB that are sorted together, `dictionary=1048576` for the bytes of one; and instead of a dictionary `plain=COLUMN` for
//! a text, `split=COLUMN` for a decimal, byte by byte.
#![allow(clippy::disallowed_methods, reason = "this is a measurement")]

use std::{collections::BTreeMap, fs::File, time::Instant};

use arrow::{
    array::RecordBatch,
    compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch},
};
use billing::{Options, Reader};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{WriterProperties, WriterVersion},
    schema::types::ColumnPath,
};

/// The allocator of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

/// Columns that take less than this share of a file are not shown.
const SHOWN: f64 = 0.004;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: size FILE [zstd=1] [page=65536] [group=64] [plain=COLUMN]")?;
    let options: Vec<(String, String)> = arguments
        .map(|argument| argument.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).ok_or("no option"))
        .collect::<Result<_, _>>()?;
    let option = |name: &str, default: usize| {
        options.iter().find(|(of, _)| of == name).map_or(Ok(default), |(_, value)| value.parse::<usize>())
    };
    let group = option("group", 64)? << 20;
    let properties =
        properties(&options, option("zstd", 1)?, option("page", 64 << 10)?, option("dictionary", 1 << 20)?)?;
    let reading = Options { scope: "aws-main/2026-10".to_owned(), file: path.clone(), ..Options::default() };
    let mut reader = Reader::open(File::open(&path)?, reading)?;
    let (mut gathered, mut memory, mut total, start) = (Vec::new(), 0, Sizes::default(), Instant::now());
    while let Some(batch) = reader.next_batch()? {
        memory += batch.get_array_memory_size();
        gathered.push(batch);
        if memory >= group {
            total.write(&std::mem::take(&mut gathered), &properties)?;
            memory = 0;
        }
    }
    if !gathered.is_empty() {
        total.write(&gathered, &properties)?;
    }
    total.show();
    println!("{:.1} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

/// What files take.
#[derive(Default)]
struct Sizes {
    rows: usize,
    bytes: usize,
    files: usize,
    /// Bytes, bytes before they were compressed, and the encodings, by column.
    columns: BTreeMap<String, (i64, i64, String)>,
}

impl Sizes {
    fn write(&mut self, batches: &[RecordBatch], properties: &WriterProperties) -> Result<(), Failure> {
        let dataset = schemas::costs();
        let rows = concat_batches(&dataset.schema, batches)?;
        let sort: Vec<SortColumn> = dataset
            .sort
            .iter()
            .map(|name| SortColumn {
                values: rows.column_by_name(name).ok_or("no such column").unwrap_or(&rows.columns()[0]).clone(),
                options: Some(SortOptions { descending: false, nulls_first: true }),
            })
            .collect();
        let rows = take_record_batch(&rows, &lexsort_to_indices(&sort, None)?)?;
        let first = dataset.columns_of_partition();
        let rows = RecordBatch::try_new(dataset.file_schema(), rows.columns()[first..].to_vec())?;
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties.clone()))?;
        writer.write(&rows)?;
        writer.flush()?;
        for column in writer.flushed_row_groups().iter().flat_map(|group| group.columns()) {
            let size = self.columns.entry(column.column_path().string()).or_default();
            size.0 += column.compressed_size();
            size.1 += column.uncompressed_size();
            size.2 = column.encodings().map(|encoding| encoding.to_string()).collect::<Vec<_>>().join(" ");
        }
        self.rows += rows.num_rows();
        self.files += 1;
        self.bytes += writer.into_inner()?.len();
        Ok(())
    }

    fn show(&self) {
        let per_row = |bytes: i64| bytes as f64 / self.rows.max(1) as f64;
        let mut columns: Vec<_> = self.columns.iter().collect();
        columns.sort_by_key(|(_, size)| -size.0);
        println!("{:>8} {:>8}  column and encodings", "bytes", "before");
        for (name, (bytes, before, encodings)) in columns {
            if *bytes as f64 > self.bytes as f64 * SHOWN {
                println!("{:>8.2} {:>8.2}  {name}  {encodings}", per_row(*bytes), per_row(*before));
            }
        }
        let all = self.bytes as f64 / self.rows.max(1) as f64;
        println!("{all:.2} bytes a row: {} rows, {} files, {} bytes", self.rows, self.files, self.bytes);
    }
}

fn properties(
    options: &[(String, String)],
    level: usize,
    page: usize,
    dictionary: usize,
) -> Result<WriterProperties, Failure> {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(i32::try_from(level)?)?))
        .set_data_page_size_limit(page)
        .set_data_page_row_count_limit(8192)
        .set_write_batch_size(8192)
        .set_dictionary_page_size_limit(dictionary)
        .set_max_row_group_row_count(Some(1 << 20));
    for (name, column) in options {
        let encoding = match name.as_str() {
            "plain" => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            "split" => Encoding::BYTE_STREAM_SPLIT,
            _ => continue,
        };
        let path = ColumnPath::new(column.split('.').map(str::to_owned).collect());
        properties = properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding);
    }
    Ok(properties.build())
}
