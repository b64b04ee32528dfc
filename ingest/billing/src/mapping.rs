//! What the mappings of all providers share: how one is chosen, and how needed columns are found.
//!
//! A mapping is made for a header and turns each of its records into a row, sometimes two, or says why it cannot.

use hashbrown::HashSet;

use crate::{
    aws::Aws,
    azure::Azure,
    columns::Time,
    detect::Format,
    error::{Error, Result},
    extras,
    focus::Focus,
    gcp::Gcp,
    manual::Manual,
    oci::Oci,
    options::Options,
    record::{Column, Header, Record},
    row::{Fault, Row},
    sink::Sink,
    time,
};

/// Code of the finding that tags could not be read and are kept as they are, in `x_Columns`.
pub(crate) const TAGS_UNREADABLE: &str = "tags-unreadable";

/// Code of the finding that the end of a period could not be read and is kept as it is, in `x_Columns`.
const TIME_UNREADABLE: &str = "period-end-unreadable";

/// Columns of a header that there is a place for; the others go into `x_Columns`.
pub(crate) struct Taken<'a> {
    header: &'a Header,
    pub slots: HashSet<usize>,
}

impl<'a> Taken<'a> {
    pub(crate) fn of(header: &'a Header) -> Self {
        Self { header, slots: HashSet::new() }
    }

    /// The first column there is of these keys, which is taken.
    pub(crate) fn take(&mut self, keys: &[&str]) -> Column {
        let column = self.header.column(keys);
        self.slots.extend(column.slot);
        column
    }
}

/// How records of one header become rows.
pub(crate) trait Mapping {
    /// Writes the rows of a record; either all of them, or none and what is wrong.
    fn map(&mut self, record: &Record<'_>, sink: &mut Sink) -> Result<(), Fault>;
}

/// The mapping of a format.
pub(crate) fn of(format: Format, header: &Header, options: &Options) -> Result<Box<dyn Mapping + Send>> {
    Ok(match format {
        Format::Focus => Box::new(Focus::new(header, options)?),
        Format::Aws => Box::new(Aws::new(header, options)?),
        Format::Azure => Box::new(Azure::new(header, options)?),
        Format::Gcp => Box::new(Gcp::new(header, options)?),
        Format::Oci => Box::new(Oci::new(header, options)?),
        Format::Manual => Box::new(Manual::new(header, options)?),
    })
}

/// A column that no row can do without.
pub(crate) fn needed(header: &Header, format: Format, keys: &[&str], options: &Options) -> Result<Column> {
    let column = header.column(keys);
    match column.slot {
        Some(_) => Ok(column),
        None => Err(Error::invalid(format!(
            "{} is no {format} export: it has no column {}",
            options.file,
            keys.first().unwrap_or(&"")
        ))),
    }
}

/// The column of the currency, without which amounts mean nothing, unless it is assumed.
pub(crate) fn currency(header: &Header, keys: &[&str], options: &Options) -> Result<Column> {
    let column = header.column(keys);
    if column.slot.is_none() && !options.assume.contains_key("BillingCurrency") {
        return Err(Error::invalid(format!(
            "{} has no column for the currency: say it with --assume BillingCurrency=USD",
            options.file
        )));
    }
    Ok(column)
}

/// Columns of times, with what was read last of each.
pub(crate) type Times = (Column, Time, time::Cached);

/// Reads times into a row. Without the begin of a period a row is none; an end that cannot be read is kept as it is, in `x_Columns`.
pub(crate) fn times<'a>(
    times: &mut [Times],
    record: &Record<'a>,
    row: &mut Row<'a>,
    sink: &mut Sink,
) -> Result<(), Fault> {
    for (column, time, cached) in times {
        let text = or_null(column.of(record));
        let kept = match time {
            Time::BillingPeriodStart | Time::ChargePeriodStart => None,
            Time::BillingPeriodEnd => Some("x_BillingPeriodEnd"),
            Time::ChargePeriodEnd => Some("x_ChargePeriodEnd"),
        };
        row.times[*time as usize] = match (self::time(column, cached, text), kept) {
            (Ok(us), _) => us,
            (Err(fault), None) => return Err(fault),
            (Err(_), Some(name)) => {
                extras::insert(&mut row.extras, name, text);
                sink.tally.find(TIME_UNREADABLE, || text.to_owned());
                None
            }
        };
    }
    Ok(())
}

/// Reads a time; none if the text is empty.
pub(crate) fn time(column: &Column, cached: &mut time::Cached, text: &str) -> Result<Option<i64>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    cached.read(text).map(Some).map_err(|reason| Fault::new(column.name.clone(), reason))
}

/// Is it nothing? FOCUS wants null to be nothing at all; some write it as a word.
pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "" | "NULL" | "null" | "(null)")
}

/// The text, or an empty one for null.
pub(crate) fn or_null(text: &str) -> &str {
    if is_null(text) { "" } else { text }
}
