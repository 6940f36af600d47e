// Tier archive by product quantization (Jegou et al. 2011), in the plain frame: each subvector, a run of neighbouring
// dimensions, is the nearest of up to 256 centroids of its own.
#include <algorithm>
#include <cstring>

#include "codecs.hpp"
#include "kernel.hpp"
#include "kmeans.hpp"
#include "mix.hpp"

namespace hebb {
namespace {

// Points of a subvector's k-means, of which each subvector takes others.
constexpr uint32_t kPoints = 16384;
// Values that copying in eights may read past the last centroid. The last of them is what records without factors lose.
constexpr uint32_t kBehind = 16;
constexpr uint32_t kMeasured = 1024;  // points by which that is measured

// The first dimension of subvector s of `subvectors`.
uint32_t startOf(uint32_t d, uint32_t subvectors, uint32_t s) {
  return static_cast<uint32_t>(uint64_t{d} * s / subvectors);
}

class ProductCodec final : public ResidualCodec {
 public:
  ProductCodec(const Origin& origin, const Part& part, const float* centroids)
      : ResidualCodec(origin, false, part.factoring, part.recordBytes),
        centroids_(centroids),
        count_(part.head.count),
        lost_(centroids[size_t{count_} * origin.dimensions + kBehind - 1]),
        nearest_(part.head.parts) {
    for (uint32_t s = 0; s <= part.head.parts; s++) starts_.push_back(startOf(origin.dimensions, part.head.parts, s));
    for (uint32_t s = 0; s < part.head.parts; s++) {
      nearest_[s] = Nearest(centroids + size_t{count_} * starts_[s], count_, starts_[s + 1] - starts_[s]);
      widest_ = std::max(widest_, starts_[s + 1] - starts_[s]);
    }
  }

  const char* name() const override { return "product"; }
  float lost() const override { return lost_; }

 private:
  void code(const float* z, CodecRoom&, uint8_t* code) const override {
    std::memset(code, 0, codeBytes());
    for (size_t s = 0; s < nearest_.size(); s++) code[s] = static_cast<uint8_t>(nearest_[s].of(z + starts_[s]));
  }

  bool expand(const uint8_t* code, float, CodecRoom&, float* out) const override {
    const size_t subvectors = nearest_.size();
    for (size_t s = 0; s < subvectors; s++) {
      if (code[s] >= count_) return false;
    }
    for (size_t s = 0; s < subvectors; s++) {
      const uint32_t n = starts_[s + 1] - starts_[s];
      const float* const centroid = centroids_ + size_t{count_} * starts_[s] + code[s] * n;
      float* const to = out + starts_[s];
      if (widest_ <= 8) {  // the next one overwrites what is too much
        std::memcpy(to, centroid, 8 * sizeof(float));
      } else if (widest_ <= 16) {
        std::memcpy(to, centroid, 16 * sizeof(float));
      } else {
        std::memcpy(to, centroid, n * sizeof(float));
      }
    }
    return true;
  }

  const float* centroids_;
  uint32_t count_, widest_ = 0;
  float lost_;
  std::vector<uint32_t> starts_;
  std::vector<Nearest> nearest_;
};

}  // namespace

Trained trainProduct(const Origin& origin, const Sample& sample, uint32_t subvectors, Factored factored) {
  const uint32_t d = origin.dimensions, k = sample.options.centroids8;
  const uint32_t count = std::min(sample.size(), kPoints);
  std::vector<float> centroids(size_t{k} * d + kBehind);
  std::vector<double> squares(subvectors);
  sample.each(subvectors, [&](uint32_t s) {
    const uint32_t from = startOf(d, subvectors, s), n = startOf(d, subvectors, s + 1) - from;
    const uint64_t seed = mix(sample.options.seed ^ mix(s + 1));
    std::vector<float> points(size_t{count} * n);
    const uint32_t first = static_cast<uint32_t>(seed % sample.size());
    for (uint32_t i = 0; i < count; i++)
      sample.slice(origin, (first + i) % sample.size(), from, n, points.data() + size_t{i} * n);
    kmeans(points.data(), count, n, k, sample.options.iterations, seed, centroids.data() + size_t{k} * from);
    if (factored != Factored::kNone) return;
    const Nearest nearest(centroids.data() + size_t{k} * from, k, n);
    for (uint32_t i = 0; i < std::min(count, kMeasured); i++) {
      const float* const point = points.data() + size_t{i} * n;
      squares[s] += kernel->l2(point, centroids.data() + size_t{k} * from + size_t{nearest.of(point)} * n, n);
    }
  });
  double lost = 0;
  for (const double each : squares) lost += each / std::min(count, kMeasured);
  centroids.back() = static_cast<float>(lost);
  Trained out{Kind::kProduct, factored, k, subvectors, {}};
  append(out.body, centroids.data(), centroids.size() * sizeof(float));
  return out;
}

std::unique_ptr<ResidualCodec> openProduct(const Origin& origin, const Part& part) {
  const Factored factored = part.factoring.factored;
  const uint32_t k = part.head.count, subvectors = part.head.parts;
  const size_t values = size_t{k} * origin.dimensions + kBehind;
  if (k < 2 || k > 256 || subvectors == 0 || subvectors > origin.dimensions || part.size < values * sizeof(float) ||
      (factored != Factored::kNone && factored != Factored::kLong) ||
      part.recordBytes < subvectors + factorBytes(factored))
    return nullptr;
  const float* const centroids = reinterpret_cast<const float*>(part.body);
  if (!allFinite(centroids, values)) return nullptr;
  return std::make_unique<ProductCodec>(origin, part, centroids);
}

}  // namespace hebb
