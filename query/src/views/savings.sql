-- month: First day of the month that is billed.
-- ProviderName: As in `costs`.
-- SubAccountId: As in `costs`.
-- ServiceName: As in `costs`.
-- BillingCurrency: As in `costs`; amounts of two currencies are never added up.
-- ListCost: Sum, without purchases of commitments, since what they buy is in the usage that they cover.
-- ContractedCost: Sum, likewise.
-- EffectiveCost: Sum. Of purchases of commitments, what the usage that they cover does not have: Google's fees, and nothing of others.
-- negotiated_savings: ListCost less ContractedCost of rows that have all three costs, and 0 of others; negative where a price is above list.
-- commitment_savings: ContractedCost less EffectiveCost, likewise; negative where a commitment costs more than it saves. Has Google's discounts for sustained use, free tiers and resellers as well.
-- total_savings: Both together.
-- effective_savings_rate: Savings as a share of ListCost, of usage and purchases that have all three costs. Taxes, credits and adjustments have no price to save on.
-- rows_without_price: Rows that lack one of the costs; nothing is known of their savings.
-- EffectiveCost_without_price: EffectiveCost of those.
WITH charges AS (
    SELECT
        x_BillingMonth AS month,
        ProviderName,
        SubAccountId,
        ServiceName,
        BillingCurrency,
        ListCost,
        ContractedCost,
        EffectiveCost,
        -- AWS does not name the plan of some refunds: what is bought for nothing is paid for something else.
        coalesce(ChargeCategory, '') = 'Purchase'
            AND (CommitmentDiscountId IS NOT NULL OR coalesce(EffectiveCost = 0 AND BilledCost <> 0, FALSE)) AS is_commitment,
        coalesce(ChargeCategory, 'Usage') IN ('Usage', 'Purchase') AS has_rate,
        CAST(0 AS DECIMAL(38, 22)) AS nothing
    FROM costs
),
-- A commitment is bought once and used later: both would count its price twice. Its cost is with the usage that it covers, or with its fee.
priced AS (
    SELECT
        month,
        ProviderName,
        SubAccountId,
        ServiceName,
        BillingCurrency,
        CASE WHEN is_commitment THEN nothing ELSE ListCost END AS "ListCost",
        CASE WHEN is_commitment THEN nothing ELSE ContractedCost END AS "ContractedCost",
        EffectiveCost,
        has_rate,
        nothing
    FROM charges
    WHERE NOT is_commitment OR EffectiveCost <> 0
),
known AS (
    SELECT *, ListCost IS NOT NULL AND ContractedCost IS NOT NULL AND EffectiveCost IS NOT NULL AS has_prices
    FROM priced
),
summed AS (
    SELECT
        month,
        ProviderName,
        SubAccountId,
        ServiceName,
        BillingCurrency,
        sum(ListCost) AS "ListCost",
        sum(ContractedCost) AS "ContractedCost",
        sum(EffectiveCost) AS "EffectiveCost",
        sum(CASE WHEN has_prices THEN ListCost - ContractedCost ELSE nothing END) AS negotiated_savings,
        sum(CASE WHEN has_prices THEN ContractedCost - EffectiveCost ELSE nothing END) AS commitment_savings,
        sum(CASE WHEN has_prices AND has_rate THEN ListCost ELSE nothing END) AS rated_list_cost,
        sum(CASE WHEN has_prices AND has_rate THEN EffectiveCost ELSE nothing END) AS rated_effective_cost,
        sum(CASE WHEN has_prices THEN 0 ELSE 1 END) AS rows_without_price,
        sum(CASE WHEN has_prices THEN nothing ELSE EffectiveCost END) AS effective_cost_without_price
    FROM known
    GROUP BY 1, 2, 3, 4, 5
)
SELECT
    month,
    ProviderName,
    SubAccountId,
    ServiceName,
    BillingCurrency,
    ListCost,
    ContractedCost,
    EffectiveCost,
    negotiated_savings,
    commitment_savings,
    negotiated_savings + commitment_savings AS total_savings,
    (rated_list_cost - rated_effective_cost) / nullif(rated_list_cost, 0) AS effective_savings_rate,
    rows_without_price,
    effective_cost_without_price AS "EffectiveCost_without_price"
FROM summed
