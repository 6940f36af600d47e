// Chooses the loops; those of double precision.
#include "products.hpp"

#include "kernel.hpp"

namespace hebb::gnn {

const FloatLoops& floatLoops() {
#if defined(__x86_64__)
  if (kernel == &kAvx512) return kAvx512Loops;
  if (kernel == &kAvx2) return kAvx2Loops;
#elif defined(__aarch64__)
  if (kernel == &kNeon) return kNeonLoops;
#endif
  return kScalarLoops;
}

template <>
const Products<float>& products<float>() {
  static const Products<float> chosen = [] {
    Products<float> of = floatLoops().products;
    of.dot = kernel->dot;
    of.l2 = kernel->l2;
    return of;
  }();
  return chosen;
}

namespace {

void abt(const double* a, size_t lda, const double* b, size_t ldb, double* out, size_t ldo, size_t m, size_t n,
         size_t k) {
  for (size_t i = 0; i < m; i++) {
    for (size_t j = 0; j < n; j++) {
      double sum = 0;
      for (size_t l = 0; l < k; l++) sum += a[i * lda + l] * b[j * ldb + l];
      out[i * ldo + j] = sum;
    }
  }
}

void ab(const double* a, size_t lda, const double* b, size_t ldb, double* out, size_t ldo, size_t m, size_t n, size_t k,
        bool add) {
  for (size_t i = 0; i < m; i++) {
    for (size_t j = 0; j < n && !add; j++) out[i * ldo + j] = 0;
    for (size_t l = 0; l < k; l++)
      for (size_t j = 0; j < n; j++) out[i * ldo + j] += a[i * lda + l] * b[l * ldb + j];
  }
}

void atb(const double* a, size_t lda, const double* b, size_t ldb, double* out, size_t ldo, size_t m, size_t n,
         const uint32_t* rows, size_t count) {
  for (size_t i = 0; i < m; i++) {
    for (size_t j = 0; j < n; j++) out[i * ldo + j] = 0;
    for (size_t l = 0; l < count; l++)
      for (size_t j = 0; j < n; j++) out[i * ldo + j] += a[rows[l] * lda + i] * b[rows[l] * ldb + j];
  }
}

double dot(const double* a, const double* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

double l2(const double* a, const double* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

}  // namespace

template <>
const Products<double>& products<double>() {
  static constexpr Products<double> kPlain = {abt, nullptr, ab, atb, dot, l2};
  return kPlain;
}

}  // namespace hebb::gnn
