//! Lines of a report as Oracle writes them.

use crate::testing::read;

#[test]
fn a_correction_is_a_line_of_its_own() {
    let text = "lineItem/referenceNo,lineItem/tenantId,lineItem/intervalUsageStart,lineItem/intervalUsageEnd,product/service,\
product/compartmentId,product/compartmentName,product/region,product/availabilityDomain,product/resourceId,usage/billedQuantity,\
cost/productSku,product/Description,cost/unitPrice,cost/myCost,cost/currencyCode,cost/billingUnitReadable,cost/overageFlag,\
lineItem/isCorrection,lineItem/backreferenceNo,tags/Oracle-Tags.CreatedBy,tags/orcl-cloud.free-tier-retained\n\
r1,t1,2026-10-01T00:00Z,2026-10-01T01:00Z,COMPUTE,c1,prod,iad,AD-1,ocid1,2,B1,OCPU,0.05,0.100000000000000001,USD,OCPU Hours,N,false,,me,\n\
r2,t1,2026-10-01T00:00Z,2026-10-01T01:00Z,COMPUTE,c1,prod,iad,AD-1,ocid1,2,B1,OCPU,0.05,-0.05,USD,OCPU Hours,N,true,r1,me,\n";
    let read = read(text, |_| {});
    assert_eq!(
        read.rows(&[
            "BilledCost",
            "EffectiveCost",
            "ChargeClass",
            "ChargePeriodStart",
            "ChargePeriodEnd",
            "ServiceName",
            "PricingQuantity",
            "Tags"
        ]),
        [
            "0.100000000000000001|0.100000000000000001||2026-10-01T00:00:00Z|2026-10-01T01:00:00Z|COMPUTE|2|Oracle-Tags.CreatedBy=me",
            "-0.05|-0.05|Correction|2026-10-01T00:00:00Z|2026-10-01T01:00:00Z|COMPUTE|2|Oracle-Tags.CreatedBy=me",
        ]
    );
    assert_eq!(
        read.rows(&["x_Columns"])[1],
        "x_cost_overageFlag=N x_lineItem_backreferenceNo=r1 x_lineItem_referenceNo=r2"
    );
}
