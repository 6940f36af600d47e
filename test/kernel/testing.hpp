// What the kernel's tests share: checks that are counted, chance that can be replayed, the kernels of
// this processor.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernel.hpp"

namespace hebb::test {

extern uint64_t seed;   // every test starts from it
extern uint32_t share;  // sizes are divided by this where time is short
extern int passed, failed;

// Counts; a failure is printed with the seed. For one thread only.
void check(bool holds, const std::string& what);

// Bit for bit, all NaN being one.
bool sameBits(float a, float b);
bool sameBits(const std::vector<float>& a, const std::vector<float>& b);

std::vector<const Kernel*> kernelsHere();

// Numbers that are the same on every system, which those of <random>'s distributions need not be.
class Random {
 public:
  explicit Random(uint64_t from) : engine_(from) {}
  uint64_t operator()() { return engine_(); }
  // About a standard normal: eight uniform numbers added up.
  float gauss() {
    int64_t sum = -8 * 32768 + 4;
    for (int draw = 0; draw < 2; draw++) {
      for (uint64_t word = engine_(), i = 0; i < 4; i++, word >>= 16) sum += static_cast<int64_t>(word & 0xffff);
    }
    return static_cast<float>(sum) * (1.2247449f / 65536);
  }
  std::vector<float> gauss(size_t n) {
    std::vector<float> values(n);
    for (float& x : values) x = gauss();
    return values;
  }

 private:
  std::mt19937_64 engine_;
};

void testOperations();
void testCodes();
void testRegion();
void testLostPages();
void testPinnings();
void testRotation();
void testEstimates();
void testGraphs();
void testSameGraph();
void testEdges();
void testBacklog();
void testThreads();
void testDamage();
void testTierKernels();
void testTierCodecs();
void testEntropy();
void testTiers();
void testFrozenCodes();
void testPlanes();
void testCopies();
void testFrozen();
void testFrozenDamage();

}  // namespace hebb::test
