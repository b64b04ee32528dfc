//! AWS' cost and usage report, legacy and 2.0, from CSV or Parquet, with names as AWS or Athena spell them.
//!
//! Called by the reader for each record. What a line costs depends on its type, which is `line`'s; here is what lines of all types share.
//!
//! Invariants: `x_DeliveredCost` is `lineItem/UnblendedCost`; a row without adjustments is billed and costs that. Tags keep the prefix they
//! are delivered with; cost categories are tags that begin with `costCategory:`. Two columns are left out that the row says already or that
//! say nothing: `identity/TimeInterval`, where it is the charge period, and `identity/LineItemId`, which is unique within one file of one
//! delivery and another in the next one, and so leads nowhere (`x_File` says where a row is from).
//! Spec: <https://docs.aws.amazon.com/cur/latest/userguide/data-dictionary.html>

mod commitment;
mod line;
#[cfg(test)]
mod tests;

use self::line::Kind;
use crate::{
    columns::{Quantity, Text, Time},
    detect::Format,
    error::Result,
    extras::{self, Extras},
    json, lookup,
    mapping::{self, Mapping, Taken},
    options::Options,
    record::{Column, Header, Record},
    row::{Entries, Fault, Row},
    sink::Sink,
    time,
};

const AWS: &str = "AWS";
/// Columns that are one of FOCUS as they are, by key; the first there is counts.
const TEXTS: [(Text, &[&str]); 13] = [
    (Text::BillingAccountId, &["billpayeraccountid"]),
    (Text::BillingAccountName, &["billpayeraccountname"]),
    (Text::SubAccountId, &["lineitemusageaccountid"]),
    (Text::SubAccountName, &["lineitemusageaccountname"]),
    (Text::InvoiceId, &["billinvoiceid"]),
    (Text::ChargeDescription, &["lineitemlineitemdescription"]),
    (Text::AvailabilityZone, &["lineitemavailabilityzone"]),
    (Text::ResourceId, &["lineitemresourceid"]),
    (Text::RegionId, &["productregioncode", "productregion"]),
    (Text::RegionName, &["productlocation"]),
    (Text::SkuId, &["productsku"]),
    (Text::SkuMeter, &["lineitemusagetype"]),
    (Text::SkuPriceId, &["pricingratecode", "pricingrateid"]),
];

/// Columns that mostly repeat another.
const REPEATS: [(&str, &str); 9] = [
    ("lineitemblendedcost", "lineitemunblendedcost"),
    ("lineitemblendedrate", "lineitemunblendedrate"),
    ("lineitemnetunblendedcost", "lineitemunblendedcost"),
    ("lineitemnormalizedusageamount", "lineitemusageamount"),
    ("productservicecode", "lineitemproductcode"),
    ("productservicename", "productproductname"),
    ("productusagetype", "lineitemusagetype"),
    ("productoperation", "lineitemoperation"),
    ("productregion", "productregioncode"),
];

/// How records of one header become rows.
#[derive(Debug)]
pub(crate) struct Aws {
    texts: Vec<(usize, Text)>,
    currency: Column,
    pricing_currency: Column,
    times: [mapping::Times; 4],
    line: line::Columns,
    service: Service,
    unit: Column,
    interval: (Column, time::CachedInterval),
    /// Name of that column among those without a place.
    interval_kept: String,
    tags: Tags,
    maps: Vec<(Column, json::Cached)>,
    extras: Extras,
}

/// Columns that say what was bought and of whom.
#[derive(Debug)]
struct Service {
    product_name: Column,
    service_code: Column,
    product_code: Column,
    invoicing_entity: Column,
    legal_entity: Column,
    category: lookup::Cached<&'static str>,
}

/// Columns of tags and cost categories.
#[derive(Debug, Default)]
struct Tags {
    /// Keys and places of those that have columns of their own, by key.
    columns: Vec<(String, usize)>,
    /// Those that are maps.
    maps: Vec<(Column, json::Cached)>,
}

impl Aws {
    pub(crate) fn new(header: &Header, options: &Options) -> Result<Self> {
        let mut taken = Taken::of(header);
        let texts = TEXTS.iter().filter_map(|(text, keys)| Some((taken.take(keys).slot?, *text))).collect();
        let times = [
            (Time::BillingPeriodStart, "billbillingperiodstartdate"),
            (Time::BillingPeriodEnd, "billbillingperiodenddate"),
            (Time::ChargePeriodStart, "lineitemusagestartdate"),
            (Time::ChargePeriodEnd, "lineitemusageenddate"),
        ]
        .map(|(time, key)| (taken.take(&[key]), time, time::Cached::default()));
        let service = Service {
            product_name: taken.take(&["productproductname"]),
            service_code: header.column(&["productservicecode"]),
            product_code: header.column(&["lineitemproductcode"]),
            invoicing_entity: taken.take(&["billinvoicingentity"]),
            legal_entity: taken.take(&["lineitemlegalentity"]),
            category: lookup::Cached::default(),
        };
        let unit = taken.take(&["pricingunit"]);
        taken.take(&["identitylineitemid"]);
        let interval = taken.take(&["identitytimeinterval"]);
        let pricing_currency = taken.take(&["pricingcurrency"]);
        let map = |key, prefix| (header.column(&[key]), json::Cached::with_prefix(prefix));
        let is_there = |map: &(Column, json::Cached)| map.0.slot.is_some();
        let maps =
            [map("product", "x_product_"), map("discount", "x_discount_")].into_iter().filter(is_there).collect();
        let tags = Tags {
            columns: tag_columns(header),
            maps: [map("resourcetags", ""), map("costcategory", COST_CATEGORY)].into_iter().filter(is_there).collect(),
        };
        let currency = mapping::currency(header, &["lineitemcurrencycode"], options)?;
        let line =
            line::Columns::new(mapping::needed(header, Format::Aws, &["lineitemunblendedcost"], options)?, header);
        taken.slots.extend(currency.slot.into_iter().chain(line.placed()));
        taken.slots.extend(tags.columns.iter().map(|(_, slot)| *slot));
        let mut mapping = Self {
            texts,
            currency,
            pricing_currency,
            times,
            line,
            service,
            unit,
            interval_kept: extras::extra_name(&interval.name),
            interval: (interval, time::CachedInterval::default()),
            tags,
            maps,
            extras: Extras::default(),
        };
        taken.slots.extend(mapping.maps.iter().chain(&mapping.tags.maps).filter_map(|(column, _)| column.slot));
        mapping.extras = Extras::new(header, &taken.slots, &REPEATS);
        Ok(mapping)
    }

    /// Reads the columns that are maps; those that cannot be read are kept as they are.
    fn read_maps<'a>(&mut self, record: &Record<'a>, sink: &mut Sink) -> Entries<'a> {
        let mut unreadable = Entries::new();
        let maps = self.tags.maps.iter_mut().zip(["x_resource_tags", "x_cost_category"]);
        for ((column, cached), name) in maps.chain(self.maps.iter_mut().zip(["x_product", "x_discount"])) {
            let text = column.of(record);
            if cached.read(text).is_err() {
                unreadable.push((name, text));
                sink.tally.find(mapping::TAGS_UNREADABLE, || text.to_owned());
            }
        }
        unreadable
    }

    fn describe<'a>(&'a self, record: &Record<'a>, category: &'static str, row: &mut Row<'a>) {
        for (slot, column) in &self.texts {
            row.set(*column, record.get(*slot));
        }
        let (name, kind) = resource(row.text(Text::ResourceId));
        row.set(Text::ResourceName, name);
        row.set(Text::ResourceType, kind);
        if row.text(Text::RegionId).is_empty() {
            row.set(Text::RegionId, self.product("x_product_region"));
        }
        row.set(Text::ServiceCategory, category);
        let product_code = self.service.product_code.of(record);
        let product_name = self.service.product_name.of(record);
        let service_code = self.service.service_code.of(record);
        let names = [product_name, self.product("x_product_product_name"), service_code, product_code];
        row.set(Text::ServiceName, first(names));
        let legal_entity = self.service.legal_entity.of(record);
        row.set(Text::InvoiceIssuerName, first([self.service.invoicing_entity.of(record), legal_entity, AWS, ""]));
        row.set(Text::PublisherName, first([legal_entity, AWS, "", ""]));
        row.set(Text::ProviderName, AWS);
        row.set(Text::ServiceProviderName, AWS);
        row.set(Text::HostProviderName, AWS);
        row.set(Text::SubAccountType, "Account");
        row.set(Text::PricingCurrency, self.pricing_currency.of(record));
        row.currency = self.currency.of(record);
    }

    /// A member of the map of the product, which CUR 2.0 has instead of columns.
    fn product(&self, key: &str) -> &str {
        self.maps.iter().map(|(_, cached)| cached.get(key)).find(|text| !text.is_empty()).unwrap_or_default()
    }
}

impl Mapping for Aws {
    fn map(&mut self, record: &Record<'_>, sink: &mut Sink) -> Result<(), Fault> {
        let mut row = Row::new();
        let unreadable = self.read_maps(record, sink);
        let product_code = self.service.product_code.of(record);
        let category = self.service.category.get(product_code, lookup::aws_category);
        self.extras.read(record, str::is_empty);
        row.kept = Some(&self.extras);
        mapping::times(&mut self.times, record, &mut row, sink)?;
        let (column, cached) = &mut self.interval;
        let interval = column.of(record);
        if !interval.is_empty() && !cached.is(interval, &row.times) {
            extras::insert(&mut row.extras, &self.interval_kept, interval);
        }
        self.describe(record, category, &mut row);
        let kind = self.line.kind(record);
        let unused = self.line.charge(kind, record, &mut row, sink)?;
        let usage = self.line.usage(kind, record, &mut row)?;
        if usage.is_some() && kind != Kind::Tax {
            row.quantity(Quantity::PricingQuantity, usage);
            row.set(Text::PricingUnit, self.unit.of(record));
            if row.text(Text::ChargeCategory) == line::USAGE {
                row.quantity(Quantity::ConsumedQuantity, usage);
                row.set(Text::ConsumedUnit, self.unit.of(record));
            }
        }
        row.tags = self.tags.collect(record);
        if !self.maps.is_empty() || !unreadable.is_empty() {
            row.extras.extend(self.maps.iter().flat_map(|(_, cached)| cached.entries()));
            row.extras.extend(unreadable);
            extras::sort(&mut row.extras);
        }
        sink.write(&mut row)?;
        if let Some(unused) = unused {
            commitment::unused(&mut row, unused);
            sink.write(&mut row)?;
        }
        Ok(())
    }
}

const COST_CATEGORY: &str = "costCategory:";

/// Keys and places of columns that are a tag or cost category each, by key.
fn tag_columns(header: &Header) -> Vec<(String, usize)> {
    let mut columns = Vec::new();
    for (slot, name) in header.names.iter().enumerate() {
        let tag = name.strip_prefix("resourceTags/").or_else(|| name.strip_prefix("resource_tags_"));
        let category = name.strip_prefix("costCategory/").or_else(|| name.strip_prefix("cost_category_"));
        let key = tag.map(str::to_owned).or_else(|| Some(format!("{COST_CATEGORY}{}", category?)));
        columns.extend(key.map(|key| (key, slot)));
    }
    columns.sort();
    columns.dedup_by(|after, before| after.0 == before.0);
    columns
}

impl Tags {
    fn collect<'a>(&'a self, record: &Record<'a>) -> Entries<'a> {
        let mut tags = Entries::with_capacity(self.columns.len().min(64));
        let there = self.columns.iter().filter(|(_, slot)| !record.is_empty(*slot));
        tags.extend(there.map(|(key, slot)| (key.as_str(), record.get(*slot))));
        if !self.maps.is_empty() {
            tags.extend(self.maps.iter().flat_map(|(_, cached)| cached.entries()));
            extras::sort(&mut tags);
        }
        tags
    }
}

/// Name and type of a resource, from its ARN: `arn:aws:ec2:us-east-1:1:instance/i-1` is `i-1`, an `instance`.
fn resource(id: &str) -> (&str, &str) {
    if !id.starts_with("arn:") {
        return ("", "");
    }
    let colon = memchr::memchr_iter(b':', id.as_bytes()).nth(4);
    let Some(name) = colon.and_then(|at| id.get(at + 1..)) else { return ("", "") };
    let first = memchr::memchr2(b'/', b':', name.as_bytes());
    let last = memchr::memrchr2(b'/', b':', name.as_bytes()).map_or(0, |at| at + 1);
    (name.get(last..).unwrap_or_default(), first.and_then(|at| name.get(..at)).unwrap_or_default())
}

fn first(texts: [&str; 4]) -> &str {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}
