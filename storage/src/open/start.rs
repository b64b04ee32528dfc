//! Finds what is on disk and in the tables, and starts what writes them.
//!
//! Called while storage opens, and by who only reads. In this order: lock the folder, read the tables, read the log, fence earlier writers, give
//! every writer what its table lacks, start them.
//! Invariant: nothing is changed before it is sure that log and tables belong together.

use std::{collections::HashMap, sync::Arc};

use object_store::ObjectStore;
use parking_lot::RwLock;
use prometheus::Registry;
use schemas::Dataset;
use tokio::sync::mpsc;

use super::{APPENDS_MAX, Config, Parts};
use crate::{
    Batch, Env, Error, ErrorKind, Result, View, Write,
    checked::CheckedStore,
    delta::Table,
    disk::Disk,
    error::Failure,
    folder::{self, Folder},
    store::{
        self,
        local::FolderStore,
        spool::{self, Side, Spools},
    },
    ticket::Slot,
    wal::{
        self,
        recovery::{self, Committed, Recovered},
    },
    writer::{Message, Shared, Writer},
};

/// What is on disk and in the tables, before anything runs on it.
pub(super) struct Found {
    pub folder: Folder,
    pub store: Arc<dyn ObjectStore>,
    pub spools: Spools,
    /// Why storage takes no writes, once it does not.
    pub failure: Arc<Failure>,
    /// The log as a source of rows.
    pub source: Arc<str>,
    pub tables: Vec<Table>,
    pub recovered: Recovered,
}

impl Found {
    /// Locks the folder and reads tables and log. Changes nothing before it is sure that they belong together.
    pub async fn read(
        config: &Config,
        datasets: &[&'static Dataset],
        env: &Env,
        registry: &Registry,
        Parts { disk, store, spool }: Parts,
    ) -> Result<Self> {
        let roots = store::roots(&config.tables, datasets);
        let mut folder = Folder::open(&config.data_dir, &roots, disk.as_ref(), env)?;
        let failure = Arc::<Failure>::default();
        let side = Side::Writer(Arc::clone(&disk), Arc::clone(&failure));
        let (store, spools) = match (store, spool) {
            (None, _) => open_tables(config, &folder, (&disk, side), env, registry).await?,
            (Some(store), None) => (store, Spools::default()),
            (Some(store), Some(settings)) => {
                let opening = spool::Opening::new((folder.spool_dir(), None), side, settings, env, registry)?;
                let (spool, spools) = opening.one(store).await?;
                (Arc::new(spool) as _, spools)
            }
        };
        let store: Arc<dyn ObjectStore> = Arc::new(CheckedStore::new(store));
        let source: Arc<str> = folder.source().into();
        let (tables, committed) = load(&store, config, datasets, &source).await?;
        let recovered = recovery::read(&folder.wal_dir(), folder.log, datasets, &committed)?;
        check_belonging(&recovered, &committed)?;
        folder.remember(roots, disk.as_ref())?;
        recovered.repair.apply(disk.as_ref(), &folder.wal_dir())?;
        Ok(Self { folder, store, spools, failure, source, tables, recovered })
    }
}

/// Writers as they are started, one by one.
#[derive(Default)]
pub(super) struct Started {
    pub writers: HashMap<&'static str, mpsc::Sender<Message>>,
    pub views: HashMap<&'static str, Slot>,
    pub tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Started {
    /// Starts the writers of all tables, which are ours from here on. Gives the LSN of the log's next record.
    pub async fn start_all(
        &mut self,
        tables: Vec<Table>,
        recovered: &mut Recovered,
        shared: &Arc<Shared>,
    ) -> Result<u64> {
        let mut next_lsn = recovered.next_lsn;
        for mut table in tables {
            table.fence(&shared.env).await?;
            // A log whose segments are all trimmed starts above what it has had.
            next_lsn = next_lsn.max(table.position(&shared.source).cast_unsigned() + 1);
            self.start(table, &mut recovered.appends, shared).await?;
        }
        Ok(next_lsn)
    }

    async fn start(&mut self, table: Table, appends: &mut [(i64, Vec<Batch>)], shared: &Arc<Shared>) -> Result<()> {
        let dataset = table.dataset;
        let view = Arc::new(RwLock::new(Arc::new(View::empty(dataset))));
        let mut writer = Writer::new(table, Arc::clone(&view), Arc::clone(shared));
        writer.replay(writes_of(dataset, appends)).await?;
        // A place for every append and every question there can be.
        let (sender, inbox) = mpsc::channel(2 * APPENDS_MAX);
        self.writers.insert(dataset.name, sender);
        self.views.insert(dataset.name, view);
        self.tasks.push(tokio::spawn(writer.run(inbox)));
        Ok(())
    }
}

/// Takes the writes of one dataset out of the appends.
pub(crate) fn writes_of(
    dataset: &'static Dataset,
    appends: &mut [(i64, Vec<Batch>)],
) -> impl Iterator<Item = (i64, Vec<Write>)> {
    appends.iter_mut().filter_map(move |(lsn, batches)| {
        let writes: Vec<Write> =
            batches.extract_if(.., |batch| batch.dataset.name == dataset.name).map(|batch| batch.write).collect();
        (!writes.is_empty()).then_some((*lsn, writes))
    })
}

/// All tables, and what they hold of the log.
async fn load(
    store: &Arc<dyn ObjectStore>,
    config: &Config,
    datasets: &[&'static Dataset],
    source: &str,
) -> Result<(Vec<Table>, Committed)> {
    let mut tables = Vec::with_capacity(datasets.len());
    let mut committed = Committed::default();
    for dataset in datasets {
        let table = load_table(store, config, dataset).await?;
        committed.0.insert(dataset.name, table.position(source));
        tables.push(table);
    }
    Ok((tables, committed))
}

/// The table of a dataset. An error says in which root it was looked for.
pub(crate) async fn load_table(
    store: &Arc<dyn ObjectStore>,
    config: &Config,
    dataset: &'static Dataset,
) -> Result<Table> {
    let table = Table::load(Arc::clone(store), folder::table_root(&config.tenant, dataset), dataset).await;
    table.map_err(|error| {
        let message =
            format!("table cannot be read, dataset={} root={}", dataset.name, config.tables.root_of(dataset.name));
        Error::new(error.kind, message).caused_by(error)
    })
}

async fn open_tables(
    config: &Config,
    folder: &Folder,
    (disk, side): (&Arc<dyn Disk>, Side),
    env: &Env,
    registry: &Registry,
) -> Result<(Arc<dyn ObjectStore>, Spools)> {
    let local = FolderStore::open(folder.tables_dir(), Arc::clone(disk), env.random.clone())?;
    let place = store::Place { cache: Some(folder.cache_dir()), spool: folder.spool_dir(), side };
    store::open(config, Arc::new(local), place, env, registry).await
}

/// Refuses tables that know nothing of a log that has let go of rows: they are not where the rows went, whatever the settings
/// call the place (a bucket of the same name on another server, one that was emptied).
fn check_belonging(log: &Recovered, committed: &Committed) -> Result<()> {
    let Some((first_lsn, _)) = log.segments.first().filter(|(first_lsn, _)| *first_lsn > 1) else { return Ok(()) };
    if committed.max() > 0 {
        return Ok(());
    }
    let message = format!(
        "the log has handed rows on to tables, and none of the tables knows it: they are not those it belongs to, or were \
         emptied; point the settings at the right place, or start with a new data folder, first_lsn={first_lsn}"
    );
    Err(Error::new(ErrorKind::Corrupt, message))
}

/// Refuses a dataset the log could not carry.
pub(super) fn check_types(datasets: &[&'static Dataset]) -> Result<()> {
    for dataset in datasets {
        if let Some(field) = dataset.schema.fields().iter().find(|field| !wal::codec::supported(field.data_type())) {
            let message = format!("column type has no form in the log, column={}.{}", dataset.name, field.name());
            return Err(Error::new(ErrorKind::Internal, message));
        }
    }
    Ok(())
}
