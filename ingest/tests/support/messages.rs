//! The messages of remote write as prost sees them: an encoder that shares nothing with the decoder it tests.
//!
//! Fields from <https://github.com/prometheus/prometheus/tree/main/prompb>.

#![allow(missing_docs, dead_code, reason = "shared by tests and benches, each of which uses a part")]

/// `prometheus.WriteRequest`.
pub mod v1 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub metadata: Vec<MetricMetadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub histograms: Vec<super::Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Label {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Sample {
        #[prost(double, tag = "1")]
        pub value: f64,
        #[prost(int64, tag = "2")]
        pub timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub value: f64,
        #[prost(int64, tag = "3")]
        pub timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
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

    pub fn label(name: &str, value: &str) -> Label {
        Label { name: name.into(), value: value.into() }
    }

    pub fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
        TimeSeries {
            labels: labels.iter().map(|(name, value)| label(name, value)).collect(),
            samples: samples.iter().map(|&(timestamp, value)| Sample { value, timestamp }).collect(),
            ..TimeSeries::default()
        }
    }
}

/// `io.prometheus.write.v2.Request`.
pub mod v2 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Request {
        #[prost(string, repeated, tag = "4")]
        pub symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TimeSeries {
        #[prost(uint32, repeated, tag = "1")]
        pub labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub histograms: Vec<super::Histogram>,
        #[prost(message, repeated, tag = "4")]
        pub exemplars: Vec<Exemplar>,
        #[prost(message, optional, tag = "5")]
        pub metadata: Option<Metadata>,
        /// Reserved today; the conformance suite still sends it.
        #[prost(int64, tag = "6")]
        pub created_timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Sample {
        #[prost(double, tag = "1")]
        pub value: f64,
        #[prost(int64, tag = "2")]
        pub timestamp: i64,
        #[prost(int64, tag = "3")]
        pub start_timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Exemplar {
        #[prost(uint32, repeated, tag = "1")]
        pub labels_refs: Vec<u32>,
        #[prost(double, tag = "2")]
        pub value: f64,
        #[prost(int64, tag = "3")]
        pub timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Metadata {
        #[prost(int32, tag = "1")]
        pub r#type: i32,
        #[prost(uint32, tag = "3")]
        pub help_ref: u32,
        #[prost(uint32, tag = "4")]
        pub unit_ref: u32,
    }

    impl Request {
        /// A request that has the empty symbol, as it must.
        pub fn empty() -> Self {
            Self { symbols: vec![String::new()], timeseries: Vec::new() }
        }

        /// Index of a symbol, added if new.
        pub fn symbol(&mut self, text: &str) -> u32 {
            let at = self.symbols.iter().position(|symbol| symbol == text).unwrap_or_else(|| {
                self.symbols.push(text.into());
                self.symbols.len() - 1
            });
            u32::try_from(at).unwrap_or(u32::MAX)
        }

        pub fn refs(&mut self, labels: &[(&str, &str)]) -> Vec<u32> {
            labels.iter().flat_map(|(name, value)| [self.symbol(name), self.symbol(value)]).collect()
        }

        /// Adds a series with these labels.
        pub fn add(&mut self, labels: &[(&str, &str)]) -> &mut TimeSeries {
            let labels_refs = self.refs(labels);
            self.timeseries.push(TimeSeries { labels_refs, ..TimeSeries::default() });
            let last = self.timeseries.len() - 1;
            &mut self.timeseries[last]
        }
    }

    impl TimeSeries {
        pub fn sample(&mut self, timestamp: i64, value: f64) -> &mut Self {
            self.samples.push(Sample { value, timestamp, start_timestamp: 0 });
            self
        }
    }
}

/// The histogram of both messages; 1.0 lacks `start_timestamp`.
#[derive(Clone, PartialEq, prost::Message)]
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

#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum Count {
    #[prost(uint64, tag = "1")]
    Int(u64),
    #[prost(double, tag = "2")]
    Float(f64),
}

#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum ZeroCount {
    #[prost(uint64, tag = "6")]
    Int(u64),
    #[prost(double, tag = "7")]
    Float(f64),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct BucketSpan {
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

pub fn span(offset: i32, length: u32) -> BucketSpan {
    BucketSpan { offset, length }
}

/// A valid integer histogram: 12 observations, 2 of them in the zero bucket, 4 below and 6 above.
pub fn int_histogram(timestamp: i64) -> Histogram {
    Histogram {
        count: Some(Count::Int(12)),
        sum: 18.4,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: Some(ZeroCount::Int(2)),
        negative_spans: vec![span(0, 2)],
        negative_deltas: vec![1, 2],
        positive_spans: vec![span(0, 2), span(1, 1)],
        positive_deltas: vec![1, 1, 1],
        timestamp,
        ..Histogram::default()
    }
}

/// A valid float histogram.
pub fn float_histogram(timestamp: i64) -> Histogram {
    Histogram {
        count: Some(Count::Float(4.5)),
        sum: 7.25,
        schema: 2,
        zero_threshold: 0.001,
        zero_count: Some(ZeroCount::Float(0.5)),
        positive_spans: vec![span(-3, 2)],
        positive_counts: vec![1.5, 2.5],
        reset_hint: 3,
        timestamp,
        ..Histogram::default()
    }
}

/// A valid histogram with custom bounds.
pub fn custom_histogram(timestamp: i64) -> Histogram {
    Histogram {
        count: Some(Count::Int(6)),
        sum: 11.0,
        schema: -53,
        positive_spans: vec![span(0, 3)],
        positive_deltas: vec![1, 1, 1],
        custom_values: vec![0.5, 1.0],
        timestamp,
        ..Histogram::default()
    }
}
