// A rotation drawn evenly from all there are (Haar's measure): Gaussian rows made orthonormal, which is the Q of their
// QR decomposition with a positive diagonal in R (Mezzadri 2007, math-ph/0609050). It takes d^3
// products to draw, d^2 to apply and d^2 values to keep, where the fast kind (rotation.hpp) takes d log d; RaBitQ's
// bounds are proved for this one.
#pragma once

#include <cstdint>

#include "rng.hpp"

namespace hebb {

// `rows` orthonormal rows of n values each, rows <= n: row i is where the i-th unit vector goes.
void drawHaar(uint32_t rows, uint32_t n, Rng rng, float* out);

// out = sum of in[i] row i: n values.
void applyHaar(const float* haar, uint32_t rows, uint32_t n, const float* in, float* out);

}  // namespace hebb
