//! An adder of decimal numbers, digit by digit, and a reader of comma-separated lines, character by character.

/// Digits behind the point.
const DECIMALS: usize = 64;
/// Digits in all.
const DIGITS: usize = 120;

/// A sum.
#[derive(Clone, Debug)]
pub struct Sum {
    /// Digits of what was added, the lowest first, of each sign.
    up: [u8; DIGITS],
    down: [u8; DIGITS],
    pub count: u64,
}

impl Default for Sum {
    fn default() -> Self {
        Self { up: [0; DIGITS], down: [0; DIGITS], count: 0 }
    }
}

impl Sum {
    /// Adds a number, if the text is one.
    pub fn add(&mut self, text: &str) -> bool {
        // One sample is a spreadsheet as it is shown.
        let shown = text.trim().strip_prefix('$').map(|digits| digits.replace(',', ""));
        let text = shown.as_deref().unwrap_or(text);
        let text = text.trim();
        let is_negative = text.starts_with('-');
        let number = text.trim_start_matches(['-', '+']);
        let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        let all = format!("{whole}{decimals}");
        let Ok(exponent) = exponent.parse::<isize>() else { return false };
        if all.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) {
            return false;
        }
        let side = if is_negative { &mut self.down } else { &mut self.up };
        let lowest = DECIMALS as isize + exponent - decimals.len() as isize;
        for (i, digit) in all.bytes().rev().enumerate() {
            let mut carry = digit - b'0';
            let mut at = lowest + i as isize;
            while carry > 0 {
                let place = &mut side[usize::try_from(at).expect("a digit below the last place")];
                (*place, carry) = ((*place + carry) % 10, (*place + carry) / 10);
                at += 1;
            }
        }
        self.count += 1;
        true
    }

    /// The sum, without zeros at its ends.
    pub fn text(&self) -> String {
        let is_negative = self.down.iter().rev().gt(self.up.iter().rev());
        let (more, less) = if is_negative { (&self.down, &self.up) } else { (&self.up, &self.down) };
        let mut digits = String::new();
        let mut borrow = 0;
        for (a, b) in more.iter().zip(less) {
            let taken = b + borrow;
            let (digit, borrowed) = if *a >= taken { (a - taken, 0) } else { (a + 10 - taken, 1) };
            borrow = borrowed;
            digits.insert(0, char::from(b'0' + digit));
        }
        let (whole, decimals) = digits.split_at(DIGITS - DECIMALS);
        let whole = whole.trim_start_matches('0');
        let decimals = decimals.trim_end_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        format!("{}{whole}{}{decimals}", if is_negative { "-" } else { "" }, if decimals.is_empty() { "" } else { "." })
    }
}

/// Records of a text.
pub fn lines(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut is_quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => record.push(std::mem::take(&mut field)),
            '\n' if !is_quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            '\r' if !is_quoted => {}
            c => field.push(c),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    records.retain(|record| record.len() > 1 || !record[0].is_empty());
    records
}
