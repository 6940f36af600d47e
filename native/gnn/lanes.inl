// Sixteen lanes as registers of HEBB_REGISTER_BYTES, as in native/simd/operations.inl.

namespace {

constexpr size_t kLanes = 16;
constexpr size_t kRegisters = kLanes * sizeof(float) / HEBB_REGISTER_BYTES;
constexpr size_t kRegisterLanes = kLanes / kRegisters;
typedef float Register __attribute__((vector_size(HEBB_REGISTER_BYTES), aligned(4), may_alias));

struct Lanes {
  Register of[kRegisters] = {};
};

inline Lanes load(const float* p) {
  Lanes lanes;
  for (size_t r = 0; r < kRegisters; r++) lanes.of[r] = *reinterpret_cast<const Register*>(p + r * kRegisterLanes);
  return lanes;
}

// The last values, fewer than 16, zeros after them.
inline Lanes loadTail(const float* p, size_t count) {
  float values[kLanes] = {};
  for (size_t i = 0; i < count; i++) values[i] = p[i];
  return load(values);
}

}  // namespace
