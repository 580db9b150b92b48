/* Records of a csdrive drive, little-endian, without padding.
 * Made by the crate `records` of csdrive; do not edit. UPDATE_DOCS=1 cargo test -p records makes it anew. */
#ifndef CSDRIVE_RECORDS_H
#define CSDRIVE_RECORDS_H

#include <stdint.h>

#define CSDRIVE_RECORDS_VERSION 3

/* Stages of a command: indices of stages_ns. */
#define CSDRIVE_STAGE_FLASH_READ 0
#define CSDRIVE_STAGE_COPY 1
#define CSDRIVE_STAGE_QUEUE 2
#define CSDRIVE_STAGE_COMPUTE 3
#define CSDRIVE_STAGE_FLASH_WRITE 4
#define CSDRIVE_STAGE_TRANSFER 5
#define CSDRIVE_STAGE_COMMAND 6

/* Operations of a die. */
#define CSDRIVE_DIE_READ 0
#define CSDRIVE_DIE_PROGRAM 1
#define CSDRIVE_DIE_ERASE 2

/* Paths of a link record. */
#define CSDRIVE_LINK_TO_HOST 0
#define CSDRIVE_LINK_FROM_HOST 1
#define CSDRIVE_LINK_INTERNAL 2
#define CSDRIVE_LINK_FROM_PEER 3

/* Instead of a command's identifier. */
#define CSDRIVE_NO_COMMAND UINT64_MAX

#define CSDRIVE_COMMAND_RECORD_KIND 1
#define CSDRIVE_COMMAND_RECORD_BYTES 104

/* A finished command. */
struct csdrive_command_record {
    /* Names the command: no other command of the drive has it at the same time. */
    uint64_t id;
    /* When the controller took it from its queue. */
    uint64_t fetched_ns;
    /* When its completion was posted. */
    uint64_t completed_ns;
    /* How long after its modelled time the machine posted it; 0 in virtual time. */
    uint64_t late_ns;
    /* Where the time went, by stage. */
    uint64_t stages_ns[7];
    /* Bytes of an NVM namespace read or written for the host. */
    uint32_t bytes;
    /* Namespace identifier. */
    uint32_t nsid;
    /* Submission queue identifier; 0 is the admin queue. */
    uint16_t sqid;
    /* Command identifier. */
    uint16_t cid;
    /* Status code type and status code, as in a completion, without the phase bit. */
    uint16_t status;
    /* Opcode. */
    uint8_t opcode;
    /* Command set of the namespace (CSI). */
    uint8_t csi;
};

#define CSDRIVE_JOB_RECORD_KIND 2
#define CSDRIVE_JOB_RECORD_BYTES 184

/* A finished job: one execution of a program. */
struct csdrive_job_record {
    /* The Execute command. */
    uint64_t command;
    /* When it was submitted to the scheduler. */
    uint64_t submitted_ns;
    /* When it left its unit for the last time. */
    uint64_t ended_ns;
    /* Time that it waited for a unit, context switches included. */
    uint64_t waited_ns;
    /* Time that it held a unit. */
    uint64_t ran_ns;
    /* Executed instructions by class; zeroes if the program was not run. */
    uint64_t instructions[9];
    /* Bytes loaded and stored. */
    uint64_t bytes;
    /* Processor time of this machine or the runtime server, the median of the samples; 0 unless it was measured. */
    uint64_t cpu_ns;
    /* The shortest sample. */
    uint64_t cpu_least_ns;
    /* The longest sample. */
    uint64_t cpu_most_ns;
    /* Group. */
    uint32_t group;
    /* Program index. */
    uint32_t program;
    /* Where the run time comes from: 0 instructions, 1 declared, 2 measured, 3 remote. */
    uint32_t model;
    /* Runs that were measured. */
    uint32_t samples;
    /* When the program's result came to the drive; 0 if none was run. In virtual time it comes at once. */
    uint64_t result_ns;
    /* Real time that the program took on its worker thread; 0 in virtual time. */
    uint64_t worker_ns;
    /* The worker thread that ran the program. */
    uint32_t worker;
    /* 0. */
    uint32_t reserved;
};

#define CSDRIVE_UNIT_RECORD_KIND 3
#define CSDRIVE_UNIT_RECORD_BYTES 32

/* A stay of a job on a compute unit. */
struct csdrive_unit_record {
    /* The Execute command. */
    uint64_t job;
    /* When the job began to run, after the context switch. */
    uint64_t start_ns;
    /* When it left the unit. */
    uint64_t end_ns;
    /* The unit. */
    uint32_t unit;
    /* 0. */
    uint32_t reserved;
};

#define CSDRIVE_DIE_RECORD_KIND 4
#define CSDRIVE_DIE_RECORD_BYTES 56

/* An operation of a flash die. */
struct csdrive_die_record {
    /* When the die was taken. */
    uint64_t start_ns;
    /* When it was free again. */
    uint64_t end_ns;
    /* When its pages began to cross the channel. */
    uint64_t transfer_start_ns;
    /* When they had crossed it; with nothing to cross, as the start. */
    uint64_t transfer_end_ns;
    /* The command whose read its first page is; NO_COMMAND for all other operations: what is written belongs to no command when it goes to flash. */
    uint64_t command;
    /* The die. */
    uint32_t die;
    /* Its channel. */
    uint32_t channel;
    /* DieOperation. */
    uint8_t operation;
    /* Pages or blocks at once. */
    uint8_t planes;
    /* 1 for garbage collection. */
    uint8_t is_collection;
    /* 1 for a part of an operation that was suspended, after the first. */
    uint8_t is_resumed;
    /* 0. */
    uint8_t reserved[4];
};

#define CSDRIVE_LINK_RECORD_KIND 5
#define CSDRIVE_LINK_RECORD_BYTES 40

/* Bytes that crossed a link. */
struct csdrive_link_record {
    /* When they were ready to be sent. */
    uint64_t asked_ns;
    /* When the last of them arrived: after all that was sent before, the time that the bytes take, and the link's latency. */
    uint64_t arrived_ns;
    /* The command whose bytes they are. */
    uint64_t command;
    /* Bytes. */
    uint64_t bytes;
    /* LinkPath. */
    uint8_t path;
    /* 0. */
    uint8_t reserved[7];
};

#define CSDRIVE_COUNTER_RECORD_KIND 6
#define CSDRIVE_COUNTER_RECORD_BYTES 208

/* What a drive had counted at a time since it was made. */
struct csdrive_counter_record {
    /* The time. */
    uint64_t now_ns;
    /* Bytes per second of the host link, each direction; 0 = no limit. */
    uint64_t link_bytes_per_s;
    /* Time that units ran jobs, all together. */
    uint64_t units_busy_ns;
    /* Time that channels moved pages, all together. */
    uint64_t channels_busy_ns;
    /* Time that dies read, programmed or erased, all together. */
    uint64_t dies_busy_ns;
    /* Time in which data went over the host link to the host or to other drives. */
    uint64_t link_out_busy_ns;
    /* Time in which data came over it from the host or from other drives. */
    uint64_t link_in_busy_ns;
    /* Data bytes over the host link to the host. */
    uint64_t bytes_to_host;
    /* Data bytes over the host link from the host. */
    uint64_t bytes_from_host;
    /* Bytes into and within device memory. */
    uint64_t bytes_internal;
    /* Bytes of device memory that other drives copied from this one, not over the link of the host. */
    uint64_t bytes_to_peers;
    /* Bytes that this drive copied from the device memory of others. */
    uint64_t bytes_from_peers;
    /* Bytes that hosts wrote to blocks. */
    uint64_t host_bytes_written;
    /* Flash pages read for hosts. */
    uint64_t flash_reads;
    /* Flash pages read to complete parts of pages. */
    uint64_t modify_reads;
    /* Flash pages read by garbage collection. */
    uint64_t gc_reads;
    /* Flash pages programmed for hosts. */
    uint64_t flash_programs;
    /* Flash pages programmed by garbage collection. */
    uint64_t gc_programs;
    /* Blocks of flash that were erased. */
    uint64_t erases;
    /* Commands completed. */
    uint64_t commands;
    /* Completions that left later than their modelled time plus the tolerance; none in virtual time. */
    uint64_t late;
    /* The tolerance. */
    uint64_t late_tolerance_ns;
    /* Sum of the delays of the late ones. */
    uint64_t late_sum_ns;
    /* The longest delay. */
    uint64_t late_max_ns;
    /* Compute units. */
    uint32_t units;
    /* Channels of the flash. */
    uint32_t channels;
    /* Dies of the flash. */
    uint32_t dies;
    /* Bytes of a flash page. */
    uint32_t page_bytes;
};

#endif
