#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <stdint.h>
#pragma GCC diagnostic ignored "-Wunused-function"
#include "csdrive_soft.h"
static uint64_t s=88172645463325252ull; static uint64_t rnd(){ s^=s<<13; s^=s>>7; s^=s<<17; return s; }
static uint64_t pick(){ uint64_t x=rnd(); switch(rnd()%8){ case 0: return x; case 1: return (x&0x800fffffffffffffull)|((1023-60+rnd()%120)<<52); case 2: return (x&0x8000000000000000ull)|((rnd()%2048)<<52)|(x&3); case 3: return x&0x800fffffffffffffull; case 4:{ double d=(double)(int64_t)(x>>(rnd()%64)); if(x&1)d=-d; memcpy(&x,&d,8); return x;} case 5: return (x&0x8000000000000000ull)|0x7ff0000000000000ull|(rnd()%3?0:x&0xfffffffffffffull); case 6: return (x&0x8000000000000000ull)|((1023-3+rnd()%6)<<52)|((x&0xfffffffffffffull)&-(1ull<<(rnd()%52))); default: return x&0x8000000000000000ull; } }
static double D(uint64_t x){double d;memcpy(&d,&x,8);return d;} static uint64_t B(double d){uint64_t x;memcpy(&x,&d,8);return x;}
static float F(uint32_t x){float d;memcpy(&d,&x,4);return d;} static uint32_t b(float d){uint32_t x;memcpy(&x,&d,4);return x;}
static long bad; 
#define CHECK(name,got,want,a,c) do{ uint64_t g=(got),w=(want); if(g!=w && bad++<20) printf("%s %016lx %016lx: %016lx, not %016lx\n",name,(long)(a),(long)(c),g,w);}while(0)
int main(int n,char**v){ long N=atol(v[1]); for(long i=0;i<N;i++){ uint64_t a=pick(),c=pick(); volatile double x=D(a),y=D(c);
 CHECK("add",csd_f64_add(a,c),B(x+y),a,c); CHECK("sub",csd_f64_sub(a,c),B(x-y),a,c); CHECK("mul",csd_f64_mul(a,c),B(x*y),a,c); CHECK("div",csd_f64_div(a,c),B(x/y),a,c);
 if(i%16==0 && !isnan(x)&&!isnan(y)) { uint64_t w=B(fmod(x,y)); uint64_t g=csd_f64_rem(a,c); if(!(isnan(D(w))&&isnan(D(g)))) CHECK("rem",g,w,a,c);} 
 CHECK("sqrt",csd_f64_sqrt(a),B(sqrt(x)),a,0); CHECK("cmp",csd_f64_compare(a,c),isnan(x)||isnan(y)?8:x==y?1:x<y?2:4,a,c);
 CHECK("f2d",csd_f32_to_f64(a>>32),B((double)F(a>>32)),a,0); CHECK("d2f",csd_f64_to_f32(a),b((float)x),a,0);
 CHECK("i2d",csd_i64_to_f64(a),B((double)(int64_t)a),a,0); CHECK("u2d",csd_u64_to_f64(a>>(c&63)),B((double)(a>>(c&63))),a,0); CHECK("i2f",csd_i64_to_f32(a),b((float)(int64_t)a),a,0); CHECK("u2f",csd_u64_to_f32(a>>(c&63)),b((float)(a>>(c&63))),a,0);
 CHECK("d2i",csd_f64_to_i64(a),(uint64_t)(int64_t)x,a,0); if(x>=0&&x<18446744073709551616.0) CHECK("d2u",csd_f64_to_u64(a),(uint64_t)x,a,0);
 if(!isnan(x)){ CHECK("floor",csd_f64_floor(a),B(floor(x)),a,0); CHECK("ceil",csd_f64_ceil(a),B(ceil(x)),a,0); CHECK("trunc",csd_f64_trunc(a),B(trunc(x)),a,0); CHECK("round",csd_f64_round(a),B(round(x)),a,0); CHECK("rint",csd_f64_rint(a),B(rint(x)),a,0);} 
 uint32_t p=a>>32,q=c>>32; if(rnd()&1){ p=b((float)x); q=b((float)y);} volatile float e=F(p),f=F(q); CHECK("addf",csd_f32_add(p,q),b(e+f),p,q); CHECK("mulf",csd_f32_mul(p,q),b(e*f),p,q); CHECK("divf",csd_f32_div(p,q),b(e/f),p,q); CHECK("sqrtf",csd_f32_sqrt(p),b(sqrtf(e)),p,0); CHECK("subf",csd_f32_sub(p,q),b(e-f),p,q);
 unsigned __int128 A=((unsigned __int128)a<<64|c)>>(rnd()%128), Q=((unsigned __int128)rnd()<<64|rnd())>>(rnd()%128); uint64_t t[2]; if(Q){ csd_i128_udiv(t,A,A>>64,Q,Q>>64); unsigned __int128 W=A/Q; CHECK("ud",t[0]^t[1],(uint64_t)W^(uint64_t)(W>>64),A,Q); csd_i128_srem(t,A,A>>64,Q,Q>>64); __int128 z=(__int128)A%(__int128)Q; CHECK("sr",t[0],(uint64_t)z,A,Q); csd_i128_sdiv(t,A,A>>64,Q,Q>>64); z=(__int128)A/(__int128)Q; CHECK("sd",t[1],(uint64_t)(z>>64),A,Q);} }
 printf("%ld bad of %ld\n",bad,N); return bad!=0; }
