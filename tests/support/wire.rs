//! Remote write messages as a sender writes them: versions 1 and 2, and the two ways of compressing them.
//!
//! Used by the tests and by the load generator. The structs follow the public protobuf definitions field by field and
//! are encoded by `prost`, so that the server's own decoder is never checked against itself. Spec:
//! <https://prometheus.io/docs/specs/prw/remote_write_spec/>

#![allow(dead_code, reason = "the tests and the load generator each use a part")]

use prost::Message;

/// Path of the endpoint.
pub const PATH: &str = "/api/v1/write";
/// Value of a sample that says its series has ended.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;
/// Content type and version header of each protocol version.
pub const V1_HEADERS: [(&str, &str); 2] =
    [("Content-Type", "application/x-protobuf"), ("X-Prometheus-Remote-Write-Version", "0.1.0")];
/// As [`V1_HEADERS`].
pub const V2_HEADERS: [(&str, &str); 2] = [
    ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
    ("X-Prometheus-Remote-Write-Version", "2.0.0"),
];

/// Native histogram; one definition serves both versions, `start_timestamp` being of version 2 only.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    #[prost(oneof = "Count", tags = "1, 2")]
    pub count: Option<Count>,
    #[prost(double, tag = "3")]
    pub sum: f64,
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    #[prost(oneof = "ZeroCount", tags = "6, 7")]
    pub zero_count: Option<ZeroCount>,
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "10")]
    pub negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "13")]
    pub positive_counts: Vec<f64>,
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
    #[prost(int64, tag = "17")]
    pub start_timestamp: i64,
}

/// Number of observations of a histogram.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum Count {
    #[prost(uint64, tag = "1")]
    Int(u64),
    #[prost(double, tag = "2")]
    Float(f64),
}

/// Number of observations in the zero bucket.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum ZeroCount {
    #[prost(uint64, tag = "6")]
    Int(u64),
    #[prost(double, tag = "7")]
    Float(f64),
}

/// A run of buckets and the gap before it.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct BucketSpan {
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// `prometheus.WriteRequest` and its parts.
pub mod v1 {
    use super::{Histogram, Message};

    #[derive(Clone, PartialEq, Message)]
    pub struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub metadata: Vec<MetricMetadata>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub histograms: Vec<Histogram>,
    }

    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct Label {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub struct Sample {
        #[prost(double, tag = "1")]
        pub value: f64,
        #[prost(int64, tag = "2")]
        pub timestamp: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub value: f64,
        #[prost(int64, tag = "3")]
        pub timestamp: i64,
    }

    #[derive(Clone, PartialEq, Eq, Message)]
    pub struct MetricMetadata {
        #[prost(int32, tag = "1")]
        pub r#type: i32,
        #[prost(string, tag = "2")]
        pub metric_family_name: String,
        #[prost(string, tag = "4")]
        pub help: String,
        #[prost(string, tag = "5")]
        pub unit: String,
    }

    /// Labels in the order given.
    pub fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
        pairs.iter().map(|(name, value)| Label { name: (*name).into(), value: (*value).into() }).collect()
    }

    /// A series with samples `(milliseconds, value)`; labels in the order given.
    pub fn series(pairs: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
        let samples = samples.iter().map(|&(timestamp, value)| Sample { value, timestamp }).collect();
        TimeSeries { labels: labels(pairs), samples, ..TimeSeries::default() }
    }
}

/// `io.prometheus.write.v2.Request` and its parts.
pub mod v2 {
    use super::{Histogram, Message};

    #[derive(Clone, PartialEq, Message)]
    pub struct Request {
        #[prost(string, repeated, tag = "4")]
        pub symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct TimeSeries {
        #[prost(uint32, repeated, tag = "1")]
        pub labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub histograms: Vec<Histogram>,
        #[prost(message, repeated, tag = "4")]
        pub exemplars: Vec<Exemplar>,
        #[prost(message, optional, tag = "5")]
        pub metadata: Option<Metadata>,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub struct Sample {
        #[prost(double, tag = "1")]
        pub value: f64,
        #[prost(int64, tag = "2")]
        pub timestamp: i64,
        #[prost(int64, tag = "3")]
        pub start_timestamp: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Exemplar {
        #[prost(uint32, repeated, tag = "1")]
        pub labels_refs: Vec<u32>,
        #[prost(double, tag = "2")]
        pub value: f64,
        #[prost(int64, tag = "3")]
        pub timestamp: i64,
    }

    #[derive(Clone, Copy, PartialEq, Eq, Message)]
    pub struct Metadata {
        #[prost(int32, tag = "1")]
        pub r#type: i32,
        #[prost(uint32, tag = "3")]
        pub help_ref: u32,
        #[prost(uint32, tag = "4")]
        pub unit_ref: u32,
    }

    /// Symbols of one request; the first is the empty string, as the spec wants it.
    #[derive(Debug)]
    pub struct Symbols(Vec<String>);

    impl Default for Symbols {
        fn default() -> Self {
            Self(vec![String::new()])
        }
    }

    impl Symbols {
        /// Reference to a string, which is added when it is new.
        pub fn of(&mut self, text: &str) -> u32 {
            let at = self.0.iter().position(|known| known == text).unwrap_or_else(|| {
                self.0.push(text.into());
                self.0.len() - 1
            });
            u32::try_from(at).expect("a request has few symbols")
        }

        /// References to names and values, alternating.
        pub fn labels(&mut self, pairs: &[(&str, &str)]) -> Vec<u32> {
            pairs.iter().flat_map(|(name, value)| [self.of(name), self.of(value)]).collect()
        }

        /// The request that these symbols and `timeseries` make.
        pub fn request(self, timeseries: Vec<TimeSeries>) -> Request {
            Request { symbols: self.0, timeseries }
        }
    }
}

/// The message in snappy's block format, as Prometheus sends it.
pub fn snappy(message: &impl Message) -> Vec<u8> {
    snappy_bytes(&message.encode_to_vec())
}

/// Bytes in snappy's block format.
pub fn snappy_bytes(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).expect("fewer than 4 GiB")
}
