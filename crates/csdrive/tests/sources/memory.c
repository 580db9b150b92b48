/* malloc, calloc, realloc and free in a random order: no two allocations overlap, and the arena does not run dry. A program with a
 * plain main. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static unsigned long x = 88172645463325252UL;
static unsigned next(void) { x ^= x << 13; x ^= x >> 7; x ^= x << 17; return (unsigned)(x >> 20); }
int main(void) {
  static struct { unsigned char *p; unsigned n; unsigned char v; } s[200];
  long bad = 0, nulls = 0;
  for (int i = 0; i < 20000; i++) {
    unsigned k = next() % 200;
    if (s[k].p) {
      for (unsigned j = 0; j < s[k].n; j++) bad += s[k].p[j] != s[k].v;
      if (next() % 4 == 0) { unsigned n = next() % 3000; unsigned char *q = realloc(s[k].p, n); if (q) { for (unsigned j = 0; j < n && j < s[k].n; j++) bad += q[j] != s[k].v; memset(q, s[k].v, n); s[k].p = q; s[k].n = n; } else nulls++; }
      else { free(s[k].p); s[k].p = 0; }
    } else {
      s[k].n = next() % (next() % 8 ? 200 : 9000); s[k].v = (unsigned char)i;
      s[k].p = next() % 3 ? malloc(s[k].n) : calloc(1, s[k].n);
      if (s[k].p) memset(s[k].p, s[k].v, s[k].n); else nulls++;
    }
  }
  printf("%ld bad %ld nulls\n", bad, nulls);
  return 0;
}
