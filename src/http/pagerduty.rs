//! `POST /api/v1/pagerduty/webhook`: PagerDuty tells that somebody took an incident, or closed it.
//!
//! Merged by `alerting` if there are secrets. A signature over the body stands in place of a token, and nothing is read before it is right.
//! Answers are those that PagerDuty understands: 2xx once it is on disk, 5xx to be told again, 4xx for what will never be right.
//! Spec: V3 webhooks, <https://developer.pagerduty.com/docs/verifying-webhook-signatures>

use std::path::{Path, PathBuf};

use alerting::{
    ErrorKind,
    config::values::Secret,
    notify::pagerduty::inbound::{is_signed, parse},
};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};

use super::refusal;
use crate::glue::service::Service;

/// Where it is told; the only path beside the probes for which `auth` asks for no token.
const PATH: &str = "/api/v1/pagerduty/webhook";
/// Longest message. They have some kilobytes, with what was annotated some more.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Secrets that are tried: one for each subscription, two while one is changed.
const SECRETS_MAX: usize = 100;

#[derive(Clone)]
struct Shared {
    service: Service,
    secrets: PathBuf,
}

/// Its route; `secrets` is the file with the secrets of subscriptions.
pub fn router(service: Service, secrets: PathBuf) -> Router {
    Router::new()
        .route(PATH, post(webhook))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Shared { service, secrets })
}

/// The secrets of a file, one a line.
///
/// # Errors
/// If it cannot be read, or has too many.
pub fn secrets(file: &Path) -> alerting::Result<Vec<String>> {
    let text = Secret::File(file.to_owned()).read()?;
    let all = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let all: Vec<String> = all.map(str::to_owned).collect();
    if all.is_empty() || all.len() > SECRETS_MAX {
        let message = format!("a file of secrets has from 1 to {SECRETS_MAX}, one a line path={}", file.display());
        return Err(alerting::Error::invalid(message));
    }
    Ok(all)
}

async fn webhook(
    State(Shared { service, secrets: file }): State<Shared>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(error) => return refusal(error.status(), "bad_data", error.body_text()),
    };
    let header = headers.get("x-pagerduty-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (signed, header) = (body.clone(), header.to_owned());
    // A body of the longest is hashed for each secret, which takes a while.
    let is_ours = match tokio::task::spawn_blocking(move || is_ours(&signed, &header, &file)).await {
        Ok(Ok(is_ours)) => is_ours,
        Ok(Err(error)) => {
            tracing::warn!(%error, "what PagerDuty tells cannot be checked");
            let reason = "signatures cannot be checked now; the server's log says why";
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason);
        }
        Err(_) => return refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a defect of the server"),
    };
    if !is_ours {
        let reason = "the signature is not that of a secret in `alerting.pagerduty_secrets_file`";
        return refusal(StatusCode::UNAUTHORIZED, "unauthorized", reason);
    }
    let taken = match parse(&body) {
        Ok(None) => Ok(0),
        Ok(Some(step)) => service.manager().incident(&step).await,
        Err(error) => Err(error),
    };
    match taken {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) if error.kind == ErrorKind::Invalid => {
            refusal(StatusCode::BAD_REQUEST, "bad_data", error.to_string())
        }
        Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string()),
    }
}

/// Is a body signed with one of the secrets of a file, which is read each time, so that it can be changed without a restart?
fn is_ours(body: &[u8], header: &str, file: &Path) -> alerting::Result<bool> {
    // All are tried, whichever is right.
    Ok(secrets(file)?.iter().fold(false, |is_ours, secret| is_ours | is_signed(body, header, secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_lines_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets");
        assert!(secrets(&file).is_err());
        std::fs::write(&file, "# of the old subscription\n old \n\nnew\n").unwrap();
        assert_eq!(secrets(&file).unwrap(), ["old", "new"]);
        // As `printf '{}' | openssl dgst -sha256 -hmac new` has it.
        let signature = "v1=56fde440898b2046eee6f58816ea81c5780d6bd5d34d1ce41b99d54edacbc4b8";
        assert!(is_ours(b"{}", signature, &file).unwrap());
        assert!(!is_ours(b"[]", signature, &file).unwrap() && !is_ours(b"{}", "", &file).unwrap());
        std::fs::write(&file, "# none\n").unwrap();
        assert!(is_ours(b"{}", signature, &file).is_err());
        assert!(secrets(&file).unwrap_err().to_string().contains("from 1 to 100"));
    }
}
