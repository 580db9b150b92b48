#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdarg.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#define NI __attribute__((noinline))
typedef struct{long long a,b,c;}A24; typedef struct{long long a,b;}A16;
static NI long long alias(A24*x,...){va_list ap;va_start(ap,x);x->a=99;A24 y=va_arg(ap,A24);va_end(ap);return y.a*100+x->a;}
static NI long long two(int n,...){va_list ap;va_start(ap,n);A16 y=va_arg(ap,A16);int z=va_arg(ap,int);va_end(ap);return y.a*100+y.b*10+z;}
static NI double dw(int n){double a[64];for(int i=0;i<n;i++)a[i&63]=1.0/(i+1);return a[0]+a[1];}
static NI unsigned long tri(unsigned long n){unsigned long s=0; for(unsigned long i=0;i<n;i++) s+=i*i; return s;}
static NI unsigned __int128 sh(unsigned __int128 a,int n){ return (a<<n)^(a>>(n/2)); }
static NI __int128 sar(__int128 a,int n){ return a>>n; }
static _Atomic int at; static NI int bump(int p){ at=p; return at+1; }
static int run(int p){
 A24 b={0,2,3}; printf("%lld %lld\n",alias(&b,b),two(1,(A16){p,7},5));
 errno=0; strtol("99999999999999999999",0,10); printf("%d\n",errno==ERANGE);
 static char big[2501]; memset(big,'x',2500); printf("%d\n",printf("%s\n",big));
 printf("%#08o|%#010o|%#o|%#.5o|%#x\n",8,0,p+9,8,0);
 printf("%ld %lu\n",(long)(dw(p+5)*1e6),tri(p+100));
 unsigned __int128 w=sh(((unsigned __int128)0x123456789abcdefULL<<64)|0xfedcba9876543210ULL,p+3); __int128 v=sar(-((__int128)1<<100)-p,p+65);
 printf("%lx %lx %lx %lx\n",(long)(w>>64),(long)w,(long)(v>>64),(long)v);
 printf("%d %d\n",(int)log10(pow(10,15)),(int)log10(0.1)); double q=pow(10,-310); uint64_t u; memcpy(&u,&q,8); printf("%d %d %d\n",u>100,hypot(NAN,1)!=hypot(NAN,1),bump(p));
 int x; printf("%d\n",(int)(snprintf(big,100,"%p",(void*)&x)>2));
 printf("%d%d%d%d%d%d%d%d%d%d%d%d%d%d\n",1,2,3,4,5,6,7,8,9,10,11,12,13,p);
 return p; }
#ifdef __bpf__
#include <csdrive.h>
int corners(struct cemu_args*a){ return -run((int)a->cparam1); }
#else
int main(int c,char**v){ run(atoi(v[1])); }
#endif
