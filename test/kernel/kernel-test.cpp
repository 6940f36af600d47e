// The kernel without Node, to run under ASan and UBSan: `npm run test:kernel`.
// Every failure prints its seed; `kernel-test SEED` replays it. `kernel-test SEED SHARE` divides sizes by SHARE.
// `kernel-test SEED SHARE NAME...` runs the tests that are named; `kernel-test --list` names all.
#include "testing.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace hebb::test {

uint64_t seed = 1;
uint32_t share = 1;
int passed = 0, failed = 0;

void check(bool holds, const std::string& what) {
  if (holds) {
    passed++;
    return;
  }
  failed++;
  std::printf("FAIL %s (seed %llu)\n", what.c_str(), static_cast<unsigned long long>(seed));
}

bool sameBits(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  bool same = a.size() == b.size();
  for (size_t i = 0; same && i < a.size(); i++) same = sameBits(a[i], b[i]);
  return same;
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

int main(int argc, char** argv) {
  using namespace hebb::test;
  const bool list = argc > 1 && std::strcmp(argv[1], "--list") == 0;
  if (argc > 1) seed = std::strtoull(argv[1], nullptr, 10);
  if (argc > 2) share = static_cast<uint32_t>(std::strtoul(argv[2], nullptr, 10));
  const char* error = nullptr;
  hebb::kernel = hebb::selectKernel(std::getenv("HEBB_KERNEL"), &error);
  if (!hebb::kernel || share == 0) {
    std::printf("%s\n", hebb::kernel ? "SHARE is a whole number from 1 on" : error);
    return 1;
  }
  const struct {
    const char* name;
    void (*run)();
  } tests[] = {{"operations", testOperations},
               {"codes", testCodes},
               {"region", testRegion},
               {"lost pages", testLostPages},
               {"pinning", testPinnings},
               {"rotation", testRotation},
               {"estimates", testEstimates},
               {"graphs", testGraphs},
               {"edges", testEdges},
               {"same graph", testSameGraph},
               {"backlog", testBacklog},
               {"threads", testThreads},
               {"damage", testDamage},
               {"tier kernels", testTierKernels},
               {"tier codecs", testTierCodecs},
               {"entropy", testEntropy},
               {"tiers", testTiers},
               {"frozen codes", testFrozenCodes},
               {"planes", testPlanes},
               {"copies", testCopies},
               {"frozen", testFrozen},
               {"frozen damage", testFrozenDamage}};
  for (const auto& test : tests) {
    if (list) std::puts(test.name);
  }
  if (list) return 0;
  for (const auto& test : tests) {
    const auto named = [&](const char* name) { return std::strcmp(name, test.name) == 0; };
    if (argc > 3 && std::none_of(argv + 3, argv + argc, named)) continue;
    const auto start = std::chrono::steady_clock::now();
    test.run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%s: %.1f s\n", test.name, took.count());
    std::fflush(stdout);
  }
  check(passed + failed > 0, "no test has such a name; kernel-test --list names all");
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}
