//! Measures how fast a bill is read: `decode generate 1000000 > cur.csv`, then `decode cur.csv` (or the same compressed).
//!
//! The bill is like a cost and usage report of 100 columns: most of them empty, hourly usage of some thousand resources, costs with up to
//! twelve decimals or an exponent, tags on half of the lines, and lines of savings plans among them.
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
    const SERVICES: [(&str, &str, &str); 5] = [
        ("AmazonEC2", "Amazon Elastic Compute Cloud", "BoxUsage:m5.large"),
        ("AmazonS3", "Amazon Simple Storage Service", "Requests-Tier1"),
        ("AmazonRDS", "Amazon Relational Database Service", "InstanceUsage:db.r5.large"),
        ("AWSLambda", "AWS Lambda", "Lambda-GB-Second"),
        ("AmazonCloudWatch", "AmazonCloudWatch", "CW:MetricMonitorUsage"),
    ];
    // Lines come by account and service, as AWS writes them, and hours within.
    let block = row / 64;
    let (code, name, usage) = SERVICES[usize::try_from(block % 5)?];
    let account = 100_000_000_000 + block * 7 % 40;
    let hour = row * 720 / rows.max(1);
    let (day, hour) = (hour / 24 + 1, hour % 24);
    let (end_day, end_hour) = if hour == 23 { (day + 1, 0) } else { (day, hour + 1) };
    let is_covered = code == "AmazonEC2" && dice.roll(10) == 0;
    let resource = dice.roll(4_000);
    let cost = if dice.roll(3) == 0 {
        format!("{}.{}E-{}", dice.roll(9) + 1, dice.roll(100), dice.roll(4) + 5)
    } else {
        format!("0.{:012}", dice.roll(900_000_000))
    };
    write!(
        out,
        "{:024x}{:028x},2026-10-{day:02}T{hour:02}:00:00Z/2026-10-{end_day:02}T{end_hour:02}:00:00Z,,\"Amazon Web Services, Inc.\",AWS,\
         Anniversary,999999999999,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,{account},{},2026-10-{day:02}T{hour:02}:00:00Z,\
         2026-10-{end_day:02}T{end_hour:02}:00:00Z,{code},USE1-{usage},RunInstances,us-east-1a,arn:aws:ec2:us-east-1:{account}:instance/i-{resource:017x},\
         {}.{},,,USD,0.0960000000,{cost},0.0960000000,{cost},\"$0.096 per unit of {usage}, US East\",,\"Amazon Web Services, Inc.\",{name},\
         m5.large,General purpose,US East (N. Virginia),AWS Region,Linux,us-east-1,us-east-1,{code},{name},SKU{:012},Shared,\
         USE1-{usage},2,,SKU.JRTCKXETXF.6YS6EN2CT7,{},USD,{cost},0.0960000000,OnDemand,Hrs,,,",
        dice.roll(u64::MAX >> 34),
        row,
        if is_covered { "SavingsPlanCoveredUsage" } else { "Usage" },
        dice.roll(24),
        dice.roll(1_000_000_000),
        block % 300,
        block % 1_000,
    )?;
    if is_covered {
        write!(out, "arn:aws:savingsplans::999999999999:savingsplan/0001,0.0{},,", dice.roll(1_000_000))?;
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
