// What the sections of a frozen bundle hold beside a graph's, by number; docs/frozen-format.md has the grids.
//
// Vectors are grouped in clusters. A cluster has blocks of 32 codes of residuals r = P(o - c), c being its centre
// and P a rotation, in the order of |r|, so that whole clusters and blocks are passed over by how far their vectors
// can be (the triangle inequality); what tells so of blocks lies together. A block's codes have one bit a value and are
// scanned together; with more bits a code is also kept in planes, which are looked at where one bit does not rule a
// vector out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../map/region.hpp"
#include "../quantize/haar.hpp"
#include "../quantize/rabitq.hpp"
#include "../quantize/rotation.hpp"
#include "rng.hpp"

namespace hebb {

// Behind the graph's sections (graph.hpp).
enum FrozenSection : uint32_t {
  kRotation = 13,
  kClusters = 14,
  kCodes = 15,
  kPlanes = 16,
  kRanges = 17,
};

// Up to here sums of products of levels and values fit 31 bits: 255 x 1,023 x 8,192 < 2^31.
constexpr uint32_t kMostFrozenDimensions = 8192;
constexpr uint32_t kMostBits = 8;

struct FrozenShape {
  uint32_t dimensions;
  Metric metric;
  uint32_t bits;  // of a value in a code, 1 to 8
  bool haar;      // else the fast kind of rotation
  uint64_t seed;
};

struct Cluster {  // the start of a record in section `clusters`; the rotated centre follows
  uint64_t firstBlock;
  uint32_t blocks, count;
  float radius;  // the greatest |r| of its vectors
  uint32_t reserved[11];
};
static_assert(sizeof(Cluster) == 64);

struct Range {              // a record in section `ranges`, one a block
  float nearest, farthest;  // the least and the greatest |r| of its vectors
};
static_assert(sizeof(Range) == 8);

struct FrozenLayout {
  explicit FrozenLayout(const FrozenShape& s)
      : padded((s.dimensions + 63) / 64 * 64),
        quads(padded / 4),
        clusterStride(sizeof(Cluster) + padded * sizeof(float)),
        add(uint64_t(quads) * 16),
        rescale(add + kLanes * sizeof(float)),
        error(rescale + kLanes * sizeof(float)),
        nodes(error + kLanes * sizeof(float)),
        blockStride(nodes + kLanes * sizeof(uint32_t)),
        planesStride(s.bits == 1 ? 0 : sizeof(OwnFactors) + uint64_t(padded) / 8 * s.bits) {}
  uint32_t padded, quads;  // values of a code, and nibbles
  uint64_t clusterStride;
  uint64_t add, rescale, error, nodes, blockStride;  // places in a block of section `codes`, behind its codes
  uint64_t planesStride;                             // of a lane's code in planes: OwnFactors, then the planes
};

// The rotation of a bundle. Haar's is kept in section `rotation`; the fast one follows from the seed.
class FrozenRotation {
 public:
  FrozenRotation(const FrozenShape& s, const float* haar)
      : dimensions_(s.dimensions), fast_(s.dimensions, Rng(s.seed)), haar_(haar) {}
  uint32_t padded() const { return fast_.padded(); }
  void apply(const float* in, float* out) const {
    if (haar_) applyHaar(haar_, dimensions_, padded(), in, out);
    else fast_.apply(in, 1.0f, out);
  }

 private:
  uint32_t dimensions_;
  Rotation fast_;
  const float* haar_;
};

}  // namespace hebb
