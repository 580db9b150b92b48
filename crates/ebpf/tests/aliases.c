static int bitmap __attribute__((section(".data.bitmaps"), used)) = 4;
int common_variable;
long long impl(void *x) { bitmap++; common_variable += bitmap; return common_variable; }
long long also(void *x) __attribute__((alias("impl")));
