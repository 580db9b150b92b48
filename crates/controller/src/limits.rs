//! Limits of the drive that no configuration changes. Everything a host can grow has one.

/// Namespaces of a drive, and the highest identifier of one (MNAN, NN).
pub const NAMESPACES_MAX: u32 = 128;

/// Runs of neighbouring flash pages that an NVM namespace may consist of.
pub const NAMESPACE_RUNS_MAX: usize = 64;

/// Zones of a drive: what it remembers of each has a place beside its flash.
pub const ZONES_MAX: u32 = 16_384;

/// Bytes of a memory namespace.
pub const MEMORY_BYTES_MAX: u64 = 1 << 44;

/// Pieces of its own memory that the drive gives out at a time.
pub const ALLOCATIONS_MAX: usize = 4096;

/// Entries of a queue (CAP.MQES + 1).
pub const QUEUE_ENTRIES_MAX: u32 = 65_536;

/// Commands in flight over all queues; more stay in their submission queues. One queue can have all its commands in flight.
pub const COMMANDS_IN_FLIGHT_MAX: usize = QUEUE_ENTRIES_MAX as usize + COMMANDS_IN_FLIGHT_ADMIN;

/// Of those, commands that only the admin queue may have: a host with full I/O queues can still
/// abort and delete.
pub const COMMANDS_IN_FLIGHT_ADMIN: usize = 64;

/// Arbitration burst after a reset, as a power of two (Arbitration feature, AB; Identify, RAB).
pub const ARBITRATION_BURST_LOG2: u8 = 3;

/// Asynchronous Event Requests outstanding (AERL + 1).
pub const ASYNC_EVENT_REQUESTS_MAX: usize = 4;

/// Descriptors of one scatter gather list: what the drive reads of it.
pub const SGL_DESCRIPTORS_MAX: usize = 4096;

/// Pieces of memory that one list may describe: what the drive keeps of it while the command is in
/// flight.
pub const SGL_PIECES_MAX: usize = 1024;

/// Program slots: indices 0 to 1023, the range CEMU's hosts use.
pub const PROGRAM_SLOTS: u16 = 1024;

/// Programs activated at once (MAXACT).
pub const ACTIVATIONS_MAX: u16 = 256;

/// Bytes of all loaded programs together (MAXPB).
pub const PROGRAM_BYTES_MAX: u64 = 64 << 20;

/// Memory range sets (MAXMEMRS).
pub const RANGE_SETS_MAX: u16 = 1024;

/// Ranges of a set (MAXMEMR).
pub const RANGES_PER_SET_MAX: u8 = 128;

/// Most chunks in flight of a streaming execution.
pub const STREAM_SLOTS_MAX: usize = 64;

/// Most extents that it reads, and that it writes.
pub const STREAM_EXTENTS_MAX: usize = 16_384;

/// Most streaming executions at a time: each may ask a lot of the flash at once.
pub const STREAMS_MAX: usize = 8;

/// Most bytes that a chunk in flight writes back at a time: all of them together are about as much as other writes may be.
pub const STREAM_WRITE_BYTES_MAX: u64 = 512 << 10;

/// Most bytes of the input of a compound execution: its pages are read at once, as those of a Read are.
pub const COMPOUND_BYTES_MAX: u64 = 32 << 20;

/// Longest text of the diagnostics log.
pub const DIAGNOSTICS_BYTES_MAX: usize = 4000;
/// Longest name of a native program's function.
pub const FUNCTION_BYTES_MAX: usize = 255;

/// Largest weight of a job group.
pub const GROUP_WEIGHT_MAX: u16 = 1000;

/// Source entries of a Memory Copy command.
pub const COPY_SOURCES_MAX: usize = 256;

/// Bytes of a Memory Copy or Memory Fill command: what one command may make the drive do at once.
pub const MEMORY_COMMAND_BYTES_MAX: u64 = 256 << 20;

/// Requests that the flash model holds, for commands in flight and for those that ended early; at
/// this number I/O commands stay in their queues.
pub const FLASH_BACKLOG_MAX: u64 = 1 << 20;

/// Bytes of writes beyond the write buffer that the drive holds in memory, those on their way from the host among them; at
/// this number I/O commands stay in their queues.
pub const WAITING_WRITES_MAX: u64 = 256 << 20;

/// Source entries of a Copy command (MSRC + 1).
pub const NVM_COPY_SOURCES_MAX: usize = 128;

/// Bytes of a Copy command (MCL, in blocks).
pub const NVM_COPY_BYTES_MAX: u64 = 16 << 20;

/// Entries of the error information log.
pub const ERROR_LOG_ENTRIES: usize = 64;

/// Bytes of the program trace log; older text is dropped.
pub const TRACE_LOG_BYTES: usize = 256 * 1024;
