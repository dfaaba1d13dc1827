// Loops over registers: an array of them that is not unrolled away would live in memory.
#pragma once

#if defined(__clang__)
#define TREEWARD_UNROLL _Pragma("unroll")
#else
#define TREEWARD_UNROLL _Pragma("GCC unroll 16")
#endif
