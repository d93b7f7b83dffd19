//! The size of memory pages.

/// Has this process do with small pages from now on. A huge page holds 2 MiB of memory for the first
/// byte of it that is used, which a server of a few megabytes is better without; it is worth it where
/// whole pictures lie in memory.
pub fn use_small_pages() {
    // A kernel without huge pages refuses, which is just as well.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Lets this process have huge pages again, where whole pictures are about to lie in memory.
pub fn use_huge_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(false);
}
