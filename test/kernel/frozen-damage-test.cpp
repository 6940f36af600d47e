// Bytes of codes that no healthy bundle has: they are refused, or searched to an end, and only nodes that exist are
// found.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "bundle.hpp"

namespace hebb::test {
namespace {

constexpr uint32_t kCount = 500;
constexpr float kOdd[] = {NAN, -NAN, INFINITY, -INFINITY, 1e38f, -1e38f, 3.4e38f, 1e-45f, -0.0f};

World worldOf(uint32_t d, Metric metric, Random& random) {
  World w(d, metric, 4, kCount);
  w.publish(dataOf(Data::kClustered, d, kCount, random));
  return w;
}

struct Patient {
  Patient(const FrozenShape& shape)
      : random(seed), w(worldOf(shape.dimensions, shape.metric, random)), b(w, shape, 6, shuffled(kCount, random)) {}
  Cluster* cluster(uint32_t c) {
    return reinterpret_cast<Cluster*>(b.region->base(kClusters) + c * b.layout.clusterStride);
  }
  uint8_t* block(uint64_t i) { return b.region->base(kCodes) + i * b.layout.blockStride; }
  // Whether a search ended with a fault, or with hits that exist.
  bool ends(const std::vector<float>& q, uint32_t k, uint32_t rerank, uint32_t* faults) {
    std::vector<uint32_t> nodes(k, kNone);
    std::vector<float> distances(k, -7);
    const int32_t count = b.frozen->scan(q.data(), k, rerank, nodes.data(), distances.data());
    *faults += count < 0;
    bool sound = count <= static_cast<int32_t>(k);
    for (int32_t i = 0; i < count && sound; i++) sound = nodes[i] < kCount;
    return sound;
  }
  Random random;
  World w;
  Bundle b;
};

void testRecords(const FrozenShape& shape) {
  Patient p(shape);
  Bundle& b = p.b;
  const std::string name = "metric " + std::to_string(static_cast<uint32_t>(shape.metric));
  const auto refused = [&](
                           const std::function<void()>& damage, const std::string& what,
                           const std::function<void()>& repair = [] {}) {
    damage();
    const char* error = "";
    check(!b.attach(&error) && std::strcmp(error, "section clusters contradicts section codes") == 0,
          name + ": " + what);
    repair();
    b.heal();
    check(b.attach(&error), name + ": what is sound again is attached to");
  };
  const uint32_t last = b.counts.clusters - 1;
  for (const uint32_t c : {0u, last / 2, last}) {
    for (const uint64_t more : {uint64_t(1), uint64_t(1) << 40, ~uint64_t(0)})
      refused([&] { p.cluster(c)->firstBlock += more; }, "a cluster that begins elsewhere is refused");
    for (const uint32_t blocks : {0u, p.cluster(c)->blocks + 1, 0x7fffffffu, 0xffffffffu})
      refused([&] { p.cluster(c)->blocks = blocks; }, "a cluster of other blocks is refused");
    for (const uint32_t count : {0u, p.cluster(c)->count + 1, p.cluster(c)->count - 1, 0x80000000u, 0xffffffffu})
      refused([&] { p.cluster(c)->count = count; }, "a cluster of other vectors is refused");
    for (const float radius : {NAN, -1.0f, -INFINITY})
      refused([&] { p.cluster(c)->radius = radius; }, "a radius below zero, or none, is refused");
  }
  // Sums that are right though the parts are not.
  refused([&] { p.cluster(0)->count += kLanes, p.cluster(last)->count -= kLanes; },
          "a cluster of more vectors than its blocks hold is refused");
  const Frozen::Counts counts = b.counts;
  refused(
      [&] {
        b.counts.blocks -= p.cluster(last)->blocks;
        b.counts.coded -= p.cluster(last)->count;
        p.cluster(last)->blocks = p.cluster(last)->count = 0;
      },
      "a cluster of nothing is refused", [&] { b.counts = counts; });
  for (const Frozen::Counts& wrong : {Frozen::Counts{counts.clusters - 1, counts.blocks, counts.coded},
                                      {counts.clusters, counts.blocks - 1, counts.coded},
                                      {counts.clusters, counts.blocks + 1, counts.coded},
                                      {counts.clusters, counts.blocks, counts.coded + 1}}) {
    b.counts = wrong;
    const char* error = "";
    check(!b.attach(&error) && std::strlen(error) > 10, name + ": counts that the clusters do not have are refused");
  }
  b.counts = counts;
}

// Whatever block a search comes to, a node that does not exist is named with its place.
void testNodes(const FrozenShape& shape) {
  Patient p(shape);
  Bundle& b = p.b;
  bool named = true, healed = true;
  for (int round = 0; round < 40; round++) {
    const uint32_t node = static_cast<uint32_t>(p.random() % kCount);
    // The place of its code.
    uint64_t block = 0;
    uint32_t lane = kLanes;
    for (; block < b.counts.blocks; block++) {
      const uint32_t* nodes = reinterpret_cast<const uint32_t*>(p.block(block) + b.layout.nodes);
      lane = static_cast<uint32_t>(std::find(nodes, nodes + kLanes, node) - nodes);
      if (lane < kLanes) break;
    }
    const uint64_t at = b.layout.nodes + lane * sizeof(uint32_t);
    for (const uint32_t wrong : {kCount, kCount + 1, 0x7fffffffu, kNone}) {
      std::memcpy(p.block(block) + at, &wrong, sizeof wrong);
      uint32_t found[5];
      float distances[5];
      named &= b.frozen->scan(b.vectors[node].data(), 5, round % 3, found, distances) == -1;
      const BlockFault fault = b.region->fault();
      named &= fault.section == kCodes && fault.offset == block * b.layout.blockStride + at && fault.reason;
      std::vector<float> queries;
      for (int i = 0; i < 6; i++) queries.insert(queries.end(), b.vectors[node].begin(), b.vectors[node].end());
      uint32_t many[30];
      float manyDistances[30];
      int32_t manyCounts[6];
      named &= !b.frozen->scanMany(queries.data(), 6, 5, 2, 3, many, manyDistances, manyCounts);
    }
    b.heal();
    healed &= b.scan(b.vectors[node], 1, kCount)[0].distance <= b.exhaustive(b.vectors[node])[0].distance;
  }
  check(named, "a code of a node that does not exist is refused, with its place");
  check(healed, "a search that met damage leaves nothing behind");
}

// Flips of bits and odd factors anywhere in what was built.
void testRandomBytes(const FrozenShape& shape) {
  Patient p(shape);
  Bundle& b = p.b;
  bool sound = true;
  uint32_t faults = 0, refused = 0, searches = 0;
  const FrozenSection sections[] = {kCodes, kPlanes, kRanges, kClusters, kRotation};
  const uint32_t rounds = std::max(16000 / share, 1000u);
  for (uint32_t round = 0; round < rounds; round++) {
    for (uint32_t i = 0; i < 1 + round % 40; i++) {
      // One section alone, or all of them; records of clusters, which most damage to makes refused, less often.
      const FrozenSection section = sections[round % 7 < 5 ? round % 5 : p.random() % 3];
      const uint64_t bytes = b.built(section).size();
      if (bytes == 0) continue;
      uint8_t* const base = b.region->base(section);
      uint64_t at = p.random() % bytes;
      switch (p.random() % 3) {
        case 0:
          base[at] ^= static_cast<uint8_t>(1u << (p.random() % 8));
          break;
        case 1:
          base[at] = static_cast<uint8_t>(p.random());
          break;
        default: {
          // Where factors and lengths are, above all.
          if (section == kCodes)
            at = at / b.layout.blockStride * b.layout.blockStride + b.layout.add + p.random() % (3 * kLanes) * 4;
          if (section == kPlanes) at = at / b.layout.planesStride * b.layout.planesStride + p.random() % 3 * 4;
          const float odd = kOdd[p.random() % std::size(kOdd)];
          std::memcpy(base + at / 4 * 4, &odd, sizeof odd);
        }
      }
    }
    const char* error = nullptr;
    if (!b.attach(&error)) {
      refused++;
    } else {
      for (const uint32_t rerank : {0u, 1u, 50u}) {
        const uint32_t k = round % 5 == 0 ? kCount + 5 : 1 + round % 20;
        sound &= p.ends(b.vectors[p.random() % kCount], k, rerank, &faults);
        searches++;
      }
    }
    if (round % 8 == 7) b.heal();
  }
  b.heal();
  const char* error = nullptr;
  const std::string name =
      "metric " + std::to_string(static_cast<uint32_t>(shape.metric)) + ", " + std::to_string(shape.bits) + " bits: ";
  check(sound, name + "hits over damaged codes exist");
  check(refused > 0 && searches > rounds, name + "damage is met by attaching (" + std::to_string(refused) +
                                              " times) and by searches (" + std::to_string(faults) + " faults of " +
                                              std::to_string(searches) + ")");
  check(b.attach(&error) && b.scan(b.vectors[7], 1, 50).size() == 1, name + "what is sound again is searched again");
}

// Blocks whose checksum does not hold.
void testChecksums() {
  Patient p({64, Metric::kL2, 4, true, seed});
  Bundle& b = p.b;
  for (const FrozenSection section : {kClusters, kRanges, kRotation}) {
    const uint32_t wrong = b.region->checksumOf(section, 0) ^ 1;
    b.region->expectChecksums(section, 0, &wrong, 1);
    const char* error = "";
    check(!b.attach(&error) && std::strcmp(error, "checksum") == 0 && b.region->fault().section == section,
          "a checksum that does not hold is refused on opening, section " + std::to_string(section));
    const uint32_t right = b.region->checksumOf(section, 0);
    b.region->expectChecksums(section, 0, &right, 1);
    check(b.attach(&error), "one that holds is not");
  }
  for (const FrozenSection section : {kPlanes, kCodes}) {
    const uint64_t blocks = (b.built(section).size() + kBlockBytes - 1) / kBlockBytes;
    std::vector<uint32_t> sums;
    for (uint64_t i = 0; i < blocks; i++) sums.push_back(b.region->checksumOf(section, i));
    std::vector<uint32_t> wrong = sums;
    for (uint32_t& sum : wrong) sum ^= 1;
    uint32_t faults = 0;
    b.region->expectChecksums(section, 0, wrong.data(), blocks);
    check(p.ends(b.vectors[3], 10, 5, &faults) && faults == 1 && b.region->fault().section == section,
          "a checksum that does not hold is refused where a search comes to it, section " + std::to_string(section));
    b.region->expectChecksums(section, 0, sums.data(), blocks);
    check(p.ends(b.vectors[3], 10, 5, &faults) && faults == 1, "one that holds is not");
  }
}

}  // namespace

void testFrozenDamage() {
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    testRecords({64, metric, 2, false, seed});
    testRandomBytes({100, metric, 1, false, seed});
    testRandomBytes({64, metric, 4, true, seed});
    testRandomBytes({64, metric, 8, false, seed});
  }
  testNodes({64, Metric::kL2, 1, false, seed});
  testNodes({100, Metric::kCosine, 4, true, seed});
  testChecksums();
}

}  // namespace hebb::test
