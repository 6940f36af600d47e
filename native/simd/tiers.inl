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

typedef uint8_t Symbols __attribute__((vector_size(kRegisterLanes), aligned(1), may_alias));

void addSteps(float* x, const uint8_t* symbols, int32_t middle, float step, float scale, size_t n) {
  size_t i = 0;
  for (; i + kRegisterLanes <= n; i += kRegisterLanes) {
    Register* const v = reinterpret_cast<Register*>(x + i);
    const Mask steps = __builtin_convertvector(*reinterpret_cast<const Symbols*>(symbols + i), Mask) - middle;
    *v = (*v + __builtin_convertvector(steps, Register) * step) * scale;
  }
  for (; i < n; i++) x[i] = (x[i] + static_cast<float>(symbols[i] - middle) * step) * scale;
}

void restore(const float* in, float times, const float* add, float scale, size_t n, float* out) {
  constexpr float kMost = __FLT_MAX__;
  constexpr int32_t kExponent = 0x7f800000;
  Mask beyond = {};
  size_t i = 0;
  for (; i + kRegisterLanes <= n; i += kRegisterLanes) {
    const Register x = *reinterpret_cast<const Register*>(in + i) * times + *reinterpret_cast<const Register*>(add + i);
    const Register scaled = x * scale;
    beyond |= (reinterpret_cast<Mask>(scaled) & kExponent) == kExponent;
    *reinterpret_cast<Register*>(out + i) = scaled;
  }
  bool any = i < n;
  for (size_t l = 0; l < kRegisterLanes; l++) any |= beyond[l] != 0;
  if (!any) return;
  for (; i < n; i++) out[i] = (in[i] * times + add[i]) * scale;
  for (i = 0; i < n; i++) {
    const float x = out[i] > -kMost ? out[i] : -kMost;
    out[i] = x < kMost ? x : kMost;
  }
}

}  // namespace
