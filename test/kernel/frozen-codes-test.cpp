// What codes of frozen bundles are made with: chance that is specified, both kinds of rotation, the loops over blocks
// and planes.
#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "quantize/haar.hpp"
#include "quantize/rotation.hpp"
#include "rng.hpp"
#include "testing.hpp"

namespace hebb::test {
namespace {

double product(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += double(a[i]) * b[i];
  return sum;
}

// From the published algorithms, by a program of another language.
void testVectors() {
  constexpr struct {
    uint64_t seed, words[4], uniform[4], gaussian[4];
  } kKnown[] = {{0,
                 {0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0, 0x6aa594f1262d2d2c},
                 {0x3fe33d8be6d96ebe, 0x3fe7edc3ef092ac8, 0x3fba5f849d4933e0, 0x3fdaa9653c498b4a},
                 {0x3fe323a82a4bc9e5, 0x3ff76a54f2c0effa, 0xbfeca445408b789c, 0xbfc81270d2ddbad6}},
                {1,
                 {0xb3f2af6d0fc710c5, 0x853b559647364cea, 0x92f89756082a4514, 0x642e1c7bc266a3a7},
                 {0x3fe67e55eda1f8e2, 0x3fe0a76ab2c8e6c9, 0x3fe25f12eac10548, 0x3fd90b871ef099a8},
                 {0x3ffe267c87ac62eb, 0x3fc84abd879d0e18, 0x3ff4d55c9633557c, 0xbffe8d0b0399ee9c}},
                {42,
                 {0x15780b2e0c2ec716, 0x6104d9866d113a7e, 0xae17533239e499a1, 0xecb8ad4703b360a1},
                 {0x3fb5780b2e0c2ec0, 0x3fd84136619b444e, 0x3fe5c2ea66473c93, 0x3fed9715a8e0766c},
                 {0xbfe73d2feb0fb377, 0xbfcb088028693f9c, 0x3fcc5e21f7812a4e, 0x3fe0ba8bb0c5fa51}}};
  for (const auto& known : kKnown) {
    Rng words(known.seed), uniform(known.seed), gaussian(known.seed);
    bool same = true, even = true, normal = true;
    for (int i = 0; i < 4; i++) {
      same &= words.next() == known.words[i];
      even &= std::bit_cast<uint64_t>(uniform.uniform()) == known.uniform[i];
      normal &= std::bit_cast<uint64_t>(gaussian.gaussian()) == known.gaussian[i];
    }
    const std::string name = "seed " + std::to_string(known.seed);
    check(same, name + ": the words of xoshiro256** after splitmix64");
    check(even, name + ": uniform numbers, bit for bit");
    check(normal, name + ": normal numbers, bit for bit");
  }
}

void testChance() {
  testVectors();
  Rng rng(seed);
  double worst = 0;
  const auto look = [&](double x) {
    const double exact = std::log(x);
    const double off = std::fabs(Rng::logarithm(x) - exact);
    worst = std::fmax(worst, exact == 0 ? off * 1e30 : off / std::fabs(exact));
  };
  for (int e = -1022; e <= 1023; e++) {
    for (const double m : {1.0, std::nextafter(2.0, 1.0), 1.4142135623730951, std::nextafter(1.4142135623730951, 2.0)})
      look(std::ldexp(m, e));
    for (int i = 0; i < 8; i++) look(std::ldexp(1 + rng.uniform(), e));
  }
  for (double off = 0.4; off > 1e-16; off *= 0.7) look(1 + off), look(1 - off);
  check(worst <= 1e-14, "a logarithm is off by " + std::to_string(worst * 1e15) + "e-15 of it");

  // Moments of a standard normal, and those of neighbours, in their standard errors.
  const uint32_t count = 800000 / share;
  double sums[5] = {}, before = 0;
  bool within = true;
  for (uint32_t i = 0; i < count; i++) {
    const double x = rng.gaussian(), u = rng.uniform();
    within &= u >= 0 && u < 1;
    sums[0] += x;
    sums[1] += x * x - 1;
    sums[2] += x * x * x;
    sums[3] += x * x * x * x - 3;
    sums[4] += x * before;
    before = x;
  }
  constexpr double kVariances[] = {1, 2, 15, 96, 1};
  for (int i = 0; i < 5; i++) {
    const double errors = sums[i] / std::sqrt(kVariances[i] * count);
    check(std::fabs(errors) <= 5, "moment " + std::to_string(i) + " of normal numbers is off by " +
                                      std::to_string(errors) + " standard errors");
  }
  check(within, "uniform numbers lie in [0, 1)");
}

std::vector<float> haarOf(uint32_t rows, uint32_t n, Rng rng) {
  std::vector<float> q(uint64_t(rows) * n, NAN);
  drawHaar(rows, n, rng, q.data());
  return q;
}

void testOneHaar(uint32_t rows, uint32_t n) {
  const std::string name = "haar " + std::to_string(rows) + " x " + std::to_string(n);
  const std::vector<float> q = haarOf(rows, n, Rng(seed + n));
  float worst = 0;
  for (uint32_t i = 0; i < rows; i++) {
    for (uint32_t j = 0; j <= i; j++) {
      const float share = kernel->dot(q.data() + uint64_t(i) * n, q.data() + uint64_t(j) * n, n);
      worst = std::fmax(worst, std::fabs(share - static_cast<float>(i == j)));
    }
  }
  check(worst < 1e-5f, name + ": rows are off orthonormal by " + std::to_string(worst * 1e6f) + "e-6");

  // Entries of a random rotation are about normal of variance 1 / n: E x^2 = 1 / n, E x^4 = 3 / (n (n + 2)).
  double sum = 0, fourth = 0;
  for (const float x : q) {
    sum += x;
    fourth += double(x) * x * x * x;
  }
  const double count = static_cast<double>(q.size());
  const double mean = sum * std::sqrt(n / count), kurtosis = fourth / count * n * (n + 2) / 3;
  check(std::fabs(mean) <= 5, name + ": mean of the entries, in standard errors, is " + std::to_string(mean));
  // The variance of x^4 n^2 is 96, less what rows of length 1 take of it.
  check(std::fabs(kurtosis - 1) <= 5 * std::sqrt(96 / 9.0 / count) + 1e-4,
        name + ": fourth moment of the entries, in units of a rotation's, is " + std::to_string(kurtosis));

  Random random(seed);
  bool lengths = true, turned = true;
  for (int round = 0; round < 4; round++) {
    std::vector<float> x = random.gauss(rows), y(n, NAN);
    applyHaar(q.data(), rows, n, x.data(), y.data());
    const double squares = product(x.data(), x.data(), rows);
    lengths &= std::fabs(product(y.data(), y.data(), n) - squares) <= 1e-5 * squares;
    const uint32_t j = static_cast<uint32_t>(random() % n);
    double exact = 0;
    for (uint32_t i = 0; i < rows; i++) exact += double(x[i]) * q[uint64_t(i) * n + j];
    turned &= std::fabs(y[j] - exact) <= 1e-5 * std::sqrt(squares);
  }
  check(lengths, name + ": lengths are kept");
  check(turned, name + ": row i is where unit vector i goes");
}

// Of all orthogonal matrices evenly, the trace is about a standard normal; where signs are not drawn, it is not.
void testTraces() {
  constexpr uint32_t n = 64;
  const uint32_t draws = 1600 / share;
  double sum = 0, squares = 0, first = 0;
  for (uint32_t i = 0; i < draws; i++) {
    const std::vector<float> q = haarOf(n, n, Rng(seed * 1000000 + i));
    double trace = 0;
    for (uint32_t j = 0; j < n; j++) trace += q[j * n + j];
    sum += trace;
    squares += trace * trace;
    first += q[(n - 1) * n + n - 1] > 0 ? 1 : -1;
  }
  const double mean = sum / std::sqrt(double(draws)), square = (squares / draws - 1) / std::sqrt(2.0 / draws);
  check(std::fabs(mean) <= 5, "mean of traces, in standard errors, is " + std::to_string(mean));
  check(std::fabs(square) <= 5, "variance of traces is off by standard errors: " + std::to_string(square));
  check(std::fabs(first) <= 5 * std::sqrt(double(draws)), "signs of the last entry are even");
}

void testHaar() {
  std::vector<std::pair<uint32_t, uint32_t>> sizes = {{1, 64}, {64, 64}, {100, 128}, {200, 256}, {1000, 1024}};
  if (share == 1) sizes.push_back({1024, 1024});
  for (const auto& [rows, n] : sizes) testOneHaar(rows, n);
  testTraces();
  check(haarOf(64, 64, Rng(seed)) == haarOf(64, 64, Rng(seed)), "the same seed gives the same rotation");
  check(haarOf(64, 64, Rng(seed)) != haarOf(64, 64, Rng(seed + 1)), "another seed gives another rotation");

  const Kernel* const chosen = kernel;
  for (const auto& [rows, n] : sizes) {
    if (rows > 200 && share > 1) continue;
    Random random(seed);
    const std::vector<float> x = random.gauss(rows);
    std::vector<float> q, y;
    for (const Kernel* k : kernelsHere()) {
      kernel = k;
      const std::vector<float> again = haarOf(rows, n, Rng(seed));
      std::vector<float> turned(n, NAN);
      applyHaar(again.data(), rows, n, x.data(), turned.data());
      if (q.empty()) q = again, y = turned;
      check(sameBits(q, again) && sameBits(y, turned), "haar " + std::to_string(rows) + " x " + std::to_string(n) +
                                                           ": " + k->name + " gives the bits that all others give");
    }
    kernel = chosen;
  }
}

// The fast rotation as docs/format.md has it, its signs being the bits of the generator's words.
std::vector<double> turnedPlainly(const std::vector<float>& x, uint32_t n, Rng rng) {
  std::vector<double> v(x.begin(), x.end());
  v.resize(n);
  uint32_t power = 64;
  while (power * 2 <= n) power *= 2;
  for (uint32_t round = 0; round < 4; round++) {
    for (uint32_t i = 0; i < n; i += 64) {
      const uint64_t word = rng.next();
      for (uint32_t j = 0; j < 64; j++) v[i + j] *= word >> j & 1 ? -1 : 1;
    }
    double* const from = v.data() + (round % 2 ? n - power : 0);
    for (uint32_t h = 1; h < power; h *= 2) {
      for (uint32_t i = 0; i < power; i++) {
        if (i & h) continue;
        const double a = from[i], b = from[i + h];
        from[i] = (a + b) * std::sqrt(0.5);
        from[i + h] = (a - b) * std::sqrt(0.5);
      }
    }
    for (uint32_t i = 0; i < n / 2 && power < n; i++) {
      const double a = v[i], b = v[i + n / 2];
      v[i] = (a + b) * std::sqrt(0.5);
      v[i + n / 2] = (a - b) * std::sqrt(0.5);
    }
  }
  return v;
}

void testFastRotation() {
  Random random(seed);
  const Kernel* const chosen = kernel;
  bool padding = true, lengths = true, plain = true, same = true, different = true;
  for (const uint32_t d : {1, 64, 100, 128, 192, 200, 768, 784, 1000, 1024, 1025, 4096, 8192}) {
    const Rotation rotation(d, Rng(seed)), other(d, Rng(seed + 1));
    const uint32_t n = rotation.padded();
    padding &= n % 64 == 0 && n >= d && n < d + 64;
    const std::vector<float> x = random.gauss(d);
    std::vector<float> y(n, NAN), z(n, NAN);
    rotation.apply(x.data(), 1, y.data());
    other.apply(x.data(), 1, z.data());
    different &= !sameBits(y, z);
    const double squares = product(x.data(), x.data(), d);
    lengths &= std::fabs(product(y.data(), y.data(), n) - squares) <= 1e-5 * squares;
    const std::vector<double> exact = turnedPlainly(x, n, Rng(seed));
    for (uint32_t i = 0; i < n; i++) plain &= std::fabs(y[i] - exact[i]) <= 3e-6 * std::sqrt(squares);
    for (const Kernel* k : kernelsHere()) {
      kernel = k;
      rotation.apply(x.data(), 1, z.data());
      same &= sameBits(y, z);
    }
    kernel = chosen;
  }
  check(padding, "padded dimensions are the next multiple of 64");
  check(lengths, "a rotation by a generator keeps lengths");
  check(plain, "a rotation by a generator is the one that is specified");
  check(same, "a rotation by a generator has the same bits on every kernel");
  check(different, "another seed gives another rotation");
}

// One block and a query's table, as scanLeast is given them.
struct Block {
  Block(size_t n, size_t shift, Random& random) : shift(shift), codes(4 * n + shift), entries(4 * n + shift) {
    for (uint8_t& b : codes) b = static_cast<uint8_t>(random());
    const bool largest = random() % 3 == 0;
    for (uint8_t& b : entries) b = largest ? 63 : static_cast<uint8_t>(random() % 64);
    for (auto* list : {&add, &rescale, &error}) list->resize(32 + shift);
    for (size_t i = 0; i < 32 + shift; i++) {
      add[i] = random.gauss();
      rescale[i] = -0.1f - std::fabs(random.gauss());
      error[i] = std::fabs(random.gauss());
    }
    lut = {0.01f, -0.01f * 8 * static_cast<float>(n)};
  }
  Lanes32 lanes() const { return {add.data() + shift, rescale.data() + shift, error.data() + shift}; }
  size_t shift;
  std::vector<uint8_t> codes, entries;
  std::vector<float> add, rescale, error;
  Lut lut;
};

struct Answers {
  std::vector<float> estimates = std::vector<float>(33, -7), least = std::vector<float>(33, -7);
  uint32_t mask = 0;
};

Answers scanned(const Kernel* k, const Block& b, size_t n, const Around& around, float bound) {
  Answers a;
  a.mask = k->scanLeast(b.codes.data() + b.shift, b.entries.data() + b.shift, n / 4, b.lut, b.lanes(), around, bound,
                        a.estimates.data(), a.least.data());
  return a;
}

void testScanLeast() {
  Random random(seed);
  for (const Kernel* k : kernelsHere()) {
    bool same = true, masks = true, near = true, inside = true;
    for (size_t n = 64; n <= 8192; n += 64) {
      const Block healthy(n, random() % 4, random);
      Block b = healthy;
      const size_t at = b.shift;
      b.add[at + 3] = b.add[at + 31] = INFINITY;  // lanes without a vector
      b.add[at + 9] = -INFINITY;
      b.add[at + 16] = NAN;
      b.rescale[at + 5] = -INFINITY;
      b.error[at + 11] = INFINITY;
      b.error[at + 20] = NAN;
      b.error[at + 21] = -NAN;
      const Around around{2.5f, 0.75f, 0.3f};
      std::vector<float> sorted = scanned(&kScalar, healthy, n, around, 0).least;
      sorted.resize(32);
      std::sort(sorted.begin(), sorted.end());
      const float middle = sorted[16];
      for (const Block* block : {&healthy, static_cast<const Block*>(&b)}) {
        for (const float bound : {middle, std::nextafter(middle, -INFINITY), 0.0f, INFINITY, -INFINITY, NAN}) {
          const Answers got = scanned(k, *block, n, around, bound),
                        expected = scanned(&kScalar, *block, n, around, bound);
          same &= sameBits(got.estimates, expected.estimates) && sameBits(got.least, expected.least);
          inside &= got.estimates[32] == -7 && got.least[32] == -7;
          for (uint32_t lane = 0; lane < 32; lane++) {
            masks &= (got.mask >> lane & 1) == !(expected.least[lane] > bound);
          }
        }
      }
      const Answers got = scanned(k, healthy, n, around, middle);
      for (uint32_t lane = 0; lane < 32; lane++) {
        int64_t sum = 0;
        for (size_t q = 0; q < n / 4; q++) {
          const uint8_t byte = healthy.codes[at + 16 * q + lane % 16];
          sum += healthy.entries[at + 16 * q + (lane < 16 ? byte & 15 : byte >> 4)];
        }
        const double add = healthy.add[at + lane], rescale = healthy.rescale[at + lane];
        const double most = double(healthy.lut.step) * static_cast<double>(sum) - healthy.lut.offset;
        const double estimate =
            add + around.base + rescale * (double(healthy.lut.step) * static_cast<double>(sum) + healthy.lut.offset);
        const double least = estimate + rescale * around.slack - double(healthy.error[at + lane]) * around.apart;
        const double rounding = 1e-6 * (std::fabs(add) + 10 - rescale * most);
        near &= std::fabs(got.estimates[lane] - estimate) <= rounding;
        near &= std::fabs(got.least[lane] - least) <= rounding;
        masks &= std::fabs(least - middle) <= rounding || (got.mask >> lane & 1) == (least < middle);
      }
    }
    const std::string name = k->name;
    check(same, name + ": scanLeast bit-equal to scalar");
    check(near, name + ": scanLeast gives the estimates and what they are at least");
    check(masks, name + ": scanLeast names the lanes that are not above the bound, and no others");
    check(inside, name + ": scanLeast writes 32 lanes");
  }
}

void testDotPlanes() {
  Random random(seed);
  for (const Kernel* k : kernelsHere()) {
    bool exact = true, extreme = true;
    for (size_t n = 64; n <= 8192; n += 64) {
      for (uint32_t bits = 1; bits <= 8; bits++) {
        for (int kind = 0; kind < 4; kind++) {  // any; the largest sum; the least; levels at their most, values in turn
          const size_t shift = random() % 4;
          std::vector<uint8_t> planes(n / 8 * bits + shift);
          std::vector<int16_t> values(n + shift);
          int64_t sum = 0;
          uint64_t chance = 0;
          for (size_t i = 0; i < n; i++) {
            if (i % 4 == 0) chance = random();
            const uint32_t word = static_cast<uint32_t>(chance >> (i % 4 * 16)) & 0xffff;
            const uint32_t most = (1u << bits) - 1, level = kind == 0 ? word & most : most;
            const int16_t value = static_cast<int16_t>(kind == 0                           ? int(word % 2047) - 1023
                                                       : kind == 1 || (kind == 3 && i % 2) ? 1023
                                                                                           : -1023);
            values[shift + i] = value;
            sum += int64_t{values[shift + i]} * level;
            for (uint32_t p = 0; p < bits; p++) {
              planes[shift + i / 64 * 8 * bits + 8 * p + i % 64 / 8] |=
                  static_cast<uint8_t>((level >> p & 1) << (i % 8));
            }
          }
          (kind == 0 ? exact : extreme) &= k->dotPlanes(planes.data() + shift, bits, values.data() + shift, n) == sum;
        }
      }
    }
    check(exact, std::string(k->name) + ": dotPlanes is exact");
    check(extreme, std::string(k->name) + ": dotPlanes is exact with all values and levels at their extremes");
  }
}

}  // namespace

void testFrozenCodes() {
  testChance();
  testHaar();
  testFastRotation();
  testScanLeast();
  testDotPlanes();
}

}  // namespace hebb::test
