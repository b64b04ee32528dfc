//! What is a delivery, and what is none yet: the layouts of the providers.

use billing::{ManifestFile, read_manifest};

use super::*;

/// Manifests that could all be read.
fn read(bills: Vec<(Object, Manifest)>) -> Manifests {
    let bills = bills.into_iter().map(|(object, manifest)| (object, Arc::new(manifest))).collect();
    Manifests { bills, broken: Vec::new() }
}

const MINUTE_US: i64 = 60_000_000;

fn object(path: &str, modified_min: i64) -> Object {
    let location = Path::parse(path).unwrap();
    Object { path: path.to_owned(), location, bytes: 10, etag: None, modified_us: modified_min * MINUTE_US }
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
    let found = by_manifests(&objects, read(manifests));
    assert_eq!(told(&found.whole), [one("2026-11", "new", &new_files)]);
    assert_eq!(found.halves, []);
}

#[test]
fn a_delivery_is_none_until_all_its_files_are_there() {
    let objects = [object("data/BILLING_PERIOD=2026-12/x-00001.parquet", 5)];
    let uri = |n| format!("s3://bills/exports/x/data/BILLING_PERIOD=2026-12/x-0000{n}.parquet");
    let of = object("metadata/BILLING_PERIOD=2026-12/x-Manifest.json", 6);
    let half = by_manifests(&objects, read(vec![(of.clone(), manifest("e", DECEMBER, &[&uri(1), &uri(2)]))]));
    assert_eq!(half.whole, []);
    let [half] = half.halves.try_into().unwrap();
    assert_eq!((half.part.as_str(), half.since_us), ("2026-12", 6 * MINUTE_US));
    assert!(half.reason.contains("missing") && half.reason.contains("x-00002"), "{}", half.reason);
    let found = by_manifests(&objects, read(vec![(of.clone(), manifest("e", DECEMBER, &[&uri(1)]))]));
    assert_eq!(told(&found.whole), [one("2026-12", "e", &["data/BILLING_PERIOD=2026-12/x-00001.parquet"])]);
    let mut cut = manifest("e", DECEMBER, &[&uri(1)]);
    cut.files[0].bytes = Some(11);
    let cut = by_manifests(&objects, read(vec![(of, cut)]));
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
    let found = by_manifests(&[object(&file, 1)], read(vec![(of, read_manifest(&json).unwrap())]));
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
    for part in [
        "x/2026-11",
        "2026-11",
        "BILLING_PERIOD=2026-11",
        "x/2026/11",
        "year=2026/month=11",
        "saas/2026/11/05",
        "x/year=2026/month=11/day=05",
    ] {
        assert_eq!(period_us(part), Some(NOVEMBER.0..NOVEMBER.1), "{part}");
    }
    for part in [
        "x",
        "2026",
        "2026-13",
        "x/11",
        "11/05",
        "saas/26/11/05",
        "saas/2026/11/32",
        "saas/2026/1/05",
        "saas/1026/11",
        "2026-11-05",
        "2026-1",
        "+026-11",
        "batch=2026/part=11",
        "2026/11/05/06",
        "2026/11/report",
    ] {
        assert_eq!(period_us(part), None, "{part}");
    }
}

#[test]
fn of_a_month_the_manifest_that_covers_most_of_it_is_taken() {
    let day = |count: i64| NOVEMBER.0 + count * 24 * 60 * MINUTE_US;
    let objects = ["a", "b", "c", "d"].map(|name| object(&format!("{name}/1.csv"), 1));
    let of = |name: &str, modified_min, until| {
        let files = [format!("{name}/1.csv")];
        (object(&format!("{name}/manifest.json"), modified_min), manifest(name, (NOVEMBER.0, until), &[&files[0]]))
    };
    // To the fifth, twice, and once more delivered late, to the fourth.
    let found = by_manifests(&objects, read(vec![of("a", 5, day(5)), of("b", 6, day(5)), of("c", 9, day(4))]));
    assert_eq!(told(&found.whole), [one("2026-11", "b", &["b/1.csv"])]);
    assert_eq!(found.whole[0].covers_us, Some(NOVEMBER.0..day(5)));
    assert_eq!(found.whole[0].period_us, Some(NOVEMBER.0..NOVEMBER.1), "the bill is of the month");
    // Of the same time, by path, whatever the listing's order.
    let mut twins = vec![of("a", 5, day(5)), of("d", 5, day(5))];
    let found = by_manifests(&objects, read(twins.clone()));
    twins.reverse();
    assert_eq!(found, by_manifests(&objects, read(twins)));
    assert_eq!(found.whole[0].delivery, "d");
}

#[test]
fn what_covers_some_days_or_several_months_replaces_no_month() {
    let day = |count: i64| NOVEMBER.0 + count * 24 * 60 * MINUTE_US;
    let objects = [object("week/1.csv", 1), object("all/1.csv", 1), object("month/1.csv", 1)];
    let of = |name: &str, range| {
        let file = format!("{name}/1.csv");
        (object(&format!("{name}/manifest.json"), 2), manifest(name, range, &[&file]))
    };
    let manifests =
        vec![of("week", (day(7), day(14))), of("all", (NOVEMBER.0, DECEMBER.1)), of("month", (NOVEMBER.0, day(3)))];
    let found = by_manifests(&objects, read(manifests));
    assert_eq!(told(&found.whole), [one("2026-11", "month", &["month/1.csv"])]);
    let parts: Vec<&str> = found.halves.iter().map(|half| half.part.as_str()).collect();
    assert_eq!(parts, ["2026-11-01..2027-01-01", "2026-11-08..2026-11-15"]);
    let reason = &found.halves[1].reason;
    assert!(reason.contains("covers=2026-11-08..2026-11-15 manifest=week/manifest.json"), "{reason}");
}

#[test]
fn exports_that_share_a_place_do_not_take_turns_in_a_month() {
    let objects = [object("a/1.csv", 1), object("b/1.csv", 1)];
    let of = |name: &str| {
        let file = format!("{name}/1.csv");
        let manifest = Manifest { export: name.to_owned(), ..manifest(name, NOVEMBER, &[&file]) };
        (object(&format!("{name}/manifest.json"), 2), manifest)
    };
    let found = by_manifests(&objects, read(vec![of("a"), of("b")]));
    assert_eq!(found.whole, []);
    assert!(found.halves[0].reason.contains("longer `from` exports=a,b"), "{:?}", found.halves);
}

#[test]
fn a_folder_whose_manifest_cannot_be_read_has_no_delivery() {
    let objects = [object("x/2026-11/1.csv", 1), object("x/2026-12/1.csv", 1)];
    let good = (object("x/2026-12/manifest.json", 2), Arc::new(manifest("e", DECEMBER, &["x/2026-12/1.csv"])));
    let older = (object("x/2026-11/old-manifest.json", 1), Arc::new(manifest("o", NOVEMBER, &["x/2026-11/1.csv"])));
    let broken = vec![(object("x/2026-11/manifest.json", 3), "no JSON".to_owned())];
    let found = by_manifests(&objects, Manifests { bills: vec![good, older], broken });
    assert_eq!(told(&found.whole), [one("2026-12", "e", &["x/2026-12/1.csv"])]);
    let half = Half { part: "x/2026-11".to_owned(), since_us: 3 * MINUTE_US, reason: "no JSON".to_owned() };
    assert_eq!(found.halves, [half]);
}

#[test]
fn manifests_of_something_else_are_no_bills() {
    let objects = [object("2026-11/a.csv", 1), object("2026-11/inventory-manifest.json", 1)];
    let found = by_place(&objects, Layout::Folders, 0, 10 * MINUTE_US);
    assert_eq!(told(&found.whole)[0].2, ["2026-11/a.csv"]);
}

#[test]
fn versions_are_compared_by_etags_in_one_form_or_else_by_size_and_second() {
    let meta = |etag: Option<&str>, ms: i64, size| ObjectMeta {
        location: Path::from("x"),
        last_modified: DateTime::from_timestamp_millis(ms).unwrap(),
        size,
        e_tag: etag.map(str::to_owned),
        version: None,
    };
    let place = Place::parse("az://bills").unwrap();
    let listed = |etag| Object::listed(meta(etag, 1_500, 10), &place);
    for (one, other) in [("0x8D", "\"0x8D\""), ("\"0x8D\"", "W/\"0x8D\""), ("0x8D", "0x8D")] {
        assert!(listed(Some(one)).is(&meta(Some(other), 1_000, 10)), "{one} {other}");
    }
    assert!(!listed(Some("0x8D")).is(&meta(Some("\"0x8E\""), 1_500, 10)));
    assert!(listed(None).is(&meta(Some("\"0x8D\""), 1_000, 10)));
    assert!(!listed(None).is(&meta(None, 1_000, 11)) && !listed(None).is(&meta(None, 2_000, 10)));
}
