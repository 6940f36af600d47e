// Products of matrices, row after row in memory, and the optimizers' loops: where all the time of the network goes.
//
// Single precision is compiled once per instruction set (products.inl) and gives the same bits on each, for
// any tile that a caller cuts out of a product: each element has its own fixed order of summation, and no
// product is fused into a sum. Double precision, which serves checks, is plain C++ (products.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace hebb::gnn {

// An element of out = a b^T is a sum in 16 lanes, of those k that are equal modulo 16 in order, folded in a fixed tree;
// one of out = a b or a^T b is a sum in the order of k.
template <typename T>
struct Products {
  // out (m x n, rows at stride ldo) = a (m x k) b^T (b: n x k).
  void (*abt)(const T* a, size_t lda, const T* b, size_t ldb, T* out, size_t ldo, size_t m, size_t n, size_t k);

  // As abt, with b in half precision, all finite; the same bits as with b widened. Null for double.
  void (*abtHalf)(const T* a, size_t lda, const uint16_t* b, size_t ldb, T* out, size_t ldo, size_t m, size_t n,
                  size_t k);

  // out (m x n) = a (m x k) b (k x n), on top of what is in `out` where `add`.
  void (*ab)(const T* a, size_t lda, const T* b, size_t ldb, T* out, size_t ldo, size_t m, size_t n, size_t k,
             bool add);

  // out (m x n) = sum over r = rows[0..count) of a_r^T b_r, a_r having m values and b_r n. Other rows are not read.
  void (*atb)(const T* a, size_t lda, const T* b, size_t ldb, T* out, size_t ldo, size_t m, size_t n,
              const uint32_t* rows, size_t count);

  // Sum of a_i b_i, in lanes.
  T (*dot)(const T* a, const T* b, size_t n);

  // Squared Euclidean distance, in lanes.
  T (*l2)(const T* a, const T* b, size_t n);
};

// One step of Adam (Kingma & Ba 2015) with decoupled decay (AdamW, Loshchilov & Hutter 2019), with
// rate = learning rate / (1 - beta1^t), unbias = 1 / (1 - beta2^t), keep = 1 - learning rate x decay:
//   m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; x = keep x - rate m / (sqrt(v unbias) + epsilon)
struct AdamFactors {
  float beta1, rest1, beta2, rest2, unbias, rate, epsilon, keep;
};

struct FloatLoops {
  const char* name;
  Products<float> products;  // dot and l2 empty: they are the kernel's
  void (*adam)(float* x, const float* g, float* m, float* v, size_t n, const AdamFactors& f);
};

extern const FloatLoops kScalarLoops;
#if defined(__x86_64__)
extern const FloatLoops kAvx2Loops;
extern const FloatLoops kAvx512Loops;
#elif defined(__aarch64__)
extern const FloatLoops kNeonLoops;
#endif

// The loops of the instruction set that hebb::kernel runs on.
const FloatLoops& floatLoops();

template <typename T>
const Products<T>& products();

}  // namespace hebb::gnn
