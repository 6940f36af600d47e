// A graph, what is in it as the tests know it, and what must hold of the two.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "graph/graph.hpp"
#include "testing.hpp"

namespace hebb::test {

struct World {
  Options options{};
  std::shared_ptr<Region> region;
  std::unique_ptr<Graph> graph;
  std::vector<std::vector<float>> vectors;  // by node, the last it had

  World(uint32_t dimensions, Metric metric, uint32_t m, uint32_t maxNodes, Profile profile = Profile::kTurbo,
        bool keepOriginals = true);

  bool attach();
  Head* head() const { return reinterpret_cast<Head*>(region->base(kHead)); }
  uint8_t* rowBytes(uint32_t node) const { return region->base(kRows) + node * Graph::rowStride(options); }
  Row* row(uint32_t node) const { return reinterpret_cast<Row*>(rowBytes(node)); }
  uint32_t* ids(uint32_t node) const { return reinterpret_cast<uint32_t*>(row(node) + 1); }
  // The record of a node's vector; under cosine the inverse norm follows.
  const float* record(uint32_t node) const {
    return reinterpret_cast<const float*>(region->base(kVectors) + node * Graph::vectorStride(options));
  }
  bool is(uint32_t node, uint8_t bits) const { return (graph->state(node) & bits) == bits; }
  std::vector<uint32_t> having(uint8_t bits) const;
  double distance(const std::vector<float>& q, uint32_t node) const;

  // A vector of the data: Gaussian; in profile compact mostly in few directions, or there is nothing to project.
  std::vector<float> draw(Random& random) const;
  // New live nodes, not linked.
  std::vector<uint32_t> publish(Random& random, uint32_t count);
  std::vector<uint32_t> publish(const std::vector<std::vector<float>>& fresh);
  // The same, linked.
  std::vector<uint32_t> add(Random& random, uint32_t count, unsigned threads);
  void remove(const std::vector<uint32_t>& nodes);
  // Deletes some of the live nodes: one in `part`.
  std::vector<uint32_t> removeSome(Random& random, uint32_t part);
};

// Bits for some of the nodes: one in `part`.
struct Some {
  Some(const World& w, Random& random, uint32_t part);
  std::vector<uint32_t> bits;
  Filter filter;
};

// Edges and in-degrees: what must hold at any time between operations.
void checkEdges(World& w, const std::string& when);

// Every lane of every row, read by the layout, is what encoding its neighbour anew gives; in profile small
// every row has its own node's code.
void checkLanes(World& w, const std::string& when);

// The share of the k nearest that searches find; what they find is checked, one by one. Half of the
// queries are near to vectors of the graph.
double recall(World& w, Random& random, const Filter& filter, uint32_t ef, uint32_t k = 10);

// All that a graph is, less the counters of writes and the path, which is chosen by the clock: equal bytes are equal
// graphs.
std::vector<uint8_t> bytesOf(const World& w);

}  // namespace hebb::test
