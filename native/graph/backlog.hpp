// The nodes that are live and not linked yet. They are found by scanning their codes, 32 at a time,
// each block relative to the first of its vectors; what may be near enough is compared exactly.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <shared_mutex>
#include <vector>

#include "../quantize/rabitq.hpp"

namespace hebb {

class Backlog {
 public:
  struct Block {
    std::vector<float> vector;   // the centre as distances take it: dimensions (+ 1 under cosine)
    std::vector<float> rotated;  // and rotated, from the reference
    std::vector<uint8_t> codes;
    float add[kLanes], rescale[kLanes], error[kLanes];
    uint32_t ids[kLanes];
    uint32_t count = 0;
  };

  // Searches share it; whoever adds or trims has it alone.
  std::shared_mutex mutex;
  std::deque<std::unique_ptr<Block>> blocks;
  // The first vector there ever was, rotated: the origin of queries and centres, because what is common to all
  // vectors would take the table of a query its precision.
  std::vector<float> reference;
};

}  // namespace hebb
