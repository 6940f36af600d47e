// The records: numbers, states, vectors, ids. Searching and linking are in their own files.
#include "graph.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernel.hpp"
#include "mix.hpp"

namespace hebb {
namespace {

constexpr uint32_t kMagic = 0x46524748;  // "HGRF"
constexpr uint32_t kVersion = 2;

}  // namespace

// A cosine record ends with the inverse norm, so that vectors stay as they were given.
uint64_t Graph::vectorStride(const Options& o) {
  return roundUp((o.dimensions + (o.metric == Metric::kCosine ? 1 : 0)) * sizeof(float), 64);
}

RowLayout::RowLayout(const Options& o) {
  const bool own = o.profile == Profile::kSmall;
  lanes = own ? 2 * o.m : static_cast<uint32_t>(roundUp(2 * o.m, kLanes));
  values = static_cast<uint32_t>(roundUp(o.dimensions, 64));
  // About a quarter of the dimensions, so that 32 codes take a quarter of the vector's bytes; at most what a
  // fit can find in seconds.
  if (o.profile == Profile::kCompact) values = std::min(512u, std::max(64u, o.dimensions / 4 / 64 * 64));
  projects = values < o.dimensions;
  quads = own ? 0 : values / 4;
  narrow = o.profile == Profile::kCompact;
  add = sizeof(Row) + lanes * sizeof(uint32_t);
  rescale = add + (own ? 0 : lanes * factorBytes());
  biases = rescale + (own ? 0 : lanes * factorBytes());
  diverse = biases + lanes * sizeof(uint16_t);
  codes = roundUp(diverse + (lanes + 31) / 32 * sizeof(uint32_t), own ? 16 : 64);
  stride = roundUp(codes + (own ? sizeof(OwnFactors) + values / 4 : lanes / kLanes * blockBytes()), 64);
}

uint64_t Graph::projectionBytes(const Options& o) {
  const RowLayout layout(o);
  const uint64_t basis = layout.projects ? layout.values : 0;
  return sizeof(ProjectionHead) + roundUp(o.dimensions * sizeof(float), 64) +
         basis * CodeSpace::basisStride(o.dimensions) * sizeof(int16_t);
}

int16_t* Graph::projectionBasis() const {
  return layout_.projects ? reinterpret_cast<int16_t*>(projectionMean() + roundUp(options_.dimensions, 16)) : nullptr;
}

Graph::Graph(std::shared_ptr<Region> region, const Options& options)
    : region_(std::move(region)),
      options_(options),
      layout_(options),
      vectorStride_(vectorStride(options)),
      upperStride_(upperStride(options)),
      tiers_(*region_, tiersShape(options)),
      cache_(options.dimensions, options.cacheBytes) {}

Tiers::Shape Graph::tiersShape(const Options& o) {
  return {o.dimensions, o.metric, o.keepOriginals, vectorStride(o), kPlaces, {kVectors, kWarm, kCool, kCold, kArchive},
          kCodebooks};
}

std::unique_ptr<Graph> Graph::attach(std::shared_ptr<Region> region, const Options& options, const char** error,
                                     bool* reset) {
  std::unique_ptr<Graph> graph(new Graph(region, options));
  if (!region->ensure(kHead, 0, sizeof(Head))) {
    *error = "checksum";
    return nullptr;
  }
  Head* h = graph->head();
  if (h->magic == 0) {
    if (!region->touch(kHead, 0, sizeof(Head))) return nullptr;
    *h = {kMagic,
          kVersion,
          options.dimensions,
          static_cast<uint32_t>(options.metric),
          options.m,
          0,
          0,
          0,
          kNone,
          options.seed,
          options.ml,
          0,
          0,
          static_cast<uint32_t>(options.profile),
          0};
    graph->space_ = std::make_unique<CodeSpace>(options.dimensions, graph->layout_.values, options.seed);
    if (!graph->tiers_.attach(0, error, reset)) return nullptr;
    return graph;
  }
  if (h->magic != kMagic || h->version != kVersion) {
    *error = "the graph section is not one this release reads";
  } else if (h->dimensions != options.dimensions || h->metric != static_cast<uint32_t>(options.metric) ||
             h->m != options.m) {
    *error = "the graph section was written for other dimensions, metric or hnsw_m";
  } else if (h->profile != static_cast<uint32_t>(options.profile)) {
    *error = "the graph section was written for another profile";
  } else if (h->nodes > options.maxNodes || h->live > h->nodes || h->dead > h->nodes ||
             (static_cast<uint32_t>(h->entry) != kNone && static_cast<uint32_t>(h->entry) >= h->nodes) ||
             (h->entry >> 32) > kMaxLevel || h->upperEntries > uint64_t(h->nodes) * kMaxLevel ||
             !graph->hasRoom(h->upperEntries) || h->path > 2 || !(h->ml >= 0 && h->ml < __builtin_huge_val())) {
    *error = "the graph section's counts contradict each other";
  } else {
    // A byte a node, asked for all the time: verified now, so that damage in it is never taken for emptiness.
    const uint32_t nodes = h->nodes;
    if (!region->ensure(kState, 0, nodes) || !region->ensure(kProjection, 0, projectionBytes(options))) {
      *error = "checksum";
      return nullptr;
    }
    if (!graph->tiers_.attach(nodes, error, reset)) return nullptr;
    graph->nodes_ = nodes;
    graph->options_.seed = h->seed;
    graph->options_.ml = h->ml;
    graph->space_ = std::make_unique<CodeSpace>(options.dimensions, graph->layout_.values, h->seed);
    graph->coded_ = graph->projection()->fitted > 0;
    if (graph->coded_ && !graph->space_->isFit(graph->projectionMean(), graph->projectionBasis())) {
      *error = "section projection holds what no fit to vectors gives";
      return nullptr;
    }
    if (graph->coded_) graph->space_->fit(graph->projectionMean(), graph->projectionBasis());
    uint32_t linked = 0;
    for (uint32_t node = 0; node < graph->nodes(); node++) {
      const uint8_t s = graph->states()[node];
      if (s & kLinked) linked++;
      if ((s & (kLive | kLinked)) != kLive) continue;
      if (!graph->ensureVector(node) || !graph->ensureRow(node) || !graph->prepareUnused(node, s)) {
        *error = "checksum";
        return nullptr;
      }
      graph->addToBacklog(node);
    }
    graph->linked_ = linked;
    if (options.readAhead > 1) {
      graph->around_ = std::make_unique<std::atomic<uint64_t>[]>(nodes / 64 + 1);
      graph->aroundNodes_ = nodes;
    }
    return graph;
  }
  return nullptr;
}

uint32_t Graph::nodes() const {
  return nodes_.load(std::memory_order_relaxed);
}
uint32_t Graph::live() const {
  return relaxed(&head()->live);
}
uint32_t Graph::dead() const {
  return relaxed(&head()->dead);
}

uint8_t Graph::state(uint32_t node) const {
  if (node >= nodes() || !region_->ensure(kState, node, 1)) return 0;
  return __atomic_load_n(states() + node, __ATOMIC_ACQUIRE);  // what is live has its vector
}

bool Graph::setState(uint32_t node, uint8_t state) {
  if (!region_->touch(kState, node, 1)) return false;
  __atomic_store_n(states() + node, state, __ATOMIC_RELAXED);
  return true;
}

// Linking and publishing change the same byte from two threads.
bool Graph::changeState(uint32_t node, uint8_t add, uint8_t take, uint8_t* before) {
  if (!region_->touch(kState, node, 1)) return false;
  uint8_t* at = states() + node;
  *before = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(at, before, static_cast<uint8_t>((*before | add) & ~take), true, __ATOMIC_ACQ_REL,
                                      __ATOMIC_RELAXED)) {
  }
  return true;
}

// Alg. 1 line 4: floor(-ln(uniform) ml), the uniform number being a hash of the node's.
uint32_t Graph::levelOf(uint32_t node) const {
  const double uniform = (static_cast<double>(mix(options_.seed ^ mix(node)) >> 11) + 1) * 0x1p-53;
  const double level = -std::log(uniform) * options_.ml;
  return level >= kMaxLevel ? kMaxLevel : static_cast<uint32_t>(level);
}

bool Graph::hasRoom(uint64_t upperEntry) const {
  return (upperEntry + 1) * upperStride_ <= region_->reserved(kUpper);
}

bool Graph::touchUpper(uint32_t node, uint32_t level) {
  return region_->touch(kUpper, (row(node)->upper + uint64_t(level) - 1) * upperStride_, upperStride_);
}

// An empty row. The upper lists of a number stay its own when it is freed and used again.
bool Graph::prepareNode(uint32_t node) {
  if (!touchRow(node)) return false;
  Row* r = row(node);
  const uint32_t level = levelOf(node);
  const bool known = r->level == level && r->upper != 0 && (level == 0 || hasUpper(node, level));
  uint32_t upper = known ? r->upper : kNone;
  if (!known && level > 0) {
    Head* h = head();
    upper = h->upperEntries + 1;  // entry 0 stays empty, so that a zero row is told from a used one
    if (!hasRoom(uint64_t(upper) + level - 1))
      return refuse(node, offsetof(Row, upper), "no entry is left in section upper for a row's upper layers");
    relaxed(&h->upperEntries, h->upperEntries + level);
  }
  if (r->upper != 0) std::memset(static_cast<void*>(r), 0, layout_.stride);  // used before; else it is zeros
  r->upper = upper;
  r->level = static_cast<uint8_t>(level);
  for (uint32_t l = 1; l <= level; l++) {
    if (!touchUpper(node, l)) return false;
    std::memset(upperList(node, l), 0, upperStride_);
  }
  return setState(node, kAllocated);
}

// A node whose row was never used, as a repair leaves it where all rows are to be written anew.
bool Graph::prepareUnused(uint32_t node, uint8_t state) {
  if (row(node)->upper != 0) return true;
  return region_->touch(kHead, 0, sizeof(Head)) && prepareNode(node) && setState(node, state);
}

void Graph::scanFree() {
  if (freeKnown_) return;
  const uint32_t n = nodes();
  for (uint32_t node = n; node-- > 0;) {
    if (state(node) == 0) free_.push_back(node);
  }
  freeKnown_ = true;
}

bool Graph::allocate(uint32_t count, uint32_t* out) {
  if (!region_->touch(kHead, 0, sizeof(Head)) || !region_->ensure(kState, 0, nodes())) return false;
  scanFree();
  Head* h = head();
  // A search that runs now may still hold freed numbers: see Reading.
  const bool reuse = searching_.load() == 0;
  const uint32_t fromFree = reuse ? std::min<uint32_t>(count, static_cast<uint32_t>(free_.size())) : 0;
  if (count - fromFree > options_.maxNodes - nodes()) return false;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t node;
    if (i < fromFree) {
      node = free_.back();
      free_.pop_back();
    } else {
      node = nodes();
      nodes_.store(node + 1, std::memory_order_relaxed);
      relaxed(&h->nodes, node + 1);
    }
    out[i] = node;
    if (!prepareNode(node)) return false;
  }
  return true;
}

bool Graph::claim(const uint32_t* wanted, uint32_t count) {
  if (!region_->touch(kHead, 0, sizeof(Head)) || !region_->ensure(kState, 0, nodes())) return false;
  scanFree();
  Head* h = head();
  // All or none: the caller frees dead nodes and asks again.
  for (uint32_t i = 0; i < count; i++) {
    if (wanted[i] >= options_.maxNodes || (wanted[i] < nodes() && state(wanted[i]) != 0)) return false;
  }
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t node = wanted[i];
    if (node >= nodes()) {
      // All that are skipped are above all that are free.
      std::vector<uint32_t> skipped(node - nodes());
      for (uint32_t i = 0; i < skipped.size(); i++) skipped[i] = node - 1 - i;
      free_.insert(free_.begin(), skipped.begin(), skipped.end());
      nodes_.store(node + 1, std::memory_order_relaxed);
      relaxed(&h->nodes, node + 1);
    } else {
      if (state(node) != 0) return false;
      const auto at = std::lower_bound(free_.begin(), free_.end(), node, std::greater<uint32_t>());
      if (at == free_.end() || *at != node) return false;
      free_.erase(at);
    }
    if (!prepareNode(node)) return false;
  }
  return true;
}

bool Graph::abandon(const uint32_t* nodes, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (!setState(nodes[i], 0)) return false;
    free_.push_back(nodes[i]);
  }
  std::sort(free_.begin(), free_.end(), std::greater<uint32_t>());
  return true;
}

bool Graph::setVector(uint32_t node, const float* vector, float heat) {
  const uint32_t d = options_.dimensions;
  const float norm = options_.metric == Metric::kCosine ? std::sqrt(kernel->dot(vector, vector, d)) : 1.0f;
  cache_.drop(node);
  if (!tiers_.settle(node, norm, heat)) return false;
  const uint64_t record = options_.keepOriginals ? node : tiers_.where(node).slot - 1;
  if (!region_->touch(kVectors, record * vectorStride_, vectorStride_)) return false;
  float* to = reinterpret_cast<float*>(region_->base(kVectors) + record * vectorStride_);
  std::memcpy(to, vector, d * sizeof(float));
  if (options_.metric == Metric::kCosine) to[d] = 1.0f / norm;
  return true;
}

bool Graph::setId(uint32_t node, const uint8_t* slot) {
  if (!region_->touch(kIds, node * kIdBytes, kIdBytes)) return false;
  std::memcpy(region_->base(kIds) + node * kIdBytes, slot, kIdBytes);
  return true;
}

const uint8_t* Graph::id(uint32_t node) {
  return region_->ensure(kIds, node * kIdBytes, kIdBytes) ? region_->base(kIds) + node * kIdBytes : nullptr;
}

const float* Graph::vector(uint32_t node) {
  return ensureVector(node) ? raw(node) : nullptr;
}

bool Graph::publish(const uint32_t* liveNodes, uint32_t liveCount, const uint32_t* deadNodes, uint32_t deadCount) {
  if (!region_->touch(kHead, 0, sizeof(Head))) return false;
  Head* h = head();
  uint8_t before;
  for (uint32_t i = 0; i < deadCount; i++) {
    if (!(state(deadNodes[i]) & kLive)) continue;
    if (!tiers_.uncount(deadNodes[i]) || !changeState(deadNodes[i], kDead, kLive, &before)) return false;
    if (!(before & kLinked)) unlinked_.fetch_sub(1);
    relaxed(&h->live, h->live - 1);
    relaxed(&h->dead, h->dead + 1);
  }
  for (uint32_t i = 0; i < liveCount; i++) {
    const uint8_t s = state(liveNodes[i]);
    if ((s & kLive) || !(s & kAllocated)) continue;
    addToBacklog(liveNodes[i]);
    if (!changeState(liveNodes[i], kLive, 0, &before)) return false;
    relaxed(&h->live, h->live + 1);
  }
  return true;
}

Graph::List Graph::list(uint32_t node, uint32_t level) const {
  if (level == 0) {
    const uint32_t degree = __atomic_load_n(&row(node)->degree, __ATOMIC_RELAXED);
    return {bottomIds(node), std::min(degree, 2 * options_.m)};
  }
  if (!hasUpper(node, level)) return {nullptr, 0};
  const uint32_t* entry = upperList(node, level);
  return {entry + 1, std::min(relaxed(entry), options_.m)};
}

bool Graph::hasUpper(uint32_t node, uint32_t level) const {
  const Row* r = row(node);
  return level <= r->level && r->upper != kNone && uint64_t(r->upper) + level - 1 <= relaxed(&head()->upperEntries);
}

bool Graph::refuse(uint32_t node, uint64_t at, const char* reason) {
  region_->refuse(kRows, node * layout_.stride + at, reason);
  return false;
}

bool Graph::listOf(uint32_t node, uint32_t level, List* out) {
  if (!ensureRow(node)) return false;
  if (level > 0 && hasUpper(node, level)) {
    const uint64_t at = (row(node)->upper + uint64_t(level) - 1) * upperStride_;
    if (!region_->ensure(kUpper, at, upperStride_)) return false;
  }
  *out = list(node, level);
  if (level == 0) {
    if (__atomic_load_n(&row(node)->degree, __ATOMIC_RELAXED) > 2 * options_.m)
      return refuse(node, offsetof(Row, degree), "a row has more neighbours than it has room for");
  }
  const uint32_t limit = nodes();
  for (uint32_t i = 0; i < out->count; i++) {
    if (relaxed(out->ids + i) < limit || relaxed(out->ids + i) < nodes()) continue;
    if (level == 0) return refuse(node, sizeof(Row) + i * sizeof(uint32_t), "a row names a node that does not exist");
    const uint64_t at = static_cast<uint64_t>(reinterpret_cast<const uint8_t*>(out->ids + i) - region_->base(kUpper));
    region_->refuse(kUpper, at, "a list names a node that does not exist");
    return false;
  }
  return true;
}

int32_t Graph::neighbors(uint32_t node, uint32_t* out) {
  List l;
  if (!listOf(node, 0, &l)) return -1;
  for (uint32_t i = 0; i < l.count; i++) out[i] = relaxed(l.ids + i);
  return static_cast<int32_t>(l.count);
}

void NodeSet::reset(uint32_t expected) {
  uint32_t size = 64;
  while (size < 4 * expected) size *= 2;
  slots_.assign(size, kNone);
  mask_ = size - 1;
  shift_ = 32 - static_cast<uint32_t>(__builtin_ctz(size));
  count_ = 0;
}

void NodeSet::add(uint32_t node) {
  if (++count_ > mask_ / 2) {
    std::vector<uint32_t> old(2 * slots_.size(), kNone);
    old.swap(slots_);
    mask_ = 2 * mask_ + 1;
    shift_--;
    for (const uint32_t o : old) {
      if (o == kNone) continue;
      uint32_t at = slot(o);
      while (slots_[at] != kNone) at = (at + 1) & mask_;
      slots_[at] = o;
    }
  }
  uint32_t at = slot(node);
  while (slots_[at] != kNone && slots_[at] != node) at = (at + 1) & mask_;
  slots_[at] = node;
}

void Scratch::prepare(uint32_t nodes) {
  if (visited.size() <= nodes) {
    visited.assign(nodes + nodes / 4 + 64, 0);
    epoch = 0;
  }
  if (++epoch == 0) {
    std::fill(visited.begin(), visited.end(), 0);
    epoch = 1;
  }
}

ScratchLease::ScratchLease(Graph& graph) : graph_(graph) {
  std::lock_guard<std::mutex> guard(graph.scratchMutex_);
  if (graph.scratches_.empty()) {
    scratch_ = std::make_unique<Scratch>();
  } else {
    scratch_ = std::move(graph.scratches_.back());
    graph.scratches_.pop_back();
  }
}

ScratchLease::~ScratchLease() {
  std::lock_guard<std::mutex> guard(graph_.scratchMutex_);
  graph_.scratches_.push_back(std::move(scratch_));
}

}  // namespace hebb
