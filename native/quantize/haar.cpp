#include "haar.hpp"

#include <cmath>
#include <vector>

#include "../gnn/products.hpp"
#include "kernel.hpp"

namespace hebb {

// Gram-Schmidt against all earlier rows at once, twice: what rounding leaves of them after the first pass, the second
// takes away ("twice is enough", Giraud, Langou & Rozloznik 2005). Of the last of n rows about one normal number is
// outside the span of the others, which is below 1e-3 once in a thousand seeds, and still a hundred times what rounding
// is.
void drawHaar(uint32_t rows, uint32_t n, Rng rng, float* out) {
  const auto& products = gnn::products<float>();
  std::vector<float> shares(rows), along(n);
  for (uint32_t i = 0; i < rows; i++) {
    float* const row = out + uint64_t(i) * n;
    for (uint32_t j = 0; j < n; j++) row[j] = static_cast<float>(rng.gaussian());
    for (uint32_t pass = 0; pass < 2; pass++) {
      if (i > 0) {
        products.abt(row, n, out, n, shares.data(), i, 1, i, n);
        products.ab(shares.data(), i, out, n, along.data(), n, 1, n, i, false);
        for (uint32_t j = 0; j < n; j++) row[j] -= along[j];
      }
      const float inverse = 1.0f / std::sqrt(kernel->dot(row, row, n));
      for (uint32_t j = 0; j < n; j++) row[j] *= inverse;
    }
  }
}

void applyHaar(const float* haar, uint32_t rows, uint32_t n, const float* in, float* out) {
  gnn::products<float>().ab(in, rows, haar, n, out, n, 1, n, rows, false);
}

}  // namespace hebb
