//! Decompresses a body into a reused buffer, never beyond the limit.
//!
//! A length that a body declares is checked before memory is taken for it: 49 bytes can claim 2.5 GB.

use std::io::Read as _;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// The block format, which declares its length.
    Snappy,
    /// One frame, which may declare its length.
    Zstd,
}

/// A copy of 64 bytes takes 3 bytes, the densest a snappy block can be; a block that claims more is broken.
const SNAPPY_RATIO_MAX: usize = 22;
/// Largest zstd window taken, 2^23 bytes: what the format asks every decoder to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Length of the decompressed body, as it says or at most.
///
/// # Errors
/// If it is beyond `bytes_max`, or cannot be true.
pub(crate) fn decoded_len(compression: Compression, body: &[u8], bytes_max: usize) -> Result<usize, String> {
    let len = match compression {
        Compression::Snappy => {
            let len = snap::raw::decompress_len(body).map_err(|error| format!("body is no snappy block: {error}"))?;
            if len <= bytes_max && len / SNAPPY_RATIO_MAX > body.len() {
                let got = body.len();
                return Err(format!(
                    "body is no snappy block: it is too short for its declared length: declared={len} bytes={got}"
                ));
            }
            len
        }
        Compression::Zstd => match zstd::zstd_safe::get_frame_content_size(body) {
            Ok(Some(len)) => usize::try_from(len).unwrap_or(usize::MAX),
            Ok(None) => bytes_max,
            Err(_) => return Err("body is no zstd frame".into()),
        },
    };
    if len > bytes_max {
        return Err(format!("body is too long when decompressed: bytes={len} bytes_max={bytes_max}"));
    }
    Ok(len)
}

/// Decompresses into `buffer`, which is only ever enlarged, and gives the part that was filled.
///
/// # Errors
/// If the body is broken or longer than `len`, the length [`decoded_len`] gave.
pub(crate) fn decompress<'b>(
    compression: Compression,
    body: &[u8],
    len: usize,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8], String> {
    match compression {
        Compression::Snappy => {
            if buffer.len() < len {
                buffer.resize(len, 0);
            }
            let filled = snap::raw::Decoder::new()
                .decompress(body, &mut buffer[..len])
                .map_err(|error| format!("body is no snappy block: {error}"))?;
            Ok(&buffer[..filled])
        }
        Compression::Zstd => {
            let broken = |error: std::io::Error| format!("body is no zstd frame: {error}");
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(broken)?.single_frame();
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
            buffer.clear();
            // One byte more than allowed tells a longer body from one that fits.
            let bytes_max = u64::try_from(len).unwrap_or(u64::MAX);
            decoder.by_ref().take(bytes_max.saturating_add(1)).read_to_end(buffer).map_err(broken)?;
            if buffer.len() > len {
                return Err(format!("body is too long when decompressed: bytes_max={len}"));
            }
            if !decoder.finish().is_empty() {
                return Err("body goes on after its zstd frame".into());
            }
            Ok(buffer)
        }
    }
}
