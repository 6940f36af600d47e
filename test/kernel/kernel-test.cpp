// The kernel without Node, to run under ASan and UBSan: `npm run test:kernel`.
// Every failure prints its seed; `kernel-test SEED` replays it.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "graph/graph.hpp"
#include "kernel.hpp"
#include "map/platform.hpp"
#include "map/region.hpp"

using namespace hebb;

namespace {

int passed = 0, failed = 0;
uint64_t seed = 1;

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

std::vector<const Kernel*> kernelsHere() {
  std::vector<const Kernel*> found;
  for (const char* name : {"scalar", "avx2", "avx512", "neon"}) {
    const char* error = nullptr;
    if (const Kernel* k = selectKernel(name, &error)) found.push_back(k);
  }
  return found;
}

// Every operation against the portable kernel, bit for bit, at every dimension and misalignment.
void testOperations() {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> gauss;
  std::vector<size_t> dimensions;
  for (size_t d = 1; d <= 130; d++) dimensions.push_back(d);
  for (size_t d : {255, 256, 257, 784, 1000, 1024}) dimensions.push_back(d);
  for (const Kernel* k : kernelsHere()) {
    bool l2 = true, dot = true, within = true, near = true, finite = true, crc = true;
    for (const size_t d : dimensions) {
      for (size_t shift = 0; shift < 3; shift++) {
        std::vector<float> a(d + shift), b(d + shift);
        for (float& x : a) x = gauss(random);
        for (float& x : b) x = gauss(random);
        if (shift == 1) a[shift + d / 2] = 0.0f, b[shift] = 1e-41f;  // zero and subnormal
        const float *p = a.data() + shift, *q = b.data() + shift;
        const float expected = kScalar.l2(p, q, d);
        l2 &= sameBits(k->l2(p, q, d), expected);
        dot &= sameBits(k->dot(p, q, d), kScalar.dot(p, q, d));
        double exact = 0;
        for (size_t i = 0; i < d; i++) exact += (double(p[i]) - q[i]) * (double(p[i]) - q[i]);
        near &= std::fabs(expected - exact) <= 1e-5 * exact + 1e-30;
        for (const float bound : {expected, expected * 0.5f, expected * 0.999f, expected * 2, 0.0f}) {
          const float got = k->l2Within(p, q, d, bound);
          within &= expected <= bound ? sameBits(got, expected) : got > bound;
        }
        finite &= k->firstNonFinite(p, d) == d;
        const size_t at = random() % d;
        for (const float bad : {NAN, INFINITY, -INFINITY}) {
          std::vector<float> c(p, p + d);
          c[at] = bad;
          finite &= k->firstNonFinite(c.data(), d) == at;
          dot &= sameBits(k->dot(c.data(), q, d), kScalar.dot(c.data(), q, d));
        }
        const uint8_t* bytes = reinterpret_cast<const uint8_t*>(p) + shift;
        const size_t n = d * sizeof(float) - shift;
        crc &= k->crc32c(bytes, n, 7) == kScalar.crc32c(bytes, n, 7);
        crc &= k->crc32c(bytes + n / 2, n - n / 2, k->crc32c(bytes, n / 2, 0)) == k->crc32c(bytes, n, 0);
      }
    }
    const std::string name = k->name;
    check(l2, name + ": l2 bit-equal to scalar");
    check(near, name + ": l2 near the exact sum");
    check(dot, name + ": dot bit-equal to scalar");
    check(within, name + ": l2Within agrees with l2 up to the bound and passes it beyond");
    check(finite, name + ": firstNonFinite finds the place");
    check(crc, name + ": crc32c equals the table's, in one piece and in two");
    check(k->crc32c(reinterpret_cast<const uint8_t*>("123456789"), 9, 0) == 0xe3069283u, name + ": crc32c check value");
  }
  const char* error = nullptr;
  check(selectKernel("sse9", &error) == nullptr && error != nullptr, "an unknown kernel is refused with a reason");
}

void testRegion() {
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
  std::mt19937_64 random(seed);
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

struct World {
  Options options;
  std::shared_ptr<Region> region;
  std::unique_ptr<Graph> graph;
  std::vector<std::vector<float>> vectors;  // by node, empty where none is live
};

World makeWorld(uint32_t d, Metric metric, uint32_t maxNodes) {
  World w{{d, metric, 8, 64, 1 / std::log(8.0), 3, maxNodes}, nullptr, nullptr, {}};
  w.region = std::make_shared<Region>(std::vector<uint64_t>{
      4096, maxNodes, maxNodes * Graph::vectorStride(w.options), maxNodes * Graph::rowStride(w.options),
      maxNodes * Graph::upperStride(w.options) * 2, maxNodes * kIdBytes});
  const char* error = nullptr;
  w.graph = Graph::attach(w.region, w.options, &error);
  return w;
}

double distanceOf(const World& w, const std::vector<float>& q, uint32_t node) {
  double dot = 0, square = 0, qq = 0, vv = 0;
  for (size_t i = 0; i < q.size(); i++) {
    const double v = w.vectors[node][i];
    dot += q[i] * v;
    square += (q[i] - v) * (q[i] - v);
    qq += double(q[i]) * q[i];
    vv += v * v;
  }
  if (w.options.metric == Metric::kL2) return square;
  return w.options.metric == Metric::kDot ? -dot : 1 - dot / std::sqrt(qq * vv);
}

void add(World& w, std::mt19937_64& random, uint32_t count, unsigned threads) {
  std::normal_distribution<float> gauss;
  std::vector<uint32_t> nodes(count);
  check(w.graph->allocate(count, nodes.data()), "allocate");
  for (const uint32_t node : nodes) {
    std::vector<float> v(w.options.dimensions);
    for (float& x : v) x = gauss(random);
    if (w.vectors.size() <= node) w.vectors.resize(node + 1);
    w.vectors[node] = v;
    w.graph->setVector(node, v.data());
  }
  check(w.graph->link(nodes.data(), count, threads), "link");
  check(w.graph->publish(nodes.data(), count, nullptr, 0), "publish");
}

// What must hold of the rows at any time between operations.
void invariants(World& w, const std::string& when) {
  const uint32_t n = w.graph->nodes();
  std::vector<uint32_t> inDegree(n), ids(2 * w.options.m);
  bool bounded = true, distinct = true, counted = true, reached = true;
  for (uint32_t node = 0; node < n; node++) {
    if (!(w.graph->state(node) & kLinked)) continue;
    const int32_t count = w.graph->neighbors(node, ids.data());
    std::set<uint32_t> seen;
    for (int32_t i = 0; i < count; i++) {
      bounded &= ids[i] < n && ids[i] != node;
      distinct &= seen.insert(ids[i]).second;
      if (ids[i] < n) inDegree[ids[i]]++;
    }
  }
  const Head* head = reinterpret_cast<const Head*>(w.region->base(kHead));
  for (uint32_t node = 0; node < n; node++) {
    const Row* row = reinterpret_cast<const Row*>(w.region->base(kRows) + node * Graph::rowStride(w.options));
    if (!(w.graph->state(node) & kLinked)) continue;
    counted &= row->inDegree == inDegree[node];
    reached &= row->inDegree >= 1 || static_cast<uint32_t>(head->entry) == node || w.graph->live() <= 1;
  }
  check(bounded, when + ": every edge leads to another node");
  check(distinct, when + ": no edge is there twice");
  check(counted, when + ": in-degrees are what the rows say");
  check(reached, when + ": every node has an edge leading to it");
}

double recall(World& w, std::mt19937_64& random, const Filter& filter, uint32_t ef) {
  constexpr uint32_t k = 10;
  std::normal_distribution<float> gauss;
  uint32_t found = 0, wanted = 0;
  for (int round = 0; round < 40; round++) {
    std::vector<float> q(w.options.dimensions);
    for (float& x : q) x = gauss(random);
    std::vector<std::pair<double, uint32_t>> truth;
    for (uint32_t node = 0; node < w.graph->nodes(); node++) {
      if ((w.graph->state(node) & kLive) && filter.matches(node)) truth.push_back({distanceOf(w, q, node), node});
    }
    std::sort(truth.begin(), truth.end());
    truth.resize(std::min<size_t>(truth.size(), k));
    uint32_t nodes[k];
    float distances[k];
    const int32_t count = w.graph->search(q.data(), k, ef, filter, nodes, distances);
    check(count == static_cast<int32_t>(truth.size()), "k results where there are k");
    for (int32_t i = 0; i < count; i++) {
      check(std::fabs(distances[i] - distanceOf(w, q, nodes[i])) < 1e-3, "a hit's distance is its own");
      check(filter.matches(nodes[i]) && (w.graph->state(nodes[i]) & kLive), "a hit is live and matches");
      check(i == 0 || distances[i - 1] <= distances[i], "hits ascend");
      found += !truth.empty() && distances[i] <= truth.back().first + 1e-5;
    }
    wanted += static_cast<uint32_t>(truth.size());
  }
  return wanted ? double(found) / wanted : 1;
}

void testGraph(Metric metric, uint32_t d, const std::string& name) {
  std::mt19937_64 random(seed);
  World w = makeWorld(d, metric, 20000);
  check(w.graph != nullptr, name + ": an empty graph");
  check(recall(w, random, {}, 10) == 1, name + ": searching nothing finds nothing");
  add(w, random, 1, 2);
  check(recall(w, random, {}, 10) == 1, name + ": one node");
  add(w, random, 2999, 2);
  invariants(w, name + " built");
  check(w.graph->reconnect() == 0, name + ": all reachable");
  const double built = recall(w, random, {}, 100);
  check(built >= 0.9, name + ": recall " + std::to_string(built));
  for (const uint32_t part : {2u, 4u, 10u, 300u}) {
    std::vector<uint32_t> bits((w.graph->nodes() + 31) / 32);
    Filter filter{bits.data(), static_cast<uint32_t>(bits.size() * 32), 0};
    for (uint32_t node = 0; node < w.graph->nodes(); node++) {
      if (random() % part == 0) bits[node / 32] |= 1u << (node % 32), filter.count++;
    }
    const double within = recall(w, random, filter, 100);
    check(within >= 0.85, name + ": recall within 1/" + std::to_string(part) + " is " + std::to_string(within));
  }
  for (int round = 0; round < 3; round++) {
    std::vector<uint32_t> gone;
    for (uint32_t node = 0; node < w.graph->nodes(); node++) {
      if ((w.graph->state(node) & kLive) && random() % 2) gone.push_back(node);
    }
    const uint32_t before = w.graph->live();
    w.graph->publish(nullptr, 0, gone.data(), static_cast<uint32_t>(gone.size()));
    check(w.graph->live() == before - gone.size() && w.graph->dead() == gone.size(), name + ": counts after deleting");
    check(recall(w, random, {}, 100) >= 0.85, name + ": recall past deleted nodes");
    check(w.graph->consolidate(2), name + ": consolidate");
    check(w.graph->dead() == 0, name + ": nothing dead is left");
    invariants(w, name + " consolidated");
    const uint32_t highest = w.graph->nodes();
    add(w, random, static_cast<uint32_t>(gone.size()), 2);
    check(w.graph->nodes() == highest, name + ": freed numbers are used again");
    invariants(w, name + " refilled");
    check(w.graph->reconnect() == 0, name + ": all reachable after churn");
    const double churned = recall(w, random, {}, 100);
    check(churned >= built - 0.03, name + ": recall after churn " + std::to_string(churned));
  }
  std::vector<uint32_t> all;
  for (uint32_t node = 0; node < w.graph->nodes(); node++) all.push_back(node);
  w.graph->publish(nullptr, 0, all.data(), static_cast<uint32_t>(all.size()));
  check(w.graph->consolidate(2) && w.graph->live() == 0, name + ": everything deleted");
  check(recall(w, random, {}, 10) == 1, name + ": nothing is found in an emptied graph");
  add(w, random, 500, 2);
  invariants(w, name + " filled again");
}

// Many equal vectors form a knot that nothing leads out of by distance alone.
void testDuplicates() {
  std::mt19937_64 random(seed);
  World w = makeWorld(8, Metric::kL2, 5000);
  add(w, random, 500, 2);
  std::vector<uint32_t> nodes(1500);
  w.graph->allocate(1500, nodes.data());
  w.vectors.resize(w.graph->nodes(), std::vector<float>(8, 0.25f));
  for (const uint32_t node : nodes) w.graph->setVector(node, w.vectors[node].data());
  check(w.graph->link(nodes.data(), 1500, 2), "link 1,500 equal vectors");
  w.graph->publish(nodes.data(), 1500, nullptr, 0);
  invariants(w, "duplicates");
  check(w.graph->reconnect() == 0, "all reachable among duplicates");
  invariants(w, "duplicates connected");
}

// Ids and counts that no healthy store has: bounded work, no access outside.
void testDamagedRows() {
  std::mt19937_64 random(seed);
  World w = makeWorld(8, Metric::kL2, 5000);
  add(w, random, 2000, 2);
  for (int i = 0; i < 4000; i++) {
    const uint32_t node = static_cast<uint32_t>(random() % w.graph->nodes());
    uint32_t* row = reinterpret_cast<uint32_t*>(w.region->base(kRows) + node * Graph::rowStride(w.options));
    row[4 + random() % (2 * w.options.m)] = static_cast<uint32_t>(random());
    if (i % 7 == 0) reinterpret_cast<Row*>(row)->degree = static_cast<uint16_t>(random());
    if (i % 11 == 0) reinterpret_cast<Row*>(row)->upper = static_cast<uint32_t>(random());
    if (i % 13 == 0) reinterpret_cast<Row*>(row)->level = static_cast<uint8_t>(random());
  }
  std::vector<float> q(8, 0.1f);
  uint32_t nodes[10];
  float distances[10];
  for (int i = 0; i < 100; i++) {
    for (float& x : q) x = static_cast<float>(random() % 1000) / 500 - 1;
    check(w.graph->search(q.data(), 10, 100, {}, nodes, distances) == 10,
          "a search over damaged rows ends with k hits");
  }
  check(w.graph->reconnect() >= 0, "reconnecting damaged rows ends");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) seed = std::strtoull(argv[1], nullptr, 10);
  const char* error = nullptr;
  kernel = selectKernel(std::getenv("HEBB_KERNEL"), &error);
  if (!kernel) {
    std::printf("%s\n", error);
    return 1;
  }
  testOperations();
  testRegion();
  testRegionThreads();
  testGraph(Metric::kL2, 16, "l2");
  testGraph(Metric::kCosine, 24, "cosine");
  testGraph(Metric::kDot, 13, "dot");
  testDuplicates();
  testDamagedRows();
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}
