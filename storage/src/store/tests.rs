//! Roots as they are written, and data folders whose tables moved away from them.

use object_store::memory::InMemory;

use super::*;
use crate::{
    Batch, ErrorKind, Lane, Storage,
    disk::LocalDisk,
    open::Parts,
    open_read_only,
    test_rows::{env, samples},
};

#[test]
fn roots_are_read_as_they_are_shown() {
    for text in ["s3://gauge", "s3://gauge.data-1/a/b=c/d_e"] {
        assert_eq!(Root::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Root::parse("s3://gauge/").unwrap(), Root::parse("s3://gauge").unwrap());
    for bad in
        ["gauge", "gs://gauge", "s3://", "s3://Gauge", "s3://ab", "s3://gauge/a//b", "s3://gauge/../b", "s3://gauge/ü"]
    {
        let error = Root::parse(bad).unwrap_err();
        assert!(error.contains("write it like `s3://bucket/prefix`"), "{bad}: {error}");
    }
}

fn config(data_dir: &std::path::Path, tables: Tables) -> Config {
    Config { tables, ..crate::test_rows::config(data_dir) }
}

fn bucket(name: &str) -> Tables {
    Tables { root: Root::parse(name).unwrap(), ..Tables::default() }
}

/// A life on a store in the place of whatever the settings name.
async fn open_on(config: &Config, store: &Arc<InMemory>) -> Result<Storage> {
    let parts = Parts { disk: Arc::new(LocalDisk), store: Some(Arc::clone(store) as _), spool: None };
    let datasets = vec![schemas::samples(), schemas::series()];
    Storage::open_with(config.clone(), datasets, env(1), &Registry::new(), parts).await
}

async fn append(storage: &Storage, n: i64) {
    let rows: Vec<_> = (0..50).map(|i| ("cpu".to_owned(), i, n, 1.0)).collect();
    let room = storage.reserve(1000).await.unwrap();
    storage.append(room, vec![Batch::append(schemas::samples(), samples(&rows), Lane::InOrder)]).done().await.unwrap();
}

#[tokio::test]
async fn a_data_folder_is_refused_with_tables_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (config(folder.path(), bucket("s3://here/a")), config(folder.path(), bucket("s3://there/a")));
    let store = Arc::new(InMemory::new());
    let storage = open_on(&here, &store).await.unwrap();
    append(&storage, 1).await;
    storage.close().await.unwrap();
    drop(storage);
    for other in [there, config(folder.path(), Tables::default())] {
        let error = open_on(&other, &store).await.err().expect("refused");
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.to_string().contains("tables=s3://here/a"), "{error}");
        let datasets = vec![schemas::samples()];
        let error = open_read_only(&other, datasets, &env(2)).await.expect_err("refused");
        assert!(error.to_string().contains("--config") && error.to_string().contains("s3://here/a"), "{error}");
    }
    assert_eq!(open_on(&here, &store).await.unwrap().view(schemas::samples()).files.len(), 1);
}

#[tokio::test]
async fn a_dataset_that_is_new_may_have_any_root_and_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    let samples_only = |config: &Config| {
        let parts = Parts { disk: Arc::new(LocalDisk), store: Some(Arc::clone(&store) as _), spool: None };
        Storage::open_with(config.clone(), vec![schemas::samples()], env(1), Box::leak(Box::default()), parts)
    };
    drop(samples_only(&config(folder.path(), bucket("s3://here"))).await.unwrap());
    let with = |root: &str| Tables {
        roots: [("series".to_owned(), Root::parse(root).unwrap())].into(),
        ..bucket("s3://here")
    };
    drop(open_on(&config(folder.path(), with("s3://abroad")), &store).await.unwrap());
    let error = open_on(&config(folder.path(), with("s3://elsewhere")), &store).await.err().expect("refused");
    assert!(error.to_string().contains("dataset=series tables=s3://abroad settings=s3://elsewhere"), "{error}");
}

#[tokio::test]
async fn a_folder_from_before_there_were_roots_has_its_tables_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    drop(open_on(&config(folder.path(), Tables::default()), &store).await.unwrap());
    let file = folder.path().join("streamgauge.json");
    let identity: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let old = serde_json::json!({"format": identity["format"], "log": identity["log"]});
    std::fs::write(&file, old.to_string()).unwrap();
    let error = open_on(&config(folder.path(), bucket("s3://there")), &store).await.err().expect("refused");
    assert!(error.to_string().contains("tables=folder settings=s3://there"), "{error}");
    drop(open_on(&config(folder.path(), Tables::default()), &store).await.unwrap());
}

/// A bucket of the same name on another server, or one that was emptied: the settings look right and are not.
#[tokio::test]
async fn a_log_that_let_go_of_rows_is_refused_with_tables_that_never_saw_them() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), bucket("s3://here"));
    let store = Arc::new(InMemory::new());
    let storage = open_on(&config, &store).await.unwrap();
    for n in 0..20 {
        append(&storage, n).await;
    }
    storage.flush().await.unwrap();
    append(&storage, 20).await;
    storage.close().await.unwrap();
    drop(storage);
    let error = open_on(&config, &Arc::new(InMemory::new())).await.err().expect("refused");
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.to_string().contains("none of the tables knows it"), "{error}");
    assert_eq!(open_on(&config, &store).await.unwrap().view(schemas::samples()).head.len(), 0);
}

#[tokio::test]
async fn a_place_that_cannot_be_read_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let keys = vec![("AWS_ACCESS_KEY_ID", "key".to_owned()), ("AWS_SECRET_ACCESS_KEY", "secret".to_owned())];
    let endpoint = Some("https://127.0.0.1:9".into());
    let s3 = S3 { endpoint, path_style: true, credentials: Credentials(keys), ..S3::default() };
    let wrong = config(folder.path(), Tables { s3, ..bucket("s3://typo") });
    let opened = Storage::open(wrong, vec![schemas::samples()], env(1), Box::leak(Box::default()));
    // It tries for a minute; nothing is remembered from the start.
    assert!(tokio::time::timeout(Duration::from_millis(300), opened).await.is_err());
    drop(open_on(&config(folder.path(), bucket("s3://right")), &Arc::new(InMemory::new())).await.unwrap());
}
