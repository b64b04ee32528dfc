//! The table's log: what is committed is what is read, whatever the store answers.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};

use super::{Change, Table};
use crate::{
    DataFile, ErrorKind, Lane, Rows, commit,
    model::faults::{Fault, FaultStore, Request},
    test_rows::{clock, env, samples},
};

async fn open(store: &Arc<dyn ObjectStore>) -> Table {
    Table::load(Arc::clone(store), Path::from("default/samples"), schemas::samples()).await.unwrap()
}

async fn append(table: &mut Table, n: i64, seed: u64) -> crate::Result<()> {
    let batch = samples(&[("up".into(), n, n * 1000, n as f64)]);
    let rows = Arc::new(Rows { batch, sorted: false, lane: Lane::InOrder, seq: n });
    commit::append(table, vec![rows], [("wal/a".into(), n)].into(), &env(seed + n as u64)).await
}

#[tokio::test]
async fn a_checkpoint_holds_what_the_commits_before_it_said() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut table = open(&store).await;
    table.fence(&env(1)).await.unwrap();
    for n in 1..=105 {
        append(&mut table, n, 0).await.unwrap();
    }
    let removed = table.files_where(|_| true)[0].0.clone();
    let change = Change { operation: "DELETE", removes: vec![removed], ..Change::default() };
    table.checkpoint(0).unwrap().await;
    assert!(table.checkpoint(0).is_none(), "the next one is due a hundred commits later");
    table.commit(change, &env(999)).await.unwrap();
    // Only the checkpoint and what follows it may be needed.
    for version in 0..105 {
        store.delete(&Path::from(format!("default/samples/_delta_log/{version:020}.json"))).await.unwrap();
    }
    let again = open(&store).await;
    assert_eq!(again.version, table.version);
    assert_eq!(again.positions(), table.positions());
    // A checkpoint does not tell when rows came; who reads it knows them from then on.
    let files = |table: &Table| {
        table.files().iter().map(|file| DataFile { known_at: 0, ..DataFile::clone(file) }).collect::<Vec<_>>()
    };
    assert_eq!(files(&again), files(&table));
    assert_eq!(again.files().len(), 104);
    assert_eq!(again.epoch, table.epoch);
}

#[tokio::test]
async fn rot_in_the_log_is_an_error_that_names_the_file_or_is_made_up_for() {
    let inner = Arc::new(InMemory::new());
    let store: Arc<dyn ObjectStore> = Arc::clone(&inner) as _;
    let mut table = open(&store).await;
    for n in 1..=210 {
        append(&mut table, n, 0).await.unwrap();
        if let Some(work) = table.checkpoint(0) {
            work.await;
        }
    }
    let log = |name: &str| Path::from(format!("default/samples/_delta_log/{name}"));
    let load = || Table::load(Arc::clone(&store), Path::from("default/samples"), schemas::samples());
    let commit = log("00000000000000000205.json");
    let checkpoint = log("00000000000000000200.checkpoint.parquet");
    for (path, made_up_for) in [(commit, false), (checkpoint, true)] {
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        // The first line of a commit is of no account, but for the checksum in it.
        let from = if made_up_for { 0 } else { bytes.iter().position(|byte| *byte == b'\n').unwrap() };
        for at in (from..bytes.len()).step_by(bytes.len() / 60 + 1) {
            let mut rotten = bytes.to_vec();
            rotten[at] ^= 1 << (at % 7);
            store.put(&path, rotten.into()).await.unwrap();
            match load().await {
                Ok(again) if made_up_for => {
                    assert_eq!((again.version, again.files().len()), (table.version, 210), "byte {at}");
                }
                Ok(_) => panic!("a flipped bit was not seen: byte {at}"),
                Err(error) => {
                    assert!(!made_up_for, "{}", error.chain());
                    assert_eq!(error.kind, ErrorKind::Corrupt);
                    assert!(error.to_string().contains(path.as_ref()), "{error}");
                }
            }
        }
        store.put(&path, bytes.into()).await.unwrap();
    }
    assert_eq!(load().await.unwrap().files().len(), 210);
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_to_be_ours() {
    let faults = FaultStore::new(Arc::new(InMemory::new()), clock());
    let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as _;
    let mut table = open(&store).await;
    for n in 1..=20 {
        let status = Fault::Status([409, 412, 500, 503][n as usize % 4]);
        faults.next(Request::Put, [Fault::Reset, status, Fault::Reset, Fault::Late(n as u8 % 4), Fault::Timeout]);
        faults.next(Request::Read, [Fault::Reset, Fault::Status(503)]);
        append(&mut table, n, 0).await.unwrap();
    }
    faults.calm(true);
    let again = open(&store).await;
    assert_eq!((again.version, again.files().len()), (Some(19), 20));
}

/// Whoever lists sees what there was a while ago; a table is what its commits say.
#[tokio::test]
async fn a_listing_that_lags_behind_hides_no_commit_and_a_checkpoint_that_is_gone_is_made_up_for() {
    let faults = FaultStore::new(Arc::new(InMemory::new()), clock());
    let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as _;
    let mut table = open(&store).await;
    let mut checkpoints = Vec::new();
    for n in 1..=210 {
        append(&mut table, n, 0).await.unwrap();
        if let Some(work) = table.checkpoint(0) {
            work.await;
            checkpoints.push(table.version.unwrap());
        }
    }
    let log = |name: String| Path::from(format!("default/samples/_delta_log/{name}"));
    // What a sweep leaves: the newest checkpoint and the commits behind it.
    store.delete(&log(format!("{:020}.checkpoint.parquet", checkpoints[0]))).await.unwrap();
    for version in 0..checkpoints[1] {
        store.delete(&log(format!("{version:020}.json"))).await.unwrap();
    }
    for omitted in [0, 1, 5, 20, 255] {
        faults.next(Request::List, [Fault::Stale(omitted)]);
        let again = open(&store).await;
        assert_eq!((again.version, again.files().len()), (table.version, 210), "{omitted} left out");
    }
}

#[tokio::test]
async fn a_foreign_commit_fences() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut first = open(&store).await;
    append(&mut first, 1, 0).await.unwrap();
    let mut second = open(&store).await;
    second.fence(&env(5)).await.unwrap();
    let error = append(&mut first, 2, 100).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced);
    assert!(error.chain().contains("dataset=samples version=1 engine=streamgauge/"), "{}", error.chain());
    append(&mut second, 2, 200).await.unwrap();
    assert_eq!(open(&store).await.files().len(), 2);
}

#[tokio::test]
async fn a_commit_never_removes_what_is_gone_nor_takes_a_position_back() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut table = open(&store).await;
    append(&mut table, 5, 0).await.unwrap();
    let gone = Change { operation: "DELETE", removes: vec!["day=x/part".into()], ..Change::default() };
    assert_eq!(table.commit(gone, &env(8)).await.unwrap_err().kind, ErrorKind::Internal);
    let back = Change { positions: [("wal/a".into(), 4)].into(), ..Change::default() };
    assert_eq!(table.commit(back, &env(9)).await.unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(open(&store).await.version, Some(0));
}

#[tokio::test]
async fn a_table_of_another_format_is_refused() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    append(&mut open(&store).await, 1, 0).await.unwrap();
    let path = Path::from("default/samples/_delta_log/00000000000000000000.json");
    let text = store.get(&path).await.unwrap().bytes().await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let newer = text.replace(r#""streamgauge.format":"1""#, r#""streamgauge.format":"2""#);
    assert_ne!(text, newer);
    // Without the checksum, as another engine would write it.
    let newer = newer.replace("crc32c", "whatever");
    store.put(&path, newer.into()).await.unwrap();
    let error = Table::load(store, Path::from("default/samples"), schemas::samples()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
}
