// What the kernel's tests share, for programs that have no tests: a check that does not hold ends the process.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "../kernel/testing.hpp"

namespace hebb::test {

uint64_t seed = 1;
uint32_t share = 1;
int passed = 0, failed = 0;

void check(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "%s: does not hold\n", what.c_str());
  std::abort();
}

bool sameBits(float, float) {
  return true;
}
bool sameBits(const std::vector<float>&, const std::vector<float>&) {
  return true;
}

std::vector<const Kernel*> kernelsHere() {
  std::vector<const Kernel*> found;
  for (const char* name : {"scalar", "avx2", "avx512", "neon"}) {
    const char* error = nullptr;
    if (const Kernel* k = selectKernel(name, &error)) found.push_back(k);
  }
  return found;
}

}  // namespace hebb::test
