// The inner loops of the tiers' codecs (native/quantize/), over the lanes of operations.inl, which includes this.

namespace {

uint32_t greatest(const float* x, size_t n, const float* columns, size_t count) {
  Lanes best;
  Mask at[kRegisters], index[kRegisters];
  for (size_t r = 0; r < kRegisters; r++) {
    for (size_t i = 0; i < kRegisterLanes; i++) {
      index[r][i] = static_cast<int32_t>(r * kRegisterLanes + i);
      best.of[r][i] = -__builtin_inff();
    }
    at[r] = index[r];
  }
  for (size_t c = 0; c < count; c += kLanes) {
    Lanes sum = load(columns);
    columns += kLanes;
    for (size_t j = 0; j < n; j++, columns += kLanes) {
      const Lanes column = load(columns);
      for (size_t r = 0; r < kRegisters; r++) sum.of[r] += column.of[r] * x[j];
    }
    for (size_t r = 0; r < kRegisters; r++) {
      const Mask greater = sum.of[r] > best.of[r];
      best.of[r] = greater ? sum.of[r] : best.of[r];
      at[r] = greater ? index[r] : at[r];
      index[r] += static_cast<int32_t>(kLanes);
    }
  }
  float values[kLanes];
  int32_t places[kLanes];
  store(values, best);
  __builtin_memcpy(places, at, sizeof places);
  size_t found = 0;
  for (size_t i = 1; i < kLanes; i++) {
    if (values[i] > values[found] || (values[i] == values[found] && places[i] < places[found])) found = i;
  }
  return static_cast<uint32_t>(places[found]);
}

// Symbols, less the middle, as floats.
inline Register stepsOf(const uint8_t* symbols, int32_t middle) {
  const Mask wide = reinterpret_cast<Mask>(widened(symbols));
  return __builtin_convertvector(wide - middle, Register);
}

void addSteps(float* x, const uint8_t* symbols, int32_t middle, float step, float scale, size_t n) {
  size_t i = 0;
  for (; i + kRegisterLanes <= n; i += kRegisterLanes) {
    Register* const v = reinterpret_cast<Register*>(x + i);
    *v = (*v + stepsOf(symbols + i, middle) * step) * scale;
  }
  for (; i < n; i++) x[i] = (x[i] + static_cast<float>(symbols[i] - middle) * step) * scale;
}

typedef uint64_t Pairs __attribute__((vector_size(HEBB_REGISTER_BYTES)));

void pairs(const uint8_t* code, const float (*centroids)[2], const uint8_t* symbols, int32_t middle, float step,
           float scale, size_t n, float* out) {
  size_t i = 0;
  for (; i + kRegisterLanes <= n; i += kRegisterLanes) {
    Pairs pairs;
    for (size_t p = 0; p < kRegisterLanes / 2; p++) {
      uint64_t pair;
      __builtin_memcpy(&pair, centroids[code[i / 2 + p]], 8);
      pairs[p] = pair;
    }
    const Register x = reinterpret_cast<Register>(pairs);
    *reinterpret_cast<Register*>(out + i) = (x + stepsOf(symbols + i, middle) * step) * scale;
  }
  for (; i < n; i++) out[i] = (centroids[code[i / 2]][i % 2] + static_cast<float>(symbols[i] - middle) * step) * scale;
}

void parts(const uint8_t* code, uint32_t shift, uint32_t mask, float middle, float fine, const uint8_t* symbols,
           float coarse, float scale, size_t n, float* out) {
  const int32_t places = static_cast<int32_t>(shift), bits = static_cast<int32_t>(mask);
  size_t i = 0;
  for (; i + kRegisterLanes <= n; i += kRegisterLanes) {
    const Mask lower = reinterpret_cast<Mask>(widened(code + i)) >> places & bits;
    const Register x = (__builtin_convertvector(lower, Register) - middle) * fine;
    *reinterpret_cast<Register*>(out + i) = (x + stepsOf(symbols + i, 0) * coarse) * scale;
  }
  for (; i < n; i++) {
    const float x = (static_cast<float>(code[i] >> places & bits) - middle) * fine;
    out[i] = (x + static_cast<float>(symbols[i]) * coarse) * scale;
  }
}

inline void cutOff(float* x, size_t n) {
  constexpr float kMost = __FLT_MAX__;
  for (size_t i = 0; i < n; i++) {
    const float y = x[i] > -kMost ? x[i] : -kMost;
    x[i] = y < kMost ? y : kMost;
  }
}

// Whether all of some values were finite: x - x is 0 of all others.
struct Finite {
  Mask off = {};
  void see(Register x) { off |= reinterpret_cast<Mask>(x - x); }
  bool all() const {
    int32_t any = 0;
    for (size_t l = 0; l < kRegisterLanes; l++) any |= off[l];
    return any == 0;
  }
};

void restore(const float* in, float times, const float* add, float scale, size_t n, float* out) {
  Finite finite;
  size_t i = 0;
  for (; i + kRegisterLanes <= n; i += kRegisterLanes) {
    const Register x = *reinterpret_cast<const Register*>(in + i) * times + *reinterpret_cast<const Register*>(add + i);
    const Register scaled = x * scale;
    finite.see(scaled);
    *reinterpret_cast<Register*>(out + i) = scaled;
  }
  if (!finite.all()) cutOff(out, i);
  const size_t rest = i;
  for (; i < n; i++) out[i] = (in[i] * times + add[i]) * scale;
  cutOff(out + rest, n - rest);
}

void hadamardTimes(float* x, size_t n, const float* factors) {
  Register* const v = reinterpret_cast<Register*>(x);
  const Register* const f = reinterpret_cast<const Register*>(factors);
  hadamardOf(x, n, [v, f](size_t i, Register a) { v[i] = a * f[i]; });
}

struct Restored {
  const Register* factors;
  float times;
  const Register* add;
  float scale;
  Register* out;
  Finite finite = {};

  void operator()(size_t i, Register x) {
    const Register scaled = (x * factors[i] * times + add[i]) * scale;
    finite.see(scaled);
    out[i] = scaled;
  }
};

void hadamardRestore(float* x, size_t n, const float* factors, float times, const float* add, float scale, float* out) {
  const Restored to = {reinterpret_cast<const Register*>(factors), times, reinterpret_cast<const Register*>(add), scale,
                       reinterpret_cast<Register*>(out)};
  if (!hadamardOf(x, n, to).finite.all()) cutOff(out, n);
}

// Words of 16 bits; where registers are longer than 32 bytes, half of one holds as many as are handled at a time.
constexpr size_t kWordBytes = HEBB_REGISTER_BYTES > 32 ? 32 : HEBB_REGISTER_BYTES;
constexpr size_t kWordLanes = kWordBytes / 2;
typedef int16_t Words __attribute__((vector_size(kWordBytes), aligned(2), may_alias));

struct WordsInPlace {
  Words* v;
  Words operator()(size_t i) const { return v[i]; }
  void operator()(size_t i, Words x) const { v[i] = x; }
};

// The transform of the eight signs of a byte, and its negative.
struct SignTable {
  alignas(16) int16_t of[256][16];
  constexpr SignTable() : of() {
    for (int byte = 0; byte < 256; byte++) {
      int16_t* const row = of[byte];
      for (int i = 0; i < 8; i++) row[i] = byte >> i & 1 ? 1 : -1;
      for (int h = 1; h < 8; h *= 2) {
        for (int i = 0; i < 8; i++) {
          if (i & h) continue;
          const int16_t a = row[i], b = row[i + h];
          row[i] = static_cast<int16_t>(a + b);
          row[i + h] = static_cast<int16_t>(a - b);
        }
      }
      for (int i = 0; i < 8; i++) row[8 + i] = static_cast<int16_t>(-row[i]);
    }
  }
};
constexpr SignTable kSigns;

// Sums of signs are whole numbers below 2^24, so that 16 bits hold them as exactly as floats do.
void hadamardSigns(const uint8_t* code, size_t n, const float* factors, int16_t* sums, float* out) {
  const auto load = [code](size_t i) {
    return reinterpret_cast<Words>(ofSigns(kSigns.of, code + i * (kWordLanes / 8)));
  };
  const auto finish = [=](size_t i, Words x) { storeTimes(x, factors + i * kWordLanes, out + i * kWordLanes); };
  transform(WordsInPlace{reinterpret_cast<Words*>(sums)}, n / kWordLanes, 1, load, finish);
}

}  // namespace
