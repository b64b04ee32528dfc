//! Reads the manifests that say which files a delivery has: those of AWS' reports and data exports, and of Azure's exports.
//!
//! Called by whoever looks for deliveries, before any file is read: a delivery is what its manifest lists, not what lies in its folder,
//! where other versions may lie too. What a manifest does not say is none, never guessed.

use std::ops::Range;

use serde::Deserialize;

use crate::{
    error::{Error, ErrorKind, Result},
    options::AzurePart,
    time::{micros, month_end},
};

/// A delivery, as its manifest has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// What the customer calls the export; an id, if the manifest has no name.
    pub export: String,
    /// What the provider calls this version of it.
    pub revision: String,
    /// Period that the delivery is of, microseconds since the epoch.
    pub period_us: Option<Range<i64>>,
    /// Files of the delivery, in their order.
    pub files: Vec<ManifestFile>,
    /// When it was delivered, microseconds since the epoch.
    pub delivered_us: Option<i64>,
    /// What part of an Azure export it is.
    pub azure: AzurePart,
}

/// A file of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestFile {
    /// Where it is, as the manifest has it: a key, a path within a container, or a URL.
    pub name: String,
    /// Bytes it has.
    pub bytes: Option<u64>,
    /// Rows it has.
    pub rows: Option<u64>,
}

/// Reads a manifest.
///
/// # Errors
/// `Corrupt` if it is no JSON, `Invalid` if it is none of those known or says two things of its files.
pub fn read_manifest(json: &[u8]) -> Result<Manifest> {
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let raw: Raw = serde_json::from_slice(json).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("manifest is no JSON that can be read: {error}")).caused_by(error)
    })?;
    match raw {
        Raw { assembly_id: Some(revision), report_name: Some(export), report_keys: Some(keys), .. } => Ok(Manifest {
            export,
            revision,
            period_us: raw.billing_period.and_then(|period| period.range()),
            files: keys.into_iter().map(|name| ManifestFile { name, ..ManifestFile::default() }).collect(),
            ..Manifest::default()
        }),
        Raw { execution_id: Some(revision), export_arn: Some(arn), data_files: Some(files), .. } => {
            data_export(revision, &arn, files)
        }
        Raw { blobs: Some(blobs), export_config: Some(config), run_info: Some(run), .. } => {
            azure(blobs, config, run, raw.blob_count, raw.data_row_count)
        }
        _ => Err(Error::invalid(
            "manifest is none that is known: looked for assemblyId, reportName and reportKeys of an AWS report, executionId, exportArn and \
             dataFiles of an AWS data export, blobs, exportConfig and runInfo of an Azure export",
        )),
    }
}

/// Members of all manifests that are known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    assembly_id: Option<String>,
    report_name: Option<String>,
    report_keys: Option<Vec<String>>,
    billing_period: Option<Period>,
    execution_id: Option<String>,
    export_arn: Option<String>,
    data_files: Option<Vec<String>>,
    blobs: Option<Vec<Blob>>,
    blob_count: Option<u64>,
    data_row_count: Option<u64>,
    export_config: Option<ExportConfig>,
    run_info: Option<RunInfo>,
}

#[derive(Deserialize)]
struct Period {
    start: String,
    end: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    blob_name: String,
    byte_count: Option<u64>,
    data_row_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExportConfig {
    export_name: String,
    r#type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunInfo {
    run_id: String,
    start_date: Option<String>,
    end_date: Option<String>,
    submitted_time: Option<String>,
}

impl Period {
    fn range(&self) -> Option<Range<i64>> {
        Some(micros(&self.start)?..micros(&self.end)?)
    }
}

/// A data export states its period in the paths of its files only, and its name in front of `/data/`.
fn data_export(revision: String, arn: &str, files: Vec<String>) -> Result<Manifest> {
    const PARTITION: &str = "BILLING_PERIOD=";
    let id = arn.rsplit('/').next().unwrap_or(arn);
    let named = files.first().and_then(|file| file.split_once("/data/")).and_then(|(path, _)| path.rsplit('/').next());
    let period = |file: &str| {
        let month = file.split_once(PARTITION)?.1.get(..7)?;
        let start = micros(&format!("{month}-01"))?;
        Some(start..month_end(start)?)
    };
    let first = files.first().and_then(|file| period(file));
    if files.iter().any(|file| period(file) != first) {
        return Err(Error::invalid(format!("manifest has files of several billing periods: executionId={revision}")));
    }
    let export = named.unwrap_or(id).to_owned();
    let files = files.into_iter().map(|name| ManifestFile { name, ..ManifestFile::default() }).collect();
    Ok(Manifest { export, revision, period_us: first, files, ..Manifest::default() })
}

fn azure(
    blobs: Vec<Blob>,
    config: ExportConfig,
    run: RunInfo,
    count: Option<u64>,
    rows: Option<u64>,
) -> Result<Manifest> {
    let listed = blobs.len() as u64;
    if count.is_some_and(|count| count != listed) {
        return Err(Error::invalid(format!(
            "manifest lists other blobs than it counts: listed={listed} blobCount={}",
            count.unwrap_or(0)
        )));
    }
    let sum = blobs.iter().map(|blob| blob.data_row_count).try_fold(0_u64, |sum, rows| sum.checked_add(rows?));
    if let (Some(rows), Some(sum)) = (rows, sum)
        && rows != sum
    {
        return Err(Error::invalid(format!(
            "manifest counts other rows than its blobs have: blobs={sum} dataRowCount={rows}"
        )));
    }
    let files = blobs.into_iter().map(|blob| ManifestFile {
        name: blob.blob_name,
        bytes: blob.byte_count,
        rows: blob.data_row_count,
    });
    // The last day is stated, FOCUS has the first one after it.
    let end = run.end_date.as_deref().and_then(micros).and_then(crate::time::after_last_day);
    Ok(Manifest {
        export: config.export_name,
        revision: run.run_id,
        period_us: run.start_date.as_deref().and_then(micros).zip(end).map(|(start, end)| start..end),
        files: files.collect(),
        delivered_us: run.submitted_time.as_deref().and_then(micros),
        azure: match config.r#type.as_deref() {
            Some("ActualCost") => AzurePart::Actual,
            Some("AmortizedCost") => AzurePart::Amortized,
            _ => AzurePart::Unknown,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        micros(text).unwrap()
    }

    #[test]
    fn a_report_of_aws_is_what_its_manifest_lists() {
        let json =
            include_bytes!("../tests/data/aws-cur/legacy-layout/koku-local/20180801-20180901/koku-local-Manifest.json");
        let manifest = read_manifest(json).unwrap();
        assert_eq!(
            (manifest.export.as_str(), manifest.revision.as_str()),
            ("koku-local", "16e57707-f9e3-49be-8be6-b84e684b5194")
        );
        assert_eq!(manifest.period_us, Some(us("2018-08-01")..us("2018-09-01")));
        let [file] = manifest.files.as_slice() else { panic!("{manifest:?}") };
        assert!(file.name.ends_with("/16e57707-f9e3-49be-8be6-b84e684b5194/koku-local-1.csv.gz"), "{file:?}");
    }

    #[test]
    fn a_data_export_says_its_period_in_its_paths() {
        let json = r#"{"executionId":"e-1","exportArn":"arn:aws:bcm-data-exports:us-east-1:1:export/cur2-1234","columns":[],
            "dataFiles":["s3://b/p/cur2/data/BILLING_PERIOD=2026-10/cur2-00001.csv.gz","s3://b/p/cur2/data/BILLING_PERIOD=2026-10/cur2-00002.csv.gz"]}"#;
        let manifest = read_manifest(json.as_bytes()).unwrap();
        assert_eq!((manifest.export.as_str(), manifest.revision.as_str(), manifest.files.len()), ("cur2", "e-1", 2));
        assert_eq!(manifest.period_us, Some(us("2026-10-01")..us("2026-11-01")));
        let error = read_manifest(json.replacen("2026-10", "2026-09", 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("several billing periods"), "{error}");
    }

    #[test]
    fn an_export_of_azure_counts_its_rows() {
        let json = r#"{"manifestVersion":"2024-04-01","byteCount":300,"blobCount":2,"dataRowCount":12,
            "exportConfig":{"exportName":"daily","resourceId":"/x","dataVersion":"2021-10-01","apiVersion":"","type":"AmortizedCost","timeFrame":"MonthToDate","granularity":"Daily"},
            "deliveryConfig":{"partitionData":true},"runInfo":{"executionType":"Scheduled","submittedTime":"2026-11-02T01:02:03.4567890Z","runId":"r-1","startDate":"2026-11-01T00:00:00","endDate":"2026-11-30T00:00:00"},
            "blobs":[{"blobName":"d/part_0.csv","byteCount":100,"dataRowCount":4},{"blobName":"d/part_1.csv","byteCount":200,"dataRowCount":8}]}"#;
        let manifest = read_manifest(json.as_bytes()).unwrap();
        assert_eq!(
            (manifest.export.as_str(), manifest.revision.as_str(), manifest.azure),
            ("daily", "r-1", AzurePart::Amortized)
        );
        assert_eq!(manifest.period_us, Some(us("2026-11-01")..us("2026-12-01")));
        assert_eq!(manifest.delivered_us, Some(us("2026-11-02T01:02:03.456Z")));
        assert_eq!(
            manifest.files[1],
            ManifestFile { name: "d/part_1.csv".to_owned(), bytes: Some(200), rows: Some(8) }
        );
        for (from, to) in [("\"blobCount\":2", "\"blobCount\":3"), ("\"dataRowCount\":12", "\"dataRowCount\":13")] {
            assert_eq!(read_manifest(json.replace(from, to).as_bytes()).unwrap_err().kind, ErrorKind::Invalid);
        }
    }

    #[test]
    fn other_json_is_no_manifest() {
        assert!(read_manifest(b"{}").unwrap_err().to_string().contains("none that is known"));
        assert_eq!(read_manifest(b"{").unwrap_err().kind, ErrorKind::Corrupt);
    }
}
