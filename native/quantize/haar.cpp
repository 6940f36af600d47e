#include "haar.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "../gnn/products.hpp"
#include "kernel.hpp"

namespace hebb {

namespace {

// Rows that are made orthogonal to all before them in one product, which reads those once for all.
constexpr uint32_t kTogether = 32;

// Takes from `count` rows what they have of `others` orthonormal rows.
void project(float* rows, uint32_t count, const float* others, uint32_t otherCount, uint32_t n,
             std::vector<float>* shares, std::vector<float>* along) {
  if (otherCount == 0) return;
  const auto& products = gnn::products<float>();
  shares->resize(uint64_t(count) * otherCount);
  along->resize(uint64_t(count) * n);
  products.abt(rows, n, others, n, shares->data(), otherCount, count, otherCount, n);
  products.ab(shares->data(), otherCount, others, n, along->data(), n, count, n, otherCount, false);
  for (uint64_t j = 0; j < uint64_t(count) * n; j++) rows[j] -= (*along)[j];
}

}  // namespace

// Gram-Schmidt, twice: what rounding leaves of other rows after the first pass, the second takes away ("twice is
// enough", Giraud, Langou & Rozloznik 2005). Of the last of n rows about one normal number is outside the span of the
// others, which is below 1e-3 once in a thousand seeds, and still a hundred times what rounding is.
void drawHaar(uint32_t rows, uint32_t n, Rng rng, float* out) {
  std::vector<float> shares, along;
  for (uint64_t j = 0; j < uint64_t(rows) * n; j++) out[j] = static_cast<float>(rng.gaussian());
  for (uint32_t from = 0; from < rows; from += kTogether) {
    const uint32_t count = std::min(kTogether, rows - from);
    float* const block = out + uint64_t(from) * n;
    for (uint32_t pass = 0; pass < 2; pass++) {
      project(block, count, out, from, n, &shares, &along);
      for (uint32_t i = 0; i < count; i++) {
        float* const row = block + uint64_t(i) * n;
        project(row, 1, block, i, n, &shares, &along);
        const float inverse = 1.0f / std::sqrt(kernel->dot(row, row, n));
        for (uint32_t j = 0; j < n; j++) row[j] *= inverse;
      }
    }
  }
}

void applyHaar(const float* haar, uint32_t rows, uint32_t n, const float* in, float* out) {
  gnn::products<float>().ab(in, rows, haar, n, out, n, 1, n, rows, false);
}

}  // namespace hebb
