// The operations of the rotation and of 1-bit codes: the portable kernel against plain loops, every
// other kernel against the portable one, bit for bit.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "testing.hpp"

namespace hebb::test {
namespace {

// Sizes of codes: every one up to 1,088, and some at which sums have to be flushed.
std::vector<size_t> sizes() {
  std::vector<size_t> all;
  for (size_t n = 64; n <= 1088; n += 64) all.push_back(n);
  for (const size_t n : {4096, 8192, 65536}) all.push_back(n);
  return all;
}

// Values at a place of any alignment, with exactly as many after it as are asked for.
struct Floats {
  Floats(size_t n, size_t shift) : of(n + shift), shift(shift) {}
  float* data() { return of.data() + shift; }
  std::vector<float> of;
  size_t shift;
};

enum Kind { kGaussian, kZeros, kSubnormal, kHuge, kKinds };

void fill(Floats& values, Kind kind, Random& random) {
  for (float& x : values.of) {
    x = random.gauss();
    if (kind == kZeros && random() % 2) x = random() % 2 ? 0.0f : -0.0f;
    if (kind == kSubnormal && random() % 2) x *= 1e-41f;
    if (kind == kHuge && random() % 2) x *= 1e18f;
  }
}

struct Bytes {
  Bytes(size_t n, size_t shift) : of(n + shift), shift(shift) {}
  uint8_t* data() { return of.data() + shift; }
  std::vector<uint8_t> of;
  size_t shift;
};

// Every operation of the rotation. `plain` compares the portable kernel with plain loops.
struct RotationChecks {
  bool flip = true, hadamard = true, halves = true;
};

void rotate(const Kernel* k, size_t n, size_t shift, Kind kind, Random& random, RotationChecks& same,
            RotationChecks& plain) {
  Floats x(n, shift);
  fill(x, kind, random);
  std::vector<uint32_t> signs(n + shift);
  for (uint32_t& s : signs) s = random() % 2 ? 0x80000000u : 0;
  Floats a = x, b = x;
  k->flip(a.data(), signs.data() + shift, n);
  kScalar.flip(b.data(), signs.data() + shift, n);
  same.flip &= sameBits(a.of, b.of);
  for (size_t i = 0; i < n; i++) {
    const float expected = signs[shift + i] ? -x.data()[i] : x.data()[i];
    plain.flip &= std::memcmp(&expected, b.data() + i, sizeof expected) == 0;
  }

  const float scale = 0.7f;
  a = b = x;
  k->halves(a.data(), n, scale);
  kScalar.halves(b.data(), n, scale);
  same.halves &= sameBits(a.of, b.of);
  for (size_t i = 0; i < n / 2; i++) {
    const float p = x.data()[i], q = x.data()[n / 2 + i];
    plain.halves &= sameBits(b.data()[i], (p + q) * scale) && sameBits(b.data()[n / 2 + i], (p - q) * scale);
  }

  if (n & (n - 1)) return;
  a = b = x;
  k->hadamard(a.data(), n, scale);
  kScalar.hadamard(b.data(), n, scale);
  same.hadamard &= sameBits(a.of, b.of);
  std::vector<double> exact(x.data(), x.data() + n);
  double squares = 0;
  for (const double v : exact) squares += v * v;
  for (size_t h = 1; h < n; h *= 2) {
    for (size_t i = 0; i < n; i++) {
      if (i & h) continue;
      const double p = exact[i], q = exact[i + h];
      exact[i] = p + q;
      exact[i + h] = p - q;
    }
  }
  for (size_t i = 0; i < n; i++) {
    plain.hadamard &= std::fabs(b.data()[i] - exact[i] * scale) <= 1e-5 * std::sqrt(squares) + FLT_MIN;
  }
}

void testRotating() {
  Random random(seed);
  RotationChecks plain;
  for (const Kernel* k : kernelsHere()) {
    RotationChecks same;
    std::vector<size_t> all = sizes();
    for (const size_t n : {16, 32}) all.push_back(n);
    for (const size_t n : all) {
      for (size_t shift = 0; shift < 4; shift++) {
        if (n == 16) {  // too short for `halves`
          Floats a(n, shift), b(n, shift);
          fill(a, Kind(shift), random);
          b = a;
          k->hadamard(a.data(), n, 0.5f);
          kScalar.hadamard(b.data(), n, 0.5f);
          same.hadamard &= sameBits(a.of, b.of);
        } else {
          rotate(k, n, shift, Kind((shift + n / 64) % kKinds), random, same, plain);
        }
      }
    }
    const std::string name = k->name;
    check(same.flip, name + ": flip bit-equal to scalar");
    check(same.hadamard, name + ": hadamard bit-equal to scalar");
    check(same.halves, name + ": halves bit-equal to scalar");
  }
  check(plain.flip, "flip changes signs and nothing else");
  check(plain.hadamard, "hadamard is the Walsh-Hadamard transform");
  check(plain.halves, "halves are sums and differences");
}

bool sameSigns(const Signs& a, const Signs& b) {
  return sameBits(a.squares, b.squares) && sameBits(a.magnitudes, b.magnitudes) && sameBits(a.centre, b.centre);
}

bool near(double got, double exact, double size) {
  return std::fabs(got - exact) <= 1e-5 * size + FLT_MIN || !(std::fabs(exact) < FLT_MAX);
}

bool encodesPlainly(float* o, float* c, size_t n, const uint8_t* nibbles, const Signs& sums) {
  double squares = 0, magnitudes = 0, centre = 0, size = 0;
  for (size_t v = 0; v < n; v++) {
    const bool positive = o[v] > c[v];
    const double r = o[v] - c[v];
    squares += r * r;
    magnitudes += std::fabs(r);
    centre += positive ? c[v] : -c[v];
    size += std::fabs(c[v]);
    if ((nibbles[16 * (v / 64) + v % 16] >> (v / 16 % 4) & 1) != positive) return false;
  }
  for (size_t q = 0; q < n / 4; q++) {
    if (nibbles[q] > 15) return false;
  }
  return near(sums.squares, squares, squares) && near(sums.magnitudes, magnitudes, magnitudes) &&
         near(sums.centre, centre, size);
}

void testEncode() {
  Random random(seed);
  bool plain = true;
  for (const Kernel* k : kernelsHere()) {
    bool same = true;
    for (const size_t n : sizes()) {
      for (size_t shift = 0; shift < 4; shift++) {
        Floats o(n, shift), c(n, (shift + 1) % 3);
        fill(o, Kind((shift + n / 64) % kKinds), random);
        fill(c, Kind((shift + n / 256) % kKinds), random);
        for (size_t i = 0; i < n; i += 7) c.data()[i] = o.data()[i];  // residuals of zero
        Bytes a(n / 4, shift), b(n / 4, shift);
        const Signs got = k->encode(o.data(), c.data(), n, a.data());
        const Signs expected = kScalar.encode(o.data(), c.data(), n, b.data());
        same &= a.of == b.of && sameSigns(got, expected);
        plain &= encodesPlainly(o.data(), c.data(), n, b.data(), expected);
      }
    }
    check(same, std::string(k->name) + ": encode bit-equal to scalar");
  }
  check(plain, "a code has a bit a value, set where the residual is positive, and the sums are the residual's");
}

// The table as its description has it: s = value / step, rounded; an entry adds up those whose bit is set.
bool tabulatesPlainly(const float* q, size_t n, const uint8_t* entries, const Lut& lut) {
  float most = 0;
  for (size_t quad = 0; quad < n / 4; quad++) {
    const float* v = q + 64 * (quad / 16) + quad % 16;
    most = std::max(most, (std::fabs(v[0]) + std::fabs(v[16])) + (std::fabs(v[32]) + std::fabs(v[48])));
  }
  const float inverse = most > 0 ? 61 / most : 0;
  if (!sameBits(lut.step, most / 61)) return false;
  int64_t total = 0;
  for (size_t quad = 0; quad < n / 4; quad++) {
    const float* v = q + 64 * (quad / 16) + quad % 16;
    int s[4], lowest = 0;
    for (int t = 0; t < 4; t++) {
      s[t] = static_cast<int>(std::round(v[16 * t] * inverse));
      lowest += std::min(s[t], 0);
      total += std::abs(s[t]);
    }
    for (int m = 0; m < 16; m++) {
      int entry = -lowest;
      for (int t = 0; t < 4; t++) entry += m >> t & 1 ? s[t] : 0;
      if (entry != entries[16 * quad + static_cast<size_t>(m)] || entry > 63) return false;
    }
  }
  return sameBits(lut.offset, -0.5f * (lut.step * static_cast<float>(total)));
}

void testTable() {
  Random random(seed);
  bool plain = true, full = true;
  for (const Kernel* k : kernelsHere()) {
    bool same = true;
    const auto compare = [&](Floats& q, size_t n, size_t shift) {
      Bytes a(4 * n, shift), b(4 * n, shift);
      const Lut got = k->lut(q.data(), n, a.data()), expected = kScalar.lut(q.data(), n, b.data());
      same &= a.of == b.of && sameBits(got.step, expected.step) && sameBits(got.offset, expected.offset);
      plain &= tabulatesPlainly(q.data(), n, b.data(), expected);
      return *std::max_element(b.of.begin(), b.of.end());
    };
    for (const size_t n : sizes()) {
      for (size_t shift = 0; shift < 4; shift++) {
        Floats q(n, shift);
        fill(q, Kind((shift + n / 64) % kKinds), random);
        compare(q, n, shift);
      }
      Floats zeros(n, 1);
      compare(zeros, n, 1);
      // Values that all round up: the largest entries that there can be.
      const float upward[4] = {15.5f, 15.5f, 15.5f, 14.5f};
      Floats extreme(n, 3);
      for (size_t i = 0; i < n; i++) extreme.data()[i] = (random() % 2 ? 0.25f : -0.25f) * upward[i / 16 % 4];
      full &= compare(extreme, n, 5) == 63;
    }
    check(same, std::string(k->name) + ": lut bit-equal to scalar");
  }
  check(plain, "a table has the sums of rounded values, from 0 on");
  check(full, "the largest entry is 63");
  for (const float tiny : {1e-37f, 1e-38f, 1e-41f, 1e-45f}) {
    std::vector<float> q(64);
    for (float& x : q) x = random.gauss() * tiny;
    std::vector<uint8_t> entries(4 * 64);
    const Lut lut = kScalar.lut(q.data(), 64, entries.data());
    check(
        *std::max_element(entries.begin(), entries.end()) <= 63 && std::isfinite(lut.step) && std::isfinite(lut.offset),
        "the table of a query of values about " + std::to_string(std::log10(tiny)) + " (log10) stays in its bounds");
  }
}

struct ScanInput {
  ScanInput(size_t quads, size_t shift)
      : quads(quads), codes(16 * quads, shift), entries(16 * quads, shift / 2), add(32, shift % 4), rescale(32, 1) {}
  size_t quads;
  Bytes codes, entries;
  Floats add, rescale;
  Lut lut{0.01f, -1};
  float base = 2;
};

uint32_t scanPlainly(ScanInput& in, float bound, float* estimates) {
  uint32_t below = 0;
  for (size_t lane = 0; lane < 32; lane++) {
    uint32_t sum = 0;
    for (size_t q = 0; q < in.quads; q++) {
      const uint8_t byte = in.codes.data()[16 * q + lane % 16];
      sum += in.entries.data()[16 * q + (lane < 16 ? byte & 15 : byte >> 4)];
    }
    const float product = static_cast<float>(sum) * in.lut.step + in.lut.offset;
    estimates[lane] = (in.add.data()[lane] + in.base) + in.rescale.data()[lane] * product;
    below |= static_cast<uint32_t>(estimates[lane] < bound) << lane;
  }
  return below;
}

void testScan() {
  Random random(seed);
  for (const Kernel* k : kernelsHere()) {
    bool sums = true, bits = true;
    for (const size_t n : sizes()) {
      // Entries: any, all the largest, the largest in every other byte.
      for (int entries = 0; entries < 3; entries++) {
        for (size_t shift = 0; shift < 3; shift++) {
          ScanInput in(n / 4, shift * 3);
          for (uint8_t& b : in.codes.of) b = static_cast<uint8_t>(random());
          for (size_t i = 0; i < in.entries.of.size(); i++) {
            in.entries.of[i] = entries == 0 ? static_cast<uint8_t>(random() % 64) : entries == 1 || i % 2 ? 63 : 0;
          }
          fill(in.add, Kind(shift), random);
          fill(in.rescale, Kind(shift), random);
          std::vector<float> expected(32), got(33);
          scanPlainly(in, 0, expected.data());
          std::vector<float> sorted = expected;
          std::sort(sorted.begin(), sorted.end());
          in.add.data()[7] = NAN;
          in.add.data()[20] = INFINITY;
          in.add.data()[21] = -INFINITY;
          for (const float bound : {sorted[16], std::nextafter(sorted[16], INFINITY), INFINITY, -INFINITY, NAN, 0.0f}) {
            const uint32_t below = scanPlainly(in, bound, expected.data());
            float* out = got.data() + shift % 2;
            bits &= below == k->scan(in.codes.data(), in.entries.data(), in.quads, in.lut, in.add.data(),
                                     in.rescale.data(), in.base, bound, out);
            for (size_t i = 0; i < 32; i++) sums &= sameBits(out[i], expected[i]);
          }
        }
      }
    }
    check(sums,
          std::string(k->name) + ": scan has the sums of a plain loop, bit for bit, with the largest entries too");
    check(bits, std::string(k->name) + ": scan names the lanes below the bound, and no others");
  }
}

}  // namespace

void testCodes() {
  testRotating();
  testEncode();
  testTable();
  testScan();
}

}  // namespace hebb::test
