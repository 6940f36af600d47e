// The kernel for processors with AVX-512.
#if defined(__x86_64__)
#include "kernel.hpp"
#include "crc-sse42.inl"

#define HEBB_KERNEL_NAME "avx512"
#define HEBB_REGISTER_BYTES 64
#define HEBB_KERNEL_SYMBOL kAvx512
#include "operations.inl"
#endif
