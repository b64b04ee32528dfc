-- month: First day of the month that is billed.
-- ProviderName: As in `costs`.
-- SubAccountId: As in `costs`.
-- ServiceName: As in `costs`.
-- BillingCurrency: As in `costs`; amounts of two currencies are never added up.
-- ListCost: Sum. Purchases of commitments are in no column here, since what they buy is in the usage that they cover.
-- ContractedCost: Sum.
-- EffectiveCost: Sum.
-- negotiated_savings: ListCost less ContractedCost of rows that have all three costs, and 0 of others; negative where a price is above list.
-- commitment_savings: ContractedCost less EffectiveCost, likewise; negative where a commitment costs more than it saves.
-- total_savings: Both together.
-- effective_savings_rate: total_savings as a share of ListCost, of rows that have all three costs.
-- rows_without_price: Rows that lack one of the costs; nothing is known of their savings.
-- EffectiveCost_without_price: EffectiveCost of those.
WITH priced AS (
    SELECT
        x_BillingMonth AS month,
        ProviderName,
        SubAccountId,
        ServiceName,
        BillingCurrency,
        ListCost,
        ContractedCost,
        EffectiveCost,
        ListCost IS NOT NULL AND ContractedCost IS NOT NULL AND EffectiveCost IS NOT NULL AS has_prices,
        CAST(0 AS DECIMAL(38, 22)) AS nothing
    FROM costs
    -- A commitment is bought once and used later; both would count it twice.
    WHERE CommitmentDiscountId IS NULL OR coalesce(ChargeCategory, '') <> 'Purchase'
),
summed AS (
    SELECT
        month,
        ProviderName,
        SubAccountId,
        ServiceName,
        BillingCurrency,
        sum(ListCost) AS ListCost,
        sum(ContractedCost) AS ContractedCost,
        sum(EffectiveCost) AS EffectiveCost,
        sum(CASE WHEN has_prices THEN ListCost - ContractedCost ELSE nothing END) AS negotiated_savings,
        sum(CASE WHEN has_prices THEN ContractedCost - EffectiveCost ELSE nothing END) AS commitment_savings,
        sum(CASE WHEN has_prices THEN ListCost ELSE nothing END) AS priced_list_cost,
        sum(CASE WHEN has_prices THEN 0 ELSE 1 END) AS rows_without_price,
        sum(CASE WHEN has_prices THEN nothing ELSE EffectiveCost END) AS effective_cost_without_price
    FROM priced
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
    (negotiated_savings + commitment_savings) / nullif(priced_list_cost, 0) AS effective_savings_rate,
    rows_without_price,
    effective_cost_without_price AS "EffectiveCost_without_price"
FROM summed
