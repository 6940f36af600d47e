// Codes of frozen bundles: what they hold of each vector, the same on every machine; and searches by them, held
// against comparing all.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bundle.hpp"

namespace hebb::test {
namespace {

const char* nameOf(Metric metric) {
  return metric == Metric::kL2 ? "l2" : metric == Metric::kDot ? "dot" : "cosine";
}

std::string nameOf(const FrozenShape& s) {
  return std::string(nameOf(s.metric)) + " " + std::to_string(s.dimensions) + (s.haar ? " haar " : " fast ") +
         std::to_string(s.bits) + (s.bits == 1 ? " bit" : " bits");
}

// Nodes of a world that are not linked, which codes do not ask for.
World worldOf(const FrozenShape& s, const std::vector<std::vector<float>>& vectors) {
  World w(s.dimensions, s.metric, 4, static_cast<uint32_t>(vectors.size()));
  w.publish(vectors);
  return w;
}

float distanceOf(Metric metric, const float* a, const float* b, uint32_t n) {
  return metric == Metric::kDot ? -kernel->dot(a, b, n) : (metric == Metric::kL2 ? 1 : 0.5f) * kernel->l2(a, b, n);
}

// Reads all sections by docs and layout alone, and holds each code against its vector.
void checkCodes(const Bundle& b, const std::string& when) {
  const uint32_t n = b.layout.padded, d = b.shape.dimensions;
  const float* haar = b.shape.haar ? reinterpret_cast<const float*>(b.build.rotation.data()) : nullptr;
  const FrozenRotation rotation(b.shape, haar);
  const auto turned = [&](std::vector<float> v) {
    const float unit = b.shape.metric == Metric::kCosine ? 1 / std::sqrt(kernel->dot(v.data(), v.data(), d)) : 1;
    for (float& x : v) x *= unit;
    std::vector<float> out(n);
    rotation.apply(v.data(), out.data());
    return out;
  };
  Random random(seed);
  std::vector<float> first = b.vectors[random() % b.size()];
  for (float& x : first) x += 0.1f * random.gauss();
  const std::vector<float> query = turned(first);
  const float length = std::sqrt(kernel->dot(query.data(), query.data(), n));

  check(b.build.codes.size() == b.counts.blocks * b.layout.blockStride &&
            b.build.ranges.size() == b.counts.blocks * sizeof(Range) &&
            b.build.planes.size() == b.counts.blocks * kLanes * b.layout.planesStride &&
            b.build.clusters.size() == b.counts.clusters * b.layout.clusterStride &&
            b.build.rotation.size() == (b.shape.haar ? sizeof(float) * n * d : 0),
        when + ": sections are of whole records");
  std::vector<uint32_t> seen(b.size());
  bool counts = true, known = true, ranges = true, ascends = true, empty = true, signs = true, near = true,
       planes = true;
  uint64_t block = 0;
  for (uint32_t c = 0; c < b.counts.clusters; c++) {
    const Cluster* cluster = reinterpret_cast<const Cluster*>(b.build.clusters.data() + c * b.layout.clusterStride);
    const float* centre = reinterpret_cast<const float*>(cluster + 1);
    counts &= cluster->firstBlock == block && cluster->count > 0 && cluster->blocks == (cluster->count + 31) / 32;
    counts &= std::all_of(cluster->reserved, cluster->reserved + 11, [](uint32_t x) { return x == 0; });
    const float base = distanceOf(b.shape.metric, query.data(), centre, n);
    const float apart = std::sqrt(kernel->l2(query.data(), centre, n));
    float before = 0;
    for (uint32_t at = 0; at < cluster->blocks * kLanes; at++) {
      const uint64_t number = block + at / kLanes;
      const uint32_t lane = at % kLanes;
      const uint8_t* bytes = b.build.codes.data() + number * b.layout.blockStride;
      const auto factor = [&](uint64_t place) { return reinterpret_cast<const float*>(bytes + place)[lane]; };
      const uint32_t node = reinterpret_cast<const uint32_t*>(bytes + b.layout.nodes)[lane];
      std::vector<uint8_t> nibbles(b.layout.quads);
      unpackLane(bytes, b.layout.quads, lane, nibbles.data());
      const uint8_t* own = b.build.planes.data() + (number * kLanes + lane) * b.layout.planesStride;
      if (at >= cluster->count) {
        const auto isZero = [](uint8_t x) { return x == 0; };
        empty &= node == kNone && factor(b.layout.add) == INFINITY && factor(b.layout.rescale) == 0 &&
                 factor(b.layout.error) == 0 && std::all_of(nibbles.begin(), nibbles.end(), isZero) &&
                 std::all_of(own, own + b.layout.planesStride, isZero);
        continue;
      }
      known &= node < b.size() && b.hasCode(node);
      if (node >= b.size()) continue;
      seen[node]++;
      const std::vector<float> o = turned(b.vectors[node]);
      const float size = std::sqrt(kernel->dot(o.data(), o.data(), n));
      const float r = std::sqrt(kernel->l2(o.data(), centre, n)), rounding = 4e-6f * (size + r);
      const Range range = reinterpret_cast<const Range*>(b.build.ranges.data())[number];
      ranges &= r >= range.nearest - rounding && r <= range.farthest + rounding && r <= cluster->radius + rounding;
      ascends &= range.nearest <= range.farthest && range.nearest >= before - (lane == 0 ? 0 : INFINITY);
      if (lane + 1 == kLanes || at + 1 == cluster->count) before = range.farthest;
      // Bits that rounding cannot turn are those of the residual.
      double product = 0;
      for (uint32_t i = 0; i < n; i++) {
        const bool positive = nibbles[16 * (i / 64) + i % 16] >> (i / 16 % 4) & 1;
        signs &= std::fabs(o[i] - centre[i]) <= rounding || positive == (o[i] > centre[i]);
        product += (positive ? 0.5 : -0.5) * (double(query[i]) - centre[i]);
      }
      const float exact = distanceOf(b.shape.metric, query.data(), o.data(), n);
      const float allowed = 8e-6f * (length + size) * (apart + length + size);
      const double estimate = double(factor(b.layout.add)) + base + factor(b.layout.rescale) * product;
      near &= std::fabs(estimate - exact) <= 6 * factor(b.layout.error) * apart + allowed;
      if (b.shape.bits == 1) continue;
      const OwnFactors* f = reinterpret_cast<const OwnFactors*>(own);
      product = 0;
      for (uint32_t i = 0; i < n; i++) {
        const uint8_t* group = reinterpret_cast<const uint8_t*>(f + 1) + i / 64 * 8 * b.shape.bits + i % 64 / 8;
        uint32_t level = 0;
        for (uint32_t p = 0; p < b.shape.bits; p++) level |= (group[8 * p] >> (i % 8) & 1u) << p;
        product += (level - 0.5 * ((1 << b.shape.bits) - 1)) * query[i];
      }
      planes &= f->error <= factor(b.layout.error) + rounding &&
                std::fabs(double(f->add) + base + f->rescale * product - exact) <= 6 * f->error * apart + allowed;
    }
    block += cluster->blocks;
  }
  bool once = true;
  for (uint32_t i = 0; i < b.size(); i++) once &= seen[i] == (b.hasCode(i) ? 1u : 0u);
  check(counts && block == b.counts.blocks, when + ": clusters follow one another, and their counts add up");
  check(known && once, when + ": each vector has one code, and those that are left have none");
  check(ranges, when + ": lengths of residuals lie in the ranges of their blocks and below the radius");
  check(ascends, when + ": blocks of a cluster are in the order of their lengths");
  check(empty, when + ": lanes without a vector are empty");
  check(signs, when + ": codes are the signs of residuals");
  check(near, when + ": a code's estimate is within six deviations of the distance");
  check(planes, when + ": an estimate by planes is, too, and its deviation is smaller");
}

bool sameBuild(const FrozenBuild& a, const FrozenBuild& b) {
  return a.rotation == b.rotation && a.clusters == b.clusters && a.codes == b.codes && a.planes == b.planes &&
         a.ranges == b.ranges;
}

// The bytes do not depend on who computes them.
void testSameBytes() {
  const Kernel* const chosen = kernel;
  for (const FrozenShape& s : {FrozenShape{100, Metric::kL2, 4, false, seed},
                               {64, Metric::kCosine, 1, true, seed},
                               {200, Metric::kDot, 7, true, seed + 1}}) {
    Random random(seed);
    World w = worldOf(s, dataOf(Data::kClustered, s.dimensions, 1600 / share + 500, random));
    const std::vector<uint32_t> order = shuffled(w.graph->nodes(), random);
    FrozenBuild one;
    check(one.run(*w.graph, s, order, {}, 12, 1), nameOf(s) + ": codes are built");
    for (const unsigned threads : {2u, 3u}) {
      FrozenBuild many;
      check(many.run(*w.graph, s, order, {}, 12, threads) && sameBuild(one, many),
            nameOf(s) + ": " + std::to_string(threads) + " threads build what one builds");
    }
    for (const Kernel* k : kernelsHere()) {
      kernel = k;
      FrozenBuild other;
      check(other.run(*w.graph, s, order, {}, 12, 2) && sameBuild(one, other),
            nameOf(s) + ": " + k->name + " builds what " + chosen->name + " builds");
    }
    kernel = chosen;
    FrozenShape another = s;
    another.seed++;
    FrozenBuild different;
    check(different.run(*w.graph, another, order, {}, 12, 2) && different.codes != one.codes,
          nameOf(s) + ": another seed gives other codes");
    std::printf("codes of %s: %08x\n", nameOf(s).c_str(), kernel->crc32c(one.codes.data(), one.codes.size(), 0));
  }
}

// Numbers of vectors at which blocks are full, nearly full or nearly empty; and such as k-means knows no centres for.
void testSizes() {
  Random random(seed);
  struct Case {
    uint32_t count, clusters;
    Data data;
    bool equal;
  };
  const Case cases[] = {
      {1, 1, Data::kGaussian, false},   {7, 3, Data::kGaussian, false},  {7, 50, Data::kGaussian, false},
      {32, 1, Data::kClustered, false}, {33, 1, Data::kGaussian, false}, {1023, 20, Data::kClustered, false},
      {300, 17, Data::kGaussian, true}, {1000, 40, Data::kFew, false},   {300, 12, Data::kTight, false}};
  for (const Case& one : cases) {
    for (const uint32_t bits : {1u, 3u}) {
      const Metric metric = static_cast<Metric>(random() % 3);
      const FrozenShape s{64, metric, bits, random() % 2 == 0, seed};
      std::vector<std::vector<float>> vectors = dataOf(one.data, 64, one.count, random);
      if (one.equal) std::fill(vectors.begin(), vectors.end(), vectors[0]);
      World w = worldOf(s, vectors);
      std::vector<uint8_t> left(one.count);
      for (uint8_t& x : left) x = one.count > 1 && random() % 10 == 0;
      const Bundle b(w, s, one.clusters, shuffled(one.count, random), left);
      const std::string name = nameOf(s) + ", " + std::to_string(one.count) + " vectors";
      checkCodes(b, name);
      check(b.counts.clusters >= 1 && b.counts.clusters <= one.clusters, name + ": no more clusters than asked for");
      if (one.equal) {
        std::vector<uint32_t> lanes;
        for (uint64_t i = 0; i < b.counts.blocks; i++) {
          const uint8_t* nodes = b.build.codes.data() + i * b.layout.blockStride + b.layout.nodes;
          lanes.insert(lanes.end(), reinterpret_cast<const uint32_t*>(nodes),
                       reinterpret_cast<const uint32_t*>(nodes) + kLanes);
        }
        check(b.counts.clusters == 1 && std::is_sorted(lanes.begin(), lanes.end()),
              name + ": equal vectors are in one cluster, in the order of their numbers");
      }
      bool complete = true;
      for (int round = 0; round < 4; round++) {
        const std::vector<float>& q = vectors[random() % vectors.size()];
        const std::vector<Neighbor> truth = b.exhaustive(q), found = b.scan(q, one.count + 3, 4);
        complete &= found.size() == truth.size();
        for (size_t i = 0; i < found.size() && complete; i++) {
          complete &= found[i].node == truth[i].node && sameBits(found[i].distance, truth[i].distance);
        }
      }
      check(complete, name + ": asking for more than there are gives all, in order");
    }
  }
  const FrozenShape s{64, Metric::kL2, 4, true, seed};
  World w = worldOf(s, dataOf(Data::kGaussian, 64, 5, random));
  const Bundle none(w, s, 1, shuffled(5, random), std::vector<uint8_t>(5, 1));
  check(none.counts.clusters == 0 && none.scan(w.vectors[0], 3, 2).empty() && none.scan(w.vectors[0], 3, 0).empty(),
        "where no vector has a code none is found");

  bool grows = true, enough = true;
  uint32_t before = 0;
  for (uint64_t count = 0; count < uint64_t(1) << 32; count = count * 5 / 4 + 1) {
    const uint32_t clusters = FrozenBuild::standardClusters(count);
    grows &= clusters >= before && clusters >= 1;
    enough &= clusters == 1 || clusters <= count / 64;
    before = clusters;
  }
  check(grows && enough, "more vectors have more clusters, none of them of a few vectors");
  check(FrozenBuild::standardClusters(1000000) == 1000, "about as many clusters as vectors in one");
}

// How often a vector was missed, its estimate being off by more than the three standard deviations that are allowed
// for: one in 700 is, and most of those are not near the k-th.
struct Tally {
  uint64_t wanted = 0, missed = 0;
};

// Hits are what comparing all gives, in its order and with its bits, less those that were missed.
bool follows(const std::vector<Neighbor>& found, const std::vector<Neighbor>& truth, uint32_t k, Tally* tally) {
  const size_t wanted = std::min<size_t>(k, truth.size());
  size_t at = 0;
  for (const Neighbor& hit : found) {
    while (at < truth.size() && truth[at].node != hit.node) at++;
    if (at == truth.size() || !sameBits(truth[at].distance, hit.distance)) return false;
    tally->missed -= at < wanted;
    at++;
  }
  tally->missed += wanted;
  tally->wanted += wanted;
  return found.size() == wanted;
}

bool same(const std::vector<Neighbor>& a, const std::vector<Neighbor>& b) {
  bool equal = a.size() == b.size();
  for (size_t i = 0; equal && i < a.size(); i++)
    equal = a[i].node == b[i].node && sameBits(a[i].distance, b[i].distance);
  return equal;
}

void testScansOf(const FrozenShape& s, Data data, uint32_t count, Tally* tally) {
  Random random(seed * 100 + s.dimensions);
  const std::vector<std::vector<float>> vectors = dataOf(data, s.dimensions, count, random);
  World w = worldOf(s, vectors);
  std::vector<uint8_t> left(count);
  for (uint8_t& x : left) x = random() % 20 == 0;
  const Bundle b(w, s, data == Data::kRays || data == Data::kCopies ? 3 : 10, shuffled(count, random), left);
  std::vector<std::vector<float>> queries;
  for (uint32_t i = 0; i < 8; i++) {
    std::vector<float> q = random.gauss(s.dimensions);
    uint32_t node = static_cast<uint32_t>(random() % count);
    while (!b.hasCode(node)) node = (node + 1) % count;
    const std::vector<float>& v = b.vectors[node];
    const float noise = i % 4 == 1 ? 0 : i % 4 == 2 ? 0.1f : 1e-3f;  // or far from all
    for (uint32_t j = 0; j < s.dimensions && i % 4 > 0; j++) q[j] = v[j] + noise * q[j];
    queries.push_back(q);
  }
  const std::string name = nameOf(s) + ", data " + std::to_string(static_cast<int>(data));
  const Kernel* const chosen = kernel;
  bool exact = true, near = true, bounded = true, steady = true, roughly = true;
  for (uint32_t i = 0; i < queries.size(); i++) {
    const std::vector<float>& q = queries[i];
    const std::vector<Neighbor> truth = b.exhaustive(q);
    for (const uint32_t k : {1u, 2u, 10u, 77u, count - 30, count + 9}) {
      for (const uint32_t rerank : {1000u, 1u, 2u, 0u}) {
        const uint64_t before = b.frozen->work().compared;
        const std::vector<Neighbor> found = b.scan(q, k, rerank);
        const uint64_t compared = b.frozen->work().compared - before;
        bounded &= compared <= uint64_t(rerank) * k;
        Tally rough;
        if (rerank > 0) exact &= follows(found, truth, k, rerank == 1000 && k <= 77 ? tally : &rough);
        if (rerank == 1000 && i % 4 == 1 && s.metric != Metric::kDot)
          near &= found[0].distance <= 1e-6f && found[0].distance == truth[0].distance;
        if (rerank == 0) {
          roughly &= found.size() == std::min<size_t>(k, truth.size());
          std::vector<uint32_t> nodes;
          for (size_t j = 0; j < found.size(); j++) {
            roughly &= std::isfinite(found[j].distance) && (j == 0 || found[j - 1].distance <= found[j].distance);
            roughly &= found[j].node < count && b.hasCode(found[j].node);
            nodes.push_back(found[j].node);
          }
          std::sort(nodes.begin(), nodes.end());
          roughly &= std::adjacent_find(nodes.begin(), nodes.end()) == nodes.end();
        }
        if (k != 10) continue;
        for (const Kernel* other : kernelsHere()) {
          kernel = other;
          steady &= same(b.scan(q, k, rerank), found);
        }
        kernel = chosen;
      }
    }
  }
  check(exact, name + ": hits are those of comparing all, bit for bit and in order");
  check(near, name + ": a vector that is there is found");
  check(bounded, name + ": no more vectors are compared than asked for");
  check(roughly, name + ": without vectors, as many come back by their estimates, each once");
  check(steady, name + ": every kernel gives the same bits");

  // The same by threads.
  constexpr uint32_t k = 10;
  const uint32_t many = static_cast<uint32_t>(queries.size());
  std::vector<float> flat, distances(many * k);
  for (const std::vector<float>& q : queries) flat.insert(flat.end(), q.begin(), q.end());
  std::vector<uint32_t> nodes(many * k);
  std::vector<int32_t> counts(many);
  for (const uint32_t rerank : {0u, 3u}) {
    bool equal = b.frozen->scanMany(flat.data(), many, k, rerank, 3, nodes.data(), distances.data(), counts.data());
    for (uint32_t i = 0; i < many; i++) {
      std::vector<Neighbor> found;
      for (int32_t j = 0; j < counts[i]; j++) found.push_back({distances[i * k + j], nodes[i * k + j]});
      equal &= same(found, b.scan(queries[i], k, rerank));
    }
    check(equal, name + ": many queries on threads give what each gives alone");
  }
}

// With eight bits an estimate is nearly the distance, and so are the hits without any vector.
void testFineEstimates() {
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    const FrozenShape s{128, metric, 8, metric == Metric::kDot, seed};
    Random random(seed);
    World w = worldOf(s, dataOf(Data::kClustered, 128, 600, random));
    const Bundle b(w, s, 8, shuffled(600, random));
    uint32_t hits = 0;
    bool near = true;
    for (int round = 0; round < 10; round++) {
      std::vector<float> q = random.gauss(128);
      const std::vector<Neighbor> truth = b.exhaustive(q), found = b.scan(q, 10, 0);
      std::vector<float> exact(600);
      for (const Neighbor& one : truth) exact[one.node] = one.distance;
      const float size = metric == Metric::kCosine ? 1 : 128;
      for (const Neighbor& hit : found) {
        near &= std::fabs(hit.distance - exact[hit.node]) <= 0.01f * size;
        hits += exact[hit.node] <= truth[9].distance;
      }
    }
    check(near, nameOf(s) + ": estimates are within a hundredth of the distances");
    check(hits >= 95, nameOf(s) + ": nearest by estimates, of 100 " + std::to_string(hits));
  }
}

// Finite queries that no float holds the rotated values of: nothing is promised of the hits but that they exist.
void testHugeQueries() {
  Random random(seed);
  bool exist = true;
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    for (const uint32_t bits : {1u, 5u}) {
      const FrozenShape s{100, metric, bits, bits == 5, seed};
      World w = worldOf(s, dataOf(Data::kClustered, 100, 200, random));
      const Bundle b(w, s, 4, shuffled(200, random));
      for (const float size : {1e-38f, 1e-20f, 1e15f, 1e19f, 3e38f}) {
        for (const bool even : {false, true}) {
          std::vector<float> q = random.gauss(100);
          for (float& x : q) x = even ? size : size * std::fmax(-1, std::fmin(1, x));
          for (const uint32_t rerank : {0u, 4u}) {
            const std::vector<Neighbor> found = b.scan(q, 10, rerank);
            exist &= found.size() <= 10;
            for (const Neighbor& hit : found) exist &= hit.node < 200;
          }
        }
      }
    }
  }
  check(exist, "hits of huge and tiny queries exist");
}

void testScans() {
  Tally tally, tight, rays;
  const uint32_t count = 1200 / share + 450;
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    uint32_t group = static_cast<uint32_t>(metric);
    for (const uint32_t d : {64u, 100u, 200u, 784u}) {
      for (const bool haar : {false, true}) {
        if (haar && d == 784 && share > 1) continue;
        for (const uint32_t bits : {1u, 4u}) {
          group++;
          for (const Data data : {Data::kGaussian, Data::kClustered, Data::kFew}) {
            if (share > 1 && (group + static_cast<uint32_t>(data)) % 3 != 0) continue;  // each kind of data in turn
            testScansOf({d, metric, bits, haar, seed}, data, d == 784 ? count / 2 : count, &tally);
          }
        }
      }
    }
    for (const uint32_t bits : {1u, 4u, 8u}) {
      testScansOf({64, metric, bits, bits == 4, seed}, Data::kTight, count, &tight);
      testScansOf({64, metric, bits, bits == 4, seed}, Data::kTight, count | 1, &tight);
      testScansOf({100, metric, bits, bits == 1, seed}, Data::kRays, count, &rays);
      testScansOf({100, metric, bits, bits == 1, seed}, Data::kCopies, count, &rays);
    }
  }
  for (const Tally& t : {tally, tight, rays}) {
    std::printf("scans missed %llu of %llu\n", static_cast<unsigned long long>(t.missed),
                static_cast<unsigned long long>(t.wanted));
    check(t.missed <= t.wanted / 700, "scans missed " + std::to_string(t.missed) + " of " + std::to_string(t.wanted));
  }
}

}  // namespace

void testFrozen() {
  testSameBytes();
  testSizes();
  testScans();
  testFineEstimates();
  testHugeQueries();
}

}  // namespace hebb::test
