//! A dataset with decimals, for tests.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{
        ArrayRef, Decimal128Array, Float64Array, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray,
        StringBuilder, TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{DataType, Field, Schema},
};
use schemas::{Column, Dataset, Encoding, Partition};
use storage::Lane;

use super::{Bench, DAY_MS};

/// A line of a bill.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bill {
    pub cost: i128,
    pub quantity: i128,
    pub count: i64,
    pub weight: f64,
    pub region: String,
    pub team: Option<&'static str>,
}

/// Lines of bills.
pub(crate) fn dataset() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
        let columns: Vec<Column> = [
            ("ChargePeriodStart", schemas::timestamp()),
            ("BilledCost", DataType::Decimal128(38, 22)),
            ("Quantity", DataType::Decimal128(38, 15)),
            ("Count", DataType::Int64),
            ("Weight", DataType::Float64),
            ("Region", schemas::dictionary()),
            ("Tags", schemas::string_map()),
        ]
        .into_iter()
        .map(|(name, data_type)| Column { name, data_type, nullable: false, encoding: Encoding::Plain, about: name })
        .collect();
        let fields: Vec<Field> = columns.iter().map(|c| Field::new(c.name, c.data_type.clone(), c.nullable)).collect();
        Dataset {
            name: "bills",
            about: "Lines of bills.",
            columns,
            time: "ChargePeriodStart",
            sort: &["Region", "ChargePeriodStart"],
            key: 2,
            partition: Partition::None,
            retention_days: 1,
            schema: Arc::new(Schema::new(fields)),
        }
    });
    &DATASET
}

/// A decimal as it is stored.
pub(crate) fn decimal(text: &str, scale: i8) -> i128 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let zeros = usize::try_from(scale).unwrap() - part.len();
    format!("{whole}{part}{}", "0".repeat(zeros)).parse().unwrap()
}

/// Rows of bills.
pub(crate) fn bills(rows: &[Bill]) -> Vec<RecordBatch> {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut tags = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_values_field(Field::new("value", DataType::Utf8, false));
    for row in rows {
        if let Some(team) = row.team {
            tags.keys().append_value("Team");
            tags.values().append_value(team);
        }
        tags.append(true).unwrap();
    }
    let regions = StringArray::from_iter_values(rows.iter().map(|row| &row.region));
    let decimals = |values: Vec<i128>, scale| {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap()) as ArrayRef
    };
    let times =
        TimestampMicrosecondArray::from_iter_values((0..).take(rows.len()).map(|row: i64| (DAY_MS + row) * 1000));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.with_timezone("UTC")),
        decimals(rows.iter().map(|row| row.cost).collect(), 22),
        decimals(rows.iter().map(|row| row.quantity).collect(), 15),
        Arc::new(rows.iter().map(|row| row.count).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.weight).collect::<Float64Array>()),
        cast(&(Arc::new(regions) as ArrayRef), &schemas::dictionary()).unwrap(),
        Arc::new(tags.finish()),
    ];
    vec![RecordBatch::try_new(Arc::clone(&dataset().schema), columns).unwrap()]
}

/// An engine's tables with `bills` among them; each batch is a run of its own.
pub(crate) fn bench(batches: &[RecordBatch]) -> Bench {
    let bench = Bench::with(&[dataset()]);
    for batch in batches {
        bench.head(dataset(), batch.clone(), Lane::InOrder, true);
    }
    bench
}
