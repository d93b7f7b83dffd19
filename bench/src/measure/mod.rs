//! What is read off processes and the machine, and the servers that the bench starts.
//!
//! Owns: /proc, child processes, the private network. Must never end a process that it has not
//! started.

pub mod isolate;
pub mod machine;
pub mod process;
pub mod servers;
pub mod status;
pub mod syscalls;
