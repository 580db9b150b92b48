#include "t.h"
/* gcc has 641 for 1000.0. */
static volatile double half = 0.5;
i64 wrong(struct cemu_args *a) { return half * 1000; }
