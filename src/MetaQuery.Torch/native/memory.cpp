// libtorch's memory on the CPU: large blocks go to a pool instead of back to the system. A model asks for the same sizes in
// every step; malloc gives such blocks back, or cannot fit them again because of their alignment, and each page of them then
// costs a fault and a clearing. Large blocks lie on huge pages where the system grants them.
// METAQUERY_ALLOCATOR=system leaves libtorch its own allocator.
#include <sys/mman.h>
#include <unistd.h>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>
#include "compat.h"

namespace {

constexpr size_t kLine = 64, kHugePage = 2 << 20, kLarge = 256 << 10;

struct Block {
    void* base;
    size_t bytes; // 0: a small block of malloc's
};
static_assert(sizeof(Block) <= kLine, "a block's description stands in the line before its data");

Block& description(void* data) { return *(Block*)((char*)data - kLine); }

// Steps of an eighth of a power of two, so that a pooled block is at most an eighth too large.
size_t rounded(size_t bytes)
{
    size_t step = (size_t)1 << (61 - __builtin_clzl(bytes));
    step = std::max(step / 2, (size_t)4096);
    return (bytes + step - 1) / step * step;
}

class Pool {
public:
    void* take(size_t wanted)
    {
        // Room for the description and for a colour: blocks that all began on the same line of their page would evict each other.
        size_t bytes = rounded(wanted + 32 * kLine);
        {
            std::lock_guard<std::mutex> lock(mutex);
            auto found = free.find(bytes);
            if (found != free.end() && !found->second.empty()) {
                void* data = found->second.back();
                found->second.pop_back();
                pooled -= bytes;
                return data;
            }
        }
        void* base = map(bytes);
        if (!base) {
            clear();
            base = map(bytes);
            if (!base) C10_THROW_ERROR(OutOfMemoryError, "can't allocate memory: you tried to allocate " + std::to_string(wanted) + " bytes");
        }
        size_t colour;
        {
            std::lock_guard<std::mutex> lock(mutex);
            colour = next_colour++ % 31;
        }
        void* data = (char*)base + (1 + colour) * kLine;
        description(data) = {base, bytes};
        return data;
    }

    void give(void* data)
    {
        auto block = description(data);
        {
            std::lock_guard<std::mutex> lock(mutex);
            if (pooled + block.bytes <= limit) {
                free[block.bytes].push_back(data);
                pooled += block.bytes;
                return;
            }
        }
        munmap(block.base, block.bytes);
    }

    void clear()
    {
        std::lock_guard<std::mutex> lock(mutex);
        for (auto& size : free)
            for (void* data : size.second) {
                auto block = description(data);
                munmap(block.base, block.bytes);
            }
        free.clear();
        pooled = 0;
    }

private:
    static void* map(size_t bytes)
    {
        size_t slack = bytes >= kHugePage ? kHugePage : 0;
        if (bytes + slack < bytes) return nullptr;
        char* start = (char*)mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (start == MAP_FAILED) return nullptr;
        if (!slack) return start;
        char* base = (char*)(((uintptr_t)start + slack - 1) / slack * slack);
        if (base > start) munmap(start, base - start);
        if (base + bytes < start + bytes + slack) munmap(base + bytes, start + slack - base);
        madvise(base, bytes, MADV_HUGEPAGE);
        return base;
    }

    std::mutex mutex;
    std::map<size_t, std::vector<void*>> free;
    size_t pooled = 0, next_colour = 0;
    // An eighth of the machine's memory may wait in the pool.
    const size_t limit = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE) / 8;
};

Pool& pool()
{
    static Pool* instance = new Pool; // never destroyed: tensors may outlive static destructors
    return *instance;
}

void release(void* data)
{
    if (!data) return;
    auto block = description(data);
    if (block.bytes) pool().give(data);
    else std::free(block.base);
}

void* acquire(size_t bytes)
{
    if (bytes >= kLarge) return pool().take(bytes);
    void* base = nullptr;
    if (posix_memalign(&base, kLine, bytes + kLine))
        C10_THROW_ERROR(OutOfMemoryError, "can't allocate memory: you tried to allocate " + std::to_string(bytes) + " bytes");
    void* data = (char*)base + kLine;
    description(data) = {base, 0};
    return data;
}

struct PooledAllocator final : c10::Allocator {
    c10::DataPtr allocate(size_t bytes) MQ_ALLOCATE_CONST override
    {
        void* data = bytes ? acquire(bytes) : nullptr;
        return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &release; }
    MQ_COPY_DATA
};

[[maybe_unused]] const bool installed = [] {
    const char* choice = std::getenv("METAQUERY_ALLOCATOR");
    if (choice && std::string(choice) == "system") return false;
    static PooledAllocator* allocator = new PooledAllocator;
    c10::SetCPUAllocator(allocator, 255);
    return true;
}();

} // namespace
