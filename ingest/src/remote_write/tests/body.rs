//! Headers and compression: what is refused before anything is decoded.

use axum::http::HeaderMap;

use crate::remote_write::{
    Version,
    compression::{Compression, decoded_len, decompress},
    headers::{Unsupported, body_kind},
};

const LIMIT: usize = 32 << 20;

fn kind(headers: &[(&'static str, &str)]) -> Result<(Version, Compression), Option<Version>> {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    match body_kind(&headers) {
        Ok(kind) => Ok((kind.version, kind.compression)),
        Err(Unsupported { version, .. }) => Err(version),
    }
}

#[test]
fn headers_say_which_message_and_compression() {
    use Compression::{Snappy, Zstd};
    use Version::{V1, V2};
    assert_eq!(kind(&[]), Ok((V1, Snappy)));
    assert_eq!(kind(&[("content-type", "application/x-protobuf")]), Ok((V1, Snappy)));
    assert_eq!(kind(&[("content-type", "application/x-protobuf;proto=prometheus.WriteRequest")]), Ok((V1, Snappy)));
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    assert_eq!(kind(&[("content-type", v2), ("content-encoding", "snappy")]), Ok((V2, Snappy)));
    let spaced = "Application/X-Protobuf; charset=utf-8; proto=\"io.prometheus.write.v2.Request\"";
    assert_eq!(kind(&[("content-type", spaced)]), Ok((V2, Snappy)));
    assert_eq!(kind(&[("content-encoding", "zstd"), ("x-victoriametrics-remote-write-version", "1")]), Ok((V1, Zstd)));
}

#[test]
fn unknown_types_and_encodings_are_unsupported() {
    for content_type in ["application/json", "image/png", "application/x-protobuf;proto=io.prometheus.write.v3.Request"]
    {
        assert_eq!(kind(&[("content-type", content_type)]), Err(None), "{content_type}");
    }
    let v2 = ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");
    for encoding in ["gzip", "deflate", "identity"] {
        assert_eq!(kind(&[("content-encoding", encoding)]), Err(Some(Version::V1)), "{encoding}");
        assert_eq!(kind(&[("content-encoding", encoding), v2]), Err(Some(Version::V2)), "{encoding}");
    }
}

/// The body of CVE-2026-42154: 49 bytes that claim 2.5 GB.
const BOMB: &str = "97eab4890a170a085f5f6e616d655f5f120b746573745f6d6574726963121009000000000000f03f10d48fc9b2a333";

#[test]
fn a_snappy_bomb_is_refused_by_its_declared_length() {
    let bomb: Vec<u8> =
        (0..BOMB.len()).step_by(2).map(|at| u8::from_str_radix(&BOMB[at..at + 2], 16).unwrap()).collect();
    assert!(snap::raw::decompress_len(&bomb).unwrap() > 2_000_000_000);
    let error = decoded_len(Compression::Snappy, &bomb, LIMIT).unwrap_err();
    assert!(error.contains("too long when decompressed"), "{error}");
}

#[test]
fn a_snappy_length_no_block_of_that_size_can_have_is_refused() {
    // Declares 2 MiB and has one byte after that: within the limit, but a lie.
    let error = decoded_len(Compression::Snappy, &[0x80, 0x80, 0x80, 0x01, 0x00], LIMIT).unwrap_err();
    assert!(error.contains("too short for its declared length"), "{error}");
}

#[test]
fn the_densest_snappy_block_is_accepted() {
    let zeros = vec![0; 4 << 20];
    let body = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
    let len = decoded_len(Compression::Snappy, &body, LIMIT).unwrap();
    assert_eq!(decompress(Compression::Snappy, &body, len, &mut Vec::new()).unwrap(), zeros);
}

#[test]
fn a_zstd_bomb_is_refused_whether_or_not_it_declares_its_length() {
    let zeros = vec![0; LIMIT + 1];
    let declared = zstd::bulk::compress(&zeros, 1).unwrap();
    let error = decoded_len(Compression::Zstd, &declared, LIMIT).unwrap_err();
    assert!(error.contains("too long when decompressed"), "{error}");
    let streamed = zstd::stream::encode_all(&zeros[..], 1).unwrap();
    let len = decoded_len(Compression::Zstd, &streamed, LIMIT).unwrap();
    let error = decompress(Compression::Zstd, &streamed, len, &mut Vec::new()).unwrap_err();
    assert!(error.contains("too long when decompressed"), "{error}");
}

#[test]
fn both_compressions_give_the_body_back_in_a_buffer_used_before() {
    let mut buffer = b"left over from a longer body than this one".repeat(10);
    let text = b"a body, a body, a body".to_vec();
    let snappy = snap::raw::Encoder::new().compress_vec(&text).unwrap();
    let bodies = [
        (Compression::Snappy, snappy),
        (Compression::Zstd, zstd::bulk::compress(&text, 1).unwrap()),
        (Compression::Zstd, zstd::stream::encode_all(&text[..], 1).unwrap()),
    ];
    for (compression, body) in bodies {
        let len = decoded_len(compression, &body, LIMIT).unwrap();
        assert_eq!(decompress(compression, &body, len, &mut buffer).unwrap(), text);
    }
}

#[test]
fn broken_bodies_are_errors() {
    for compression in [Compression::Snappy, Compression::Zstd] {
        let text = b"some text that is compressed, some text that is compressed".to_vec();
        let whole = match compression {
            Compression::Snappy => snap::raw::Encoder::new().compress_vec(&text).unwrap(),
            Compression::Zstd => zstd::bulk::compress(&text, 1).unwrap(),
        };
        for cut in 0..whole.len() {
            let cut = &whole[..cut];
            let result = decoded_len(compression, cut, LIMIT)
                .and_then(|len| decompress(compression, cut, len, &mut Vec::new()).map(<[u8]>::to_vec));
            assert!(result.is_err(), "{compression:?} cut to {} bytes of {}", cut.len(), whole.len());
        }
    }
    let twice = zstd::bulk::compress(b"text", 1).unwrap().repeat(2);
    let len = decoded_len(Compression::Zstd, &twice, LIMIT).unwrap();
    assert!(decompress(Compression::Zstd, &twice, len, &mut Vec::new()).unwrap_err().contains("goes on"));
}
