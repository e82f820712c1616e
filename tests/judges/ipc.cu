// SPDX-License-Identifier: Apache-2.0 OR MIT
// Memory and an event shared between two processes of the CUDA runtime: the program starts itself again.
#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

struct Handles { cudaIpcMemHandle_t memory; cudaIpcEventHandle_t event; };

__global__ void add(int *a, int n, int value) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) a[i] += value;
}

static const int N = 100000;

static int other(int in, int out) {
    Handles from;
    if (read(in, &from, sizeof from) != sizeof from) return 3;
    int *a = nullptr;
    cudaEvent_t event;
    cudaError_t opened = cudaIpcOpenMemHandle(reinterpret_cast<void **>(&a), from.memory, cudaIpcMemLazyEnablePeerAccess);
    cudaError_t also = cudaIpcOpenEventHandle(&event, from.event);
    cudaError_t waited = cudaEventSynchronize(event);
    add<<<(N + 255) / 256, 256>>>(a, N, 1000);
    cudaError_t done = cudaDeviceSynchronize();
    std::printf("other: %s %s %s %s\n", cudaGetErrorName(opened), cudaGetErrorName(also), cudaGetErrorName(waited), cudaGetErrorName(done));
    std::printf("other, close: %s\n", cudaGetErrorName(cudaIpcCloseMemHandle(a)));
    std::fflush(stdout);
    return write(out, "x", 1) != 1;
}

int main(int count, char **words) {
    if (count == 3) return other(atoi(words[1]), atoi(words[2]));
    int to[2], from[2];
    if (pipe(to) || pipe(from)) return 1;
    pid_t child = fork();
    if (child == 0) {
        char in[12], out[12];
        std::snprintf(in, sizeof in, "%d", to[0]);
        std::snprintf(out, sizeof out, "%d", from[1]);
        execl("/proc/self/exe", words[0], in, out, nullptr);
        _exit(4);
    }
    int *a;
    Handles handles;
    cudaEvent_t event;
    cudaMalloc(&a, N * 4);
    cudaMemset(a, 0, N * 4);
    cudaError_t made = cudaEventCreateWithFlags(&event, cudaEventInterprocess | cudaEventDisableTiming);
    add<<<(N + 255) / 256, 256>>>(a, N, 7);
    cudaEventRecord(event);
    cudaError_t memory = cudaIpcGetMemHandle(&handles.memory, a);
    cudaError_t got = cudaIpcGetEventHandle(&handles.event, event);
    std::printf("handles: %s %s %s\n", cudaGetErrorName(made), cudaGetErrorName(memory), cudaGetErrorName(got));
    std::fflush(stdout);
    char word;
    if (write(to[1], &handles, sizeof handles) != sizeof handles || read(from[0], &word, 1) != 1) return 2;
    std::vector<int> host(N);
    cudaMemcpy(host.data(), a, N * 4, cudaMemcpyDeviceToHost);
    long long sum = 0;
    for (int value : host) sum += value;
    int status = 0;
    waitpid(child, &status, 0);
    std::printf("sum: %lld, the other ended with %d\n", sum, status);
    return 0;
}
