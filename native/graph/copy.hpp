// The linked, live nodes of a graph under new numbers, record by record, as another graph can attach to them: no gaps,
// no dead nodes, and nothing that tells of the time before, nor what was learned. Equal graphs give equal bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "graph.hpp"

namespace hebb {

class GraphCopy {
 public:
  // nodes[i] is who will be number i: all that are live and linked, each once; all of them are in `tier`, or it is hot
  // and vectors are copied as they can be read. While this is in use nothing may write to the graph.
  GraphCopy(Graph& graph, const std::vector<uint32_t>& nodes, Tier tier = Tier::kHot);

  // To be called first; false on a fault, as where a row names who is not among the nodes.
  bool prepare();

  // Bytes of a record, and how many there are, of any section of a graph.
  uint64_t stride(Section section) const;
  uint64_t count(Section section) const;
  // Records from `first` on. False on a fault.
  bool read(Section section, uint64_t first, uint64_t count, uint8_t* out);

 private:
  bool readPlace(uint32_t node, uint8_t* out);
  bool readRecord(uint32_t node, uint8_t* out);
  bool readCodebooks(uint8_t* out);
  bool readRow(uint32_t node, uint8_t* out);
  bool rename(uint32_t from, uint64_t at, const uint32_t* ids, uint32_t count, uint32_t* out);

  Graph& graph_;
  const std::vector<uint32_t>& nodes_;
  Tier tier_;
  std::vector<uint32_t> renamed_;  // by old number
  std::vector<uint32_t> inDegrees_, uppers_;
  std::vector<uint8_t> upper_;  // section `upper`
  Head head_{};
};

}  // namespace hebb
