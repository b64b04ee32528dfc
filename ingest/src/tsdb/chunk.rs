//! Decodes a chunk by its encoding.
//!
//! Called for chunks in files of a block (`segments`), and for those that remote read streams.

use super::{Broken, floats, histograms};
use crate::samples::Samples;

/// Appends the samples of a chunk to `out`.
///
/// # Errors
/// What is wrong with it; `out` is then as it was.
pub fn decode(encoding: u64, data: &[u8], out: &mut Samples) -> Result<(), Broken> {
    let (values, natives) = (out.floats.len(), out.histograms.len());
    let decoded = match encoding {
        1 => floats::xor(data, &mut out.floats),
        2 => histograms::int(data, false, &mut out.histograms),
        3 => histograms::float(data, false, &mut out.histograms),
        4 => floats::xor2(data, &mut out.floats),
        5 => histograms::int(data, true, &mut out.histograms),
        6 => histograms::float(data, true, &mut out.histograms),
        _ => Err(Broken("chunk has an encoding that is not known; is it of a newer Prometheus?")),
    };
    if decoded.is_err() {
        out.floats.truncate(values);
        out.histograms.truncate(natives);
    }
    decoded
}
