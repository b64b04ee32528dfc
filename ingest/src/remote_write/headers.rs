//! Reads from a request's headers which message its body holds and how it is compressed, before the body is looked at.
//!
//! Senders choose the message by the answer: 415 makes a 2.0 sender fall back, and vmagent turn from zstd to snappy.

use axum::http::{HeaderMap, header};

use super::{compression::Compression, decoded::Version};

/// What a body is, by its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyKind {
    pub(crate) version: Version,
    pub(crate) compression: Compression,
}

/// Headers that promise what is not supported: answered with 415.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsupported {
    /// The message, if that much was clear.
    pub(crate) version: Option<Version>,
    pub(crate) text: String,
}

pub(crate) fn body_kind(headers: &HeaderMap) -> Result<BodyKind, Unsupported> {
    let version = match headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?").trim()) {
        None | Some("") => Version::V1,
        Some(content_type) => version(content_type).ok_or_else(|| Unsupported {
            version: None,
            text: format!(
                "content type is not supported, send application/x-protobuf with proto=prometheus.WriteRequest or \
                 proto=io.prometheus.write.v2.Request: content_type={}",
                super::reject::quoted(content_type)
            ),
        })?,
    };
    let compression = match headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim()) {
        None | Some("") => Compression::Snappy,
        Some(name) if name.eq_ignore_ascii_case("snappy") => Compression::Snappy,
        Some(name) if name.eq_ignore_ascii_case("zstd") => Compression::Zstd,
        Some(name) => {
            let name = super::reject::quoted(name);
            let text = format!("content encoding is not supported, send snappy or zstd: content_encoding={name}");
            return Err(Unsupported { version: Some(version), text });
        }
    };
    Ok(BodyKind { version, compression })
}

/// The message a content type names; parameters other than `proto` are of no matter.
fn version(content_type: &str) -> Option<Version> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("application/x-protobuf") {
        return None;
    }
    let proto =
        parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("proto"));
    match proto.map(|(_, value)| value.trim().trim_matches('"')) {
        None | Some("prometheus.WriteRequest") => Some(Version::V1),
        Some("io.prometheus.write.v2.Request") => Some(Version::V2),
        Some(_) => None,
    }
}
