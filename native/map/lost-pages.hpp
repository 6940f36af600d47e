// Mapped memory whose file ends before it, or whose disk fails under it: reading there raises SIGBUS in whatever thread
// reads. For the sections of regions a handler puts a page of zeros in the place, tells the region (Region::lose) and
// lets the instruction go on; whoever asked for the work looks at Region::lost before believing any of it. SIGBUS at
// any other address goes to the handler that was there before, or does what it did.
//
// The handler may come at any instruction, in any thread: it takes no lock and no memory. It finds the section in a
// list of slots, which grows and never shrinks.
#pragma once

#include <cstdint>

namespace hebb {

class Region;

// Watches [base, base + bytes) as a section of a region, until `unwatchPages(owner)`, which must come before the
// addresses are given back. The first call of the process installs the handler. False with errno where memory or the
// handler was refused.
bool watchPages(uint8_t* base, uint64_t bytes, Region* owner, uint32_t section);
void unwatchPages(Region* owner);

}  // namespace hebb
