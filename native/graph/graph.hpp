// HNSW (Malkov & Yashunin 2018, arXiv 1603.09320) over fixed-stride records in mapped memory.
//
// Departures from the paper:
// - A node's level is a hash of its number, so levels do not depend on the order of threads, and
//   a number that is used again finds its upper lists where they were.
// - Edges are directed and counted: every linked node keeps at least one edge that leads to it
//   (in-degree >= 1 on the bottom layer), because a node without one is lost to search for good.
// - Deleting marks a node; marked nodes are still walked through but never returned. `consolidate`
//   removes them all in one pass over the rows (FreshDiskANN, arXiv 2105.09613, Alg. 4), which is
//   exact: afterwards no row names a removed node, so its number can be used again.
//
// Threads: searches take no lock and run beside everything; ids in a row are single words that
// always name some node. `link` runs on several threads. The calls that change the
// graph (`allocate` to `reconnect`) exclude each other; the engine sees to that.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "../map/region.hpp"

namespace hebb {

enum class Metric : uint32_t { kL2 = 0, kDot = 1, kCosine = 2 };

// The region's sections, by number. docs/format.md has their contents.
enum Section : uint32_t { kHead = 0, kState = 1, kVectors = 2, kRows = 3, kUpper = 4, kIds = 5 };

// A byte a node, in section `state`.
enum State : uint8_t {
  kAllocated = 1,  // the number is in use
  kLinked = 2,     // the node is in the graph
  kLive = 4,       // the node may be returned
  kDead = 8,       // deleted, waiting for consolidation
};

constexpr uint32_t kNone = 0xffffffffu;
constexpr uint32_t kMaxLevel = 15;
constexpr uint64_t kIdBytes = 48;  // an id's slot: kind, length, up to 46 bytes

struct Options {
  uint32_t dimensions;
  Metric metric;
  uint32_t m;               // edges a node gets on each upper layer; twice as many fit on the bottom
  uint32_t efConstruction;  // candidates kept while linking
  double ml;                // level multiplier, 1/ln(m) in the paper
  uint64_t seed;
  uint32_t maxNodes;
};

struct Head {  // the start of section `head`
  uint32_t magic, version, dimensions, metric;
  uint32_t m, nodes, live, dead;
  uint64_t entry;  // node in the low half, its level in the high half; kNone when the graph is empty
  uint64_t seed;
  double ml;
  uint32_t upperEntries, reserved;
};

struct Row {  // the start of a node's row in section `rows`; its bottom-layer ids follow
  uint32_t inDegree;
  uint32_t upper;  // number of the node's first entry in section `upper`, kNone without one
  uint16_t degree;
  uint8_t level;
  uint8_t reserved[5];
};
static_assert(sizeof(Row) == 16);

struct Neighbor {
  float distance;
  uint32_t node;  // the top bit marks an entry of a pool that was expanded
};

// The order of every list of neighbours: equal distances in the order of numbers, so that it is one order.
inline bool nearer(const Neighbor& a, const Neighbor& b) {
  return a.distance < b.distance || (a.distance == b.distance && a.node < b.node);
}

// Candidates in ascending order of distance, at most `capacity` of them. Insertion moves a few
// hundred bytes, which is cheaper than keeping heaps at the sizes searches use.
class Pool {
 public:
  void reset(uint32_t capacity) {
    if (entries_.size() < capacity + 1) entries_.resize(capacity + 1);
    capacity_ = capacity;
    size_ = cursor_ = 0;
  }
  uint32_t size() const { return size_; }
  const Neighbor& operator[](uint32_t i) const { return entries_[i]; }
  uint32_t nodeAt(uint32_t i) const { return entries_[i].node & ~kExpanded; }
  bool full() const { return size_ == capacity_; }
  // Anything farther than this would not stay.
  float bound() const { return full() ? entries_[size_ - 1].distance : kInfinity; }
  void insert(float distance, uint32_t node);
  // The nearest entry not expanded yet, now marked as expanded; kNone when there is none.
  uint32_t next(float* distance = nullptr);

 private:
  static constexpr uint32_t kExpanded = 0x80000000u;
  static constexpr float kInfinity = __builtin_huge_valf();
  std::vector<Neighbor> entries_;
  uint32_t capacity_ = 0, size_ = 0, cursor_ = 0;
};

// What one thread needs while it searches or links; nothing is allocated once it has grown to size.
struct Scratch {
  Pool pool, results;
  std::vector<uint8_t> visited;
  uint8_t epoch = 0;
  std::vector<float> query;
  std::vector<Neighbor> candidates, kept;
  std::vector<uint32_t> batch;
  std::vector<Neighbor> heap;

  void prepare(uint32_t nodes);  // a new epoch: nothing visited
  bool visit(uint32_t node) {    // true the first time
    if (visited[node] == epoch) return false;
    visited[node] = epoch;
    return true;
  }
};

// A bit a node; nodes past the end do not match. Null words: everything matches.
struct Filter {
  const uint32_t* words = nullptr;
  uint32_t nodes = 0;  // bits there are
  uint32_t count = 0;  // bits that are set
  bool matches(uint32_t node) const { return !words || (node < nodes && (words[node / 32] >> (node % 32) & 1)); }
};

class Graph {
 public:
  // Attaches to what the region holds, or starts an empty graph where its head is zero.
  // `error` names what does not fit.
  static std::unique_ptr<Graph> attach(std::shared_ptr<Region> region, const Options& options, const char** error);

  static uint64_t vectorStride(const Options& o);
  static uint64_t rowStride(const Options& o);
  static uint64_t upperStride(const Options& o) { return (1 + o.m) * sizeof(uint32_t); }

  const Options& options() const { return options_; }
  Region& region() { return *region_; }
  uint32_t nodes() const;  // numbers ever used: all are below this
  uint32_t live() const;
  uint32_t dead() const;
  uint8_t state(uint32_t node) const;

  // Numbers for `count` new nodes, lowest free first; false where max_nodes or a checksum is in the way.
  bool allocate(uint32_t count, uint32_t* out);
  // The same for given numbers (a log being replayed). False where one is in use.
  bool claim(const uint32_t* nodes, uint32_t count);
  // Gives numbers back that were allocated and never linked.
  bool abandon(const uint32_t* nodes, uint32_t count);
  bool setVector(uint32_t node, const float* vector);
  bool setId(uint32_t node, const uint8_t* slot);
  const uint8_t* id(uint32_t node);    // kIdBytes, or null on a fault
  const float* vector(uint32_t node);  // as it was given, or null on a fault
  bool publish(const uint32_t* live, uint32_t liveCount, const uint32_t* dead, uint32_t deadCount);

  // Links nodes on `threads` threads. False on a fault.
  bool link(const uint32_t* nodes, uint32_t count, unsigned threads);
  // Removes dead nodes from every row and frees their numbers.
  bool consolidate(unsigned threads);
  // Gives every live node that no walk from the entry finds an edge from a near one that is found.
  // Returns how many are still not found (0 unless rows are damaged), or -1 on a fault.
  int64_t reconnect();

  // k nearest live nodes that match, ascending; returns how many, or -1 on a fault. `query` is raw.
  int32_t search(const float* query, uint32_t k, uint32_t ef, const Filter& filter, uint32_t* outNodes,
                 float* outDistances);
  int32_t scan(const float* query, uint32_t k, const Filter& filter, uint32_t* outNodes, float* outDistances);
  bool searchMany(const float* queries, uint32_t count, uint32_t k, uint32_t ef, const Filter& filter, bool exact,
                  unsigned threads, uint32_t* outNodes, float* outDistances, int32_t* outCounts);
  bool distances(const float* query, const uint32_t* nodes, uint32_t count, float* out);
  // Bottom-layer neighbours; returns how many, or -1 on a fault. `out` has room for 2m.
  int32_t neighbors(uint32_t node, uint32_t* out);

 private:
  friend class ScratchLease;
  Graph(std::shared_ptr<Region> region, const Options& options);

  Head* head() const { return reinterpret_cast<Head*>(region_->base(kHead)); }
  Row* row(uint32_t node) const { return reinterpret_cast<Row*>(region_->base(kRows) + node * rowStride_); }
  uint32_t* bottomIds(uint32_t node) const { return reinterpret_cast<uint32_t*>(row(node) + 1); }
  // Upper entry: a count, then m ids.
  uint32_t* upperList(uint32_t node, uint32_t level) const {
    return reinterpret_cast<uint32_t*>(region_->base(kUpper) + (row(node)->upper + uint64_t(level) - 1) * upperStride_);
  }
  const float* raw(uint32_t node) const {
    return reinterpret_cast<const float*>(region_->base(kVectors) + node * vectorStride_);
  }
  uint8_t* states() const { return region_->base(kState); }
  bool touchRow(uint32_t node) { return region_->touch(kRows, node * rowStride_, rowStride_); }
  bool touchUpper(uint32_t node, uint32_t level);
  bool ensureVector(uint32_t node) { return region_->ensure(kVectors, node * vectorStride_, vectorStride_); }
  bool ensureRow(uint32_t node) { return region_->ensure(kRows, node * rowStride_, rowStride_); }
  bool setState(uint32_t node, uint8_t state);
  bool prepareNode(uint32_t node);
  uint32_t levelOf(uint32_t node) const;
  void scanFree();

  struct List {
    const uint32_t* ids;
    uint32_t count;
  };
  List list(uint32_t node, uint32_t level) const;

  // The query as the metric compares it: unit length under cosine.
  const float* prepared(const float* query, Scratch& scratch) const;
  // A node's own vector as a query, copied: linking prepares others in the same scratch.
  std::vector<float> ownQuery(uint32_t node, Scratch& scratch) const;

  template <Metric M>
  float distanceTo(const float* q, uint32_t node) const;
  template <Metric M>
  float distanceWithin(const float* q, uint32_t node, float bound) const;
  template <Metric M>
  bool descend(const float* q, uint32_t toLevel, Neighbor* at);
  template <Metric M>
  bool searchLayer(const float* q, Neighbor entry, uint32_t ef, uint32_t level, Scratch& s);
  template <Metric M>
  bool searchFiltered(const float* q, Neighbor entry, uint32_t ef, const Filter& filter, Scratch& s);
  template <Metric M>
  int32_t searchAs(const float* q, uint32_t k, uint32_t ef, const Filter& filter, Scratch& s, uint32_t* nodes,
                   float* distances);
  template <Metric M>
  int32_t scanAs(const float* q, uint32_t k, const Filter& filter, Scratch& s, uint32_t* nodes, float* distances);
  template <Metric M>
  bool linkOne(uint32_t node, Scratch& s);
  template <Metric M>
  void diversify(const std::vector<Neighbor>& sorted, uint32_t most, std::vector<Neighbor>& kept);
  template <Metric M>
  bool addEdge(uint32_t from, uint32_t to, float distance, uint32_t level, Scratch& s);
  template <Metric M>
  bool replaceDead(uint32_t node, uint32_t level, Scratch& s);
  template <Metric M>
  bool consolidateAs(const std::vector<uint32_t>& dead, unsigned threads);
  template <Metric M>
  bool giveInEdge(uint32_t node, const std::vector<uint8_t>* reached, bool harmless, Scratch& s);

  bool writeBottom(uint32_t node, const std::vector<Neighbor>& kept);
  bool dropInEdge(uint32_t node);
  bool addInEdge(uint32_t node);
  std::mutex& lockOf(uint32_t node) { return locks_[node % kLocks]; }

  static constexpr uint32_t kLocks = 4096;
  std::shared_ptr<Region> region_;
  Options options_;
  uint64_t vectorStride_, rowStride_, upperStride_;
  std::vector<std::mutex> locks_;
  std::mutex entryMutex_;
  std::vector<uint32_t> free_;  // descending, so that the lowest is taken first
  bool freeKnown_ = false;

  std::mutex scratchMutex_;
  std::vector<std::unique_ptr<Scratch>> scratches_;
  std::atomic<uint32_t> searching_{0};
  std::atomic<uint32_t> unpublished_{0};  // allocated and neither published nor given back
};

// A scratch for the time of one operation. While any is out, freed numbers are not used again, so
// that no search meets a node that became another one under its hands.
class ScratchLease {
 public:
  explicit ScratchLease(Graph& graph);
  ~ScratchLease();
  Scratch& operator*() { return *scratch_; }
  Scratch* operator->() { return scratch_.get(); }

 private:
  Graph& graph_;
  std::unique_ptr<Scratch> scratch_;
};

inline uint32_t relaxed(const uint32_t* p) {
  return __atomic_load_n(p, __ATOMIC_RELAXED);
}
inline void relaxed(uint32_t* p, uint32_t value) {
  __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

}  // namespace hebb
