#include <csdrive.h>
#include <math.h>
long long mathematics(struct cemu_args *a) { return (long)(sqrt((double)a->cparam1) * 1000 + pow(2, a->cparam2) + floor(exp(1) * log(10) * 100 + sin(0.5) * cos(0.5) * 1000) + round(atan2(1, -1) * 100)) - 1023 + 1000; }
