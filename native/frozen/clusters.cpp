#include "clusters.hpp"

#include <algorithm>
#include <cfloat>

#include "../gnn/products.hpp"
#include "kernel.hpp"

namespace hebb {
namespace {

// Points among which seeds are looked for, and rounds of refinement: more of either did not change how many codes a
// query looks at.
constexpr uint32_t kSeedPoints = 4096;
constexpr uint32_t kRounds = 4;

// Each seed is a point, drawn by its squared distance from the nearest seed so far. Fewer than `count` where there are
// no more different points.
std::vector<float> drawSeeds(const std::vector<float>& points, uint32_t d, uint32_t count, Rng& rng) {
  const uint32_t n = static_cast<uint32_t>(points.size() / d), among = std::min(n, std::max(kSeedPoints, count));
  const auto point = [&](uint32_t i) { return points.data() + uint64_t(i) * n / among * d; };
  std::vector<float> distances(among, FLT_MAX), seeds;
  uint32_t drawn = static_cast<uint32_t>(rng.uniform() * among);
  for (uint32_t c = 0; c < count; c++) {
    seeds.insert(seeds.end(), point(drawn), point(drawn) + d);
    double total = 0;
    for (uint32_t i = 0; i < among; i++) {
      if (distances[i] > 0) distances[i] = std::min(distances[i], kernel->l2(point(i), point(drawn), d));
      total += distances[i];
    }
    if (!(total > 0)) break;
    double left = rng.uniform() * total;
    drawn = 0;
    while (drawn + 1 < among && (left -= distances[drawn]) >= 0) drawn++;
  }
  return seeds;
}

}  // namespace

Centres::Centres(const float* centres, uint32_t count, uint32_t dimensions)
    : count_(count),
      dimensions_(dimensions),
      padded_((count + 15) / 16 * 16),
      centres_(centres, centres + uint64_t(count) * dimensions),
      columns_(uint64_t(padded_) * dimensions),
      halves_(padded_, -FLT_MAX) {
  for (uint32_t c = 0; c < count; c++) {
    const float* centre = (*this)[c];
    halves_[c] = -0.5f * kernel->dot(centre, centre, dimensions);
    for (uint32_t j = 0; j < dimensions; j++) columns_[uint64_t(j) * padded_ + c] = centre[j];
  }
}

// |x - c|^2 is least where <x, c> - |c|^2 / 2 is greatest.
void Centres::nearest(const float* points, uint32_t count, std::vector<float>* room, uint32_t* out) const {
  room->resize(uint64_t(count) * padded_);
  for (uint32_t i = 0; i < count; i++) std::copy(halves_.begin(), halves_.end(), room->begin() + uint64_t(i) * padded_);
  gnn::products<float>().ab(points, dimensions_, columns_.data(), padded_, room->data(), padded_, count, padded_,
                            dimensions_, true);
  for (uint32_t i = 0; i < count; i++) {
    const float* scores = room->data() + uint64_t(i) * padded_;
    float best[16];
    std::copy(scores, scores + 16, best);
    for (uint32_t c = 16; c < padded_; c += 16) {
      for (uint32_t l = 0; l < 16; l++) best[l] = scores[c + l] > best[l] ? scores[c + l] : best[l];
    }
    const float greatest = *std::max_element(best, best + 16);
    out[i] = static_cast<uint32_t>(std::find(scores, scores + padded_, greatest) - scores);
    if (out[i] >= count_) out[i] = 0;  // lengths that a float cannot hold the square of
  }
}

Centres findCentres(const std::vector<float>& points, uint32_t dimensions, uint32_t count, Rng rng, gnn::Crew& crew) {
  const uint32_t d = dimensions, n = static_cast<uint32_t>(points.size() / d);
  std::vector<float> centres = drawSeeds(points, d, count, rng);
  const uint32_t k = static_cast<uint32_t>(centres.size() / d),
                 pieces = (n + Centres::kTogether - 1) / Centres::kTogether;
  std::vector<uint32_t> of(n);
  for (uint32_t round = 0; round < kRounds; round++) {
    const Centres now(centres.data(), k, d);
    crew.run(pieces, uint64_t(n) * k * d, [&](size_t piece) {
      thread_local std::vector<float> room;
      const uint32_t from = static_cast<uint32_t>(piece) * Centres::kTogether;
      now.nearest(points.data() + uint64_t(from) * d, std::min(n - from, Centres::kTogether), &room, of.data() + from);
    });
    // Members in their order, so that sums have one order whoever adds them up.
    std::vector<uint32_t> ends(k + 1, 0), members(n);
    for (const uint32_t c : of) ends[c + 1]++;
    for (uint32_t c = 0; c < k; c++) ends[c + 1] += ends[c];
    std::vector<uint32_t> next(ends.begin(), ends.end() - 1);
    for (uint32_t i = 0; i < n; i++) members[next[of[i]]++] = i;
    crew.run(k, uint64_t(n) * d, [&](size_t c) {
      if (ends[c] == ends[c + 1]) return;
      std::vector<double> sums(d, 0.0);
      for (uint32_t m = ends[c]; m < ends[c + 1]; m++) {
        const float* point = points.data() + uint64_t(members[m]) * d;
        for (uint32_t j = 0; j < d; j++) sums[j] += point[j];
      }
      for (uint32_t j = 0; j < d; j++) centres[c * d + j] = static_cast<float>(sums[j] / (ends[c + 1] - ends[c]));
    });
  }
  return Centres(centres.data(), k, d);
}

}  // namespace hebb
