//! Memory that nobody is to see: a process whose memory is not written out, nor read by others.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps this process's memory from core files and from debuggers of the same user. Files, tokens and
/// keys stand in it, which a crash would write to a disk, or send to a service that collects crashes.
/// What needs it (`strace -p`, a profiler) asks for it by a variable, and is told so by the caller.
pub fn forbid_dumps() {
    // A kernel that refuses either leaves the other. Without the first a dump goes to no file; the
    // second also keeps it from a program that the kernel would pipe it to, and from ptrace.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
