// SPDX-License-Identifier: Apache-2.0 OR MIT
// The kernels of `scripts/bench cpu-device`, once: CUDA C or OpenCL C, as the macros say.
// kernels.ptx is made of kernels.cu, see there.

KERNEL void vadd(GLOBAL const float *a, GLOBAL const float *b, GLOBAL float *c, int n) {
  int i = GROUP_X * SIZE_X + ITEM_X;
  if (i < n) c[i] = a[i] + b[i];
}

KERNEL void saxpy(GLOBAL const float *x, GLOBAL float *y, float a, int n) {
  int i = GROUP_X * SIZE_X + ITEM_X;
  if (i < n) y[i] = a * x[i] + y[i];
}

// Three points of a row.
KERNEL void blur(GLOBAL const float *in, GLOBAL float *out, int n) {
  int i = GROUP_X * SIZE_X + ITEM_X;
  if (i > 0 && i < n - 1) out[i] = (in[i - 1] + in[i] + in[i + 1]) * (1.0f / 3.0f);
}

KERNEL void mandelbrot(GLOBAL int *out, int width, int height, int limit) {
  int x = GROUP_X * SIZE_X + ITEM_X, y = GROUP_Y * SIZE_Y + ITEM_Y;
  if (x >= width || y >= height) return;
  float cr = -2.0f + 3.0f * x / width, ci = -1.0f + 2.0f * y / height, zr = 0, zi = 0;
  int n = 0;
  while (n < limit && zr * zr + zi * zi < 4.0f) {
    float t = zr * zr - zi * zi + cr;
    zi = 2.0f * zr * zi + ci;
    zr = t;
    n++;
  }
  out[y * width + x] = n;
}

KERNEL void nbody(GLOBAL const float *pos, GLOBAL float *acc, int n) {
  int i = GROUP_X * SIZE_X + ITEM_X;
  if (i >= n) return;
  float x = pos[4 * i], y = pos[4 * i + 1], z = pos[4 * i + 2], ax = 0, ay = 0, az = 0;
  for (int j = 0; j < n; j++) {
    float dx = pos[4 * j] - x, dy = pos[4 * j + 1] - y, dz = pos[4 * j + 2] - z;
    float inv = 1.0f / SQRT(dx * dx + dy * dy + dz * dz + 0.01f);
    float s = pos[4 * j + 3] * inv * inv * inv;
    ax += dx * s;
    ay += dy * s;
    az += dz * s;
  }
  acc[4 * i] = ax;
  acc[4 * i + 1] = ay;
  acc[4 * i + 2] = az;
}

// C = A * B, n a multiple of 16, blocks of 16 x 16.
KERNEL void matmul(GLOBAL const float *a, GLOBAL const float *b, GLOBAL float *c, int n) {
  LOCAL float as[16][16], bs[16][16];
  int tx = ITEM_X, ty = ITEM_Y, row = GROUP_Y * 16 + ty, col = GROUP_X * 16 + tx;
  float sum = 0;
  for (int t = 0; t < n; t += 16) {
    as[ty][tx] = a[row * n + t + tx];
    bs[ty][tx] = b[(t + ty) * n + col];
    BARRIER;
    for (int k = 0; k < 16; k++) sum += as[ty][k] * bs[k][tx];
    BARRIER;
  }
  c[row * n + col] = sum;
}

// Sums of blocks of 256: a tree in shared memory with nine barriers.
KERNEL void reduce(GLOBAL const float *in, GLOBAL float *out, int n) {
  LOCAL float sums[256];
  int t = ITEM_X, i = GROUP_X * 256 + t;
  sums[t] = i < n ? in[i] : 0.0f;
  BARRIER;
  for (int step = 128; step > 0; step >>= 1) {
    if (t < step) sums[t] += sums[t + step];
    BARRIER;
  }
  if (t == 0) out[GROUP_X] = sums[0];
}

#ifdef SHUFFLE_DOWN
// Sums of blocks of 256: warps by shuffles, then their sums by the first warp.
KERNEL void shuffle(GLOBAL const float *in, GLOBAL float *out, int n) {
  LOCAL float sums[32];
  int t = ITEM_X, i = GROUP_X * 256 + t;
  float sum = i < n ? in[i] : 0.0f;
  for (int d = 16; d > 0; d >>= 1) sum += SHUFFLE_DOWN(sum, d);
  if ((t & 31) == 0) sums[t >> 5] = sum;
  BARRIER;
  if (t < 32) {
    sum = t < 8 ? sums[t] : 0.0f;
    for (int d = 4; d > 0; d >>= 1) sum += SHUFFLE_DOWN(sum, d);
    if (t == 0) out[GROUP_X] = sum;
  }
}
#endif
