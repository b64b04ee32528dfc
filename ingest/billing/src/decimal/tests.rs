//! Numbers against a model that works on strings of digits.

use proptest::prelude::*;

use super::*;

fn money(text: &str) -> Result<Parsed, &'static str> {
    parse(text, MONEY_SCALE)
}

fn back(parsed: Parsed) -> String {
    text(i256::from_i128(parsed.value), MONEY_SCALE)
}

/// The number in the text at `scale` + [`LOST_DIGITS`] decimals, from its digits alone.
fn exact(number: &str, scale: u32) -> i256 {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |number| ("-", number));
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let zeros = i64::from(scale + LOST_DIGITS) + exponent.parse::<i64>().unwrap() - decimals.len() as i64;
    let mut digits = format!("{whole}{decimals}");
    if zeros >= 0 {
        digits.extend(std::iter::repeat_n('0', zeros.try_into().unwrap()));
    } else {
        let cut = digits.split_off(digits.len().saturating_sub(zeros.unsigned_abs().try_into().unwrap()));
        assert!(cut.bytes().all(|digit| digit == b'0'), "the model has too few decimals for {number}");
    }
    i256::from_string(&format!("{sign}{}", digits.trim_start_matches('0'))).unwrap_or(i256::ZERO)
}

#[test]
fn numbers_as_providers_write_them_are_read() {
    for (given, wanted) in [
        ("0", "0"),
        ("0.0", "0"),
        ("-0.00", "0"),
        ("1.81E-8", "0.0000000181"),
        ("5e-06", "0.000005"),
        ("-5e-06", "-0.000005"),
        ("1E+3", "1000"),
        (" 12.50 ", "12.5"),
        ("+7", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("00012.3", "12.3"),
        ("0.005844310596653427", "0.005844310596653427"),
        ("9999999999999999.9999999999999999999999", "9999999999999999.9999999999999999999999"),
        ("0.000000144000000000000000", "0.000000144"),
    ] {
        let parsed = money(given).unwrap();
        assert_eq!((back(parsed).as_str(), parsed.lost), (wanted, 0), "{given}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for given in ["", " ", ".", "-", "1,000", "$5$", "1e", "e5", "1e99999", "1.2.3", "0x1", "NaN", "inf", "1 2", "--1"]
    {
        assert_eq!(money(given), Err(NO_NUMBER), "{given:?}");
    }
    for given in [
        "10000000000000000",
        "1e38",
        "1e9999",
        "123456789012345678901234567890123456789",
        "9999999999999999.99999999999999999999995",
    ] {
        assert_eq!(money(given), Err(TOO_LARGE), "{given:?}");
    }
    assert_eq!(money("1e-61"), Err(TOO_FINE));
    assert!(money("1e-60").is_ok());
}

#[test]
fn rounding_is_half_even_and_tells_what_it_lost() {
    for (given, value, lost) in [
        ("0.00000000000000000000005", 0, 5),
        ("0.00000000000000000000015", 2, -5),
        ("0.00000000000000000000025", 2, 5),
        ("-0.00000000000000000000015", -2, 5),
        ("0.000000000000000000000051", 1, -49),
        ("0.000000000000000000000149", 1, 49),
    ] {
        let parsed = money(given).unwrap();
        assert_eq!(parsed.value, value, "{given}");
        let decimals = given.len() - given.find('.').unwrap() - 1 - 22;
        assert_eq!(parsed.lost, lost * 10_i128.pow(LOST_DIGITS - u32::try_from(decimals).unwrap()), "{given}");
    }
}

fn numbers() -> impl Strategy<Value = String> {
    let plain = (any::<bool>(), 0_u64..10_000_000_000_000_000, "[0-9]{0,22}");
    let plain = plain.prop_map(|(minus, whole, rest)| format!("{}{whole}.{rest}", if minus { "-" } else { "" }));
    let long = (any::<bool>(), "[0-9]{1,3}", "[0-9]{23,34}");
    let long = long.prop_map(|(minus, whole, rest)| format!("{}{whole}.{rest}", if minus { "-" } else { "" }));
    let power = (0_u64..1_000_000_000_000, -44_i32..4).prop_map(|(digits, exponent)| format!("{digits}e{exponent}"));
    prop_oneof![plain, long, power]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn value_and_loss_together_are_the_number(number in numbers()) {
        for scale in [MONEY_SCALE, QUANTITY_SCALE] {
            let parsed = parse(&number, scale).unwrap();
            let unit = i256::from_i128(10_i128.pow(LOST_DIGITS));
            let sum = i256::from_i128(parsed.value) * unit + i256::from_i128(parsed.lost);
            prop_assert_eq!(sum, exact(&number, scale));
            let half = 10_i128.pow(LOST_DIGITS) / 2;
            prop_assert!(parsed.lost.abs() <= half);
            prop_assert!(parsed.lost.abs() < half || parsed.value % 2 == 0, "a tie goes to the even neighbour");
        }
    }

    #[test]
    fn what_has_no_more_decimals_than_the_scale_comes_back(whole in 0_u64..10_000_000_000_000_000, rest in "[0-9]{0,21}[1-9]") {
        let number = format!("{whole}.{rest}");
        prop_assert_eq!(back(money(&number).unwrap()), number);
    }

    #[test]
    fn costs_are_rounded_half_even(price in -10_i64..1_000_000, quantity in -10_i64..1_000_000, block in 1_u64..10_000) {
        // The nearest whole number is less than half away, or half and even.
        let unit = i128::from(block);
        let product = i128::from(price) * i128::from(quantity);
        let found = cost(i128::from(price), i128::from(quantity) * 10_i128.pow(QUANTITY_SCALE), block).unwrap();
        let rest = (product - found * unit).abs() * 2;
        prop_assert!(rest < unit || (rest == unit && found % 2 == 0), "{price} × {quantity} / {block} = {found}");
        prop_assert_eq!(divide(product, block), found);
    }

    #[test]
    fn any_text_is_read_or_refused(given in ".{0,60}") {
        let _ = money(&given);
    }
}

#[test]
fn amounts_are_read_as_spreadsheets_show_them_where_there_is_no_doubt() {
    let read = |text| parse(text, 2).map(|parsed| parsed.value);
    for (text, value) in [
        ("$10,000.00 ", 1_000_000),
        ("-$1,234,567.5", -123_456_750),
        ("\u{20ac} 12.34", 1_234),
        ("1,234.50", 123_450),
        ("$1,234", 123_400),
        ("$5", 500),
    ] {
        assert_eq!(read(text), Ok(value), "{text}");
    }
    for text in ["1,234", "12,34.5", "1,2345.0", "$", "$1,23", "1,234,56.7", "0,5", "$1.000,50"] {
        assert!(read(text).is_err(), "{text}");
    }
}
