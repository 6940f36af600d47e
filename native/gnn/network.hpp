// The message-passing network over a graph's rows: layers, what serving needs of them, and a whole training step.
// The equations are those of model/gnn/layer.ts, which says the same without blocks, threads and tapes.
//
// Shapes: B anchors, N places for neighbours, P pool rows, d dimensions, H = hidden, m heads of H / m values. Matrices
// lie row after row. One definition of each sum (products.hpp) makes results independent of the number of threads, of
// the instruction set (float) and of how many anchors come at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "crew.hpp"

namespace hebb::gnn {

constexpr uint32_t kMasked = 0xffffffffu;

enum class Metric : uint8_t { cosine, l2, dot };

struct Shape {
  uint32_t d, hidden, heads;
  bool linear;  // linear propagation: no matrices, the gate alone
  Metric metric;
  double bound;  // on |change| / |x|; infinite: none

  size_t parameters() const;  // values of a layer
  size_t stateWidth() const { return linear ? d : 2 * size_t{hidden}; }
  size_t attentionHeads() const { return linear ? 1 : heads; }
};

// Where a layer's blocks begin in its parameters. W_K and W_V lie one after the other, and so do W_z W_r W_n,
// U_z U_r U_n and b_z b_r b_n c_n: each group is one matrix to a product.
struct Blocks {
  size_t msg, query, keyValue, aggregate, w, u, biases, gain, bias, gate, end;
  explicit Blocks(const Shape& shape);
};

// What one layer leaves behind for its backward pass; serving uses it as a workspace. Grows, never shrinks.
template <typename T>
struct Tape {
  std::vector<T> messages, states;                                // P x H, P x stateWidth
  std::vector<T> q, context, agg, w, u;                           // B x H, B x H, B x d, B x 3d, B x 3d
  std::vector<T> normal, delta, out, attention;                   // B x d, B x d, B x d, B x heads x N
  std::vector<T> vectors;                                         // what of halves is no matrix, widened
  std::vector<T> scale, bounded, length, lengthIn, lengthChange;  // B: 1 / deviation, c, |x + c e|, |x|, |e|
  std::vector<uint8_t> hears;                                     // B: whether any place counts
  void reserve(const Shape& shape, size_t anchors, size_t places);
};

// A layer's parameters, in full or in half precision (float only): results with halves are those with the halves
// widened.
template <typename T>
struct Parameters {
  const T* full;
  const uint16_t* half;
};

struct Dropout {
  double rate = 0;
  uint32_t seed = 0, layer = 0;
};

// Keys and values of `count` pool rows (count x d) into `states` (count x stateWidth); under linear propagation the
// rows themselves. `messages` is room for count x H.
template <typename T>
void keysAndValues(const Shape& shape, const Parameters<T>& parameters, const T* pool, size_t count, T* messages,
                   T* states, Crew& crew);

// One layer for B anchors x, from the states of pool rows at index (B x N; every one below the pool's count, or
// kMasked) with logWeights (B x N; minus infinity is masked too), into the tape: its out and attention are the result.
template <typename T>
void attend(const Shape& shape, const Parameters<T>& parameters, const T* x, size_t anchors, const T* states,
            const uint32_t* index, const T* logWeights, size_t places, const Dropout& dropout, Tape<T>& tape,
            Crew& crew);

// InfoNCE of `count` logits, the first `positives` of which belong to positives; `gradient` receives dL/dlogits.
// As training/infonce.ts.
template <typename T>
T infoNce(const T* logits, const T* weights, size_t positives, size_t count, T* gradient, bool decoupled);

template <typename T>
struct StepLayer {
  const T* parameters;
  const T* pool;
  size_t poolRows;
  const uint32_t* index;  // B x N
  const T* logWeights;    // B x N
  size_t places;
  T* gradient;            // of the parameters
  T* gradientLogWeights;  // B x N
};

template <typename T>
struct Step {
  const T* x;  // B x d
  size_t anchors;
  std::vector<StepLayer<T>> layers;
  const T* rows;               // R x d
  const uint32_t* candidates;  // B x C, kMasked allowed
  size_t candidatePlaces;      // C
  const uint32_t* positives;   // B: how many places come first
  const T* weights;            // B x C: of the positives
  double divisor;
  bool decoupled;
  double dropout;
  uint32_t seed;
  T* losses;     // B
  T* gradientX;  // B x d, or null
};

// What a step writes on its way. Kept from step to step it spares asking the system for memory, and zeroing it.
template <typename T>
struct Scratch {
  std::vector<Tape<T>> tapes;
  std::vector<T> g, candidates, toDelta, toGate, toW, toU, toAgg, toContext, toQ, toScores, toStates, toMessages;
  std::vector<uint8_t> counts;
};

// Losses and gradients (summed over anchors; what they held is overwritten). An anchor whose loss, or whose change in
// any layer, is not finite adds nothing. Returns how many there were.
template <typename T>
size_t step(const Shape& shape, const Step<T>& of, Scratch<T>& scratch, unsigned threads);

// A step of the optimizer on n values; t counts from 1.
void adam(float* x, const float* gradient, float* first, float* second, size_t n, double rate, double beta1,
          double beta2, double epsilon, double decay, uint32_t t);

}  // namespace hebb::gnn
