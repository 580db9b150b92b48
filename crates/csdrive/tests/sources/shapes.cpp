#include <csdrive.h>
struct Shape { virtual long area(long x) const = 0; long twice(long x) const { return 2*area(x); } };
struct Sq : Shape { long s; Sq(long s):s(s){} long area(long x) const override { return s*s+x; } };
struct Re : Shape { long a,b; Re(long a,long b):a(a),b(b){} long area(long x) const override { return a*b-x; } };
static __attribute__((noinline)) long total(const Shape*const*v,int n){ long t=0; for(int i=0;i<n;i++) t+=v[i]->twice(i); return t; }
extern "C" long long shapes(struct cemu_args*a){ Sq s(3+a->cparam1); Re r(4,5); const Shape*v[4]={&s,&r,&s,&r}; return total(v,4); }
