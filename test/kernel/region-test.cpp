// Mapped memory: dirty pages, checksums, several threads at once.
#include <algorithm>
#include <atomic>
#include <cstdio>
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

// What is discarded reads as zeros, is neither dirty nor suspect, and can be used again.
void testDiscard() {
  constexpr uint64_t kBlocks = 80;
  Region region({kBlocks * kBlockBytes, kBlocks * kBlockBytes});
  check(region.kept(0) == kBlocks * kBlockBytes, "nothing is discarded at first");
  std::vector<uint8_t> bytes(kBlocks * kBlockBytes, 7);
  for (uint32_t section = 0; section < 2; section++) {
    region.load(section, 0, bytes.data(), bytes.size());
    for (uint64_t block = 0; block < kBlocks; block++) {
      const uint32_t sum = region.checksumOf(section, block) ^ (block == 9);
      region.expectChecksums(section, block, &sum, 1);
    }
  }
  check(region.touch(0, 4 * kBlockBytes - 1, 2), "two blocks are dirty");
  region.base(0)[4 * kBlockBytes] = 8;
  check(!region.ensure(0, 9 * kBlockBytes, 1), "one is damaged");

  check(region.discard(0, 4 * kBlockBytes), "discarded under dirty pages and suspects");
  check(region.kept(0) == 4 * kBlockBytes && region.kept(1) == kBlocks * kBlockBytes, "of one section alone");
  check(region.dirtyPages(0) == std::vector<uint32_t>{4 * kBlockBytes / kPageBytes - 1}, "the page before stays dirty");
  check(region.base(0)[4 * kBlockBytes - 1] == 7, "and keeps its bytes");
  const uint8_t* rest = region.base(0) + 4 * kBlockBytes;
  check(std::all_of(rest, rest + (kBlocks - 4) * kBlockBytes, [](uint8_t b) { return b == 0; }), "zeros behind it");
  check(region.ensure(0, 4 * kBlockBytes, (kBlocks - 4) * kBlockBytes), "nothing is suspect there");
  check(region.ensure(0, 0, 4 * kBlockBytes), "the blocks before still pass");
  check(!region.ensure(1, 9 * kBlockBytes, 1), "damage elsewhere is still found");

  check(region.touch(0, 20 * kBlockBytes, 1) && region.dirtyPages(0).back() == 20 * kBlockBytes / kPageBytes,
        "it can be written again");
  check(region.discard(0, 30 * kBlockBytes) && region.kept(0) == 4 * kBlockBytes, "the lowest discard counts");
  check(region.dirtyPages(0).size() == 2, "a discard behind the end changes nothing");
  check(region.discard(0, kBlocks * kBlockBytes) && region.kept(0) == 4 * kBlockBytes, "nor does an empty one");
  region.cleanPages(0, nullptr, 0, false);
  check(region.kept(0) == kBlocks * kBlockBytes, "cleaning forgets discards");
  check(region.discard(0, 0) && region.dirtyPages(0).empty() && region.base(0)[0] == 0, "all of a section");
}

// Mapped from a file: the part before a discard stays mapped, the part behind it can be mapped anew.
void testDiscardMapped() {
  std::FILE* file = std::tmpfile();
  check(file != nullptr, "a file to map");
  if (!file) return;
  std::vector<uint8_t> bytes(8 * kBlockBytes);
  for (uint64_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(1 + i / kBlockBytes);
  check(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size() && std::fflush(file) == 0, "written");
  const int fd = fileno(file);
  Region region({64 * kBlockBytes});
  check(region.map(0, 0, 8 * kBlockBytes, fd, 0), "mapped");
  for (uint64_t block = 0; block < 8; block++) {
    const uint32_t sum = region.checksumOf(0, block);
    region.expectChecksums(0, block, &sum, 1);
  }

  // Others read all the time, of suspects too; they find what was there, or zeros.
  std::atomic<bool> done{false};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> readers;
  for (uint64_t t = 0; t < 2; t++) {
    readers.emplace_back([&, t] {
      for (uint64_t i = t; !done; i++) {
        const uint64_t block = i % 8;
        if (!region.ensure(0, block * kBlockBytes, kBlockBytes)) wrong++;
        const uint8_t seen = *static_cast<volatile uint8_t*>(region.base(0) + block * kBlockBytes + i % kBlockBytes);
        if (seen != block + 1 && (seen != 0 || block < 3)) wrong++;
      }
    });
  }
  for (int round = 0; round < 50; round++) {
    if (!region.discard(0, 3 * kBlockBytes) || !region.map(0, 3 * kBlockBytes, 5 * kBlockBytes, fd, 3 * kBlockBytes)) {
      wrong++;
    }
    for (uint64_t block = 3; block < 8; block++) {
      const uint32_t sum = region.checksumOf(0, block);
      region.expectChecksums(0, block, &sum, 1);
    }
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  check(wrong == 0, "readers see old bytes or zeros, and no damage");

  check(region.touch(0, 2 * kBlockBytes, 1) && region.touch(0, 6 * kBlockBytes, 1), "changed before and behind");
  region.base(0)[2 * kBlockBytes] = region.base(0)[6 * kBlockBytes] = 99;
  check(region.discard(0, 5 * kBlockBytes), "discarded in the middle of an extent");
  const std::vector<uint32_t> dirty = region.dirtyPages(0);
  check(dirty.size() == 1 && region.base(0)[6 * kBlockBytes] == 0, "the change behind went");
  region.cleanPages(0, dirty.data(), dirty.size(), true);
  check(region.base(0)[2 * kBlockBytes] == 3, "the private copy went, the file shows");
  check(region.map(0, 4 * kBlockBytes, 2 * kBlockBytes, fd, 0), "another place of the file, over the end");
  check(region.base(0)[4 * kBlockBytes] == 1 && region.base(0)[5 * kBlockBytes] == 2, "shows from there on");
  const uint32_t other = region.checksumOf(0, 4);
  region.expectChecksums(0, 4, &other, 1);
  check(region.touch(0, 4 * kBlockBytes, 1), "changed");
  region.base(0)[4 * kBlockBytes] = 99;
  const uint32_t page = 4 * kBlockBytes / kPageBytes;
  region.cleanPages(0, &page, 1, true);
  check(region.base(0)[4 * kBlockBytes] == 1, "and given back to its new place");
  std::fclose(file);
}

}  // namespace

void testRegion() {
  testMemory();
  testRegionThreads();
  testDiscard();
  testDiscardMapped();
}

}  // namespace hebb::test
