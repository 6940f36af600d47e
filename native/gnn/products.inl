// The loops of products.hpp, written once over 16 lanes as native/simd/operations.inl is, whose rules hold here too: no
// library templates. Who includes this defines HEBB_LOOPS_NAME, HEBB_LOOPS_SYMBOL, HEBB_REGISTER_BYTES,
// HEBB_TILE_ROWS (rows of a that a tile of a b^T takes), Quad (a register of four floats), quarter() (16 lanes to 4: 8
// apart added up, then 4 apart), HEBB_HOLD() (keeps a value in a register, which g++ 12 else loads again
// for each use), sums() (four Quads to their sums: 2 apart, then 1) and squareRoot() (of a
// Register) and widened() (halves, all finite, to a Register).

namespace {

// ---------------------------------------------------------------- a b^T

// Sixteen values of k of one tile, RA rows of a with RB rows of b.
template <size_t RA, size_t RB>
[[gnu::always_inline]] inline void sixteen(Register (&sum)[kRegisters][RA][RB], const float* a, size_t lda,
                                           const float* b, size_t ldb) {
#pragma GCC unroll 4
  for (size_t r = 0; r < kRegisters; r++) {
    Register y[RB];
#pragma GCC unroll 4
    for (size_t q = 0; q < RB; q++) {
      y[q] = *reinterpret_cast<const Register*>(b + q * ldb + r * kRegisterLanes);
      HEBB_HOLD(y[q]);
    }
#pragma GCC unroll 4
    for (size_t p = 0; p < RA; p++) {
      Register x = *reinterpret_cast<const Register*>(a + p * lda + r * kRegisterLanes);
      HEBB_HOLD(x);
#pragma GCC unroll 4
      for (size_t q = 0; q < RB; q++) sum[r][p][q] += x * y[q];
    }
  }
}

// RA x RB is a multiple of 4.
template <size_t RA, size_t RB>
[[gnu::always_inline]] inline void tileAbt(const float* a, size_t lda, const float* b, size_t ldb, float* out,
                                           size_t ldo, size_t k) {
  Register sum[kRegisters][RA][RB];
#pragma GCC unroll 4
  for (size_t r = 0; r < kRegisters; r++)
#pragma GCC unroll 4
    for (size_t p = 0; p < RA; p++)
#pragma GCC unroll 4
      for (size_t q = 0; q < RB; q++) sum[r][p][q] = Register{};
  size_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    if (RA == 1)  // little is done with each row of b: those after these had better be on their way
      for (size_t q = 0; q < RB; q++) __builtin_prefetch(b + (q + RB) * ldb + i);
    sixteen<RA, RB>(sum, a + i, lda, b + i, ldb);
  }
  if (i < k) {
    float ends[RA + RB][kLanes] = {};
    for (size_t j = i; j < k; j++) {
      for (size_t p = 0; p < RA; p++) ends[p][j - i] = a[p * lda + j];
      for (size_t q = 0; q < RB; q++) ends[RA + q][j - i] = b[q * ldb + j];
    }
    sixteen<RA, RB>(sum, ends[0], kLanes, ends[RA], kLanes);
  }
  Quad four[RA * RB];
#pragma GCC unroll 8
  for (size_t t = 0; t < RA * RB; t++) {
    Lanes lanes;
#pragma GCC unroll 4
    for (size_t r = 0; r < kRegisters; r++) lanes.of[r] = sum[r][t / RB][t % RB];
    four[t] = quarter(lanes);
  }
  float folded[RA * RB];
#pragma GCC unroll 2
  for (size_t t = 0; t < RA * RB; t += 4) {
    const Quad done = sums(four[t], four[t + 1], four[t + 2], four[t + 3]);
    __builtin_memcpy(folded + t, &done, sizeof done);
  }
#pragma GCC unroll 4
  for (size_t p = 0; p < RA; p++)
#pragma GCC unroll 4
    for (size_t q = 0; q < RB; q++) out[p * ldo + q] = folded[p * RB + q];
}

// What does not fill a tile: one element.
inline float elementAbt(const float* a, const float* b, size_t k) {
  Lanes sum;
  size_t i = 0;
  const auto add = [&](const Lanes& x, const Lanes& y) {
    for (size_t r = 0; r < kRegisters; r++) sum.of[r] += x.of[r] * y.of[r];
  };
  for (; i + kLanes <= k; i += kLanes) add(load(a + i), load(b + i));
  if (i < k) add(loadTail(a + i, k - i), loadTail(b + i, k - i));
  const Quad none = {};
  const Quad four = sums(quarter(sum), none, none, none);
  float first[4];
  __builtin_memcpy(first, &four, sizeof four);
  return first[0];
}

// Rows that are shorter than this are copied before they are used many times: half of the loads of an array that does
// not begin at a cache line cross one.
constexpr size_t kShort = 256;

inline void copyRows(const float* from, size_t stride, size_t rows, size_t k, float* to, size_t width) {
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < k; i++) to[r * width + i] = from[r * stride + i];
}

void abt(const float* a, size_t lda, const float* b, size_t ldb, float* out, size_t ldo, size_t m, size_t n, size_t k) {
  constexpr size_t kRows = HEBB_TILE_ROWS, kColumns = 4 / (kRows < 4 ? kRows : 2);
  constexpr size_t kFloats = 4096;  // rows of b that stay in the first cache while all of a passes by
  size_t block = kFloats / (k ? k : 1);
  block = block < 16 ? 16 : block / 4 * 4;  // long rows come from the second cache, those of a stay
  alignas(64) float someA[kRows * kShort], someB[kFloats];
  const size_t width = (k + kLanes - 1) / kLanes * kLanes;
  const bool copied = k <= kShort && m >= 8 && block * width <= kFloats;
  for (size_t from = 0; from < n; from += block) {
    const size_t to = n - from < block ? n : from + block;
    const float* bs = copied ? someB : b + from * ldb;
    const size_t strideB = copied ? width : ldb;
    if (copied) copyRows(b + from * ldb, ldb, to - from, k, someB, width);
    size_t i = 0;
    for (; i + kRows <= m; i += kRows) {
      const float* as = copied ? someA : a + i * lda;
      const size_t strideA = copied ? width : lda;
      if (copied) copyRows(a + i * lda, lda, kRows, k, someA, width);
      size_t j = from;
      for (; j + kColumns <= to; j += kColumns)
        tileAbt<kRows, kColumns>(as, strideA, bs + (j - from) * strideB, strideB, out + i * ldo + j, ldo, k);
      for (; j < to; j++)
        for (size_t p = 0; p < kRows; p++)
          out[(i + p) * ldo + j] = elementAbt(as + p * strideA, bs + (j - from) * strideB, k);
    }
    for (; i < m; i++) {
      size_t j = from;
      for (; j + 4 <= to; j += 4) tileAbt<1, 4>(a + i * lda, lda, b + j * ldb, ldb, out + i * ldo + j, ldo, k);
      for (; j < to; j++) out[i * ldo + j] = elementAbt(a + i * lda, b + j * ldb, k);
    }
  }
}

// One row of a with four of b: what a product with few rows waits for is memory, which halves take half of.
inline Quad fourHalves(const float* a, const uint16_t* b, size_t ldb, size_t k) {
  Lanes sum[4];
  size_t i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    for (size_t q = 0; q < 4; q++) __builtin_prefetch(b + (q + 4) * ldb + i);  // the rows after these
    for (size_t r = 0; r < kRegisters; r++) {
      const Register x = *reinterpret_cast<const Register*>(a + i + r * kRegisterLanes);
      for (size_t q = 0; q < 4; q++) sum[q].of[r] += x * widened(b + q * ldb + i + r * kRegisterLanes);
    }
  }
  if (i < k) {
    const Lanes x = loadTail(a + i, k - i);
    for (size_t q = 0; q < 4; q++) {
      uint16_t end[kLanes] = {};
      for (size_t j = i; j < k; j++) end[j - i] = b[q * ldb + j];
      for (size_t r = 0; r < kRegisters; r++) sum[q].of[r] += x.of[r] * widened(end + r * kRegisterLanes);
    }
  }
  return sums(quarter(sum[0]), quarter(sum[1]), quarter(sum[2]), quarter(sum[3]));
}

void abtHalf(const float* a, size_t lda, const uint16_t* b, size_t ldb, float* out, size_t ldo, size_t m, size_t n,
             size_t k) {
  for (size_t j = 0; j < n; j += 4) {
    const bool all = n - j >= 4;
    for (size_t i = 0; i < m; i++) {
      if (all) {
        const Quad four = fourHalves(a + i * lda, b + j * ldb, ldb, k);
        __builtin_memcpy(out + i * ldo + j, &four, sizeof four);
        continue;
      }
      for (size_t l = j; l < n; l++) {  // the same row four times
        const Quad four = fourHalves(a + i * lda, b + l * ldb, 0, k);
        __builtin_memcpy(out + i * ldo + l, &four, sizeof(float));
      }
    }
  }
}

// ---------------------------------------------------------------- a b and a^T b

constexpr size_t kDeep = 128;  // values of k that a panel of b holds
constexpr size_t kTall = 6;    // rows of a tile

// R rows of out with one panel of 16 columns: out += sum over k of a_(rk) panel_k; a_(rk) is a[r * across + down[k]].
template <size_t R>
inline void tileAb(const float* a, size_t across, const size_t* down, const float* panel, size_t deep, float* out,
                   size_t ldo) {
  Lanes sum[R];
  for (size_t r = 0; r < R; r++) sum[r] = load(out + r * ldo);
  for (size_t k = 0; k < deep; k++) {
    const Lanes row = load(panel + k * kLanes);
    const float* at = a + down[k];
    for (size_t r = 0; r < R; r++) {
      const float x = at[r * across];
      for (size_t i = 0; i < kRegisters; i++) sum[r].of[i] += x * row.of[i];
    }
  }
  for (size_t r = 0; r < R; r++)
    for (size_t i = 0; i < kRegisters; i++)
      *reinterpret_cast<Register*>(out + r * ldo + i * kRegisterLanes) = sum[r].of[i];
}

inline void tileAb(size_t rows, const float* a, size_t across, const size_t* down, const float* panel, size_t deep,
                   float* out, size_t ldo) {
  switch (rows) {
    case 1:
      return tileAb<1>(a, across, down, panel, deep, out, ldo);
    case 2:
      return tileAb<2>(a, across, down, panel, deep, out, ldo);
    case 3:
      return tileAb<3>(a, across, down, panel, deep, out, ldo);
    case 4:
      return tileAb<4>(a, across, down, panel, deep, out, ldo);
    case 5:
      return tileAb<5>(a, across, down, panel, deep, out, ldo);
    default:
      return tileAb<6>(a, across, down, panel, deep, out, ldo);
  }
}

// Both products: row k of b is rows[k] where there are rows; a_(ik) is a[i * across + that row * down].
inline void panels(const float* a, size_t across, size_t down, const float* b, size_t ldb, float* out, size_t ldo,
                   size_t m, size_t n, const uint32_t* rows, size_t count, bool add) {
  if (!add)
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) out[i * ldo + j] = 0;
  float panel[kDeep * kLanes], partial[kTall * kLanes];
  size_t steps[kDeep];
  for (size_t from = 0; from < count; from += kDeep) {
    const size_t deep = count - from < kDeep ? count - from : kDeep;
    for (size_t k = 0; k < deep; k++) steps[k] = (rows ? rows[from + k] : from + k) * down;
    for (size_t j = 0; j < n; j += kLanes) {
      const size_t wide = n - j < kLanes ? n - j : kLanes;
      for (size_t k = 0; k < deep; k++) {
        const float* at = b + (rows ? rows[from + k] : from + k) * ldb + j;
        const Lanes row = wide == kLanes ? load(at) : loadTail(at, wide);
        for (size_t r = 0; r < kRegisters; r++)
          *reinterpret_cast<Register*>(panel + k * kLanes + r * kRegisterLanes) = row.of[r];
      }
      for (size_t i = 0; i < m; i += kTall) {
        const size_t tall = m - i < kTall ? m - i : kTall;
        const float* at = a + i * across;
        if (wide == kLanes) {
          tileAb(tall, at, across, steps, panel, deep, out + i * ldo + j, ldo);
          continue;
        }
        for (size_t r = 0; r < tall; r++)
          for (size_t c = 0; c < kLanes; c++) partial[r * kLanes + c] = c < wide ? out[(i + r) * ldo + j + c] : 0;
        tileAb(tall, at, across, steps, panel, deep, partial, kLanes);
        for (size_t r = 0; r < tall; r++)
          for (size_t c = 0; c < wide; c++) out[(i + r) * ldo + j + c] = partial[r * kLanes + c];
      }
    }
  }
}

void ab(const float* a, size_t lda, const float* b, size_t ldb, float* out, size_t ldo, size_t m, size_t n, size_t k,
        bool add) {
  panels(a, lda, 1, b, ldb, out, ldo, m, n, nullptr, k, add);
}

void atb(const float* a, size_t lda, const float* b, size_t ldb, float* out, size_t ldo, size_t m, size_t n,
         const uint32_t* rows, size_t count) {
  panels(a, 1, lda, b, ldb, out, ldo, m, n, rows, count, false);
}

// ---------------------------------------------------------------- Adam

inline void adamLanes(float* x, const float* g, float* m, float* v, const hebb::gnn::AdamFactors& f) {
  for (size_t r = 0; r < kLanes; r += kRegisterLanes) {
    const Register step = *reinterpret_cast<const Register*>(g + r);
    Register& first = *reinterpret_cast<Register*>(m + r);
    Register& second = *reinterpret_cast<Register*>(v + r);
    Register& value = *reinterpret_cast<Register*>(x + r);
    first = f.beta1 * first + f.rest1 * step;
    second = f.beta2 * second + f.rest2 * (step * step);
    value = f.keep * value - f.rate * first / (squareRoot(second * f.unbias) + f.epsilon);
  }
}

void adam(float* x, const float* g, float* m, float* v, size_t n, const hebb::gnn::AdamFactors& f) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) adamLanes(x + i, g + i, m + i, v + i, f);
  if (i == n) return;
  float end[4][kLanes] = {};
  const size_t bytes = (n - i) * sizeof(float);
  __builtin_memcpy(end[0], x + i, bytes);
  __builtin_memcpy(end[1], g + i, bytes);
  __builtin_memcpy(end[2], m + i, bytes);
  __builtin_memcpy(end[3], v + i, bytes);
  adamLanes(end[0], end[1], end[2], end[3], f);
  __builtin_memcpy(x + i, end[0], bytes);
  __builtin_memcpy(m + i, end[2], bytes);
  __builtin_memcpy(v + i, end[3], bytes);
}

}  // namespace

namespace hebb::gnn {
extern const FloatLoops HEBB_LOOPS_SYMBOL;
const FloatLoops HEBB_LOOPS_SYMBOL = {HEBB_LOOPS_NAME, {abt, abtHalf, ab, atb, nullptr, nullptr}, adam};
}  // namespace hebb::gnn
