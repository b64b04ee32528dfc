//! Answers compressed with gzip, for clients that take it: Grafana and browsers ask for it, and JSON shrinks to a tenth.
//!
//! Called around all routes. A body is compressed as it comes, so that rows are not held back; what is compressed already, or short,
//! goes out as it is.

use std::io::Write;

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use flate2::{Compression, write::GzEncoder};
use futures::{Stream, StreamExt, stream};

/// Below this, the envelope of gzip and its work are not worth it.
const BYTES_MIN: u64 = 1024;
/// Some bodies come as one; others are served between pieces of them.
const PIECE_BYTES: usize = 64 << 10;

pub(super) async fn compress(request: Request, next: Next) -> Response {
    let accepted = accepts(request.headers());
    let mut response = next.run(request).await;
    if !is_text(response.headers()) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let is_short = response.body().size_hint().upper().is_some_and(|bytes| bytes < BYTES_MIN);
    if !accepted || is_short {
        return response;
    }
    let (mut head, body) = response.into_parts();
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from_stream(compressed(body.into_data_stream())))
}

/// Is gzip among what a client takes, and not refused by a quality of 0?
fn accepts(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let (mut named, mut any) = (None, None);
    for item in lists.flat_map(|list| list.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.to_ascii_lowercase().strip_prefix("q=")?.parse::<f32>().ok());
        let is_taken = Some(quality != Some(0.0));
        if name.eq_ignore_ascii_case("gzip") {
            named = is_taken;
        } else if name == "*" {
            any = is_taken;
        }
    }
    // What is named counts, and not what is said of the rest.
    named.or(any).unwrap_or(false)
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_text = kind.starts_with("text/")
        || ["application/json", "application/x-ndjson", "application/openmetrics-text"]
            .iter()
            .any(|t| kind.starts_with(t));
    is_text && !headers.contains_key(header::CONTENT_ENCODING)
}

/// Each part of a body as the part of a gzip stream that it makes.
fn compressed<E>(body: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> impl Stream<Item = Result<Bytes, E>> {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    stream::unfold((Box::pin(body), Bytes::new(), Some(encoder)), |(mut body, mut ahead, encoder)| async move {
        let mut encoder = encoder?;
        if ahead.is_empty() {
            match body.next().await {
                Some(Ok(bytes)) => ahead = bytes,
                Some(Err(error)) => return Some((Err(error), (body, ahead, None))),
                None => return Some((Ok(encoder.finish().unwrap_or_default().into()), (body, ahead, None))),
            }
        }
        let piece = ahead.split_to(ahead.len().min(PIECE_BYTES));
        // Writing to a vector cannot fail.
        let _ = encoder.write_all(&piece);
        if ahead.is_empty() {
            let _ = encoder.flush();
        } else {
            tokio::task::yield_now().await;
        }
        let out = std::mem::take(encoder.get_mut());
        Some((Ok(out.into()), (body, ahead, Some(encoder))))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::{Router, http::Request, routing::get};
    use flate2::read::GzDecoder;
    use tower::ServiceExt;

    use super::*;

    async fn ask(accept: &str, text: &'static str, kind: &'static str) -> (HeaderMap, Vec<u8>) {
        let parts = move || async move {
            let parts = [&text[..text.len() / 2], &text[text.len() / 2..]].map(Ok::<_, std::io::Error>);
            ([(header::CONTENT_TYPE, kind)], Body::from_stream(stream::iter(parts)))
        };
        let router = Router::new().route("/", get(parts)).layer(axum::middleware::from_fn(compress));
        let request = Request::get("/").header(header::ACCEPT_ENCODING, accept).body(Body::empty()).unwrap();
        let (head, body) = router.oneshot(request).await.unwrap().into_parts();
        (head.headers, axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec())
    }

    #[tokio::test]
    async fn text_is_compressed_for_those_who_take_it() {
        let text: &str = Box::leak("{\"metric\":\"up\"},".repeat(1000).into_boxed_str());
        for accept in ["gzip", "deflate, gzip;q=0.5", "*"] {
            let (headers, body) = ask(accept, text, "application/json").await;
            assert_eq!(headers[header::CONTENT_ENCODING], "gzip", "{accept}");
            assert_eq!(headers[header::VARY], "Accept-Encoding");
            let mut plain = String::new();
            GzDecoder::new(&body[..]).read_to_string(&mut plain).unwrap();
            assert!(plain == text && body.len() < text.len() / 10, "{accept}");
        }
        for (accept, kind) in
            [("", "application/json"), ("gzip;Q=0, *", "text/csv"), ("gzip", "application/x-protobuf")]
        {
            let (headers, body) = ask(accept, text, kind).await;
            assert!(!headers.contains_key(header::CONTENT_ENCODING) && body == text.as_bytes(), "{accept} {kind}");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_does_not_end_well() {
        let parts = [Ok(Bytes::from_static(b"some text")), Err("broken")];
        let out: Vec<_> = compressed(stream::iter(parts)).collect().await;
        assert!(out[0].is_ok() && out[1] == Err("broken") && out.len() == 2);
    }
}
