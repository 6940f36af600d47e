#include <algorithm>
#include <cstring>

#include "addon.hpp"
#include "graph/graph.hpp"
#include "map/platform.hpp"

namespace hebb::addon {
namespace {

// The first byte of an id's slot (docs/format.md).
enum IdKind : uint8_t { kNoId = 0, kInteger = 1, kString = 2, kLongString = 3 };

// Work on a graph off the main thread. It holds the graph, whose memory therefore stays until the work
// ends, whoever closes meanwhile.
class Task : public Napi::AsyncWorker {
 public:
  Task(Napi::Env env, std::shared_ptr<Graph> graph)
      : Napi::AsyncWorker(env), graph_(std::move(graph)), deferred_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void OnOK() override {
    const Napi::HandleScope scope(Env());
    if (sound_) {
      deferred_.Resolve(result());
      return;
    }
    throwFault(Env(), graph_->region().fault());
    deferred_.Reject(Env().GetAndClearPendingException().Value());
  }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }
  virtual Napi::Value result() { return Env().Undefined(); }

  std::shared_ptr<Graph> graph_;
  bool sound_ = true;

 private:
  Napi::Promise::Deferred deferred_;
};

class LinkTask : public Task {
 public:
  LinkTask(Napi::Env env, std::shared_ptr<Graph> graph, uint32_t most) : Task(env, std::move(graph)), most_(most) {}
  void Execute() override {
    const std::vector<uint32_t> nodes = graph_->unlinked(most_);
    sound_ = graph_->link(nodes.data(), static_cast<uint32_t>(nodes.size()), platform::processorCount());
  }

 private:
  uint32_t most_;
};

class ConsolidateTask : public Task {
 public:
  using Task::Task;
  void Execute() override { sound_ = graph_->consolidate(platform::processorCount()); }
};

class ReconnectTask : public Task {
 public:
  using Task::Task;
  void Execute() override {
    lost_ = graph_->reconnect();
    sound_ = lost_ >= 0;
  }
  Napi::Value result() override { return Napi::Number::New(Env(), static_cast<double>(lost_)); }

 private:
  int64_t lost_ = 0;
};

class SearchManyTask : public Task {
 public:
  SearchManyTask(Napi::Env env, std::shared_ptr<Graph> graph, const Span<float>& queries, uint32_t k, uint32_t ef,
                 const Filter& filter, bool exact)
      : Task(env, std::move(graph)),
        reading_(*graph_),
        queries_(queries.data, queries.data + queries.length),
        k_(k),
        ef_(ef),
        words_(filter.words, filter.words + (filter.words ? (filter.nodes + 31) / 32 : 0)),
        filter_(filter),
        exact_(exact) {
    filter_.words = filter.words ? words_.data() : nullptr;
    const uint32_t count = static_cast<uint32_t>(queries_.size() / graph_->options().dimensions);
    nodes_.resize(uint64_t(count) * k);
    distances_.resize(uint64_t(count) * k);
    counts_.resize(count);
  }
  void Execute() override {
    sound_ = graph_->searchMany(queries_.data(), static_cast<uint32_t>(counts_.size()), k_, ef_, filter_, exact_,
                                platform::processorCount(), nodes_.data(), distances_.data(), counts_.data());
  }
  Napi::Value result() override {
    Napi::Object out = Napi::Object::New(Env());
    out.Set("nodes", copy<Napi::Uint32Array>(nodes_));
    out.Set("distances", copy<Napi::Float32Array>(distances_));
    out.Set("counts", copy<Napi::Int32Array>(counts_));
    return out;
  }

 private:
  template <typename Array, typename T>
  Napi::Value copy(const std::vector<T>& from) {
    Array array = Array::New(Env(), from.size());
    if (array.IsEmpty()) return array;  // the thread is ending (addon.hpp)
    std::memcpy(array.Data(), from.data(), from.size() * sizeof(T));
    return array;
  }
  Reading reading_;  // until the caller has the results, and no other row has taken their nodes
  std::vector<float> queries_;
  uint32_t k_, ef_;
  std::vector<uint32_t> words_;
  Filter filter_;
  bool exact_;
  std::vector<uint32_t> nodes_;
  std::vector<float> distances_;
  std::vector<int32_t> counts_;
};

class GraphObject : public Napi::ObjectWrap<GraphObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Graph",
                       {InstanceAccessor("nodes", &GraphObject::nodes, nullptr),
                        InstanceAccessor("live", &GraphObject::live, nullptr),
                        InstanceAccessor("dead", &GraphObject::dead, nullptr),
                        InstanceAccessor("backlog", &GraphObject::backlog, nullptr),
                        InstanceAccessor("path", &GraphObject::path, nullptr),
                        InstanceMethod("isLive", &GraphObject::isLive),
                        InstanceMethod("liveBits", &GraphObject::liveBits),
                        InstanceMethod("allocate", &GraphObject::allocate),
                        InstanceMethod("claim", &GraphObject::claim),
                        InstanceMethod("abandon", &GraphObject::abandon),
                        InstanceMethod("setVectors", &GraphObject::setVectors),
                        InstanceMethod("setIds", &GraphObject::setIds),
                        InstanceMethod("idsOf", &GraphObject::idsOf),
                        InstanceMethod("vector", &GraphObject::vector),
                        InstanceMethod("publish", &GraphObject::publish),
                        InstanceMethod("link", &GraphObject::link),
                        InstanceMethod("consolidate", &GraphObject::consolidate),
                        InstanceMethod("reconnect", &GraphObject::reconnect),
                        InstanceMethod("search", &GraphObject::search),
                        InstanceMethod("searchMany", &GraphObject::searchMany),
                        InstanceMethod("distances", &GraphObject::distances),
                        InstanceMethod("neighbors", &GraphObject::neighbors),
                        InstanceMethod("close", &GraphObject::close),
                        StaticMethod("strides", &GraphObject::strides)});
  }

  explicit GraphObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<GraphObject>(info) {
    const Napi::Object region = info[0].As<Napi::Object>();
    const char* error = nullptr;
    options_ = optionsOf(info[1].As<Napi::Object>());
    const std::shared_ptr<Region>& memory = RegionObject::Unwrap(region)->region();
    if (!memory) {
      fail(info.Env(), "the region is closed");
      return;
    }
    graph_ = Graph::attach(memory, options_, &error);
    if (graph_) return;
    if (error && std::strcmp(error, "checksum") != 0) fail(info.Env(), error);
    else throwFault(info.Env(), memory->fault());
  }

 private:
  static Options optionsOf(const Napi::Object& o) {
    const auto number = [&](const char* name) { return o.Get(name).As<Napi::Number>().DoubleValue(); };
    const std::string metric = o.Get("metric").As<Napi::String>().Utf8Value();
    const std::string profile = o.Get("profile").As<Napi::String>().Utf8Value();
    return {static_cast<uint32_t>(number("dimensions")),
            metric == "l2"    ? Metric::kL2
            : metric == "dot" ? Metric::kDot
                              : Metric::kCosine,
            static_cast<uint32_t>(number("m")),
            static_cast<uint32_t>(number("efConstruction")),
            number("ml"),
            static_cast<uint64_t>(number("seed")),
            static_cast<uint32_t>(number("maxNodes")),
            static_cast<float>(number("stopMargin")),
            profile == "compact" ? Profile::kCompact
            : profile == "small" ? Profile::kSmall
                                 : Profile::kTurbo};
  }

  static Napi::Value strides(const Napi::CallbackInfo& info) {
    const Options o = optionsOf(info[0].As<Napi::Object>());
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("vector", static_cast<double>(Graph::vectorStride(o)));
    out.Set("row", static_cast<double>(Graph::rowStride(o)));
    out.Set("upper", static_cast<double>(Graph::upperStride(o)));
    out.Set("id", static_cast<double>(kIdBytes));
    out.Set("projection", static_cast<double>(Graph::projectionBytes(o)));
    return out;
  }

  bool open(const Napi::CallbackInfo& info) {
    if (!graph_) fail(info.Env(), "the graph is closed");
    return graph_ != nullptr;
  }
  Napi::Value fault(const Napi::CallbackInfo& info) {
    throwFault(info.Env(), graph_->region().fault());
    return info.Env().Undefined();
  }
  // Node numbers from outside, all below `nodes`.
  bool known(const Napi::CallbackInfo& info, const Span<uint32_t>& nodes) {
    for (size_t i = 0; i < nodes.length; i++) {
      if (nodes.data[i] >= graph_->nodes()) {
        fail(info.Env(), "a node number past the last");
        return false;
      }
    }
    return true;
  }
  Filter filterOf(const Napi::Value& bits, const Napi::Value& count) {
    if (!bits.IsTypedArray()) return {};
    const auto words = span<Napi::Uint32Array>(bits);
    return {words.data, static_cast<uint32_t>(words.length * 32), count.As<Napi::Number>().Uint32Value()};
  }

  Napi::Value nodes(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), graph_ ? graph_->nodes() : 0);
  }
  Napi::Value live(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), graph_ ? graph_->live() : 0);
  }
  Napi::Value dead(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), graph_ ? graph_->dead() : 0);
  }

  Napi::Value backlog(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), graph_ ? graph_->backlog() : 0);
  }

  Napi::Value path(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), graph_ && graph_->walksByCodes() ? "codes" : "vectors");
  }

  Napi::Value isLive(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), graph_ && (graph_->state(info[0].As<Napi::Number>().Uint32Value()) & kLive));
  }

  Napi::Value liveBits(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t n = graph_->nodes();
    Napi::Uint32Array bits = Napi::Uint32Array::New(info.Env(), (n + 31) / 32);
    std::memset(bits.Data(), 0, bits.ByteLength());
    for (uint32_t node = 0; node < n; node++) {
      if (graph_->state(node) & kLive) bits.Data()[node / 32] |= 1u << (node % 32);
    }
    return bits;
  }

  Napi::Value allocate(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t count = info[0].As<Napi::Number>().Uint32Value();
    Napi::Uint32Array out = Napi::Uint32Array::New(info.Env(), count);
    if (!graph_->allocate(count, out.Data())) return info.Env().Null();
    return out;
  }

  Napi::Value claim(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const auto wanted = span<Napi::Uint32Array>(info[0]);
    return Napi::Boolean::New(info.Env(), graph_->claim(wanted.data, static_cast<uint32_t>(wanted.length)));
  }

  Napi::Value abandon(const Napi::CallbackInfo& info) {
    const auto given = span<Napi::Uint32Array>(info[0]);
    if (!open(info) || !known(info, given)) return info.Env().Undefined();
    if (!graph_->abandon(given.data, static_cast<uint32_t>(given.length))) return fault(info);
    return info.Env().Undefined();
  }

  Napi::Value setVectors(const Napi::CallbackInfo& info) {
    const auto to = span<Napi::Uint32Array>(info[0]);
    const auto values = span<Napi::Float32Array>(info[1]);
    if (!open(info) || !known(info, to)) return info.Env().Undefined();
    if (values.length != to.length * graph_->options().dimensions)
      return fail(info.Env(), "values for each node were expected");
    for (size_t i = 0; i < to.length; i++) {
      if (!graph_->setVector(to.data[i], values.data + i * graph_->options().dimensions)) return fault(info);
    }
    return info.Env().Undefined();
  }

  Napi::Value setIds(const Napi::CallbackInfo& info) {
    const auto to = span<Napi::Uint32Array>(info[0]);
    const Napi::Array ids = info[1].As<Napi::Array>();
    if (!open(info) || !known(info, to)) return info.Env().Undefined();
    for (uint32_t i = 0; i < to.length; i++) {
      const Napi::Value id = ids.Get(i);
      uint8_t slot[kIdBytes] = {};
      if (id.IsNumber()) {
        const int64_t value = id.As<Napi::Number>().Int64Value();
        slot[0] = kInteger;
        std::memcpy(slot + 8, &value, sizeof value);
      } else {
        const std::string text = id.As<Napi::String>().Utf8Value();
        if (text.size() <= kIdBytes - 2) {
          slot[0] = kString;
          slot[1] = static_cast<uint8_t>(text.size());
          std::memcpy(slot + 2, text.data(), text.size());
        } else {
          slot[0] = kLongString;
        }
      }
      if (!graph_->setId(to.data[i], slot)) return fault(info);
    }
    return info.Env().Undefined();
  }

  Napi::Value idsOf(const Napi::CallbackInfo& info) {
    const auto wanted = span<Napi::Uint32Array>(info[0]);
    const uint32_t count = info[1].As<Napi::Number>().Uint32Value();
    if (!open(info)) return info.Env().Undefined();
    Napi::Array out = Napi::Array::New(info.Env(), count);
    for (uint32_t i = 0; i < count && i < wanted.length; i++) {
      if (wanted.data[i] >= graph_->nodes()) return fail(info.Env(), "a node number past the last");
      const uint8_t* slot = graph_->id(wanted.data[i]);
      if (!slot) return fault(info);
      if (slot[0] == kInteger) {
        int64_t value;
        std::memcpy(&value, slot + 8, sizeof value);
        out.Set(i, Napi::Number::New(info.Env(), static_cast<double>(value)));
      } else if (slot[0] == kString) {
        const size_t length = std::min<size_t>(slot[1], kIdBytes - 2);
        out.Set(i, Napi::String::New(info.Env(), reinterpret_cast<const char*>(slot + 2), length));
      } else {
        out.Set(i, info.Env().Null());
      }
    }
    return out;
  }

  Napi::Value vector(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t node = info[0].As<Napi::Number>().Uint32Value();
    if (node >= graph_->nodes()) return fail(info.Env(), "a node number past the last");
    const float* v = graph_->vector(node);
    if (!v) return fault(info);
    Napi::Float32Array out = Napi::Float32Array::New(info.Env(), graph_->options().dimensions);
    std::memcpy(out.Data(), v, out.ByteLength());
    return out;
  }

  Napi::Value publish(const Napi::CallbackInfo& info) {
    const auto live = span<Napi::Uint32Array>(info[0]), dead = span<Napi::Uint32Array>(info[1]);
    if (!open(info) || !known(info, live) || !known(info, dead)) return info.Env().Undefined();
    if (!graph_->publish(live.data, static_cast<uint32_t>(live.length), dead.data, static_cast<uint32_t>(dead.length)))
      return fault(info);
    return info.Env().Undefined();
  }

  Napi::Value link(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    return start(new LinkTask(info.Env(), graph_, info[0].As<Napi::Number>().Uint32Value()));
  }
  Napi::Value consolidate(const Napi::CallbackInfo& info) {
    return open(info) ? start(new ConsolidateTask(info.Env(), graph_)) : info.Env().Undefined();
  }
  Napi::Value reconnect(const Napi::CallbackInfo& info) {
    return open(info) ? start(new ReconnectTask(info.Env(), graph_)) : info.Env().Undefined();
  }
  Napi::Value start(Task* task) {
    const Napi::Promise promise = task->promise();
    task->Queue();
    return promise;
  }

  // search(query, k, ef, outNodes, outDistances, exact, filterBits?, filterCount?) -> how many
  Napi::Value search(const Napi::CallbackInfo& info) {
    const auto query = span<Napi::Float32Array>(info[0]);
    const uint32_t k = info[1].As<Napi::Number>().Uint32Value(), ef = info[2].As<Napi::Number>().Uint32Value();
    const auto outNodes = span<Napi::Uint32Array>(info[3]);
    const auto outDistances = span<Napi::Float32Array>(info[4]);
    if (!open(info)) return info.Env().Undefined();
    if (query.length != graph_->options().dimensions || outNodes.length < k || outDistances.length < k) {
      return fail(info.Env(), "a query of the index's dimensions and room for k results were expected");
    }
    const Filter filter = filterOf(info[6], info[7]);
    const int32_t count = info[5].ToBoolean().Value()
                              ? graph_->scan(query.data, k, filter, outNodes.data, outDistances.data)
                              : graph_->search(query.data, k, ef, filter, outNodes.data, outDistances.data);
    if (count < 0) return fault(info);
    return Napi::Number::New(info.Env(), count);
  }

  // searchMany(queries, k, ef, exact, filterBits?, filterCount?) -> { nodes, distances, counts }
  Napi::Value searchMany(const Napi::CallbackInfo& info) {
    const auto queries = span<Napi::Float32Array>(info[0]);
    if (!open(info)) return info.Env().Undefined();
    return start(new SearchManyTask(info.Env(), graph_, queries, info[1].As<Napi::Number>().Uint32Value(),
                                    info[2].As<Napi::Number>().Uint32Value(), filterOf(info[4], info[5]),
                                    info[3].ToBoolean().Value()));
  }

  Napi::Value distances(const Napi::CallbackInfo& info) {
    const auto query = span<Napi::Float32Array>(info[0]);
    const auto wanted = span<Napi::Uint32Array>(info[1]);
    if (!open(info) || !known(info, wanted)) return info.Env().Undefined();
    if (query.length != graph_->options().dimensions)
      return fail(info.Env(), "a query of the index's dimensions was expected");
    Napi::Float32Array out = Napi::Float32Array::New(info.Env(), wanted.length);
    if (!graph_->distances(query.data, wanted.data, static_cast<uint32_t>(wanted.length), out.Data()))
      return fault(info);
    return out;
  }

  Napi::Value neighbors(const Napi::CallbackInfo& info) {
    if (!open(info)) return info.Env().Undefined();
    const uint32_t node = info[0].As<Napi::Number>().Uint32Value();
    if (node >= graph_->nodes()) return fail(info.Env(), "a node number past the last");
    std::vector<uint32_t> ids(2 * graph_->options().m);
    const int32_t count = graph_->neighbors(node, ids.data());
    if (count < 0) return fault(info);
    Napi::Uint32Array out = Napi::Uint32Array::New(info.Env(), static_cast<size_t>(count));
    std::memcpy(out.Data(), ids.data(), static_cast<size_t>(count) * sizeof(uint32_t));
    return out;
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    graph_.reset();
    return info.Env().Undefined();
  }

  Options options_{};
  std::shared_ptr<Graph> graph_;
};

}  // namespace

Napi::Function defineGraph(Napi::Env env) {
  return GraphObject::define(env);
}

}  // namespace hebb::addon
