#include "copy.hpp"

#include <cstring>

namespace hebb {
namespace {

Tier tierOf(Section section) {
  return static_cast<Tier>(section - kWarm + static_cast<uint32_t>(Tier::kWarm));
}

}  // namespace

GraphCopy::GraphCopy(Graph& graph, const std::vector<uint32_t>& nodes, Tier tier)
    : graph_(graph), nodes_(nodes), tier_(tier), renamed_(graph.nodes(), kNone) {
  for (uint32_t i = 0; i < nodes.size(); i++) renamed_[nodes[i]] = i;
}

bool GraphCopy::rename(uint32_t from, uint64_t at, const uint32_t* ids, uint32_t count, uint32_t* out) {
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t old = ids[i];
    if (old >= renamed_.size() || renamed_[old] == kNone)
      return graph_.refuse(from, at + i * sizeof(uint32_t), "a row names a node that is not in the graph");
    out[i] = renamed_[old];
  }
  return true;
}

bool GraphCopy::prepare() {
  const uint32_t n = static_cast<uint32_t>(nodes_.size());
  const uint64_t stride = graph_.upperStride_;
  inDegrees_.assign(n, 0);
  uppers_.assign(n, kNone);
  upper_.assign(stride, 0);  // entry 0 stays empty
  uint32_t top = kNone;
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t old = nodes_[i];
    Graph::List l;
    if (!graph_.listOf(old, 0, &l)) return false;
    std::vector<uint32_t> ids(l.count);
    if (!rename(old, sizeof(Row), l.ids, l.count, ids.data())) return false;
    for (const uint32_t id : ids) inDegrees_[id]++;
    const uint8_t level = graph_.row(old)->level;
    if (level > kMaxLevel) return graph_.refuse(old, offsetof(Row, level), "a row is on a layer that does not exist");
    if (level > 0) uppers_[i] = static_cast<uint32_t>(upper_.size() / stride);
    if (top == kNone || level > graph_.row(nodes_[top])->level) top = i;
    for (uint32_t up = 1; up <= level; up++) {
      if (!graph_.listOf(old, up, &l)) return false;
      const uint64_t at = upper_.size();
      upper_.resize(at + stride);
      uint32_t* const entry = reinterpret_cast<uint32_t*>(upper_.data() + at);
      *entry = l.count;
      if (!rename(old, 0, l.ids, l.count, entry + 1)) return false;
    }
  }
  head_ = *graph_.head();
  head_.nodes = head_.live = n;
  head_.dead = 0;
  head_.upperEntries = static_cast<uint32_t>(upper_.size() / stride - 1);
  const uint32_t entry = static_cast<uint32_t>(head_.entry);
  const bool sound = entry < renamed_.size() && renamed_[entry] != kNone;
  // A search enters at a node of the topmost layer.
  head_.entry =
      sound ? (head_.entry >> 32 << 32 | renamed_[entry]) : (uint64_t(graph_.row(nodes_[top])->level) << 32 | top);
  return true;
}

uint64_t GraphCopy::stride(Section section) const {
  switch (section) {
    case kHead:
      return kPageBytes;
    case kState:
      return 1;
    case kVectors:
      return graph_.vectorStride_;
    case kRows:
      return graph_.layout_.stride;
    case kUpper:
      return graph_.upperStride_;
    case kIds:
      return kIdBytes;
    case kProjection:
      return Graph::projectionBytes(graph_.options_);
    case kPlaces:
      return sizeof(Place);
    case kCodebooks:
      return Tiers::codebooksBytes(graph_.options_.dimensions);
    default:
      return graph_.tiers_.recordBytesOf(tierOf(section));
  }
}

uint64_t GraphCopy::count(Section section) const {
  const bool compressed = tier_ != Tier::kHot;
  switch (section) {
    case kHead:
    case kProjection:
      return 1;
    case kUpper:
      return upper_.size() / graph_.upperStride_;
    case kCodebooks:
      return compressed ? 1 : 0;
    case kPlaces:
      return compressed ? nodes_.size() : 0;
    case kVectors:
      return compressed ? 0 : nodes_.size();
    case kState:
    case kRows:
    case kIds:
      return nodes_.size();
    default:
      return compressed && tier_ == tierOf(section) ? nodes_.size() : 0;
  }
}

// A vector's record takes the slot of its number.
bool GraphCopy::readPlace(uint32_t node, uint8_t* out) {
  if (!graph_.tiers_.ensurePlace(nodes_[node])) return false;
  Place place = *graph_.tiers_.place(nodes_[node]);
  if (place.where.tier != static_cast<uint8_t>(tier_))
    return graph_.refuse(nodes_[node], 0, "a vector is not in the tier that is copied");
  place.where.slot = node + 1;
  place.heat = 0;
  std::memcpy(out, &place, sizeof place);
  return true;
}

bool GraphCopy::readRecord(uint32_t node, uint8_t* out) {
  if (!graph_.tiers_.readable(nodes_[node])) return false;
  if (graph_.tiers_.where(nodes_[node]).tier != static_cast<uint8_t>(tier_))
    return graph_.refuse(nodes_[node], 0, "a vector is not in the tier that is copied");
  std::memcpy(out, graph_.tiers_.address(graph_.tiers_.where(nodes_[node])), graph_.tiers_.recordBytesOf(tier_));
  return true;
}

bool GraphCopy::readCodebooks(uint8_t* out) {
  const uint64_t bytes = stride(kCodebooks);
  if (!graph_.region_->ensure(kCodebooks, 0, bytes)) return false;
  std::memcpy(out, graph_.region_->base(kCodebooks), bytes);
  TiersHead* const head = reinterpret_cast<TiersHead*>(out);
  for (uint32_t t = 0; t < kTiers; t++) head->counts[t] = head->used[t] = 0;
  head->counts[static_cast<uint32_t>(tier_)] = head->used[static_cast<uint32_t>(tier_)] =
      static_cast<uint32_t>(nodes_.size());
  std::memset(head->notes, 0, sizeof head->notes);
  return true;
}

bool GraphCopy::readRow(uint32_t node, uint8_t* out) {
  const uint32_t old = nodes_[node];
  const RowLayout& layout = graph_.layout_;
  if (!graph_.ensureRow(old)) return false;
  std::memcpy(out, graph_.rowBytes(old), layout.stride);
  Row* const r = reinterpret_cast<Row*>(out);
  r->inDegree = inDegrees_[node];
  r->upper = uppers_[node];
  r->reserved = 0;
  r->sequence = 0;
  uint32_t* const ids = reinterpret_cast<uint32_t*>(out + sizeof(Row));
  if (!rename(old, sizeof(Row), ids, r->degree, ids)) return false;
  // Lanes without a neighbour may still hold what an earlier one left.
  const bool own = graph_.options_.profile == Profile::kSmall;
  const std::vector<uint8_t> nothing(layout.quads, 0);
  uint32_t* const diverse = reinterpret_cast<uint32_t*>(out + layout.diverse);
  for (uint32_t lane = r->degree; lane < layout.lanes; lane++) {
    ids[lane] = 0;
    diverse[lane / 32] &= ~(1u << (lane % 32));
    if (own) continue;
    std::memset(out + layout.add + lane * layout.factorBytes(), 0, layout.factorBytes());
    std::memset(out + layout.rescale + lane * layout.factorBytes(), 0, layout.factorBytes());
    packLane(out + layout.codes + lane / kLanes * layout.blockBytes(), layout.quads, lane % kLanes, nothing.data());
  }
  std::memset(out + layout.biases, 0, layout.lanes * sizeof(uint16_t));
  return true;
}

bool GraphCopy::read(Section section, uint64_t first, uint64_t count, uint8_t* out) {
  const uint64_t step = stride(section);
  std::memset(out, 0, count * step);
  switch (section) {
    case kHead:
      std::memcpy(out, &head_, sizeof head_);
      return true;
    case kState:
      std::memset(out, kAllocated | kLinked | kLive, count);
      return true;
    case kUpper:
      std::memcpy(out, upper_.data() + first * step, count * step);
      return true;
    case kProjection:
      if (!graph_.region_->ensure(kProjection, 0, step)) return false;
      std::memcpy(out, graph_.region_->base(kProjection), step);
      return true;
    default:
      break;
  }
  const uint32_t values = graph_.options_.dimensions + (graph_.options_.metric == Metric::kCosine ? 1 : 0);
  for (uint64_t i = 0; i < count; i++, out += step) {
    const uint32_t node = static_cast<uint32_t>(first + i);
    if (section != kVectors && section != kIds) {
      const bool read = section == kRows        ? readRow(node, out)
                        : section == kPlaces    ? readPlace(node, out)
                        : section == kCodebooks ? readCodebooks(out)
                                                : readRecord(node, out);
      if (!read) return false;
      continue;
    }
    const void* from =
        section == kIds ? static_cast<const void*>(graph_.id(nodes_[node])) : graph_.vector(nodes_[node]);
    if (!from) return false;
    std::memcpy(out, from, section == kIds ? kIdBytes : values * sizeof(float));
  }
  return true;
}

}  // namespace hebb
