/* cemu_def.h: the argument of a CSF, by the name CEMU's programs include it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CEMU_DEF_H
#define CEMU_DEF_H

struct cemu_args {
    int numr;             /* number of memory ranges */
    void **mr_addr;       /* their addresses */
    long long *mr_len;    /* their lengths in bytes */
    long long cparam1;    /* first parameter */
    long long cparam2;    /* second parameter */
    void *data_buffer;    /* data buffer, NULL if the command has none */
    long long buffer_len; /* its length in bytes */
} __attribute__((packed));

#endif
