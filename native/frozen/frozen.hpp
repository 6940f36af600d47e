// Searching a frozen bundle by its codes: every cluster that may hold one of the k nearest is scanned, and of what the
// codes let through vectors are compared, those first that seem nearest, but for those whose distance is at least more
// than the k-th. What an estimate may be off by is RaBitQ's bound (rabitq.hpp), so that results are exact but for the
// rare vector whose estimate is off by more than `kSure` standard deviations, and where the cap of comparisons ends
// them.
//
// Every number is an integer sum, or floats in one order that no kernel, thread or compiler changes: equal bundles and
// queries give equal bits.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "../graph/graph.hpp"
#include "layout.hpp"

namespace hebb {

class Frozen {
 public:
  struct Counts {
    uint32_t clusters;
    uint64_t blocks;
    uint32_t coded;  // vectors with a code
  };

  // Attaches to what the graph's region holds; `error` names what does not fit, "checksum" a fault of the region.
  static std::unique_ptr<Frozen> attach(std::shared_ptr<Graph> graph, const FrozenShape& shape, const Counts& counts,
                                        const char** error);

  Graph& graph() { return *graph_; }

  // The k nearest of those with codes, ascending, and of equal ones the lower numbers; returns how many, or -1 on a
  // fault. At most rerank x k vectors are compared; with rerank 0 none, and distances are estimates.
  int32_t scan(const float* query, uint32_t k, uint32_t rerank, uint32_t* outNodes, float* outDistances);
  // The same for many queries. `outCounts`: how many there are of each.
  bool scanMany(const float* queries, uint32_t count, uint32_t k, uint32_t rerank, unsigned threads, uint32_t* outNodes,
                float* outDistances, int32_t* outCounts);

  // What all scans did since attaching, for measurements: blocks looked at, codes that one bit did not rule out at
  // once, codes in planes looked at, vectors compared.
  struct Work {
    uint64_t queries, clusters, blocks, candidates, looked, compared;
  };
  Work work() const;

 private:
  struct Visit {               // a cluster, as a query sees it
    float base, apart, least;  // distance(q, c), |q - c|, and no vector of it is nearer than this
    uint32_t cluster;
  };
  struct Candidate {
    float least, estimate;
    uint32_t node, visit;  // `visit`: the place of its cluster among the visits
    uint32_t lane;         // counted over all blocks
    bool looked;           // by its code in planes, where there is one
  };
  struct Room {
    std::vector<float> rotated, residual;
    std::vector<uint8_t> entries;
    std::vector<int16_t> values;  // of the rotated query, for planes
    std::vector<Visit> visits;
    // Those that the clusters so far brought, those that the last one did, those that seem to be among the k nearest;
    // and all others that may be.
    std::vector<Candidate> fresh, next, near, candidates;
    std::vector<float> most;
    std::vector<Neighbor> nearest;  // a heap, the farthest on top
    Work work{};
  };
  class Search;

  Frozen(std::shared_ptr<Graph> graph, const FrozenShape& shape, const Counts& counts);
  const Cluster* cluster(uint32_t c) const {
    return reinterpret_cast<const Cluster*>(region_->base(kClusters) + c * layout_.clusterStride);
  }
  std::unique_ptr<Room> take();
  void giveBack(std::unique_ptr<Room> room);

  std::shared_ptr<Graph> graph_;
  Region* region_;
  FrozenShape shape_;
  FrozenLayout layout_;
  Counts counts_;
  std::unique_ptr<FrozenRotation> rotation_;

  mutable std::mutex roomsMutex_;
  std::vector<std::unique_ptr<Room>> rooms_;
  Work done_{};
};

}  // namespace hebb
