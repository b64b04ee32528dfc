//! Lines of both parts of an export, with what they cost worked out by hand.

use crate::{
    AzurePart,
    testing::{Read, read},
};

const HEAD: &str = "SubscriptionId,Date,MeterCategory,MeterName,UnitOfMeasure,Quantity,CostInBillingCurrency,UnitPrice,PayGPrice,\
ChargeType,PricingModel,Frequency,benefitId,ResourceId,ResourceLocation,ConsumedService,BillingCurrencyCode,BillingPeriodStartDate,\
BillingPeriodEndDate,Tags";
const BENEFIT: &str = "/providers/Microsoft.Capacity/reservationOrders/o1/reservations/r1";
const PLAN: &str = "/providers/Microsoft.BillingBenefits/savingsPlanOrders/o2/savingsPlans/p1";

/// A line: what it is of, and what it costs.
fn line(charge: &str, model: &str, benefit: &str, cost: &str) -> String {
    format!(
        "s1,10/05/2026,Virtual Machines,D2,100 Hours,24,{cost},9.6,10,{charge},{model},UsageBased,{benefit},\
         /subscriptions/s1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm1,US East,Microsoft.Compute,EUR,10/1/2026,\
         10/31/2026,\"\"\"Team\"\": \"\"blue\"\"\""
    )
}

fn bill(part: AzurePart, lines: &[String]) -> Read {
    read(&format!("\u{feff}{HEAD}\n{}\n", lines.join("\n")), |options| options.azure = part)
}

const COSTS: [&str; 4] = ["x_DeliveredCost", "BilledCost", "EffectiveCost", "x_Adjustments"];

fn amortized() -> Vec<String> {
    vec![
        line("Usage", "OnDemand", "", "2"),
        line("Usage", "Reservation", BENEFIT, "0.5"),
        line("UnusedReservation", "Reservation", BENEFIT, "0.25"),
        line("Usage", "SavingsPlan", PLAN, "0.75"),
    ]
}

fn actual() -> Vec<String> {
    vec![
        line("Usage", "OnDemand", "", "2"),
        line("Usage", "Reservation", BENEFIT, "0"),
        line("Purchase", "Reservation", BENEFIT, "365"),
        line("Refund", "Reservation", BENEFIT, "-5"),
        line("Usage", "Spot", "", "0.1"),
    ]
}

#[test]
fn amortized_costs_are_effective_and_not_billed() {
    let read = bill(AzurePart::Amortized, &amortized());
    assert_eq!(
        read.rows(&COSTS),
        [
            "2|2|2|",
            "0.5|0|0.5|azure-covered-by-commitment",
            "0.25|0|0.25|azure-unused-commitment",
            "0.75|0|0.75|azure-covered-by-commitment",
        ]
    );
    assert_eq!(
        read.rows(&[
            "ChargeCategory",
            "PricingCategory",
            "CommitmentDiscountCategory",
            "CommitmentDiscountType",
            "CommitmentDiscountStatus"
        ]),
        [
            "Usage|Standard|||",
            "Usage|Committed|Usage|Reservation|Used",
            "Usage|Committed|Usage|Reservation|Unused",
            "Usage|Committed|Spend|Savings Plan|Used"
        ]
    );
    assert_eq!(bill(AzurePart::Unknown, &amortized()).rows(&COSTS), read.rows(&COSTS), "rows say it themselves");
}

#[test]
fn beside_amortized_costs_only_purchases_count() {
    let read = bill(AzurePart::ActualBesideAmortized, &actual());
    assert_eq!(read.rows(&COSTS), ["365|365|0|azure-commitment-purchase", "-5|-5|0|azure-commitment-purchase"]);
    assert_eq!(read.rows(&["ChargeCategory", "ChargeClass"]), ["Purchase|", "Purchase|Correction"]);
    let left_out = &read.report.left_out[&("azure-in-amortized-part", "EUR".to_owned())];
    assert_eq!((left_out.rows, crate::decimal::text(left_out.sum, 22)), (3, "2.1".to_owned()));
    assert_eq!(read.report.rows_read, 5);
}

#[test]
fn actual_costs_alone_do_not_know_what_covered_usage_costs() {
    let read = bill(AzurePart::Actual, &actual());
    assert_eq!(
        read.rows(&COSTS),
        [
            "2|2|2|",
            "0|0||azure-effective-cost-unknown",
            "365|365||azure-effective-cost-unknown",
            "-5|-5||azure-effective-cost-unknown",
            "0.1|0.1|0.1|",
        ]
    );
    assert_eq!(read.report.findings["azure-actual-without-amortized"].rows, 3);
    assert_eq!(read.sums("EUR"), "delivered 362.1 billed 362.1 effective 2.1");
}

#[test]
fn units_are_single_ones_and_prices_of_blocks() {
    let read = bill(AzurePart::Unknown, &amortized()[..1]);
    assert_eq!(
        read.rows(&[
            "PricingQuantity",
            "PricingUnit",
            "ConsumedQuantity",
            "ListCost",
            "ContractedCost",
            "ListUnitPrice"
        ]),
        ["0.24|Hours|24|2.4|2.304|10"]
    );
    assert_eq!(
        read.rows(&[
            "ChargePeriodStart",
            "ChargePeriodEnd",
            "BillingPeriodStart",
            "BillingPeriodEnd",
            "x_BillingMonth"
        ]),
        ["2026-10-05T00:00:00Z|2026-10-06T00:00:00Z|2026-10-01T00:00:00Z|2026-11-01T00:00:00Z|2026-10-01"]
    );
    assert_eq!(
        read.rows(&["ServiceName", "ServiceCategory", "RegionId", "ResourceName", "ResourceType", "Tags", "x_Columns"]),
        ["Virtual Machines|Compute|eastus|vm1|Microsoft.Compute/virtualMachines|Team=blue|\
          x_ChargeType=Usage x_ConsumedService=Microsoft.Compute x_MeterCategory=Virtual Machines x_PricingModel=OnDemand \
          x_ResourceLocation=US East x_UnitOfMeasure=100 Hours"]
    );
}

#[test]
fn tags_that_cannot_be_read_are_kept() {
    let text = line("Usage", "OnDemand", "", "1").replace("\"\"\"Team\"\": \"\"blue\"\"\"", "Team:blue");
    let read = bill(AzurePart::Unknown, &[text]);
    assert_eq!(read.rows(&["Tags"]), [""]);
    assert!(read.rows(&["x_Columns"])[0].contains("x_Tags=Team:blue"));
    assert_eq!(read.report.findings["tags-unreadable"].rows, 1);
}
