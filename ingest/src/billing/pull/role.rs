//! Reads a bucket as a role of another account: credentials from AWS' security token service, made anew before they end.
//!
//! Called by places of S3 that have a role. The request is signed by object_store, with who we are without the role.
//! Spec: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::http::{Method, Request, header};
use object_store::{
    CredentialProvider,
    aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential, AwsCredentialProvider},
    client::{HttpClient, HttpConnector as _, ReqwestConnector},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{sync::Mutex, time::Instant};

use super::{Export, Role};
use crate::{Error, ErrorKind, Result};

/// For how long credentials are asked for; every role allows an hour.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// Before they end by so much, new ones are asked for: a range of a file that is being read has to come to its end.
const RENEWED_BEFORE: Duration = Duration::from_secs(900);
/// Where roles are of, if nothing is said.
const REGION: &str = "us-east-1";
/// Bytes of a refusal that are shown.
const REASON_BYTES_MAX: usize = 500;

/// Credentials of a role.
pub(super) struct Assumed {
    role: Role,
    region: String,
    endpoint: String,
    base: AwsCredentialProvider,
    client: HttpClient,
    kept: Mutex<Option<(Arc<AwsCredential>, Instant)>>,
}

impl Assumed {
    pub(super) fn new(role: &Role, export: &Export) -> Result<Self> {
        let failed = |error: object_store::Error| {
            let message = format!("a role cannot be assumed: {error} export={} role={}", export.name, role.arn);
            Error::new(ErrorKind::Unavailable, message).caused_by(error)
        };
        let mut plain = AmazonS3Builder::new().with_bucket_name("unused").with_region(REGION);
        for (name, value) in &export.credentials.0 {
            if let Ok(key) = name.to_ascii_lowercase().parse() {
                plain = plain.with_config(key, value);
            }
        }
        let base = Arc::clone(plain.build().map_err(failed)?.credentials());
        let region = export.region.clone().unwrap_or_else(|| REGION.to_owned());
        let endpoint = role.endpoint.clone().unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com"));
        let client = ReqwestConnector::default().connect(&super::place::client(export)).map_err(failed)?;
        Ok(Self { role: role.clone(), region, endpoint, base, client, kept: Mutex::new(None) })
    }

    async fn ask(&self) -> object_store::Result<AwsCredential> {
        let failed = |reason: String| object_store::Error::Generic {
            store: "STS",
            source: format!("role {} cannot be assumed: {reason}", self.role.arn).into(),
        };
        let text = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut form = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleSessionName=streamgauge&DurationSeconds={}&RoleArn={}",
            LIFETIME.as_secs(),
            text(&self.role.arn)
        );
        if let Some(id) = &self.role.external_id {
            form.push_str(&format!("&ExternalId={}", text(id)));
        }
        let request = Request::builder().method(Method::POST).uri(format!("{}/", self.endpoint.trim_end_matches('/')));
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8");
        let mut request = request.body(form.into()).map_err(|error| failed(error.to_string()))?;
        let base = self.base.get_credential().await?;
        AwsAuthorizer::new(&base, "sts", &self.region).authorize(&mut request, None);
        let response = self.client.execute(request).await.map_err(|error| failed(error.to_string()))?;
        let (head, body) = (response.status(), response.into_body().bytes().await);
        let body = body.map_err(|error| failed(error.to_string()))?;
        let answer = String::from_utf8_lossy(&body);
        let field = |name: &str| {
            let (_, rest) = answer.split_once(&format!("<{name}>"))?;
            Some(rest.split_once('<')?.0.trim().to_owned())
        };
        let credential = || {
            let (key_id, secret_key) = (field("AccessKeyId")?, field("SecretAccessKey")?);
            Some(AwsCredential { key_id, secret_key, token: field("SessionToken") })
        };
        // What is no credential may be shown: STS says who may not assume what.
        let reason = || field("Message").unwrap_or_default().chars().take(REASON_BYTES_MAX).collect::<String>();
        credential().filter(|_| head.is_success()).ok_or_else(|| failed(format!("{head} {}", reason())))
    }
}

#[async_trait]
impl CredentialProvider for Assumed {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut kept = self.kept.lock().await;
        if let Some((credential, until)) = &*kept
            && Instant::now() < *until
        {
            return Ok(Arc::clone(credential));
        }
        let credential = Arc::new(self.ask().await?);
        *kept = Some((Arc::clone(&credential), Instant::now() + LIFETIME - RENEWED_BEFORE));
        Ok(credential)
    }
}

impl fmt::Debug for Assumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assumed").field("role", &self.role).finish_non_exhaustive()
    }
}
