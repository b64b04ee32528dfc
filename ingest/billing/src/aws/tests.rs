//! Lines of each type, with what they cost worked out by hand.

use crate::testing::{Read, read};

const HEAD: &str = "bill/PayerAccountId,bill/BillingPeriodStartDate,bill/BillingPeriodEndDate,bill/BillType,bill/InvoiceId,\
lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,lineItem/UsageEndDate,lineItem/ProductCode,lineItem/UsageType,\
lineItem/Operation,lineItem/UsageAmount,lineItem/CurrencyCode,lineItem/UnblendedRate,lineItem/UnblendedCost,lineItem/NetUnblendedCost,\
pricing/publicOnDemandCost,pricing/unit,reservation/ReservationARN,reservation/EffectiveCost,\
reservation/UnusedAmortizedUpfrontFeeForBillingPeriod,reservation/UnusedRecurringFee,savingsPlan/SavingsPlanARN,\
savingsPlan/SavingsPlanEffectiveCost,savingsPlan/TotalCommitmentToDate,savingsPlan/UsedCommitment,splitLineItem/SplitCost,\
splitLineItem/UnusedCost,splitLineItem/ParentResourceId,resourceTags/user:Team,costCategory/Unit";

/// A line of a type, of which the columns that are named are set.
fn line(kind: &str, values: &[(&str, &str)]) -> String {
    let value = |name: &str| {
        let given = values.iter().find(|(column, _)| name.ends_with(column)).map(|(_, value)| *value);
        given.unwrap_or(match name {
            "bill/PayerAccountId" => "1",
            "bill/BillingPeriodStartDate" | "lineItem/UsageStartDate" => "2026-10-01T00:00:00Z",
            "bill/BillingPeriodEndDate" => "2026-11-01T00:00:00Z",
            "lineItem/UsageEndDate" => "2026-10-01T01:00:00Z",
            "lineItem/UsageAccountId" => "2",
            "lineItem/LineItemType" => kind,
            "lineItem/ProductCode" => "AmazonEC2",
            "lineItem/CurrencyCode" => "USD",
            _ => "",
        })
    };
    HEAD.split(',').map(value).collect::<Vec<_>>().join(",")
}

fn bill(lines: &[String]) -> Read {
    read(&format!("{HEAD}\n{}\n", lines.join("\n")), |_| {})
}

const COSTS: [&str; 6] =
    ["x_DeliveredCost", "BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "x_Adjustments"];
const RESERVATION: (&str, &str) = ("ReservationARN", "arn:aws:ec2:us-east-1:1:reserved-instances/r1");
const PLAN: (&str, &str) = ("SavingsPlanARN", "arn:aws:savingsplans::1:savingsplan/s1");

/// Costs of the rows of one line.
fn costs(kind: &str, values: &[(&str, &str)]) -> Vec<String> {
    let read = bill(&[line(kind, values)]);
    assert_eq!(read.report.rejects, []);
    read.rows(&COSTS)
}

#[test]
fn usage_costs_what_it_says() {
    let spot = line(
        "Usage",
        &[
            ("UsageType", "SpotUsage:m5.large"),
            ("/UnblendedCost", "0.04"),
            ("publicOnDemandCost", "0.1"),
            ("UsageAmount", "1"),
            ("/unit", "Hrs"),
        ],
    );
    let read = bill(&[spot]);
    assert_eq!(read.rows(&COSTS), ["0.04|0.04|0.04|0.1|0.04|"]);
    assert_eq!(
        read.rows(&[
            "ChargeCategory",
            "PricingCategory",
            "ChargeFrequency",
            "ConsumedQuantity",
            "ConsumedUnit",
            "ServiceCategory"
        ]),
        ["Usage|Dynamic|Usage-Based|1|Hrs|Compute"]
    );
}

#[test]
fn a_reservation_is_billed_by_its_fees_and_costs_where_it_is_used() {
    // All upfront: 876 for a year, of which an hour is 0.1; in this month 2 hours were not used.
    assert_eq!(
        costs("Fee", &[RESERVATION, ("/UnblendedCost", "876"), ("BillType", "Purchase")]),
        ["876|876|0|876|876|reservation-fee"]
    );
    assert_eq!(
        costs(
            "DiscountedUsage",
            &[
                RESERVATION,
                ("/UnblendedCost", "0"),
                ("reservation/EffectiveCost", "0.1"),
                ("publicOnDemandCost", "0.16")
            ]
        ),
        ["0|0|0.1|0.16|0.16|reservation-covered"]
    );
    assert_eq!(
        costs(
            "RIFee",
            &[
                RESERVATION,
                ("/UnblendedCost", "0"),
                ("UnusedAmortizedUpfrontFeeForBillingPeriod", "0.2"),
                ("UnusedRecurringFee", "0")
            ]
        ),
        ["0|0|0|0|0|reservation-fee", "0|0|0.2|0|0|unused-commitment"]
    );
    // Partial upfront: half of it as a fee each month, 36.5 for 730 hours, of which 10 were not used.
    assert_eq!(
        costs(
            "RIFee",
            &[
                RESERVATION,
                ("/UnblendedCost", "36.5"),
                ("UnusedAmortizedUpfrontFeeForBillingPeriod", "0.5"),
                ("UnusedRecurringFee", "0.5")
            ]
        ),
        ["36.5|36.5|0|36.5|36.5|reservation-fee", "0|0|1|0|0|unused-commitment"]
    );
    // No upfront, and wholly used.
    assert_eq!(
        costs("RIFee", &[RESERVATION, ("/UnblendedCost", "73"), ("UnusedRecurringFee", "0")]),
        ["73|73|0|73|73|reservation-fee"]
    );
}

#[test]
fn what_nothing_used_of_a_reservation_is_a_row_of_usage() {
    let fee = line(
        "RIFee",
        &[
            RESERVATION,
            ("/UnblendedCost", "36.5"),
            ("UnusedRecurringFee", "0.5"),
            ("UsageAmount", "730"),
            ("/unit", "Hrs"),
        ],
    );
    let read = bill(&[fee]);
    assert_eq!(
        read.rows(&[
            "x_Origin",
            "ChargeCategory",
            "CommitmentDiscountStatus",
            "PricingCategory",
            "CommitmentDiscountType",
            "PricingQuantity",
            "ConsumedQuantity"
        ]),
        ["delivered|Purchase||Standard|Reserved Instance|730|", "derived|Usage|Unused|Committed|Reserved Instance||"]
    );
    assert_eq!((read.report.rows_read, read.report.rows_delivered, read.report.rows_derived), (1, 1, 1));
}

#[test]
fn a_savings_plan_adds_up() {
    // A plan of 1 an hour: usage of 1.5 on demand costs 0.9 of it, and the negation takes the 1.5 back; 0.1 is left.
    let lines = [
        line(
            "SavingsPlanCoveredUsage",
            &[PLAN, ("/UnblendedCost", "1.5"), ("SavingsPlanEffectiveCost", "0.9"), ("publicOnDemandCost", "1.6")],
        ),
        line("SavingsPlanNegation", &[PLAN, ("/UnblendedCost", "-1.5")]),
        line(
            "SavingsPlanRecurringFee",
            &[PLAN, ("/UnblendedCost", "1"), ("TotalCommitmentToDate", "1"), ("UsedCommitment", "0.9")],
        ),
    ];
    let read = bill(&lines);
    assert_eq!(
        read.rows(&COSTS),
        [
            "1.5|0|0.9|1.6|1.5|savings-plan-covered",
            "-1.5|0|0|0|0|savings-plan-negation",
            "1|1|0|1|1|savings-plan-fee",
            "0|0|0.1|0|0|unused-commitment",
        ]
    );
    assert_eq!(read.sums("USD"), "delivered 1 billed 1 effective 1");
    assert_eq!(
        read.rows(&["CommitmentDiscountCategory", "CommitmentDiscountStatus", "ChargeFrequency"]),
        ["Spend|Used|Usage-Based", "Spend|Used|Usage-Based", "Spend||Recurring", "Spend|Unused|Usage-Based"]
    );
    assert_eq!(
        costs("SavingsPlanUpfrontFee", &[PLAN, ("/UnblendedCost", "8760")]),
        ["8760|8760|0|8760|8760|savings-plan-fee"]
    );
}

#[test]
fn taxes_credits_and_refunds_cost_what_is_billed() {
    assert_eq!(costs("Tax", &[("/UnblendedCost", "19"), ("publicOnDemandCost", "0.0")]), ["19|19|19|19|19|"]);
    assert_eq!(costs("Credit", &[("/UnblendedCost", "-5")]), ["-5|-5|-5|-5|-5|"]);
    let refund = line("Refund", &[("/UnblendedCost", "-7"), ("BillType", "Refund")]);
    let read =
        bill(&[refund, line("Refund", &[RESERVATION, ("/UnblendedCost", "-876"), ("UsageStartDate", "2026-09-01")])]);
    assert_eq!(read.rows(&COSTS), ["-7|-7|-7|-7|-7|", "-876|-876|0|-876|-876|reservation-fee"]);
    assert_eq!(read.rows(&["ChargeCategory", "ChargeClass"]), ["Usage|Correction", "Purchase|Correction"]);
}

#[test]
fn discounts_are_counted_once() {
    // Without net costs the discount is a line of its own.
    let lines = [line("Usage", &[("/UnblendedCost", "10")]), line("EdpDiscount", &[("/UnblendedCost", "-1")])];
    assert_eq!(bill(&lines).rows(&COSTS), ["10|10|10|10|10|", "-1|-1|-1|0|-1|"]);
    // With them usage has it already.
    let lines = [
        line("Usage", &[("/UnblendedCost", "10"), ("NetUnblendedCost", "9")]),
        line("EdpDiscount", &[("/UnblendedCost", "-1"), ("NetUnblendedCost", "0")]),
    ];
    let read = bill(&lines);
    assert_eq!(read.rows(&COSTS), ["10|9|9|10|9|net-cost", "-1|0|0|0|0|discount-in-net-cost"]);
    assert_eq!(read.sums("USD"), "delivered 9 billed 9 effective 9");
}

#[test]
fn shares_of_containers_are_in_no_total() {
    let pod = line(
        "Usage",
        &[
            ("Operation", "EKSPod-EC2"),
            ("/UnblendedCost", "0"),
            ("SplitCost", "0.3"),
            ("UnusedCost", "0.05"),
            ("ParentResourceId", "i-1"),
        ],
    );
    let read = bill(&[pod]);
    assert_eq!(read.rows(&COSTS), ["0|0|0|0|0|split-cost"]);
    assert_eq!(read.rows(&["x_SplitCost"]), ["0.35"]);
}

#[test]
fn tags_and_cost_categories_keep_their_prefixes() {
    let tagged = line("Usage", &[("/UnblendedCost", "1"), ("user:Team", "blue"), ("costCategory/Unit", "web")]);
    assert_eq!(bill(&[tagged]).rows(&["Tags"]), ["costCategory:Unit=web user:Team=blue"]);
}

#[test]
fn version_2_has_maps_and_athena_has_other_names() {
    let head = "bill_payer_account_id,bill_billing_period_start_date,line_item_line_item_type,line_item_usage_start_date,\
line_item_currency_code,line_item_unblended_cost,product,resource_tags,cost_category,savings_plan_savings_plan_a_r_n,\
savings_plan_savings_plan_effective_cost,resource_tags_user_owner";
    let row = r#"1,2026-10-01 00:00:00.000,SavingsPlanCoveredUsage,2026-10-01 00:00:00.000,USD,1.5,"{""product_name"":""Amazon EC2"",""region"":""us-east-1""}","{""user_team"":""blue""}","{""Unit"":""web""}",arn:sp,0.9,me"#;
    let read = read(&format!("{head}\n{row}\n"), |_| {});
    assert_eq!(
        read.rows(&[
            "BilledCost",
            "EffectiveCost",
            "ServiceName",
            "RegionId",
            "Tags",
            "CommitmentDiscountId",
            "x_Columns"
        ]),
        ["0|0.9|Amazon EC2|us-east-1|costCategory:Unit=web user_owner=me user_team=blue|arn:sp|\
          x_line_item_line_item_type=SavingsPlanCoveredUsage x_product_product_name=Amazon EC2 x_product_region=us-east-1 \
          x_savings_plan_savings_plan_effective_cost=0.9"]
    );
}

#[test]
fn a_bad_line_costs_its_neighbours_nothing() {
    let lines = [
        line("Usage", &[("/UnblendedCost", "1")]),
        line("Usage", &[("/UnblendedCost", "1e99")]),
        line("Usage", &[("/UnblendedCost", "2"), ("UsageStartDate", "soon")]),
        line("RIFee", &[("/UnblendedCost", "2"), ("UnusedRecurringFee", "x")]),
        line("Usage", &[("/UnblendedCost", "4")]),
    ];
    let read = bill(&lines);
    assert_eq!(read.rows(&["BilledCost"]), ["1", "4"]);
    let rejects: Vec<_> =
        read.report.rejects.iter().map(|reject| (reject.line, reject.column.as_deref().unwrap_or_default())).collect();
    assert_eq!(
        rejects,
        [(3, "lineItem/UnblendedCost"), (4, "lineItem/UsageStartDate"), (5, "reservation/UnusedRecurringFee")]
    );
    assert!(read.report.rejects.iter().all(|reject| read.text.contains(&reject.text)));
}

#[test]
fn what_another_column_says_is_left_out() {
    let head = "identity/LineItemId,identity/TimeInterval,lineItem/LineItemType,lineItem/UsageStartDate,lineItem/UsageEndDate,\
lineItem/CurrencyCode,lineItem/UnblendedCost,lineItem/BlendedCost,lineItem/ProductCode,product/servicecode,product/vcpu";
    let day = "2026-10-01T00:00:00Z/2026-10-02T00:00:00Z";
    let rows = [
        format!("a,{day},Usage,2026-10-01T00:00:00Z,2026-10-02T00:00:00.000Z,USD,1.5,1.5,EC2,EC2,2"),
        format!("b,{day},Usage,2026-10-01T00:00:00Z,2026-10-02T00:00:00.000Z,USD,2.5,2.5,EC2,EC2,2"),
        format!("c,{day},Usage,2026-10-01T00:00:00Z,2026-11-01T00:00:00.000Z,USD,2.5,2.25,EC2,EC2,2"),
        format!("d,{day},Usage,2026-10-01T00:00:00Z,2026-10-02T00:00:00.000Z,USD,2.5,2.25,EC2,Elastic,"),
        format!("e,{day},Usage,2026-10-01T00:00:00Z,2026-10-02T00:00:00.000Z,USD,2.5,2.25,EC2,Elastic,"),
        format!("f,{day},Usage,2026-10-01T00:00:00Z,2026-10-02T00:00:00.000Z,USD,2.5,,,,"),
    ];
    let read = read(&format!("{head}\n{}\n", rows.join("\n")), |_| {});
    let common = "x_lineItem_LineItemType=Usage x_lineItem_ProductCode=EC2";
    assert_eq!(
        read.rows(&["x_Columns"]),
        [
            format!("{common} x_product_vcpu=2"),
            format!("{common} x_product_vcpu=2"),
            format!("x_identity_TimeInterval={day} x_lineItem_BlendedCost=2.25 {common} x_product_vcpu=2"),
            format!("x_lineItem_BlendedCost=2.25 {common} x_product_servicecode=Elastic"),
            format!("x_lineItem_BlendedCost=2.25 {common} x_product_servicecode=Elastic"),
            "x_lineItem_LineItemType=Usage".to_owned(),
        ]
    );
}
