// What a computation reads stays while it reads it: beside searches pages are given back to the file, sections are
// discarded behind their last record, and whoever opened everything lets go of it.
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "mapped.hpp"

namespace hebb::test {
namespace {

constexpr uint32_t kCount = 2200, kQueries = 32, k = 10;

struct Answer {
  uint32_t nodes[k];
  float distances[k];
};

bool same(const Answer& a, const Answer& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

// One page of private memory more, whose bytes are those of the file: counters that searches do not look at.
bool copyPages(World& w, uint32_t node) {
  if (!w.region->touch(kRows, node * Graph::rowStride(w.options), sizeof(Row))) return false;
  __atomic_fetch_add(&w.row(node)->inDegree, 0, __ATOMIC_RELAXED);
  const uint64_t at = node * Graph::vectorStride(w.options);
  if (!w.region->touch(kVectors, at, Graph::vectorStride(w.options))) return false;
  // Behind a vector of 13 values there is room.
  __atomic_fetch_add(reinterpret_cast<uint32_t*>(w.region->base(kVectors) + at + 60), 0, __ATOMIC_RELAXED);
  return true;
}

void testPinning(Metric metric, const std::string& name) {
  Random random(seed);
  World whole(13, metric, 8, 4000);
  whole.add(random, kCount, 2);
  const Image image(whole);
  std::vector<std::vector<float>> queries;
  for (uint32_t i = 0; i < kQueries; i++) queries.push_back(whole.draw(random));
  std::vector<Answer> expected(kQueries);
  const auto search = [&](Graph& graph, uint32_t i, Answer* out) {
    return graph.search(queries[i].data(), k, 64, {}, 4, out->nodes, out->distances) == k;
  };

  std::atomic<uint64_t> wrong{0}, searches{0};
  uint64_t refused = 0, outlived = 0;
  const uint32_t rounds = std::max(1u, 6 / share);
  for (uint32_t round = 0; round < rounds; round++) {
    auto mapped = std::make_unique<Image::Mapped>(image);
    for (uint32_t i = 0; i < kQueries && round == 0; i++) refused += !search(*mapped->w->graph, i, &expected[i]);
    std::atomic<bool> done{false};
    std::vector<std::thread> threads;
    std::shared_ptr<Graph> shared = std::move(mapped->w->graph);  // as tasks hold it
    for (uint32_t t = 0; t < 2; t++) {
      threads.emplace_back([&, t, graph = shared] {
        for (uint32_t i = t; !done; i = (i + 1) % kQueries) {
          Answer answer;
          if (!search(*graph, i, &answer) || !same(answer, expected[i])) wrong++;
          searches++;
        }
      });
    }
    Region& region = *mapped->w->region;
    for (int turn = 0; turn < 60; turn++) {
      for (int i = 0; i < 40; i++) refused += !copyPages(*mapped->w, static_cast<uint32_t>(random() % kCount));
      for (const uint32_t section : {kRows, kVectors}) {
        const std::vector<uint32_t> changed = region.snapshot(section);
        region.dropPages(section, changed.data(), changed.size());
        const uint64_t stride = section == kRows ? Graph::rowStride(whole.options) : Graph::vectorStride(whole.options);
        refused += !region.discard(section, roundUp(kCount * stride, kBlockBytes));
        region.snapshot(section);
      }
    }
    // Whoever opened it closes all of it while searches go on: the last of them lets the memory go.
    const std::weak_ptr<Region> memory = mapped->w->region;
    mapped.reset();
    shared.reset();
    const uint64_t before = searches;
    while (searches < before + 20) std::this_thread::yield();
    outlived += !memory.expired();
    done = true;
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    refused += !memory.expired();
  }
  check(refused == 0, name + ": pages are given back, sections cut, and in the end all memory is");
  check(outlived == rounds, name + ": searches keep what they read");
  check(wrong == 0 && searches > 100, name + ": " + std::to_string(wrong) + " of " + std::to_string(searches) +
                                          " searches beside it answer differently");
}

}  // namespace

void testPinnings() {
  testPinning(Metric::kL2, "l2");
  testPinning(Metric::kCosine, "cosine");
}

}  // namespace hebb::test
