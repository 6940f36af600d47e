// k-means (Lloyd 1982) from k-means++ seeds (Arthur & Vassilvitskii 2007), and the nearest of many centroids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hebb {

// Centroids in the order in which the kernel looks for the nearest.
class Nearest {
 public:
  Nearest() = default;
  // `centroids`: count x n.
  Nearest(const float* centroids, uint32_t count, uint32_t n);
  // The centroid nearest to x, n values.
  uint32_t of(const float* x) const;

 private:
  uint32_t n_ = 0, count_ = 1, padded_ = 0;
  std::vector<float> columns_;
};

// `k` centroids (k x n) of `count` points (count x n): at most `iterations` rounds, fewer where one gains less than
// a thousandth. Where there are fewer different points than k, some centroids are equal.
void kmeans(const float* points, uint32_t count, uint32_t n, uint32_t k, uint32_t iterations, uint64_t seed,
            float* centroids);

// The same for numbers, which are sorted in place: `k` levels in ascending order, from quantiles.
void kmeansOfNumbers(std::vector<float>& numbers, uint32_t k, uint32_t iterations, float* levels);

}  // namespace hebb
