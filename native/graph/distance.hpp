// Distances between a query and nodes, by metric; smaller is nearer.
#pragma once

#include <type_traits>

#include "graph.hpp"
#include "kernel.hpp"

namespace hebb {

template <Metric M>
inline float Graph::distanceTo(const float* q, uint32_t node) const {
  const float* v = raw(node);
  if constexpr (M == Metric::kL2) return kernel->l2(q, v, options_.dimensions);
  const float product = kernel->dot(q, v, options_.dimensions);
  if constexpr (M == Metric::kDot) return -product;
  return 1.0f - product * v[options_.dimensions];
}

// The distance where it is at most `bound`, else anything greater than it.
template <Metric M>
inline float Graph::distanceWithin(const float* q, uint32_t node, float bound) const {
  if constexpr (M == Metric::kL2) return kernel->l2Within(q, raw(node), options_.dimensions, bound);
  return distanceTo<M>(q, node);
}

template <Metric M>
inline bool Graph::measure(const float* q, uint32_t node, float bound, Scratch& s, float* out) {
  if (!s.originals && tiers_.compressed()) [[unlikely]]
    return measureByTier<M>(q, node, s, out);
  if (!ensureVector(node)) return false;
  *out = bound == __builtin_huge_valf() ? distanceTo<M>(q, node) : distanceWithin<M>(q, node, bound);
  return true;
}

inline void prefetchLines(const void* p, uint32_t lines) {
  const char* at = static_cast<const char*>(p);
  for (uint32_t i = 0; i < lines; i++) __builtin_prefetch(at + 64 * i);
}

inline void Graph::prefetchVector(uint32_t node, uint32_t lines) const {
  if (!tiers_.compressed() && options_.keepOriginals) [[likely]] {
    prefetchLines(raw(node), lines);
    return;
  }
  const Where w = tiers_.where(node);
  if (w.slot == 0) prefetchLines(region_->base(kVectors) + node * vectorStride_, lines);
  else if (w.tier < kTiers) prefetchLines(tiers_.address(w), lines);
}

// The distance of two nodes where it is below `bound`, else anything not below it.
template <Metric M>
inline float Graph::between(uint32_t a, uint32_t b, float bound) const {
  const float *v = raw(a), *w = raw(b);
  const uint32_t d = options_.dimensions;
  if constexpr (M == Metric::kL2) return kernel->l2Within(v, w, d, bound);
  const float product = kernel->dot(v, w, d);
  if constexpr (M == Metric::kDot) return -product;
  return 1.0f - product * v[d] * w[d];
}

template <Metric M>
inline float Graph::apart(uint32_t a, uint32_t b, float bound) const {
  if (atHand_.steps.empty() || !atHand_.has(a) || !atHand_.has(b)) return between<M>(a, b, bound);
  const uint64_t size = space_->size(), i = atHand_.at[a], j = atHand_.at[b];
  const float s = atHand_.steps[i], t = atHand_.steps[j];
  const int32_t product = kernel->dotBytes(atHand_.bytes.get() + i * size, atHand_.bytes.get() + j * size, size);
  const float square = atHand_.squares[i] + atHand_.squares[j] - 2 * s * t * static_cast<float>(product);
  // What rounding adds on average, and cancellation: where the distance is no more than some of that, it is taken anew.
  constexpr float kTimes = 16, kCancelled = 1e-5f;
  const float rounding = static_cast<float>(size) * (s * s + t * t) / 12;
  if (!(square > kTimes * rounding + kCancelled * (atHand_.squares[i] + atHand_.squares[j])) || s == 0 || t == 0)
    return between<M>(a, b, bound);
  return M == Metric::kL2 ? square : 0.5f * square;
}

// Calls fn with the metric as a compile-time constant.
template <typename Fn>
inline auto byMetric(Metric metric, Fn fn) {
  switch (metric) {
    case Metric::kL2:
      return fn(std::integral_constant<Metric, Metric::kL2>());
    case Metric::kDot:
      return fn(std::integral_constant<Metric, Metric::kDot>());
    default:
      return fn(std::integral_constant<Metric, Metric::kCosine>());
  }
}

}  // namespace hebb
