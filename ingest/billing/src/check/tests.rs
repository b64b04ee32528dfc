//! Every rule against a row that follows all of them: it is silent there, and speaks where the row is spoilt.

mod row;
mod rows;

use std::{collections::BTreeSet, io::Cursor};

use self::row::{PURCHASE, TAX, changed, csv, found, ids};
use super::{columns::COLUMNS, *};

#[test]
fn a_row_that_follows_focus_violates_nothing_and_tells_its_version() {
    for version in Version::ALL {
        for kind in ["", PURCHASE, TAX] {
            let found = found(&csv(&[changed(version, kind)]), None);
            let what: Vec<_> = found.violations.iter().map(|found| (found.rule.id, &found.first[0].value)).collect();
            assert!(what.is_empty(), "{version} {kind}: {what:?}");
            assert_eq!((found.version, found.rows, found.unjudged.len()), (version, 1, 0), "{kind}");
            assert!(found.is_conforming());
        }
    }
}

/// A value that the format of a column does not allow.
fn bad(kind: columns::Kind) -> Option<&'static str> {
    use columns::Kind;
    Some(match kind {
        Kind::Text => return None,
        Kind::Number => "1E+3",
        Kind::Price => "-1",
        Kind::Time => "2026-10-01_00:00:00",
        Kind::Currency => "Token",
        Kind::AnyCurrency => "usd",
        Kind::Values(_) => "usage",
        Kind::Subcategory => "VMs",
        Kind::Unit => "hours",
        Kind::Pairs => r#"{"a":[1]}"#,
        Kind::Elements(_) => "{}",
    })
}

#[test]
fn every_rule_about_one_column_is_violated_by_a_column_that_is_missing_null_or_bad() {
    for version in Version::ALL {
        for facts in COLUMNS.iter().filter(|facts| facts.level(version) != b'-') {
            let check = |change: String| found(&csv(&[changed(version, &change)]), Some(version));
            let absent = check(format!("-{}", facts.name));
            let is_told = absent.unjudged.iter().any(|(name, _)| *name == facts.name);
            assert_eq!(ids(&absent).contains(facts.ids.present), !is_told, "{version} {}", facts.ids.present);
            assert!(!is_told || matches!(facts.feature, features::Feature::Other(_)), "{}", facts.name);
            let null = check(format!("{}=", facts.name));
            assert_eq!(
                ids(&null).contains(facts.ids.given),
                facts.nulls != columns::Nulls::Maybe,
                "{}",
                facts.ids.given
            );
            let Some(bad) = bad(facts.kind) else { continue };
            let found = check(format!("{}={bad}", facts.name));
            let violation = found.violations.iter().find(|found| found.rule.id == facts.ids.format).unwrap();
            assert_eq!((violation.rows, violation.first[0].line), (1, 2), "{}", facts.ids.format);
            assert_eq!(violation.first[0].value, bad.replace('_', " "));
        }
    }
}

#[test]
fn corrections_may_lack_prices_and_need_not_multiply() {
    for changes in ["ListCost=7", "ListUnitPrice=", "ConsumedQuantity= ConsumedUnit=", "SkuId= SkuMeter="] {
        let text = csv(&[changed(Version::V1_2, &format!("ChargeClass=Correction {changes}"))]);
        assert_eq!(ids(&found(&text, None)), BTreeSet::new(), "{changes}");
    }
}

#[test]
fn what_stands_for_null_is_one_finding_and_null_for_the_others() {
    let text = csv(&[
        changed(Version::V1_2, "ResourceName=N/A ResourceType=NULL BilledCost=null"),
        changed(Version::V1_2, ""),
    ]);
    let found = found(&text, None);
    let wanted = [
        "focus-BilledCost-given",
        "focus-ResourceName-given-with-id",
        "focus-ResourceType-given-with-id",
        "focus-null-placeholder",
    ];
    assert_eq!(ids(&found), wanted.into());
    assert_eq!(found.violations.iter().map(|violation| violation.rows).collect::<Vec<_>>(), [1; 4]);
    assert_eq!(
        found.of(Level::Should).map(|violation| violation.rule.id).collect::<Vec<_>>(),
        ["focus-ResourceName-given-with-id"]
    );
}

#[test]
fn an_empty_text_is_told_from_null_as_far_as_a_container_can() {
    let quoted = csv(&[changed(Version::V1_2, "ChargeClass=@")]).replace('@', "\"\"");
    assert_eq!(ids(&found(&quoted, None)), ["focus-null-quoted"].into());
    let json = |value: &str| {
        let members: Vec<_> = changed(Version::V1_2, "")
            .into_iter()
            .map(|(name, text)| match name.as_str() {
                "ChargeClass" => format!("\"{name}\":{value}"),
                _ if text.is_empty() => format!("\"{name}\":null"),
                _ if values::is_number(&text) && !name.ends_with("Id") => format!("\"{name}\":{text}"),
                _ => format!("\"{name}\":{}", serde_json::to_string(&text).unwrap()),
            })
            .collect();
        format!("{{{}}}\n", members.join(","))
    };
    assert_eq!(ids(&found(&json("null"), None)), BTreeSet::new());
    assert_eq!(ids(&found(&json("\"\""), None)), ["focus-null-empty"].into());
    let typed =
        json("null").replace("\"BilledCost\":0", "\"BilledCost\":\"0\"").replace("\"SkuId\":\"S1\"", "\"SkuId\":7");
    let found = found(&typed, None);
    assert_eq!(ids(&found), ["focus-BilledCost-type", "focus-SkuId-type"].into());
    assert_eq!(found.violations[0].first[0].value, "BilledCost is text");
}

#[test]
fn columns_that_come_late_in_lines_of_json_are_checked_and_not_missed() {
    let text = "{\"BilledCost\":1,\"ChargeCategory\":\"Usage\"}\n{\"BilledCost\":2,\"ChargeCategory\":\"Tax\",\"ListUnitPrice\":3,\"InvoiceId\":\"i\"}\n";
    let found = found(text, None);
    assert_eq!((found.version, found.columns), (Version::V1_2, 4));
    assert!(
        ids(&found).contains("focus-ListUnitPrice-null-for-tax") && !ids(&found).contains("focus-InvoiceId-present")
    );
}

#[test]
fn names_of_columns_are_those_of_focus_or_custom() {
    let text = csv(&[changed(Version::V1_0, "")])
        .replace("SkuPriceId", "skuPriceID")
        .replacen("AvailabilityZone", "x_bad_name,Provider,Tags,AvailabilityZone", 1)
        .replacen("eu-west-1a", ",,,eu-west-1a", 1);
    let found = found(&text, None);
    let of = |id: &str| {
        let violation = found.violations.iter().find(|violation| violation.rule.id == id).unwrap();
        assert!(violation.is_of_header);
        violation.first.iter().map(|first| first.value.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("focus-column-name"), "skuPriceID");
    assert_eq!(of("focus-column-known"), "Provider");
    assert_eq!(of("focus-column-once"), "Tags");
    assert_eq!(of("focus-custom-name"), "x_bad_name");
    assert_eq!(of("focus-custom-last"), "x_bad_name Provider");
    assert_eq!(found.violations.len(), 5);
}

#[test]
fn a_column_of_a_later_version_is_unknown_to_an_earlier_one() {
    let text = csv(&[changed(Version::V1_2, "")]);
    assert!(ids(&found(&text, None)).is_empty());
    let found = found(&text, Some(Version::V1_0));
    let names: Vec<_> = found.violations.iter().map(|violation| violation.rule.id).collect();
    assert_eq!(names, ["focus-column-known", "focus-custom-last"]);
    assert_eq!(found.violations[0].first[0].value, "BillingAccountType");
}

#[test]
fn broken_rows_are_counted_and_cost_their_neighbours_nothing() {
    let good = csv(&[changed(Version::V1_2, "")]);
    let row = good.lines().nth(1).unwrap();
    let mut bytes = format!("{good}too,few\n{row}\n").into_bytes();
    bytes.extend([b'a', 0xff]);
    bytes.extend(row.replacen("eu-west-1a", "", 1).into_bytes());
    let found = check_focus(Cursor::new(bytes), "test.csv", None).unwrap();
    assert_eq!((found.rows, ids(&found)), (4, ["focus-record"].into()));
    let first: Vec<_> = found.violations[0].first.iter().map(|first| (first.line, first.value.as_str())).collect();
    assert_eq!(first, [(3, "2 fields, the header has 57"), (5, "no UTF-8")]);
}

#[test]
fn samples_are_few_and_short() {
    let long = "x".repeat(500);
    let lines: Vec<_> = (0..10).map(|_| changed(Version::V1_2, &format!("BillingCurrency={long}"))).collect();
    let found = found(&csv(&lines), None);
    let violation = &found.violations[0];
    assert_eq!((violation.rows, violation.first.len(), violation.first[2].line), (10, 3, 4));
    assert_eq!(violation.first[0].value.len(), 120);
}

#[test]
fn what_is_no_focus_is_refused() {
    for (text, wanted) in [
        ("a,b\n1,2\n", "none of its columns"),
        ("", "is empty"),
        ("ResourceId,CostInBillingCurrency,Date,MeterId\n1,2,3,4\n", "its columns are those of Azure cost"),
    ] {
        let error = check_focus(Cursor::new(text), "test.csv", None).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn ids_of_rules_are_unique_and_every_rule_has_versions() {
    let ids: BTreeSet<_> = focus_rules().iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), focus_rules().len());
    assert!(focus_rules().iter().all(|rule| Version::ALL.into_iter().any(|version| rule.is_of(version))));
    assert_eq!((Version::named("1.3"), Version::named("2.0")), (Some(Version::V1_3), None));
}

#[test]
fn a_load_says_which_musts_were_violated() {
    let text = csv(&[
        changed(Version::V1_2, "ListCost=3 ResourceName="),
        changed(Version::V1_2, "BillingPeriodEnd=2026-11-01 ListCost=4"),
    ]);
    let read = crate::testing::read(&text, |_| {});
    let findings: Vec<_> =
        read.report.findings.iter().map(|(code, finding)| (*code, finding.rows, finding.first.as_str())).collect();
    assert_eq!(
        findings,
        [
            ("focus-BillingPeriodEnd-format", 1, "line 3: 2026-11-01"),
            ("focus-ListCost-product", 2, "line 2: 3 ListUnitPrice=1 PricingQuantity=2"),
        ]
    );
}

#[test]
fn types_of_parquet_are_judged_by_the_schema_and_times_need_no_text() {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
        datatypes::{Field, Fields, Schema},
    };
    let start = TimestampMicrosecondArray::from(vec![1_790_812_800_000_000; 3]).with_timezone("+00:00");
    let cost = Decimal128Array::from(vec![Some(-150), Some(1), None]).with_precision_and_scale(38, 2).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("BilledCost", Arc::new(cost)),
        ("BillingAccountId", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("BillingPeriodStart", Arc::new(start.clone())),
        ("BillingPeriodEnd", Arc::new(start)),
        ("ChargeClass", Arc::new(StringArray::from(vec![None, Some(""), Some("Correction")]))),
        ("ListCost", Arc::new(StringArray::from(vec!["1", "2", "3"]))),
    ];
    let fields: Fields = columns.iter().map(|(name, of)| Field::new(*name, of.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let found = check_focus_parquet(bytes::Bytes::from(bytes), "test.parquet", Some(Version::V1_0)).unwrap();
    assert_eq!((found.container, found.rows), (Container::Parquet, 3));
    let of_values = found.violations.iter().filter(|violation| !violation.rule.id.ends_with("-present"));
    let of_values: Vec<_> = of_values.map(|found| (found.rule.id, found.rows, found.first[0].value.as_str())).collect();
    assert_eq!(
        of_values,
        [
            ("focus-BillingAccountId-type", 3, "BillingAccountId is number"),
            ("focus-BillingPeriodStart-before-end", 3, "2026-10-01T00:00:00 BillingPeriodEnd=2026-10-01T00:00:00"),
            ("focus-ListCost-type", 3, "ListCost is text"),
            ("focus-BilledCost-given", 1, "null"),
            ("focus-null-empty", 1, "ChargeClass"),
        ]
    );
}

proptest::proptest! {
    #[test]
    fn whatever_is_in_the_fields_every_row_is_counted(
        rows in proptest::collection::vec(proptest::collection::vec("[-0-9.eE$,\"TZ: {}a-cN/]{0,24}", 67), 1..8),
        version in 0..5_usize,
    ) {
        let lines: Vec<_> = rows.iter().map(|row| {
            row::USAGE.iter().zip(row).map(|((name, _), value)| ((*name).to_owned(), value.clone())).collect()
        }).collect();
        let found = found(&csv(&lines), Some(Version::ALL[version]));
        proptest::prop_assert_eq!(found.rows, rows.len() as u64);
        proptest::prop_assert!(found.violations.iter().all(|violation| violation.rows <= found.rows));
    }
}
