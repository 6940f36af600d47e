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
  check(region.dirtyCount() == 3, "all of them are counted");
  check(region.snapshot(1) == std::vector<uint32_t>{0, 1, far / kPageBytes} && region.dirtyPages(1).empty(),
        "a snapshot has them, and they are clean");
  check(region.dirtyCount() == 0, "none is counted");
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
  region.snapshot(0);
  check(region.kept(0) == kBlocks * kBlockBytes, "a snapshot forgets discards");
  check(region.discard(0, 0) && region.dirtyPages(0).empty() && region.base(0)[0] == 0, "all of a section");
}

// A snapshot is one moment, whatever is written while it is taken.
void testSnapshot() {
  constexpr uint64_t kBlocks = 64;
  Region region({kBlocks * kBlockBytes});
  std::vector<uint8_t> out(kBlockBytes);
  for (uint64_t block = 0; block < kBlocks; block += 2) {
    check(region.touch(0, block * kBlockBytes + 5, 1), "changed");
    region.base(0)[block * kBlockBytes + 5] = 1;
  }
  const std::vector<uint32_t> pages = region.snapshot(0);
  check(pages.size() == kBlocks / 2, "a page of every other block");
  region.include(0, 1, 1);
  std::atomic<bool> done{false};
  std::atomic<uint64_t> written{0};
  std::thread writer([&] {
    for (uint64_t i = 0; !done; i++, written++) {
      const uint64_t at = i % kBlocks * kBlockBytes + 5;
      region.touch(0, at, 1);
      region.base(0)[at] = static_cast<uint8_t>(2 + i / kBlocks % 200);
    }
  });
  uint64_t wrong = 0;
  for (uint64_t block = 0; block < kBlocks; block += 2) {
    if (!region.take(0, block, out.data()) || out[5] != 1 || out[6] != 0) wrong++;
  }
  if (!region.take(0, 1, out.data()) || out[5] != 0) wrong++;
  while (written < kBlocks) std::this_thread::yield();  // each block at least once
  done = true;
  writer.join();
  check(wrong == 0, "every block is as it was at that moment");
  check(!region.take(0, 0, out.data()) && !region.take(0, 3, out.data()), "each is given once, and no other");
  check(region.dirtyPages(0).size() == kBlocks, "what was written meanwhile is changed");

  region.snapshot(0);
  check(region.touch(0, 5, 1), "changed again");
  region.base(0)[5] = 9;
  check(region.discard(0, 4 * kBlockBytes), "and some of it discarded");
  check(region.take(0, 0, out.data()) && out[5] != 9, "the old block is there");
  check(region.take(0, 6, out.data()) && out[5] >= 1, "and a discarded one");
  region.restore(0, pages.data(), pages.size(), kBlocks * kBlockBytes);
  check(region.dirtyPages(0) == std::vector<uint32_t>{pages[0], pages[1]}, "what came to nothing is changed as before");
  check(region.kept(0) == 4 * kBlockBytes, "but for what is discarded");
  check(!region.take(0, 2, out.data()), "nothing is left to be taken");
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
  region.dropPages(0, dirty.data(), dirty.size());
  check(region.base(0)[2 * kBlockBytes] == 99, "what is changed is not dropped");
  region.snapshot(0);
  region.dropPages(0, dirty.data(), dirty.size());
  check(region.base(0)[2 * kBlockBytes] == 3, "the private copy went, the file shows");
  check(region.map(0, 4 * kBlockBytes, 2 * kBlockBytes, fd, 0), "another place of the file, over the end");
  check(region.base(0)[4 * kBlockBytes] == 1 && region.base(0)[5 * kBlockBytes] == 2, "shows from there on");
  const uint32_t other = region.checksumOf(0, 4);
  region.expectChecksums(0, 4, &other, 1);
  check(region.touch(0, 4 * kBlockBytes, 1), "changed");
  region.base(0)[4 * kBlockBytes] = 99;
  const uint32_t page = 4 * kBlockBytes / kPageBytes;
  region.snapshot(0);
  region.dropPages(0, &page, 1);
  check(region.base(0)[4 * kBlockBytes] == 1, "and given back to its new place");

  const uint64_t changed = 6 * kBlockBytes + kPageBytes;
  check(region.touch(0, changed, 1), "changed where no file is");
  region.base(0)[changed] = 77;
  check(region.map(0, 6 * kBlockBytes, kBlockBytes, fd, 3 * kBlockBytes), "mapped around the change");
  check(region.base(0)[changed] == 77 && region.base(0)[changed + 1] == 0, "the changed page keeps its bytes");
  check(region.base(0)[6 * kBlockBytes] == 4 && region.base(0)[7 * kBlockBytes - 1] == 4, "the file shows elsewhere");
  region.snapshot(0);
  const uint32_t mapped = static_cast<uint32_t>(changed / kPageBytes);
  region.dropPages(0, &mapped, 1);
  check(region.base(0)[changed] == 4, "and there, once it is given back");
  std::fclose(file);
}

}  // namespace

void testRegion() {
  testMemory();
  testRegionThreads();
  testDiscard();
  testSnapshot();
  testDiscardMapped();
}

}  // namespace hebb::test
