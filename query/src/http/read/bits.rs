//! Bits one after another, and the numbers of Prometheus' chunks among them.
//!
//! Called by the writer of chunks. Spec: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/chunks.md>

/// Bits that are being written, the highest of a byte first.
#[derive(Debug, Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not written yet.
    free: u32,
}

impl Bits {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn put_bit(&mut self, bit: bool) {
        self.put(u64::from(bit), 1);
    }

    /// The lowest `count` bits of a number.
    pub(super) fn put(&mut self, value: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = left.min(self.free);
            // At most eight bits, in place.
            let bits = (value >> (left - taken)) & ((1 << taken) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (bits << (self.free - taken)).to_le_bytes()[0];
            }
            self.free -= taken;
            left -= taken;
        }
    }

    pub(super) fn put_byte(&mut self, byte: u8) {
        self.put(byte.into(), 8);
    }

    pub(super) fn put_float(&mut self, value: f64) {
        self.put(value.to_bits(), 64);
    }

    /// Groups of seven bits, the lowest first.
    pub(super) fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_byte(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.put_byte(value.to_le_bytes()[0]);
    }

    /// The difference of two differences of times, of which most are zero.
    pub(super) fn put_time_change(&mut self, change: i64) {
        let bits = change.cast_unsigned();
        if change == 0 {
            self.put_bit(false);
        } else if fits(change, 14) {
            self.put(0b10, 2);
            self.put(bits, 14);
        } else if fits(change, 17) {
            self.put(0b110, 3);
            self.put(bits, 17);
        } else if fits(change, 20) {
            self.put(0b1110, 4);
            self.put(bits, 20);
        } else {
            self.put(0b1111, 4);
            self.put(bits, 64);
        }
    }

    /// A number with a sign, of which small ones are short.
    pub(super) fn put_signed(&mut self, value: i64) {
        if value == 0 {
            return self.put_bit(false);
        }
        let size = WIDTHS.iter().position(|width| fits(value, *width)).unwrap_or(WIDTHS.len());
        self.put_sized(value.cast_unsigned(), size);
    }

    /// A number without a sign, of which small ones are short.
    pub(super) fn put_unsigned(&mut self, value: u64) {
        if value == 0 {
            return self.put_bit(false);
        }
        let size = WIDTHS.iter().position(|width| value < 1 << width).unwrap_or(WIDTHS.len());
        self.put_sized(value, size);
    }

    /// As many ones as say how wide it is, then the number.
    fn put_sized(&mut self, value: u64, size: usize) {
        match WIDTHS.get(size) {
            Some(width) => {
                let ones = u32::try_from(size).unwrap_or(0) + 1;
                self.put((1 << (ones + 1)) - 2, ones + 1);
                self.put(value, *width);
            }
            None => {
                self.put(0xff, 8);
                self.put(value, 64);
            }
        }
    }
}

/// Widths of numbers, bits; wider ones take 64.
const WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];

/// Is a number one of those that so many bits tell apart? There is one more above zero than below.
fn fits(value: i64, bits: u32) -> bool {
    let most = 1_i64 << (bits - 1);
    (1 - most..=most).contains(&value)
}

/// A float that is written as what changed since the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changing {
    last: f64,
    /// Zeros before and after what was written last; none before anything was.
    window: Option<(u32, u32)>,
}

impl Changing {
    /// After a float that was written whole.
    pub(super) fn new(first: f64) -> Self {
        Self { last: first, window: None }
    }

    pub(super) fn put(&mut self, bits: &mut Bits, value: f64) {
        let change = value.to_bits() ^ self.last.to_bits();
        self.last = value;
        if change == 0 {
            return bits.put_bit(false);
        }
        bits.put_bit(true);
        // Five bits say how many zeros lead.
        let (leading, trailing) = (change.leading_zeros().min(31), change.trailing_zeros());
        if let Some((of_leading, of_trailing)) = self.window
            && leading >= of_leading
            && trailing >= of_trailing
        {
            bits.put_bit(false);
            return bits.put(change >> of_trailing, 64 - of_leading - of_trailing);
        }
        self.window = Some((leading, trailing));
        let width = 64 - leading - trailing;
        bits.put_bit(true);
        bits.put(leading.into(), 5);
        // All 64 do not fit, and none is never written: it stands for them.
        bits.put((width & 63).into(), 6);
        bits.put(change >> trailing, width);
    }
}
