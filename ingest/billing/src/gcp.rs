//! Google Cloud's billing export to `BigQuery`, standard or detailed, as rows of CSV with flattened names, lines of JSON, or Parquet.
//!
//! Called by the reader for each record. Credits are within the line they are for: those that are discounts are taken off what is billed,
//! and the others, such as promotions, become rows of ours, so that the bill adds up and usage does not look free.
//!
//! Invariants: `x_DeliveredCost` is `cost`; what is billed is the cost and the credits, in each line. A month of invoices is one of Los
//! Angeles. Fees of commitments cost what is billed: which usage they cover is not in the line, so spreading them is not for here. What a
//! commitment's rows cost is its fee, and of lines it covers in part what it does not cover.
//! Spec: <https://cloud.google.com/billing/docs/how-to/export-data-bigquery-tables/detailed-usage>

#[cfg(test)]
mod tests;

use crate::{
    columns::{Amount, Quantity, Text, Time},
    detect::Format,
    error::Result,
    extras::{self, Extras},
    json::{self, Object},
    lookup,
    mapping::{self, Mapping, Taken},
    options::Options,
    record::{Column, Header, Record},
    row::{Adjustment, Fault, Row, sum},
    sink::Sink,
    time,
};

const GOOGLE: &str = "Google Cloud";
/// What Google calls a commitment.
const COMMITMENT: &str = "Committed Use Discount";
/// Credits of a line that become rows: real lines have less than ten.
const CREDITS_MAX: usize = 64;
/// Types of credits that make a price lower. Others, such as promotions, pay a part of it.
const DISCOUNTS: [&str; 7] = [
    "COMMITTED_USAGE_DISCOUNT",
    "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE",
    "SUSTAINED_USAGE_DISCOUNT",
    "DISCOUNT",
    "FREE_TIER",
    "SUBSCRIPTION_BENEFIT",
    "RESELLER_MARGIN",
];
/// Columns that are one of FOCUS as they are, by key; the first there is counts.
const TEXTS: [(Text, &[&str]); 13] = [
    (Text::BillingAccountId, &["billingaccountid"]),
    (Text::SubAccountId, &["projectid", "projectnumber"]),
    (Text::SubAccountName, &["projectname"]),
    (Text::ServiceName, &["servicedescription", "serviceid"]),
    (Text::ChargeDescription, &["skudescription"]),
    (Text::SkuId, &["skuid"]),
    (Text::RegionName, &["locationlocation"]),
    (Text::AvailabilityZone, &["locationzone"]),
    (Text::ResourceId, &["resourceglobalname"]),
    (Text::ResourceName, &["resourcename"]),
    (Text::PricingUnit, &["usagepricingunit"]),
    (Text::ConsumedUnit, &["usageunit"]),
    (Text::InvoiceIssuerName, &["sellername"]),
];

/// How records of one header become rows.
#[derive(Debug)]
pub(crate) struct Gcp {
    texts: Vec<(usize, Text)>,
    cost: Column,
    currency: Column,
    credits: Column,
    start: (Column, time::Cached),
    end: (Column, time::Cached),
    invoice_month: Column,
    cost_type: Column,
    subscription: Column,
    region: Column,
    amount: Column,
    pricing_amount: Column,
    list_cost: Column,
    contracted_cost: Column,
    list_price: Column,
    contracted_price: Column,
    category: lookup::Cached<&'static str>,
    tags: [(Column, json::Cached); 3],
    extras: Extras,
}

/// A credit within a line.
#[derive(Debug)]
struct Credit {
    name: String,
    id: String,
    kind: String,
    amount: i128,
}

impl Credit {
    fn is_discount(&self) -> bool {
        DISCOUNTS.contains(&self.kind.as_str())
    }

    fn is_commitment(&self) -> bool {
        self.kind.starts_with("COMMITTED_USAGE")
    }
}

impl Gcp {
    pub(crate) fn new(header: &Header, options: &Options) -> Result<Self> {
        let cost = mapping::needed(header, Format::Gcp, &["cost"], options)?;
        let currency = mapping::currency(header, &["currency"], options)?;
        let mut taken = Taken::of(header);
        taken.slots.extend(cost.slot.into_iter().chain(currency.slot));
        let labels = |column, prefix| (column, json::Cached::with_prefix(prefix));
        let mut gcp = Self {
            texts: TEXTS.iter().filter_map(|(text, keys)| Some((taken.take(keys).slot?, *text))).collect(),
            cost,
            currency,
            credits: header.column(&["credits"]),
            start: (taken.take(&["usagestarttime"]), time::Cached::default()),
            end: (taken.take(&["usageendtime"]), time::Cached::default()),
            invoice_month: header.column(&["invoicemonth"]),
            cost_type: header.column(&["costtype"]),
            subscription: taken.take(&["subscriptioninstanceid"]),
            region: taken.take(&["locationregion"]),
            amount: taken.take(&["usageamount"]),
            pricing_amount: taken.take(&["usageamountinpricingunits"]),
            list_cost: taken.take(&["costatlist"]),
            contracted_cost: taken.take(&["costateffectivepricedefault"]),
            list_price: taken.take(&["pricelistprice"]),
            contracted_price: taken.take(&["priceeffectiveprice"]),
            category: lookup::Cached::default(),
            tags: [
                labels(taken.take(&["labels"]), ""),
                labels(taken.take(&["projectlabels"]), "project:"),
                labels(taken.take(&["systemlabels"]), "system:"),
            ],
            extras: Extras::default(),
        };
        gcp.extras = Extras::new(header, &taken.slots, &[]);
        Ok(gcp)
    }

    fn describe<'a>(&mut self, record: &Record<'a>, row: &mut Row<'a>) -> Result<(), Fault> {
        for (slot, column) in &self.texts {
            row.set(*column, record.get(*slot));
        }
        row.currency = self.currency.of(record);
        row.set(Text::SubAccountType, "Project");
        let service = row.text(Text::ServiceName);
        row.set(Text::ServiceCategory, self.category.get(service, lookup::gcp_category));
        let region = self.region.of(record);
        row.set(Text::RegionId, if region.is_empty() { row.text(Text::RegionName) } else { region });
        row.set(Text::PublisherName, row.text(Text::InvoiceIssuerName));
        for column in [Text::InvoiceIssuerName, Text::PublisherName] {
            if row.text(column).is_empty() {
                row.set(column, GOOGLE);
            }
        }
        for column in [Text::ProviderName, Text::ServiceProviderName, Text::HostProviderName] {
            row.set(column, GOOGLE);
        }
        let [start, end] =
            [&mut self.start, &mut self.end].map(|(column, cached)| mapping::time(column, cached, column.of(record)));
        row.times[Time::ChargePeriodStart as usize] = start?;
        row.times[Time::ChargePeriodEnd as usize] = end?;
        let month = self.invoice_month.of(record);
        if !month.is_empty() {
            let bad = || Fault::new(self.invoice_month.name.clone(), "no month, such as 202611");
            let begin = time::pacific_month_start(month).ok_or_else(bad)?;
            row.time(Time::BillingPeriodStart, begin);
            row.time(Time::BillingPeriodEnd, time::pacific_month_after(month).ok_or_else(bad)?);
        }
        Ok(())
    }

    fn categorise(&self, record: &Record<'_>, row: &mut Row<'_>) {
        let sku = row.text(Text::ChargeDescription);
        // `Commitment v1: Cpu in Americas for 1 Year` is the fee of a commitment.
        let is_fee = sku.starts_with("Commitment");
        let (category, frequency) = match self.cost_type.of(record) {
            "tax" => ("Tax", "Usage-Based"),
            "adjustment" | "rounding_error" => ("Adjustment", "One-Time"),
            _ if is_fee => ("Purchase", "Recurring"),
            _ => ("Usage", "Usage-Based"),
        };
        row.set(Text::ChargeCategory, category);
        row.set(Text::ChargeFrequency, frequency);
        let is_dynamic = sku.contains("Spot") || sku.contains("Preemptible");
        row.set(
            Text::PricingCategory,
            match category {
                "Tax" => "",
                _ if is_dynamic => "Dynamic",
                _ => "Standard",
            },
        );
        let month = |time: Time| row.times[time as usize].and_then(time::month);
        if category == "Adjustment" && month(Time::ChargePeriodStart) < month(Time::BillingPeriodStart) {
            row.set(Text::ChargeClass, "Correction");
        }
        if category != "Usage" {
            row.set(Text::ConsumedUnit, "");
        }
    }

    fn costs(&self, record: &Record<'_>, credits: &[Credit], row: &mut Row<'_>) -> Result<(), Fault> {
        let cost = row.delivered(self.cost.of(record), &self.cost.name)?;
        let discounts = credits.iter().filter(|credit| credit.is_discount()).map(|credit| Some(credit.amount));
        row.credits = sum(discounts, &self.credits.name)?;
        let billed = sum([Some(cost), Some(row.credits)], &self.credits.name)?;
        let list = row.money(self.list_cost.of(record), &self.list_cost.name)?;
        let contracted = row.money(self.contracted_cost.of(record), &self.contracted_cost.name)?;
        row.costs(billed, billed, list.unwrap_or(cost), contracted.unwrap_or(cost));
        if row.credits != 0 {
            row.adjust(Adjustment::DiscountApplied, row.credits);
        }
        for (column, amount) in
            [(&self.list_price, Amount::ListUnitPrice), (&self.contracted_price, Amount::ContractedUnitPrice)]
        {
            row.amounts[amount as usize] = row.money(column.of(record), &column.name)?;
        }
        let quantity = row.count(self.pricing_amount.of(record), &self.pricing_amount.name)?;
        row.quantity(Quantity::PricingQuantity, quantity);
        if row.text(Text::ChargeCategory) == "Usage" {
            let amount = row.count(self.amount.of(record), &self.amount.name)?;
            row.quantity(Quantity::ConsumedQuantity, amount);
        }
        Ok(())
    }

    /// Names the commitment by its subscription, which its fee and the usage it covers have in common; without, a credit's id has to do.
    fn subscribe<'a>(&self, record: &Record<'a>, row: &mut Row<'a>) {
        let id = self.subscription.of(record);
        if id.is_empty() || row.text(Text::ChargeCategory) == "Tax" {
            return;
        }
        row.set(Text::CommitmentDiscountId, id);
        row.set(Text::CommitmentDiscountType, COMMITMENT);
        if row.text(Text::CommitmentDiscountCategory).is_empty() {
            let is_spend = row.text(Text::ChargeDescription).to_ascii_lowercase().contains("dollar based");
            row.set(Text::CommitmentDiscountCategory, if is_spend { "Spend" } else { "Usage" });
        }
    }

    fn credits(&self, record: &Record<'_>) -> Result<Vec<Credit>, Fault> {
        let text = self.credits.of(record);
        if matches!(text, "" | "[]") {
            return Ok(Vec::new());
        }
        let bad = |reason: &'static str| Fault::new(self.credits.name.clone(), reason);
        let json = json::from_python(text);
        let credits = json::array(&json).ok_or_else(|| bad("no list of credits"))?;
        let credit = |value: &serde_json::value::RawValue| {
            let Object(members) = json::object(value.get()).ok_or_else(|| bad("no list of credits"))?;
            let of = |name: &str| {
                let member = members.iter().find(|(key, _)| key == name);
                member.map(|(_, value)| json::plain_or_null(value).into_owned()).unwrap_or_default()
            };
            let amount = Row::new()
                .money(&of("amount"), &self.credits.name)?
                .ok_or_else(|| bad("a credit without an amount"))?;
            let name = Some(of("full_name")).filter(|name| !name.is_empty()).unwrap_or_else(|| of("name"));
            Ok(Credit { name, id: of("id"), kind: of("type"), amount })
        };
        if credits.len() > CREDITS_MAX {
            return Err(bad("more than 64 credits"));
        }
        credits.into_iter().map(credit).collect()
    }
}

impl Mapping for Gcp {
    fn map(&mut self, record: &Record<'_>, sink: &mut Sink) -> Result<(), Fault> {
        let credits = self.credits(record)?;
        let mut row = Row::new();
        self.describe(record, &mut row)?;
        self.categorise(record, &mut row);
        self.costs(record, &credits, &mut row)?;
        if let Some(commitment) = credits.iter().find(|credit| credit.is_commitment()) {
            row.set(Text::PricingCategory, "Committed");
            commit(commitment, &mut row);
        }
        self.subscribe(record, &mut row);
        self.extras.read(record, |text| matches!(text, "" | "[]"));
        row.kept = Some(&self.extras);
        for ((column, cached), bad) in self.tags.iter_mut().zip(["x_labels", "x_project_labels", "x_system_labels"]) {
            let text = column.of(record);
            if cached.read(text).is_err() {
                extras::insert(&mut row.extras, bad, text);
                sink.tally.find(mapping::TAGS_UNREADABLE, || text.to_owned());
            }
        }
        row.tags = self.tags.iter().flat_map(|(_, cached)| cached.entries()).collect();
        extras::sort(&mut row.tags);
        sink.write(&mut row)?;
        for credit in credits.iter().filter(|credit| !credit.is_discount()) {
            credit_row(credit, &mut row);
            sink.write(&mut row)?;
        }
        Ok(())
    }
}

fn commit<'a>(credit: &'a Credit, row: &mut Row<'a>) {
    let is_spend = credit.kind.ends_with("DOLLAR_BASE");
    row.set(Text::CommitmentDiscountId, &credit.id);
    row.set(Text::CommitmentDiscountName, &credit.name);
    row.set(Text::CommitmentDiscountCategory, if is_spend { "Spend" } else { "Usage" });
    row.set(Text::CommitmentDiscountType, COMMITMENT);
    row.set(Text::CommitmentDiscountStatus, "Used");
}

/// Makes the row of a line that of a credit in it.
fn credit_row<'a>(credit: &'a Credit, row: &mut Row<'a>) {
    row.derive(Adjustment::CreditOfLine, credit.amount);
    row.credits = credit.amount;
    row.costs(credit.amount, credit.amount, credit.amount, credit.amount);
    row.set(Text::ChargeCategory, "Credit");
    row.set(Text::ChargeDescription, &credit.name);
    row.set(Text::ChargeFrequency, "One-Time");
    for column in [
        Text::PricingCategory,
        Text::PricingUnit,
        Text::ConsumedUnit,
        Text::CommitmentDiscountId,
        Text::CommitmentDiscountName,
        Text::CommitmentDiscountCategory,
        Text::CommitmentDiscountType,
        Text::CommitmentDiscountStatus,
    ] {
        row.set(column, "");
    }
    row.amounts[Amount::ListUnitPrice as usize] = None;
    row.amounts[Amount::ContractedUnitPrice as usize] = None;
    row.quantities = Default::default();
    // They are those of the line, which has a row.
    row.kept = None;
    row.extras.clear();
}
