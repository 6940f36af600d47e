// Choosing the path of searches (graph.hpp): where vectors are short, comparing them may cost less than
// estimating from codes and reading the vectors of all that is expanded. Which is faster depends on the
// data and the machine, so both are measured, on nodes of the graph as queries, at the same recall. The codes of
// compact and small may also be too coarse for the data (directions that matter alike, tight clusters): then
// vectors are compared at any length.
#include <algorithm>
#include <chrono>

#include "distance.hpp"
#include "mix.hpp"

namespace hebb {
namespace {

constexpr uint32_t kLongest = 128;  // dimensions; turbo's codes are faster for longer vectors
constexpr uint32_t kFirst = 2048;   // linked nodes at the first measurement; four times as many at the next
constexpr uint32_t kQueries = 64;   // in a group
constexpr uint32_t kGroups = 7;     // one to find the ef that each path needs, three to time each
constexpr float kOther = 0.1f;      // share of another node in a query
constexpr uint32_t kNearest = 10;
constexpr uint32_t kTruthEf = 400;
constexpr uint32_t kEfs[] = {16, 24, 32, 48, 64, 96, 128};
constexpr double kRecall = 0.97;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

bool Graph::calibrate(uint32_t linkedBefore) {
  const bool settled = options_.profile == Profile::kTurbo && options_.dimensions > kLongest;
  if (settled || linked_.load() < kFirst || !coded_.load()) return true;
  uint64_t due = kFirst;
  while (due * 4 <= linked_.load()) due *= 4;
  if (linkedBefore >= due) return true;
  return byMetric(options_.metric, [&](auto m) { return calibrateAs<m()>(); });
}

template <Metric M>
bool Graph::calibrateAs() {
  const uint32_t d = options_.dimensions;
  std::vector<uint32_t> chosen;
  for (uint32_t node = 0; node < nodes(); node++) {
    if (state(node) & kLinked) chosen.push_back(node);
  }
  if (chosen.size() < kGroups * kQueries) return false;  // states cannot be read any more
  const auto order = [](uint32_t a, uint32_t b) { return mix(~uint64_t{a}) < mix(~uint64_t{b}); };
  std::nth_element(chosen.begin(), chosen.begin() + kGroups * kQueries, chosen.end(), order);
  chosen.resize(kGroups * kQueries);
  std::sort(chosen.begin(), chosen.end(), order);

  ScratchLease s(*this);
  // Leaves what a search by `path` finds in the pool that comes back; null on a fault.
  const auto found = [&](const float* q, Path path, uint32_t ef) -> const Pool* {
    Neighbor at;
    if (path == Path::kVectors)
      return descend<M>(q, 0, &at, *s) && searchLayer<M>(q, at, ef, 0, *s) ? &s->pool : nullptr;
    if (!descend<M>(q, kWalkEntryLevel, &at, *s)) return nullptr;
    prepareCodes(q, *s);
    return walk<M>(q, at, ef, kNearest, kNearest, nullptr, *s) ? &s->results : nullptr;
  };

  // The query between one chosen node and the next.
  const auto query = [&](uint32_t i, std::vector<float>& out) {
    const uint32_t a = chosen[i], b = chosen[(i + 1) % chosen.size()];
    if (!ensureVector(a) || !ensureVector(b)) return false;
    std::vector<float> mixed(d);
    for (uint32_t j = 0; j < d; j++) mixed[j] = (1 - kOther) * scaleOf(a) * raw(a)[j] + kOther * scaleOf(b) * raw(b)[j];
    const float* q = prepared(mixed.data(), *s);
    out.assign(q, q + d);
    return true;
  };

  std::vector<std::vector<float>> queries(chosen.size());
  for (uint32_t i = 0; i < chosen.size(); i++) {
    if (!query(i, queries[i])) return false;
  }
  std::vector<float> farthest;  // the distance of the last of the true nearest
  for (uint32_t i = 0; i < kQueries; i++) {
    const Pool* pool = found(queries[i].data(), Path::kVectors, kTruthEf);
    if (!pool) return false;
    farthest.push_back((*pool)[std::min(kNearest, pool->size()) - 1].distance);
  }
  const Path paths[] = {Path::kCodes, Path::kVectors};
  uint32_t efs[2] = {0, 0};  // the smallest that is good enough
  double took[2] = {__builtin_huge_val(), __builtin_huge_val()};
  for (int p = 0; p < 2; p++) {
    for (const uint32_t ef : kEfs) {
      uint32_t hits = 0;
      for (uint32_t i = 0; i < kQueries; i++) {
        const Pool* pool = found(queries[i].data(), paths[p], ef);
        if (!pool) return false;
        for (uint32_t j = 0; j < std::min(kNearest, pool->size()); j++) hits += (*pool)[j].distance <= farthest[i];
      }
      if (hits < kRecall * kQueries * kNearest) continue;
      efs[p] = ef;
      break;
    }
  }
  // Queries that were not asked before, so that no cache holds what they read.
  for (uint32_t group = 1; group < kGroups; group++) {
    const int p = group % 2;
    if (efs[p] == 0) continue;
    const double start = now();
    for (uint32_t i = group * kQueries; i < (group + 1) * kQueries; i++) {
      if (!found(queries[i].data(), paths[p], efs[p])) return false;
    }
    took[p] = std::min(took[p], now() - start);
  }
  relaxed(&head()->path, static_cast<uint32_t>(took[1] < took[0] ? Path::kVectors : Path::kCodes));
  return true;
}

}  // namespace hebb
