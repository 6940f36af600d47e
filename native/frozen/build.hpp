// Clusters and codes of a frozen bundle, from the vectors of a graph.
#pragma once

#include <cstdint>
#include <vector>

#include "../graph/graph.hpp"
#include "layout.hpp"

namespace hebb {

struct FrozenBuild {
  // Of the vectors of `nodes`, which the bundle numbers in that order; those that are `left` (a byte each; empty: none)
  // get no codes. False on a fault. Nothing may write to the graph meanwhile. The bytes do not depend on `threads`.
  bool run(Graph& graph, const FrozenShape& shape, const std::vector<uint32_t>& nodes, const std::vector<uint8_t>& left,
           uint32_t clusterCount, unsigned threads);

  // The contents of the sections.
  std::vector<uint8_t> rotation, clusters, codes, planes, ranges;

  // For `count` vectors: about as many clusters as vectors in one, which balances the work of a search; no cluster of a
  // few vectors, whose last block would be mostly empty.
  static uint32_t standardClusters(uint64_t count);
};

}  // namespace hebb
