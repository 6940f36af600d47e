// What a frozen bundle holds, in memory: vectors under new numbers in a graph of their own, and their codes.
#pragma once

#include <memory>
#include <vector>

#include "frozen/build.hpp"
#include "frozen/frozen.hpp"
#include "world.hpp"

namespace hebb::test {

struct Bundle {
  FrozenShape shape;
  FrozenLayout layout;
  std::vector<uint32_t> order;  // which node of the world each one is
  std::vector<uint8_t> left;    // a byte each; empty: all have codes
  std::vector<std::vector<float>> vectors;
  FrozenBuild build;
  Frozen::Counts counts{};
  std::shared_ptr<Region> region;
  std::shared_ptr<Graph> graph;
  std::unique_ptr<Frozen> frozen;

  Bundle(World& w, const FrozenShape& shape, uint32_t clusters, std::vector<uint32_t> order,
         std::vector<uint8_t> left = {}, unsigned threads = 2);

  uint32_t size() const { return static_cast<uint32_t>(order.size()); }
  bool hasCode(uint32_t node) const { return left.empty() || !left[node]; }
  const std::vector<uint8_t>& built(uint32_t section) const;
  // Loads the sections that were built, as they are; what was done to them in the region is gone.
  void heal();
  // Null where it is refused; `error` says why.
  bool attach(const char** error);

  // All that have codes, nearest first, by Graph::scan.
  std::vector<Neighbor> exhaustive(const std::vector<float>& query) const;
  // Ends the test run with a failure where it gives a fault.
  std::vector<Neighbor> scan(const std::vector<float>& query, uint32_t k, uint32_t rerank) const;
};

enum class Data { kGaussian, kClustered, kFew, kTight, kRays, kCopies };

// `count` vectors: Gaussian; about 12 centres; with few different values, so that many distances are equal; in tight
// clusters that are far from each other; or on a few lines, where the triangle inequality leaves nothing; or
// copies of six.
std::vector<std::vector<float>> dataOf(Data data, uint32_t d, uint32_t count, Random& random);

// 0 to n - 1, in a random order.
std::vector<uint32_t> shuffled(uint32_t n, Random& random);

}  // namespace hebb::test
