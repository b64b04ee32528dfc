//! Measures how fast a bill is read: `decode generate 1000000 > cur.csv`, then `decode cur.csv` (or the same compressed).
//!
//! The bill is like a cost and usage report of 100 columns: most of them empty, hourly usage of some thousand resources, costs with up to
//! ten decimals or an exponent, tags on half of the lines, and lines of savings plans among them. As in real reports (of 1,281 lines of one,
//! 86 % have a cost that another has too), hours that are used whole cost the same, and every line has an id that is like no other.
#![allow(clippy::disallowed_methods, reason = "this is a measurement")]

use std::{
    fs::File,
    io::{BufWriter, Write},
    time::Instant,
};

use billing::{Options, Reader};

/// The allocator of the product, which keeps the memory of a batch for the next one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

const HEAD: &str = "identity/LineItemId,identity/TimeInterval,bill/InvoiceId,bill/InvoicingEntity,bill/BillingEntity,bill/BillType,\
bill/PayerAccountId,bill/BillingPeriodStartDate,bill/BillingPeriodEndDate,lineItem/UsageAccountId,lineItem/LineItemType,\
lineItem/UsageStartDate,lineItem/UsageEndDate,lineItem/ProductCode,lineItem/UsageType,lineItem/Operation,lineItem/AvailabilityZone,\
lineItem/ResourceId,lineItem/UsageAmount,lineItem/NormalizationFactor,lineItem/NormalizedUsageAmount,lineItem/CurrencyCode,\
lineItem/UnblendedRate,lineItem/UnblendedCost,lineItem/BlendedRate,lineItem/BlendedCost,lineItem/LineItemDescription,lineItem/TaxType,\
lineItem/LegalEntity,product/ProductName,product/instanceType,product/instanceFamily,product/location,product/locationType,\
product/operatingSystem,product/region,product/regionCode,product/servicecode,product/servicename,product/sku,product/tenancy,\
product/usagetype,product/vcpu,pricing/LeaseContractLength,pricing/RateCode,pricing/RateId,pricing/currency,\
pricing/publicOnDemandCost,pricing/publicOnDemandRate,pricing/term,pricing/unit,reservation/EffectiveCost,reservation/ReservationARN,\
savingsPlan/SavingsPlanARN,savingsPlan/SavingsPlanEffectiveCost,savingsPlan/TotalCommitmentToDate,savingsPlan/UsedCommitment";
/// Columns in all.
const COLUMNS: usize = 100;
/// Tags among them.
const TAGS: usize = 6;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["generate", rows] => generate(rows.parse()?),
        [path] => decode(path),
        _ => Err("usage: decode generate ROWS | decode FILE".into()),
    }
}

fn decode(path: &str) -> Result<(), Failure> {
    let bytes = std::fs::metadata(path)?.len();
    let options = Options { scope: "aws-main/2026-10".to_owned(), file: path.to_owned(), ..Options::default() };
    let start = Instant::now();
    let mut reader = Reader::open(File::open(path)?, options)?;
    let (mut rows, mut memory, mut batches) = (0, 0, 0);
    while let Some(batch) = reader.next_batch()? {
        rows += batch.num_rows();
        memory += batch.get_array_memory_size();
        batches += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    let report = reader.report();
    println!(
        "{} {rows} rows, {} rejects, {bytes} bytes in {seconds:.3} s: {:.3} M rows/s, {:.0} MB/s; {batches} batches of {} bytes",
        reader.delivery().format,
        report.rows_rejected,
        rows as f64 / seconds / 1e6,
        bytes as f64 / seconds / 1e6,
        memory / batches.max(1)
    );
    for ((currency, category), totals) in &report.totals {
        println!("{category}: {} rows, {} {currency} delivered", totals.rows, totals.delivered_text());
    }
    if let Some(reject) = report.rejects.first() {
        println!("first reject: line {} {:?} {}", reject.line, reject.column, reject.reason);
    }
    Ok(())
}

/// One, in the units of amounts.
const ONE: u64 = 10_000_000_000;

/// As AWS writes it: small ones with an exponent.
fn amount(units: u64) -> String {
    let (whole, part) = (units / ONE, units % ONE);
    if units == 0 || units >= ONE / 1_000 {
        let text = format!("{whole}.{part:010}");
        let kept = text.trim_end_matches('0');
        return if kept.ends_with('.') { format!("{kept}0") } else { kept.to_owned() };
    }
    let digits = units.to_string();
    let (first, rest) = digits.split_at(1);
    let rest = Some(rest.trim_end_matches('0')).filter(|rest| !rest.is_empty()).unwrap_or("0");
    format!("{first}.{rest}E-{}", 11 - digits.len())
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn generate(rows: u64) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let given = HEAD.split(',').count();
    write!(out, "{HEAD}")?;
    for i in 0..COLUMNS - given - TAGS {
        write!(out, ",product/attribute{i}")?;
    }
    for i in 0..TAGS {
        write!(out, ",resourceTags/user:tag{i}")?;
    }
    writeln!(out)?;
    let mut dice = Dice(7);
    for row in 0..rows {
        line(&mut out, row, rows, &mut dice)?;
    }
    Ok(out.flush()?)
}

fn line(out: &mut impl Write, row: u64, rows: u64, dice: &mut Dice) -> Result<(), Failure> {
    /// Code, name, kind of usage, and price in units of 10⁻¹⁰.
    const SERVICES: [(&str, &str, &str, u64); 5] = [
        ("AmazonEC2", "Amazon Elastic Compute Cloud", "BoxUsage:m5.large", 960_000_000),
        ("AmazonS3", "Amazon Simple Storage Service", "Requests-Tier1", 50_000),
        ("AmazonRDS", "Amazon Relational Database Service", "InstanceUsage:db.r5.large", 2_500_000_000),
        ("AWSLambda", "AWS Lambda", "Lambda-GB-Second", 166_667),
        ("AmazonCloudWatch", "AmazonCloudWatch", "CW:MetricMonitorUsage", 3_000_000_000),
    ];
    const LETTERS: [u8; 32] = *b"abcdefghijklmnopqrstuvwxyz234567";
    // Lines come by account and service, as AWS writes them, and hours within.
    let block = row / 64;
    let (code, name, usage, price) = SERVICES[usize::try_from(block % 5)?];
    let account = 100_000_000_000 + block * 7 % 40;
    let hour = row * 720 / rows.max(1);
    let (day, hour) = (hour / 24 + 1, hour % 24);
    let (end_day, end_hour) = if hour == 23 { (day + 1, 0) } else { (day, hour + 1) };
    let is_covered = code == "AmazonEC2" && dice.roll(10) == 0;
    let resource = dice.roll(4_000);
    // Hours used whole or in part, numbers of requests, what took how long, shares of a month.
    let used = match code {
        "AmazonS3" => (dice.roll(50) + 1) * ONE,
        "AWSLambda" => dice.roll(50_000_000) * 1_000,
        "AmazonCloudWatch" => (dice.roll(8) + 1) * 13_440_860,
        _ if dice.roll(20) == 0 => dice.roll(3_600) * ONE / 3_600,
        _ => ONE,
    };
    let cost = amount(u64::try_from(u128::from(used) * u128::from(price) / u128::from(ONE))?);
    let (used, price) = (amount(used), amount(price));
    let id: String = (0..52).map(|_| char::from(LETTERS[usize::try_from(dice.roll(32)).unwrap_or_default()])).collect();
    write!(
        out,
        "{id},2026-10-{day:02}T{hour:02}:00:00Z/2026-10-{end_day:02}T{end_hour:02}:00:00Z,,\"Amazon Web Services, Inc.\",AWS,\
         Anniversary,999999999999,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,{account},{},2026-10-{day:02}T{hour:02}:00:00Z,\
         2026-10-{end_day:02}T{end_hour:02}:00:00Z,{code},USE1-{usage},RunInstances,us-east-1a,arn:aws:ec2:us-east-1:{account}:instance/i-{resource:017x},\
         {used},,,USD,{price},{cost},{price},{cost},\"${price} per unit of {usage}, US East\",,\"Amazon Web Services, Inc.\",{name},\
         m5.large,General purpose,US East (N. Virginia),AWS Region,Linux,us-east-1,us-east-1,{code},{name},SKU{:012},Shared,\
         USE1-{usage},2,,SKU.JRTCKXETXF.6YS6EN2CT7,{},USD,{cost},{price},OnDemand,Hrs,,,",
        if is_covered { "SavingsPlanCoveredUsage" } else { "Usage" },
        block % 300,
        block % 1_000,
    )?;
    if is_covered {
        write!(out, "arn:aws:savingsplans::999999999999:savingsplan/0001,0.0{},,", dice.roll(40))?;
    } else {
        write!(out, ",,,")?;
    }
    for _ in 0..COLUMNS - HEAD.split(',').count() - TAGS {
        write!(out, ",")?;
    }
    for i in 0..TAGS {
        if dice.roll(2) == 0 {
            write!(out, ",value-{i}-{}", dice.roll(20))?;
        } else {
            write!(out, ",")?;
        }
    }
    writeln!(out)?;
    Ok(())
}
