// What a graph's sections say, against each other (check.cpp). Only while nothing writes rows, places or states.
#pragma once

#include <string>
#include <vector>

#include "graph.hpp"

namespace hebb {

// Bytes that no healthy graph has, though their checksums hold.
struct GraphFault {
  uint32_t section;
  uint64_t offset;
  uint32_t node;  // kNone where it is of no node alone
  std::string text;
};

class GraphCheck {
 public:
  explicit GraphCheck(Graph& graph);
  void run();

  // Of each kind the first ones, and how many more.
  const std::vector<GraphFault>& faults() const { return faults_; }
  // Live linked nodes that no walk over the bottom layer comes to: `reconnect` has not seen them yet, or damage.
  uint32_t unreached() const { return unreached_; }
  // All nodes whose vector is none, and whose record is none: lost, where there is no original.
  const std::vector<uint32_t>& lost() const { return lost_; }
  const std::vector<uint32_t>& unreadable() const { return unreadable_; }

 private:
  enum Kind : uint32_t {
    kStates,
    kCounts,
    kEntry,
    kSequences,
    kLevels,
    kUnlinkedRows,
    kLinks,
    kBiases,
    kInDegrees,
    kUppers,
    kLists,
    kVectors_,
    kNorms,
    kRecords,
    kTierCounts,
    kCodes_,
    kKinds,
  };
  struct Rest {
    uint32_t section = 0, listed = 0, more = 0;
  };

  void fault(Kind kind, uint32_t section, uint64_t offset, uint32_t node, std::string text);
  void rowFault(Kind kind, uint32_t node, uint64_t at, std::string text);
  void states();
  void row(uint32_t node);
  void inDegrees();
  void reach();
  void uppers();
  void vector(uint32_t node);
  void tiers();
  void codes();

  Graph& g_;
  const uint32_t n_;
  std::vector<uint32_t> in_;  // bottom-layer edges that lead to each node
  std::vector<bool> linked_;
  bool whole_ = true;  // all rows can be read
  Rest rests_[kKinds];
  std::vector<GraphFault> faults_;
  uint32_t unreached_ = 0;
  std::vector<uint32_t> lost_, unreadable_, room_;
  std::vector<float> decoded_;
  CodecRoom codecRoom_;
};

}  // namespace hebb
