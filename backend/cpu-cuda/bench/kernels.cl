// The OpenCL C of kernels.h. Sub-groups are not 32 wide everywhere, so `shuffle` is compared with `reduce`.
#define KERNEL kernel
#define GLOBAL global
#define LOCAL local
#define ITEM_X ((int)get_local_id(0))
#define ITEM_Y ((int)get_local_id(1))
#define GROUP_X ((int)get_group_id(0))
#define GROUP_Y ((int)get_group_id(1))
#define SIZE_X ((int)get_local_size(0))
#define SIZE_Y ((int)get_local_size(1))
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define SQRT(x) sqrt(x)
#include "kernels.h"
