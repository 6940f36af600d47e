#include <algorithm>
#include <cstring>

#include "addon.hpp"
#include "frozen/build.hpp"
#include "frozen/frozen.hpp"
#include "graph/copy.hpp"
#include "map/platform.hpp"

namespace hebb::addon {
namespace {

FrozenShape shapeOf(const Graph& graph, const Napi::Object& o) {
  return {graph.options().dimensions, graph.options().metric, o.Get("bits").As<Napi::Number>().Uint32Value(),
          o.Get("haar").ToBoolean().Value(), whole(o.Get("seed"))};
}

bool isPossible(const FrozenShape& shape) {
  return shape.bits >= 1 && shape.bits <= kMostBits && shape.dimensions <= kMostFrozenDimensions;
}

// All that a bundle holds of a graph, as bytes to write.
struct Snapshot {
  Snapshot(std::shared_ptr<Graph> of, const FrozenShape& s, const Span<uint32_t>& order, const Span<uint8_t>& without,
           Tier tier)
      : graph(std::move(of)),
        shape(s),
        nodes(order.data, order.data + order.length),
        left(without.data, without.data + without.length),
        copy(*graph, nodes, tier) {}
  std::shared_ptr<Graph> graph;
  FrozenShape shape;
  std::vector<uint32_t> nodes;
  std::vector<uint8_t> left;
  GraphCopy copy;
  FrozenBuild build;
};

class SnapshotTask : public Task {
 public:
  SnapshotTask(Napi::Env env, std::shared_ptr<Snapshot> snapshot, uint32_t clusters, unsigned threads)
      : Task(env, snapshot->graph), snapshot_(std::move(snapshot)), clusters_(clusters), threads_(threads) {}
  void Execute() override {
    Snapshot& s = *snapshot_;
    const uint64_t coded = s.nodes.size() - static_cast<uint64_t>(std::count(s.left.begin(), s.left.end(), 1));
    sound_ = s.copy.prepare() && s.build.run(*s.graph, s.shape, s.nodes, s.left,
                                             clusters_ ? clusters_ : FrozenBuild::standardClusters(coded), threads_);
  }

 private:
  std::shared_ptr<Snapshot> snapshot_;
  uint32_t clusters_;
  unsigned threads_;
};

// new Snapshot(graph, { bits, haar, seed }, nodes, left, tier)
class SnapshotObject : public Napi::ObjectWrap<SnapshotObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Snapshot",
                       {InstanceMethod("prepare", &SnapshotObject::reading<&SnapshotObject::prepare>),
                        InstanceMethod("build", &SnapshotObject::build), InstanceMethod("size", &SnapshotObject::size),
                        InstanceMethod("read", &SnapshotObject::reading<&SnapshotObject::read>),
                        InstanceMethod("close", &SnapshotObject::close)});
  }

  explicit SnapshotObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SnapshotObject>(info) {
    const std::shared_ptr<Graph> graph = graphOf(info[0]);
    const auto nodes = span<Napi::Uint32Array>(info[2]);
    const auto left = span<Napi::Uint8Array>(info[3]);
    if (!graph) {
      fail(info.Env(), "the graph is closed");
      return;
    }
    const FrozenShape shape = shapeOf(*graph, info[1].As<Napi::Object>());
    const uint32_t tier = info[4].As<Napi::Number>().Uint32Value();
    const bool known =
        std::all_of(nodes.data, nodes.data + nodes.length, [&](uint32_t n) { return n < graph->nodes(); });
    if (!known || nodes.length == 0 || (left.length && left.length != nodes.length) || tier >= kTiers ||
        !isPossible(shape)) {
      fail(info.Env(), "nodes of the graph, bits from 1 to 8 and at most 8,192 dimensions were expected");
      return;
    }
    snapshot_ = std::make_shared<Snapshot>(graph, shape, nodes, left, static_cast<Tier>(tier));
  }

 private:
  template <Napi::Value (SnapshotObject::*method)(const Napi::CallbackInfo&)>
  Napi::Value reading(const Napi::CallbackInfo& info) {
    const Napi::Value value = (this->*method)(info);
    return snapshot_ ? believed(info.Env(), snapshot_->graph->region(), value) : value;
  }
  bool open(const Napi::CallbackInfo& info) {
    if (!snapshot_) fail(info.Env(), "the snapshot is closed");
    return snapshot_ != nullptr;
  }

  // The graph's memory is not to wait for JavaScript to notice that nobody needs this any more.
  Napi::Value close(const Napi::CallbackInfo& info) {
    snapshot_.reset();
    return info.Env().Undefined();
  }

  Napi::Value prepare(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    if (!snapshot_->copy.prepare()) throwFault(info.Env(), snapshot_->graph->region().fault());
    return info.Env().Undefined();
  }

  // build(clusters, threads): clusters 0: as many as suit
  Napi::Value build(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t threads = info[1].As<Napi::Number>().Uint32Value();
    SnapshotTask* task = new SnapshotTask(info.Env(), snapshot_, info[0].As<Napi::Number>().Uint32Value(),
                                          threads ? threads : platform::processorCount());
    task->Queue();
    return task->promise();
  }

  // What was built for a section, and the bytes of a record; null for sections of the graph.
  struct Built {
    const std::vector<uint8_t>* bytes;
    uint64_t stride;
  };
  Built built(uint32_t section) const {
    const FrozenBuild& b = snapshot_->build;
    const FrozenLayout layout(snapshot_->shape);
    switch (section) {
      case kRotation:
        return {&b.rotation, layout.padded * sizeof(float)};
      case kClusters:
        return {&b.clusters, layout.clusterStride};
      case kCodes:
        return {&b.codes, layout.blockStride};
      case kPlanes:
        return {&b.planes, std::max<uint64_t>(layout.planesStride, 1)};
      case kRanges:
        return {&b.ranges, sizeof(Range)};
      default:
        return {nullptr, snapshot_->copy.stride(static_cast<Section>(section))};
    }
  }
  uint64_t countOf(uint32_t section, const Built& b) const {
    return b.bytes ? b.bytes->size() / b.stride : snapshot_->copy.count(static_cast<Section>(section));
  }

  // size(section) -> { stride, count }
  Napi::Value size(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t section = info[0].As<Napi::Number>().Uint32Value();
    const Built b = built(section);
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("stride", static_cast<double>(b.stride));
    out.Set("count", static_cast<double>(countOf(section, b)));
    return out;
  }

  // read(section, first, count) -> the bytes of these records
  Napi::Value read(const Napi::CallbackInfo& info) {
    const uint32_t section = info[0].As<Napi::Number>().Uint32Value();
    const uint64_t first = whole(info[1]), count = whole(info[2]);
    if (!open(info)) return info.Env().Undefined();
    const Built b = built(section);
    const uint64_t there = countOf(section, b);
    if (first > there || count > there - first) return fail(info.Env(), "records past the last");
    Napi::Uint8Array out = Napi::Uint8Array::New(info.Env(), count * b.stride);
    if (b.bytes) {
      if (count) std::memcpy(out.Data(), b.bytes->data() + first * b.stride, count * b.stride);
    } else if (!snapshot_->copy.read(static_cast<Section>(section), first, count, out.Data())) {
      throwFault(info.Env(), snapshot_->graph->region().fault());
      return info.Env().Undefined();
    }
    return out;
  }

  std::shared_ptr<Snapshot> snapshot_;
};

class ScanManyTask : public Task {
 public:
  ScanManyTask(Napi::Env env, std::shared_ptr<Frozen> frozen, std::shared_ptr<Graph> graph, const Span<float>& queries,
               uint32_t k, uint32_t rerank)
      : Task(env, std::move(graph)),
        frozen_(std::move(frozen)),
        queries_(queries.data, queries.data + queries.length),
        k_(k),
        rerank_(rerank) {
    counts_.resize(queries_.size() / graph_->options().dimensions);
    nodes_.resize(counts_.size() * k);
    distances_.resize(counts_.size() * k);
  }
  void Execute() override {
    sound_ = frozen_->scanMany(queries_.data(), static_cast<uint32_t>(counts_.size()), k_, rerank_,
                               platform::processorCount(), nodes_.data(), distances_.data(), counts_.data());
  }
  Napi::Value result() override { return manyResults(Env(), nodes_, distances_, counts_); }

 private:
  std::shared_ptr<Frozen> frozen_;
  std::vector<float> queries_;
  uint32_t k_, rerank_;
  std::vector<uint32_t> nodes_;
  std::vector<float> distances_;
  std::vector<int32_t> counts_;
};

// new Frozen(graph, { bits, haar, seed, clusters, blocks, coded })
class FrozenObject : public Napi::ObjectWrap<FrozenObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "Frozen",
        {InstanceMethod("scan", &FrozenObject::reading<&FrozenObject::scan>),
         InstanceMethod("scanMany", &FrozenObject::scanMany), InstanceMethod("work", &FrozenObject::work),
         InstanceMethod("close", &FrozenObject::close), StaticMethod("strides", &FrozenObject::strides)});
  }

  explicit FrozenObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<FrozenObject>(info) {
    graph_ = graphOf(info[0]);
    if (!graph_) {
      fail(info.Env(), "the graph is closed");
      return;
    }
    const Napi::Object o = info[1].As<Napi::Object>();
    const Frozen::Counts counts{o.Get("clusters").As<Napi::Number>().Uint32Value(), whole(o.Get("blocks")),
                                o.Get("coded").As<Napi::Number>().Uint32Value()};
    const char* error = nullptr;
    const FrozenShape shape = shapeOf(*graph_, o);
    if (!isPossible(shape)) {
      fail(info.Env(), "bits from 1 to 8 and at most 8,192 dimensions were expected");
      return;
    }
    frozen_ = Frozen::attach(graph_, shape, counts, &error);
    const bool lost = graph_->region().lost();
    if (lost) frozen_.reset();
    if (frozen_) return;
    if (lost || std::strcmp(error, "checksum") == 0) throwFault(info.Env(), graph_->region().fault());
    else fail(info.Env(), error);
  }

 private:
  // strides({ dimensions, bits }) -> bytes of a cluster, of a block, and of a lane's planes
  static Napi::Value strides(const Napi::CallbackInfo& info) {
    const Napi::Object o = info[0].As<Napi::Object>();
    const FrozenLayout layout({o.Get("dimensions").As<Napi::Number>().Uint32Value(), Metric::kL2,
                               o.Get("bits").As<Napi::Number>().Uint32Value(), false, 0});
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("padded", layout.padded);
    out.Set("cluster", static_cast<double>(layout.clusterStride));
    out.Set("block", static_cast<double>(layout.blockStride));
    out.Set("planes", static_cast<double>(layout.planesStride));
    return out;
  }

  template <Napi::Value (FrozenObject::*method)(const Napi::CallbackInfo&)>
  Napi::Value reading(const Napi::CallbackInfo& info) {
    const Napi::Value value = (this->*method)(info);
    return graph_ ? believed(info.Env(), graph_->region(), value) : value;
  }
  bool open(const Napi::CallbackInfo& info) {
    if (!frozen_) fail(info.Env(), "the bundle is closed");
    return frozen_ != nullptr;
  }

  // scan(query, k, rerank, outNodes, outDistances) -> how many
  Napi::Value scan(const Napi::CallbackInfo& info) {
    const auto query = span<Napi::Float32Array>(info[0]);
    const uint32_t k = info[1].As<Napi::Number>().Uint32Value(), rerank = info[2].As<Napi::Number>().Uint32Value();
    const auto nodes = span<Napi::Uint32Array>(info[3]);
    const auto distances = span<Napi::Float32Array>(info[4]);
    if (!open(info)) return info.Env().Undefined();
    if (query.length != graph_->options().dimensions || k == 0 || nodes.length < k || distances.length < k)
      return fail(info.Env(), "a query of the bundle's dimensions and room for k results were expected");
    const int32_t count = frozen_->scan(query.data, k, rerank, nodes.data, distances.data);
    if (count >= 0) return Napi::Number::New(info.Env(), count);
    throwFault(info.Env(), graph_->region().fault());
    return info.Env().Undefined();
  }

  // scanMany(queries, k, rerank) -> { nodes, distances, counts }
  Napi::Value scanMany(const Napi::CallbackInfo& info) {
    const auto queries = span<Napi::Float32Array>(info[0]);
    if (!open(info)) return info.Env().Undefined();
    if (queries.length % graph_->options().dimensions != 0 || info[1].As<Napi::Number>().Uint32Value() == 0)
      return fail(info.Env(), "whole queries of the bundle's dimensions, and k from 1 on, were expected");
    ScanManyTask* task =
        new ScanManyTask(info.Env(), frozen_, graph_, queries, info[1].As<Napi::Number>().Uint32Value(),
                         info[2].As<Napi::Number>().Uint32Value());
    task->Queue();
    return task->promise();
  }

  Napi::Value work(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const Frozen::Work w = frozen_->work();
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("queries", static_cast<double>(w.queries));
    out.Set("clusters", static_cast<double>(w.clusters));
    out.Set("blocks", static_cast<double>(w.blocks));
    out.Set("candidates", static_cast<double>(w.candidates));
    out.Set("looked", static_cast<double>(w.looked));
    out.Set("compared", static_cast<double>(w.compared));
    return out;
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    frozen_.reset();
    graph_.reset();
    return info.Env().Undefined();
  }

  std::shared_ptr<Graph> graph_;
  std::shared_ptr<Frozen> frozen_;
};

}  // namespace

void exportFrozen(Napi::Env env, Napi::Object exports) {
  exports.Set("Snapshot", SnapshotObject::define(env));
  exports.Set("Frozen", FrozenObject::define(env));
}

}  // namespace hebb::addon
