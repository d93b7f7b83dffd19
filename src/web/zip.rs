//! A ZIP that is written as it goes: entries are stored, since results are compressed already.
//!
//! What an entry's bytes sum up to is known only behind them, so that it stands in a data descriptor
//! (APPNOTE.TXT 6.3.10, 4.3.9). Without ZIP64, offsets have 32 bits and a count 16.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut as _, Bytes, BytesMut};

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;

/// Version 2.0: the first that knows of data descriptors.
const VERSION: u16 = 20;

/// A data descriptor follows, and names are UTF-8.
const FLAGS: u16 = 0x0008 | 0x0800;

/// What an entry takes beside its bytes and twice its name: 30 + 16 + 46.
const ENTRY_BYTES: u64 = 92;
const END_BYTES: u64 = 22;

/// The entries so far.
pub(super) struct Zip {
    entries: Vec<Entry>,
    offset: u64,
    directory_bytes: u64,
    modified: [u16; 2],
}

struct Entry {
    name: String,
    crc: u32,
    bytes: u64,
    offset: u64,
}

impl Zip {
    /// An archive whose entries are all of this time.
    pub(super) fn new(now: SystemTime) -> Self {
        Self { entries: Vec::new(), offset: 0, directory_bytes: 0, modified: dos_time(now) }
    }

    /// Whether an entry of so many bytes fits: all offsets stay under 4 GiB.
    pub(super) fn has_room(&self, name: &str, bytes: u64) -> bool {
        let more = bytes + ENTRY_BYTES + 2 * name.len() as u64 + END_BYTES;
        self.offset + self.directory_bytes + more < u64::from(u32::MAX)
            && self.entries.len() < usize::from(u16::MAX)
    }

    /// What stands before an entry's bytes. There must be room for it.
    pub(super) fn begin(&mut self, name: &str) -> Bytes {
        let mut out = BytesMut::with_capacity(30 + name.len());
        out.put_u32_le(LOCAL);
        self.put_fields(&mut out, 0, 0, name);
        out.put_u16_le(0);
        out.put_slice(name.as_bytes());
        let (name, offset) = (name.to_owned(), self.offset);
        self.entries.push(Entry { name, crc: 0, bytes: 0, offset });
        self.offset += out.len() as u64;
        out.freeze()
    }

    /// What stands behind the bytes of the entry that was begun last.
    pub(super) fn end(&mut self, crc: u32, bytes: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(16);
        out.put_u32_le(DESCRIPTOR);
        put_sums(&mut out, crc, bytes);
        if let Some(entry) = self.entries.last_mut() {
            (entry.crc, entry.bytes) = (crc, bytes);
            self.directory_bytes += 46 + entry.name.len() as u64;
        }
        self.offset += bytes + out.len() as u64;
        out.freeze()
    }

    /// The directory, which ends the archive.
    pub(super) fn finish(self) -> Bytes {
        let mut out = BytesMut::new();
        for Entry { name, crc, bytes, offset } in &self.entries {
            out.put_u32_le(CENTRAL);
            // Made by a system whose names have slashes and which says nothing of rights.
            out.put_u16_le(VERSION);
            self.put_fields(&mut out, *crc, *bytes, name);
            // No extra field, comment, disk or attributes.
            out.put_bytes(0, 2 + 2 + 2 + 2 + 4);
            out.put_u32_le(low32(*offset));
            out.put_slice(name.as_bytes());
        }
        let count = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        let directory_bytes = low32(out.len() as u64);
        out.put_u32_le(END);
        out.put_u32_le(0);
        out.put_u16_le(count);
        out.put_u16_le(count);
        out.put_u32_le(directory_bytes);
        out.put_u32_le(low32(self.offset));
        out.put_u16_le(0);
        out.freeze()
    }

    /// What the two headers of an entry have in common.
    fn put_fields(&self, out: &mut BytesMut, crc: u32, bytes: u64, name: &str) {
        let [date, time] = self.modified;
        for field in [VERSION, FLAGS, 0, time, date] {
            out.put_u16_le(field);
        }
        put_sums(out, crc, bytes);
        // Names are bounded where they are made.
        out.put_u16_le(u16::try_from(name.len()).unwrap_or(u16::MAX));
    }
}

fn put_sums(out: &mut BytesMut, crc: u32, bytes: u64) {
    out.put_u32_le(crc);
    out.put_u32_le(low32(bytes));
    out.put_u32_le(low32(bytes));
}

/// Held under the limit by [`Zip::has_room`].
fn low32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Date and time as DOS had them, in UTC: two seconds are the least.
fn dos_time(now: SystemTime) -> [u16; 2] {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let year = year.clamp(1980, 2107) - 1980;
    let date = (year << 9) | (month << 5) | day;
    let time = ((second / 3600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2);
    [date, time].map(|field| u16::try_from(field).unwrap_or(0))
}

/// Year, month and day of a number of days since 1970. Years are counted from March on, so that the
/// day which comes every four years is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (19_722, (2023, 12, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
        let noon = UNIX_EPOCH + Duration::from_secs(19_722 * 86_400 + 12 * 3600 + 61);
        assert_eq!(dos_time(noon), [(43 << 9) | (12 << 5) | 31, (12 << 11) | (1 << 5)]);
        assert_eq!(dos_time(UNIX_EPOCH), [(1 << 5) | 1, 0]);
    }

    #[test]
    fn an_archive_has_its_directory_where_its_end_says() {
        let mut zip = Zip::new(UNIX_EPOCH);
        let mut whole = Vec::new();
        for (name, body) in [("a.txt", &b"abc"[..]), ("ü.txt", b"")] {
            assert!(zip.has_room(name, body.len() as u64));
            whole.extend(zip.begin(name));
            whole.extend(body);
            whole.extend(zip.end(crc32fast::hash(body), body.len() as u64));
        }
        let start = whole.len();
        whole.extend(zip.finish());
        let end = &whole[whole.len() - 22..];
        assert_eq!(end[..4], END.to_le_bytes());
        assert_eq!(end[8..12], [2, 0, 2, 0]);
        assert_eq!(end[16..20], low32(start as u64).to_le_bytes());
        assert_eq!(whole[start..start + 4], CENTRAL.to_le_bytes());
        assert_eq!(whole[start + 16..start + 20], 0x3524_41c2_u32.to_le_bytes());
    }

    #[test]
    fn what_passes_four_gigabytes_has_no_room() {
        let mut zip = Zip::new(UNIX_EPOCH);
        let most = u64::from(u32::MAX);
        assert!(!zip.has_room("a", most - ENTRY_BYTES - END_BYTES));
        zip.begin("a");
        zip.end(0, most / 2);
        assert!(zip.has_room("b", most / 2 - 1000));
        assert!(!zip.has_room("b", most / 2));
    }
}
