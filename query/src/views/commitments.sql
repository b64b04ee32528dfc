-- month: First day of the month that is billed.
-- CommitmentDiscountId: As in `costs`.
-- CommitmentDiscountName: As in `costs`.
-- CommitmentDiscountType: As in `costs`.
-- CommitmentDiscountCategory: As in `costs`.
-- ProviderName: As in `costs`.
-- BillingCurrency: As in `costs`.
-- used_cost: EffectiveCost of usage that it covered.
-- unused_cost: EffectiveCost of what nothing used of it.
-- utilisation: used_cost as a share of both; NULL if there is neither, and if fees have the cost, as Google's do: what is left is not told.
-- saved_cost: ContractedCost less EffectiveCost of usage that it covered, where both are known, less unused_cost and EffectiveCost of fees; negative if it did not pay.
-- covered_cost: Usage of the services that it was used for that any commitment covered, by ContractedCost, or EffectiveCost without it.
-- uncovered_cost: Usage of those services at standard prices that none covered, likewise.
-- coverage: covered_cost as a share of both.
-- BilledCost: What was billed for it, as fees.
-- last_charge: When the last charge began that it was used, left unused or bought with.
-- expires_at: When it ends, if a line tells: end of the reservation or savings plan as AWS states it, else of its purchase for longer than a month.
WITH charges AS (
    SELECT
        x_BillingMonth AS month,
        CommitmentDiscountId,
        BillingCurrency,
        max(CommitmentDiscountName) AS "CommitmentDiscountName",
        max(CommitmentDiscountType) AS "CommitmentDiscountType",
        max(CommitmentDiscountCategory) AS "CommitmentDiscountCategory",
        max(ProviderName) AS "ProviderName",
        sum(CASE WHEN CommitmentDiscountStatus = 'Used' THEN EffectiveCost ELSE CAST(0 AS DECIMAL(38, 22)) END) AS used_cost,
        sum(CASE WHEN CommitmentDiscountStatus = 'Unused' THEN EffectiveCost ELSE CAST(0 AS DECIMAL(38, 22)) END) AS unused_cost,
        sum(
            CASE
                WHEN CommitmentDiscountStatus = 'Used' AND ContractedCost IS NOT NULL AND EffectiveCost IS NOT NULL
                    THEN ContractedCost - EffectiveCost
                ELSE CAST(0 AS DECIMAL(38, 22))
            END
        ) AS saved_by_use,
        -- Nothing, where the cost of a commitment is with the usage that it covers.
        sum(
            CASE WHEN ChargeCategory = 'Purchase' AND EffectiveCost IS NOT NULL THEN EffectiveCost ELSE CAST(0 AS DECIMAL(38, 22)) END
        ) AS fee_cost,
        sum(BilledCost) AS "BilledCost",
        max(ChargePeriodStart) AS last_charge,
        max(
            coalesce(
                TRY_CAST(x_Columns['x_reservation_EndTime'] AS TIMESTAMP),
                TRY_CAST(x_Columns['x_reservation_end_time'] AS TIMESTAMP),
                TRY_CAST(x_Columns['x_savingsPlan_EndTime'] AS TIMESTAMP),
                TRY_CAST(x_Columns['x_savings_plan_end_time'] AS TIMESTAMP)
            )
        ) AS stated_end
    FROM costs
    WHERE CommitmentDiscountId IS NOT NULL
    GROUP BY 1, 2, 3
),
purchases AS (
    SELECT CommitmentDiscountId, max(ChargePeriodEnd) AS bought_until
    FROM costs
    WHERE CommitmentDiscountId IS NOT NULL
        AND ChargeCategory = 'Purchase'
        AND ChargePeriodEnd - ChargePeriodStart > BillingPeriodEnd - BillingPeriodStart
    GROUP BY 1
),
services AS (
    SELECT DISTINCT x_BillingMonth AS month, CommitmentDiscountId, BillingCurrency, ServiceName
    FROM costs
    WHERE CommitmentDiscountId IS NOT NULL AND CommitmentDiscountStatus = 'Used'
),
usage AS (
    SELECT
        x_BillingMonth AS month,
        BillingCurrency,
        ServiceName,
        sum(
            CASE
                WHEN CommitmentDiscountStatus = 'Used' THEN coalesce(ContractedCost, EffectiveCost)
                ELSE CAST(0 AS DECIMAL(38, 22))
            END
        ) AS covered_cost,
        sum(
            CASE
                WHEN PricingCategory = 'Standard' AND CommitmentDiscountId IS NULL THEN coalesce(ContractedCost, EffectiveCost)
                ELSE CAST(0 AS DECIMAL(38, 22))
            END
        ) AS uncovered_cost
    FROM costs
    WHERE ChargeCategory = 'Usage'
    GROUP BY 1, 2, 3
),
coverage AS (
    SELECT
        s.month,
        s.CommitmentDiscountId,
        s.BillingCurrency,
        sum(u.covered_cost) AS covered_cost,
        sum(u.uncovered_cost) AS uncovered_cost
    FROM services s
    JOIN usage u ON u.month = s.month AND u.BillingCurrency = s.BillingCurrency AND u.ServiceName = s.ServiceName
    GROUP BY 1, 2, 3
)
SELECT
    c.month,
    c.CommitmentDiscountId,
    c.CommitmentDiscountName,
    c.CommitmentDiscountType,
    c.CommitmentDiscountCategory,
    c.ProviderName,
    c.BillingCurrency,
    c.used_cost,
    c.unused_cost,
    CASE WHEN c.fee_cost = 0 THEN c.used_cost / nullif(c.used_cost + c.unused_cost, 0) END AS utilisation,
    c.saved_by_use - c.unused_cost - c.fee_cost AS saved_cost,
    v.covered_cost,
    v.uncovered_cost,
    v.covered_cost / nullif(v.covered_cost + v.uncovered_cost, 0) AS coverage,
    c.BilledCost,
    c.last_charge,
    coalesce(arrow_cast(c.stated_end, 'Timestamp(Microsecond, Some("UTC"))'), p.bought_until) AS expires_at
FROM charges c
LEFT JOIN coverage v
    ON v.month = c.month AND v.CommitmentDiscountId = c.CommitmentDiscountId AND v.BillingCurrency = c.BillingCurrency
LEFT JOIN purchases p ON p.CommitmentDiscountId = c.CommitmentDiscountId
