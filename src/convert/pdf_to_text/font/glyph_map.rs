//! Codes to text in a flat table: one `u32` a code, longer texts in a pool.

/// The high bit marks a text of several characters: 22 bits of offset into the pool, 9 of length.
const POOLED: u32 = 1 << 31;
const LENGTH_BITS: u32 = 9;
const POOL_MAX: usize = 1 << 22;
/// Codes of up to two bytes are all that fonts use; the table takes 256 KiB at most.
const CODES_MAX: u32 = 1 << 16;

/// Text by character code.
#[derive(Debug, Clone, Default)]
pub(crate) struct GlyphMap {
    table: Vec<u32>,
    pool: String,
}

impl GlyphMap {
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(crate) fn set(&mut self, code: u32, text: &str) {
        let mut chars = text.chars();
        let value = match (chars.next(), chars.next()) {
            (None, _) => 0,
            (Some(only), None) => u32::from(only),
            _ => {
                let length = text.len().min((1 << LENGTH_BITS) - 1);
                if !text.is_char_boundary(length) || self.pool.len() + length > POOL_MAX {
                    return;
                }
                let offset = self.pool.len() as u32;
                self.pool.push_str(&text[..length]);
                POOLED | offset << LENGTH_BITS | length as u32
            }
        };
        self.put(code, value);
    }

    pub(crate) fn set_char(&mut self, code: u32, character: char) {
        self.put(code, u32::from(character));
    }

    fn put(&mut self, code: u32, value: u32) {
        if code >= CODES_MAX {
            return;
        }
        let at = code as usize;
        if at >= self.table.len() {
            // Doubling keeps a table that fills code by code linear.
            let size = (at + 1).next_power_of_two().max(256);
            self.table.resize(size, 0);
        }
        self.table[at] = value;
    }

    /// Appends the text of `code`; `false` where there is none.
    pub(crate) fn push(&self, code: u32, out: &mut String) -> bool {
        let value = self.table.get(code as usize).copied().unwrap_or(0);
        if (0x20..0x7f).contains(&value) {
            out.push(char::from(value as u8));
            return true;
        }
        if value & POOLED == 0 {
            let character = char::from_u32(value).filter(|&character| character != '\0');
            out.extend(character);
            return character.is_some();
        }
        let start = ((value & !POOLED) >> LENGTH_BITS) as usize;
        let length = (value & ((1 << LENGTH_BITS) - 1)) as usize;
        out.push_str(&self.pool[start..start + length]);
        true
    }

    /// Takes over every code that `other` has.
    pub(crate) fn overlay(&mut self, other: &Self) {
        let mut text = String::new();
        for code in 0..other.table.len() as u32 {
            text.clear();
            if other.push(code, &mut text) {
                self.set(code, &text);
            }
        }
    }
}
