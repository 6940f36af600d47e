// The Node-API shell: arguments in, results out, no algorithms. Callers are Hebb's own TypeScript,
// which has validated what users gave; what is checked here is what memory safety needs.
#pragma once

#define NAPI_VERSION 8
// A worker thread that ends while a task runs settles the task's promise when no JavaScript can run any
// more: there is nobody to tell, and without this the wrapper would end the whole process.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

#include <cstring>

#include "graph/graph.hpp"
#include "map/region.hpp"

namespace hebb::addon {

// The error for a fault, made by JavaScript; empty where that threw.
Napi::Value faultError(Napi::Env env, const BlockFault& fault);
void throwFault(Napi::Env env, const BlockFault& fault);
Napi::Value fail(Napi::Env env, const char* message);

template <typename T>
struct Span {
  T* data = nullptr;
  size_t length = 0;
};

// The memory of a typed array, or an empty span (and a pending exception) when it is something else.
template <typename Array>
auto span(const Napi::Value& value) -> Span<std::remove_pointer_t<decltype(std::declval<Array>().Data())>> {
  if (!value.IsTypedArray()) {
    fail(value.Env(), "a typed array was expected");
    return {};
  }
  Array array = value.As<Array>();
  return {array.Data(), array.ElementLength()};
}

inline uint64_t whole(const Napi::Value& value) {
  return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

// A typed array with the contents of a vector.
template <typename Array, typename T>
Napi::Value copied(Napi::Env env, const std::vector<T>& from) {
  Array array = Array::New(env, from.size());
  if (array.IsEmpty()) return array;  // the thread is ending (above)
  std::memcpy(array.Data(), from.data(), from.size() * sizeof(T));
  return array;
}

// What searches of many queries give back.
inline Napi::Value manyResults(Napi::Env env, const std::vector<uint32_t>& nodes, const std::vector<float>& distances,
                               const std::vector<int32_t>& counts) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("nodes", copied<Napi::Uint32Array>(env, nodes));
  out.Set("distances", copied<Napi::Float32Array>(env, distances));
  out.Set("counts", copied<Napi::Int32Array>(env, counts));
  return out;
}

// What a call that reads a region returns, or throws, counts only where no page of it was lost meanwhile. Not for calls
// that start a task: they return promises, and the task looks when it ends.
inline Napi::Value believed(Napi::Env env, const Region& region, const Napi::Value& value) {
  if (!region.lost()) [[likely]]
    return value;
  if (env.IsExceptionPending()) env.GetAndClearPendingException();
  throwFault(env, region.fault());
  return env.Undefined();
}

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
    if (sound_ && !graph_->region().lost()) {
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

class RegionObject : public Napi::ObjectWrap<RegionObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit RegionObject(const Napi::CallbackInfo& info);
  // The region is shared with the graph over it: memory goes when the last of them lets go.
  const std::shared_ptr<Region>& region() const { return region_; }

 private:
  Napi::Value map(const Napi::CallbackInfo& info);
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value expectChecksums(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value dirtyPages(const Napi::CallbackInfo& info);
  Napi::Value dirtyCount(const Napi::CallbackInfo& info);
  Napi::Value snapshot(const Napi::CallbackInfo& info);
  Napi::Value include(const Napi::CallbackInfo& info);
  Napi::Value takeBlocks(const Napi::CallbackInfo& info);
  Napi::Value restore(const Napi::CallbackInfo& info);
  Napi::Value forgetSnapshot(const Napi::CallbackInfo& info);
  Napi::Value dropPages(const Napi::CallbackInfo& info);
  Napi::Value discard(const Napi::CallbackInfo& info);
  Napi::Value kept(const Napi::CallbackInfo& info);
  Napi::Value residentBytes(const Napi::CallbackInfo& info);
  Napi::Value blocks(const Napi::CallbackInfo& info);
  Napi::Value loss(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  template <Napi::Value (RegionObject::*method)(const Napi::CallbackInfo&)>
  Napi::Value reading(const Napi::CallbackInfo& info) {
    const Napi::Value value = (this->*method)(info);
    return region_ ? believed(info.Env(), *region_, value) : value;
  }
  bool within(const Napi::CallbackInfo& info, uint64_t section, uint64_t at, uint64_t bytes);
  bool pagesWithin(const Napi::CallbackInfo& info, uint64_t section, const Span<uint32_t>& pages);

  std::shared_ptr<Region> region_;
};

Napi::Function defineGraph(Napi::Env env);
// The graph that a Graph object holds; null once it is closed.
std::shared_ptr<Graph> graphOf(const Napi::Value& object);
void exportFrozen(Napi::Env env, Napi::Object exports);
void exportNetwork(Napi::Env env, Napi::Object exports);

}  // namespace hebb::addon
