//! FOCUS, any version from 1.0 to 1.4 and any subset of its columns, from any provider.
//!
//! Called by the reader for each record. Costs are as delivered: what FOCUS says of them holds already.
//!
//! Invariants: columns are found whatever their case, and under the names that earlier versions and some tools gave them; a missing column
//! is null. Spec: <https://focus.finops.org/focus-specification/>

use crate::{
    columns::{Amount, Quantity, Text, Time},
    detect::Format,
    error::Result,
    extras::{self, Extras},
    json,
    mapping::{self, Mapping, Taken, is_null, or_null},
    options::Options,
    record::{Column, Header, Record},
    row::{Fault, Row},
    sink::Sink,
    time,
};

/// Names that columns had before, or have in some tools' exports.
const ALIASES: [(&str, &str); 8] = [
    ("ProviderName", "provider"),
    ("PublisherName", "publisher"),
    ("InvoiceIssuerName", "invoiceissuer"),
    ("RegionId", "region"),
    ("ConsumedQuantity", "usagequantity"),
    ("ConsumedUnit", "usageunit"),
    ("SkuPriceDetails", "skudetails"),
    ("ChargeCategory", "chargetype"),
];

/// How records of one header become rows.
#[derive(Debug)]
pub(crate) struct Focus {
    texts: Vec<(usize, Text)>,
    amounts: Vec<(Column, Amount)>,
    quantities: Vec<(Column, Quantity)>,
    times: Vec<mapping::Times>,
    billed: Column,
    currency: Column,
    tags: Tags,
    allocated_tags: Tags,
    extras: Extras,
}

/// A column of tags.
#[derive(Debug, Default)]
struct Tags {
    column: Column,
    cached: json::Cached,
}

impl Focus {
    pub(crate) fn new(header: &Header, options: &Options) -> Result<Self> {
        let mut taken = Taken::of(header);
        let mut find = |name: &str| {
            let alias = ALIASES.iter().find(|alias| alias.0 == name).map_or("", |alias| alias.1);
            taken.take(&[&name.to_ascii_lowercase(), alias])
        };
        let texts = Text::ALL.iter().filter_map(|text| Some((find(text.name()).slot?, *text))).collect();
        let there = |column: &Column| column.slot.is_some();
        let amounts = Amount::ALL.iter().map(|amount| (find(amount.name()), *amount));
        let amounts = amounts.filter(|(column, amount)| there(column) && *amount != Amount::BilledCost).collect();
        let quantities = Quantity::ALL
            .iter()
            .map(|count| (find(count.name()), *count))
            .filter(|(column, _)| there(column))
            .collect();
        let times = Time::ALL.iter().map(|time| (find(time.name()), *time, time::Cached::default()));
        let times = times.filter(|(column, ..)| there(column)).collect();
        let tags = Tags { column: find("Tags"), cached: json::Cached::default() };
        let allocated_tags = Tags { column: find("AllocatedTags"), cached: json::Cached::default() };
        let billed = mapping::needed(header, Format::Focus, &["billedcost"], options)?;
        let currency = mapping::currency(header, &["billingcurrency"], options)?;
        taken.slots.extend(billed.slot.into_iter().chain(currency.slot));
        let extras = Extras::new(header, &taken.slots, &[]);
        Ok(Self { texts, amounts, quantities, times, billed, currency, tags, allocated_tags, extras })
    }
}

impl Mapping for Focus {
    fn map(&mut self, record: &Record<'_>, sink: &mut Sink) -> Result<(), Fault> {
        let mut row = Row::new();
        let billed = row.delivered(or_null(self.billed.of(record)), &self.billed.name)?;
        row.amount(Amount::BilledCost, billed);
        row.currency = or_null(self.currency.of(record));
        for (slot, column) in &self.texts {
            row.set(*column, or_null(record.get(*slot)));
        }
        for (column, amount) in &self.amounts {
            row.amounts[*amount as usize] = row.money(or_null(column.of(record)), &column.name)?;
        }
        for (column, count) in &self.quantities {
            row.quantities[*count as usize] = row.count(or_null(column.of(record)), &column.name)?;
        }
        self.extras.read(record, is_null);
        row.kept = Some(&self.extras);
        mapping::times(&mut self.times, record, &mut row, sink)?;
        for (tags, bad) in [(&mut self.tags, "x_Tags"), (&mut self.allocated_tags, "x_AllocatedTags")] {
            tags.read(or_null(tags.column.of(record)), bad, &mut row, sink);
        }
        row.tags = self.tags.cached.entries().collect();
        row.allocated_tags = self.allocated_tags.cached.entries().collect();
        sink.write(&mut row)
    }
}

impl Tags {
    /// Reads tags; those that cannot be are kept as they are.
    fn read<'a>(&mut self, text: &'a str, bad: &'static str, row: &mut Row<'a>, sink: &mut Sink) {
        if self.cached.read(text).is_err() {
            extras::insert(&mut row.extras, bad, text);
            sink.tally.find(mapping::TAGS_UNREADABLE, || text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
