#include "kmeans.hpp"

#include <algorithm>
#include <cfloat>

#include "kernel.hpp"
#include "mix.hpp"

namespace hebb {
namespace {

// Points among which seeds are looked for.
constexpr uint32_t kSeedPoints = 4096;
constexpr double kLeastGain = 1e-3;

float squaredL2(const float* a, const float* b, uint32_t n) {
  float sum = 0;
  for (uint32_t j = 0; j < n; j++) sum += (a[j] - b[j]) * (a[j] - b[j]);
  return sum;
}

// Each seed is a point, drawn by its squared distance from the nearest seed so far.
void seedCentroids(const float* points, uint32_t count, uint32_t n, uint32_t k, uint64_t seed, float* centroids) {
  count = std::min(count, kSeedPoints);
  std::vector<float> byValue(size_t{n} * count), distances(count, FLT_MAX), sums(count);
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t j = 0; j < n; j++) byValue[size_t{j} * count + i] = points[size_t{i} * n + j];
  }
  uint32_t drawn = static_cast<uint32_t>(mix(seed) % count);
  for (uint32_t c = 0; c < k; c++) {
    std::copy_n(points + size_t{drawn} * n, n, centroids + size_t{c} * n);
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (uint32_t j = 0; j < n; j++) {
      const float* values = byValue.data() + size_t{j} * count;
      const float at = centroids[size_t{c} * n + j];
      for (uint32_t i = 0; i < count; i++) sums[i] += (values[i] - at) * (values[i] - at);
    }
    double total = 0;
    for (uint32_t i = 0; i < count; i++) {
      distances[i] = std::min(distances[i], sums[i]);
      total += distances[i];
    }
    double left = static_cast<double>(mix(seed ^ mix(c + 1)) >> 11) * 0x1p-53 * total;
    drawn = 0;
    while (drawn + 1 < count && (left -= distances[drawn]) >= 0) drawn++;
  }
}

}  // namespace

Nearest::Nearest(const float* centroids, uint32_t count, uint32_t n)
    : n_(n), count_(count), padded_((count + 15) / 16 * 16) {
  columns_.assign(size_t{padded_} * (n + 1), 0.0f);
  for (uint32_t c = 0; c < padded_; c++) {
    float* column = columns_.data() + size_t{c / 16} * 16 * (n + 1) + c % 16;
    if (c >= count) {
      *column = -FLT_MAX;  // never the greatest
      continue;
    }
    const float* centroid = centroids + size_t{c} * n;
    float squares = 0;
    for (uint32_t j = 0; j < n; j++) {
      squares += centroid[j] * centroid[j];
      column[16 * (j + 1)] = centroid[j];
    }
    *column = -0.5f * squares;
  }
}

uint32_t Nearest::of(const float* x) const {
  return std::min(kernel->greatest(x, n_, columns_.data(), padded_), count_ - 1);
}

void kmeans(const float* points, uint32_t count, uint32_t n, uint32_t k, uint32_t iterations, uint64_t seed,
            float* centroids) {
  seedCentroids(points, count, n, k, seed, centroids);
  std::vector<double> sums(size_t{k} * n);
  std::vector<uint32_t> sizes(k);
  double before = DBL_MAX;
  for (uint32_t round = 0; round < iterations; round++) {
    const Nearest nearest(centroids, k, n);
    std::fill(sums.begin(), sums.end(), 0.0);
    std::fill(sizes.begin(), sizes.end(), 0);
    double error = 0;
    for (uint32_t i = 0; i < count; i++) {
      const float* point = points + size_t{i} * n;
      const uint32_t c = nearest.of(point);
      error += squaredL2(point, centroids + size_t{c} * n, n);
      for (uint32_t j = 0; j < n; j++) sums[size_t{c} * n + j] += point[j];
      sizes[c]++;
    }
    for (uint32_t c = 0; c < k; c++) {
      if (sizes[c] == 0) continue;
      for (uint32_t j = 0; j < n; j++)
        centroids[size_t{c} * n + j] = static_cast<float>(sums[size_t{c} * n + j] / sizes[c]);
    }
    if (before - error <= kLeastGain * before) break;
    before = error;
  }
}

void kmeansOfNumbers(std::vector<float>& numbers, uint32_t k, uint32_t iterations, float* levels) {
  std::sort(numbers.begin(), numbers.end());
  std::vector<double> sums(numbers.size() + 1, 0.0);
  for (size_t i = 0; i < numbers.size(); i++) sums[i + 1] = sums[i] + numbers[i];
  for (uint32_t c = 0; c < k; c++) levels[c] = numbers[(2 * size_t{c} + 1) * numbers.size() / (2 * k)];
  for (uint32_t round = 0; round < iterations; round++) {
    size_t from = 0;
    bool moved = false;
    for (uint32_t c = 0; c < k; c++) {
      size_t to = numbers.size();
      if (c + 1 < k) {
        const float middle = 0.5f * (levels[c] + levels[c + 1]);
        to = static_cast<size_t>(std::upper_bound(numbers.begin(), numbers.end(), middle) - numbers.begin());
      }
      if (to > from) {
        const float level = static_cast<float>((sums[to] - sums[from]) / static_cast<double>(to - from));
        moved |= level != levels[c];
        levels[c] = level;
        from = to;
      }
    }
    if (!moved) break;
  }
}

}  // namespace hebb
