"""Records of a csdrive drive, little-endian, without padding.

Made by the crate `records` of csdrive; do not edit. UPDATE_DOCS=1 cargo test -p records makes it anew.

numpy.frombuffer(data, numpy.dtype(CommandRecord)) reads many at once.
"""

import ctypes

VERSION = 3

# Stages of a command: indices of stages_ns.
STAGES = ["flash_read", "copy", "queue", "compute", "flash_write", "transfer", "command"]

# Operations of a die: values of operation.
DIE_OPERATIONS = ["read", "program", "erase"]

# Paths of a link record: values of path.
LINK_PATHS = ["to_host", "from_host", "internal", "from_peer"]

# Instead of a command's identifier.
NO_COMMAND = 2**64 - 1


class CommandRecord(ctypes.LittleEndianStructure):
    """A finished command."""

    KIND = 1
    BYTES = 104
    _pack_ = 1
    _fields_ = [
        # Names the command: no other command of the drive has it at the same time.
        ("id", ctypes.c_uint64),
        # When the controller took it from its queue.
        ("fetched_ns", ctypes.c_uint64),
        # When its completion was posted.
        ("completed_ns", ctypes.c_uint64),
        # How long after its modelled time the machine posted it; 0 in virtual time.
        ("late_ns", ctypes.c_uint64),
        # Where the time went, by stage.
        ("stages_ns", ctypes.c_uint64 * 7),
        # Bytes of an NVM namespace read or written for the host.
        ("bytes", ctypes.c_uint32),
        # Namespace identifier.
        ("nsid", ctypes.c_uint32),
        # Submission queue identifier; 0 is the admin queue.
        ("sqid", ctypes.c_uint16),
        # Command identifier.
        ("cid", ctypes.c_uint16),
        # Status code type and status code, as in a completion, without the phase bit.
        ("status", ctypes.c_uint16),
        # Opcode.
        ("opcode", ctypes.c_uint8),
        # Command set of the namespace (CSI).
        ("csi", ctypes.c_uint8),
    ]


class JobRecord(ctypes.LittleEndianStructure):
    """A finished job: one execution of a program."""

    KIND = 2
    BYTES = 184
    _pack_ = 1
    _fields_ = [
        # The Execute command.
        ("command", ctypes.c_uint64),
        # When it was submitted to the scheduler.
        ("submitted_ns", ctypes.c_uint64),
        # When it left its unit for the last time.
        ("ended_ns", ctypes.c_uint64),
        # Time that it waited for a unit, context switches included.
        ("waited_ns", ctypes.c_uint64),
        # Time that it held a unit.
        ("ran_ns", ctypes.c_uint64),
        # Executed instructions by class; zeroes if the program was not run.
        ("instructions", ctypes.c_uint64 * 9),
        # Bytes loaded and stored.
        ("bytes", ctypes.c_uint64),
        # Processor time of this machine or the runtime server, the median of the samples; 0 unless it was measured.
        ("cpu_ns", ctypes.c_uint64),
        # The shortest sample.
        ("cpu_least_ns", ctypes.c_uint64),
        # The longest sample.
        ("cpu_most_ns", ctypes.c_uint64),
        # Group.
        ("group", ctypes.c_uint32),
        # Program index.
        ("program", ctypes.c_uint32),
        # Where the run time comes from: 0 instructions, 1 declared, 2 measured, 3 remote.
        ("model", ctypes.c_uint32),
        # Runs that were measured.
        ("samples", ctypes.c_uint32),
        # When the program's result came to the drive; 0 if none was run. In virtual time it comes at once.
        ("result_ns", ctypes.c_uint64),
        # Real time that the program took on its worker thread; 0 in virtual time.
        ("worker_ns", ctypes.c_uint64),
        # The worker thread that ran the program.
        ("worker", ctypes.c_uint32),
        # 0.
        ("reserved", ctypes.c_uint32),
    ]


class UnitRecord(ctypes.LittleEndianStructure):
    """A stay of a job on a compute unit."""

    KIND = 3
    BYTES = 32
    _pack_ = 1
    _fields_ = [
        # The Execute command.
        ("job", ctypes.c_uint64),
        # When the job began to run, after the context switch.
        ("start_ns", ctypes.c_uint64),
        # When it left the unit.
        ("end_ns", ctypes.c_uint64),
        # The unit.
        ("unit", ctypes.c_uint32),
        # 0.
        ("reserved", ctypes.c_uint32),
    ]


class DieRecord(ctypes.LittleEndianStructure):
    """An operation of a flash die."""

    KIND = 4
    BYTES = 56
    _pack_ = 1
    _fields_ = [
        # When the die was taken.
        ("start_ns", ctypes.c_uint64),
        # When it was free again.
        ("end_ns", ctypes.c_uint64),
        # When its pages began to cross the channel.
        ("transfer_start_ns", ctypes.c_uint64),
        # When they had crossed it; with nothing to cross, as the start.
        ("transfer_end_ns", ctypes.c_uint64),
        # The command whose read its first page is; NO_COMMAND for all other operations: what is written belongs to no command when it goes to flash.
        ("command", ctypes.c_uint64),
        # The die.
        ("die", ctypes.c_uint32),
        # Its channel.
        ("channel", ctypes.c_uint32),
        # DieOperation.
        ("operation", ctypes.c_uint8),
        # Pages or blocks at once.
        ("planes", ctypes.c_uint8),
        # 1 for garbage collection.
        ("is_collection", ctypes.c_uint8),
        # 1 for a part of an operation that was suspended, after the first.
        ("is_resumed", ctypes.c_uint8),
        # 0.
        ("reserved", ctypes.c_uint8 * 4),
    ]


class LinkRecord(ctypes.LittleEndianStructure):
    """Bytes that crossed a link."""

    KIND = 5
    BYTES = 40
    _pack_ = 1
    _fields_ = [
        # When they were ready to be sent.
        ("asked_ns", ctypes.c_uint64),
        # When the last of them arrived: after all that was sent before, the time that the bytes take, and the link's latency.
        ("arrived_ns", ctypes.c_uint64),
        # The command whose bytes they are.
        ("command", ctypes.c_uint64),
        # Bytes.
        ("bytes", ctypes.c_uint64),
        # LinkPath.
        ("path", ctypes.c_uint8),
        # 0.
        ("reserved", ctypes.c_uint8 * 7),
    ]


class CounterRecord(ctypes.LittleEndianStructure):
    """What a drive had counted at a time since it was made."""

    KIND = 6
    BYTES = 208
    _pack_ = 1
    _fields_ = [
        # The time.
        ("now_ns", ctypes.c_uint64),
        # Bytes per second of the host link, each direction; 0 = no limit.
        ("link_bytes_per_s", ctypes.c_uint64),
        # Time that units ran jobs, all together.
        ("units_busy_ns", ctypes.c_uint64),
        # Time that channels moved pages, all together.
        ("channels_busy_ns", ctypes.c_uint64),
        # Time that dies read, programmed or erased, all together.
        ("dies_busy_ns", ctypes.c_uint64),
        # Time in which data went over the host link to the host or to other drives.
        ("link_out_busy_ns", ctypes.c_uint64),
        # Time in which data came over it from the host or from other drives.
        ("link_in_busy_ns", ctypes.c_uint64),
        # Data bytes over the host link to the host.
        ("bytes_to_host", ctypes.c_uint64),
        # Data bytes over the host link from the host.
        ("bytes_from_host", ctypes.c_uint64),
        # Bytes into and within device memory.
        ("bytes_internal", ctypes.c_uint64),
        # Bytes of device memory that other drives copied from this one, not over the link of the host.
        ("bytes_to_peers", ctypes.c_uint64),
        # Bytes that this drive copied from the device memory of others.
        ("bytes_from_peers", ctypes.c_uint64),
        # Bytes that hosts wrote to blocks.
        ("host_bytes_written", ctypes.c_uint64),
        # Flash pages read for hosts.
        ("flash_reads", ctypes.c_uint64),
        # Flash pages read to complete parts of pages.
        ("modify_reads", ctypes.c_uint64),
        # Flash pages read by garbage collection.
        ("gc_reads", ctypes.c_uint64),
        # Flash pages programmed for hosts.
        ("flash_programs", ctypes.c_uint64),
        # Flash pages programmed by garbage collection.
        ("gc_programs", ctypes.c_uint64),
        # Blocks of flash that were erased.
        ("erases", ctypes.c_uint64),
        # Commands completed.
        ("commands", ctypes.c_uint64),
        # Completions that left later than their modelled time plus the tolerance; none in virtual time.
        ("late", ctypes.c_uint64),
        # The tolerance.
        ("late_tolerance_ns", ctypes.c_uint64),
        # Sum of the delays of the late ones.
        ("late_sum_ns", ctypes.c_uint64),
        # The longest delay.
        ("late_max_ns", ctypes.c_uint64),
        # Compute units.
        ("units", ctypes.c_uint32),
        # Channels of the flash.
        ("channels", ctypes.c_uint32),
        # Dies of the flash.
        ("dies", ctypes.c_uint32),
        # Bytes of a flash page.
        ("page_bytes", ctypes.c_uint32),
    ]


RECORDS = {record.KIND: record for record in (CommandRecord, JobRecord, UnitRecord, DieRecord, LinkRecord, CounterRecord)}
