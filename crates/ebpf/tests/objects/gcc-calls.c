#include "t.h"
__attribute__((noinline)) i64 pad(i64 x){ return x*3+1; }
__attribute__((noinline)) i64 twice(i64 x){ return x*2; }
static __attribute__((noinline)) i64 loc(i64 x){ return x*5+2; }
int a1=11, b1=22; int *pp=&b1; static int s1=5,s2=6; int *qq=&s2; static int *const volatile rr=&s1; const char *names[2]={"alpha","be"}; 
static NI int len(const char*s){int n=0; while(s[n]) n++; return n;}
i64 gmain(struct cemu_args *a) { return twice(7+a->cparam1)+pad(1)*100+loc(2)*1000+ *pp*100000LL + *qq*10000000LL+ *rr*100000000LL + (len(names[0])+len(names[1]))*1000000000LL; }
