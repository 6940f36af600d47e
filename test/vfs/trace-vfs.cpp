// A VFS for SQLite that writes down, fails, or dies in what SQLite does to files, for tests alone.
//
// Loading it as an extension makes it the default VFS of the process, worker threads included. It wraps the one that
// was the default: locks and shared memory go through untouched. Under a watched directory it
// - records every call that changes something, in one trace with the calls of our own files (trace.ts), which are
//   reported by SQL functions. A call and its record happen under one mutex, so the trace has them in the order in
//   which they took effect. A sync has two records, as others go on meanwhile: it covers what came before the first;
// - fails the Nth call, a write after any part of it;
// - kills the process at the Nth call, likewise.
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1

#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>

namespace {

// As trace.ts has them.
enum Kind : uint8_t { kOpen, kWrite, kTruncate, kAllocate, kSync, kSynced, kUnlink, kRename, kMkdir, kSyncDir, kNote };
enum Source : uint8_t { kSqlite, kFiles };

enum Counted { kChanges, kReads };

/** What is to fail: calls `from` to `from + times - 1` of one sort, counted from 1 since `trace_start`. */
struct Fault {
  int64_t from = 0;
  int64_t times = 0;
  int code = SQLITE_IOERR;
  /** Share of the call's work that is done before it fails. */
  double part = 0;
};

struct Trace {
  std::mutex mutex;
  /** What lies under it is watched; empty: nothing is. */
  std::string directory;
  std::string records;
  uint32_t lastFile = 0;
  uint32_t lastSync = 0;
  int64_t calls[2] = {0, 0};
  Fault faults[2];
  /** The changing call that the process dies in; 0: none. */
  int64_t killAt = 0;
  double killPart = 0;
};

Trace trace;
sqlite3_vfs* disk = nullptr;

/** Set while a thread is in a call of the wrapped VFS that may sync a directory. */
thread_local bool seesDirectories = false;
thread_local std::string seenDirectory;
thread_local uint32_t seenDirectorySync = 0;

struct Guard {
  std::lock_guard<std::mutex> held{trace.mutex};
};

template <class T>
void append(T value) {
  trace.records.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append(const void* bytes, size_t length) {
  append(static_cast<uint32_t>(length));
  trace.records.append(static_cast<const char*>(bytes), length);
}

/** Adds a record; the mutex is held. */
void record(Source source, Kind kind, uint32_t file, bool flag, double at, const std::string& path,
            const void* bytes = "", size_t length = 0) {
  append(static_cast<uint8_t>(kind));
  append(static_cast<uint8_t>(source));
  append(static_cast<uint8_t>(flag));
  append(file);
  append(at);
  append(path.data(), path.size());
  append(bytes, length);
}

bool isWatched(const char* path) {
  const std::string& directory = trace.directory;
  return !directory.empty() && path != nullptr && strncmp(path, directory.c_str(), directory.size()) == 0;
}

[[noreturn]] void die() {
  raise(SIGKILL);
  for (;;) pause();
}

/** What becomes of a call. The mutex is held. */
struct Verdict {
  int code = SQLITE_OK;
  double part = 1;
  bool dies = false;
};

Verdict judge(Counted counted, int plainCode) {
  Verdict verdict;
  const int64_t number = ++trace.calls[counted];
  const Fault& fault = trace.faults[counted];
  if (number >= fault.from && number < fault.from + fault.times) {
    verdict.code = fault.code == SQLITE_FULL && plainCode == SQLITE_IOERR_WRITE ? SQLITE_FULL : plainCode;
    verdict.part = fault.part;
  }
  if (counted == kChanges && number == trace.killAt) {
    verdict.dies = true;
    verdict.part = trace.killPart;
  }
  return verdict;
}

struct File {
  sqlite3_file base;
  uint32_t id;
  bool watched;
  std::string* path;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

File* of(sqlite3_file* file) {
  return reinterpret_cast<File*>(file);
}
sqlite3_file* real(sqlite3_file* file) {
  return of(file)->real();
}

int closeFile(sqlite3_file* file) {
  const int code = real(file)->pMethods->xClose(real(file));
  delete of(file)->path;
  return code;
}

int readFile(sqlite3_file* file, void* bytes, int length, sqlite3_int64 at) {
  if (of(file)->watched) {
    Guard guard;
    if (judge(kReads, SQLITE_IOERR_READ).code != SQLITE_OK) return SQLITE_IOERR_READ;
  }
  return real(file)->pMethods->xRead(real(file), bytes, length, at);
}

int writeFile(sqlite3_file* file, const void* bytes, int length, sqlite3_int64 at) {
  File* one = of(file);
  if (!one->watched) return real(file)->pMethods->xWrite(real(file), bytes, length, at);
  Guard guard;
  const Verdict verdict = judge(kChanges, SQLITE_IOERR_WRITE);
  const int done = static_cast<int>(length * verdict.part);
  if (done > 0) {
    const int code = real(file)->pMethods->xWrite(real(file), bytes, done, at);
    if (code != SQLITE_OK) return code;
    record(kSqlite, kWrite, one->id, false, static_cast<double>(at), *one->path, bytes, done);
  }
  if (verdict.dies) die();
  return verdict.code;
}

int truncateFile(sqlite3_file* file, sqlite3_int64 length) {
  File* one = of(file);
  if (!one->watched) return real(file)->pMethods->xTruncate(real(file), length);
  Guard guard;
  const Verdict verdict = judge(kChanges, SQLITE_IOERR_TRUNCATE);
  if (verdict.part >= .5) {
    const int code = real(file)->pMethods->xTruncate(real(file), length);
    if (code != SQLITE_OK) return code;
    record(kSqlite, kTruncate, one->id, false, static_cast<double>(length), *one->path);
  }
  if (verdict.dies) die();
  return verdict.code;
}

/** Ends the sync of a directory that the wrapped VFS did on the way. The mutex is held. */
void endDirectory(bool failed) {
  if (seenDirectorySync != 0) record(kSqlite, kSynced, seenDirectorySync, failed, 0, seenDirectory);
  seenDirectorySync = 0;
  seesDirectories = false;
}

int syncFile(sqlite3_file* file, int flags) {
  File* one = of(file);
  if (!one->watched) return real(file)->pMethods->xSync(real(file), flags);
  uint32_t sync;
  {
    Guard guard;
    const Verdict verdict = judge(kChanges, SQLITE_IOERR_FSYNC);
    sync = ++trace.lastSync;
    record(kSqlite, kSync, one->id, false, sync, *one->path);
    if (verdict.dies) die();
    if (verdict.code != SQLITE_OK) {
      record(kSqlite, kSynced, sync, true, 0, *one->path);
      return verdict.code;
    }
  }
  seesDirectories = true;
  const int code = real(file)->pMethods->xSync(real(file), flags);
  Guard guard;
  endDirectory(code != SQLITE_OK);
  record(kSqlite, kSynced, sync, code != SQLITE_OK, 0, *one->path);
  return code;
}

int sizeOf(sqlite3_file* file, sqlite3_int64* size) {
  return real(file)->pMethods->xFileSize(real(file), size);
}
int lockFile(sqlite3_file* file, int level) {
  return real(file)->pMethods->xLock(real(file), level);
}
int unlockFile(sqlite3_file* file, int level) {
  return real(file)->pMethods->xUnlock(real(file), level);
}
int isReserved(sqlite3_file* file, int* out) {
  return real(file)->pMethods->xCheckReservedLock(real(file), out);
}
int control(sqlite3_file* file, int op, void* arg) {
  return real(file)->pMethods->xFileControl(real(file), op, arg);
}
int sectorSize(sqlite3_file* file) {
  return real(file)->pMethods->xSectorSize(real(file));
}
int traits(sqlite3_file* file) {
  return real(file)->pMethods->xDeviceCharacteristics(real(file));
}
int shmMap(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
  return real(file)->pMethods->xShmMap(real(file), page, size, extend, out);
}
int shmLock(sqlite3_file* file, int at, int n, int flags) {
  return real(file)->pMethods->xShmLock(real(file), at, n, flags);
}
void shmBarrier(sqlite3_file* file) {
  real(file)->pMethods->xShmBarrier(real(file));
}
int shmUnmap(sqlite3_file* file, int remove) {
  return real(file)->pMethods->xShmUnmap(real(file), remove);
}

// Version 2: no memory-mapped pages, so that every read and write is a call.
const sqlite3_io_methods kMethods = {2,        closeFile,  readFile,   writeFile, truncateFile, syncFile, sizeOf,
                                     lockFile, unlockFile, isReserved, control,   sectorSize,   traits,   shmMap,
                                     shmLock,  shmBarrier, shmUnmap,   nullptr,   nullptr};

int openFile(sqlite3_vfs*, sqlite3_filename name, sqlite3_file* file, int flags, int* outFlags) {
  File* one = of(file);
  memset(one, 0, sizeof(File));
  Guard guard;
  const bool temporary = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
  one->watched = !temporary && isWatched(name);
  const bool creates = one->watched && (flags & SQLITE_OPEN_CREATE) != 0 && access(name, F_OK) != 0;
  Verdict verdict;
  if (creates) verdict = judge(kChanges, SQLITE_CANTOPEN);
  if (verdict.code != SQLITE_OK && verdict.part < .5) return verdict.code;
  if (verdict.dies && verdict.part < .5) die();
  const int code = disk->xOpen(disk, name, one->real(), flags, outFlags);
  if (code != SQLITE_OK) return code;
  one->path = new std::string(name == nullptr ? "" : name);
  one->base.pMethods = &kMethods;
  if (one->watched) {
    one->id = ++trace.lastFile;
    record(kSqlite, kOpen, one->id, creates, 0, *one->path);
  }
  if (verdict.dies) die();
  if (verdict.code != SQLITE_OK) {
    closeFile(file);
    one->base.pMethods = nullptr;
  }
  return verdict.code;
}

int deleteFile(sqlite3_vfs*, const char* name, int syncDirectory) {
  std::unique_lock<std::mutex> held(trace.mutex);
  if (!isWatched(name)) {
    held.unlock();
    return disk->xDelete(disk, name, syncDirectory);
  }
  const Verdict verdict = judge(kChanges, SQLITE_IOERR_DELETE);
  if (verdict.part >= .5) {
    // The removing alone; the directory is synced below, as a step of its own.
    const int code = disk->xDelete(disk, name, 0);
    if (code != SQLITE_OK) return code;
    record(kSqlite, kUnlink, 0, false, 0, name);
  }
  if (verdict.dies) die();
  if (verdict.code != SQLITE_OK || syncDirectory == 0) return verdict.code;
  const std::string directory = std::string(name).substr(0, std::string(name).rfind('/'));
  const uint32_t sync = ++trace.lastSync;
  record(kSqlite, kSyncDir, 0, false, sync, directory);
  record(kSqlite, kSynced, sync, false, 0, directory);
  return SQLITE_OK;
}

int accessFile(sqlite3_vfs*, const char* name, int flags, int* out) {
  return disk->xAccess(disk, name, flags, out);
}
int fullPath(sqlite3_vfs*, const char* name, int size, char* out) {
  return disk->xFullPathname(disk, name, size, out);
}
void* openLibrary(sqlite3_vfs*, const char* name) {
  return disk->xDlOpen(disk, name);
}
void libraryError(sqlite3_vfs*, int size, char* out) {
  disk->xDlError(disk, size, out);
}
void (*symbolOf(sqlite3_vfs*, void* library, const char* name))(void) {
  return disk->xDlSym(disk, library, name);
}
void closeLibrary(sqlite3_vfs*, void* library) {
  disk->xDlClose(disk, library);
}
int randomness(sqlite3_vfs*, int size, char* out) {
  return disk->xRandomness(disk, size, out);
}
int sleepFor(sqlite3_vfs*, int microseconds) {
  return disk->xSleep(disk, microseconds);
}
int currentTime(sqlite3_vfs*, double* out) {
  return disk->xCurrentTime(disk, out);
}
int lastError(sqlite3_vfs*, int size, char* out) {
  return disk->xGetLastError(disk, size, out);
}
int currentTime64(sqlite3_vfs*, sqlite3_int64* out) {
  return disk->xCurrentTimeInt64(disk, out);
}

sqlite3_vfs vfs;

/** The wrapped VFS opens a directory for one purpose: to sync it, at once. */
int (*openDirectory)(const char*, int*) = nullptr;
int openDirectorySeen(const char* path, int* out) {
  const int code = openDirectory(path, out);
  if (!seesDirectories || code != SQLITE_OK) return code;
  Guard guard;
  seenDirectory = std::string(path).substr(0, std::string(path).rfind('/'));
  seenDirectorySync = ++trace.lastSync;
  record(kSqlite, kSyncDir, 0, false, seenDirectorySync, seenDirectory);
  return code;
}

std::string textOf(sqlite3_value* value) {
  const unsigned char* text = sqlite3_value_text(value);
  return text == nullptr ? "" : reinterpret_cast<const char*>(text);
}

/** trace_start(directory): an empty trace, of what lies under a directory. */
void startTrace(sqlite3_context*, int, sqlite3_value** values) {
  Guard guard;
  trace.directory = textOf(values[0]);
  trace.records.clear();
  trace.calls[kChanges] = trace.calls[kReads] = trace.killAt = 0;
  trace.faults[kChanges] = trace.faults[kReads] = Fault();
}

/** trace_stop(): what was recorded; nothing is watched any more. */
void stopTrace(sqlite3_context* context, int, sqlite3_value**) {
  Guard guard;
  trace.directory.clear();
  sqlite3_result_blob64(context, trace.records.data(), trace.records.size(), SQLITE_TRANSIENT);
  trace.records.clear();
}

/** trace_fault(reads, from, times, code, part). */
void setFault(sqlite3_context*, int, sqlite3_value** values) {
  Guard guard;
  Fault& fault = trace.faults[sqlite3_value_int(values[0]) != 0 ? kReads : kChanges];
  fault.from = sqlite3_value_int64(values[1]);
  fault.times = sqlite3_value_int64(values[2]);
  fault.code = sqlite3_value_int(values[3]);
  fault.part = sqlite3_value_double(values[4]);
}

/** trace_kill(at, part). */
void setKill(sqlite3_context*, int, sqlite3_value** values) {
  Guard guard;
  trace.killAt = sqlite3_value_int64(values[0]);
  trace.killPart = sqlite3_value_double(values[1]);
}

/** trace_calls(reads): of SQLite since `trace_start`. */
void countCalls(sqlite3_context* context, int, sqlite3_value** values) {
  Guard guard;
  sqlite3_result_int64(context, trace.calls[sqlite3_value_int(values[0]) != 0 ? kReads : kChanges]);
}

/** trace_lock(): holds every call of SQLite's back until trace_unlock(), on the same thread and in the same turn. */
void lockTrace(sqlite3_context*, int, sqlite3_value**) {
  trace.mutex.lock();
}
void unlockTrace(sqlite3_context*, int, sqlite3_value**) {
  trace.mutex.unlock();
}

/** trace_file(), trace_sync(): a new number. */
void newFile(sqlite3_context* context, int, sqlite3_value**) {
  sqlite3_result_int64(context, ++trace.lastFile);
}
void newSync(sqlite3_context* context, int, sqlite3_value**) {
  sqlite3_result_int64(context, ++trace.lastSync);
}

/** trace_record(kind, file, flag, at, path, bytes), between trace_lock() and trace_unlock(). */
void addRecord(sqlite3_context*, int, sqlite3_value** values) {
  if (trace.directory.empty()) return;
  const void* bytes = sqlite3_value_blob(values[5]);
  record(kFiles, static_cast<Kind>(sqlite3_value_int(values[0])), sqlite3_value_int(values[1]),
         sqlite3_value_int(values[2]) != 0, sqlite3_value_double(values[3]), textOf(values[4]),
         bytes == nullptr ? "" : bytes, sqlite3_value_bytes(values[5]));
}

int wrapDefault() {
  disk = sqlite3_vfs_find(nullptr);
  if (disk == nullptr || disk->iVersion < 3) return SQLITE_ERROR;
  openDirectory = reinterpret_cast<int (*)(const char*, int*)>(disk->xGetSystemCall(disk, "openDirectory"));
  if (openDirectory == nullptr) return SQLITE_ERROR;
  disk->xSetSystemCall(disk, "openDirectory", reinterpret_cast<sqlite3_syscall_ptr>(openDirectorySeen));
  vfs.iVersion = 2;
  vfs.szOsFile = static_cast<int>(sizeof(File)) + disk->szOsFile;
  vfs.mxPathname = disk->mxPathname;
  vfs.zName = "hebb-trace";
  vfs.xOpen = openFile;
  vfs.xDelete = deleteFile;
  vfs.xAccess = accessFile;
  vfs.xFullPathname = fullPath;
  vfs.xDlOpen = openLibrary;
  vfs.xDlError = libraryError;
  vfs.xDlSym = symbolOf;
  vfs.xDlClose = closeLibrary;
  vfs.xRandomness = randomness;
  vfs.xSleep = sleepFor;
  vfs.xCurrentTime = currentTime;
  vfs.xGetLastError = lastError;
  vfs.xCurrentTimeInt64 = currentTime64;
  return sqlite3_vfs_register(&vfs, 1);
}

}  // namespace

extern "C" int sqlite3_extension_init(sqlite3* db, char**, const sqlite3_api_routines* api) {
  SQLITE_EXTENSION_INIT2(api);
  if (disk == nullptr) {
    const int code = wrapDefault();
    if (code != SQLITE_OK) return code;
  }
  const struct {
    const char* name;
    int arguments;
    void (*run)(sqlite3_context*, int, sqlite3_value**);
  } functions[] = {{"trace_start", 1, startTrace},   {"trace_stop", 0, stopTrace},   {"trace_fault", 5, setFault},
                   {"trace_kill", 2, setKill},       {"trace_calls", 1, countCalls}, {"trace_lock", 0, lockTrace},
                   {"trace_unlock", 0, unlockTrace}, {"trace_file", 0, newFile},     {"trace_sync", 0, newSync},
                   {"trace_record", 6, addRecord}};
  for (const auto& [name, arguments, run] : functions) {
    const int code = sqlite3_create_function(db, name, arguments, SQLITE_UTF8, nullptr, run, nullptr, nullptr);
    if (code != SQLITE_OK) return code;
  }
  return SQLITE_OK_LOAD_PERMANENTLY;  // the VFS outlives the connection that loaded it
}
