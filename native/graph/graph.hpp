// HNSW (Malkov & Yashunin 2018, arXiv 1603.09320) over fixed-stride records in mapped memory, its
// bottom rows holding quantized neighbours (as SymphonyQG does, arXiv 2411.12229).
//
// A bottom row holds its neighbours' ids and their 1-bit codes relative to the row's own vector, packed
// so that 32 distances are estimated at once without touching the neighbours (quantize/rabitq.hpp).
// A vector is read only where the walk expands its node; that exact distance is the centre of the
// next estimates and the node's final score. Upper layers are plain HNSW lists.
// So it is in profile turbo; compact has codes of a projection, and small has each node's own code in
// its row, which a walk gathers (Profile below). All need a fit to the data first (fit.cpp): its mean, because
// what is common to all vectors would take the table of a query its precision.
//
// Departures from the papers:
// - A node's level is a hash of its number, and nodes are linked in batches against a graph that
//   stands still (ParlayANN, arXiv 2305.04359), so the graph does not depend on the number of threads.
// - Edges are directed and counted: every linked node keeps at least one edge that leads to it
//   (in-degree >= 1 on the bottom layer), because a node without one is lost to search for good.
// - A node may be found before it is linked: the backlog of such nodes is scanned (backlog.hpp).
// - Deleting marks a node; marked nodes are still walked through but never returned. `consolidate`
//   removes them all in one pass over the rows (FreshDiskANN, arXiv 2105.09613, Alg. 4), which is
//   exact: afterwards no row names a removed node, so its number can be used again.
//
// Threads: searches take no lock on rows and run beside everything; a row has a sequence counter by
// which a reader notices that it was changed under its hands. `link`, `consolidate` and `reconnect`
// exclude each other; so do the calls that take, write and publish nodes. The engine sees to both.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "../map/large-array.hpp"
#include "../map/region.hpp"
#include "../quantize/rabitq.hpp"
#include "../quantize/space.hpp"
#include "backlog.hpp"
#include "cache.hpp"
#include "kernel.hpp"
#include "tiers.hpp"

namespace hebb {

// The region's sections, by number. docs/format.md has their contents.
enum Section : uint32_t {
  kHead = 0,
  kState = 1,
  kVectors = 2,
  kRows = 3,
  kUpper = 4,
  kIds = 5,
  kProjection = 6,
  kPlaces = 7,
  kWarm = 8,
  kCool = 9,
  kCold = 10,
  kArchive = 11,
  kCodebooks = 12,
};

// A byte a node, in section `state`.
enum State : uint8_t {
  kAllocated = 1,  // the number is in use
  kLinked = 2,     // the node is in the graph
  kLive = 4,       // the node may be returned
  kDead = 8,       // deleted, waiting for consolidation
};

constexpr uint32_t kNone = 0xffffffffu;
constexpr uint32_t kMaxLevel = 15;
// Where the walk over codes begins: the layers under it, down to the bottom one, would cost more than the
// hops that they save, while the few vectors above it stay in the cache.
constexpr uint32_t kWalkEntryLevel = 1;
// How many times nearer to a chosen neighbour than to the node a candidate must be to be left out:
// measured, see docs/decisions/0008-quantized-rows.md.
constexpr float kSlack = 1.15f;
constexpr uint64_t kIdBytes = 48;  // an id's slot: kind, length, up to 46 bytes

inline uint32_t relaxed(const uint32_t* p) {
  return __atomic_load_n(p, __ATOMIC_RELAXED);
}
inline void relaxed(uint32_t* p, uint32_t value) {
  __atomic_store_n(p, value, __ATOMIC_RELAXED);
}
inline uint16_t relaxed(const uint16_t* p) {
  return __atomic_load_n(p, __ATOMIC_RELAXED);
}
inline void relaxed(uint16_t* p, uint16_t value) {
  __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

// Looks at a row that seems to be written before it is taken for damaged: seconds.
constexpr uint32_t kMostTurns = 1 << 26;
// After so many it lets others run, and sees whether the memory is still there.
constexpr uint32_t kTurnsAtOnce = 64;

// What a bottom row holds beside its neighbours' ids.
enum class Profile : uint32_t {
  kTurbo = 0,    // their codes, of all dimensions
  kCompact = 1,  // their codes, of a projection
  kSmall = 2,    // the node's own code: a walk gathers those of the neighbours
};

struct Options {
  uint32_t dimensions;
  Metric metric;
  uint32_t m;               // edges a node gets on each upper layer; twice as many fit on the bottom
  uint32_t efConstruction;  // candidates kept while linking
  double ml;                // level multiplier, 1/ln(m) in the paper
  uint64_t seed;
  uint32_t maxNodes;
  float stopMargin;  // a walk ends where what is left is this much farther than the k-th; below 0: where `ef` are
                     // expanded
  Profile profile;
  uint64_t cacheBytes;  // of vectors unpacked from slow codecs
  bool keepOriginals;   // else a vector's floats go when it leaves tier hot
  uint32_t readAhead;   // hops from where a walk is to nodes whose blocks are read ahead, while some are untouched
};

// What a search takes for exact: the codes of the current tiers, with the best `rerank` x k compared again with
// the originals (0: none); or the originals alone.
constexpr uint32_t kOriginals = 0xffffffffu;

// What became of nodes that were to move to a tier.
struct Moves {
  uint32_t moved = 0;
  uint32_t lossy = 0;      // stay: their originals are gone, and the tier asked for is more precise
  uint32_t untrained = 0;  // went to tier warm: there is no codebook yet
};

struct Head {  // the start of section `head`
  uint32_t magic, version, dimensions, metric;
  uint32_t m, nodes, live, dead;
  uint64_t entry;  // node in the low half, its level in the high half; kNone when the graph is empty
  uint64_t seed;
  double ml;
  uint32_t upperEntries;
  uint32_t path;  // a Path, or 0 while none is chosen
  uint32_t profile;
  uint32_t reserved;
};

// The start of section `projection`: the mean's `dimensions` floats follow, padded to 64 bytes, then, in
// compact, the basis, a row a value of a code: `dimensions` 16-bit integers, filled up to 32.
struct ProjectionHead {
  uint32_t fitted;  // nodes of the sample, 0 before the fit
  uint32_t reserved[15];
};
static_assert(sizeof(ProjectionHead) == 64);

// How the bottom layer is searched: by codes, or by comparing the neighbours' vectors.
enum class Path : uint32_t { kUnknown = 0, kCodes = 1, kVectors = 2 };

struct Row {  // the start of a node's row in section `rows`
  uint32_t inDegree;
  uint32_t upper;  // number of the node's first entry in section `upper`, kNone without one
  uint16_t degree;
  uint8_t level;
  uint8_t reserved;
  uint32_t sequence;  // odd while the row is being written
};
static_assert(sizeof(Row) == 16);

// While it lives a row is being written: a reader that sees the same even number before and after has seen a whole row.
class RowWrite {
 public:
  explicit RowWrite(Row* row) : row_(row) {
    relaxed(&row_->sequence, row_->sequence + 1);
    std::atomic_thread_fence(std::memory_order_release);
  }
  ~RowWrite() { __atomic_store_n(&row_->sequence, row_->sequence + 1, __ATOMIC_RELEASE); }
  RowWrite(const RowWrite&) = delete;
  RowWrite& operator=(const RowWrite&) = delete;

 private:
  Row* row_;
};

// Where things are in a bottom row: Row, then 2 m ids and the factors, biases and codes of as many
// lanes, filled up to blocks of 32; in profile small no factors, and one code with its factors, the
// node's own. `diverse` has a bit a lane: set where its neighbour was chosen for its direction, not to
// fill the row. docs/format.md has the grid.
struct RowLayout {
  explicit RowLayout(const Options& o);
  uint32_t lanes;   // 2 m, filled up
  uint32_t values;  // of a code
  uint32_t quads;   // nibbles of a neighbour's code; 0 where there is none
  bool projects;    // a code has fewer values than the vector
  bool narrow;      // factors are bfloat16
  uint64_t add, rescale, biases, diverse, codes, stride;
  uint64_t blockBytes() const { return uint64_t(quads) * 16; }
  uint64_t factorBytes() const { return narrow ? sizeof(uint16_t) : sizeof(float); }
};

struct Neighbor {
  float distance;
  uint32_t node;  // the top bit marks an entry of a pool that was expanded
};

// The order of every list of neighbours: equal distances in the order of numbers, so that it is one order. Distances
// that are no numbers (damaged vectors have them, and products beyond a float's range) come last: sorting by an order
// that is none leaves the list's bounds.
inline bool nearer(const Neighbor& a, const Neighbor& b) {
  if (a.distance < b.distance) return true;
  if (b.distance < a.distance) return false;
  const bool none = a.distance != a.distance, noneToo = b.distance != b.distance;
  return none == noneToo ? a.node < b.node : noneToo;
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
  // The one that `next` would give.
  uint32_t peek();
  bool has(uint32_t node) const;

 private:
  static constexpr uint32_t kExpanded = 0x80000000u;
  static constexpr float kInfinity = __builtin_huge_valf();
  std::vector<Neighbor> entries_;
  uint32_t capacity_ = 0, size_ = 0, cursor_ = 0;
};

// A set of node numbers, as small as what is in it, so that it stays in the nearest cache.
class NodeSet {
 public:
  void reset(uint32_t expected);
  bool has(uint32_t node) const {
    for (uint32_t at = slot(node);; at = (at + 1) & mask_) {
      if (slots_[at] == node) return true;
      if (slots_[at] == kNone) return false;
    }
  }
  void add(uint32_t node);

 private:
  uint32_t slot(uint32_t node) const { return (node * 2654435769u) >> shift_; }
  std::vector<uint32_t> slots_;
  uint32_t mask_ = 0, shift_ = 0, count_ = 0;
};

// A query as codes of one space are compared with it.
struct CodeQuery {
  std::vector<float> values;
  std::vector<uint8_t> entries;
  Lut lut{};
};

// What one thread needs while it searches or links; nothing is allocated once it has grown to size.
struct Scratch {
  Pool pool, results, waiting;  // the frontier; what was found in the graph; what in the backlog
  NodeSet expanded;
  std::vector<uint8_t> visited;
  uint8_t epoch = 0;
  std::vector<float> query;  // as the metric compares it
  CodeQuery all, projected;  // the same for codes of all dimensions, and of a projection
  OwnQuery own;              // and for nodes' own codes
  std::vector<Neighbor> candidates, kept;
  std::vector<uint32_t> batch;
  std::vector<Neighbor> heap;
  // For writing rows.
  std::vector<float> centre, other;
  std::vector<uint8_t> nibbles;
  std::vector<uint32_t> before, after;
  std::vector<uint8_t> known;
  std::vector<uint32_t> gained, lost;  // ends of edges that were added and dropped
  // For distances by tier: whether originals are read whatever the tier, and the query as each codec has it.
  bool originals = true;
  const float* tiersOf = nullptr;
  TierQuery byTier[kTiers][kVersions];
  CodecRoom room;
  std::vector<float> decoded;

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

class Crew;
class GraphCheck;
class GraphCopy;
class Frozen;

class Graph {
 public:
  // Attaches to what the region holds, or starts an empty graph where its head is zero.
  // `error` names what does not fit; `reset` says whether all vectors are hot again because a codebook was damaged.
  static std::unique_ptr<Graph> attach(std::shared_ptr<Region> region, const Options& options, const char** error,
                                       bool* reset);

  static uint64_t vectorStride(const Options& o);
  static uint64_t rowStride(const Options& o) { return RowLayout(o).stride; }
  static uint64_t upperStride(const Options& o) { return (1 + o.m) * sizeof(uint32_t); }
  static Tiers::Shape tiersShape(const Options& o);
  // Of the one record in section `projection`.
  static uint64_t projectionBytes(const Options& o);

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
  // A new node's vector, in tier hot.
  bool setVector(uint32_t node, const float* vector, float heat);
  bool setId(uint32_t node, const uint8_t* slot);
  const uint8_t* id(uint32_t node);  // kIdBytes, or null on a fault
  // As it was given, where originals are kept; else what its tier can give back. Null on a fault; good until the
  // thread has asked for some more.
  const float* vector(uint32_t node);
  // The same of many, copied one after the other. False on a fault.
  bool vectors(const uint32_t* nodes, uint32_t count, float* out);

  // Encodes live nodes into a tier, from the originals where there are any. False on a fault. Excludes `link`,
  // `consolidate` and `train`.
  bool retier(const uint32_t* nodes, uint32_t count, Tier to, unsigned threads, Moves* moves);
  // Trains a codebook on at most `most` live vectors and encodes with it from now on. `trained` is false where
  // there are too few, or all codebooks are in use. `version`: from tiers().spare().
  bool train(const CodebookOptions& options, uint32_t most, uint32_t version, unsigned threads, bool* trained);
  Tiers& tiers() { return tiers_; }
  const Tiers& tiers() const { return tiers_; }
  // Unpacks the neighbours of nodes, where their codecs are slow, ahead of searches. False on a fault.
  bool prefetch(const uint32_t* nodes, uint32_t count);
  const UnpackedCache& cache() const { return cache_; }
  // Whether a search is under way that may have read a place.
  bool searching() const { return searching_.load() > 0; }
  bool publish(const uint32_t* live, uint32_t liveCount, const uint32_t* dead, uint32_t deadCount);

  // Live nodes that are not linked yet.
  uint32_t backlog() const { return unlinked_.load(std::memory_order_relaxed); }
  // The next of them to link, at most `most`, lowest numbers first.
  std::vector<uint32_t> unlinked(uint32_t most);
  // Links nodes on `threads` threads; those that are not live are passed over. False on a fault.
  bool link(const uint32_t* nodes, uint32_t count, unsigned threads);
  // Else by comparing the neighbours' vectors.
  bool walksByCodes() const { return coded_.load(std::memory_order_acquire) && path() != Path::kVectors; }
  Path path() const { return static_cast<Path>(relaxed(&head()->path)); }
  // Removes dead nodes from every row and frees their numbers.
  bool consolidate(unsigned threads);
  // Gives every live node that no walk from the entry finds an edge from a near one that is found.
  // Returns how many are still not found (0 unless rows are damaged), or -1 on a fault.
  int64_t reconnect();

  // k nearest live nodes that match, ascending; returns how many, or -1 on a fault. `query` is raw.
  int32_t search(const float* query, uint32_t k, uint32_t ef, const Filter& filter, uint32_t rerank, uint32_t* outNodes,
                 float* outDistances);
  int32_t scan(const float* query, uint32_t k, const Filter& filter, uint32_t rerank, uint32_t* outNodes,
               float* outDistances);
  bool searchMany(const float* queries, uint32_t count, uint32_t k, uint32_t ef, const Filter& filter, bool exact,
                  uint32_t rerank, unsigned threads, uint32_t* outNodes, float* outDistances, int32_t* outCounts);
  bool distances(const float* query, const uint32_t* nodes, uint32_t count, float* out);
  // Edges that lead to a node on the bottom layer; 0 for one that does not exist, or whose row is damaged.
  uint32_t inDegree(uint32_t node) { return node < nodes() && ensureRow(node) ? row(node)->inDegree : 0; }
  // Bottom-layer neighbours; returns how many, or -1 on a fault. `out` has room for 2m.
  int32_t neighbors(uint32_t node, uint32_t* out);
  // The k nearest live nodes of those on a layer and above it, ascending; `level` is cut to the topmost layer. Returns
  // how many, or -1 on a fault. Nodes that are not linked yet are on none.
  int32_t searchLevel(const float* query, uint32_t level, uint32_t k, uint32_t* outNodes, float* outDistances);
  // The topmost layer; 0 in an empty graph.
  uint32_t topLevel() const;
  // Of each of `count` nodes below nodes() the highest layer it is on, and its in-degree. False on a fault.
  bool standing(const uint32_t* wanted, uint32_t count, uint8_t* levels, uint32_t* inDegrees);
  // Of each of `count` nodes its nearest live bottom-layer neighbours, at most `most` (1-2m), nearest first, with their
  // distances from it and the biases of the edges: count x most of each, and how many there are. A node that
  // is not there has none. May go on beside everything.
  bool fields(const uint32_t* wanted, uint32_t count, uint32_t most, uint32_t* nodes, float* distances, float* biases,
              uint32_t* counts);
  // Replaces the biases of `count` rows: those of the edges to `to`, count x most, kNone for none; all others
  // of these rows are 0 then. What a row has no edge to is passed over. False on a fault. Excludes `link`,
  // `consolidate` and `reconnect`.
  bool setBiases(const uint32_t* wanted, uint32_t count, uint32_t most, const uint32_t* to, const float* biases);

 private:
  friend class ScratchLease;
  friend class Reading;
  friend class GraphCheck;
  friend class GraphCopy;
  friend class Frozen;
  Graph(std::shared_ptr<Region> region, const Options& options);

  Head* head() const { return reinterpret_cast<Head*>(region_->base(kHead)); }
  uint8_t* rowBytes(uint32_t node) const { return region_->base(kRows) + node * layout_.stride; }
  Row* row(uint32_t node) const { return reinterpret_cast<Row*>(rowBytes(node)); }
  uint32_t* bottomIds(uint32_t node) const { return reinterpret_cast<uint32_t*>(row(node) + 1); }
  uint16_t* biasesOf(uint32_t node) const { return reinterpret_cast<uint16_t*>(rowBytes(node) + layout_.biases); }
  uint32_t* diverseOf(uint32_t node) const { return reinterpret_cast<uint32_t*>(rowBytes(node) + layout_.diverse); }
  uint8_t* codesOf(uint32_t node) const { return rowBytes(node) + layout_.codes; }
  // Profile small: the factors of the node's own code, which follows them.
  OwnFactors* ownOf(uint32_t node) const { return reinterpret_cast<OwnFactors*>(codesOf(node)); }
  // Upper entry: a count, then m ids.
  uint32_t* upperList(uint32_t node, uint32_t level) const {
    return reinterpret_cast<uint32_t*>(region_->base(kUpper) + (row(node)->upper + uint64_t(level) - 1) * upperStride_);
  }
  // The original; where it is gone, what its tier gives back, good until the thread has asked for some more.
  const float* raw(uint32_t node) const {
    if (!options_.keepOriginals) [[unlikely]]
      return kept(node);
    return reinterpret_cast<const float*>(region_->base(kVectors) + node * vectorStride_);
  }
  const float* kept(uint32_t node) const;
  // What a node's values are multiplied with to be as the metric compares them.
  float scaleOf(uint32_t node) const {
    return options_.metric == Metric::kCosine ? raw(node)[options_.dimensions] : 1.0f;
  }
  uint8_t* states() const { return region_->base(kState); }
  bool touchRow(uint32_t node) { return region_->touch(kRows, node * layout_.stride, layout_.stride); }
  bool touchUpper(uint32_t node, uint32_t level);
  // Whether section `upper` can have an entry of this number.
  bool hasRoom(uint64_t upperEntry) const;
  bool ensureVector(uint32_t node) {
    if (!options_.keepOriginals) [[unlikely]]
      return ensureKept(node);
    return region_->ensure(kVectors, node * vectorStride_, vectorStride_);
  }
  bool ensureKept(uint32_t node);
  bool ensureRow(uint32_t node) { return region_->ensure(kRows, node * layout_.stride, layout_.stride); }
  bool setState(uint32_t node, uint8_t state);
  ProjectionHead* projection() const { return reinterpret_cast<ProjectionHead*>(region_->base(kProjection)); }
  float* projectionMean() const { return reinterpret_cast<float*>(projection() + 1); }
  int16_t* projectionBasis() const;
  // Adds and takes bits; what was there before, or nothing on a fault.
  bool changeState(uint32_t node, uint8_t add, uint8_t take, uint8_t* before);
  // A row that contradicts itself, as damage does. Always false.
  bool refuse(uint32_t node, uint64_t at, const char* reason);
  bool prepareNode(uint32_t node);
  bool prepareUnused(uint32_t node, uint8_t state);
  uint32_t levelOf(uint32_t node) const;
  void scanFree();

  struct List {
    const uint32_t* ids;
    uint32_t count;
  };
  List list(uint32_t node, uint32_t level) const;
  // A bottom row's neighbours and the biases of its edges as they were at one moment, up to 2m of each; how many, or
  // -1 on a fault.
  int32_t edgesOf(uint32_t node, uint32_t* ids, uint16_t* biases);
  void prefetchRow(uint32_t node) const;
  // While blocks are left that nobody has touched, a walk asks for what it is about to read, so that blocks are read
  // side by side. Once all were touched this is a look at two counters.
  bool readsAhead() const {
    return options_.readAhead > 0 && (region_->hasUntouched(kRows) || region_->hasUntouched(kVectors));
  }
  void askRow(uint32_t node) { region_->ask(kRows, node * layout_.stride, layout_.stride); }
  void askVector(uint32_t node, const Scratch& s);
  // A node that a walk may expand: its row and its vector; and where its row is there already, the same of its
  // neighbours, one hop less far.
  void askAround(uint32_t node, uint32_t hops, const Scratch& s);
  bool hasUpper(uint32_t node, uint32_t level) const;
  // The same, verified: false on a fault, and where it names what does not exist.
  bool listOf(uint32_t node, uint32_t level, List* out);

  // The query as the metric compares it: unit length under cosine.
  const float* prepared(const float* query, Scratch& scratch) const;
  // A node's own vector as a query, copied: linking prepares others in the same scratch.
  std::vector<float> ownQuery(uint32_t node, Scratch& scratch) const;
  // A node's vector in the space of the codes: computed into `room`, or from what `link` keeps at hand.
  const float* rotated(uint32_t node, std::vector<float>& room) const;
  // What `walk` needs of a prepared query.
  void prepareCodes(const float* q, Scratch& s) const;
  // s.all of a prepared query, which `scanBacklog` needs.
  void prepareAll(const float* q, Scratch& s) const;
  // Walks the bottom layer by codes, as the profile has it: searchCodes or searchOwn.
  template <Metric M>
  bool walk(const float* q, Neighbor entry, uint32_t ef, uint32_t keep, uint32_t k, const Filter* filter, Scratch& s);

  template <Metric M>
  float distanceTo(const float* q, uint32_t node) const;
  template <Metric M>
  float distanceWithin(const float* q, uint32_t node, float bound) const;
  // The distance of a query by what the node's tier holds, or by its original where the scratch says so; verified.
  // Anything greater than `bound` where it is greater.
  template <Metric M>
  bool measure(const float* q, uint32_t node, float bound, Scratch& s, float* out);
  template <Metric M>
  bool measureByTier(const float* q, uint32_t node, Scratch& s, float* out);
  // Of what a search left in s.results, the best `count` are compared again with their originals.
  template <Metric M>
  bool rerank(const float* q, uint64_t count, Scratch& s);
  // The same for a list, which is sorted then.
  template <Metric M>
  bool measureAgain(const float* q, std::vector<Neighbor>& list);
  void prefetchVector(uint32_t node, uint32_t lines) const;
  // Fetches ahead the vectors of the nodes that come soon after place `at` of `wanted`.
  void prefetchWanted(const uint32_t* wanted, uint32_t count, uint32_t at) const;
  template <Metric M>
  float between(uint32_t a, uint32_t b, float bound) const;
  // The same while linking: from the bytes at hand where both are, and a little off then.
  template <Metric M>
  float apart(uint32_t a, uint32_t b, float bound) const;
  template <Metric M>
  bool descend(const float* q, uint32_t toLevel, Neighbor* at, Scratch& s);
  template <Metric M>
  bool searchLayer(const float* q, Neighbor entry, uint32_t ef, uint32_t level, Scratch& s);
  template <Metric M>
  bool searchFiltered(const float* q, Neighbor entry, uint32_t ef, const Filter& filter, Scratch& s);
  template <Metric M>
  bool searchCodes(const float* q, Neighbor entry, uint32_t ef, uint32_t keep, uint32_t k, const Filter* filter,
                   Scratch& s);
  template <Metric M>
  bool searchOwn(const float* q, Neighbor entry, uint32_t ef, uint32_t keep, uint32_t k, const Filter* filter,
                 Scratch& s);
  template <Metric M>
  bool scanBacklog(const float* q, uint32_t k, const Filter& filter, Scratch& s);
  template <Metric M>
  int32_t searchAs(const float* q, uint32_t k, uint32_t ef, const Filter& filter, uint32_t times, Scratch& s,
                   uint32_t* nodes, float* distances);
  template <Metric M>
  int32_t scanAs(const float* q, uint32_t k, const Filter& filter, uint32_t times, Scratch& s, uint32_t* nodes,
                 float* distances);

  // `again`: nodes that are linked already look for better neighbours.
  template <Metric M>
  bool linkBatch(const uint32_t* nodes, uint32_t count, uint32_t ef, bool again, Crew& crew);
  template <Metric M>
  bool linkAs(const std::vector<uint32_t>& nodes, unsigned threads);
  template <Metric M>
  bool linkAll(const std::vector<uint32_t>& nodes, Crew& crew);
  // Vectors to learn from: where they lie, or copies where that is nowhere.
  struct Sample {
    std::vector<const float*> vectors;
    std::vector<float> scales;
    std::vector<std::unique_ptr<float[]>> copies;
  };
  bool sampleOf(const std::vector<uint32_t>& nodes, Sample* out);
  // Fits the space of codes to linked nodes and those to link, once there are enough, and encodes the rows.
  bool fitSpace(const std::vector<uint32_t>& nodes, Crew& crew);
  // Chooses the path of searches by measuring both, where neither is sure to be the faster.
  bool calibrate(uint32_t linkedBefore);
  template <Metric M>
  bool calibrateAs();
  bool keepAtHand(const std::vector<uint32_t>& nodes, Crew& crew);
  template <Metric M>
  bool addEdges(uint32_t node, uint32_t level, const std::vector<Neighbor>& more, Scratch& s);
  bool keepLastEdges(uint32_t node, std::vector<Neighbor>& kept, uint32_t* diverse);
  template <Metric M>
  uint32_t diversify(const std::vector<Neighbor>& sorted, uint32_t most, bool bottom, std::vector<Neighbor>& kept,
                     const uint8_t* known = nullptr);
  template <Metric M>
  bool replaceDead(uint32_t node, uint32_t level, Scratch& s);
  template <Metric M>
  bool consolidateAs(const std::vector<uint32_t>& dead, unsigned threads);
  template <Metric M>
  bool giveInEdge(uint32_t node, std::vector<uint32_t>* parents, Scratch& s);
  // Replaces a bottom row; the first `diverse` of those kept are so. Lanes of ids that stay are not
  // encoded again. Ends of edges that came and went are noted in s.gained and s.lost.
  bool writeRow(uint32_t node, const std::vector<Neighbor>& kept, uint32_t diverse, Scratch& s);
  bool encodeLane(uint32_t node, uint32_t id, const float* centre, Scratch& s, uint8_t* nibbles, Factors* factors);
  void readLane(uint32_t node, uint32_t lane, uint8_t* nibbles, Factors* factors) const;
  void writeLane(uint32_t node, uint32_t lane, const uint8_t* nibbles, const Factors& factors);
  // Profile small: the node's own code, before any row names it.
  bool writeOwnCode(uint32_t node, Scratch& s);
  // Whether vectors can be encoded already.
  bool hasSpace() const { return space_->mean(); }
  // The codes of a row that was written before there was a space for them.
  bool recode(uint32_t node, Scratch& s);
  bool replaceLane(uint32_t node, uint32_t lane, uint32_t id, Scratch& s);
  bool writeUpper(uint32_t node, uint32_t level, const std::vector<Neighbor>& kept);
  // Adds what the scratches noted to the in-degrees; lists in `bare`, where that is given, those left without one.
  bool countEdges(const std::vector<Scratch*>& scratches, std::vector<uint32_t>* bare);
  bool dropInEdge(uint32_t node);
  bool addInEdge(uint32_t node);

  void addToBacklog(uint32_t node);
  void trimBacklog();

  std::shared_ptr<Region> region_;
  Options options_;
  RowLayout layout_;
  uint64_t vectorStride_, upperStride_;
  Tiers tiers_;
  UnpackedCache cache_;
  std::unique_ptr<CodeSpace> space_;
  std::atomic<bool> coded_{false};  // rows have their codes: until the space is fitted, vectors are compared
  Backlog backlog_;
  // While many nodes are linked: their rotated vectors, which many rows need, and the same in bytes (8-bit
  // scalar codes, each with a step of its own) with their squared lengths, for distances between two of them.
  struct AtHand {
    std::vector<uint32_t> at;  // by node, kNone where it is not among them
    LargeArray<float> rotated;
    LargeArray<int8_t> bytes;
    std::vector<float> steps, squares;  // none without bytes
    bool has(uint32_t node) const { return node < at.size() && at[node] != kNone; }
  };
  AtHand atHand_;
  std::atomic<uint32_t> unlinked_{0}, linked_{0};
  std::atomic<uint32_t> nodes_{0};  // as the head has it: what bounds reads of other memory is not read from the region
  std::vector<uint32_t> free_;      // descending, so that the lowest is taken first
  bool freeKnown_ = false;
  std::unique_ptr<std::atomic<uint64_t>[]> around_;  // a bit a node whose neighbours were asked for
  uint32_t aroundNodes_ = 0;                         // nodes that have one: those that were there on attaching

  std::mutex scratchMutex_;
  std::vector<std::unique_ptr<Scratch>> scratches_;
  std::atomic<uint32_t> searching_{0};
};

// Held for the time of a search, and until its results were handed on: while any is, freed numbers are
// not used again, so that nobody meets a node that became another one under their hands.
class Reading {
 public:
  explicit Reading(Graph& graph) : graph_(graph) { graph_.searching_.fetch_add(1); }
  ~Reading() { graph_.searching_.fetch_sub(1); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  Graph& graph_;
};

// A scratch for the time of one operation.
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

}  // namespace hebb
