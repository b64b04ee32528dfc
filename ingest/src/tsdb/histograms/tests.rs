//! Chunks that claim much and hold little, written bit by bit.

use super::*;

/// Bits, most significant first.
#[derive(Default)]
struct Out(Vec<bool>);

impl Out {
    fn bits(&mut self, value: u64, n: u32) -> &mut Self {
        self.0.extend((0..n).rev().map(|i| value >> i & 1 == 1));
        self
    }

    /// A number of variable width, below 2^18.
    fn varbit(&mut self, value: u64) -> &mut Self {
        if value == 0 { self.bits(0, 1) } else { self.bits(0b11_1110, 6).bits(value, 18) }
    }

    fn chunk(&self, count: u16) -> Vec<u8> {
        let mut bytes = [&count.to_be_bytes()[..], &[0]].concat();
        bytes.extend(
            self.0
                .chunks(8)
                .map(|byte| byte.iter().enumerate().fold(0, |byte, (i, bit)| byte | u8::from(*bit) << (7 - i))),
        );
        bytes
    }
}

/// The layout of a chunk of integer histograms with spans of one bucket each and no buckets below zero.
fn layout(spans: u64, lengths: u64, bounds: Option<u64>) -> Out {
    let mut out = Out::default();
    out.bits(0, 8);
    match bounds {
        // In two's complement of nine bits.
        Some(_) => out.bits(0b1110, 4).bits(512 - 53, 9),
        None => out.varbit(0),
    };
    out.varbit(spans);
    for _ in 0..spans {
        out.varbit(lengths).varbit(0);
    }
    out.varbit(0);
    if let Some(bounds) = bounds {
        out.varbit(bounds);
        for bound in 0..bounds {
            out.varbit(bound + 1);
        }
    }
    out
}

/// As many histograms as there are, all of them alike, of `buckets` buckets.
fn with_histograms(mut out: Out, histograms: u16, buckets: u64) -> Vec<u8> {
    // Time, count, zero count, sum and buckets; then that nothing changes.
    out.varbit(7).varbit(9).varbit(0).bits(1.5f64.to_bits(), 64);
    for _ in 0..buckets {
        out.varbit(0);
    }
    for _ in 1..histograms {
        out.bits(0, 4);
        for _ in 0..buckets {
            out.varbit(0);
        }
    }
    out.chunk(histograms)
}

fn read(chunk: &[u8]) -> Result<Vec<Histogram>> {
    let mut read = Vec::new();
    int(chunk, false, &mut read).map(|()| read)
}

#[test]
fn empty_spans_and_bounds_are_read_up_to_their_limits() {
    let read_back = read(&with_histograms(layout(10_000, 0, None), 3, 0)).unwrap();
    assert_eq!((read_back.len(), read_back[2].positive.spans.len()), (3, 10_000));
    let read_back = read(&with_histograms(layout(2, 1, Some(10_000)), 2, 2)).unwrap();
    assert_eq!((read_back[1].custom_values.len(), read_back[1].positive.deltas.len()), (10_000, 2));
    assert_eq!((read_back[1].schema, read_back[1].custom_values[1]), (CUSTOM, 0.001));
}

#[test]
fn too_many_spans_or_bounds_are_refused() {
    let spans = read(&with_histograms(layout(10_001, 0, None), 1, 0));
    assert_eq!(spans, Err(Broken("histogram has too many spans")));
    let bounds = read(&with_histograms(layout(0, 0, Some(10_001)), 1, 0));
    assert_eq!(bounds, Err(Broken("histogram has too many bounds")));
}

#[test]
fn a_small_chunk_that_would_fill_the_memory_is_refused() {
    // Half a byte for each histogram, of which each has ten thousand spans.
    let chunk = with_histograms(layout(10_000, 0, None), 60_000, 0);
    assert!(chunk.len() < 100_000, "{}", chunk.len());
    assert_eq!(read(&chunk), Err(Broken("histograms of the chunk are too large together")));
    // As many histograms are no matter if they are small.
    assert_eq!(read(&with_histograms(layout(100, 0, None), 60_000, 0)).unwrap().len(), 60_000);
}
