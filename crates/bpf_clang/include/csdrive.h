/* csdrive.h: what a computational storage function (CSF) in C may use.
 *
 * A CSF is one global function. It gets its memory ranges, parameters and data buffer through
 * `struct cemu_args` (the layout that CEMU and FEMU programs use) and returns a 64-bit result:
 *
 *     #include <csdrive.h>
 *     long long count(struct cemu_args *args) { ... return n; }
 *
 * Under `csdrive run` range 0 is the output and ranges 1, 2, ... are the inputs. Accesses outside
 * the ranges, the arguments, the data buffer and the program's own variables end the program.
 * Division by zero gives 0, remainder by zero gives the dividend (RFC 9669).
 *
 * A source that declares `struct cemu_args` itself includes csdrive_helpers.h instead.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef CSDRIVE_H
#define CSDRIVE_H

#include "cemu_def.h"
#include "csdrive_helpers.h"

#endif
