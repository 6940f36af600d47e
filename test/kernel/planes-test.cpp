// Codes in planes, and the estimates by them, held against what RaBitQ says of rotations of both kinds.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "quantize/haar.hpp"
#include "quantize/rabitq.hpp"
#include "quantize/rotation.hpp"
#include "testing.hpp"

namespace hebb::test {
namespace {

double product(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += double(a[i]) * b[i];
  return sum;
}

std::vector<float> difference(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> out(a.size());
  for (size_t i = 0; i < a.size(); i++) out[i] = a[i] - b[i];
  return out;
}

double distanceOf(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  double square = 0;
  for (size_t i = 0; i < a.size(); i++) square += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
  return metric == Metric::kL2 ? square : metric == Metric::kDot ? -product(a, b) : 0.5 * square;
}

// Either kind of rotation.
struct Turn {
  Turn(uint32_t d, bool isHaar, uint64_t from) : d(d), fast(d, Rng(from)) {
    if (!isHaar) return;
    haar.resize(uint64_t(d) * fast.padded());
    drawHaar(d, fast.padded(), Rng(from), haar.data());
  }
  std::vector<float> operator()(const std::vector<float>& x) const {
    std::vector<float> out(fast.padded(), NAN);
    if (haar.empty()) fast.apply(x.data(), 1, out.data());
    else applyHaar(haar.data(), d, fast.padded(), x.data(), out.data());
    return out;
  }
  uint32_t d;
  Rotation fast;
  std::vector<float> haar;
};

// Levels less their middle, read by the order that kernel.hpp gives.
std::vector<float> unpacked(const std::vector<uint8_t>& planes, uint32_t n, uint32_t bits) {
  std::vector<float> w(n);
  for (uint32_t i = 0; i < n; i++) {
    uint32_t level = 0;
    for (uint32_t p = 0; p < bits; p++) level |= (planes[i / 64 * 8 * bits + 8 * p + i % 64 / 8] >> (i % 8) & 1u) << p;
    w[i] = static_cast<float>(level) - 0.5f * static_cast<float>((1 << bits) - 1);
  }
  return w;
}

struct Spread {
  double sum = 0, squares = 0;
  uint64_t count = 0;
  void add(double x) {
    sum += x;
    squares += x * x;
    count++;
  }
  double mean() const { return sum / static_cast<double>(count); }
  double rootMeanSquare() const { return std::sqrt(squares / static_cast<double>(count)); }
  double standardErrors() const {
    return mean() / std::sqrt((squares / static_cast<double>(count) - mean() * mean()) / static_cast<double>(count));
  }
};

constexpr uint32_t kBits[] = {1, 2, 4, 8};
constexpr uint32_t kOthers = 8, kQueries = 3;

struct Sample {
  std::vector<float> centre;
  std::vector<std::vector<float>> others, queries;
};

// Gaussian, or far from the origin and apart in few directions; the centre is a mean, as that of a cluster.
Sample sampleOf(uint32_t d, bool clustered, bool unit, Random& random) {
  const std::vector<float> middle = random.gauss(d);
  const auto draw = [&] {
    std::vector<float> v = random.gauss(d);
    for (uint32_t i = 0; i < d && clustered; i++) v[i] = 4 * middle[i] + 4 * v[i] / static_cast<float>(8 + i);
    const float scale = unit ? static_cast<float>(1 / std::sqrt(product(v, v))) : 1;
    for (float& x : v) x *= scale;
    return v;
  };
  Sample s{std::vector<float>(d), {}, {}};
  for (uint32_t i = 0; i < kOthers; i++) s.others.push_back(draw());
  for (uint32_t i = 0; i < kQueries; i++) s.queries.push_back(draw());
  for (uint32_t i = 0; i < 16; i++) {
    const std::vector<float> v = draw();
    for (uint32_t j = 0; j < d; j++) s.centre[j] += v[j] / 16;
  }
  return s;
}

// What was seen of codes of so many bits, in units of the theory.
struct Seen {
  Spread errors, rotations, aligned, rounding, allowed;
  std::vector<Spread> pairs = std::vector<Spread>(kOthers * kQueries);
};

// A code and its factors against what they say of r, in double.
bool saysWhatItIs(Metric metric, const std::vector<float>& r, const std::vector<float>& c, double along,
                  const OwnFactors& f, const std::vector<float>& w, double* aligned) {
  const double squares = product(r, r), s = product(r, w), length = product(w, w);
  const double factor = metric == Metric::kL2 ? 2 : 1, scale = squares / s;
  *aligned = s / std::sqrt(squares * length);
  const double own = metric == Metric::kL2 ? squares : metric == Metric::kDot ? -along : 0.5 * squares;
  const double rest = 1 / (*aligned * *aligned) - 1, error = std::sqrt(rest / static_cast<double>(r.size() - 1));
  bool says = std::fabs(f.rescale + factor * scale) <= 1e-5 * factor * scale && f.reserved == 0;
  // `rest` is the small difference of what is nearly 1.
  says &= std::fabs(f.error - factor * std::sqrt(squares) * error) <= (1e-3 + 1e-6 / rest) * f.error;
  const double add = own + factor * scale * product(w, c);
  says &= std::fabs(f.add - add) <= 2e-6 * (std::fabs(own) + factor * scale * std::sqrt(length * product(c, c)));
  for (size_t i = 0; i < r.size(); i++) says &= r[i] == 0 || (w[i] > 0) == (r[i] > 0);
  return says;
}

struct Biases {
  Spread each;  // squares of mean errors, in standard errors
  double worst = 0;
};

void testPlanesOf(Metric metric, uint32_t d, bool haar, bool clustered, Biases* biases) {
  const uint32_t rotations = std::max(600 / share, 150u);
  Random random(seed * 100000 + 20000 * static_cast<uint32_t>(metric) + 4 * d + 2 * clustered + haar);
  const Sample sample = sampleOf(d, clustered, metric == Metric::kCosine, random);
  Seen seen[std::size(kBits)];
  bool says = true, sums = true;
  for (uint32_t number = 0; number < rotations; number++) {
    const Turn turn(d, haar, random());
    const uint32_t n = turn.fast.padded();
    const std::vector<float> c = turn(sample.centre);
    std::vector<std::vector<float>> queries;
    std::vector<std::vector<int16_t>> values(kQueries, std::vector<int16_t>(n));
    std::vector<PlanesQuery> levels;
    for (uint32_t i = 0; i < kQueries; i++) {
      queries.push_back(turn(sample.queries[i]));
      levels.push_back(preparePlanes(queries[i].data(), n, values[i].data()));
    }
    Spread ofTurn[std::size(kBits)];
    for (uint32_t j = 0; j < kOthers; j++) {
      const std::vector<float> residual = difference(sample.others[j], sample.centre), r = turn(residual);
      const double along = product(residual, sample.centre), length = std::sqrt(product(residual, residual));
      for (uint32_t b = 0; b < std::size(kBits); b++) {
        const uint32_t bits = kBits[b];
        std::vector<uint8_t> planes(n / 8 * bits, 0xff);
        const OwnFactors f =
            encodePlanes(metric, r.data(), c.data(), n, bits, static_cast<float>(along), planes.data());
        const std::vector<float> w = unpacked(planes, n, bits);
        double aligned;
        says &= saysWhatItIs(metric, r, c, along, f, w, &aligned);
        seen[b].aligned.add(aligned);
        for (uint32_t i = 0; i < kQueries; i++) {
          const std::vector<float> apart = difference(sample.queries[i], sample.centre);
          const double far = std::sqrt(product(apart, apart)), cosine = product(apart, residual) / far / length;
          const double exact = product(w, queries[i]);
          const double estimate = f.add + distanceOf(metric, sample.queries[i], sample.centre) + f.rescale * exact;
          const double error = (estimate - distanceOf(metric, sample.queries[i], sample.others[j])) /
                               (f.error * far * std::sqrt(1 - cosine * cosine));
          seen[b].errors.add(error);
          seen[b].pairs[j * kQueries + i].add(error);
          ofTurn[b].add(error);

          // The same by whole numbers, as a search takes them.
          const int32_t sum = kernel->dotPlanes(planes.data(), bits, values[i].data(), n);
          const double centred = sum - 0.5 * ((1 << bits) - 1) * levels[i].total;
          double plain = 0;
          for (uint32_t v = 0; v < n; v++) plain += double(w[v]) * values[i][v];
          sums &= std::fabs(plain - centred) < 1e-3;
          const double deviation = levels[i].step * std::sqrt(product(w, w) / 12);
          seen[b].rounding.add((levels[i].step * centred - exact) / deviation);
          seen[b].allowed.add(deviation / (levels[i].step * std::sqrt(n * (std::pow(4, bits) - 1) / 144)));
        }
      }
    }
    for (uint32_t b = 0; b < std::size(kBits); b++) seen[b].rotations.add(ofTurn[b].mean());
  }
  const std::string name = std::string(metric == Metric::kL2    ? "l2 "
                                       : metric == Metric::kDot ? "dot "
                                                                : "cosine ") +
                           std::to_string(d) + (haar ? " haar" : " fast") + (clustered ? " clustered" : " gaussian");
  check(says, name + ": factors and signs are those of the code");
  check(sums, name + ": dotPlanes is the product with the levels, the middle taken off");
  constexpr double kAligned[][2] = {{0.78, 0.82}, {0.93, 0.95}, {0.993, 0.996}, {0.9999, 1}};
  for (uint32_t b = 0; b < std::size(kBits); b++) {
    const auto within = [&](double value, double from, double to, const std::string& what) {
      check(value >= from && value <= to,
            name + ", " + std::to_string(kBits[b]) + " bits: " + what + " is " + std::to_string(value));
    };
    Spread pairs;  // of a pair's mean, in standard errors: about 1 where there is no bias
    for (const Spread& pair : seen[b].pairs) pairs.add(pair.standardErrors() * pair.standardErrors());
    const double bias = seen[b].rotations.standardErrors(), deviation = seen[b].errors.rootMeanSquare();
    biases->each.add(bias * bias);
    biases->worst = std::fmax(biases->worst, std::fabs(bias));
    within(bias, -4.5, 4.5, "an estimate's mean error, in standard errors,");
    within(pairs.mean(), 0, 3, "the square of a pair's mean error, in standard errors,");
    within(deviation, 0.95, 1.05, "spread of estimates, in deviations of the theory,");
    within(seen[b].aligned.mean(), kAligned[b][0], kAligned[b][1], "a code's cosine with what it stands for");
    within(seen[b].rounding.rootMeanSquare(), 0.9, 1.1, "spread of products by whole numbers");
    within(seen[b].allowed.mean(), 0.3, 1.05, "the same, of what a search allows for,");
    if (share == 1)
      std::printf("%s, %u bits: bias %.2f, spread %.3f, pairs %.2f\n", name.c_str(), kBits[b], bias, deviation,
                  pairs.mean());
  }
}

// By how much a code of normal values turns from them, by bits: what the best even steps leave of the variance (Max
// 1960), or less where steps suit the few values that there are.
void testFits() {
  constexpr double kLeft[] = {0, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.001041, 0.0003035, 0.0000869};
  Rng rng(seed);
  for (uint32_t bits = 1; bits <= 8; bits++) {
    Spread left;
    for (int round = 0; round < 8; round++) {
      const uint32_t n = 1024;
      std::vector<float> r(n);
      for (float& x : r) x = std::ldexp(static_cast<float>(rng.gaussian()), 4 * round - 16);  // of any length
      std::vector<uint8_t> planes(n / 8 * bits);
      const std::vector<float> nothing(n);
      encodePlanes(Metric::kL2, r.data(), nothing.data(), n, bits, 0, planes.data());
      const std::vector<float> w = unpacked(planes, n, bits);
      left.add(1 - product(r, w) * product(r, w) / product(r, r) / product(w, w));
    }
    const double times = left.mean() / kLeft[bits];
    check(times > 0.6 && times < 1.2, std::to_string(bits) + " bits leave, in units of the best even steps, " +
                                          std::to_string(times) + " of the variance");
  }
}

// Vectors that are where the centre is: nothing is left to estimate.
void testNothing() {
  Random random(seed);
  bool exact = true;
  for (const uint32_t bits : {1u, 3u, 8u}) {
    for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
      for (const float tiny : {0.0f, 1e-20f, 1e-40f}) {
        const std::vector<float> r(128, tiny), c = random.gauss(128);
        std::vector<uint8_t> planes(128 / 8 * bits, 0xff);
        const OwnFactors f = encodePlanes(metric, r.data(), c.data(), 128, bits, 0.25f, planes.data());
        // What no code tells, the product with what is left, is at most its length times the query's.
        const float length = std::sqrt(kernel->dot(r.data(), r.data(), 128));
        exact &= f.error == (metric == Metric::kL2 ? 2 : 1) * length;
        exact &= f.rescale == 0 && std::fabs(f.add - (metric == Metric::kDot ? -0.25f : 0)) < 1e-30f;
        exact &= std::all_of(planes.begin(), planes.end(), [](uint8_t b) { return b == 0; });
      }
    }
  }
  check(exact, "a vector equal to the centre has the centre's distance, whatever the query");
}

// Queries whose values a float barely holds, and such that no float holds once they are rotated.
void testPreparing() {
  Random random(seed);
  bool bounded = true, totals = true, near = true;
  for (const float size : {1.0f, 1e-25f, 1e-38f, 1e-44f, 1e37f, 3e38f, 0.0f, INFINITY, NAN}) {
    for (const uint32_t n : {64u, 1024u, 8192u}) {
      std::vector<float> q = random.gauss(n);
      for (float& x : q) x = std::fmax(-1, std::fmin(1, x)) * size;  // 0 x infinity is among them
      q[3] = -size;
      q[n / 2] = size * (0x1.fffffep-1f);
      std::vector<int16_t> values(n, 30000);
      const PlanesQuery levels = preparePlanes(q.data(), n, values.data());
      int64_t total = 0;
      for (uint32_t i = 0; i < n; i++) {
        bounded &= values[i] >= -1023 && values[i] <= 1023;
        total += values[i];
        if (size > 1e-30f && std::isfinite(size))
          near &= std::fabs(double(values[i]) * levels.step - q[i]) <= 0.5001 * levels.step;
      }
      totals &= total == levels.total;
    }
  }
  check(bounded, "values for planes lie within 1,023, whatever the query");
  check(totals, "the total is that of the values");
  check(near, "values are off by half a step at most");
}

}  // namespace

void testPlanes() {
  Biases biases;
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kCosine}) {
    for (const uint32_t d : {64u, 100u, 192u}) {
      if (share > 1 && d != 100 && metric != Metric::kL2) continue;  // they differ by factors alone
      for (const bool haar : {false, true}) {
        if (share > 1 && haar && d > 100) continue;  // drawing it takes long
        for (const bool clustered : {false, true}) testPlanesOf(metric, d, haar, clustered, &biases);
      }
    }
  }
  const double all = biases.each.mean();
  std::printf("estimates by planes: mean errors have a mean square of %.2f standard errors, the worst %.2f\n", all,
              biases.worst);
  check(all <= 2.2, "mean square of mean errors, in standard errors, is " + std::to_string(all));
  testFits();
  testNothing();
  testPreparing();
}

}  // namespace hebb::test
