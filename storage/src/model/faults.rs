//! An object store that answers as the worst of them do.
//!
//! Faults wait in a queue for each kind of request, and a request takes the first of its kind. A put may be refused, take effect
//! and be answered by a broken connection, or arrive long after its sender gave it up; a listing may be that of a while ago. A
//! process can be made to die at any of its requests: from there on none of them does anything.
//!
//! Objects are as old as the clock of the test says.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use chrono::DateTime;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A kind of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    Put,
    Read,
    Delete,
    List,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It is refused with this status and did nothing.
    Status(u16),
    /// There is no answer in time, and it did nothing.
    Timeout,
    /// There is no answer in time. A put arrives when so many more requests were made; anything else does nothing.
    Late(u8),
    /// It took effect, and the connection broke before the answer.
    Reset,
    /// It takes long: others overtake it.
    Slow,
    /// A listing lacks the newest objects, so many of them, and shows deleted ones.
    Stale(u8),
}

/// The store.
#[derive(Debug, Clone)]
pub(crate) struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    now_us: Arc<AtomicI64>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    faults: BTreeMap<Request, VecDeque<Fault>>,
    /// Puts on their way, and after how many requests they arrive.
    late: Vec<(u8, Path, PutPayload, PutOptions)>,
    /// How many puts there were when an object was put, and the time.
    objects: BTreeMap<Path, (u64, i64)>,
    puts: u64,
    deleted: BTreeMap<Path, ObjectMeta>,
    calm: bool,
    /// Every put fails.
    away: bool,
    /// Requests until the process dies, and who is told.
    dies: Option<(u32, Arc<Notify>)>,
}

impl FaultStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, now_us: Arc<AtomicI64>) -> Arc<Self> {
        Arc::new(Self { inner, now_us, state: Arc::default() })
    }

    /// What happens to the next requests of a kind.
    pub(crate) fn next(&self, request: Request, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().faults.entry(request).or_default().extend(faults);
    }

    /// Does anything wait to happen?
    pub(crate) fn is_troubled(&self) -> bool {
        let state = self.state.lock();
        !state.late.is_empty() || state.faults.values().any(|faults| !faults.is_empty())
    }

    /// While it is calm, requests are answered, and faults wait.
    pub(crate) fn calm(&self, calm: bool) {
        self.state.lock().calm = calm;
    }

    /// From now on every put fails, until told otherwise; was it so before?
    pub(crate) fn away(&self, away: bool) -> bool {
        std::mem::replace(&mut self.state.lock().away, away)
    }

    /// The process dies at the request after so many more.
    pub(crate) fn die_after(&self, requests: u32, died: Arc<Notify>) {
        self.state.lock().dies = Some((requests, died));
    }

    /// A process that asks from here on lives.
    pub(crate) fn revive(&self) {
        self.state.lock().dies = None;
    }

    /// The fault of a request.
    async fn meet(&self, request: Request) -> Option<Fault> {
        let (fault, landed, died) = {
            let mut state = self.state.lock();
            if state.calm {
                return None;
            }
            let landed: Vec<_> = state.late.extract_if(.., |put| put.0 == 0).collect();
            state.late.iter_mut().for_each(|put| put.0 -= 1);
            let died = match &mut state.dies {
                Some((0, died)) => Some(Arc::clone(died)),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            };
            let fault = match &died {
                Some(_) => Some(Fault::Timeout),
                None => state.faults.entry(request).or_default().pop_front(),
            };
            (fault, landed, died)
        };
        for (_, path, payload, options) in landed {
            // Nobody hears what becomes of it.
            let _ = self.put(&path, payload, options).await;
        }
        if let Some(died) = died {
            died.notify_one();
        }
        if let Some(Fault::Slow) = fault {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
        fault
    }

    /// Meets the fault of a request that does nothing if it is not answered.
    async fn ask(&self, request: Request, path: Option<&Path>) -> Result<()> {
        match self.meet(request).await {
            None | Some(Fault::Slow | Fault::Stale(_)) => Ok(()),
            Some(fault) => Err(error(fault, path)),
        }
    }

    async fn put(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(path, payload, options).await?;
        let mut state = self.state.lock();
        state.puts += 1;
        let object = (state.puts, self.now_us.load(Ordering::Relaxed) / 1000);
        state.objects.insert(path.clone(), object);
        state.deleted.remove(path);
        Ok(put)
    }

    async fn delete(&self, path: Path) -> Result<Path> {
        let fault = self.meet(Request::Delete).await;
        match fault {
            None | Some(Fault::Slow | Fault::Stale(_) | Fault::Reset) => {}
            Some(fault) => return Err(error(fault, Some(&path))),
        }
        let meta = self.inner.head(&path).await;
        self.inner.delete(&path).await?;
        if let Ok(meta) = meta {
            self.state.lock().deleted.insert(path.clone(), meta);
        }
        if let Some(fault @ Fault::Reset) = fault { Err(error(fault, Some(&path))) } else { Ok(path) }
    }

    async fn listed(&self, prefix: Option<Path>) -> Result<Vec<ObjectMeta>> {
        let omitted = match self.meet(Request::List).await {
            None | Some(Fault::Slow) => None,
            Some(Fault::Stale(omitted)) => Some(omitted),
            Some(fault) => return Err(error(fault, prefix.as_ref())),
        };
        let mut listed: Vec<ObjectMeta> = self.inner.list(prefix.as_ref()).try_collect().await?;
        let state = self.state.lock();
        let object = |meta: &ObjectMeta| state.objects.get(&meta.location).copied().unwrap_or_default();
        for meta in &mut listed {
            meta.last_modified = DateTime::from_timestamp_millis(object(meta).1).unwrap_or(meta.last_modified);
        }
        if let Some(omitted) = omitted {
            listed.sort_by_key(|meta| object(meta).0);
            listed.truncate(listed.len().saturating_sub(omitted.into()));
            let shown = |path: &Path| prefix.as_ref().is_none_or(|prefix| path.prefix_matches(prefix));
            listed.extend(state.deleted.values().filter(|meta| shown(&meta.location)).cloned());
        }
        Ok(listed)
    }
}

fn error(fault: Fault, path: Option<&Path>) -> Error {
    let path = path.map(ToString::to_string).unwrap_or_default();
    let generic = |source: String| Error::Generic { store: "failing store", source: source.into() };
    match fault {
        Fault::Status(409) => Error::AlreadyExists { path, source: "status 409".into() },
        Fault::Status(412) => Error::Precondition { path, source: "status 412".into() },
        Fault::Status(status) => generic(format!("status {status}")),
        Fault::Timeout | Fault::Late(_) => generic("no answer in time".to_owned()),
        Fault::Reset | Fault::Slow | Fault::Stale(_) => generic("connection reset".to_owned()),
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failing store")
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if self.state.lock().away {
            return Err(error(Fault::Status(503), Some(location)));
        }
        let fault = self.meet(Request::Put).await;
        match fault {
            None | Some(Fault::Slow | Fault::Stale(_)) => return self.put(location, payload, options).await,
            Some(Fault::Late(after)) => self.state.lock().late.push((after, location.clone(), payload, options)),
            // What a lost answer said is lost.
            Some(Fault::Reset) => drop(self.put(location, payload, options).await),
            Some(Fault::Status(_) | Fault::Timeout) => {}
        }
        Err(error(fault.unwrap_or(Fault::Reset), Some(location)))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask(Request::Read, Some(location)).await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Result<Path>| {
            let store = store.clone();
            async move { store.delete(path?).await }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = stream::once(async move { store.listed(prefix).await });
        listed.map_ok(|listed| stream::iter(listed.into_iter().map(Ok))).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.ask(Request::List, prefix).await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
