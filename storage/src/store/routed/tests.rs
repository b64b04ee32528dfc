//! Every path in its root, and in no other; listings over all of them.

use object_store::{ObjectStoreExt, memory::InMemory};

use super::*;

struct Three {
    rest: Arc<InMemory>,
    costs: Arc<InMemory>,
    audit: Arc<InMemory>,
    all: Routed,
}

async fn three() -> Three {
    let store = || Arc::new(InMemory::new());
    let (rest, costs, audit) = (store(), store(), store());
    let all = Routed::new(
        Arc::clone(&rest) as _,
        vec![
            (Path::from("default/costs"), Arc::clone(&costs) as _),
            (Path::from("default/audit"), Arc::clone(&audit) as _),
        ],
    );
    for path in
        ["default/samples/a", "default/costs/b", "default/costs/_delta_log/0", "default/costs_old/c", "default/audit/d"]
    {
        all.put(&Path::from(path), Bytes::from(path.to_owned()).into()).await.unwrap();
    }
    Three { rest, costs, audit, all }
}

async fn listed(store: &dyn ObjectStore, prefix: Option<&str>) -> Vec<String> {
    let prefix = prefix.map(Path::from);
    let mut paths: Vec<_> =
        store.list(prefix.as_ref()).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    paths.sort();
    paths
}

#[tokio::test]
async fn a_path_is_in_the_root_of_its_dataset() {
    let Three { rest, costs, audit, all } = three().await;
    assert_eq!(listed(&*rest, None).await, ["default/costs_old/c", "default/samples/a"]);
    assert_eq!(listed(&*costs, None).await, ["default/costs/_delta_log/0", "default/costs/b"]);
    assert_eq!(listed(&*audit, None).await, ["default/audit/d"]);
    for path in ["default/samples/a", "default/costs/b", "default/audit/d"] {
        let path = Path::from(path);
        assert_eq!(all.get(&path).await.unwrap().bytes().await.unwrap(), path.as_ref().as_bytes());
        assert_eq!(all.get_ranges(&path, &[0..3, 8..9]).await.unwrap().len(), 2);
    }
    let error = all.copy(&Path::from("default/samples/a"), &Path::from("default/costs/a")).await.unwrap_err();
    assert!(matches!(error, Error::NotSupported { .. }), "{error}");
}

#[tokio::test]
async fn a_listing_sees_all_roots_and_nothing_where_it_does_not_belong() {
    let Three { rest, all, .. } = three().await;
    // Left behind from before the dataset had a root of its own.
    rest.put(&Path::from("default/costs/stale"), Bytes::new().into()).await.unwrap();
    let everything = [
        "default/audit/d",
        "default/costs/_delta_log/0",
        "default/costs/b",
        "default/costs_old/c",
        "default/samples/a",
    ];
    assert_eq!(listed(&all, None).await, everything);
    assert_eq!(listed(&all, Some("default")).await, everything);
    assert_eq!(listed(&all, Some("default/costs")).await, ["default/costs/_delta_log/0", "default/costs/b"]);
    assert_eq!(listed(&all, Some("default/costs/_delta_log")).await, ["default/costs/_delta_log/0"]);
    assert_eq!(listed(&all, Some("default/samples")).await, ["default/samples/a"]);
    let folders = all.list_with_delimiter(Some(&Path::from("default"))).await.unwrap().common_prefixes;
    let expected = ["default/audit", "default/costs", "default/costs_old", "default/samples"];
    assert_eq!(folders.iter().map(Path::as_ref).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn paths_of_several_roots_are_deleted_in_one_go() {
    let Three { rest, costs, audit, all } = three().await;
    let doomed = ["default/samples/a", "default/costs/b", "default/audit/d"].map(|path| Ok(Path::from(path)));
    let deleted: Vec<_> = all.delete_stream(stream::iter(doomed).boxed()).try_collect().await.unwrap();
    assert_eq!(deleted.len(), 3);
    assert_eq!(listed(&*rest, None).await, ["default/costs_old/c"]);
    assert_eq!(listed(&*costs, None).await, ["default/costs/_delta_log/0"]);
    assert!(listed(&*audit, None).await.is_empty());
}
