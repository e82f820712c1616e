// SPDX-License-Identifier: Apache-2.0 OR MIT
// The toolkit's libraries from C++: cuBLAS, cuFFT, cuSOLVER, cuSPARSE, cuRAND, each a line of its result.
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cufft.h>
#include <curand.h>
#include <cusolverDn.h>
#include <cusparse.h>

#include <cstdint>
#include <cstdio>
#include <vector>

static uint64_t hash(const std::vector<float> &data) {
    uint64_t found = 1469598103934665603ull;
    const auto *bytes = reinterpret_cast<const unsigned char *>(data.data());
    for (size_t i = 0; i < data.size() * 4; i++) found = (found ^ bytes[i]) * 1099511628211ull;
    return found;
}

static float *device(const std::vector<float> &host) {
    float *made = nullptr;
    cudaMalloc(&made, host.size() * 4);
    cudaMemcpy(made, host.data(), host.size() * 4, cudaMemcpyHostToDevice);
    return made;
}

static void tell(const char *name, int status, const float *data, size_t count) {
    std::vector<float> host(count);
    cudaError_t copied = cudaMemcpy(host.data(), data, count * 4, cudaMemcpyDeviceToHost);
    if (status || copied) std::printf("%s: raises %d %s\n", name, status, cudaGetErrorName(copied));
    else std::printf("%s: %016llx\n", name, static_cast<unsigned long long>(hash(host)));
}

int main() {
    const int n = 256;
    std::vector<float> a(n * n), b(n * n);
    for (int i = 0; i < n * n; i++) { a[i] = (i * 31 % 97) / 50.0f - 1 + (i % (n + 1) == 0 ? 20 : 0); b[i] = (i * 17 % 89) / 40.0f - 1; }
    float *da = device(a), *db = device(b), *dc = device(b), one = 1, zero = 0;

    cublasHandle_t blas;
    int status = cublasCreate(&blas);
    status |= cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_T, n, n, n, &one, da, n, db, n, &zero, dc, n);
    tell("cublas gemm", status, dc, n * n);
    status = cublasSgeam(blas, CUBLAS_OP_T, CUBLAS_OP_N, n, n, &one, da, n, &one, db, n, dc, n);
    tell("cublas geam", status, dc, n * n);
    cublasSetPointerMode(blas, CUBLAS_POINTER_MODE_DEVICE);
    status = cublasSdot(blas, n * n, da, 1, db, 1, dc);
    tell("cublas dot", status, dc, 1);

    cufftHandle plan;
    status = cufftPlan1d(&plan, n, CUFFT_C2C, n / 2);
    status |= cufftExecC2C(plan, reinterpret_cast<cufftComplex *>(da), reinterpret_cast<cufftComplex *>(dc), CUFFT_FORWARD);
    tell("cufft", status, dc, n * n);
    cufftDestroy(plan);

    cusolverDnHandle_t solver;
    int *pivots, *info, size = 0;
    cudaMalloc(&pivots, n * 4);
    cudaMalloc(&info, 4);
    status = cusolverDnCreate(&solver);
    status |= cusolverDnSgetrf_bufferSize(solver, n, n, da, n, &size);
    float *work;
    cudaMalloc(&work, size * 4);
    status |= cusolverDnSgetrf(solver, n, n, da, n, work, pivots, info);
    status |= cusolverDnSgetrs(solver, CUBLAS_OP_N, n, n, da, n, pivots, db, n, info);
    tell("cusolver", status, db, n * n);

    std::vector<float> values(n * 2);
    std::vector<int> rows(n + 1), columns(n * 2);
    for (int i = 0; i < n; i++) { rows[i + 1] = 2 * (i + 1); columns[2 * i] = i / 2; columns[2 * i + 1] = n / 2 + i / 2; values[2 * i] = i * 0.25f; values[2 * i + 1] = 1 - i; }
    int *drows, *dcolumns;
    cudaMalloc(&drows, rows.size() * 4);
    cudaMalloc(&dcolumns, columns.size() * 4);
    cudaMemcpy(drows, rows.data(), rows.size() * 4, cudaMemcpyHostToDevice);
    cudaMemcpy(dcolumns, columns.data(), columns.size() * 4, cudaMemcpyHostToDevice);
    float *dvalues = device(values);
    cusparseHandle_t sparse;
    cusparseSpMatDescr_t matrix;
    cusparseDnVecDescr_t x, y;
    size_t bytes = 0;
    void *buffer = nullptr;
    status = cusparseCreate(&sparse);
    status |= cusparseCreateCsr(&matrix, n, n, 2 * n, drows, dcolumns, dvalues, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO, CUDA_R_32F);
    status |= cusparseCreateDnVec(&x, n, db, CUDA_R_32F);
    status |= cusparseCreateDnVec(&y, n, dc, CUDA_R_32F);
    status |= cusparseSpMV_bufferSize(sparse, CUSPARSE_OPERATION_NON_TRANSPOSE, &one, matrix, x, &zero, y, CUDA_R_32F, CUSPARSE_SPMV_ALG_DEFAULT, &bytes);
    cudaMalloc(&buffer, bytes + 4);
    status |= cusparseSpMV(sparse, CUSPARSE_OPERATION_NON_TRANSPOSE, &one, matrix, x, &zero, y, CUDA_R_32F, CUSPARSE_SPMV_ALG_DEFAULT, buffer);
    tell("cusparse", status, dc, n);

    curandGenerator_t random;
    status = curandCreateGenerator(&random, CURAND_RNG_PSEUDO_PHILOX4_32_10);
    status |= curandSetPseudoRandomGeneratorSeed(random, 12);
    status |= curandGenerateNormal(random, dc, n * n, 0, 1);
    tell("curand", status, dc, n * n);
    status = curandDestroyGenerator(random) | cusparseDestroy(sparse) | cusolverDnDestroy(solver) | cublasDestroy(blas);
    std::printf("ended: %d\n", status);
    return 0;
}
