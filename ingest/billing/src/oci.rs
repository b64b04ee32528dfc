//! Oracle Cloud's cost report.
//!
//! Called by the reader for each record. Oracle adds: a correction is a further line that refers to the one it corrects, in a later report.
//!
//! Invariants: `x_DeliveredCost` is `cost/myCost`. Tags are what follows `tags/` in the names of their columns.
//! Spec: <https://docs.oracle.com/iaas/Content/Billing/Concepts/costusagereportsoverview.htm>

#[cfg(test)]
mod tests;

use crate::{
    columns::{Amount, Quantity, Text, Time},
    detect::Format,
    error::Result,
    extras::Extras,
    mapping::{self, Mapping, Taken},
    options::Options,
    record::{Column, Header, Record},
    row::{Fault, Row},
    sink::Sink,
    time,
};

const ORACLE: &str = "Oracle";
const TAGS: &str = "tags/";
/// Columns that are one of FOCUS as they are, by key.
const TEXTS: [(Text, &str); 11] = [
    (Text::BillingAccountId, "lineitemtenantid"),
    (Text::SubAccountId, "productcompartmentid"),
    (Text::SubAccountName, "productcompartmentname"),
    (Text::ServiceName, "productservice"),
    (Text::RegionId, "productregion"),
    (Text::AvailabilityZone, "productavailabilitydomain"),
    (Text::ResourceId, "productresourceid"),
    (Text::SkuId, "costproductsku"),
    (Text::ChargeDescription, "productdescription"),
    (Text::PricingUnit, "costbillingunitreadable"),
    (Text::SkuMeter, "costskuunitdescription"),
];

/// Columns that mostly repeat another.
const REPEATS: [(&str, &str); 2] =
    [("usageconsumedquantity", "usagebilledquantity"), ("costattributedcost", "costmycost")];

/// How records of one header become rows.
#[derive(Debug)]
pub(crate) struct Oci {
    texts: Vec<(usize, Text)>,
    cost: Column,
    currency: Column,
    times: [mapping::Times; 2],
    quantity: Column,
    price: Column,
    is_correction: Column,
    tags: Vec<(String, usize)>,
    extras: Extras,
}

impl Oci {
    pub(crate) fn new(header: &Header, options: &Options) -> Result<Self> {
        let cost = mapping::needed(header, Format::Oci, &["costmycost"], options)?;
        let currency = mapping::currency(header, &["costcurrencycode"], options)?;
        let mut taken = Taken::of(header);
        taken.slots.extend(cost.slot.into_iter().chain(currency.slot));
        let tags = header
            .names
            .iter()
            .enumerate()
            .filter_map(|(slot, name)| Some((name.strip_prefix(TAGS)?.to_owned(), slot)));
        let mut tags: Vec<_> = tags.collect();
        tags.sort();
        tags.dedup_by(|after, before| after.0 == before.0);
        taken.slots.extend(tags.iter().map(|(_, slot)| *slot));
        let time = |column, time| (column, time, time::Cached::default());
        let mut oci = Self {
            texts: TEXTS.iter().filter_map(|(text, key)| Some((taken.take(&[*key]).slot?, *text))).collect(),
            cost,
            currency,
            times: [
                time(taken.take(&["lineitemintervalusagestart"]), Time::ChargePeriodStart),
                time(taken.take(&["lineitemintervalusageend"]), Time::ChargePeriodEnd),
            ],
            quantity: taken.take(&["usagebilledquantity"]),
            price: taken.take(&["costunitprice"]),
            is_correction: taken.take(&["lineitemiscorrection"]),
            tags,
            extras: Extras::default(),
        };
        oci.extras = Extras::new(header, &taken.slots, &REPEATS);
        Ok(oci)
    }
}

impl Mapping for Oci {
    fn map(&mut self, record: &Record<'_>, sink: &mut Sink) -> Result<(), Fault> {
        let mut row = Row::new();
        let cost = row.delivered(self.cost.of(record), &self.cost.name)?;
        row.costs(cost, cost, cost, cost);
        self.extras.read(record, str::is_empty);
        row.kept = Some(&self.extras);
        mapping::times(&mut self.times, record, &mut row, sink)?;
        for (slot, column) in &self.texts {
            row.set(*column, record.get(*slot));
        }
        row.currency = self.currency.of(record);
        let price = row.money(self.price.of(record), &self.price.name)?;
        row.amounts[Amount::ListUnitPrice as usize] = price;
        row.amounts[Amount::ContractedUnitPrice as usize] = price;
        let quantity = row.count(self.quantity.of(record), &self.quantity.name)?;
        row.quantity(Quantity::PricingQuantity, quantity);
        row.quantity(Quantity::ConsumedQuantity, quantity);
        row.set(Text::ConsumedUnit, row.text(Text::PricingUnit));
        row.set(Text::ChargeCategory, "Usage");
        row.set(Text::ChargeFrequency, "Usage-Based");
        row.set(Text::PricingCategory, "Standard");
        row.set(Text::ServiceCategory, "Other");
        row.set(Text::SubAccountType, "Compartment");
        if self.is_correction.of(record).eq_ignore_ascii_case("true") {
            row.set(Text::ChargeClass, "Correction");
        }
        for column in [
            Text::InvoiceIssuerName,
            Text::PublisherName,
            Text::ProviderName,
            Text::ServiceProviderName,
            Text::HostProviderName,
        ] {
            row.set(column, ORACLE);
        }
        let tags = self.tags.iter().map(|(key, slot)| (key.as_str(), record.get(*slot)));
        row.tags = tags.filter(|(_, value)| !value.is_empty()).collect();
        sink.write(&mut row)
    }
}
