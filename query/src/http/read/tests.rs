//! Requests that are refused, and bytes as Prometheus writes them; what a client makes of whole answers is in `tests/remote_read.rs`.

use promql::{BucketSpan, Histogram, IntegerHistogram, ResetHint, STALE};

use super::{
    bits::Bits,
    chunks::Encoding,
    histograms::Open,
    request::{Answer, Request},
    wire::{put_bytes, put_message, put_number},
};
use crate::native::Kept;

fn snappy(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

/// A request of one query with matchers (kind, name, value).
fn request(matchers: &[(u64, &str, &str)], accepted: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |query| {
        put_number(query, 1, 1_000);
        put_number(query, 2, 2_000);
        for (kind, name, value) in matchers {
            put_message(query, 3, |matcher| {
                put_number(matcher, 1, *kind);
                put_bytes(matcher, 2, name.as_bytes());
                put_bytes(matcher, 3, value.as_bytes());
            });
        }
    });
    accepted.iter().for_each(|kind| {
        // As older clients send it, without packing; what is zero is there, since it is one of a list.
        out.push(2 << 3);
        out.push(kind.to_le_bytes()[0]);
    });
    snappy(&out)
}

#[test]
fn matchers_are_read_whatever_is_in_them() {
    let matchers =
        [(0, "__name__", "http.requests"), (1, "k8s.pod", ""), (2, "job", "a|b\"\\.+\n"), (3, "zone", ".*é")];
    let read = Request::read(&request(&matchers, &[])).unwrap();
    let [query] = read.queries.as_slice() else { panic!("{read:?}") };
    assert_eq!(query.times_ms, 1_000..2_001);
    let found: Vec<_> = query.selector.matchers().iter().map(promql::Matcher::as_written).collect();
    let expected = [
        ("__name__", "!=", ""),
        ("__name__", "=", "http.requests"),
        ("k8s.pod", "!=", ""),
        ("job", "=~", "a|b\"\\.+\n"),
        ("zone", "!~", ".*é"),
    ];
    assert_eq!(found, expected);
    // All series may be asked for.
    assert!(Request::read(&request(&[(2, "__name__", ".*")], &[])).is_ok());
    assert!(Request::read(&request(&[], &[])).is_ok());
}

#[test]
fn the_first_kind_of_answer_that_is_known_is_taken() {
    for (accepted, answer) in [
        (vec![], Answer::Samples),
        (vec![0], Answer::Samples),
        (vec![1, 0], Answer::Chunks),
        (vec![7, 1], Answer::Chunks),
        (vec![0, 1], Answer::Samples),
    ] {
        assert_eq!(Request::read(&request(&[], &accepted)).unwrap().answer, answer, "{accepted:?}");
    }
    let error = Request::read(&request(&[], &[7])).unwrap_err();
    assert!(
        error.to_string().starts_with("server does not support any of the requested response types: [7]"),
        "{error}"
    );
}

#[test]
fn what_is_no_request_is_refused() {
    let message = request(&[(0, "a", "b")], &[1]);
    let whole = snap::raw::Decoder::new().decompress_vec(&message).unwrap();
    // Only where the first field ends may it be cut.
    let whole_fields = whole.len() - 2;
    for cut in (1..whole.len()).filter(|cut| *cut != whole_fields) {
        assert!(Request::read(&snappy(&whole[..cut])).is_err(), "{cut}");
    }
    for matcher in [(2, "a", "("), (9, "a", "b")] {
        assert!(Request::read(&request(&[matcher], &[])).is_err(), "{matcher:?}");
    }
    assert!(Request::read(b"").is_err());
    // Declared as longer than allowed, which is seen before anything is unpacked.
    let error = Request::read(&[0xff, 0xff, 0xff, 0x7f]).unwrap_err();
    assert!(error.to_string().contains("exceeds limit"), "{error}");
}

#[test]
fn numbers_are_as_wide_as_they_need_to_be() {
    let written = |put: &dyn Fn(&mut Bits)| {
        let mut bits = Bits::default();
        put(&mut bits);
        bits.put(0, 7);
        bits.into_bytes()
    };
    assert_eq!(written(&|bits| bits.put_signed(0)), [0]);
    assert_eq!(written(&|bits| bits.put_signed(4)), [0b1010_0000, 0]);
    assert_eq!(written(&|bits| bits.put_signed(-3)), [0b1010_1000, 0]);
    assert_eq!(written(&|bits| bits.put_signed(5)), [0b1100_0010, 0b1000_0000]);
    assert_eq!(written(&|bits| bits.put_unsigned(7)), [0b1011_1000, 0]);
    assert_eq!(written(&|bits| bits.put_unsigned(8)), [0b1100_0100, 0]);
    assert_eq!(written(&|bits| bits.put_signed(i64::MIN))[..3], [0xff, 0x80, 0]);
    assert_eq!(written(&|bits| bits.put_time_change(8192)), [0b1010_0000, 0, 0]);
    assert_eq!(written(&|bits| bits.put_time_change(-8192)), [0b1101_1110, 0, 0, 0]);
}

/// A histogram of one bucket.
fn one(count: u64) -> IntegerHistogram {
    let positive = (vec![BucketSpan { offset: 0, length: 1 }], vec![count.cast_signed()]);
    IntegerHistogram { count, positive, ..IntegerHistogram::default() }
}

/// How many samples each chunk has, how it is written, and what it says of resets.
fn cut(histograms: Vec<Kept>) -> Vec<(u16, Encoding, u8)> {
    let (mut open, mut chunks) = (None, Vec::new());
    for (at, kept) in (0..).zip(histograms) {
        let (next, closed) = Open::add(open.take(), at * 1_000, kept).unwrap();
        open = Some(next);
        chunks.extend(closed);
    }
    chunks.extend(open.map(Open::close));
    let told = |bytes: &[u8]| (u16::from_be_bytes([bytes[0], bytes[1]]), bytes[2]);
    chunks.iter().map(|chunk| (told(&chunk.bytes).0, chunk.encoding, told(&chunk.bytes).1)).collect()
}

#[test]
fn a_chunk_of_histograms_is_over_where_they_have_nothing_in_common() {
    use Encoding::{FloatHistogram, Histogram as Integers};
    let kept = |histogram: IntegerHistogram| Kept::Integers(histogram);
    let hinted = |count, hint| kept(IntegerHistogram { hint, ..one(count) });
    let stale = IntegerHistogram { sum: f64::from_bits(STALE), ..one(9) };
    let finer = IntegerHistogram { schema: 3, ..one(9) };
    // Counts fall: a reset.
    assert_eq!(cut(vec![kept(one(1)), kept(one(2)), kept(one(1))]), [(2, Integers, 0), (1, Integers, 0x80)]);
    assert_eq!(cut(vec![kept(one(1)), kept(finer), kept(stale)]), [(1, Integers, 0); 3]);
    assert_eq!(cut(vec![kept(one(1)), hinted(2, ResetHint::Reset)]), [(1, Integers, 0), (1, Integers, 0x80)]);
    // Gauges rise and fall.
    let gauges = [3, 1, 2].map(|count| hinted(count, ResetHint::Gauge)).to_vec();
    assert_eq!(cut(gauges), [(3, Integers, 0xc0)]);
    let floats = Kept::Floats(Histogram::from(one(5)));
    assert_eq!(cut(vec![kept(one(5)), floats]), [(1, Integers, 0), (1, FloatHistogram, 0)]);
    assert_eq!(cut(vec![kept(one(5)); 121]), [(120, Integers, 0), (1, Integers, 0x40)]);
    let broken = IntegerHistogram { positive: (Vec::new(), vec![1]), ..IntegerHistogram::default() };
    assert!(Open::add(None, 0, kept(broken)).is_err());
}
