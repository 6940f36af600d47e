#include "build.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "clusters.hpp"
#include "kernel.hpp"

namespace hebb {
namespace {

// Vectors that k-means looks at, for each cluster: with 24 a query looked at a tenth more blocks (docs/decisions/0011).
constexpr uint32_t kSamplePerCluster = 32;
// Four blocks: with fewer vectors much of a cluster is an empty end of its last block.
constexpr uint32_t kLeastPerCluster = 128;
// Of a query's time, comparing it with so many centres is a millisecond.
constexpr uint32_t kMostClusters = 8192;

// A vector as the metric compares it.
bool copyVector(Graph& graph, uint32_t node, float* out) {
  const float* v = graph.vector(node);
  if (!v) return false;
  const uint32_t d = graph.options().dimensions;
  const float scale = graph.options().metric == Metric::kCosine ? v[d] : 1.0f;
  for (uint32_t j = 0; j < d; j++) out[j] = v[j] * scale;
  return true;
}

struct Member {
  uint32_t cluster, node;  // `node` counts as the bundle does
  float length;            // |r|
};

struct Writer {
  Graph& graph;
  const FrozenShape& shape;
  const FrozenLayout layout;
  const FrozenRotation& rotation;
  const Centres& centres;
  const std::vector<uint32_t>& nodes;

  // One block of at most 32 members of a cluster, whose rotated centre is `turned`, and their codes in planes.
  bool write(const Member* members, uint32_t count, const float* turned, uint8_t* block, uint8_t* planes) const {
    thread_local std::vector<float> own, residual, nothing;
    thread_local std::vector<uint8_t> nibbles;
    own.resize(shape.dimensions);
    residual.resize(layout.padded);
    nothing.assign(layout.padded, 0.0f);
    nibbles.resize(layout.quads);
    float* const add = reinterpret_cast<float*>(block + layout.add);
    float* const rescale = reinterpret_cast<float*>(block + layout.rescale);
    float* const error = reinterpret_cast<float*>(block + layout.error);
    uint32_t* const of = reinterpret_cast<uint32_t*>(block + layout.nodes);
    for (uint32_t lane = 0; lane < kLanes; lane++) {
      of[lane] = kNone;
      add[lane] = __builtin_huge_valf();
    }
    for (uint32_t lane = 0; lane < count; lane++) {
      const float* centre = centres[members[lane].cluster];
      if (!copyVector(graph, nodes[members[lane].node], own.data())) return false;
      for (uint32_t j = 0; j < shape.dimensions; j++) own[j] -= centre[j];
      const float product = shape.metric == Metric::kDot ? kernel->dot(own.data(), centre, shape.dimensions) : 0;
      rotation.apply(own.data(), residual.data());
      const Factors f =
          encode(shape.metric, residual.data(), nothing.data(), layout.quads, {product, -1}, nibbles.data());
      packLane(block, layout.quads, lane, nibbles.data());
      const float squares = kernel->dot(residual.data(), residual.data(), layout.padded);
      add[lane] = f.add;
      rescale[lane] = f.rescale;
      error[lane] = errorOf(shape.metric, squares, f, layout.quads, 1);
      of[lane] = members[lane].node;
      if (!planes) continue;
      uint8_t* const code = planes + lane * layout.planesStride;
      *reinterpret_cast<OwnFactors*>(code) = encodePlanes(shape.metric, residual.data(), turned, layout.padded,
                                                          shape.bits, product, code + sizeof(OwnFactors));
    }
    return true;
  }
};

// Gives each member its nearest centre, and how far it is from it.
bool assign(Graph& graph, const std::vector<uint32_t>& nodes, const Centres& centres, gnn::Crew& crew,
            std::vector<Member>* members) {
  constexpr uint32_t kTogether = Centres::kTogether;
  const uint32_t d = graph.options().dimensions, n = static_cast<uint32_t>(members->size());
  std::atomic<bool> sound{true};
  crew.run((n + kTogether - 1) / kTogether, uint64_t(n) * centres.count() * d, [&](size_t piece) {
    thread_local std::vector<float> points, room;
    uint32_t of[kTogether];
    Member* const first = members->data() + piece * kTogether;
    const uint32_t count = std::min(kTogether, n - static_cast<uint32_t>(piece) * kTogether);
    points.resize(uint64_t(kTogether) * d);
    for (uint32_t i = 0; i < count; i++) {
      if (!copyVector(graph, nodes[first[i].node], points.data() + uint64_t(i) * d)) sound = false;
    }
    centres.nearest(points.data(), count, &room, of);
    for (uint32_t i = 0; i < count; i++) {
      first[i].cluster = of[i];
      first[i].length = std::sqrt(kernel->l2(points.data() + uint64_t(i) * d, centres[of[i]], d));
    }
  });
  return sound;
}

// Puts members in the order of clusters, then of lengths; gives back where each cluster ends, the first one at [1].
std::vector<uint32_t> sortMembers(uint32_t clusters, gnn::Crew& crew, std::vector<Member>* members) {
  std::vector<uint32_t> ends(clusters + 1, 0);
  for (const Member& m : *members) ends[m.cluster + 1]++;
  for (uint32_t c = 0; c < clusters; c++) ends[c + 1] += ends[c];
  std::vector<uint32_t> next(ends.begin(), ends.end() - 1);
  std::vector<Member> sorted(members->size());
  for (const Member& m : *members) sorted[next[m.cluster]++] = m;
  crew.run(clusters, uint64_t(sorted.size()) * 100, [&](size_t c) {
    std::sort(sorted.begin() + ends[c], sorted.begin() + ends[c + 1], [](const Member& a, const Member& b) {
      return a.length < b.length || (a.length == b.length && a.node < b.node);
    });
  });
  members->swap(sorted);
  return ends;
}

// The members of one block, and the place of their cluster's record.
struct Piece {
  uint32_t from, count;
  uint64_t cluster;
};

}  // namespace

uint32_t FrozenBuild::standardClusters(uint64_t count) {
  const uint64_t wanted = static_cast<uint64_t>(std::sqrt(static_cast<double>(count)));
  return static_cast<uint32_t>(std::clamp<uint64_t>(std::min(wanted, count / kLeastPerCluster), 1, kMostClusters));
}

bool FrozenBuild::run(Graph& graph, const FrozenShape& shape, const std::vector<uint32_t>& nodes,
                      const std::vector<uint8_t>& left, uint32_t clusterCount, unsigned threads) {
  const uint32_t d = shape.dimensions;
  const FrozenLayout layout(shape);
  gnn::Crew crew(threads);

  if (shape.haar) {
    rotation.resize(uint64_t(d) * layout.padded * sizeof(float));
    drawHaar(d, layout.padded, Rng(shape.seed), reinterpret_cast<float*>(rotation.data()));
  }
  const FrozenRotation turn(shape, shape.haar ? reinterpret_cast<const float*>(rotation.data()) : nullptr);

  std::vector<Member> members;
  members.reserve(nodes.size());
  for (uint32_t i = 0; i < nodes.size(); i++) {
    if (left.empty() || !left[i]) members.push_back({0, i, 0});
  }
  const uint32_t n = static_cast<uint32_t>(members.size());
  if (n == 0) return true;

  const uint32_t sampled = static_cast<uint32_t>(std::min<uint64_t>(n, uint64_t(clusterCount) * kSamplePerCluster));
  std::vector<float> sample(uint64_t(sampled) * d);
  for (uint32_t i = 0; i < sampled; i++) {
    const Member& m = members[uint64_t(i) * n / sampled];
    if (!copyVector(graph, nodes[m.node], sample.data() + uint64_t(i) * d)) return false;
  }
  // Another sequence than that of the rotation.
  const Centres centres = findCentres(sample, d, clusterCount, Rng(mix(shape.seed) ^ 1), crew);

  if (!assign(graph, nodes, centres, crew, &members)) return false;
  const std::vector<uint32_t> ends = sortMembers(centres.count(), crew, &members);

  std::vector<Piece> pieces;
  for (uint32_t c = 0; c < centres.count(); c++) {
    const uint32_t from = ends[c], count = ends[c + 1] - from;
    if (count == 0) continue;
    const uint32_t blocks = (count + kLanes - 1) / kLanes;
    const uint64_t at = clusters.size();
    clusters.resize(at + layout.clusterStride);
    *reinterpret_cast<Cluster*>(clusters.data() + at) = {
        pieces.size(), blocks, count, members[from + count - 1].length, {}};
    turn.apply(centres[c], reinterpret_cast<float*>(clusters.data() + at + sizeof(Cluster)));
    for (uint32_t b = 0; b < blocks; b++) {
      pieces.push_back({from + b * kLanes, std::min(kLanes, count - b * kLanes), at});
      const Piece& piece = pieces.back();
      const Range range{members[piece.from].length, members[piece.from + piece.count - 1].length};
      const uint8_t* bytes = reinterpret_cast<const uint8_t*>(&range);
      ranges.insert(ranges.end(), bytes, bytes + sizeof range);
    }
  }
  codes.resize(pieces.size() * layout.blockStride);
  planes.resize(pieces.size() * kLanes * layout.planesStride);
  std::atomic<bool> sound{true};
  const Writer writer{graph, shape, layout, turn, centres, nodes};
  crew.run(pieces.size(), uint64_t(n) * d * 10, [&](size_t i) {
    uint8_t* const lanes = layout.planesStride ? planes.data() + i * kLanes * layout.planesStride : nullptr;
    const float* turned = reinterpret_cast<const float*>(clusters.data() + pieces[i].cluster + sizeof(Cluster));
    if (!writer.write(members.data() + pieces[i].from, pieces[i].count, turned, codes.data() + i * layout.blockStride,
                      lanes))
      sound = false;
  });
  return sound;
}

}  // namespace hebb
