//! Quantities and prices of Azure, and the costs that follow from them.
//!
//! Called by `azure` for each record. A quantity is in single units and a price is of a block of them, such as `100 Hours`; prices of
//! customer agreements are in a currency of their own, which is turned into the bill's and kept beside it.
//!
//! Invariants: every row has a list cost and a contracted cost; where no price says what it is, what is paid stands for it, so that no
//! saving is made up. Spec: <https://learn.microsoft.com/azure/cost-management-billing/automate/understand-usage-details-fields>

use super::Charge;
use crate::{
    columns::{Amount, Quantity, Text},
    decimal, lookup,
    mapping::Taken,
    record::{Column, Header, Record},
    row::{Fault, Row},
    sink::Sink,
};

/// Code of the finding that usage has no list or negotiated price: what it costs stands for it.
const PRICE_MISSING: &str = "azure-price-missing";

/// Columns of quantities, prices and what follows from them.
#[derive(Debug)]
pub(super) struct Prices {
    quantity: Column,
    unit: Column,
    unit_facts: lookup::Cached<Option<(u64, &'static str)>>,
    unit_price: Column,
    list_price: Column,
    list_cost: Column,
    /// From the currency of prices to that of the bill, of customer agreements.
    exchange_rate: Column,
    pricing_cost: Column,
}

impl Prices {
    pub(super) fn new(taken: &mut Taken<'_>, header: &Header) -> Self {
        Self {
            quantity: taken.take(&["quantity", "usagequantity"]),
            unit: header.column(&["unitofmeasure"]),
            unit_facts: lookup::Cached::default(),
            unit_price: taken.take(&["unitprice"]),
            list_price: taken.take(&["paygprice"]),
            list_cost: taken.take(&["paygcostinbillingcurrency"]),
            exchange_rate: header.column(&["exchangeratepricingtobilling"]),
            pricing_cost: header.column(&["costinpricingcurrency"]),
        }
    }

    /// Fills quantities and prices, and the costs that follow from them.
    pub(super) fn fill<'a>(&mut self, record: &Record<'a>, row: &mut Row<'a>) -> Result<(), Fault> {
        let unit = self.unit.of(record);
        let (block, name) =
            self.unit_facts.get(unit, lookup::azure_unit).map_or((1, unit), |(block, name)| (block, name));
        row.set(Text::PricingUnit, name);
        let list = row.money(self.list_cost.of(record), &self.list_cost.name)?;
        let list_price = self.price(&self.list_price, Amount::ListUnitPrice, record, row)?;
        let unit_price = self.price(&self.unit_price, Amount::ContractedUnitPrice, record, row)?;
        let Some(quantity) = row.count(self.quantity.of(record), &self.quantity.name)? else {
            row.amounts[Amount::ListCost as usize] = list;
            return Ok(());
        };
        let cost = |price: Option<i128>, column: &Column| {
            price
                .map(|price| decimal::cost(price, quantity, block))
                .transpose()
                .map_err(|reason| Fault::new(column.name.clone(), reason))
        };
        row.amounts[Amount::ListCost as usize] = match list {
            Some(list) => Some(list),
            None => cost(list_price, &self.list_price)?,
        };
        row.amounts[Amount::ContractedCost as usize] = cost(unit_price, &self.unit_price)?;
        row.quantity(Quantity::PricingQuantity, Some(decimal::divide(quantity, block)));
        if row.text(Text::ChargeCategory) == "Usage" && row.text(Text::CommitmentDiscountStatus) != "Unused" {
            row.quantity(Quantity::ConsumedQuantity, Some(quantity));
            row.set(Text::ConsumedUnit, name);
        }
        Ok(())
    }

    /// Reads a price. One in another currency than that of the bill is kept as it is, and turned into that.
    fn price(
        &self,
        column: &Column,
        amount: Amount,
        record: &Record<'_>,
        row: &mut Row<'_>,
    ) -> Result<Option<i128>, Fault> {
        let mut price = row.money(column.of(record), &column.name)?;
        let rate = row.count(self.exchange_rate.of(record), &self.exchange_rate.name)?;
        if let (Some(in_pricing), Some(rate)) = (price, rate) {
            let kept = match amount {
                Amount::ListUnitPrice => Amount::PricingCurrencyListUnitPrice,
                _ => Amount::PricingCurrencyContractedUnitPrice,
            };
            row.amount(kept, in_pricing);
            let in_billing = decimal::cost(in_pricing, rate, 1);
            price = Some(in_billing.map_err(|reason| Fault::new(column.name.clone(), reason))?);
        }
        row.amounts[amount as usize] = price;
        Ok(price)
    }

    /// Fills the costs that the line does not have, and that in the currency of prices.
    pub(super) fn complete(
        &self,
        charge: Charge,
        record: &Record<'_>,
        row: &mut Row<'_>,
        sink: &mut Sink,
    ) -> Result<(), Fault> {
        let cost = row.delivered.value;
        let pricing = row.money(self.pricing_cost.of(record), &self.pricing_cost.name)?;
        row.amounts[Amount::PricingCurrencyEffectiveCost as usize] = match row.amounts[Amount::EffectiveCost as usize] {
            Some(effective) if effective == cost => pricing,
            Some(_) => pricing.map(|_| 0),
            None => None,
        };
        if charge == Charge::Unused {
            row.amount(Amount::ListCost, 0);
            row.amount(Amount::ContractedCost, 0);
            return Ok(());
        }
        // A price of nothing of what costs something is none: of the marketplace there is no list.
        let [contracted, list] = [Amount::ContractedCost, Amount::ListCost]
            .map(|column| row.amounts[column as usize].filter(|value| *value != 0 || cost == 0));
        if row.text(Text::ChargeCategory) == "Usage" && list.is_none() && self.list_price.slot.is_some() {
            sink.tally.find(PRICE_MISSING, || row.text(Text::SkuMeter).to_owned());
        }
        let contracted = contracted.unwrap_or(cost);
        row.amount(Amount::ContractedCost, contracted);
        row.amount(Amount::ListCost, list.unwrap_or(contracted));
        Ok(())
    }
}
