//! Roles of other accounts, exports of two parts, stores whose listings and answers differ, and what is remembered between looks.

use std::{
    collections::HashSet,
    fmt,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use axum::{Router, http::HeaderMap, routing::post};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, CredentialProvider as _, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, local::LocalFileSystem,
    memory::InMemory, path::Path,
};

use super::*;
use crate::billing::Kept;

fn export(role: Option<Role>) -> Export {
    let credentials = [("AWS_ACCESS_KEY_ID", "own"), ("AWS_SECRET_ACCESS_KEY", "hush")];
    Export {
        name: "aws".to_owned(),
        place: Place::parse("s3://bills/cur").unwrap(),
        amortized: None,
        reading: Reading::default(),
        layout: Layout::Folders,
        quiet_us: 0,
        region: Some("eu-central-1".to_owned()),
        endpoint: None,
        path_style: None,
        allow_http: true,
        credentials: Credentials(credentials.map(|(name, value)| (name, value.to_owned())).into()),
        role,
    }
}

/// A token service that gives what `answer` says; counts how often it is asked.
async fn token_service(answer: &'static str, code: u16) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let handler = move |headers: HeaderMap, form: String| async move {
        counted.fetch_add(1, Ordering::Relaxed);
        let signed = headers["authorization"].to_str().unwrap();
        assert!(
            signed.starts_with("AWS4-HMAC-SHA256 Credential=own/") && signed.contains("/eu-central-1/sts/aws4_request"),
            "{signed}"
        );
        let fields: Vec<&str> = form.split('&').collect();
        for field in
            ["Action=AssumeRole", "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fbills", "ExternalId=for%20us%20alone"]
        {
            assert!(fields.contains(&field), "{form}");
        }
        (axum::http::StatusCode::from_u16(code).unwrap(), answer)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(handler))).await });
    (address, asked)
}

fn role(endpoint: String) -> Role {
    let external_id = Some("for us alone".to_owned());
    Role { arn: "arn:aws:iam::1:role/bills".to_owned(), external_id, endpoint: Some(endpoint) }
}

#[tokio::test]
async fn a_role_of_another_account_is_assumed_once_for_its_time() {
    let answer = "<AssumeRoleResponse><AssumeRoleResult><Credentials>\n<AccessKeyId>theirs</AccessKeyId>\
                  <SecretAccessKey>a/b+c=</SecretAccessKey><SessionToken>token</SessionToken></Credentials></AssumeRoleResult>";
    let (endpoint, asked) = token_service(answer, 200).await;
    let role = role(endpoint);
    let assumed = role::Assumed::new(&role, &export(Some(role.clone()))).unwrap();
    for _ in 0..3 {
        let credential = assumed.get_credential().await.unwrap();
        assert_eq!((credential.key_id.as_str(), credential.secret_key.as_str()), ("theirs", "a/b+c="));
        assert_eq!(credential.token.as_deref(), Some("token"));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(!format!("{assumed:?} {:?}", export(None)).contains("hush"));
}

#[tokio::test]
async fn who_may_not_assume_a_role_is_told_so() {
    let answer = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized to perform sts:AssumeRole</Message></Error>";
    let (endpoint, _) = token_service(answer, 403).await;
    let role = role(endpoint);
    let error = role::Assumed::new(&role, &export(None)).unwrap().get_credential().await.unwrap_err().to_string();
    assert!(error.contains("not authorized to perform sts:AssumeRole") && error.contains("role/bills"), "{error}");
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn an_export_of_two_parts_is_whole_when_both_are_there() {
    let found =
        |part: &str, delivery: &str| Found { part: part.to_owned(), delivery: delivery.to_owned(), ..Found::default() };
    let until = |end, found: Found| Found { covers_us: Some(0..end), ..found };
    let deliveries = |whole: Vec<Found>| Deliveries { whole, halves: Vec::new() };
    let day_us = 86_400_000_000;
    let actual =
        deliveries(vec![found("2026-09", "a9"), found("2026-10", "a10"), until(2 * day_us, found("2026-11", "a11"))]);
    let amortized =
        deliveries(vec![found("2026-09", "b9"), until(day_us, found("2026-11", "b11")), found("2026-12", "b12")]);
    let both = both(actual.into(), amortized);
    assert_eq!(both.whole, [(found("2026-09", "a9"), Some(found("2026-09", "b9")))]);
    let missing: Vec<(&str, &str)> =
        both.halves.iter().map(|half| (half.part.as_str(), half.reason.as_str())).collect();
    assert_eq!(
        missing,
        [
            ("2026-10", "the amortized costs are not there yet"),
            (
                "2026-11",
                "the actual and the amortized costs cover different ranges actual=1970-01-01..1970-01-03 amortized=1970-01-01..1970-01-02"
            ),
            ("2026-12", "the actual costs are not there yet")
        ]
    );
}

/// What is asked of a store: path, range, and whether only the head of it.
type Asked = (String, Option<Range<u64>>, bool);

/// A store that lists ETags without quotes and milliseconds, and answers with quotes and seconds, as Azure does.
#[derive(Debug, Default)]
struct Azure {
    inner: InMemory,
    asked: Mutex<Vec<Asked>>,
}

impl Azure {
    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl fmt::Display for Azure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Azure")
    }
}

#[async_trait]
impl ObjectStore for Azure {
    async fn put_opts(&self, path: &Path, bytes: PutPayload, how: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(path, bytes, how).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        how: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, how).await
    }

    async fn get_opts(&self, path: &Path, how: GetOptions) -> object_store::Result<GetResult> {
        assert_eq!(how.if_match, None, "an ETag of a listing matches nothing");
        let range = how.range.as_ref().map(|range| match range {
            GetRange::Bounded(range) => range.clone(),
            other => panic!("{other:?}"),
        });
        self.asked.lock().unwrap().push((path.to_string(), range, how.head));
        let mut got = self.inner.get_opts(path, how).await?;
        got.meta.e_tag = got.meta.e_tag.map(|etag| format!("\"{etag}\""));
        got.meta.last_modified = chrono::DateTime::from_timestamp(got.meta.last_modified.timestamp(), 0).unwrap();
        Ok(got)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

/// The only object of a store.
async fn only(store: &dyn ObjectStore, place: &Place) -> Object {
    let [object] = listing::list(store, place).await.unwrap().try_into().unwrap();
    object
}

async fn read_in(store: &dyn ObjectStore, place: &Place, object: &Object, range_bytes: u64) -> Result<Vec<u8>> {
    let chunks: Vec<Bytes> = fetch::in_ranges(store, place, object, range_bytes).try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn a_file_comes_in_ranges_of_the_version_that_was_listed() {
    let (store, place) = (Azure::default(), Place::parse("az://bills/cur").unwrap());
    let path = Path::from("cur/a.csv");
    store.put(&path, Bytes::from_static(b"0123456789").into()).await.unwrap();
    let object = only(&store, &place).await;
    assert_eq!((object.path.as_str(), object.bytes), ("a.csv", 10));
    fetch::unchanged(&store, &place, &object).await.unwrap();
    assert_eq!(store.asked(), [("cur/a.csv".to_owned(), None, true)]);
    for (range_bytes, ranges) in [(4, vec![0..4, 4..8, 8..10]), (5, vec![0..5, 5..10]), (7, vec![0..7, 7..10])] {
        assert_eq!(read_in(&store, &place, &object, range_bytes).await.unwrap(), b"0123456789");
        assert_eq!(store.asked().into_iter().filter_map(|(_, range, _)| range).collect::<Vec<_>>(), ranges);
    }
    // Replaced between two ranges: what came of the old one is no file.
    let mut chunks = fetch::in_ranges(&store, &place, &object, 4);
    assert_eq!(chunks.next().await.unwrap().unwrap(), "0123");
    store.put(&path, Bytes::from_static(b"9876543210").into()).await.unwrap();
    let error = chunks.next().await.unwrap().unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.to_string().contains("changed while"), "{error}");
    assert!(fetch::unchanged(&store, &place, &object).await.is_err());
    store.put(&path, PutPayload::new()).await.unwrap();
    assert_eq!(read_in(&store, &place, &only(&store, &place).await, 4).await.unwrap(), b"");
}

#[tokio::test]
async fn files_of_any_name_are_read() {
    let name = "Kostenübersicht/SaaS [Nov] 100%.csv";
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("Kostenübersicht")).unwrap();
    std::fs::write(folder.path().join(name), "cost").unwrap();
    let local = (
        Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()) as Arc<dyn ObjectStore>,
        Place::parse(folder.path().to_str().unwrap()).unwrap(),
    );
    let memory = InMemory::new();
    let path = Path::parse(format!("Rechnungen #1/{name}")).unwrap();
    memory.put(&path, Bytes::from_static(b"cost").into()).await.unwrap();
    let memory = (Arc::new(memory) as Arc<dyn ObjectStore>, Place::parse("s3://bills/Rechnungen #1").unwrap());
    for (store, place) in [local, memory] {
        let object = only(store.as_ref(), &place).await;
        assert_eq!(object.path, name);
        fetch::unchanged(store.as_ref(), &place, &object).await.unwrap();
        assert_eq!(read_in(store.as_ref(), &place, &object, 3).await.unwrap(), b"cost");
    }
}

/// Manifests of a place that has these files, read twice; how often each time something was asked for.
async fn manifests(files: &[(&str, &str)]) -> (Result<listing::Manifests>, [usize; 2]) {
    let (azure, place) = (Arc::new(Azure::default()), Place::parse("az://bills").unwrap());
    for (path, text) in files {
        azure.put(&Path::from(*path), Bytes::from((*text).to_owned()).into()).await.unwrap();
    }
    let store: Arc<dyn ObjectStore> = Arc::clone(&azure) as _;
    let objects = listing::list(store.as_ref(), &place).await.unwrap();
    let mut known = HashMap::new();
    // Either time is the same, or fails the same.
    drop(listing::manifests(&store, &place, &objects, &mut known).await);
    let first = azure.asked().len();
    let again = listing::manifests(&store, &place, &objects, &mut known).await;
    let second = azure.asked().len();
    listing::manifests(&store, &place, &[], &mut known).await.unwrap();
    assert!(known.is_empty(), "what is not there is forgotten");
    (again, [first, second])
}

const BILL: &str = r#"{"assemblyId":"a","reportName":"r","reportKeys":["x.csv"]}"#;

#[tokio::test]
async fn manifests_are_read_once_whatever_they_are_of() {
    let inventory = r#"{"sourceBucket":"b","files":[]}"#;
    let (found, asked) = manifests(&[("a/Manifest.json", BILL), ("b/manifest.json", inventory), ("c.csv", "")]).await;
    let found = found.unwrap();
    assert_eq!((found.bills.len(), found.broken.len(), asked), (1, 0, [2, 0]));
    let (found, asked) = manifests(&[("b/manifest.json", inventory), ("c.csv", "")]).await;
    let found = found.unwrap();
    assert_eq!((found.bills.len(), found.broken.len(), asked), (0, 0, [1, 0]));
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_never_passed_over() {
    let other_blobs = r#"{"blobs":[],"blobCount":1,"exportConfig":{"exportName":"e"},"runInfo":{"runId":"r"}}"#;
    for (broken, reason) in [("{", "no JSON"), (other_blobs, "other blobs than it counts")] {
        let (found, _) = manifests(&[("a/manifest.json", BILL), ("b/manifest.json", broken)]).await;
        let found = found.unwrap();
        assert_eq!((found.bills.len(), found.broken.len()), (1, 1));
        assert!(found.broken[0].1.contains(reason), "{:?}", found.broken);
        // Alone, its files are not taken for a delivery by their folder.
        let (found, asked) = manifests(&[("b/manifest.json", broken), ("b/x.csv", "x")]).await;
        let error = found.unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("path=b/manifest.json"), "{error}");
        assert_eq!(asked, [1, 0]);
    }
}

#[test]
fn keys_that_cannot_be_asked_for_are_told_with_what_to_do() {
    let place = Place::parse("s3://bills").unwrap();
    let source = Path::parse("cur//main/x.csv").unwrap_err();
    let error = place::unread(&place, "", object_store::Error::InvalidPath { source }).to_string();
    assert!(error.contains("cur//main/x.csv") && error.contains("give the report a prefix"), "{error}");
    assert!(error.contains("longer `from`") && error.ends_with("from=s3://bills/ path="), "{error}");
    let gone = object_store::Error::NotFound { path: "cur/x.csv".to_owned(), source: "404".into() };
    let error = place::unread(&place, "cur/x.csv", gone).to_string();
    assert!(error.contains("its key begins with `/`"), "{error}");
}

#[test]
fn a_refusal_holds_until_the_delivery_or_the_ledger_changes() {
    let mut memory = Memory::default();
    let of: Of = ("aws".to_owned(), "2026-11".to_owned());
    let refuse = |memory: &mut Memory, delivery: &str, ledger| {
        memory.refuse(of.clone(), delivery.to_owned(), ledger, "twice".to_owned())
    };
    assert!(refuse(&mut memory, "d1", 7));
    assert!(memory.is_refused(&of, "d1", 7));
    assert!(!memory.is_refused(&of, "d1", 8) && !memory.is_refused(&of, "d2", 7));
    assert!(!refuse(&mut memory, "d1", 8), "it is told once");
    assert!(memory.is_refused(&of, "d1", 8));
    assert!(refuse(&mut memory, "d2", 8));
    memory.keep_refused("azure", &HashSet::new());
    assert!(memory.is_refused(&of, "d2", 8));
    memory.keep_refused("aws", &HashSet::new());
    assert!(!memory.is_refused(&of, "d2", 8));
}

#[test]
fn what_was_fetched_is_remembered_until_it_is_loaded_or_changes() {
    let mut memory = Memory::default();
    let kept = Kept { path: "raw/ab/abc".into(), bytes: 3, digest: "abc".to_owned() };
    let object = Object { path: "a.csv".to_owned(), bytes: 3, ..Object::default() };
    memory.fetch("s3://bills/a.csv".to_owned(), object.clone(), kept.clone());
    assert_eq!(memory.fetched("s3://bills/a.csv", &object), Some(&kept));
    assert_eq!(memory.fetched("s3://bills/a.csv", &Object { modified_us: 1, ..object.clone() }), None);
    let of: Of = ("aws".to_owned(), "2026-11".to_owned());
    memory.loaded(&of, ["s3://bills/a.csv"].into_iter());
    assert_eq!(memory.fetched("s3://bills/a.csv", &object), None);
    for number in 0..=memory::FETCHED_MAX {
        memory.fetch(number.to_string(), object.clone(), kept.clone());
    }
    assert_eq!(memory.fetched("0", &object), None, "memory is bounded");
    assert_eq!(memory.fetched(&memory::FETCHED_MAX.to_string(), &object), Some(&kept));
}

#[test]
fn what_waits_is_told_once_until_it_changes() {
    let mut memory = Memory::default();
    let half = |since_us| Half { part: "2026-11".to_owned(), since_us, reason: "a file is missing".to_owned() };
    assert_eq!(memory.new_halves("aws", vec![half(1)]), [half(1)]);
    assert_eq!(memory.new_halves("azure", vec![half(1)]), [half(1)]);
    assert_eq!(memory.new_halves("aws", vec![half(1)]), []);
    assert_eq!(memory.new_halves("aws", vec![half(2)]), [half(2)]);
    assert_eq!(memory.new_halves("aws", Vec::new()), []);
    assert_eq!(memory.new_halves("aws", vec![half(2)]), [half(2)]);
}

/// A puller whose storage is in a folder.
async fn pull(folder: &std::path::Path, exports: Vec<Export>) -> Pull {
    let (clock, registry) = (storage::Clock::new(|| 4_000_000_000_000_000), prometheus::Registry::new());
    let numbers = AtomicUsize::new(1);
    let random = storage::Random::new(move || numbers.fetch_add(1, Ordering::Relaxed) as u128);
    let env = storage::Env { clock: clock.clone(), random, probe: storage::Probe::default() };
    let settings = storage::Config {
        tables: storage::Tables::default(),
        data_dir: folder.join("data"),
        tenant: "default".into(),
        flush_bytes: 64 << 20,
        flush_age_ms: 600_000,
        head_bytes_max: 256 << 20,
        wal_segment_bytes: 4 << 20,
        upkeep: false,
        retention_days: std::collections::BTreeMap::new(),
    };
    std::fs::create_dir(&settings.data_dir).unwrap();
    let storage = storage::Storage::open(settings, schemas::all(), env, &registry).await.unwrap();
    let config = crate::billing::Config {
        tags: crate::billing::TagRules::default(),
        archive_dir: folder.join("raw"),
        archive_us: i64::MAX / 2,
        close_after_us: 86_400_000_000,
        // The clock is far ahead.
        kept_days: 100 * 365,
    };
    let loads = Loads::open(config, storage, clock).await.unwrap();
    Pull::new(loads, exports, 1_000_000, Meter::register(&registry).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_delivery_is_tried_again_when_another_is_loaded_and_not_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let bill = |name: &str| {
        std::fs::read(format!("{}/../tests/data/cookbook/aws-{name}.csv", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let export_in = |name: &str| {
        let place = folder.path().join(name);
        std::fs::create_dir(&place).unwrap();
        Export { name: name.to_owned(), place: Place::parse(place.to_str().unwrap()).unwrap(), ..export(None) }
    };
    let (main, copy) = (export_in("main"), export_in("copy"));
    let copied = folder.path().join("copy/2026-10.csv");
    std::fs::write(folder.path().join("main/2026-10.csv"), bill("2026-10")).unwrap();
    std::fs::write(&copied, bill("2026-10")).unwrap();
    let mut pull = pull(folder.path(), Vec::new()).await;
    pull.look(&main).await.unwrap();
    pull.look(&copy).await.unwrap();
    let of: Of = ("copy".to_owned(), "2026-10".to_owned());
    let open = (copy.place.open(&copy).unwrap(), copy.place.clone());
    let [found] = pull.find(&copy, &open).await.unwrap().whole.try_into().unwrap();
    let (object, name) = (&found.files[0], copy.place.name("2026-10.csv"));
    assert!(pull.memory.is_refused(&of, &found.delivery, pull.ledger().await), "it has the costs of the other");
    let kept = pull.memory.fetched(&name, object).unwrap().clone();
    assert_eq!(pull.memory.fetched(&main.place.name("2026-10.csv"), object), None, "loaded, and forgotten");

    // Other bytes under the same size and time: whoever fetches them has them.
    let modified = copied.metadata().unwrap().modified().unwrap();
    std::fs::write(&copied, vec![b'x'; bill("2026-10").len()]).unwrap();
    std::fs::File::options().write(true).open(&copied).unwrap().set_modified(modified).unwrap();
    std::fs::write(folder.path().join("main/2026-11.csv"), bill("2026-11")).unwrap();
    pull.look(&main).await.unwrap();
    let ledger = pull.ledger().await;
    assert_eq!(ledger, 2);
    assert!(!pull.memory.is_refused(&of, &found.delivery, ledger));
    pull.look(&copy).await.unwrap();
    assert!(pull.memory.is_refused(&of, &found.delivery, ledger));
    assert_eq!(pull.memory.fetched(&name, object), Some(&kept));
    // What the archive has no longer is fetched.
    std::fs::remove_file(&kept.path).unwrap();
    let again = pull.fetch(&open, object).await.unwrap();
    assert_ne!(again.kept.unwrap().1, kept.digest);
}
