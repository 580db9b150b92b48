/* libcsdrive: programs, device memory and executions of a computational storage drive.
 *
 *     cc host.c $(pkg-config --cflags --libs csdrive)
 *
 * A drive is /dev/nvme0 (a stock Linux kernel, by io_uring passthrough; root), or the socket of `csdrive serve`.
 *
 * Functions return 0, or what went wrong: a positive number is an NVMe status (status code type in bits 10:8, status
 * code in 7:0), a negative one an errno. csdrive_error() says it in words.
 *
 * A drive may be used by several threads; they wait for each other. Different drives are independent.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef LIBCSDRIVE_H
#define LIBCSDRIVE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A drive that is open. */
typedef struct csdrive csdrive;

/* What a drive is like. */
typedef struct csdrive_geometry {
    uint64_t block_bytes;        /* bytes of a logical block */
    uint64_t blocks;             /* blocks of the NVM namespace */
    uint64_t memory_bytes;       /* bytes of device memory */
    uint64_t transfer_bytes_max; /* most bytes of one command; functions below split what is longer */
} csdrive_geometry;

/* A part of device memory: {.start = 4096, .length = 100}. */
typedef struct csdrive_range {
    uint64_t start;  /* first byte */
    uint32_t length; /* bytes; may be 0 */
    uint32_t reserved;
} csdrive_range;

/* Values of csdrive_execution.run_time. */
enum {
    CSDRIVE_RUN_TIME_DEFAULT = 0,      /* as the program or else the drive says */
    CSDRIVE_RUN_TIME_DECLARED = 1,     /* run_time_ns */
    CSDRIVE_RUN_TIME_INSTRUCTIONS = 2, /* from executed instructions and bytes touched */
    CSDRIVE_RUN_TIME_MEASURED = 3,     /* processor time of the drive's host, times a factor */
    CSDRIVE_RUN_TIME_REMOTE = 4        /* processor time of the drive's runtime server */
};

/* One execution of a program. All zeroes, but for what is needed. */
typedef struct csdrive_execution {
    uint16_t program;             /* program index */
    uint16_t range_set;           /* identifier of a range set, or 0 */
    uint16_t range_count;         /* number of ranges given here, if there is no set */
    uint8_t group;                /* identifier of a job group, or 0 */
    uint8_t run_time;             /* where the modelled run time comes from: CSDRIVE_RUN_TIME_... */
    const csdrive_range *ranges;  /* mr_addr[0], mr_addr[1], ... of the program */
    int64_t param1;               /* cparam1 of the program */
    int64_t param2;               /* cparam2 */
    const void *data;             /* data_buffer of the program, or NULL */
    size_t data_length;           /* its bytes */
    uint32_t run_time_ns;         /* CSDRIVE_RUN_TIME_DECLARED: nanoseconds, at most 4294967279; 0 = as the program or drive has it */
    uint32_t reserved;
} csdrive_execution;

/* Flags of csdrive_stream. */
enum {
    CSDRIVE_STREAM_EARLY = 1,  /* runs begin on the first pages of their chunks, while later ones are being copied */
    CSDRIVE_STREAM_OVERLAP = 2 /* the program's data begins with a struct csdrive_chunk, and its range goes on with overlap_blocks
                                  blocks of the next chunk: for records that cross chunks */
};

/* Blocks that are processed chunk by chunk. */
typedef struct csdrive_stream {
    uint64_t first;          /* first block */
    uint64_t count;          /* number of blocks */
    uint32_t chunk_blocks;   /* blocks of a chunk */
    uint32_t in_flight;      /* chunks in flight, 1 to 64 */
    uint32_t flags;          /* CSDRIVE_STREAM_... */
    uint32_t overlap_blocks; /* with CSDRIVE_STREAM_OVERLAP */
    uint32_t cut_bytes;      /* bytes of the last block that programs do not see */
    uint32_t reserved;
} csdrive_stream;

/* An execution that has ended. */
typedef struct csdrive_done {
    uint64_t ticket; /* which: csdrive_submit() gave it */
    uint64_t result; /* what the program returned, if status is 0 */
    int status;      /* 0, or an NVMe status or a negative errno as above */
    int reserved;
} csdrive_done;

/* What went wrong last in this thread, with what to do about it. Valid until the next call in this thread. */
const char *csdrive_error(void);

/* The version of this library. */
const char *csdrive_version(void);

/* Opens a drive: "/dev/nvme0", one of its namespaces, or a socket of `csdrive serve`. */
int csdrive_open(const char *path, csdrive **drive);

/* The same with flags. CSDRIVE_POLLED: look for completions again and again instead of waiting for interrupts; faster, and
 * takes a processor. The kernel's driver must be loaded with nvme.poll_queues=1 or more; sockets need nothing. */
#define CSDRIVE_POLLED 1u
int csdrive_open_with(const char *path, unsigned flags, csdrive **drive);

/* Closes a drive; NULL is none. What is under way is given up; by io_uring, it is waited for. */
void csdrive_close(csdrive *drive);

/* From now on works with another namespace: of blocks, memory or programs, whichever this one is. Before, it is the first of each
 * kind, or the one that the path names. The geometry changes with it. -ENODEV: the drive has no such namespace. */
int csdrive_use_namespace(csdrive *drive, uint32_t nsid);

int csdrive_get_geometry(csdrive *drive, csdrive_geometry *geometry);

/* Loads a program (an object of `clang -target bpf`) to an index, and activates it. A file may also be C source (*.c): it is
 * compiled by the newest clang that is installed. */
int csdrive_load(csdrive *drive, uint16_t index, const void *object, size_t length);
int csdrive_load_file(csdrive *drive, uint16_t index, const char *path);

/* Lets a program be executed (1), or no more (0). */
int csdrive_activate(csdrive *drive, uint16_t index, int active);

/* Removes a program, active or not. */
int csdrive_unload(csdrive *drive, uint16_t index);

/* Device memory. Starts and lengths of fills and copies are multiples of four; a copy does not overlap. If a write's are
 * not, what is around it in its dwords is read and written, too. */
int csdrive_memory_read(csdrive *drive, uint64_t start, void *buffer, size_t length);
int csdrive_memory_write(csdrive *drive, uint64_t start, const void *buffer, size_t length);
int csdrive_memory_fill(csdrive *drive, uint64_t start, uint64_t length);
int csdrive_memory_copy(csdrive *drive, uint64_t from, uint64_t length, uint64_t to);

/* Copies device memory of another drive, past the host; `csdrive memory peers` lists the drives and their memory namespaces. */
int csdrive_memory_copy_from(csdrive *drive, uint32_t peer, uint32_t nsid, uint64_t from, uint64_t length, uint64_t to);

/* Blocks; the buffer holds count blocks, all of them. */
int csdrive_read_blocks(csdrive *drive, uint64_t first, uint64_t count, void *buffer);
int csdrive_write_blocks(csdrive *drive, uint64_t first, uint64_t count, const void *buffer);

/* Copies blocks to device memory, or device memory to blocks, within the drive. */
int csdrive_copy_blocks(csdrive *drive, uint64_t first, uint64_t count, uint64_t start);
int csdrive_copy_to_blocks(csdrive *drive, uint64_t start, uint64_t first, uint64_t count);

/* Memory range sets. */
int csdrive_ranges_create(csdrive *drive, const csdrive_range *ranges, size_t count, uint16_t *id);
int csdrive_ranges_delete(csdrive *drive, uint16_t id);

/* Job groups share the drive's compute units by weight, 1 to 1000 (executions of no group: 100, as group 0). They stay
 * until they are deleted; one that has executions is not. */
int csdrive_group_create(csdrive *drive, uint16_t weight, uint8_t *id);
int csdrive_group_change(csdrive *drive, uint8_t id, uint16_t weight);

/* Weight 1 to 1000; priority 1 to 9, the most urgent (5 unless set); jobs are to be finished deadline_us microseconds after they
 * were submitted (0 = no deadline). Priority and deadline count for executions that come later, and for the schedulers that look at
 * them: compute.policy of the drive. */
int csdrive_group_configure(csdrive *drive, uint8_t id, uint16_t weight, uint8_t priority, uint32_t deadline_us);

/* Limits, under every scheduler: kilobytes (1000 bytes) per second that its executions load and store; most of its executions on
 * units at a time; units that they may use, a bit for each of the first 64. 0 = no limit. */
int csdrive_group_limit(csdrive *drive, uint8_t id, uint32_t bandwidth_kbps, uint16_t units_max, uint64_t unit_mask);
int csdrive_group_delete(csdrive *drive, uint8_t id);

/* Executes a program and waits for its end. The result is the program's long long: cast it to int64_t for its sign. */
int csdrive_execute(csdrive *drive, const csdrive_execution *execution, uint64_t *result);

/* Processes count blocks, from first on, chunk by chunk through device memory, which may be smaller. The execution
 * names a range set of in_flight (1 to 64) times two ranges or more, and no ranges of its own: of each chunk in
 * flight the first receives the output, the second has the chunk. The result is the sum of what the program returned. */
int csdrive_execute_stream(csdrive *drive, const csdrive_execution *execution, uint64_t first, uint64_t count,
                           uint32_t chunk_blocks, uint32_t in_flight, uint64_t *result);

/* The same, with all that can be said. With an overlap, ranges of chunks have room for it. */
int csdrive_stream_execute(csdrive *drive, const csdrive_execution *execution, const csdrive_stream *stream, uint64_t *result);

/* Starts an execution. What it points to is copied. The drive sees it at the next csdrive_wait(), at the latest. */
int csdrive_submit(csdrive *drive, const csdrive_execution *execution, uint64_t *ticket);

/* Waits until count executions have ended, in any order. It fails only if none is under way any more (then fewer were
 * than asked for), or if the drive is gone: wait for one at a time if you must know how many were filled in. */
int csdrive_wait(csdrive *drive, csdrive_done *done, size_t count);

/* Takes what has ended: up to count executions. If none has, it waits for one, for timeout_ms at most (0: not at all). *ended
 * is how many there are, also if the function fails. */
int csdrive_poll(csdrive *drive, csdrive_done *done, size_t count, unsigned timeout_ms, size_t *ended);

#ifdef __cplusplus
}
#endif

#endif
