//! A bucket as an object store: object_store's own S3 client, without an AWS SDK, its TLS by rustls.
//!
//! Requests that fail are tried again by the client, with growing and random pauses, for as long as a reader may reasonably wait.
//! Who writes tries again for ever on top of that, or leaves it to the spool. A put that must not overwrite (`If-None-Match: *`) is not repeated after a
//! time-out: whether it landed is found out by reading it back, in `delta`.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, Result, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
    prefix::PrefixStore,
};

use super::{S3, Sse};

/// A server that takes longer to accept a connection is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// No new try of a request that is this old. Long enough for a server's restart, short enough for a start that fails to say so.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The same for puts that wait on the local disk otherwise.
pub(super) const PATIENCE_SPOOLED: Duration = Duration::from_secs(3);
/// Tries of one request beside the first; with the pauses below they outlast `PATIENCE`.
const RETRIES_MAX: usize = 30;
/// First pause between tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Opens a bucket below a prefix; requests are repeated for as long as `patience`. Nothing is sent yet.
pub(super) fn open(config: &S3, bucket: &str, prefix: &Path, patience: Duration) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in &config.credentials.0 {
        builder = builder.with_config(name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()?, value);
    }
    let (init_backoff, max_backoff) = PAUSES;
    let client = ClientOptions::new()
        .with_allow_http(config.allow_http)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(config.request_timeout);
    builder = builder.with_bucket_name(bucket).with_client_options(client).with_retry(RetryConfig {
        backoff: BackoffConfig { init_backoff, max_backoff, base: 2. },
        max_retries: RETRIES_MAX,
        retry_timeout: patience,
    });
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    // A dot in a bucket's name is in no certificate of the kind `*.s3.region.amazonaws.com`.
    let path_style = config.path_style || bucket.contains('.');
    builder = builder.with_virtual_hosted_style_request(!path_style);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(if path_style { endpoint.clone() } else { hosted(endpoint, bucket) });
    }
    builder = match &config.sse {
        None => builder,
        Some(Sse::Aes256) => builder.with_config("aws_server_side_encryption".parse()?, "AES256"),
        Some(Sse::Kms(key)) => {
            let builder = builder.with_config("aws_server_side_encryption".parse()?, "aws:kms");
            match key {
                Some(key) => builder.with_config("aws_sse_kms_key_id".parse()?, key),
                None => builder,
            }
        }
    };
    Ok(Arc::new(PrefixStore::new(builder.build()?, prefix.clone())))
}

/// The endpoint with the bucket in its host's name.
fn hosted(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => format!("{bucket}.{endpoint}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_where_the_server_wants_it() {
        assert_eq!(hosted("https://objects.example:9000", "gauge"), "https://gauge.objects.example:9000");
        let display =
            |config: &S3, bucket: &str| format!("{:?}", open(config, bucket, &Path::default(), PATIENCE).unwrap());
        let aws = S3 { region: Some("eu-central-1".into()), ..S3::default() };
        assert!(display(&aws, "gauge").contains("https://gauge.s3.eu-central-1.amazonaws.com"));
        assert!(display(&aws, "gauge.data").contains("https://s3.eu-central-1.amazonaws.com/gauge.data"));
        let own = S3 { endpoint: Some("https://objects.example".into()), path_style: true, ..S3::default() };
        assert!(display(&own, "gauge").contains("https://objects.example/gauge"));
    }

    #[test]
    fn encryption_is_asked_for_and_no_secret_is_shown() {
        let credentials = super::super::Credentials(vec![
            ("AWS_ACCESS_KEY_ID", "key".into()),
            ("AWS_SECRET_ACCESS_KEY", "hush".into()),
            ("AWS_SESSION_TOKEN", "hushhush".into()),
        ]);
        let kms = Some(Sse::Kms(Some("arn:aws:kms:eu:1:key/2".into())));
        for (sse, expected) in [(Some(Sse::Aes256), "AES256"), (Some(Sse::Kms(None)), "aws:kms"), (kms, "key/2")] {
            let config = S3 { sse, credentials: credentials.clone(), ..S3::default() };
            let shown = format!("{config:?} {:?}", open(&config, "gauge", &Path::default(), PATIENCE).unwrap());
            assert!(shown.contains(expected), "{shown}");
            assert!(!shown.contains("hush"), "{shown}");
        }
    }
}
