// Every call to the operating system, in one place. Linux and macOS; any other system is refused by name.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hebb::platform {

// Address space for `bytes`, readable and writable, costing no memory until touched; null when refused.
uint8_t* reserve(uint64_t bytes);
void release(uint8_t* base, uint64_t bytes);

// Asks for large pages where memory backed by nothing is touched: vectors are read at random, and a
// table of 4 KiB pages does not fit the processor's. A hint; systems without them ignore it.
void preferLargePages(uint8_t* base, uint64_t bytes);

// Replaces [base, base + bytes) with a private copy-on-write view of a file, read without looking
// ahead: what a search touches lies anywhere. False with errno set.
bool mapPrivate(uint8_t* base, uint64_t bytes, int fd, uint64_t fileOffset);

// Such a view anywhere; null with errno set.
uint8_t* mapBeside(uint64_t bytes, int fd, uint64_t fileOffset);
// Puts that view, with what was written to it, in the place of [base, base + bytes): at one moment on Linux.
bool moveMapping(uint8_t* base, uint8_t* beside, uint64_t bytes);

// Replaces [base, base + bytes), whatever it was, with zeros that cost no memory until written; whoever
// reads there meanwhile sees the old bytes or zeros. False with errno set.
bool mapZeros(uint8_t* base, uint64_t bytes);

// Starts reading [base, base + bytes) of a mapped file; page aligned.
void willNeed(uint8_t* base, uint64_t bytes);

// Gives private copies back: the next read sees the file again. The range is page aligned and
// backed by `fd` at `fileOffset` (macOS has to map it again).
bool dropPrivate(uint8_t* base, uint64_t bytes, int fd, uint64_t fileOffset);

// Pages of [base, base + bytes) that are in memory.
uint64_t residentPages(const uint8_t* base, uint64_t bytes);

// Locks an open file without waiting; the lock belongs to the open file and dies with it. False: held elsewhere.
bool tryLock(int fd, bool exclusive);

// Reserves disk for a range of a file. 0, or an errno.
int allocate(int fd, uint64_t offset, uint64_t bytes);

// Processors that threads of this process may use.
unsigned processorCount();

}  // namespace hebb::platform
