// The scan of a bundle's codes. A vector costs as little as it can be told with: a bit a value, 32 vectors at a time;
// then all bits of its code, where the first left it open; then the vector itself.
//
// A query is rotated, and held against all centres: by a cluster's radius the triangle inequality says how near any of
// its vectors can be. Clusters are scanned nearest first. Once k vectors were found, those that seem nearest are
// compared (or, where few comparisons are allowed, judged by their bounds), and the k-th is the limit, which only
// falls from there on. A cluster that cannot hold anything within the limit is left out, and so is a block by the
// range of its radii. In a block the first bits give estimates and, by RaBitQ's bound, the least that each distance
// can be (rabitq.hpp); what may be within the limit becomes a candidate. Candidates advance one step a cluster, so
// that their bytes are on the way meanwhile: fresh, looked at in planes, compared; whoever falls behind the limit
// drops out. What is not clearly near is kept for the end, when the limit is as low as it gets, and compared nearest
// first until none can be among the k any more, or the cap of comparisons is reached.
#include <algorithm>
#include <cmath>

#include "../graph/distance.hpp"
#include "frozen.hpp"
#include "kernel.hpp"

namespace hebb {
namespace {

// Rounding: what a rotated vector is off by, for each unit of its length; and a distance, for each unit of its own. A
// float is off by 6e-8, and sums in 16 lanes of 8,192 values, four rounds of them or a product with a matrix, by less
// than 30 times that (test/kernel/frozen-codes-test.cpp holds norms to 1e-5); twice as much is allowed.
constexpr float kTurned = 4e-6f, kRounded = 4e-6f;
// Vectors that are fetched ahead of being compared.
constexpr uint32_t kAhead = 8;

// With a smaller rerank factor all comparisons are kept for the end: bounds come from estimates alone until then.
constexpr uint32_t kLeastEarly = 8;

// The one that seems nearest comes first; of equals the lower number.
template <typename C>
bool seemsNearer(const C& a, const C& b) {
  return a.estimate < b.estimate || (a.estimate == b.estimate && a.node < b.node);
}

// Unlike the library's, in one instruction; a NaN gives b.
inline float larger(float a, float b) {
  return a > b ? a : b;
}

}  // namespace

// One query. Distances are in the metric's own unit; under cosine that is half the squared L2 distance of unit vectors.
class Frozen::Search {
 public:
  Search(Frozen& frozen, Room& room, Scratch& scratch, const float* q, uint32_t k, uint32_t rerank)
      : f_(frozen), r_(room), s_(scratch), q_(q), k_(k), rerank_(rerank), left_(uint64_t(rerank) * k) {}

  template <Metric M>
  int32_t run(uint32_t* outNodes, float* outDistances) {
    r_.nearest.clear();
    for (auto* list : {&r_.fresh, &r_.next, &r_.near, &r_.candidates}) list->clear();
    r_.work.queries++;
    survey<M>();
    // The nearest cluster first, until k vectors were compared; the others in the order of their distance, but for
    // those that are too far.
    const auto nearer = [](const Visit& a, const Visit& b) {
      return a.base < b.base || (a.base == b.base && a.cluster < b.cluster);
    };
    uint32_t seen = 0;
    for (; seen < r_.visits.size() && !seeded_; seen++) {
      std::swap(r_.visits[seen], *std::min_element(r_.visits.begin() + seen, r_.visits.end(), nearer));
      if (!visit<M>(seen, true)) return -1;
    }
    if (!seeded_ && !seed<M>()) return -1;
    uint32_t kept = seen;
    for (uint32_t i = seen; i < r_.visits.size(); i++) {
      if (r_.visits[i].least <= limit_) r_.visits[kept++] = r_.visits[i];
    }
    std::sort(r_.visits.begin() + seen, r_.visits.begin() + kept, nearer);
    for (uint32_t i = seen; i < kept; i++) {
      if (r_.visits[i].least <= limit_ && !visit<M>(i, false)) return -1;
    }
    while (!r_.fresh.empty() || !r_.next.empty() || !r_.near.empty()) {
      if (!tighten<M>()) return -1;
    }
    if (!finish<M>()) return -1;
    std::sort_heap(r_.nearest.begin(), r_.nearest.end(), hebb::nearer);
    for (size_t i = 0; i < r_.nearest.size(); i++) {
      outNodes[i] = r_.nearest[i].node;
      outDistances[i] = r_.nearest[i].distance;
    }
    return static_cast<int32_t>(r_.nearest.size());
  }

 private:
  // Rotates the query, and sees how far each cluster is.
  template <Metric M>
  void survey() {
    const uint32_t n = f_.layout_.padded;
    r_.rotated.resize(n);
    f_.rotation_->apply(q_, r_.rotated.data());
    length_ = std::sqrt(kernel->dot(r_.rotated.data(), r_.rotated.data(), n));
    r_.visits.clear();
    for (uint32_t c = 0; c < f_.counts_.clusters; c++) {
      const Cluster* cluster = f_.cluster(c);
      const float* centre = reinterpret_cast<const float*>(cluster + 1);
      const float square = kernel->l2(r_.rotated.data(), centre, n), apart = std::sqrt(square);
      Visit v{square, apart, 0, c};
      if constexpr (M == Metric::kDot) {
        v.base = -kernel->dot(r_.rotated.data(), centre, n);
        v.least = v.base - length_ * cluster->radius * (1 + kRounded) - length_ * kTurned * (apart + length_);
      } else {
        const float least = larger(0.0f, apart - cluster->radius * (1 + kRounded) - kTurned * (apart + length_));
        v.least = least * least;
        if constexpr (M == Metric::kCosine) {
          v.base *= 0.5f;
          v.least *= 0.5f;
        }
      }
      r_.visits.push_back(v);
    }
  }

  // Scans the blocks of a cluster that may hold candidates.
  template <Metric M>
  bool visit(uint32_t number, bool first) {
    const Visit& v = r_.visits[number];
    // A query so large that no float holds its distance, or damage: nor would one hold an estimate.
    if (!(std::fabs(v.base) < __builtin_huge_valf())) return first || tighten<M>();
    const FrozenLayout& layout = f_.layout_;
    const Cluster* cluster = f_.cluster(v.cluster);
    const float* centre = reinterpret_cast<const float*>(cluster + 1);
    const uint32_t n = layout.padded;
    r_.work.clusters++;
    r_.residual.resize(n);
    for (uint32_t i = 0; i < n; i++) r_.residual[i] = r_.rotated[i] - centre[i];
    r_.entries.resize(4 * n);
    const Lut lut = kernel->lut(r_.residual.data(), n, r_.entries.data());
    // Rounding of the query's values: each is off by half a step at most, a twelfth of one squared on average, and
    // takes its sign from the code.
    const float slack = kSure * 0.5f * lut.step * std::sqrt(static_cast<float>(n) / 12);
    const Around around{v.base, kSure * v.apart, slack};
    const float margin = marginOf<M>(v);
    const uint32_t nodeCount = f_.graph_->nodes();
    const Range* ranges = reinterpret_cast<const Range*>(f_.region_->base(kRanges)) + cluster->firstBlock;
    for (uint32_t b = 0; b < cluster->blocks; b++) {
      if (!mayHold<M>(v, ranges[b])) continue;
      const uint64_t place = cluster->firstBlock + b, at = place * layout.blockStride;
      if (!f_.region_->ensure(kCodes, at, layout.blockStride)) return false;
      const uint8_t* bytes = f_.region_->base(kCodes) + at;
      const uint32_t* nodes = reinterpret_cast<const uint32_t*>(bytes + layout.nodes);
      const Lanes32 lanes{reinterpret_cast<const float*>(bytes + layout.add),
                          reinterpret_cast<const float*>(bytes + layout.rescale),
                          reinterpret_cast<const float*>(bytes + layout.error)};
      alignas(64) float estimates[kLanes], least[kLanes];
      r_.work.blocks++;
      for (uint32_t mask = kernel->scanLeast(bytes, r_.entries.data(), layout.quads, lut, lanes, around,
                                             limit_ + margin, estimates, least);
           mask; mask &= mask - 1) {
        const uint32_t lane = static_cast<uint32_t>(__builtin_ctz(mask));
        const float lowest = least[lane] - margin, estimate = estimates[lane];
        // Lanes without a vector; and factors that damage left, which no order could hold.
        if (!(std::fabs(estimate) < __builtin_huge_valf()) || !(lowest <= estimate)) continue;
        r_.work.candidates++;
        if (nodes[lane] >= nodeCount) {
          f_.region_->refuse(kCodes, at + layout.nodes + lane * sizeof(uint32_t),
                             "a code is of a node that does not exist");
          return false;
        }
        const uint32_t counted = static_cast<uint32_t>(place) * kLanes + lane;
        r_.fresh.push_back({lowest, estimate, nodes[lane], number, counted, layout.planesStride == 0});
        fetchPlanes(r_.fresh.back());
      }
      // In the first cluster many seem near until the nearest of them were compared.
      if (seeded_ ? first && !tighten<M>() : r_.fresh.size() >= k_ && !seed<M>()) return false;
    }
    return first || tighten<M>();
  }

  template <Metric M>
  bool mayHold(const Visit& v, const Range& block) const {
    if constexpr (M == Metric::kDot)
      return v.base - length_ * (block.farthest * (1 + kRounded) + kTurned * (v.apart + length_)) <= limit_;
    const float rounding = kTurned * (v.apart + length_);
    const float least = larger(
        0.0f, larger(v.apart - block.farthest * (1 + kRounded), block.nearest * (1 - kRounded) - v.apart) - rounding);
    return (M == Metric::kCosine ? 0.5f : 1.0f) * least * least <= limit_;
  }

  // What a distance, estimated or exact, may be off by because floats are rounded.
  template <Metric M>
  float marginOf(const Visit& v) const {
    return kTurned * (M == Metric::kDot ? length_ : v.apart) * (v.apart + length_);
  }

  // A candidate's estimate by its code in planes.
  template <Metric M>
  bool look(Candidate& c) {
    if (c.looked) return true;
    const FrozenLayout& layout = f_.layout_;
    const uint64_t at = c.lane * layout.planesStride;
    if (!f_.region_->ensure(kPlanes, at, layout.planesStride)) return false;
    if (levels_.step < 0) {
      r_.values.resize(layout.padded);
      levels_ = preparePlanes(r_.rotated.data(), layout.padded, r_.values.data());
    }
    r_.work.looked++;
    const Visit& v = r_.visits[c.visit];
    const OwnFactors* factors = reinterpret_cast<const OwnFactors*>(f_.region_->base(kPlanes) + at);
    const int32_t sum = kernel->dotPlanes(reinterpret_cast<const uint8_t*>(factors + 1), f_.shape_.bits,
                                          r_.values.data(), layout.padded);
    const float steps = static_cast<float>(1 << f_.shape_.bits);
    const float product =
        levels_.step * (static_cast<float>(sum) - 0.5f * (steps - 1) * static_cast<float>(levels_.total));
    const float estimate = (factors->add + v.base) + factors->rescale * product;
    // A value of the query is off by half a step at most, and a level's square about (4^bits - 1) / 12.
    const float slack = levels_.step * std::sqrt(static_cast<float>(layout.padded) * (steps * steps - 1) / 144);
    const float least = estimate - (kSure * (factors->error * v.apart - factors->rescale * slack) + marginOf<M>(v));
    c.looked = true;
    if (!(std::fabs(estimate) < __builtin_huge_valf()) || !(least <= estimate)) return true;
    c.estimate = estimate;
    c.least = larger(c.least, least);
    return true;
  }

  // A first bound of the k-th distance: compares the k fresh candidates that seem nearest; or takes the k-th of what
  // fresh ones are at most.
  template <Metric M>
  bool seed() {
    std::vector<Candidate>& c = r_.fresh;
    seeded_ = true;
    if (!mayCompareEarly()) {
      if (c.size() < k_) return true;
      r_.most.clear();
      for (const Candidate& one : c) r_.most.push_back(one.estimate + (one.estimate - one.least));
      std::sort(r_.most.begin(), r_.most.end());
      limit_ = r_.most[k_ - 1];
      return true;
    }
    const size_t count = std::min<size_t>(k_, c.size());
    std::sort(c.begin(), c.end(), seemsNearer<Candidate>);
    for (size_t i = 0; rerank_ > 0 && i < count; i++) prefetch(c[i].node);
    for (size_t i = 0; i < count; i++) {
      if (rerank_ == 0 && !look<M>(c[i])) return false;
      if (!compare<M>(c[i])) return false;
    }
    c.erase(c.begin(), c.begin() + static_cast<ptrdiff_t>(count));
    return true;
  }

  // One step on for who was found before the last cluster: those that seem to be among the k nearest are compared, and
  // those of the cluster before are looked at by their codes in planes. Each step's bytes were fetched in the one
  // before; and what is still to come is held against a nearer k-th.
  template <Metric M>
  bool tighten() {
    for (const Candidate& c : r_.near) {
      if (!(c.least <= limit_)) continue;
      if (!(c.estimate <= limit_) || !mayCompareEarly()) r_.candidates.push_back(c);
      else if (!compare<M>(c)) return false;
    }
    r_.near.clear();
    for (Candidate& c : r_.next) {
      if (!(c.least <= limit_)) continue;
      if (c.estimate <= limit_ && !look<M>(c)) return false;
      if (!(c.estimate <= limit_)) {
        r_.candidates.push_back(c);
        continue;
      }
      if (rerank_ > 0) prefetch(c.node);
      r_.near.push_back(c);
    }
    r_.next.clear();
    std::swap(r_.fresh, r_.next);
    return true;
  }

  // Compares the candidates that are left, those first that seem nearest, but for those that the k-th distance rules
  // out.
  template <Metric M>
  bool finish() {
    std::vector<Candidate>& c = r_.candidates;
    const auto isFar = [&](const Candidate& one) { return !(one.least <= limit_); };
    std::erase_if(c, isFar);
    if (f_.layout_.planesStride) {
      for (size_t i = 0; i < c.size(); i++) {
        if (i + kAhead < c.size()) fetchPlanes(c[i + kAhead]);
        if (!look<M>(c[i])) return false;
      }
      std::erase_if(c, isFar);
    }
    std::sort(c.begin(), c.end(), seemsNearer<Candidate>);
    for (size_t i = 0; rerank_ > 0 && i < std::min<size_t>(c.size(), kAhead); i++) prefetch(c[i].node);
    for (size_t i = 0; i < c.size() && mayCompare(); i++) {
      if (rerank_ > 0 && i + kAhead < c.size()) prefetch(c[i + kAhead].node);
      if (!isFar(c[i]) && !compare<M>(c[i])) return false;
    }
    return true;
  }

  bool mayCompare() const { return left_ > 0 || rerank_ == 0; }
  // Half of the comparisons are for the end, when all that may be near is known.
  bool mayCompareEarly() const {
    return rerank_ == 0 || (rerank_ >= kLeastEarly && left_ > uint64_t(rerank_) * k_ / 2);
  }

  void fetchPlanes(const Candidate& c) const {
    const uint64_t bytes = f_.layout_.planesStride;
    if (bytes == 0) return;
    prefetchLines(f_.region_->base(kPlanes) + c.lane * bytes,
                  static_cast<uint32_t>(std::min<uint64_t>(bytes / 64 + 1, 16)));
  }
  void prefetch(uint32_t node) const {
    f_.graph_->prefetchVector(node, std::min(16u, (f_.shape_.dimensions * 4 + 63) / 64));
  }

  template <Metric M>
  bool compare(const Candidate& c) {
    float distance = c.estimate;
    const bool full = r_.nearest.size() == k_;
    if (rerank_ > 0) {
      left_--;
      r_.work.compared++;
      const float bound = full ? r_.nearest.front().distance : __builtin_huge_valf();
      if (!f_.graph_->measure<M>(q_, c.node, bound, s_, &distance)) return false;
    }
    // An estimate may be below what a distance can be, and so may the rounded one of two equal vectors.
    if constexpr (M != Metric::kDot) distance = larger(distance, 0.0f);
    const Neighbor found{distance, c.node};
    if (full && !hebb::nearer(found, r_.nearest.front())) return true;
    if (full) {
      std::pop_heap(r_.nearest.begin(), r_.nearest.end(), hebb::nearer);
      r_.nearest.pop_back();
    }
    r_.nearest.push_back(found);
    std::push_heap(r_.nearest.begin(), r_.nearest.end(), hebb::nearer);
    if (r_.nearest.size() == k_) {
      const float farthest = r_.nearest.front().distance;
      const float limit = farthest + kRounded * (std::fabs(farthest) + (M == Metric::kCosine ? 1.0f : 0.0f));
      limit_ = limit < limit_ ? limit : limit_;
    }
    return true;
  }

  Frozen& f_;
  Room& r_;
  Scratch& s_;
  const float* q_;
  uint32_t k_, rerank_;
  uint64_t left_;                        // vectors that may still be compared
  PlanesQuery levels_{-1, 0};            // of the rotated query; a step below 0: not made yet
  bool seeded_ = false;                  // k vectors were compared, or all there are
  float length_ = 0;                     // |q|
  float limit_ = __builtin_huge_valf();  // what is farther is not among the k nearest
};

int32_t Frozen::scan(const float* query, uint32_t k, uint32_t rerank, uint32_t* outNodes, float* outDistances) {
  ScratchLease s(*graph_);
  std::unique_ptr<Room> room = take();
  const float* q = graph_->prepared(query, *s);
  const int32_t count = byMetric(
      shape_.metric, [&](auto m) { return Search(*this, *room, *s, q, k, rerank).run<m()>(outNodes, outDistances); });
  giveBack(std::move(room));
  return count;
}

}  // namespace hebb
