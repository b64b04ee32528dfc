//! `mandatory_tag('Team', Tags, SubAccountId, ServiceName, ChargePeriodStart)`: a mandatory tag of a row of costs.
//!
//! Rules and their meaning are crate `billing`'s, so that queries and loads find the same.

use std::{hash, sync::Arc};

use arrow::{
    array::{Array, AsArray, new_null_array},
    compute::cast,
    datatypes::{DataType, TimestampMicrosecondType},
};
use billing::{Tags, tags::names};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::{columns, is_text, is_time, misused, texts, value};
use crate::{Error, ErrorKind};

const NAME: &str = "mandatory_tag";
const USAGE: &str = "'Team', Tags, SubAccountId, ServiceName, ChargePeriodStart";

/// The function by some rules.
pub(crate) fn mandatory_tag(rules: Arc<Tags>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(MandatoryTag { rules, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug)]
struct MandatoryTag {
    rules: Arc<Tags>,
    signature: Signature,
}

impl PartialEq for MandatoryTag {
    fn eq(&self, other: &Self) -> bool {
        self.rules.version() == other.rules.version()
    }
}

impl Eq for MandatoryTag {}

impl hash::Hash for MandatoryTag {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.rules.version().hash(state);
    }
}

impl ScalarUDFImpl for MandatoryTag {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [name, map, account, service, start]
                if [name, account, service].iter().all(|text| is_text(text))
                    && is_time(start)
                    && matches!(map, DataType::Map(..) | DataType::Null) =>
            {
                let map = if map.is_null() { DataType::Null } else { schemas::string_map() };
                Ok(vec![DataType::Utf8, map, DataType::Utf8View, DataType::Utf8View, schemas::timestamp()])
            }
            _ => Err(misused(NAME, USAGE, types).into()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let tag = match args.args.first() {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) => tag_named(name)?,
            _ => return Err(Error::new(ErrorKind::Invalid, format!("{NAME} wants the tag's name in quotes")).into()),
        };
        let (columns, is_scalar) = columns(&args)?;
        let [_, maps, accounts, services, starts] = columns.as_slice() else {
            return Err(misused(NAME, USAGE, &[]).into());
        };
        let maps = match maps.data_type() {
            DataType::Null => new_null_array(&schemas::string_map(), maps.len()),
            _ => cast(maps, &schemas::string_map())?,
        };
        let starts = cast(starts, &schemas::timestamp())?;
        let found = self.rules.of_tag(
            tag,
            maps.as_map(),
            [&texts(accounts)?, &texts(services)?],
            starts.as_primitive::<TimestampMicrosecondType>(),
        );
        value(Arc::new(found), is_scalar)
    }
}

fn tag_named(name: &str) -> Result<usize> {
    let unknown = || {
        let message = format!("there is no such mandatory tag; there are {} tag={name}", names().join(", "));
        Error::new(ErrorKind::Invalid, message)
    };
    Ok(names().iter().position(|known| known.eq_ignore_ascii_case(name)).ok_or_else(unknown)?)
}
