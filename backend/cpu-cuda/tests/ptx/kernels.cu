// SPDX-License-Identifier: Apache-2.0 OR MIT
// Kernels of the corpus. kernels.ptx is made of this by
//   clang-15 -x cuda --cuda-device-only -nocudainc -nocudalib --cuda-gpu-arch=sm_75 -Xclang -target-feature -Xclang +ptx64 -O2 -S kernels.cu -o kernels.ptx
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define TX __nvvm_read_ptx_sreg_tid_x()
#define TY __nvvm_read_ptx_sreg_tid_y()
#define BX __nvvm_read_ptx_sreg_ctaid_x()
#define BY __nvvm_read_ptx_sreg_ctaid_y()
#define NX __nvvm_read_ptx_sreg_ntid_x()
#define GX __nvvm_read_ptx_sreg_nctaid_x()
#define SYNC __nvvm_bar_sync(0)
typedef unsigned long long u64;
typedef unsigned u32;

extern "C" __global__ void vadd(const float *a, const float *b, float *c, int n) {
  int i = BX * NX + TX;
  if (i < n) c[i] = a[i] + b[i];
}

extern "C" __global__ void saxpy_strided(float a, const float *x, float *y, int n) {
  for (int i = BX * NX + TX; i < n; i += GX * NX) y[i] = a * x[i] + y[i];
}

// A 3-point blur of each row through shared memory, blocks of 64.
extern "C" __global__ void blur(const float *in, float *out, int n) {
  __shared__ float tile[66];
  int i = BX * 64 + TX;
  tile[TX + 1] = i < n ? in[i] : 0.0f;
  if (TX == 0) tile[0] = i > 0 ? in[i - 1] : 0.0f;
  if (TX == 63) tile[65] = i + 1 < n ? in[i + 1] : 0.0f;
  SYNC;
  if (i < n) out[i] = (tile[TX] + tile[TX + 1] + tile[TX + 2]) * (1.0f / 3.0f);
}

extern "C" __global__ void histogram(const unsigned char *in, u32 *bins, int n) {
  __shared__ u32 local[256];
  for (int i = TX; i < 256; i += NX) local[i] = 0;
  SYNC;
  for (int i = BX * NX + TX; i < n; i += GX * NX) __nvvm_atom_add_gen_i((int *)&local[in[i]], 1);
  SYNC;
  for (int i = TX; i < 256; i += NX) __nvvm_atom_add_gen_i((int *)&bins[i], local[i]);
}

// Sum of a block through shared memory, 256 threads.
extern "C" __global__ void reduce(const float *in, float *out, int n) {
  __shared__ float sums[256];
  float sum = 0;
  for (int i = BX * 256 + TX; i < n; i += GX * 256) sum += in[i];
  sums[TX] = sum;
  SYNC;
  for (int step = 128; step > 0; step >>= 1) {
    if (TX < step) sums[TX] += sums[TX + step];
    SYNC;
  }
  if (TX == 0) out[BX] = sums[0];
}

// C = A * B, n a multiple of 16, blocks of 16 x 16.
extern "C" __global__ void matmul(const float *a, const float *b, float *c, int n) {
  __shared__ float as[16][16], bs[16][16];
  int row = BY * 16 + TY, col = BX * 16 + TX;
  float sum = 0;
  for (int t = 0; t < n; t += 16) {
    as[TY][TX] = a[row * n + t + TX];
    bs[TY][TX] = b[(t + TY) * n + col];
    SYNC;
    for (int k = 0; k < 16; k++) sum += as[TY][k] * bs[k][TX];
    SYNC;
  }
  c[row * n + col] = sum;
}

extern "C" __global__ void mandelbrot(u32 *out, int w, int h, int limit) {
  int x = BX * NX + TX, y = BY * __nvvm_read_ptx_sreg_ntid_y() + TY;
  if (x >= w || y >= h) return;
  float cr = -2.0f + 3.0f * x / w, ci = -1.0f + 2.0f * y / h, zr = 0, zi = 0;
  int n = 0;
  while (n < limit && zr * zr + zi * zi < 4.0f) {
    float t = zr * zr - zi * zi + cr;
    zi = 2.0f * zr * zi + ci;
    zr = t;
    n++;
  }
  out[y * w + x] = n;
}

extern "C" __global__ void nbody(const float *pos, float *acc, int n) {
  int i = BX * NX + TX;
  if (i >= n) return;
  float x = pos[4 * i], y = pos[4 * i + 1], z = pos[4 * i + 2], ax = 0, ay = 0, az = 0;
  for (int j = 0; j < n; j++) {
    float dx = pos[4 * j] - x, dy = pos[4 * j + 1] - y, dz = pos[4 * j + 2] - z;
    float d2 = dx * dx + dy * dy + dz * dz + 0.01f;
    float inv = 1.0f / __nvvm_sqrt_rn_f(d2);
    float s = pos[4 * j + 3] * inv * inv * inv;
    ax += dx * s; ay += dy * s; az += dz * s;
  }
  acc[4 * i] = ax; acc[4 * i + 1] = ay; acc[4 * i + 2] = az; acc[4 * i + 3] = 0;
}

// Sums of warps through shuffles.
extern "C" __global__ void warp_sum(const int *in, int *out) {
  int v = in[BX * NX + TX];
  for (int d = 16; d > 0; d >>= 1) v += __nvvm_shfl_sync_down_i32(0xffffffff, v, d, 31);
  if ((TX & 31) == 0) out[(BX * NX + TX) / 32] = v;
}

// Collectives of two halves of a warp in different branches.
extern "C" __global__ void diverged(int *out) {
  int lane = TX & 31, v;
  if (lane < 16) {
    v = __nvvm_shfl_sync_idx_i32(0x0000ffff, lane * 10, (lane + 1) & 15, 31);
  } else {
    v = __nvvm_vote_ballot_sync(0xffff0000, lane & 1);
    v += __nvvm_shfl_sync_idx_i32(0xffff0000, lane, 31, 31);
  }
  out[TX] = v;
}

__constant__ int weights[4] = {3, 5, 7, 11};
__device__ int counter = 40;
__device__ int *counter_pointer = &counter;

__device__ __attribute__((noinline)) int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
__device__ __attribute__((noinline)) int twice(int n) { return 2 * n; }
__device__ __attribute__((noinline)) int square(int n) { return n * n; }
typedef int (*operation)(int);
__device__ operation table[2] = {twice, square};

extern "C" __global__ void calls(int *out, int which) {
  out[TX] = fib(TX) + weights[TX & 3] + table[which](TX) + *counter_pointer;
}

// A stack frame indexed at run time.
extern "C" __global__ void local_array(int *out, int n) {
  int stack[32];
  for (int i = 0; i < 32; i++) stack[i] = i * (int)TX;
  int sum = 0;
  for (int i = 0; i < n; i++) { sum += stack[(i * 7) & 31]; stack[(i * 3) & 31] = sum; }
  out[TX] = sum;
}

// A lock that the threads of a block take in turn.
extern "C" __global__ void spin_lock(int *lock, int *count) {
  bool done = false;
  while (!done) {
    if (__nvvm_atom_cas_gen_i(lock, 0, 1) == 0) {
      *(volatile int *)count = *(volatile int *)count + 1;
      __nvvm_membar_gl();
      __nvvm_atom_xchg_gen_i(lock, 0);
      done = true;
    }
  }
}

// Waits for all blocks of the grid.
extern "C" __global__ void grid_sync(int *arrived, int *out, int blocks) {
  SYNC;
  if (TX == 0) {
    __nvvm_atom_add_gen_i(arrived, 1);
    while (*(volatile int *)arrived < blocks) {}
  }
  SYNC;
  out[BX * NX + TX] = *(volatile int *)arrived;
}

struct big { int a[6]; double d; };
extern "C" __global__ void by_value(struct big s, int i, double *out) { out[TX] = s.a[i] + s.d; }

extern "C" __global__ void integers(const int *a, const u64 *b, u64 *out) {
  int i = TX;
  int x = a[i], y = a[i + 1];
  u64 p = b[i], q = b[i + 1];
  out[8 * i] = (u64)(u32)(x / (y | 1)) + (p % (q | 1));
  out[8 * i + 1] = __nvvm_mulhi_i(x, y) + __nvvm_mulhi_ull(p, q);
  out[8 * i + 2] = __builtin_popcountll(p) + __builtin_clz(x | 1) * 100 + __builtin_ctzll(q | 1) * 10000;
  out[8 * i + 3] = (p >> (q & 63)) ^ (p << (x & 63));
  out[8 * i + 4] = (u64)((long long)p >> (y & 63)) + (x < y ? x : y);
  out[8 * i + 5] = (u64)(short)x * (u64)(unsigned char)y;
  out[8 * i + 6] = (u32)__nvvm_prmt(x, y, 0x5410) + (u64)__builtin_bswap32(x);
  out[8 * i + 7] = (u64)(long long)((double)x * 1.5) + (u64)(float)(u32)y;
}

// Writes past what it was given.
extern "C" __global__ void stray(int *out, long at) { out[at] = 1; }
