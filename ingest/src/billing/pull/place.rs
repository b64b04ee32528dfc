//! Where a provider delivers: a bucket of S3, a container of Azure, a bucket of Google, or a folder.
//!
//! Called by the settings, which parse a place, and by looks, which open it. Invariants: nothing is ever written or deleted there; a
//! secret is never shown.

use std::{fmt, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    local::LocalFileSystem,
    path::Path,
};

use super::{Export, role};
use crate::{Error, ErrorKind, Result};

/// Variables of the environment that say who we are, as the providers' own tools have them.
pub const CREDENTIAL_VARIABLES: [&str; 15] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_CLIENT_ID",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_TENANT_ID",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
];
/// A server that takes longer to accept a connection is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for an answer with all of its body: a page of a listing, or a range of a file.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// No new try of a request that is this old; the next look tries again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Values of [`CREDENTIAL_VARIABLES`] that are set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(pub Vec<(&'static str, String)>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// A place, as it is written: `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix`, or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    scheme: &'static str,
    /// Bucket or container; the folder, if it is one.
    bucket: String,
    prefix: Path,
}

impl Place {
    /// Reads a place.
    ///
    /// # Errors
    /// What is wrong, and how places are written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{text}` is no place: write s3://bucket/prefix, az://container/prefix, gs://bucket/prefix, or a folder"
            )
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            let is_absolute = text.starts_with('/');
            let folder = if is_absolute { text.trim_end_matches('/') } else { text };
            return if folder.is_empty() {
                Err(bad())
            } else {
                Ok(Self { scheme: "file", bucket: folder.to_owned(), prefix: Path::default() })
            };
        };
        let scheme = ["s3", "az", "gs"].into_iter().find(|known| *known == scheme).ok_or_else(bad)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', ':', '?']) {
            return Err(bad());
        }
        Ok(Self { scheme, bucket: bucket.to_owned(), prefix: Path::parse(prefix).map_err(|_| bad())? })
    }

    /// What kind of place it is.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Below what everything lies.
    pub(super) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// What is below it, as errors and the ledger name it.
    pub(super) fn name(&self, path: &str) -> String {
        format!("{}/{path}", self.to_string().trim_end_matches('/'))
    }

    /// Opens it; nothing is sent yet.
    pub(super) fn open(&self, export: &Export) -> Result<Arc<dyn ObjectStore>> {
        let failed = |error: object_store::Error| {
            let message = format!("an export's place cannot be opened: {error} export={} from={self}", export.name);
            Error::new(ErrorKind::Unavailable, message).caused_by(error)
        };
        let opened: object_store::Result<Arc<dyn ObjectStore>> = match self.scheme {
            "s3" => self.s3(export)?.build().map(|store| Arc::new(store) as _),
            "az" => self.azure(export).and_then(MicrosoftAzureBuilder::build).map(|store| Arc::new(store) as _),
            "gs" => self.google(export).and_then(GoogleCloudStorageBuilder::build).map(|store| Arc::new(store) as _),
            _ => LocalFileSystem::new_with_prefix(&self.bucket).map(|store| Arc::new(store) as _),
        };
        opened.map_err(failed)
    }

    fn s3(&self, export: &Export) -> Result<AmazonS3Builder> {
        let mut builder = AmazonS3Builder::new().with_bucket_name(&self.bucket).with_retry(retry());
        builder = builder.with_client_options(client(export));
        for (key, value) in known::<AmazonS3ConfigKey>(export) {
            builder = builder.with_config(key, value);
        }
        if let Some(region) = &export.region {
            builder = builder.with_region(region);
        }
        // A server of one's own rarely has a name per bucket; a dot in a bucket's name is in no certificate.
        let path_style = export.path_style.unwrap_or(export.endpoint.is_some()) || self.bucket.contains('.');
        builder = builder.with_virtual_hosted_style_request(!path_style);
        if let Some(endpoint) = &export.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(match &export.role {
            Some(role) => builder.with_credentials(Arc::new(role::Assumed::new(role, export)?)),
            None => builder,
        })
    }

    fn azure(&self, export: &Export) -> object_store::Result<MicrosoftAzureBuilder> {
        let mut builder = MicrosoftAzureBuilder::new().with_container_name(&self.bucket).with_retry(retry());
        builder = builder.with_client_options(client(export));
        for (key, value) in known::<AzureConfigKey>(export) {
            builder = builder.with_config(key, value);
        }
        Ok(match &export.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.clone()),
            None => builder,
        })
    }

    fn google(&self, export: &Export) -> object_store::Result<GoogleCloudStorageBuilder> {
        let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(&self.bucket).with_retry(retry());
        builder = builder.with_client_options(client(export));
        for (key, value) in known::<GoogleConfigKey>(export) {
            builder = builder.with_config(key, value);
        }
        Ok(match &export.endpoint {
            Some(endpoint) => builder.with_base_url(endpoint),
            None => builder,
        })
    }
}

/// Why something of a place cannot be read, and what to do if that is not to try again.
pub(super) fn unread(place: &Place, path: &str, error: object_store::Error) -> Error {
    let next = match &error {
        object_store::Error::InvalidPath { .. } => {
            "; a key with `//`, or an end like `..`, cannot be asked for: give the report a prefix (S3 writes `//` for none), or name a \
             longer `from` that leaves such keys out"
        }
        // What was listed is gone, or is there under a key that is not what was listed.
        object_store::Error::NotFound { .. } if !path.is_empty() => {
            "; it was deleted after it was listed, or its key begins with `/`, which cannot be asked for: give the report a prefix"
        }
        _ => "",
    };
    let message = format!("a place cannot be read: {error}{next} from={place} path={path}");
    Error::new(ErrorKind::Unavailable, message).caused_by(error)
}

/// The credentials that a kind of store knows.
fn known<K: std::str::FromStr>(export: &Export) -> impl Iterator<Item = (K, &String)> {
    export.credentials.0.iter().filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
}

pub(super) fn client(export: &Export) -> ClientOptions {
    let options = ClientOptions::new().with_allow_http(export.allow_http);
    options.with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT)
}

fn retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 10, retry_timeout: PATIENCE }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            "file" => f.write_str(&self.bucket),
            scheme => write!(f, "{scheme}://{}/{}", self.bucket, self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_shown() {
        for text in ["s3://bills/cur/main", "az://exports/daily", "gs://bills/", "/var/bills", "bills"] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "s3://", "http://bills/cur", "s3://key:secret@bills/x", "/"] {
            let error = Place::parse(text).unwrap_err();
            assert!(error.contains("s3://bucket/prefix"), "{error}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let credentials = Credentials(vec![("AWS_SECRET_ACCESS_KEY", "hush".to_owned())]);
        assert_eq!(format!("{credentials:?}"), r#"["AWS_SECRET_ACCESS_KEY"]"#);
    }
}
