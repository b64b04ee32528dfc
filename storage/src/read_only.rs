//! A read-only look at a data folder, whether or not a server runs on it.
//!
//! Called by offline queries. A server beside it goes on committing and trimming, so the log is read before the tables and once
//! more after them: what was trimmed meanwhile is in the first reading, what came meanwhile is in the second, and a table's
//! position drops what is in its files. So every dataset is cut at the end of the second reading: no row is missed, none counted
//! twice, no sample without its series. Nothing on disk changes.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::{cast, filter_record_batch},
    datatypes::DataType,
};
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem};
use prometheus::Registry;
use schemas::Dataset;

use crate::{
    Batch, Config, DataFile, Delete, Env, Error, ErrorKind, Lane, Replacement, Result, Rows, View, Write,
    checked::CheckedStore,
    commit::{self, Folder as TableFolder},
    delta::Table,
    folder::Folder,
    head,
    open::{load_table, writes_of},
    store::{self, spool::Side},
    wal::recovery::{self, Committed, Recovered},
};

/// Readings of a log that is being written before its state is believed to be damage.
const READINGS: u32 = 5;

/// Opens a data folder for reading: the tables, wherever they are, and the log's tail. Gives the store of the files and a view
/// per dataset.
///
/// # Errors
/// `Invalid` if the folder is not a data folder, or its tables are not where the settings say; `Corrupt` if it is damaged.
pub async fn open_read_only(
    config: &Config,
    datasets: Vec<&'static Dataset>,
    env: &Env,
) -> Result<(Arc<dyn ObjectStore>, Vec<Arc<View>>)> {
    let (folder, store) = look(config, &datasets, env).await?;
    for _ in 0..READINGS {
        let before = read_log(&folder, &datasets, &Committed::default()).await?;
        let mut tables = Vec::with_capacity(datasets.len());
        for dataset in &datasets {
            tables.push(load_table(&store, config, dataset).await?);
        }
        let after = read_log(&folder, &datasets, &Committed::default()).await?;
        let Some(mut appends) = join(before, after) else { continue };
        let mut views = Vec::with_capacity(tables.len());
        for table in tables {
            views.push(Arc::new(view(&table, &folder.source(), &mut appends).await?));
        }
        return Ok((store, views));
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        "the server writes faster than its folder can be read; ask it by --url instead",
    ))
}

/// The folder and the store of its tables, to be read beside a server.
pub(crate) async fn look(
    config: &Config,
    datasets: &[&'static Dataset],
    env: &Env,
) -> Result<(Folder, Arc<dyn ObjectStore>)> {
    let folder = Folder::look(&config.data_dir, &store::roots(&config.tables, datasets))?;
    let local = Arc::new(LocalFileSystem::new_with_prefix(folder.tables_dir())?);
    // Without a cache, as the folder is only read; nobody asks for metrics of a command.
    let place = store::Place { cache: None, spool: folder.spool_dir(), side: Side::Reader };
    let (files, _) = store::open(config, local, place, env, &Registry::new()).await?;
    Ok((folder, Arc::new(CheckedStore::new(files))))
}

/// What of the log is above some positions, as a server beside it leaves it.
pub(crate) async fn read_log(
    folder: &Folder,
    datasets: &[&'static Dataset],
    committed: &Committed,
) -> Result<Recovered> {
    // A group that is being written can look torn in the middle for a moment.
    let read = || recovery::read(&folder.wal_dir(), folder.log, datasets, committed);
    for reading in 1..READINGS {
        match read() {
            Err(error) if error.kind == ErrorKind::Corrupt => {
                tokio::time::sleep(Duration::from_millis(50 * u64::from(reading))).await;
            }
            other => return other,
        }
    }
    read()
}

/// The appends of two readings; `None` if some were made and trimmed in between.
fn join(before: Recovered, after: Recovered) -> Option<Vec<(i64, Vec<Batch>)>> {
    let known = before.next_lsn.cast_signed();
    let gap = after.segments.first().is_some_and(|(first_lsn, _)| first_lsn.cast_signed() > known);
    let mut appends = before.appends;
    appends.extend(after.appends.into_iter().filter(|(lsn, _)| *lsn >= known));
    (!gap).then_some(appends)
}

async fn view(table: &Table, source: &str, appends: &mut [(i64, Vec<Batch>)]) -> Result<View> {
    let mut files = table.files();
    let mut head = Vec::new();
    let committed = table.position(source);
    for (position, writes) in writes_of(table.dataset, appends).filter(|(position, _)| *position > committed) {
        for write in writes {
            match write {
                Write::Append(batch, lane) => head.push(rows(batch, lane, head::seq(position, lane), false)),
                Write::Delete(delete) => hide(table, &mut files, &mut head, &delete).await?,
                Write::Replace(replacement) => replace(table, &mut files, &mut head, &replacement)?,
            }
        }
    }
    Ok(View {
        dataset: table.dataset,
        version: table.version,
        files: Arc::new(files),
        head,
        positions: Arc::new(table.positions()),
    })
}

/// Applies a replacement that no server has applied yet.
fn replace(
    table: &Table,
    files: &mut Vec<Arc<DataFile>>,
    head: &mut [Arc<Rows>],
    replacement: &Replacement,
) -> Result<()> {
    let dataset = table.dataset;
    files.retain(|file| file.scope(dataset) != Some(&replacement.scope));
    let is_of_scope = |rows: &Rows| {
        let first = rows.batch.column(0);
        let texts = cast(first, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        Ok::<BooleanArray, Error>(texts.iter().map(|text| Some(text != Some(&*replacement.scope))).collect())
    };
    for rows in head.iter_mut() {
        let batch = filter_record_batch(&rows.batch, &is_of_scope(rows)?)?;
        *rows = Arc::new(Rows { batch, ..(**rows).clone() });
    }
    let version = table.version.map_or(0, |version| version + 1);
    for file in replacement.files.iter() {
        let path = TableFolder::of(table).location(&file.path);
        files.push(Arc::new(file.to_file(dataset, path, version)?));
    }
    Ok(())
}

/// Applies a delete that no server has applied yet: what it leaves of the files stands in the head.
async fn hide(table: &Table, files: &mut Vec<Arc<DataFile>>, head: &mut Vec<Arc<Rows>>, delete: &Delete) -> Result<()> {
    let mut left = Vec::new();
    let may_hold = commit::may_hold(table.dataset, delete)?;
    for file in files.extract_if(.., |file| may_hold(file)) {
        let bytes = table.store().get(&file.path).await?.bytes().await?;
        let read = commit::read(table.dataset, bytes, file.partition.as_deref())?;
        left.push(rows(commit::survivors(table.dataset, &read, delete)?, file.lane, file.seq, true));
    }
    for kept in head.drain(..) {
        let survivors = commit::survivors(table.dataset, &kept.batch, delete)?;
        left.push(rows(survivors, kept.lane, kept.seq, kept.sorted));
    }
    *head = left;
    Ok(())
}

fn rows(batch: RecordBatch, lane: Lane, seq: i64, sorted: bool) -> Arc<Rows> {
    Arc::new(Rows { batch, sorted, lane, seq })
}
