//! A flipped bit anywhere in a file is an error that names the place, and whatever is read right is read whole.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};

use super::{BLOCK_BYTES, CheckedStore};
use crate::{
    parquet_file::{self, Encoded},
    test_rows::samples,
};

/// A file of several blocks, and its path.
fn file() -> (Bytes, Path) {
    let row = |n: i64| ("cpu".to_owned(), n % 97, n, f64::from(u32::try_from(n * 7919 % 1_000_003).unwrap()).sqrt());
    let mut rows: Vec<_> = (0..20_000).map(row).collect();
    rows.sort_by_key(|row| (row.1, row.2));
    let Encoded { bytes, tail, .. } = parquet_file::encode(schemas::samples(), [Ok(samples(&rows))]).unwrap();
    assert!(bytes.len() as u64 > 4 * BLOCK_BYTES);
    (bytes, Path::from(format!("default/samples/day=2026-11-24/part-0-{tail}.parquet")))
}

async fn store(bytes: Bytes, path: &Path) -> CheckedStore {
    let inner = InMemory::new();
    inner.put(path, bytes.into()).await.unwrap();
    CheckedStore::new(Arc::new(inner))
}

#[tokio::test]
async fn every_range_is_what_was_written() {
    let (bytes, path) = file();
    let store = store(bytes.clone(), &path).await;
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), bytes);
    let len = bytes.len() as u64;
    let edges = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 5, len - 3000, len - 8, len - 1, len];
    let mut ranges = Vec::new();
    for (i, start) in edges.iter().enumerate() {
        ranges.extend(edges[i + 1..].iter().map(|end| *start..*end));
    }
    let found = store.get_ranges(&path, &ranges).await.unwrap();
    for (range, found) in ranges.iter().zip(found) {
        let expected = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert_eq!(found, expected, "{range:?}");
        assert_eq!(store.get_range(&path, range.clone()).await.unwrap(), expected, "{range:?}");
    }
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_that_names_file_and_place() {
    let (bytes, path) = file();
    for at in (0..bytes.len()).step_by(997).chain(bytes.len() - 12..bytes.len()) {
        let mut rotten = bytes.to_vec();
        rotten[at] ^= 1 << (at % 8);
        let store = store(rotten.into(), &path).await;
        let error = store.get(&path).await.unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains(path.as_ref()), "{error}");
        let place = |name: &str| -> usize {
            let text = error.split(name).nth(1).unwrap();
            text.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
        };
        assert!((place("first_byte=")..=place("last_byte=")).contains(&at), "{error} {at}");
    }
}

#[tokio::test]
async fn damage_costs_only_what_touches_it() {
    let (bytes, path) = file();
    let mut rotten = bytes.to_vec();
    rotten[usize::try_from(BLOCK_BYTES).unwrap() + 10] ^= 1;
    let store = store(rotten.into(), &path).await;
    assert_eq!(store.get_range(&path, 0..100).await.unwrap(), bytes[..100]);
    assert!(store.get_range(&path, BLOCK_BYTES..BLOCK_BYTES + 1).await.is_err());
}

#[tokio::test]
async fn a_shortened_or_lengthened_file_is_damaged() {
    let (bytes, path) = file();
    assert!(store(bytes.slice(..bytes.len() - 1), &path).await.get(&path).await.is_err());
    let mut middle_gone = bytes.to_vec();
    middle_gone.drain(1000..1000 + usize::try_from(BLOCK_BYTES).unwrap());
    assert!(store(middle_gone.into(), &path).await.get(&path).await.is_err());
}

#[tokio::test]
async fn files_that_are_not_ours_pass_through() {
    for name in ["part-00000-6f3a.parquet", "t/_delta_log/00000000000000000000.json", "part-1-zzzzzzzz00000000.parquet"]
    {
        let path = Path::from(name);
        let store = store(Bytes::from_static(b"anything"), &path).await;
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "anything");
    }
}
