// Clusters of vectors: k-means (Lloyd 1982) on a sample, from k-means++ seeds (Arthur & Vassilvitskii 2007), on all
// threads. The result does not depend on how many there are.
#pragma once

#include <cstdint>
#include <vector>

#include "../gnn/crew.hpp"
#include "rng.hpp"

namespace hebb {

class Centres {
 public:
  Centres(const float* centres, uint32_t count, uint32_t dimensions);

  uint32_t count() const { return count_; }
  const float* operator[](uint32_t c) const { return centres_.data() + uint64_t(c) * dimensions_; }
  // The nearest of each of `count` points, at most kTogether; of equals the first. `room` is for the caller to keep.
  void nearest(const float* points, uint32_t count, std::vector<float>* room, uint32_t* out) const;
  static constexpr uint32_t kTogether = 64;

 private:
  uint32_t count_, dimensions_, padded_;
  std::vector<float> centres_;  // count x dimensions
  std::vector<float> columns_;  // dimensions x padded
  std::vector<float> halves_;   // minus half the squared length of each
};

// Centres of at most `count` clusters of `points` (sampled x dimensions).
Centres findCentres(const std::vector<float>& points, uint32_t dimensions, uint32_t count, Rng rng, gnn::Crew& crew);

}  // namespace hebb
