// Files that are cut under what is mapped of them: the instruction goes on with zeros, the region says so, and whatever
// ran over it ends, with nothing outside touched.
#include "map/lost-pages.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "mapped.hpp"

namespace hebb::test {
namespace {

constexpr uint64_t kBlocks = 8;

struct TemporaryFile {
  TemporaryFile() : file(std::tmpfile()) {
    const std::vector<uint8_t> bytes(kBlocks * kBlockBytes, 7);
    if (!file || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fflush(file) != 0)
      std::abort();
  }
  ~TemporaryFile() { std::fclose(file); }
  int fd() const { return fileno(file); }
  void cut(uint64_t blocks) const {
    if (ftruncate(fd(), static_cast<off_t>(blocks * kBlockBytes)) != 0) std::abort();
  }
  std::FILE* file;
};

// What the page at `at` reads as, through an instruction that no compiler removes.
uint8_t look(const Region& region, uint32_t section, uint64_t at) {
  return *static_cast<const volatile uint8_t*>(region.base(section) + at);
}

void testRegions() {
  const TemporaryFile file, other;
  Region region({64 * kBlockBytes, 64 * kBlockBytes}), sound({64 * kBlockBytes});
  check(region.map(1, 2 * kBlockBytes, kBlocks * kBlockBytes, file.fd(), 0), "mapped, not from the section's start");
  check(sound.map(0, 0, kBlocks * kBlockBytes, other.fd(), 0), "and another region");
  check(region.touch(1, 4 * kBlockBytes, 1), "a page is changed");
  region.base(1)[4 * kBlockBytes] = 9;
  file.cut(3);
  check(look(region, 1, 4 * kBlockBytes) == 9 && !region.lost(), "what the file still holds can be read");
  const uint64_t at = 6 * kBlockBytes + 3 * kPageBytes + 77;
  check(look(region, 1, at) == 0, "what it does not reads as zeros");
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const BlockFault fault = region.fault();
  check(region.lost() && fault.lost && fault.section == 1 && fault.offset == at / page * page && fault.reason,
        "and the place is known");
  check(!region.ensure(1, 2 * kBlockBytes, 1) && !region.ensure(0, 0, 1), "nothing of the region can be relied on");
  check(!region.touch(1, 2 * kBlockBytes, 1) && !region.touch(0, 0, 1), "nor changed");
  look(region, 1, 9 * kBlockBytes);
  check(region.fault().offset == fault.offset, "the first page that was lost counts");
  check(!sound.lost() && sound.ensure(0, 0, kBlocks * kBlockBytes) && look(sound, 0, 5 * kBlockBytes) == 7,
        "another region does not mind");
}

// A change that was not in the file goes when the file is cut, so that even a page in memory may be gone.
void testSums() {
  const TemporaryFile file;
  Region region({64 * kBlockBytes});
  check(region.map(0, 0, kBlocks * kBlockBytes, file.fd(), 0), "mapped");
  for (uint64_t block = 0; block < kBlocks; block++) {
    const uint32_t sum = region.checksumOf(0, block);
    region.expectChecksums(0, block, &sum, 1);
  }
  check(region.touch(0, 0, kBlockBytes), "a block is changed");
  std::memset(region.base(0), 5, kBlockBytes);
  file.cut(0);
  region.checksumOf(0, 0);
  check(region.lost(), "summing it up for a checkpoint says so");
}

// Regions come and go at the addresses of others while pages of some are lost.
void testManyRegions() {
  const TemporaryFile file;
  std::atomic<bool> done{false};
  std::atomic<uint64_t> wrong{0}, rounds{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; t++) {
    threads.emplace_back([&] {
      while (!done) {
        const TemporaryFile own;
        Region region(std::vector<uint64_t>(20, 4 * kBlockBytes));
        for (uint32_t section = 0; section < 20; section++) {
          if (!region.map(section, 0, kBlockBytes, own.fd(), 0)) wrong++;
        }
        own.cut(0);
        const uint32_t section = static_cast<uint32_t>(rounds++ % 20);
        if (look(region, section, 5) != 0 || !region.lost() || region.fault().section != section) wrong++;
      }
    });
  }
  std::vector<std::unique_ptr<Region>> kept;  // more slots than one list has
  for (int i = 0; i < 40; i++) {
    kept.push_back(std::make_unique<Region>(std::vector<uint64_t>(10, kBlockBytes)));
    for (uint32_t section = 0; section < 10; section++) {
      if (!kept.back()->map(section, 0, kBlockBytes, file.fd(), 0)) wrong++;
    }
  }
  while (rounds < 400 / share) std::this_thread::yield();
  done = true;
  for (std::thread& thread : threads) thread.join();
  for (const std::unique_ptr<Region>& region : kept) wrong += region->lost();
  file.cut(0);
  for (const std::unique_ptr<Region>& region : kept) {
    look(*region, 9, 0);
    wrong += !region->lost();
  }
  check(wrong == 0, "each loss is that of its own region");
}

// In a process of its own: it has to die of memory that is nobody's.
void testForeign() {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (!std::freopen("/dev/null", "w", stderr)) _exit(42);  // a sanitizer's report
    const TemporaryFile file, ours;
    Region region({64 * kBlockBytes});
    if (!region.map(0, 0, kBlocks * kBlockBytes, ours.fd(), 0)) _exit(42);
    void* const memory = mmap(nullptr, kBlocks * kBlockBytes, PROT_READ, MAP_PRIVATE, file.fd(), 0);
    file.cut(0);
    const uint8_t seen = *static_cast<const volatile uint8_t*>(memory);
    _exit(seen == 0 ? 42 : 43);
  }
  int status = 0;
  check(child > 0 && waitpid(child, &status, 0) == child && !(WIFEXITED(status) && WEXITSTATUS(status) >= 42),
        "SIGBUS in another mapping ends the process");
}

bool train(World& w) {
  CodebookOptions o{};
  o.dimensions = w.options.dimensions;
  o.metric = w.options.metric;
  o.seed = seed;
  o.centroids8 = 256;
  o.centroids4 = 16;
  o.outlierThreshold = 2.5f;
  o.coder = EntropyCoder::kAns;
  o.residualBits = 4;
  o.iterations = 2;
  bool trained = false;
  return w.graph->train(o, 600, w.graph->tiers().spare(false), 2, &trained) && trained;
}

// Everything that runs over a graph, on three threads, while its file is cut at a random moment to a random length.
void testGraph(Profile profile, Metric metric, bool keepOriginals, const std::string& name) {
  constexpr uint32_t kCount = 2200;  // from 2,048 on rows have codes
  Random random(seed);
  World whole(16, metric, 8, 5000, profile, keepOriginals);
  whole.add(random, kCount, 2);
  std::vector<uint32_t> some;
  for (uint32_t node = 0; node < 600; node++) some.push_back(node);
  Moves moves;
  check(train(whole) && whole.graph->retier(some.data(), 300, Tier::kCool, 2, &moves) &&
            whole.graph->retier(some.data() + 300, 300, Tier::kWarm, 2, &moves),
        name + ": tiers");
  whole.removeSome(random, 20);
  whole.publish(random, 100);
  const Image image(whole);
  uint32_t lost = 0, unsound = 0;
  const uint32_t rounds = std::max(2u, 24 / share);
  for (uint32_t round = 0; round < rounds; round++) {
    const Image::Mapped mapped(image);
    World& w = *mapped.w;
    Graph& graph = *w.graph;
    std::atomic<bool> done{false};
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 2; t++) {
      threads.emplace_back([&, t] {
        Random own(seed + round * 10 + t);
        uint32_t nodes[20], around[16], counts[1];
        float distances[20], far[16], biases[16];
        while (!done && !w.region->lost()) {
          const std::vector<float> q = w.draw(own);
          const uint32_t node = static_cast<uint32_t>(own() % kCount);
          graph.search(q.data(), 10, 64, {}, own() % 2 ? 4 : 0, nodes, distances);
          graph.scan(q.data(), 10, {}, 4, nodes, distances);
          graph.searchLevel(q.data(), 1, 10, nodes, distances);
          graph.fields(&node, 1, 16, around, far, biases, counts);
          graph.prefetch(&node, 1);
          graph.vector(node);
          graph.id(node);
          graph.inDegree(node);
        }
      });
    }
    threads.emplace_back([&] {
      Random own(seed + round);
      std::this_thread::sleep_for(std::chrono::microseconds(own() % 30000));
      mapped.cut(round % 3 == 0 ? 0 : own() % mapped.bytes / kPageBytes * kPageBytes);
    });
    Random own(seed + 500 + round);
    for (int turn = 0; turn < 200 && !w.region->lost(); turn++) {
      std::vector<uint32_t> fresh(20);
      if (graph.allocate(20, fresh.data())) {
        for (const uint32_t node : fresh) graph.setVector(node, w.draw(own).data(), 1);
        graph.publish(fresh.data(), 20, some.data() + turn, 1);
      }
      const std::vector<uint32_t> next = graph.unlinked(own() % 100);
      graph.link(next.data(), static_cast<uint32_t>(next.size()), 2);
      graph.retier(some.data(), 100, static_cast<Tier>(turn % kTiers), 2, &moves);
      if (turn % 3 == 0) graph.consolidate(2);
      if (turn % 5 == 0) graph.reconnect();
      if (turn % 5 == 1) graph.tiers().squeeze(graph.nodes(), true);
      for (uint32_t section = 0; section < w.region->sectionCount(); section++) {
        for (const uint32_t page : w.region->dirtyPages(section))
          w.region->checksumOf(section, page * kPageBytes / kBlockBytes);
      }
    }
    done = true;
    for (std::thread& thread : threads) thread.join();
    lost += w.region->lost();
    uint32_t nodes[10];
    float distances[10];
    const bool found = graph.search(w.draw(own).data(), 10, 64, {}, 4, nodes, distances) >= 0;
    unsound += w.region->lost() && (found || graph.allocate(1, nodes) || w.region->fault().lost == false);
  }
  check(lost > 0, name + ": pages were lost in " + std::to_string(lost) + " of " + std::to_string(rounds) + " rounds");
  check(unsound == 0, name + ": then nothing succeeds any more");
}

}  // namespace

void testLostPages() {
  testForeign();
  testRegions();
  testSums();
  testManyRegions();
  testGraph(Profile::kTurbo, Metric::kL2, true, "turbo");
  testGraph(Profile::kTurbo, Metric::kCosine, false, "turbo without originals");
  testGraph(Profile::kSmall, Metric::kDot, true, "small");
}

}  // namespace hebb::test
