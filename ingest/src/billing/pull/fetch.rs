//! Reads objects as they were listed, or not at all.
//!
//! Called by looks, which hand the bytes to the archive. A file comes in ranges, one after the other, because a client bounds the time of
//! a whole answer and gigabytes take longer. Invariant: every answer is of the version that was listed. That is compared here and not
//! asked for with `If-Match`: listings of Azure have ETags without quotes, which no server takes back.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _};

use super::{
    find::Object,
    place::{Place, unread},
};
use crate::{Error, ErrorKind, Result};

/// Bytes of a range: two megabits a second are enough for one within the time of an answer, and a gigabyte is sixteen requests.
const RANGE_BYTES: u64 = 64 << 20;

/// The bytes of a file.
pub(super) fn bytes<'a>(
    store: &'a dyn ObjectStore,
    place: &'a Place,
    object: &'a Object,
) -> BoxStream<'a, Result<Bytes>> {
    in_ranges(store, place, object, RANGE_BYTES)
}

/// The bytes of a file, so many at a time; the next are asked for when those before are taken.
pub(super) fn in_ranges<'a>(
    store: &'a dyn ObjectStore,
    place: &'a Place,
    object: &'a Object,
    range_bytes: u64,
) -> BoxStream<'a, Result<Bytes>> {
    let count = object.bytes.div_ceil(range_bytes).max(1);
    let range = move |at: u64| async move {
        let start = at * range_bytes;
        let range = start..object.bytes.min(start + range_bytes);
        // Nothing cannot be asked for: a file without bytes is read as a whole.
        let range = Some(range).filter(|range| !range.is_empty()).map(GetRange::Bounded);
        let options = GetOptions { range, ..GetOptions::default() };
        let failed = move |error| unread(place, &object.path, error);
        let got = store.get_opts(&object.location, options).await.map_err(failed)?;
        same(place, object, &got.meta)?;
        Ok::<_, Error>(got.into_stream().map_err(failed))
    };
    stream::iter(0..count).then(range).try_flatten().boxed()
}

/// Is an object still what was listed?
///
/// # Errors
/// `Unavailable` if not, or if nobody can tell.
pub(super) async fn unchanged(store: &dyn ObjectStore, place: &Place, object: &Object) -> Result<()> {
    let meta = store.head(&object.location).await.map_err(|error| unread(place, &object.path, error))?;
    same(place, object, &meta)
}

/// Is what a store answers of the version that was listed?
pub(super) fn same(place: &Place, object: &Object, meta: &ObjectMeta) -> Result<()> {
    if object.is(meta) { Ok(()) } else { Err(changed(place, object)) }
}

pub(super) fn changed(place: &Place, object: &Object) -> Error {
    let path = &object.path;
    let message =
        format!("a file changed while its delivery was read; the next look reads it anew from={place} path={path}");
    Error::new(ErrorKind::Unavailable, message)
}
