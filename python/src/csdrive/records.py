"""Records of a csdrive drive, little-endian, without padding.

Made by the crate `records` of csdrive; do not edit. UPDATE_DOCS=1 cargo test -p records makes it anew.

numpy.frombuffer(data, numpy.dtype(CommandRecord)) reads many at once.
"""

import ctypes

VERSION = 2

# Stages of a command: indices of stages_ns.
STAGES = ["flash_read", "copy", "queue", "compute", "flash_write", "transfer", "command"]

# Operations of a die: values of operation.
DIE_OPERATIONS = ["read", "program", "erase"]


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
    BYTES = 160
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
    BYTES = 24
    _pack_ = 1
    _fields_ = [
        # When the die was taken.
        ("start_ns", ctypes.c_uint64),
        # When it was free again.
        ("end_ns", ctypes.c_uint64),
        # The die.
        ("die", ctypes.c_uint32),
        # DieOperation.
        ("operation", ctypes.c_uint8),
        # Pages or blocks at once.
        ("planes", ctypes.c_uint8),
        # 1 for garbage collection.
        ("is_collection", ctypes.c_uint8),
        # 0.
        ("reserved", ctypes.c_uint8),
    ]


RECORDS = {record.KIND: record for record in (CommandRecord, JobRecord, UnitRecord, DieRecord)}
