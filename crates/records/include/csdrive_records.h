/* Records of a csdrive drive, little-endian, without padding.
 * Made by the crate `records` of csdrive; do not edit. UPDATE_DOCS=1 cargo test -p records makes it anew. */
#ifndef CSDRIVE_RECORDS_H
#define CSDRIVE_RECORDS_H

#include <stdint.h>

#define CSDRIVE_RECORDS_VERSION 2

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
#define CSDRIVE_JOB_RECORD_BYTES 160

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
#define CSDRIVE_DIE_RECORD_BYTES 24

/* An operation of a flash die. */
struct csdrive_die_record {
    /* When the die was taken. */
    uint64_t start_ns;
    /* When it was free again. */
    uint64_t end_ns;
    /* The die. */
    uint32_t die;
    /* DieOperation. */
    uint8_t operation;
    /* Pages or blocks at once. */
    uint8_t planes;
    /* 1 for garbage collection. */
    uint8_t is_collection;
    /* 0. */
    uint8_t reserved;
};

#endif
