//! Where the tables are: in the data folder, in buckets, or both; one object store to all who read and write them.
//!
//! Called when storage opens, for writing and for reading alone. Layers, outermost first: [`routed`] sends a dataset's paths to
//! its root; before each bucket stands the [`cache`] of blocks on the local disk; the [`spool`] keeps what a bucket that is away does
//! not take; [`remote`] counts requests and puts large files in parts. The folder has a store of its own ([`local`]), whose puts are
//! durable.
//!
//! Invariants: paths are the same whatever the root (`<tenant>/<dataset>/…`); no secret is shown by `Debug` or by an error.
//! Not here: retrying for ever, which is the commit's and the writer's (`delta`, `commit`).

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use object_store::{ObjectStore, path::Path};
use prometheus::Registry;
use schemas::Dataset;

use crate::{Clock, Config, Env, Error, ErrorKind, Result, folder};

mod blocks;
mod cache;
pub(crate) mod local;
mod remote;
mod routed;
mod s3;
pub(crate) mod spool;

use blocks::Blocks;
use cache::Cached;
use remote::Remote;
use routed::Routed;
use spool::{Opening, Settings, Side, Spools};

/// Where tables are, and how buckets are spoken to.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Root of all datasets that have none of their own.
    pub root: Root,
    /// Roots by dataset's name, for data that must stay where it belongs.
    pub roots: BTreeMap<String, Root>,
    /// How buckets are reached.
    pub s3: S3,
    /// Most bytes of the local disk that copies of files in buckets may take; 0 for none.
    pub cache_bytes: u64,
}

/// A place for tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// `tables` in the data folder.
    Folder,
    /// A bucket of S3 or of what speaks like it.
    Bucket {
        /// Name of the bucket.
        bucket: String,
        /// Path below which the tables are; may be empty.
        prefix: Path,
    },
}

/// How buckets are reached.
#[derive(Debug, Clone)]
pub struct S3 {
    /// URL of the server; AWS if there is none.
    pub endpoint: Option<String>,
    /// Region; `us-east-1` if nobody says.
    pub region: Option<String>,
    /// Is the bucket a part of the path, as self-hosted servers want it, or of the host's name, as AWS does?
    pub path_style: bool,
    /// May `http://` be spoken, which everybody between can read?
    pub allow_http: bool,
    /// Encryption that is asked for with every object; the bucket's own if there is none.
    pub sse: Option<Sse>,
    /// Longest time a request may take, the body included.
    pub request_timeout: Duration,
    /// Most bytes that wait on the local disk for buckets that are away; 0 for none.
    pub spool_bytes: u64,
    /// What the environment says about who we are.
    pub credentials: Credentials,
}

/// Encryption of objects by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sse {
    /// With keys of S3 (`AES256`).
    Aes256,
    /// With keys of KMS (`aws:kms`): this one, or the account's.
    Kms(Option<String>),
}

/// Variables of the usual AWS environment, as they were when the settings were read. Shows names only.
#[derive(Clone, Default)]
pub struct Credentials(pub Vec<(&'static str, String)>);

/// Variables that say who we are: keys, web identity, and where container and instance profiles are asked.
pub const CREDENTIAL_VARIABLES: [&str; 12] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
    "AWS_IMDSV1_FALLBACK",
];

impl Default for Tables {
    /// In the data folder.
    fn default() -> Self {
        Self { root: Root::Folder, roots: BTreeMap::new(), s3: S3::default(), cache_bytes: 0 }
    }
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: false,
            allow_http: false,
            sse: None,
            request_timeout: Duration::from_secs(30),
            spool_bytes: 0,
            credentials: Credentials::default(),
        }
    }
}

impl Tables {
    /// Root of a dataset.
    #[must_use]
    pub fn root_of(&self, dataset: &str) -> &Root {
        self.roots.get(dataset).unwrap_or(&self.root)
    }

    /// Is any table in a bucket?
    #[must_use]
    pub fn remote(&self) -> bool {
        std::iter::once(&self.root).chain(self.roots.values()).any(|root| *root != Root::Folder)
    }
}

impl Root {
    /// Reads `s3://bucket/prefix`.
    ///
    /// # Errors
    /// What is wrong, and how roots are written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = |what: &str| format!("`{text}` is no place for tables: {what}; write it like `s3://bucket/prefix`");
        let rest = text.strip_prefix("s3://").ok_or_else(|| bad("it does not begin with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(good) {
            return Err(bad("a bucket's name has 3 to 63 of the characters a-z 0-9 . -"));
        }
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.=/".contains(c);
        if !prefix.chars().all(good) {
            return Err(bad("a prefix has the characters a-z A-Z 0-9 - _ . = /"));
        }
        let prefix = Path::parse(prefix).map_err(|_| bad("its prefix has an empty or a relative part"))?;
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder => f.write_str("folder"),
            Self::Bucket { bucket, prefix } if prefix.as_ref().is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What of the data folder the store of all tables uses.
pub(crate) struct Place {
    /// Where blocks of files in buckets are kept, if they are.
    pub cache: Option<PathBuf>,
    /// Where puts wait for buckets that are away.
    pub spool: PathBuf,
    pub side: Side,
}

/// Opens the store of all tables, and the spools in it. `local` is the store of the data folder.
pub(crate) async fn open(
    config: &Config,
    local: Arc<dyn ObjectStore>,
    place: Place,
    env: &Env,
    registry: &Registry,
) -> Result<(Arc<dyn ObjectStore>, Spools)> {
    let tables = &config.tables;
    if !tables.remote() {
        return Ok((local, Spools::default()));
    }
    let blocks = match place.cache {
        Some(folder) if tables.cache_bytes > 0 => {
            let metrics = blocks::Metrics::register(registry).map_err(not_registered)?;
            Some(Arc::new(Blocks::open(folder, tables.cache_bytes, env.clock.clone(), metrics)))
        }
        _ => None,
    };
    let settings = Settings::of(tables.s3.spool_bytes);
    let spools = Opening::new((place.spool, blocks.clone()), place.side, settings, env, registry)?;
    let metrics = remote::Metrics::register(registry, &env.clock).map_err(not_registered)?;
    let mut buckets = Buckets { s3: &tables.s3, local, metrics, blocks, spools, clock: &env.clock };
    let mut routes = Vec::with_capacity(tables.roots.len());
    for (dataset, root) in &tables.roots {
        routes.push((Path::from_iter([config.tenant.as_str(), dataset.as_str()]), buckets.open(root).await?));
    }
    let rest = buckets.open(&tables.root).await?;
    let spools = buckets.spools.finish(&tables.root, tables.roots.iter())?;
    Ok((if routes.is_empty() { rest } else { Arc::new(Routed::new(rest, routes)) }, spools))
}

/// Opens one bucket by itself, without cache and spool: for commands that bring their own.
pub(crate) fn open_bucket(root: &Root, s3: &S3, clock: &Clock, registry: &Registry) -> Result<Arc<dyn ObjectStore>> {
    let Root::Bucket { bucket, prefix } = root else {
        return Err(Error::new(ErrorKind::Internal, "a folder was opened as a bucket"));
    };
    let store = s3::open(s3, bucket, prefix, s3::PATIENCE).map_err(|error| not_usable(root, error))?;
    Ok(Arc::new(Remote::new(store, remote::Metrics::register(registry, clock).map_err(not_registered)?)))
}

fn not_usable(root: &Root, error: object_store::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("bucket cannot be used, root={root}")).caused_by(error)
}

/// Opens one root after the other.
struct Buckets<'a> {
    s3: &'a S3,
    local: Arc<dyn ObjectStore>,
    metrics: remote::Metrics,
    blocks: Option<Arc<Blocks>>,
    spools: Opening,
    clock: &'a Clock,
}

impl Buckets<'_> {
    async fn open(&mut self, root: &Root) -> Result<Arc<dyn ObjectStore>> {
        let Root::Bucket { bucket, prefix } = root else { return Ok(Arc::clone(&self.local)) };
        let client = |patience| -> Result<Arc<dyn ObjectStore>> {
            let store = s3::open(self.s3, bucket, prefix, patience).map_err(|error| not_usable(root, error))?;
            Ok(Arc::new(Remote::new(store, self.metrics.clone())))
        };
        let readers = client(s3::PATIENCE)?;
        // What can wait on the disk need not wait for the bucket.
        let puts = if self.s3.spool_bytes > 0 { client(s3::PATIENCE_SPOOLED)? } else { Arc::clone(&readers) };
        let spool = self.spools.root(&root.to_string(), (readers, puts)).await?;
        Ok(match &self.blocks {
            Some(blocks) => Arc::new(Cached::new(Arc::new(spool), Arc::clone(blocks), self.clock.clone())),
            None => Arc::new(spool),
        })
    }
}

/// The root of every dataset as text, as the data folder remembers it.
pub(crate) fn roots(tables: &Tables, datasets: &[&'static Dataset]) -> folder::Roots {
    datasets.iter().map(|dataset| (dataset.name.to_owned(), tables.root_of(dataset.name).to_string())).collect()
}

fn not_registered(error: prometheus::Error) -> Error {
    Error::new(ErrorKind::Internal, "metrics cannot be registered").caused_by(error)
}

#[cfg(test)]
mod tests;
