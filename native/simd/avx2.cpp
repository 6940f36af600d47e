// The kernel for processors with AVX2.
#if defined(__x86_64__)
#include "kernel.hpp"
#include "crc-sse42.inl"

#define HEBB_KERNEL_NAME "avx2"
#define HEBB_REGISTER_BYTES 32
#define HEBB_KERNEL_SYMBOL kAvx2
#include "operations.inl"
#endif
