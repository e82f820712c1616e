// SPDX-License-Identifier: Apache-2.0 OR MIT
// kernels.ptx is made of this by
//   clang-15 -x cuda --cuda-device-only -nocudainc -nocudalib --cuda-gpu-arch=sm_75 -Xclang -target-feature -Xclang +ptx64 -O2 -S kernels.cu -o kernels.ptx
#define KERNEL extern "C" __attribute__((global))
#define GLOBAL
#define LOCAL static __attribute__((shared))
#define ITEM_X __nvvm_read_ptx_sreg_tid_x()
#define ITEM_Y __nvvm_read_ptx_sreg_tid_y()
#define GROUP_X __nvvm_read_ptx_sreg_ctaid_x()
#define GROUP_Y __nvvm_read_ptx_sreg_ctaid_y()
#define SIZE_X __nvvm_read_ptx_sreg_ntid_x()
#define SIZE_Y __nvvm_read_ptx_sreg_ntid_y()
#define BARRIER __nvvm_bar_sync(0)
#define SQRT(x) __nvvm_sqrt_rn_f(x)
#define SHUFFLE_DOWN(v, d) __nvvm_shfl_sync_down_f32(0xffffffff, v, d, 31)
#include "kernels.h"
