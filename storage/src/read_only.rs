//! A read-only look at a data folder, whether or not a server runs on it.
//!
//! Called by offline queries. The log is read before the tables: rows a server commits in between are then in both, and the
//! newer table's position drops them here, so that nothing is missed and nothing counted twice. Nothing on disk changes.

use std::{path::Path, sync::Arc};

use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem};
use schemas::Dataset;

use crate::{
    Batch, DataFile, Delete, Lane, Result, View, Write, commit,
    delta::Table,
    folder::{self, Folder},
    head::Head,
    open::writes_of,
    wal::recovery,
};

/// Opens a data folder for reading: the tables and the log's tail. Gives the store of the files and a view per dataset.
///
/// # Errors
/// `Invalid` if the folder is not a data folder, `Corrupt` if it is damaged.
pub async fn open_read_only(
    data_dir: &Path,
    tenant: &str,
    datasets: Vec<&'static Dataset>,
) -> Result<(Arc<dyn ObjectStore>, Vec<Arc<View>>)> {
    let folder = Folder::look(data_dir)?;
    let mut appends = recovery::read(&folder.wal_dir(), folder.log, &datasets)?.appends;
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(folder.tables_dir())?);
    let mut views = Vec::new();
    for dataset in datasets {
        let table = Table::load(Arc::clone(&store), folder::table_root(tenant, dataset), dataset).await?;
        let view = view(&table, &folder.source(), &mut appends).await?;
        views.push(Arc::new(view));
    }
    Ok((store, views))
}

async fn view(table: &Table, source: &str, appends: &mut [(i64, Vec<Batch>)]) -> Result<View> {
    let mut files = table.files();
    let mut head = Head::default();
    let committed = table.position(source);
    for (position, writes) in writes_of(table.dataset, appends).filter(|(position, _)| *position > committed) {
        for write in writes {
            match write {
                Write::Append(rows, lane) => drop(head.push(rows, lane, position, 0)),
                Write::Delete(delete) => hide(table, &mut files, &mut head, &delete, position).await?,
            }
        }
    }
    Ok(View {
        dataset: table.dataset,
        version: table.version,
        files: Arc::new(files),
        head: head.rows(),
        positions: Arc::new(table.positions()),
    })
}

/// Applies a delete that no server has applied yet: what it leaves of the files stands in the head.
async fn hide(
    table: &Table,
    files: &mut Vec<Arc<DataFile>>,
    head: &mut Head,
    delete: &Delete,
    position: i64,
) -> Result<()> {
    let mut left = Head::default();
    for file in files.extract_if(.., |file| commit::may_hold(table.dataset, file, delete)) {
        let bytes = table.store().get(&file.path).await?.bytes().await?;
        let rows = commit::read(table.dataset, bytes, file.partition.as_deref())?;
        // Late, because its rows may have been written again in the log's tail, or before in an older file.
        let kept = commit::survivors(table.dataset, &rows, delete)?;
        left.push(kept, Lane::Late, 0, 0);
    }
    for rows in head.rows() {
        left.push(commit::survivors(table.dataset, &rows.batch, delete)?, rows.lane, position, 0);
    }
    *head = left;
    Ok(())
}
