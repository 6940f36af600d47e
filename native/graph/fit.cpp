// Fitting the space of codes to the data (quantize/space.hpp), once, as soon as there is enough of it.
#include <algorithm>

#include "distance.hpp"
#include "mix.hpp"
#include "workers.hpp"

namespace hebb {
namespace {

constexpr uint32_t kFitFrom = 2048;  // nodes from which on there is enough
constexpr uint32_t kMostSampled = 8192;

}  // namespace

bool Graph::fitSpace(const std::vector<uint32_t>& nodes, Crew& crew) {
  if (hasSpace() || linked_.load() + nodes.size() < kFitFrom) return true;
  std::vector<uint32_t> linked, chosen = nodes;
  for (uint32_t node = 0; node < this->nodes(); node++) {
    if (state(node) & kLinked) linked.push_back(node);
  }
  chosen.insert(chosen.end(), linked.begin(), linked.end());
  std::sort(chosen.begin(), chosen.end(), [&](uint32_t a, uint32_t b) {
    const uint64_t x = mix(options_.seed ^ mix(a)), y = mix(options_.seed ^ mix(b));
    return x < y || (x == y && a < b);
  });
  if (chosen.size() > kMostSampled) chosen.resize(kMostSampled);
  Sample sample;
  if (!sampleOf(chosen, &sample)) return false;
  if (!region_->touch(kProjection, 0, projectionBytes(options_))) return false;
  const uint32_t d = options_.dimensions;
  meanOf(sample.vectors, sample.scales, d, projectionMean());
  if (projectionBasis()) {
    const Each each = [&](uint32_t count, const std::function<void(uint32_t)>& fn) {
      crew.run(count, [&](uint32_t i, Scratch&) {
        fn(i);
        return true;
      });
    };
    principalDirections(sample.vectors, sample.scales, projectionMean(), d, layout_.values, options_.seed, each,
                        projectionBasis());
  }
  space_->fit(projectionMean(), projectionBasis());
  if (!crew.run(static_cast<uint32_t>(linked.size()), [&](uint32_t i, Scratch& s) { return recode(linked[i], s); }))
    return false;
  projection()->fitted = static_cast<uint32_t>(sample.vectors.size());
  coded_.store(true, std::memory_order_release);
  return true;
}

}  // namespace hebb
