// The inner loops, written once over 16 lanes, which are one 512-bit, two 256-bit or four 128-bit registers. Each
// instruction set's file includes this with its own flags and defines HEBB_KERNEL_NAME, HEBB_KERNEL_SYMBOL,
// HEBB_REGISTER_BYTES, crcBytes(), positiveBits() (of 16 floats), addSigned() (x + y sign, sign
// being 1 or -1), widened() (bytes as 32-bit integers), sumEntries(), sumLevels(), dotPlanes(), dotBytes(), widen(),
// narrow() and levels(). (Left to itself, g++ 12 lowers a 512-bit vector type under AVX2 through the stack, at half the
// speed of SSE, and takes a vector of bytes apart to widen it.) Nothing here may call a library template: a shared
// inline function compiled with wide instructions could be picked by the linker for the baseline build.

namespace {

constexpr size_t kLanes = 16;
constexpr size_t kRegisters = kLanes * sizeof(float) / HEBB_REGISTER_BYTES;
constexpr size_t kRegisterLanes = kLanes / kRegisters;
typedef float Register __attribute__((vector_size(HEBB_REGISTER_BYTES), aligned(4), may_alias));

struct Lanes {
  Register of[kRegisters] = {};

  Lanes& operator+=(const Lanes& other) {
    for (size_t r = 0; r < kRegisters; r++) of[r] += other.of[r];
    return *this;
  }
};

inline Lanes operator+(Lanes a, const Lanes& b) {
  return a += b;
}

inline Lanes load(const float* p) {
  Lanes lanes;
  for (size_t r = 0; r < kRegisters; r++) lanes.of[r] = *reinterpret_cast<const Register*>(p + r * kRegisterLanes);
  return lanes;
}

// The last n % 16 values, zeros after them.
inline Lanes loadTail(const float* p, size_t count) {
  float values[kLanes] = {};
  for (size_t i = 0; i < count; i++) values[i] = p[i];
  return load(values);
}

// Folds 16 lanes in a fixed tree: 8 apart, then 4, 2, 1.
inline float fold(const Lanes& lanes) {
  float s[kLanes];
  __builtin_memcpy(s, &lanes, sizeof s);
  for (size_t width = kLanes / 2; width; width /= 2)
    for (size_t i = 0; i < width; i++) s[i] += s[i + width];
  return s[0];
}

// Four accumulators hide the latency of addition; their order of folding is fixed too.
template <typename Term>
inline float sum(const float* a, const float* b, size_t n, Term term) {
  Lanes s0, s1, s2, s3;
  size_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    s0 += term(load(a + i), load(b + i));
    s1 += term(load(a + i + kLanes), load(b + i + kLanes));
    s2 += term(load(a + i + 2 * kLanes), load(b + i + 2 * kLanes));
    s3 += term(load(a + i + 3 * kLanes), load(b + i + 3 * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) s0 += term(load(a + i), load(b + i));
  if (i < n) s1 += term(loadTail(a + i, n - i), loadTail(b + i, n - i));
  return fold((s0 + s1) + (s2 + s3));
}

struct Squared {
  Lanes operator()(const Lanes& x, const Lanes& y) const {
    Lanes out;
    for (size_t r = 0; r < kRegisters; r++) {
      const Register d = x.of[r] - y.of[r];
      out.of[r] = d * d;
    }
    return out;
  }
};
struct Product {
  Lanes operator()(const Lanes& x, const Lanes& y) const {
    Lanes out;
    for (size_t r = 0; r < kRegisters; r++) out.of[r] = x.of[r] * y.of[r];
    return out;
  }
};

float l2(const float* a, const float* b, size_t n) {
  return sum(a, b, n, Squared());
}
float dot(const float* a, const float* b, size_t n) {
  return sum(a, b, n, Product());
}

// Same sum, same order; every 256 values the lanes are folded aside to see whether it can still
// come back within the bound. Squares only add up, and rounding is monotone, so a partial sum
// past the bound means that the whole is.
float l2Within(const float* a, const float* b, size_t n, float bound) {
  constexpr size_t kStride = 256;
  Lanes s0, s1, s2, s3;
  const Squared term;
  size_t i = 0, check = kStride;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    if (i == check) {
      const float partial = fold((s0 + s1) + (s2 + s3));
      if (partial > bound) return partial;
      check += kStride;
    }
    s0 += term(load(a + i), load(b + i));
    s1 += term(load(a + i + kLanes), load(b + i + kLanes));
    s2 += term(load(a + i + 2 * kLanes), load(b + i + 2 * kLanes));
    s3 += term(load(a + i + 3 * kLanes), load(b + i + 3 * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) s0 += term(load(a + i), load(b + i));
  if (i < n) s1 += term(loadTail(a + i, n - i), loadTail(b + i, n - i));
  return fold((s0 + s1) + (s2 + s3));
}

// A float is not finite where all bits of its exponent are set.
size_t firstNonFinite(const float* a, size_t n) {
  constexpr uint32_t kExponent = 0x7f800000u;
  constexpr size_t kStride = 64;
  size_t i = 0;
  for (; i + kStride <= n; i += kStride) {
    uint32_t found = 0;
    for (size_t j = 0; j < kStride; j++) {
      uint32_t bits;
      __builtin_memcpy(&bits, a + i + j, 4);
      found |= (bits & kExponent) == kExponent;
    }
    if (found) break;
  }
  for (; i < n; i++) {
    uint32_t bits;
    __builtin_memcpy(&bits, a + i, 4);
    if ((bits & kExponent) == kExponent) return i;
  }
  return n;
}

uint32_t crc32c(const uint8_t* bytes, size_t n, uint32_t seed) {
  return ~crcBytes(bytes, n, ~seed);
}

}  // namespace

#include "codes.inl"
#include "tiers.inl"

namespace hebb {
static const TierLoops kTierLoops = {hadamardTimes, hadamardRestore, hadamardSigns, levels, pairs, parts};
extern const Kernel HEBB_KERNEL_SYMBOL;
const Kernel HEBB_KERNEL_SYMBOL = {
    HEBB_KERNEL_NAME, true,   8192,   l2,       dot,      l2Within,  firstNonFinite, crc32c,    flip,
    hadamard,         halves, encode, lut,      scan,     scanLeast, dotPlanes,      sumLevels, project,
    dotBytes,         widen,  narrow, greatest, addSteps, restore,   &kTierLoops};
}  // namespace hebb
