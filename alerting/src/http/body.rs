//! Bodies of requests: JSON, of a size that is known before it is decoded.

use axum::{
    body::Bytes,
    extract::rejection::BytesRejection,
    http::{HeaderMap, StatusCode, header},
};

use super::Refused;

/// The body, if it says that it is JSON, or nothing: what curl says of all `--data` is refused, as Alertmanager refuses it, because every
/// page of the web may send it.
pub(super) fn read(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    bytes_max: usize,
) -> Result<Bytes, Refused> {
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default();
        let media = kind.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/json") {
            let message = format!("`{kind}` is not taken; send Content-Type: application/json");
            return Err(Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
    }
    body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is too large; send less at once bytes_max={bytes_max}"),
        ),
        status => Refused(status, format!("the body cannot be read: {}", error.body_text())),
    })
}
