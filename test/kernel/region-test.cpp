// Mapped memory: dirty pages, checksums, several threads at once.
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "map/region.hpp"
#include "testing.hpp"

namespace hebb::test {
namespace {

void testMemory() {
  Region region({1 << 20, 8ull << 30});
  check(region.valid(), "address space is reserved");
  check(region.touch(1, 4090, 12), "touch across a page border");
  check(region.dirtyPages(1) == std::vector<uint32_t>{0, 1}, "both pages are dirty");
  const uint64_t far = (4ull << 30) + 5;
  check(region.touch(1, far, 1) && region.dirtyPages(1).back() == far / kPageBytes, "a page past 4 GiB");
  const uint32_t pages[] = {0, 1};
  region.cleanPages(1, pages, 2, false);
  check(region.dirtyPages(1).size() == 1, "cleaned pages are clean");
  std::vector<uint8_t> block(kBlockBytes, 42);
  region.load(0, kBlockBytes, block.data(), block.size());
  const uint32_t good = region.checksumOf(0, 1), bad = good ^ 1;
  region.expectChecksums(0, 1, &good, 1);
  check(region.ensure(0, kBlockBytes + 7, 9), "a sound block passes");
  region.expectChecksums(0, 1, &bad, 1);
  check(!region.ensure(0, kBlockBytes + 7, 9) && region.fault().block == 1 && region.fault().computed == good,
        "a damaged block is named");
  check(!region.touch(0, kBlockBytes, 1), "damage is never written over");
  check(region.ensure(0, 0, 10), "its neighbour stays readable");
}

// Several threads come to blocks that nobody has verified yet, and write to them at once.
void testRegionThreads() {
  constexpr uint64_t kBlocks = 400;
  constexpr unsigned kThreads = 2;
  Region region({kBlocks * kBlockBytes});
  Random random(seed);
  std::vector<uint8_t> bytes(kBlocks * kBlockBytes);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  region.load(0, 0, bytes.data(), bytes.size());
  for (uint64_t block = 0; block < kBlocks; block++) {
    const uint32_t sum = region.checksumOf(0, block);
    region.expectChecksums(0, block, &sum, 1);
  }
  std::atomic<uint64_t> refused{0}, arrived{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; t++) {
    threads.emplace_back([&, t] {
      for (uint64_t block = 0; block < kBlocks; block++) {
        const uint64_t at = (block + 1) * kBlockBytes - (t + 1) * 64;  // where a sum gets to last
        for (arrived++; arrived < (block + 1) * kThreads;) std::this_thread::yield();
        if (!region.touch(0, at, 64)) refused++;
        else std::memset(region.base(0) + at, static_cast<int>(t), 64);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  check(refused == 0, "what one thread writes is no damage to another that comes at the same moment");
}

}  // namespace

void testRegion() {
  testMemory();
  testRegionThreads();
}

}  // namespace hebb::test
