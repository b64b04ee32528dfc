//! Files that are staged: what they replace, when they are seen, and what is refused.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, Date32Array, Decimal128Array, Int64Array, MapBuilder, RecordBatch, StringArray,
        StringBuilder, new_null_array,
    },
    compute::cast,
    datatypes::Decimal128Type,
};
use object_store::ObjectStoreExt;
use prometheus::Registry;

use super::*;
use crate::{
    Batch, View, Write, commit,
    test_rows::{config, env, series},
};

const MONTH: i32 = 20_393;
const DAY_US: i64 = 86_400_000_000;

async fn open(folder: &Path, seed: u64) -> Storage {
    open_with(folder, seed, schemas::all()).await
}

async fn open_with(folder: &Path, seed: u64, datasets: Vec<&'static Dataset>) -> Storage {
    Storage::open(config(folder), datasets, env(seed), &Registry::new()).await.unwrap()
}

/// Lines of one bill: what a service cost.
fn costs(scope: &str, lines: &[(Option<&str>, i128)]) -> RecordBatch {
    let schema = Arc::clone(&schemas::costs().schema);
    let (count, start_us) = (lines.len(), i64::from(MONTH) * DAY_US);
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "x_Scope" => Arc::new(StringArray::from(vec![scope; count])),
            "x_BillingMonth" => Arc::new(Date32Array::from(vec![MONTH; count])),
            "ServiceName" => {
                let names: StringArray = lines.iter().map(|line| line.0).collect();
                cast(&names, field.data_type()).unwrap()
            }
            "BilledCost" | "x_DeliveredCost" => {
                let costs = Decimal128Array::from_iter_values(lines.iter().map(|line| line.1));
                Arc::new(costs.with_data_type(field.data_type().clone()))
            }
            "ChargePeriodStart" | "BillingPeriodStart" => {
                let times = Int64Array::from(vec![start_us; count]);
                cast(&times, field.data_type()).unwrap()
            }
            _ if field.is_nullable() => new_null_array(field.data_type(), count),
            _ => {
                let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
                (0..count).for_each(|_| maps.append(true).unwrap());
                cast(&maps.finish(), field.data_type()).unwrap()
            }
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

async fn replace(storage: &Storage, scope: &str, lines: &[(Option<&str>, i128)]) {
    let mut staging = storage.stage(schemas::costs());
    staging.push(costs(scope, lines)).await.unwrap();
    let write = Write::Replace(staging.finish(scope).await.unwrap());
    append(storage, vec![Batch { dataset: schemas::costs(), write }]).await;
}

async fn append(storage: &Storage, batches: Vec<Batch>) {
    let room = storage.reserve(1000).await.unwrap();
    storage.append(room, batches).done().await.unwrap();
}

/// Costs by scope, in the order of files and rows.
async fn read(storage: &Storage, view: &View) -> BTreeMap<String, Vec<i128>> {
    let mut found: BTreeMap<String, Vec<i128>> = BTreeMap::new();
    for file in view.files.iter() {
        let bytes = storage.store().get(&file.path).await.unwrap().bytes().await.unwrap();
        let rows = commit::read(view.dataset, bytes, file.partition.as_deref()).unwrap();
        let scopes = rows.column_by_name("x_Scope").unwrap().as_string::<i32>().clone();
        let costs = rows.column_by_name("BilledCost").unwrap().as_primitive::<Decimal128Type>();
        for row in 0..rows.num_rows() {
            found.entry(scopes.value(row).to_owned()).or_default().push(costs.value(row));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_replaced_as_a_whole_and_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), 1).await;
    replace(&storage, "aws/2026-10", &[(Some("b"), 2), (None, 1), (Some("a"), 3)]).await;
    replace(&storage, "aws/2026-1", &[(None, 7)]).await;
    let rows = read(&storage, &storage.view(schemas::costs())).await;
    // Sorted by service, without one first.
    assert_eq!(rows["aws/2026-10"], [1, 3, 2]);
    replace(&storage, "aws/2026-10", &[(Some("a"), 9)]).await;
    let rows = read(&storage, &storage.view(schemas::costs())).await;
    assert_eq!(rows, [("aws/2026-1".to_owned(), vec![7]), ("aws/2026-10".to_owned(), vec![9])].into());
    replace(&storage, "aws/2026-10", &[]).await;
    assert_eq!(read(&storage, &storage.view(schemas::costs())).await.len(), 1, "a scope may become empty");
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_identity_are_all_kept_by_merges() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), 1).await;
    let mut staging = storage.stage(schemas::costs());
    let line = [(Some("a"), 5), (None, 5), (None, 6), (Some("a"), 5)];
    for _ in 0..3 {
        staging.push(costs("aws/2026-10", &line)).await.unwrap();
        staging.encode().await.unwrap();
    }
    let write = Write::Replace(staging.finish("aws/2026-10").await.unwrap());
    append(&storage, vec![Batch { dataset: schemas::costs(), write }]).await;
    assert_eq!(storage.view(schemas::costs()).files.len(), 3);
    storage.compact(|_| {}).await.unwrap();
    let view = storage.view(schemas::costs());
    assert_eq!(view.files.len(), 1);
    let mut rows = read(&storage, &view).await.remove("aws/2026-10").unwrap();
    assert_eq!(rows[6..], [5; 6]);
    rows[..6].sort_unstable();
    assert_eq!(rows[..6], [5, 5, 5, 6, 6, 6]);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_another_scope_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), 1).await;
    let mut staging = storage.stage(schemas::costs());
    staging.push(costs("aws/2026-10", &[(None, 1)])).await.unwrap();
    let error = staging.finish("aws/2026-11").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.to_string().contains("aws/2026-10"), "{error}");
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_append_replaces_in_several_datasets_is_seen_in_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), 1).await;
    let both = [schemas::costs(), schemas::series()];
    let day = crate::sort::day_text(MONTH);
    let reader = {
        let storage = storage.clone();
        tokio::spawn(async move {
            let mut seen = 0;
            while seen < 20 {
                let views = storage.views(&both);
                let rows = |view: &View| view.files.iter().map(|file| file.rows).sum::<u64>();
                assert_eq!(rows(&views[0]), rows(&views[1]), "one is newer than the other");
                seen = rows(&views[0]);
                tokio::task::yield_now().await;
            }
        })
    };
    for revision in 1..=20 {
        let mut bills = storage.stage(schemas::costs());
        bills.push(costs("aws", &vec![(None, 1); revision])).await.unwrap();
        let mut others = storage.stage(schemas::series());
        let rows: Vec<(i32, &str, i64)> = (0..revision).map(|id| (MONTH, "up", id.try_into().unwrap())).collect();
        others.push(series(&rows)).await.unwrap();
        let batches = vec![
            Batch { dataset: schemas::costs(), write: Write::Replace(bills.finish("aws").await.unwrap()) },
            Batch { dataset: schemas::series(), write: Write::Replace(others.finish(&day).await.unwrap()) },
        ];
        append(&storage, batches).await;
    }
    reader.await.unwrap();
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_dataset_that_storage_was_opened_without_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open_with(folder.path(), 1, vec![schemas::samples()]).await;
    let room = storage.reserve(1000).await.unwrap();
    let batches = vec![Batch::append(schemas::series(), series(&[(MONTH, "up", 1)]), Lane::InOrder)];
    let error = storage.append(room, batches).done().await.unwrap_err();
    assert!(error.to_string().contains("dataset=series"), "{error}");
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_has_no_other_batch_of_its_dataset_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path(), 1).await;
    let staging = storage.stage(schemas::series());
    let write = Write::Replace(staging.finish("2026-10-01").await.unwrap());
    let batches = vec![
        Batch { dataset: schemas::series(), write },
        Batch::append(schemas::series(), series(&[(MONTH, "up", 1)]), Lane::InOrder),
    ];
    let room = storage.reserve(1000).await.unwrap();
    assert_eq!(storage.append(room, batches).done().await.unwrap_err().kind, ErrorKind::Invalid);
    storage.close().await.unwrap();
}
