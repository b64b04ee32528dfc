//! One store over several roots: a dataset's paths go to the root of the dataset.
//!
//! So that all other code keeps one store and one kind of path. A listing above the datasets' folders is put together from
//! all roots; what lies in a root where another one is responsible is not seen.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

/// Paths that are deleted with one call to a root, as S3 takes them.
const DELETES_AT_ONCE: usize = 1000;

/// Stores by path prefix.
#[derive(Debug, Clone)]
pub(crate) struct Routed {
    routes: Arc<Vec<(Path, Arc<dyn ObjectStore>)>>,
    /// Of all other paths.
    rest: Arc<dyn ObjectStore>,
}

impl Routed {
    /// `routes`: folders, none within another, and their stores.
    pub(crate) fn new(rest: Arc<dyn ObjectStore>, routes: Vec<(Path, Arc<dyn ObjectStore>)>) -> Self {
        Self { routes: Arc::new(routes), rest }
    }

    fn route(&self, path: &Path) -> Option<usize> {
        self.routes.iter().position(|(folder, _)| path.prefix_matches(folder))
    }

    fn store(&self, route: Option<usize>) -> &Arc<dyn ObjectStore> {
        route.and_then(|route| self.routes.get(route)).map_or(&self.rest, |(_, store)| store)
    }

    fn of(&self, path: &Path) -> &Arc<dyn ObjectStore> {
        self.store(self.route(path))
    }

    /// The routes below a folder that is none itself.
    fn below(&self, prefix: Option<&Path>) -> Vec<usize> {
        let below = |route: &usize| prefix.is_none_or(|prefix| self.routes[*route].0.prefix_matches(prefix));
        (0..self.routes.len()).filter(below).collect()
    }

    fn listed(
        &self,
        prefix: Option<&Path>,
        list: impl Fn(&Arc<dyn ObjectStore>, Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        if let Some(route) = prefix.and_then(|prefix| self.route(prefix)) {
            return list(self.store(Some(route)), prefix);
        }
        let routed = self.clone();
        let own = list(&self.rest, prefix)
            .try_filter(move |meta| std::future::ready(routed.route(&meta.location).is_none()))
            .boxed();
        let others = self.below(prefix).into_iter().map(|route| {
            let (folder, store) = &self.routes[route];
            list(store, Some(folder))
        });
        stream::iter(std::iter::once(own).chain(others).collect::<Vec<_>>()).flatten().boxed()
    }
}

impl fmt::Display for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rest)?;
        self.routes.iter().try_for_each(|(folder, store)| write!(f, ", {folder} in {store}"))
    }
}

#[async_trait]
impl ObjectStore for Routed {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.of(location).put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.of(location).put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.of(location).get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.of(location).get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let routed = self.clone();
        let chunks = locations.try_chunks(DELETES_AT_ONCE).map(move |chunk| {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                // Those before the error are asked for too: they are in it.
                Err(stream::TryChunksError(before, error)) => {
                    return stream::iter([routed.delete(before), stream::once(async { Err(error) }).boxed()])
                        .flatten()
                        .boxed();
                }
            };
            routed.delete(chunk)
        });
        chunks.flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, |store, prefix| store.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, |store, prefix| store.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        if let Some(route) = prefix.and_then(|prefix| self.route(prefix)) {
            return self.store(Some(route)).list_with_delimiter(prefix).await;
        }
        let mut result = self.rest.list_with_delimiter(prefix).await?;
        let depth = prefix.map_or(0, |prefix| prefix.parts().count());
        for route in self.below(prefix) {
            let (folder, _) = &self.routes[route];
            let shown = Path::from_iter(folder.parts().take(depth + 1));
            if !result.common_prefixes.contains(&shown) {
                result.common_prefixes.push(shown);
            }
        }
        result.common_prefixes.sort();
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (route, target) = (self.route(from), self.route(to));
        if route != target {
            let source = format!("a copy from one root to another, from={from} to={to}").into();
            return Err(Error::NotSupported { source });
        }
        self.store(route).copy_opts(from, to, options).await
    }
}

impl Routed {
    /// Deletes paths, root by root.
    fn delete(&self, paths: Vec<Path>) -> BoxStream<'static, Result<Path>> {
        let mut by_route: Vec<(Option<usize>, Vec<Path>)> = Vec::new();
        for path in paths {
            let route = self.route(&path);
            match by_route.iter_mut().find(|(known, _)| *known == route) {
                Some((_, paths)) => paths.push(path),
                None => by_route.push((route, vec![path])),
            }
        }
        let deleted: Vec<_> = by_route
            .into_iter()
            .map(|(route, paths)| self.store(route).delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed()))
            .collect();
        stream::iter(deleted).flatten().boxed()
    }
}

#[cfg(test)]
mod tests;
