// Distances, checks of values and checksums: every kernel against the portable one.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "testing.hpp"

namespace hebb::test {

namespace {

// Sums of integers, against plain loops in 64 bits: random values, and the largest that there are.
void testIntegers() {
  Random random(seed);
  for (const Kernel* k : kernelsHere()) {
    bool levels = true, products = true, bytes = true;
    for (size_t d = 64; d <= 8192; d += d < 1024 ? 64 : 1024) {
      for (size_t shift = 0; shift < 3; shift++) {
        const bool largest = shift > 0;
        std::vector<uint8_t> code(d / 4 + shift);
        std::vector<int8_t> values(d + shift), others(d + shift);
        for (uint8_t& x : code) x = largest ? 255 : static_cast<uint8_t>(random());
        for (int8_t& x : values) x = static_cast<int8_t>(largest ? (shift == 1 ? 127 : -127) : random() % 255 - 127);
        for (int8_t& x : others) x = static_cast<int8_t>(largest ? 127 : random() % 255 - 127);
        int64_t level = 0, product = 0;
        for (size_t i = 0; i < d; i++) {
          level += (code[shift + i / 64 * 16 + i % 16] >> (i % 64 / 16 * 2) & 3) * values[shift + i];
          product += int64_t{values[shift + i]} * others[shift + i];
        }
        levels &= k->sumLevels(code.data() + shift, values.data() + shift, d) == level;
        bytes &= k->dotBytes(values.data() + shift, others.data() + shift, d) == product;
        // Unit rows in units of 1 / 32,767 against as long a vector: what `project` is given at most.
        std::vector<int16_t> rows(3 * d), x(d);
        for (int16_t& y : rows) y = static_cast<int16_t>(random() % 401) - 200;
        for (int16_t& y : x) y = static_cast<int16_t>(random() % 401) - 200;
        if (largest) std::fill(rows.begin(), rows.end(), int16_t{0}), rows[5] = x[5] = 32767, rows[d + 5] = -32767;
        int32_t out[3];
        k->project(rows.data(), 3, x.data(), d, out);
        for (size_t r = 0; r < 3; r++) {
          int64_t sum = 0;
          for (size_t i = 0; i < d; i++) sum += int64_t{rows[r * d + i]} * x[i];
          products &= out[r] == sum;
        }
      }
    }
    const std::string name = k->name;
    check(levels, name + ": sumLevels is exact");
    check(bytes, name + ": dotBytes is exact");
    check(products, name + ": project is exact");
  }
}

}  // namespace

// Every operation against the portable kernel, bit for bit, at every dimension and misalignment.
void testOperations() {
  Random random(seed);
  std::vector<size_t> dimensions;
  for (size_t d = 1; d <= 130; d++) dimensions.push_back(d);
  for (size_t d : {255, 256, 257, 784, 1000, 1024}) dimensions.push_back(d);
  for (const Kernel* k : kernelsHere()) {
    bool l2 = true, dot = true, within = true, near = true, finite = true, crc = true;
    for (const size_t d : dimensions) {
      for (size_t shift = 0; shift < 3; shift++) {
        std::vector<float> a(d + shift), b(d + shift);
        for (float& x : a) x = random.gauss();
        for (float& x : b) x = random.gauss();
        if (shift == 1) a[shift + d / 2] = 0.0f, b[shift] = 1e-41f;  // zero and subnormal
        const float *p = a.data() + shift, *q = b.data() + shift;
        const float expected = kScalar.l2(p, q, d);
        l2 &= sameBits(k->l2(p, q, d), expected);
        dot &= sameBits(k->dot(p, q, d), kScalar.dot(p, q, d));
        double exact = 0;
        for (size_t i = 0; i < d; i++) exact += (double(p[i]) - q[i]) * (double(p[i]) - q[i]);
        near &= std::fabs(expected - exact) <= 1e-5 * exact + 1e-30;
        for (const float bound : {expected, expected * 0.5f, expected * 0.999f, expected * 2, 0.0f}) {
          const float got = k->l2Within(p, q, d, bound);
          within &= expected <= bound ? sameBits(got, expected) : got > bound;
        }
        finite &= k->firstNonFinite(p, d) == d;
        const size_t at = random() % d;
        for (const float bad : {NAN, INFINITY, -INFINITY}) {
          std::vector<float> c(p, p + d);
          c[at] = bad;
          finite &= k->firstNonFinite(c.data(), d) == at;
          dot &= sameBits(k->dot(c.data(), q, d), kScalar.dot(c.data(), q, d));
        }
        const uint8_t* bytes = reinterpret_cast<const uint8_t*>(p) + shift;
        const size_t n = d * sizeof(float) - shift;
        crc &= k->crc32c(bytes, n, 7) == kScalar.crc32c(bytes, n, 7);
        crc &= k->crc32c(bytes + n / 2, n - n / 2, k->crc32c(bytes, n / 2, 0)) == k->crc32c(bytes, n, 0);
      }
    }
    const std::string name = k->name;
    check(l2, name + ": l2 bit-equal to scalar");
    check(near, name + ": l2 near the exact sum");
    check(dot, name + ": dot bit-equal to scalar");
    check(within, name + ": l2Within agrees with l2 up to the bound and passes it beyond");
    check(finite, name + ": firstNonFinite finds the place");
    check(crc, name + ": crc32c equals the table's, in one piece and in two");
    check(k->crc32c(reinterpret_cast<const uint8_t*>("123456789"), 9, 0) == 0xe3069283u, name + ": crc32c check value");
  }
  testIntegers();
  const char* error = nullptr;
  check(selectKernel("sse9", &error) == nullptr && error != nullptr, "an unknown kernel is refused with a reason");
}

}  // namespace hebb::test
