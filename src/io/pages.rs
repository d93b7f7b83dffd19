//! Pages of memory: how large they are, and giving back what only a start needed.
#![allow(unsafe_code)]

use std::ops::Range;

use rustix::mm::{Advice, madvise};

/// Has this program do with small pages. A huge page holds 2 MiB of memory for the first byte of it
/// that is used, which a server of a few megabytes is better without; it is worth it where whole
/// pictures lie in memory.
extern "C" fn use_small_pages() {
    // A kernel without huge pages refuses, which is just as well.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Called before `main`, and before the allocator takes its first memory: the runtime asks it for some
/// on the way to `main`, which alone fills two huge pages.
// SAFETY: the loader calls what stands in this section, in the order of its number. The function is one
// system call: it needs neither the runtime nor an allocator.
#[used]
#[unsafe(link_section = ".init_array.00001")]
static BEFORE_ALL_ELSE: extern "C" fn() = use_small_pages;

/// Lets this process have huge pages again, where whole pictures are about to lie in memory.
pub fn use_huge_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(false);
}

/// Takes the program's own pages out of this process's memory. Most of them are of the start: the
/// command line, certificates, threads. Those that are needed come back from the kernel's cache, by
/// themselves.
pub fn forget_start() {
    // Where this cannot be read, they stay.
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for pages in unchanged_files(&smaps) {
        let start = std::ptr::with_exposed_provenance_mut(pages.start);
        // SAFETY: they are of a file, without a page that was written to, and nobody can write to
        // them. The kernel maps the same bytes again when one is looked at.
        let _ = unsafe { madvise(start, pages.len(), Advice::LinuxDontNeed) };
    }
}

/// Where files are mapped, read only, without a page of this process's own. The pages that a loader has
/// filled in are of its own, though nobody can write to them any more.
fn unchanged_files(smaps: &str) -> Vec<Range<usize>> {
    let (mut found, mut candidate) = (Vec::new(), None);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Anonymous:"), Some("0")) => found.extend(candidate.take()),
            (Some("Anonymous:"), _) => candidate = None,
            (Some(range), Some(rights)) if !range.ends_with(':') => {
                let is_file = words.nth(2).is_some_and(|inode| inode != "0");
                let is_fixed = rights.starts_with('r') && !rights.contains('w');
                candidate = address_range(range).filter(|_| is_file && is_fixed);
            }
            _ => {}
        }
    }
    found
}

fn address_range(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_its_file_is_given_back() {
        let smaps = "\
1000-3000 r-xp 00000000 fe:00 12 /bin/fxsrv\nRss: 8 kB\nAnonymous:             0 kB\nVmFlags: rd ex mr\n\
3000-4000 r--p 00002000 fe:00 12 /bin/fxsrv\nRss: 4 kB\nAnonymous:             4 kB\n\
4000-5000 rw-p 00003000 fe:00 12 /bin/fxsrv\nRss: 4 kB\nAnonymous:             0 kB\n\
5000-6000 r--p 00000000 00:00 0\nRss: 4 kB\nAnonymous:             0 kB\n\
6000-7000 r--p 00000000 00:00 0 [vvar]\nAnonymous:             0 kB\n\
7000-8000 ---p 00000000 fe:00 13 /lib/libc.so.6\nAnonymous:             0 kB\n\
8000-9000 r--p 00000000 fe:00 13 /lib/libc.so.6\nAnonymous:             0 kB\n";
        let expected: [Range<usize>; 2] = [0x1000..0x3000, 0x8000..0x9000];
        assert_eq!(unchanged_files(smaps), expected);
        let garbled = "\n-\nAnonymous: 0 kB\nx-y r--p 0 0 1 z\nAnonymous: 0 kB\n";
        assert!(unchanged_files(garbled).is_empty());
    }

    #[test]
    fn a_program_goes_on_without_its_pages() {
        forget_start();
        assert_eq!("still here".to_uppercase(), "STILL HERE");
    }
}
