// The inner loops of the rotation and of 1-bit codes (native/quantize/), over the lanes of operations.inl,
// which includes this.

namespace {

using hebb::Lut;
using hebb::Signs;

inline void store(float* p, const Lanes& lanes) {
  for (size_t r = 0; r < kRegisters; r++) *reinterpret_cast<Register*>(p + r * kRegisterLanes) = lanes.of[r];
}

typedef int32_t Mask __attribute__((vector_size(HEBB_REGISTER_BYTES), aligned(4), may_alias));

inline Register flipped(Register x, Mask signs) {
  return reinterpret_cast<Register>(reinterpret_cast<Mask>(x) ^ signs);
}

// Lanes `Stride` apart within a register, added and subtracted.
template <int Stride>
inline Register butterfly(Register x) {
  Mask from;
  Register sign;
  for (int i = 0; i < static_cast<int>(kRegisterLanes); i++) {
    from[i] = i ^ Stride;
    sign[i] = i & Stride ? -1.0f : 1.0f;
  }
#if defined(__clang__)
  Register swapped;
  for (int i = 0; i < static_cast<int>(kRegisterLanes); i++) swapped[i] = x[i ^ Stride];
  (void)from;
#else
  const Register swapped = __builtin_shuffle(x, from);
#endif
  return addSigned(swapped, x, sign);
}

inline Register withinRegister(Register x) {
  x = butterfly<1>(x);
  x = butterfly<2>(x);
  if constexpr (kRegisterLanes > 4) x = butterfly<4>(x);
  if constexpr (kRegisterLanes > 8) x = butterfly<8>(x);
  return x;
}

void flip(float* x, const uint32_t* signs, size_t n) {
  for (size_t i = 0; i < n; i += kRegisterLanes) {
    Register* v = reinterpret_cast<Register*>(x + i);
    *v = flipped(*v, *reinterpret_cast<const Mask*>(signs + i));
  }
}

// The layers of a transform of `count` registers, `Radix` registers that lie `h` apart at a time: load(i) gives
// register i, and finish(i, it) gets what has become of it. Gives back `finish`, which may have gathered something.
template <int Radix, typename Load, typename Finish>
inline Finish layers(size_t count, size_t h, Load load, Finish finish) {
  for (size_t i = 0; i < count; i += Radix * h) {
    for (size_t j = i; j < i + h; j++) {
      decltype(load(0)) a[Radix];
#pragma GCC unroll 8
      for (int k = 0; k < Radix; k++) a[k] = load(j + k * h);
#pragma GCC unroll 3
      for (int stride = 1; stride < Radix; stride *= 2) {
#pragma GCC unroll 8
        for (int k = 0; k < Radix; k++) {
          if (k & stride) continue;
          const auto sum = a[k] + a[k + stride];
          a[k + stride] = a[k] - a[k + stride];
          a[k] = sum;
        }
      }
#pragma GCC unroll 8
      for (int k = 0; k < Radix; k++) finish(j + k * h, a[k]);
    }
  }
  return finish;
}

// Registers as they lie. (Not a template: its argument would lose the alignment that the type has.)
struct InPlace {
  Register* v;
  Register operator()(size_t i) const { return v[i]; }
  void operator()(size_t i, Register x) const { v[i] = x; }
};

// All layers from registers `h` apart on; between passes they lie in `place`.
template <typename Place, typename Load, typename Finish>
inline Finish transform(Place place, size_t count, size_t h, Load load, Finish finish) {
  const size_t left = count / h;
  if (left == 1) return layers<1>(count, h, load, finish);
  if (left == 2) return layers<2>(count, h, load, finish);
  if (left == 4) return layers<4>(count, h, load, finish);
  if (left == 8) return layers<8>(count, h, load, finish);
  layers<8>(count, h, load, place);
  return transform(place, count, 8 * h, place, finish);
}

// The Walsh-Hadamard transform of n values.
template <typename Finish>
inline Finish hadamardOf(float* x, size_t n, Finish finish) {
  Register* const v = reinterpret_cast<Register*>(x);
  const auto load = [v](size_t i) { return withinRegister(v[i]); };
  return transform(InPlace{v}, n / kRegisterLanes, 1, load, finish);
}

void hadamard(float* x, size_t n, float scale) {
  Register* const v = reinterpret_cast<Register*>(x);
  hadamardOf(x, n, [v, scale](size_t i, Register a) { v[i] = a * scale; });
}

void halves(float* x, size_t n, float scale) {
  for (size_t i = 0; i < n / 2; i += kLanes) {
    const Lanes a = load(x + i), b = load(x + n / 2 + i);
    Lanes sum, difference;
    for (size_t r = 0; r < kRegisters; r++) {
      sum.of[r] = (a.of[r] + b.of[r]) * scale;
      difference.of[r] = (a.of[r] - b.of[r]) * scale;
    }
    store(x + i, sum);
    store(x + n / 2 + i, difference);
  }
}

inline Mask isPositive(Register x) {
  return x > 0.0f;
}

inline Register magnitude(Register x) {
  return flipped(x, reinterpret_cast<Mask>(x) & INT32_MIN);
}

typedef int8_t Bytes __attribute__((vector_size(16), aligned(1), may_alias));
typedef int8_t Narrow __attribute__((vector_size(kRegisterLanes), aligned(1), may_alias));

inline void storeBytes(void* p, size_t r, Mask values) {
  *reinterpret_cast<Narrow*>(static_cast<int8_t*>(p) + r * kRegisterLanes) = __builtin_convertvector(values, Narrow);
}

Signs encode(const float* o, const float* c, size_t n, uint8_t* nibbles) {
  Lanes squares, magnitudes, centre;
  for (size_t i = 0; i < n; i += 4 * kLanes) {
    for (size_t r = 0; r < kRegisters; r++) {
      Mask nibble = {};
      for (size_t t = 0; t < 4; t++) {
        const size_t at = i + t * kLanes + r * kRegisterLanes;
        const Register from = *reinterpret_cast<const Register*>(o + at);
        const Register middle = *reinterpret_cast<const Register*>(c + at);
        const Register x = from - middle;
        const Mask positive = isPositive(x);
        nibble -= positive << static_cast<int>(t);
        squares.of[r] += x * x;
        magnitudes.of[r] += magnitude(x);
        centre.of[r] += flipped(middle, ~positive & INT32_MIN);
      }
      storeBytes(nibbles + i / 4, r, nibble);
    }
  }
  return {fold(squares), fold(magnitudes), fold(centre)};
}

// A value becomes an integer s with sign; an entry is the sum of those s whose bit is set, plus what
// makes the smallest of the 16 zero. All of that is exact in bytes that wrap around.
Lut lut(const float* q, size_t n, uint8_t* entries) {
  constexpr float kMost = 61.0f;  // four s of up to half a step more: four entries still fit a byte
  Lanes widest;
  for (size_t i = 0; i < n; i += 4 * kLanes) {
    const Lanes a = load(q + i), b = load(q + i + kLanes), c = load(q + i + 2 * kLanes), d = load(q + i + 3 * kLanes);
    for (size_t r = 0; r < kRegisters; r++) {
      const Register range = (magnitude(a.of[r]) + magnitude(b.of[r])) + (magnitude(c.of[r]) + magnitude(d.of[r]));
      widest.of[r] = range > widest.of[r] ? range : widest.of[r];
    }
  }
  float most = 0, of[kLanes];
  store(of, widest);
  for (const float x : of) most = x > most ? x : most;
  // A query so small that its inverse would overflow has estimates that do not depend on it.
  const bool any = most > 0x1p-100f;
  const float step = any ? most / kMost : 0.0f, inverse = any ? kMost / most : 0.0f;
  Bytes bit[4];
  for (int m = 0; m < 16; m++) {
    for (int t = 0; t < 4; t++) bit[t][m] = m >> t & 1 ? -1 : 0;
  }
  Mask total = {};
  for (size_t i = 0; i < n; i += 4 * kLanes) {
    int8_t s[4][kLanes], lowest[kLanes];
    for (size_t r = 0; r < kRegisters; r++) {
      Mask below = {};
      for (size_t t = 0; t < 4; t++) {
        const Register x = *reinterpret_cast<const Register*>(q + i + t * kLanes + r * kRegisterLanes) * inverse;
        const Register half = reinterpret_cast<Register>((reinterpret_cast<Mask>(x) & INT32_MIN) |
                                                         reinterpret_cast<Mask>(Register{} + 0.5f));
        const Mask rounded = __builtin_convertvector(x + half, Mask);
        const Mask negative = rounded >> 31;
        below -= rounded & negative;
        total += (rounded ^ negative) - negative;
        storeBytes(s[t], r, rounded);
      }
      storeBytes(lowest, r, below);
    }
    for (size_t l = 0; l < kLanes; l++) {
      *reinterpret_cast<Bytes*>(entries + 4 * i + 16 * l) =
          ((bit[0] & s[0][l]) + (bit[1] & s[1][l])) + ((bit[2] & s[2][l]) + (bit[3] & s[3][l])) + lowest[l];
    }
  }
  int32_t magnitudes = 0;
  for (size_t i = 0; i < kRegisterLanes; i++) magnitudes += total[i];
  return {step, -0.5f * (step * static_cast<float>(magnitudes))};
}

// Sixteen estimates from sums of entries.
inline Lanes estimatesOf(const uint32_t* sums, const Lut& lut, const float* add, const float* rescale, float base) {
  const Lanes a = load(add), b = load(rescale);
  Lanes estimate;
  for (size_t r = 0; r < kRegisters; r++) {
    const Mask sum = *reinterpret_cast<const Mask*>(sums + r * kRegisterLanes);
    const Register product = __builtin_convertvector(sum, Register) * lut.step + lut.offset;
    estimate.of[r] = (a.of[r] + base) + b.of[r] * product;
  }
  return estimate;
}

uint32_t scan(const uint8_t* codes, const uint8_t* entries, size_t quads, const Lut& lut, const float* add,
              const float* rescale, float base, float bound, float* estimates) {
  uint32_t sums[32];
  sumEntries(codes, entries, quads, sums);
  uint32_t below = 0;
  for (size_t half = 0; half < 32; half += kLanes) {
    const Lanes estimate = estimatesOf(sums + half, lut, add + half, rescale + half, base);
    Lanes compared;
    for (size_t r = 0; r < kRegisters; r++) compared.of[r] = bound - estimate.of[r];
    store(estimates + half, estimate);
    below |= static_cast<uint32_t>(positiveBits(reinterpret_cast<const float*>(&compared))) << half;
  }
  return below;
}

uint32_t scanLeast(const uint8_t* codes, const uint8_t* entries, size_t quads, const Lut& lut,
                   const hebb::Lanes32& lanes, const hebb::Around& around, float bound, float* estimates,
                   float* least) {
  uint32_t sums[32];
  sumEntries(codes, entries, quads, sums);
  uint32_t above = 0;
  for (size_t half = 0; half < 32; half += kLanes) {
    const Lanes estimate = estimatesOf(sums + half, lut, lanes.add + half, lanes.rescale + half, around.base);
    const Lanes rescale = load(lanes.rescale + half), error = load(lanes.error + half);
    Lanes lowest, compared;
    for (size_t r = 0; r < kRegisters; r++) {
      lowest.of[r] = (estimate.of[r] + rescale.of[r] * around.slack) - error.of[r] * around.apart;
      compared.of[r] = lowest.of[r] - bound;
    }
    store(estimates + half, estimate);
    store(least + half, lowest);
    above |= static_cast<uint32_t>(positiveBits(reinterpret_cast<const float*>(&compared))) << half;
  }
  return ~above;
}

void project(const int16_t* rows, size_t count, const int16_t* x, size_t n, int32_t* out) {
  for (size_t r = 0; r < count; r++, rows += n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n / 32 * 32; i++) sum += int32_t{rows[i]} * x[i];
    out[r] = sum;
  }
}

}  // namespace
