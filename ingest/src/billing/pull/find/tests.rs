//! What is a delivery, and what is none yet: the layouts of the providers.

use billing::{ManifestFile, read_manifest};

use super::*;

const MINUTE_US: i64 = 60_000_000;

fn object(path: &str, modified_min: i64) -> Object {
    Object { path: path.to_owned(), bytes: 10, etag: None, modified_us: modified_min * MINUTE_US }
}

fn manifest(revision: &str, month: (i64, i64), files: &[&str]) -> Manifest {
    let files = files.iter().map(|name| ManifestFile { name: (*name).to_owned(), ..ManifestFile::default() }).collect();
    Manifest { revision: revision.to_owned(), period_us: Some(month.0..month.1), files, ..Manifest::default() }
}

const NOVEMBER: (i64, i64) = (1_793_491_200_000_000, 1_796_083_200_000_000);
const DECEMBER: (i64, i64) = (1_796_083_200_000_000, 1_798_761_600_000_000);

fn told(found: &[Found]) -> Vec<(String, String, Vec<String>)> {
    let paths = |found: &Found| found.files.iter().map(|file| file.path.clone()).collect();
    found.iter().map(|found| (found.part.clone(), found.delivery.clone(), paths(found))).collect()
}

fn one(part: &str, delivery: &str, files: &[&str]) -> (String, String, Vec<String>) {
    (part.to_owned(), delivery.to_owned(), files.iter().map(|file| (*file).to_owned()).collect())
}

#[test]
fn of_versions_that_lie_beside_each_other_the_newest_is_taken() {
    let month = "main/20261101-20261201";
    let objects = [
        object(&format!("{month}/old/main-1.csv.gz"), 1),
        object(&format!("{month}/new/main-1.csv.gz"), 9),
        object(&format!("{month}/new/main-2.csv.gz"), 9),
    ];
    let (old, new) = (format!("{month}/old/"), format!("{month}/new/"));
    let new_files = [format!("{new}main-1.csv.gz"), format!("{new}main-2.csv.gz")];
    let new_files: Vec<&str> = new_files.iter().map(String::as_str).collect();
    let manifests = vec![
        (object(&format!("{new}main-Manifest.json"), 10), manifest("new", NOVEMBER, &new_files)),
        (object(&format!("{month}/main-Manifest.json"), 10), manifest("new", NOVEMBER, &new_files)),
        (object(&format!("{old}main-Manifest.json"), 2), manifest("old", NOVEMBER, &[&format!("{old}main-1.csv.gz")])),
    ];
    let found = by_manifests(&objects, manifests);
    assert_eq!(told(&found.whole), [one("2026-11", "new", &new_files)]);
    assert_eq!(found.halves, []);
}

#[test]
fn a_delivery_is_none_until_all_its_files_are_there() {
    let objects = [object("data/BILLING_PERIOD=2026-12/x-00001.parquet", 5)];
    let uri = |n| format!("s3://bills/exports/x/data/BILLING_PERIOD=2026-12/x-0000{n}.parquet");
    let of = object("metadata/BILLING_PERIOD=2026-12/x-Manifest.json", 6);
    let half = by_manifests(&objects, vec![(of.clone(), manifest("e", DECEMBER, &[&uri(1), &uri(2)]))]);
    assert_eq!(half.whole, []);
    let [half] = half.halves.try_into().unwrap();
    assert_eq!((half.part.as_str(), half.since_us), ("2026-12", 6 * MINUTE_US));
    assert!(half.reason.contains("missing") && half.reason.contains("x-00002"), "{}", half.reason);
    let found = by_manifests(&objects, vec![(of.clone(), manifest("e", DECEMBER, &[&uri(1)]))]);
    assert_eq!(told(&found.whole), [one("2026-12", "e", &["data/BILLING_PERIOD=2026-12/x-00001.parquet"])]);
    let mut cut = manifest("e", DECEMBER, &[&uri(1)]);
    cut.files[0].bytes = Some(11);
    let cut = by_manifests(&objects, vec![(of, cut)]);
    assert!(cut.halves[0].reason.contains("10 bytes instead of 11"), "{:?}", cut.halves);
}

#[test]
fn a_real_manifest_finds_its_file() {
    let folder =
        concat!(env!("CARGO_MANIFEST_DIR"), "/billing/tests/data/aws-cur/legacy-layout/koku-local/20180801-20180901");
    let assembly = "16e57707-f9e3-49be-8be6-b84e684b5194";
    let json = std::fs::read(format!("{folder}/{assembly}/koku-local-Manifest.json")).unwrap();
    let file = format!("koku-local/20180801-20180901/{assembly}/koku-local-1.csv.gz");
    let of = object(&format!("koku-local/20180801-20180901/{assembly}/koku-local-Manifest.json"), 1);
    let found = by_manifests(&[object(&file, 1)], vec![(of, read_manifest(&json).unwrap())]);
    assert_eq!(told(&found.whole), [one("2018-08", assembly, &[&file])]);
}

#[test]
fn without_a_manifest_the_files_of_a_folder_belong_together_once_they_are_quiet() {
    let objects = [
        object("2026-11/b.parquet", 2),
        object("2026-11/a.parquet", 1),
        object("2026-11/notes.txt", 9),
        object("2026-12/a.parquet", 8),
        object("2027-01/a.parquet", 8),
        object("2027-01/_SUCCESS", 8),
        object("saas.csv", 1),
    ];
    let now_us = 10 * MINUTE_US;
    let found = by_place(&objects, Layout::Folders, 5 * MINUTE_US, now_us);
    let parts: Vec<&str> = found.whole.iter().map(|found| found.part.as_str()).collect();
    assert_eq!(parts, ["2026-11", "2027-01", "saas"]);
    assert_eq!(found.whole[0].period_us, Some(NOVEMBER.0..NOVEMBER.1));
    assert_eq!(told(&found.whole)[0].2, ["2026-11/a.parquet", "2026-11/b.parquet"]);
    assert_eq!((found.whole[0].delivered_us, found.whole[2].period_us.clone()), (2 * MINUTE_US, None));
    assert_eq!(found.halves.iter().map(|half| half.part.as_str()).collect::<Vec<_>>(), ["2026-12"]);
    let again = by_place(&objects[..2], Layout::Folders, 5 * MINUTE_US, now_us);
    assert_eq!(again.whole[0], found.whole[0], "other files make no difference");
    let mut changed = objects[..2].to_vec();
    changed[0].etag = Some("new".to_owned());
    let changed = by_place(&changed, Layout::Folders, 5 * MINUTE_US, now_us);
    assert_ne!(changed.whole[0].delivery, found.whole[0].delivery);
}

#[test]
fn what_is_delivered_piece_by_piece_adds_up() {
    let objects = [object("cost-csv/0001.csv.gz", 1), object("cost-csv/0002.csv.gz", 2)];
    let found = by_place(&objects, Layout::Files, 0, 10 * MINUTE_US);
    let parts: Vec<&str> = found.whole.iter().map(|found| found.part.as_str()).collect();
    assert_eq!(parts, ["cost-csv/0001", "cost-csv/0002"]);
}

#[test]
fn months_are_told_by_names_of_folders() {
    for part in ["x/2026-11", "BILLING_PERIOD=2026-11", "x/2026/11", "year=2026/month=11"] {
        assert_eq!(period_us(part), Some(NOVEMBER.0..NOVEMBER.1), "{part}");
    }
    for part in ["x", "2026", "2026-13", "x/11"] {
        assert_eq!(period_us(part), None, "{part}");
    }
}
