//! Azure's cost details, of enterprise, customer and pay-as-you-go agreements, old and new, with headers in any language.
//!
//! Called by the reader for each record. Azure tells costs in two parts, actual and amortized: what a commitment covers costs nothing in
//! one, and its purchase is not in the other. Together they are rows that are billed and rows that cost; alone each says half.
//!
//! Invariants: `x_DeliveredCost` is the cost of the line in the currency of the bill. Prices are of a block of units, as `100 Hours`, and
//! quantities of single ones: a quantity in blocks, times the price, is a cost. Ids of commitments are in lower case, since Azure writes them
//! in one way where they are bought and in another where they are used. Prices in another currency than the bill's are kept as such, too.
//! Spec: <https://learn.microsoft.com/azure/cost-management-billing/automate/understand-usage-details-fields>

mod prices;
#[cfg(test)]
mod tests;

use self::prices::Prices;
use crate::{
    columns::{Amount, Text, Time},
    detect::Format,
    error::Result,
    extras::{self, Extras},
    json, lookup,
    mapping::{self, Mapping, Taken},
    options::{AzurePart, Options},
    record::{Column, Header, Record},
    row::{Adjustment, Fault, Row},
    sink::Sink,
    time,
};

const MICROSOFT: &str = "Microsoft";
/// Code of the finding that covered usage has no effective cost, since the amortized part is not here.
const WITHOUT_AMORTIZED: &str = "azure-actual-without-amortized";
/// Code of rows that are left out, since the amortized part has them.
const IN_AMORTIZED: &str = "azure-in-amortized-part";
/// Columns that are one of FOCUS as they are, by key; the first there is counts.
const TEXTS: [(Text, &[&str]); 15] = [
    (Text::BillingAccountName, &["billingaccountname"]),
    (Text::SubAccountId, &["subscriptionid", "subscriptionguid"]),
    (Text::SubAccountName, &["subscriptionname"]),
    (Text::InvoiceId, &["invoiceid"]),
    (Text::InvoiceIssuerName, &["partnername"]),
    (Text::PublisherName, &["publishername"]),
    (Text::ChargeDescription, &["productname", "product"]),
    (Text::AvailabilityZone, &["availabilityzone"]),
    (Text::ResourceId, &["resourceid", "instanceid", "instancename"]),
    (Text::ResourceName, &["resourcename"]),
    (Text::ResourceType, &["resourcetype"]),
    (Text::SkuId, &["productid", "meterid"]),
    (Text::SkuMeter, &["metername"]),
    (Text::PricingCurrency, &["pricingcurrency"]),
    (Text::CommitmentDiscountName, &["benefitname", "reservationname"]),
];

/// Columns that mostly repeat another.
const REPEATS: [(&str, &str); 11] = [
    ("billingprofileid", "billingaccountid"),
    ("billingprofilename", "billingaccountname"),
    ("serviceperiodstartdate", "billingperiodstartdate"),
    ("serviceperiodenddate", "billingperiodenddate"),
    ("subscriptionguid", "subscriptionid"),
    ("location", "resourcelocation"),
    ("reservationid", "benefitid"),
    ("reservationname", "benefitname"),
    ("effectiveprice", "unitprice"),
    ("costinpricingcurrency", "costinbillingcurrency"),
    ("costinusd", "costinpricingcurrency"),
];

/// How records of one header become rows.
#[derive(Debug)]
pub(crate) struct Azure {
    part: AzurePart,
    texts: Vec<(usize, Text)>,
    cost: Column,
    currency: Column,
    account: Column,
    date: (Column, time::Cached),
    period: [(Column, time::Cached); 2],
    charge_type: Column,
    frequency: Column,
    pricing_model: Column,
    prices: Prices,
    benefit: Column,
    reservation: Column,
    commitment: lookup::Lowered,
    consumed_service: Column,
    meter_category: Column,
    service: lookup::Cached<lookup::AzureService>,
    location: Column,
    region: lookup::Cached<Option<(&'static str, &'static str)>>,
    tags: (Column, json::Cached),
    extras: Extras,
}

impl Azure {
    pub(crate) fn new(header: &Header, options: &Options) -> Result<Self> {
        let mut taken = Taken::of(header);
        let texts = TEXTS.iter().filter_map(|(text, keys)| Some((taken.take(keys).slot?, *text))).collect();
        // Of a customer agreement the profile is what is invoiced, of others the account.
        let has_profile = header.find("exchangeratepricingtobilling").is_some();
        let account =
            taken.take(if has_profile { &["billingprofileid", "billingaccountid"] } else { &["billingaccountid"] });
        let cost = mapping::needed(header, Format::Azure, &["costinbillingcurrency", "pretaxcost", "cost"], options)?;
        let currency = mapping::currency(header, &["billingcurrencycode", "billingcurrency", "currency"], options)?;
        taken.slots.extend(cost.slot.into_iter().chain(currency.slot));
        let mut azure = Self {
            part: options.azure,
            texts,
            cost,
            currency,
            account,
            date: (taken.take(&["date", "usagedatetime", "usagedate"]), time::Cached::default()),
            period: [taken.take(&["billingperiodstartdate"]), taken.take(&["billingperiodenddate"])]
                .map(|c| (c, time::Cached::default())),
            charge_type: header.column(&["chargetype"]),
            frequency: taken.take(&["frequency"]),
            pricing_model: header.column(&["pricingmodel"]),
            prices: Prices::new(&mut taken, header),
            // Where both are, the other stays among the columns without a place.
            benefit: taken.take(&["benefitid", "reservationid"]),
            reservation: header.column(&["reservationid"]),
            commitment: lookup::Lowered::default(),
            consumed_service: header.column(&["consumedservice"]),
            meter_category: header.column(&["metercategory"]),
            service: lookup::Cached::default(),
            location: header.column(&["resourcelocation"]),
            region: lookup::Cached::default(),
            tags: (taken.take(&["tags"]), json::Cached::default()),
            extras: Extras::default(),
        };
        azure.extras = Extras::new(header, &taken.slots, &REPEATS);
        Ok(azure)
    }

    fn periods(&mut self, record: &Record<'_>, row: &mut Row<'_>) -> Result<(), Fault> {
        let (column, cached) = &mut self.date;
        if let Some(day) = mapping::time(column, cached, column.of(record))? {
            row.time(Time::ChargePeriodStart, day);
            row.time(Time::ChargePeriodEnd, time::next_day(day));
        }
        let [start, end] = &mut self.period;
        row.times[Time::BillingPeriodStart as usize] = mapping::time(&start.0, &mut start.1, start.0.of(record))?;
        // Azure states the last day of a period, FOCUS the first one after it.
        let last = mapping::time(&end.0, &mut end.1, end.0.of(record))?;
        row.times[Time::BillingPeriodEnd as usize] = last.and_then(time::after_last_day);
        Ok(())
    }

    fn describe<'a>(&mut self, record: &Record<'a>, row: &mut Row<'a>) {
        for (slot, column) in &self.texts {
            row.set(*column, record.get(*slot));
        }
        row.set(Text::CommitmentDiscountId, self.benefit.of(record));
        default(row, Text::CommitmentDiscountId, self.reservation.of(record));
        row.set(Text::BillingAccountId, self.account.of(record));
        row.set(Text::SubAccountType, "Subscription");
        let (kind, name) = resource(row.text(Text::ResourceId));
        default(row, Text::ResourceName, name);
        default(row, Text::ResourceType, kind);
        default(row, Text::InvoiceIssuerName, MICROSOFT);
        default(row, Text::PublisherName, MICROSOFT);
        default(row, Text::ChargeDescription, row.text(Text::SkuMeter));
        for column in [Text::ProviderName, Text::ServiceProviderName, Text::HostProviderName] {
            row.set(column, MICROSOFT);
        }
        let consumed = self.consumed_service.of(record);
        let service = self.service.get(&format!("{consumed},{}", row.text(Text::ResourceType)), lookup::azure_service);
        row.set(Text::ServiceName, service.name);
        default(row, Text::ServiceName, self.meter_category.of(record));
        default(row, Text::ServiceName, consumed);
        row.set(Text::ServiceCategory, service.category);
        row.set(Text::ServiceSubcategory, service.subcategory);
        let location = self.location.of(record);
        let (id, name) = self.region.get(location, lookup::azure_region).unwrap_or((location, location));
        row.set(Text::RegionId, id);
        row.set(Text::RegionName, name);
        row.currency = self.currency.of(record);
    }

    fn categorise(&self, record: &Record<'_>, row: &mut Row<'_>) -> Charge {
        let charge_type = self.charge_type.of(record);
        let model = self.pricing_model.of(record);
        let benefit = row.text(Text::CommitmentDiscountId);
        let is_commitment = matches!(model, "Reservation" | "SavingsPlan") || (model.is_empty() && !benefit.is_empty());
        let is_unused = matches!(charge_type, "UnusedReservation" | "UnusedSavingsPlan");
        let category = match charge_type {
            "" | "Usage" | "UnusedReservation" | "UnusedSavingsPlan" => "Usage",
            "Purchase" | "Refund" => "Purchase",
            "Tax" => "Tax",
            "Credit" => "Credit",
            _ => "Adjustment",
        };
        row.set(Text::ChargeCategory, category);
        row.set(Text::ChargeClass, if charge_type == "Refund" { "Correction" } else { "" });
        row.set(
            Text::ChargeFrequency,
            match self.frequency.of(record) {
                "OneTime" => "One-Time",
                "Recurring" => "Recurring",
                _ => "Usage-Based",
            },
        );
        row.set(
            Text::PricingCategory,
            match model {
                _ if category == "Tax" => "",
                _ if is_commitment && category == "Usage" => "Committed",
                "Spot" => "Dynamic",
                _ => "Standard",
            },
        );
        if is_commitment || is_unused {
            let is_plan =
                model == "SavingsPlan" || benefit.to_ascii_lowercase().contains("/microsoft.billingbenefits/");
            row.set(Text::CommitmentDiscountCategory, if is_plan { "Spend" } else { "Usage" });
            row.set(Text::CommitmentDiscountType, if is_plan { "Savings Plan" } else { "Reservation" });
            if category == "Usage" {
                row.set(Text::CommitmentDiscountStatus, if is_unused { "Unused" } else { "Used" });
            }
        }
        match category {
            "Usage" if is_unused => Charge::Unused,
            "Usage" if is_commitment => Charge::Covered,
            "Purchase" if is_commitment => Charge::Purchase,
            _ => Charge::Plain,
        }
    }
}

/// What a line is about, as far as its costs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charge {
    Plain,
    /// Usage that a commitment covers.
    Covered,
    /// What nothing used of a commitment.
    Unused,
    /// Purchase or refund of a commitment.
    Purchase,
}

/// Fills what is billed and what it costs. Tells whether the row is one of this part.
fn charge(charge: Charge, cost: i128, part: AzurePart, row: &mut Row<'_>) -> bool {
    let (billed, effective, code) = match (charge, part) {
        (Charge::Purchase, AzurePart::Actual) => (cost, None, Some(Adjustment::AzureEffectiveUnknown)),
        (Charge::Purchase, _) => (cost, Some(0), Some(Adjustment::AzurePurchase)),
        (_, AzurePart::ActualBesideAmortized) => return false,
        (Charge::Plain, _) => (cost, Some(cost), None),
        (Charge::Unused, _) => (0, Some(cost), Some(Adjustment::AzureUnused)),
        (Charge::Covered, AzurePart::Amortized) => (0, Some(cost), Some(Adjustment::AzureCovered)),
        // Only amortized costs have a cost for covered usage.
        (Charge::Covered, AzurePart::Unknown) if cost != 0 => (0, Some(cost), Some(Adjustment::AzureCovered)),
        (Charge::Covered, _) => (cost, None, Some(Adjustment::AzureEffectiveUnknown)),
    };
    row.amount(Amount::BilledCost, billed);
    row.amounts[Amount::EffectiveCost as usize] = effective;
    if let Some(code) = code {
        let by = match code {
            Adjustment::AzurePurchase => -cost,
            Adjustment::AzureEffectiveUnknown => billed,
            _ => billed.saturating_sub(cost),
        };
        row.adjust(code, by);
    }
    true
}

impl Mapping for Azure {
    fn map(&mut self, record: &Record<'_>, sink: &mut Sink) -> Result<(), Fault> {
        let mut row = Row::new();
        let cost = row.delivered(self.cost.of(record), &self.cost.name)?;
        self.periods(record, &mut row)?;
        self.describe(record, &mut row);
        let kind = self.categorise(record, &mut row);
        self.prices.fill(record, &mut row)?;
        if !charge(kind, cost, self.part, &mut row) {
            sink.leave_out(IN_AMORTIZED, &row);
            return Ok(());
        }
        if row.adjustments.iter().any(|(code, _)| *code == Adjustment::AzureEffectiveUnknown) {
            sink.tally.find(WITHOUT_AMORTIZED, || row.text(Text::CommitmentDiscountId).to_owned());
        }
        self.prices.complete(kind, record, &mut row, sink)?;
        row.set(Text::CommitmentDiscountId, self.commitment.get(row.text(Text::CommitmentDiscountId)));
        self.extras.read(record, str::is_empty);
        row.kept = Some(&self.extras);
        let (column, cached) = &mut self.tags;
        let text = column.of(record);
        if cached.read(text).is_err() {
            extras::insert(&mut row.extras, "x_Tags", text);
            sink.tally.find(mapping::TAGS_UNREADABLE, || text.to_owned());
        }
        row.tags = cached.entries().collect();
        sink.write(&mut row)
    }
}

fn default<'a>(row: &mut Row<'a>, column: Text, text: &'a str) {
    if row.text(column).is_empty() {
        row.set(column, text);
    }
}

/// Type and name of a resource, from its path: `…/providers/Microsoft.Compute/disks/data` is `data`, of `Microsoft.Compute/disks`.
fn resource(id: &str) -> (&str, &str) {
    const PROVIDERS: &str = "/providers/";
    let Some(at) = id.rfind(PROVIDERS) else { return ("", "") };
    let rest = id.get(at + PROVIDERS.len()..).unwrap_or_default();
    let end = rest.match_indices('/').nth(1).map_or(rest.len(), |(at, _)| at);
    (rest.get(..end).unwrap_or_default(), rest.rsplit('/').next().unwrap_or_default())
}
