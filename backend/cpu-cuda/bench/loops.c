// SPDX-License-Identifier: Apache-2.0 OR MIT
// The same work as plain loops, for gcc -O2; with -fopenmp, for all cores.
#include <math.h>

void vadd(const float *restrict a, const float *restrict b, float *restrict c, int n) {
#pragma omp parallel for
  for (int i = 0; i < n; i++) c[i] = a[i] + b[i];
}

void saxpy(const float *restrict x, float *restrict y, float a, int n) {
#pragma omp parallel for
  for (int i = 0; i < n; i++) y[i] = a * x[i] + y[i];
}

void blur(const float *restrict in, float *restrict out, int n) {
#pragma omp parallel for
  for (int i = 1; i < n - 1; i++) out[i] = (in[i - 1] + in[i] + in[i + 1]) * (1.0f / 3.0f);
}

void mandelbrot(int *out, int width, int height, int limit) {
#pragma omp parallel for schedule(dynamic, 4)
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
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
}

void nbody(const float *restrict pos, float *restrict acc, int n) {
#pragma omp parallel for
  for (int i = 0; i < n; i++) {
    float x = pos[4 * i], y = pos[4 * i + 1], z = pos[4 * i + 2], ax = 0, ay = 0, az = 0;
    for (int j = 0; j < n; j++) {
      float dx = pos[4 * j] - x, dy = pos[4 * j + 1] - y, dz = pos[4 * j + 2] - z;
      float inv = 1.0f / sqrtf(dx * dx + dy * dy + dz * dz + 0.01f);
      float s = pos[4 * j + 3] * inv * inv * inv;
      ax += dx * s;
      ay += dy * s;
      az += dz * s;
    }
    acc[4 * i] = ax;
    acc[4 * i + 1] = ay;
    acc[4 * i + 2] = az;
  }
}

// The columns innermost, as one writes it for a processor.
void matmul(const float *restrict a, const float *restrict b, float *restrict c, int n) {
#pragma omp parallel for
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) c[i * n + j] = 0;
    for (int k = 0; k < n; k++)
      for (int j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
  }
}

void reduce(const float *restrict in, float *restrict out, int n) {
#pragma omp parallel for
  for (int block = 0; block < n / 256; block++) {
    float sum = 0;
    for (int i = 0; i < 256; i++) sum += in[block * 256 + i];
    out[block] = sum;
  }
}
