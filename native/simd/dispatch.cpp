// Chooses the kernel once: forced by name, else the first of a priority list that can run here.
#include "kernel.hpp"

#include <cstring>

namespace hebb {
namespace {

struct Choice {
  const Kernel* kernel;
  bool (*runs)();
};

bool always() {
  return true;
}

#if defined(__x86_64__)
bool hasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("sse4.2");
}
bool hasAvx512() {
  return hasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
const Choice kChoices[] = {{&kAvx512, hasAvx512}, {&kAvx2, hasAvx2}, {&kScalar, always}};
const char kKnown[] =
    "HEBB_KERNEL names no kernel of this build; valid here: avx512, avx2, scalar (neon on 64-bit ARM)";
#elif defined(__aarch64__)
const Choice kChoices[] = {{&kNeon, always}, {&kScalar, always}};
const char kKnown[] = "HEBB_KERNEL names no kernel of this build; valid here: neon, scalar (avx512, avx2 on x86-64)";
#else
const Choice kChoices[] = {{&kScalar, always}};
const char kKnown[] = "HEBB_KERNEL names no kernel of this build; valid here: scalar";
#endif

}  // namespace

const Kernel* kernel = nullptr;

const Kernel* selectKernel(const char* forced, const char** error) {
  const bool any = forced == nullptr || *forced == 0;
  for (const Choice& choice : kChoices) {
    if (!any && std::strcmp(choice.kernel->name, forced) != 0) continue;
    if (choice.runs()) return choice.kernel;
    if (!any) {
      *error = "HEBB_KERNEL forces a kernel that this processor cannot run; unset it, or choose scalar";
      return nullptr;
    }
  }
  *error = kKnown;
  return nullptr;
}

}  // namespace hebb
