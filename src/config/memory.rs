//! What a worker may hold in memory.

use super::ConfigError;
use super::values::ByteSize;
use crate::limits::ServerLimits;

/// Less holds no picture of a telephone's camera.
const MEMORY_MIN: u64 = 128 << 20;

/// What a machine that has much of it gives without being told.
const MEMORY_DEFAULT: u64 = 8 << 30;

/// Files of a megabyte, 500 of them.
const QUEUE_DEFAULT: u64 = 512 << 20;

/// Less holds hardly a file.
const QUEUE_MIN: u64 = 1 << 20;

/// `limits` with what a worker may hold in memory, of a machine that has so much.
pub(crate) fn with_memory(
    limits: ServerLimits,
    memory: Option<ByteSize>,
    machine_bytes: Option<u64>,
) -> Result<ServerLimits, ConfigError> {
    let value = memory.map_or_else(
        || {
            let share = machine_bytes.map_or(MEMORY_DEFAULT, |bytes| bytes / 4 * 3);
            share.clamp(MEMORY_MIN, MEMORY_DEFAULT)
        },
        |memory| memory.0,
    );
    if value < MEMORY_MIN {
        let number = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (value, min) = (number(value), number(MEMORY_MIN));
        return Err(ConfigError::Range { key: "memory", value, min, max: usize::MAX });
    }
    Ok(ServerLimits { bodies_bytes_max: value / 2, working_bytes_max: value / 2, ..limits })
}

/// `limits` of a worker with a queue: files of batches have a part of what bodies have, and requests
/// the rest.
pub(crate) fn with_queue(
    limits: ServerLimits,
    memory: Option<ByteSize>,
) -> Result<ServerLimits, ConfigError> {
    let half = limits.bodies_bytes_max / 2;
    let value = memory.map_or(QUEUE_DEFAULT.min(half), |memory| memory.0);
    if !(QUEUE_MIN..=half).contains(&value) {
        let number = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (value, min, max) = (number(value), number(QUEUE_MIN), number(half));
        return Err(ConfigError::Range { key: "queue-memory", value, min, max });
    }
    let bodies_bytes_max = limits.bodies_bytes_max - value;
    Ok(ServerLimits { bodies_bytes_max, queue_bytes_max: value, ..limits })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_half_is_for_files_and_a_half_for_work() {
        let of = |memory: Option<u64>, machine| {
            let limits = ServerLimits::default();
            let limits = with_memory(limits, memory.map(ByteSize), machine).unwrap();
            (limits.bodies_bytes_max, limits.working_bytes_max)
        };
        assert_eq!(of(Some(1 << 30), None), (512 << 20, 512 << 20));
        assert_eq!(of(None, Some(64 << 30)), (4 << 30, 4 << 30));
        assert_eq!(of(None, Some(4 << 30)), (1536 << 20, 1536 << 20));
        assert_eq!(of(None, Some(1 << 20)), (64 << 20, 64 << 20));
        let error = with_memory(ServerLimits::default(), Some(ByteSize(1)), None).unwrap_err();
        assert!(
            error.to_string().starts_with("memory is 1, and must be from 134217728"),
            "{error}"
        );
    }

    #[test]
    fn files_of_batches_have_a_part_of_what_bodies_have() {
        let of = |memory: Option<u64>, bodies_bytes_max| {
            let limits = ServerLimits { bodies_bytes_max, ..ServerLimits::default() };
            let limits = with_queue(limits, memory.map(ByteSize))?;
            Ok::<_, ConfigError>((limits.bodies_bytes_max >> 20, limits.queue_bytes_max >> 20))
        };
        assert_eq!(of(None, 4 << 30).unwrap(), (3584, 512));
        assert_eq!(of(None, 64 << 20).unwrap(), (32, 32));
        assert_eq!(of(Some(16 << 20), 64 << 20).unwrap(), (48, 16));
        for memory in [1, 33 << 20] {
            let error = of(Some(memory), 64 << 20).unwrap_err().to_string();
            assert!(error.contains("queue-memory") && error.contains("33554432"), "{error}");
        }
    }
}
