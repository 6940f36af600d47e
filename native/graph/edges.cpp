// What message passing asks of the graph: where nodes stand in it, whom they hear and with what bias, and walks
// that end on one of its layers.
#include <algorithm>
#include <cstring>
#include <thread>

#include "distance.hpp"

namespace hebb {
namespace {

// A walk on a layer keeps more than is asked for: deleted nodes take places, and few candidates miss some.
constexpr uint32_t kTimesAsked = 2, kLeast = 128;

}  // namespace

uint32_t Graph::topLevel() const {
  const uint64_t entry = __atomic_load_n(&head()->entry, __ATOMIC_ACQUIRE);
  return static_cast<uint32_t>(entry) == kNone ? 0 : static_cast<uint32_t>(entry >> 32);
}

int32_t Graph::searchLevel(const float* query, uint32_t level, uint32_t k, uint32_t* outNodes, float* outDistances) {
  const Reading reading(*this);
  ScratchLease s(*this);
  if (static_cast<uint32_t>(__atomic_load_n(&head()->entry, __ATOMIC_ACQUIRE)) == kNone) return 0;
  const float* q = prepared(query, *s);
  const uint32_t at = std::min(level, topLevel());
  s->originals = options_.keepOriginals || !tiers_.compressed();
  const bool sound = byMetric(options_.metric, [&](auto m) {
    Neighbor entry;
    return descend<m()>(q, at, &entry, *s) && searchLayer<m()>(q, entry, std::max(kTimesAsked * k, kLeast), at, *s);
  });
  s->originals = true;
  if (!sound) return -1;
  uint32_t count = 0;
  for (uint32_t i = 0; i < s->pool.size() && count < k; i++) {
    if (!(state(s->pool.nodeAt(i)) & kLive)) continue;
    outNodes[count] = s->pool.nodeAt(i);
    outDistances[count++] = s->pool[i].distance;
  }
  return static_cast<int32_t>(count);
}

bool Graph::standing(const uint32_t* wanted, uint32_t count, uint8_t* levels, uint32_t* inDegrees) {
  for (uint32_t i = 0; i < count; i++) {
    if (!ensureRow(wanted[i])) return false;
    levels[i] = row(wanted[i])->level;
    inDegrees[i] = __atomic_load_n(&row(wanted[i])->inDegree, __ATOMIC_RELAXED);
  }
  return true;
}

int32_t Graph::edgesOf(uint32_t node, uint32_t* ids, uint16_t* biases) {
  List l;
  if (!listOf(node, 0, &l)) return -1;
  const Row* r = row(node);
  for (uint32_t turn = 0; turn < kMostTurns; turn++) {
    const uint32_t sequence = __atomic_load_n(&r->sequence, __ATOMIC_ACQUIRE);
    if (sequence & 1) {
      if (turn % kTurnsAtOnce == kTurnsAtOnce - 1) {
        if (region_->lost()) return -1;
        std::this_thread::yield();
      }
      continue;
    }
    const uint32_t degree = std::min<uint32_t>(__atomic_load_n(&r->degree, __ATOMIC_RELAXED), 2 * options_.m);
    for (uint32_t lane = 0; lane < degree; lane++) {
      ids[lane] = relaxed(bottomIds(node) + lane);
      biases[lane] = relaxed(biasesOf(node) + lane);
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (relaxed(&r->sequence) == sequence) return static_cast<int32_t>(degree);
  }
  refuse(node, offsetof(Row, sequence), "a row is said to be written by nobody");
  return -1;
}

// Of a row what `fields` looks at.
void Graph::prefetchRow(uint32_t node) const {
  const uint32_t most = 2 * options_.m;
  prefetchLines(row(node), 1);
  prefetchLines(bottomIds(node), most * sizeof(uint32_t) / 64 + 1);
  prefetchLines(biasesOf(node), most * sizeof(uint16_t) / 64 + 1);
  prefetchVector(node, 2);
}

bool Graph::fields(const uint32_t* wanted, uint32_t count, uint32_t most, uint32_t* outNodes, float* outDistances,
                   float* outBiases, uint32_t* counts) {
  std::vector<float> own(options_.dimensions);
  std::vector<uint32_t> around(2 * options_.m);
  std::vector<uint16_t> halves(around.size());
  std::vector<float> far(around.size()), biases(around.size());
  std::vector<uint32_t> order;
  const uint32_t limit = nodes();
  for (uint32_t i = 0; i < count; i++) {
    counts[i] = 0;
    if (i + 1 < count && wanted[i + 1] < limit) prefetchRow(wanted[i + 1]);
    if (wanted[i] >= limit || !(state(wanted[i]) & kLive)) continue;
    const int32_t degree = edgesOf(wanted[i], around.data(), halves.data());
    const float* v = vector(wanted[i]);
    if (degree < 0 || !v) return false;
    std::memcpy(own.data(), v, own.size() * sizeof(float));
    uint32_t live = 0;
    for (int32_t j = 0; j < degree; j++) {
      if (around[j] >= nodes() || !(state(around[j]) & kLive)) continue;
      halves[live] = halves[j];
      around[live++] = around[j];
    }
    if (!this->distances(own.data(), around.data(), live, far.data())) return false;
    kernel->widen(halves.data(), live, biases.data());
    order.resize(live);
    for (uint32_t j = 0; j < live; j++) order[j] = j;
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return nearer({far[a], around[a]}, {far[b], around[b]});
    });
    counts[i] = std::min(live, most);
    for (uint32_t j = 0; j < counts[i]; j++) {
      const uint64_t at = uint64_t(i) * most + j;
      outNodes[at] = around[order[j]];
      outDistances[at] = far[order[j]];
      outBiases[at] = biases[order[j]];
    }
  }
  return true;
}

bool Graph::setBiases(const uint32_t* wanted, uint32_t count, uint32_t most, const uint32_t* to, const float* biases) {
  std::vector<uint16_t> halves(most);
  const uint32_t limit = nodes();
  for (uint32_t i = 0; i < count; i++) {
    if (wanted[i] >= limit || !(state(wanted[i]) & kLinked)) continue;
    List l;
    if (!touchRow(wanted[i]) || !listOf(wanted[i], 0, &l)) return false;
    kernel->narrow(biases + uint64_t(i) * most, most, halves.data());
    const uint32_t* ends = to + uint64_t(i) * most;
    const RowWrite write(row(wanted[i]));
    for (uint32_t lane = 0; lane < l.count; lane++) {
      const uint32_t* at = std::find(ends, ends + most, l.ids[lane]);
      relaxed(biasesOf(wanted[i]) + lane, at == ends + most ? uint16_t{0} : halves[at - ends]);
    }
  }
  return true;
}

}  // namespace hebb
