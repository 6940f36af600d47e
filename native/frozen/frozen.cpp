// Attaching to a bundle's codes, and the rooms that searches work in.
#include "frozen.hpp"

#include "../graph/workers.hpp"

namespace hebb {

std::unique_ptr<Frozen> Frozen::attach(std::shared_ptr<Graph> graph, const FrozenShape& shape, const Counts& counts,
                                       const char** error) {
  std::unique_ptr<Frozen> frozen(new Frozen(std::move(graph), shape, counts));
  Region* const region = frozen->region_;
  const FrozenLayout& layout = frozen->layout_;
  *error = "checksum";
  if (!region->ensure(kClusters, 0, counts.clusters * layout.clusterStride) ||
      !region->ensure(kRanges, 0, counts.blocks * sizeof(Range)))
    return nullptr;
  uint64_t blocks = 0, coded = 0;
  for (uint32_t c = 0; c < counts.clusters; c++) {
    const Cluster* cluster = frozen->cluster(c);
    if (cluster->firstBlock != blocks || cluster->blocks == 0 || cluster->count > uint64_t(cluster->blocks) * kLanes ||
        cluster->blocks > counts.blocks - blocks || !(cluster->radius >= 0)) {
      *error = "section clusters contradicts section codes";
      return nullptr;
    }
    blocks += cluster->blocks;
    coded += cluster->count;
  }
  if (blocks != counts.blocks || coded != counts.coded) {
    *error = "section clusters contradicts section codes";
    return nullptr;
  }
  if (shape.haar && !region->ensure(kRotation, 0, uint64_t(shape.dimensions) * layout.padded * sizeof(float)))
    return nullptr;
  frozen->rotation_ = std::make_unique<FrozenRotation>(
      shape, shape.haar ? reinterpret_cast<const float*>(region->base(kRotation)) : nullptr);
  return frozen;
}

Frozen::Frozen(std::shared_ptr<Graph> graph, const FrozenShape& shape, const Counts& counts)
    : graph_(std::move(graph)), region_(&graph_->region()), shape_(shape), layout_(shape), counts_(counts) {}

std::unique_ptr<Frozen::Room> Frozen::take() {
  const std::lock_guard<std::mutex> guard(roomsMutex_);
  if (rooms_.empty()) return std::make_unique<Room>();
  std::unique_ptr<Room> room = std::move(rooms_.back());
  rooms_.pop_back();
  return room;
}

void Frozen::giveBack(std::unique_ptr<Room> room) {
  const std::lock_guard<std::mutex> guard(roomsMutex_);
  const Work& w = room->work;
  done_ = {done_.queries + w.queries,       done_.clusters + w.clusters, done_.blocks + w.blocks,
           done_.candidates + w.candidates, done_.looked + w.looked,     done_.compared + w.compared};
  room->work = {};
  rooms_.push_back(std::move(room));
}

Frozen::Work Frozen::work() const {
  const std::lock_guard<std::mutex> guard(roomsMutex_);
  return done_;
}

bool Frozen::scanMany(const float* queries, uint32_t count, uint32_t k, uint32_t rerank, unsigned threads,
                      uint32_t* outNodes, float* outDistances, int32_t* outCounts) {
  return Crew(*graph_, threads).run(count, [&](uint32_t i, Scratch&) {
    outCounts[i] = scan(queries + uint64_t(i) * shape_.dimensions, k, rerank, outNodes + uint64_t(i) * k,
                        outDistances + uint64_t(i) * k);
    return outCounts[i] >= 0;
  });
}

}  // namespace hebb
