//! Backups of a data folder: its log and what is beside its tables come along, and nobody takes half of a restore for the whole.

use futures::FutureExt;

use super::*;

/// Storage in a folder, with backups of it in another.
struct Home {
    home: tempfile::TempDir,
    config: crate::Config,
    env: Env,
    datasets: Vec<&'static schemas::Dataset>,
    backups: Backups,
}

impl Home {
    fn new(datasets: Vec<&'static schemas::Dataset>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (config, env) = (config(&home.path().join("data")), env_at(1, clock()));
        let place = Location::Folder(home.path().join("kept"));
        let error = Backups::open(&place, &S3::default(), &env).unwrap_err();
        assert!(error.chain().contains("mount its disk"), "a place is not made: {}", error.chain());
        std::fs::create_dir(home.path().join("kept")).unwrap();
        let backups = Backups::open(&place, &S3::default(), &env).unwrap();
        Self { home, config, env, datasets, backups }
    }

    async fn start(&self) -> Storage {
        self.start_in("data").await.unwrap()
    }

    async fn start_in(&self, name: &str) -> Result<Storage> {
        let config = crate::Config { data_dir: self.home.path().join(name), ..self.config.clone() };
        Storage::open(config, self.datasets.clone(), self.env.clone(), &Registry::new()).await
    }

    async fn source(&self) -> Source {
        Source::open(&self.config, self.datasets.clone(), &["rules", "raw"], &self.env).await.unwrap()
    }

    async fn take(&self) -> Taken {
        self.backups.take(&self.source().await, false, &|_| {}).await.unwrap()
    }

    async fn target(&self, name: &str) -> Result<Target> {
        Target::open(self.home.path().join(name), None, &S3::default(), &self.env).await
    }

    async fn restore(&self, name: &str) -> Result<Restored> {
        let wish = Wish { thorough: true, ..Wish::default() };
        let target = self.target(name).await?;
        self.backups.restore(wish, (&target, &self.datasets), &|_| {}).await
    }
}

#[tokio::test]
async fn rows_of_the_log_and_files_beside_the_tables_come_along() {
    let home = Home::new(vec![schemas::samples(), schemas::series()]);
    let storage = home.start().await;
    append(&storage, 0..10).await;
    storage.flush().await.unwrap();
    append(&storage, 10..17).await;
    let rules = home.config.data_dir.join("rules/team a");
    std::fs::create_dir_all(&rules).unwrap();
    std::fs::write(rules.join("cpu.yaml"), "groups: []\n").unwrap();
    let taken = home.take().await;
    let log = taken.manifest.log.as_ref().unwrap();
    assert_eq!((taken.manifest.rows(), &log.rows), (10, &[("samples".to_owned(), 7)].into()));
    assert_eq!(taken.manifest.others.len(), 1);
    assert_eq!(home.take().await.files_copied, 0);

    home.restore("new").await.unwrap();
    assert_eq!(std::fs::read_to_string(home.home.path().join("new/rules/team a/cpu.yaml")).unwrap(), "groups: []\n");
    let restored = home.start_in("new").await.unwrap();
    append(&restored, 17..20).await;
    restored.flush().await.unwrap();
    assert_eq!(ids(&restored).await, all(0..20), "those of files, of the log, and new ones, each once");
    restored.close().await.unwrap();
    drop(restored);
    let again = home.start_in("new").await.unwrap();
    assert_eq!(ids(&again).await, all(0..20), "and once only after another start");
    assert_eq!(home.target("new").await.unwrap_err().kind, ErrorKind::Invalid, "a restore writes over nothing");
}

#[tokio::test]
async fn a_restored_log_is_not_that_of_the_lost_node() {
    let home = Home::new(vec![schemas::samples()]);
    let storage = home.start().await;
    append(&storage, 0..10).await;
    home.take().await;
    home.restore("new").await.unwrap();
    let identity =
        |name: &str| std::fs::read_to_string(home.home.path().join(name).join(crate::folder::IDENTITY)).unwrap();
    assert_ne!(identity("data"), identity("new"));
    let restored = home.start_in("new").await.unwrap();
    restored.flush().await.unwrap();
    assert_eq!(ids(&restored).await, all(0..10), "a table that had no file is restored of the log alone");
}

#[tokio::test]
async fn segments_that_are_trimmed_while_tables_are_pinned_are_in_the_backup() {
    let mut home = Home::new(vec![schemas::samples()]);
    // A segment for every append.
    home.config.wal_segment_bytes = 1;
    let storage = home.start().await;
    let source = home.source().await;
    let (folder, _) = source.folder.as_ref().unwrap();
    let on_disk = || std::fs::read_dir(folder.wal_dir()).unwrap().count();
    let table = async || {
        let root = crate::folder::table_root("default", schemas::samples());
        crate::delta::Table::load(Arc::clone(&source.tables), root, schemas::samples()).await.unwrap()
    };
    for part in 0..6 {
        append(&storage, part * 10..part * 10 + 10).await;
    }
    let mut segments = log::Segments::default();
    segments.open(folder).unwrap();
    let (tables, before) = (vec![table().await], on_disk());
    // The pinned table knows nothing of it: all is committed, and all but the newest segment is trimmed.
    storage.flush().await.unwrap();
    append(&storage, 60..70).await;
    assert!(on_disk() < before, "{before} segments before");
    segments.open(folder).unwrap();
    let mut shelf = home.backups.shelf(false).await.unwrap();
    let log = home.backups.log(&source, &take::Pinned { tables, segments }, &mut shelf).await.unwrap().unwrap();
    assert_eq!(log.rows, [("samples".to_owned(), 70)].into());

    // Of segments that came and went between the two looks, nothing is known: the tables have to be pinned anew.
    let mut segments = log::Segments::default();
    segments.open(folder).unwrap();
    let tables = vec![table().await];
    for part in 7..10 {
        append(&storage, part * 10..part * 10 + 10).await;
    }
    storage.flush().await.unwrap();
    append(&storage, 100..110).await;
    segments.open(folder).unwrap();
    let gone = home.backups.log(&source, &take::Pinned { tables, segments }, &mut shelf).await.unwrap_err();
    assert!(matches!(&gone, copy::Failed::Gone(why) if why.contains("has gone on")), "{gone:?}");
}

#[tokio::test]
async fn a_folder_whose_restore_was_killed_is_opened_by_no_server() {
    let home = Home::new(vec![schemas::samples()]);
    let storage = home.start().await;
    append(&storage, 0..10).await;
    storage.flush().await.unwrap();
    home.take().await;
    // Killed with the first file: what is awaited last never comes.
    let target = home.target("new").await.unwrap();
    let killed = |progress: Copied| assert!(progress.files.0 == 0, "killed");
    let restore = async {
        let restore = home.backups.restore(Wish::default(), (&target, &home.datasets), &killed);
        std::panic::AssertUnwindSafe(restore).catch_unwind().await
    };
    assert!(restore.await.is_err());
    let refused = home.start_in("new").await.err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.chain().contains("restore again"), "{}", refused.chain());
    assert_eq!(home.target("new").await.unwrap_err().kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn backups_of_an_emptied_server_do_not_take_the_place_of_those_of_a_lost_one() {
    let home = Home::new(vec![schemas::samples()]);
    let storage = home.start().await;
    append(&storage, 0..10).await;
    storage.flush().await.unwrap();
    home.take().await;
    storage.close().await.unwrap();
    drop(storage);
    std::fs::remove_dir_all(&home.config.data_dir).unwrap();
    // Without a row there is no table; with one, another.
    let storage = home.start().await;
    for rows in [0..0, 0..10] {
        if !rows.is_empty() {
            append(&storage, rows).await;
            storage.flush().await.unwrap();
        }
        let refused = home.backups.take(&home.source().await, false, &|_| {}).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid);
        assert!(refused.chain().contains("of other tables"), "{}", refused.chain());
    }
    assert_eq!(home.backups.list().await.unwrap().len(), 1);
    // What is restored is that table, and goes on with its backups.
    storage.close().await.unwrap();
    drop(storage);
    std::fs::remove_dir_all(&home.config.data_dir).unwrap();
    home.restore("data").await.unwrap();
    assert_eq!(home.take().await.manifest.sequence, 2);
}

#[tokio::test]
async fn half_written_files_of_killed_backups_go_after_a_day() {
    let home = Home::new(vec![schemas::samples()]);
    let storage = home.start().await;
    append(&storage, 0..10).await;
    home.take().await;
    let left = home.home.path().join("kept/data/staged-0000000000000000000000000000000f#1");
    std::fs::create_dir_all(left.parent().unwrap()).unwrap();
    std::fs::write(&left, "half").unwrap();
    let prune_at = async |us: i64| {
        let env = env_at(1, Arc::new(AtomicI64::new(us)));
        let backups = Backups { env, ..home.backups.clone() };
        backups.prune(&Keep::default()).await.unwrap();
    };
    prune_at(0).await;
    assert!(left.exists());
    prune_at(LATER_US).await;
    assert!(!left.exists());
    assert!(home.restore("new").await.is_ok());
}
