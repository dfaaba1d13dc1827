#include "common/simd.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>

#include "common/errors.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace treeward {
namespace {

constexpr const char* kNames[kSimdLevels] = {"scalar", "avx2", "avx512", "avx512bf16"};

struct HostLevels {
  bool avx2 = false;
  bool avx512 = false;
  bool avx512bf16 = false;
};

HostLevels detect() {
  HostLevels host;
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return host;
  const bool fma = c & (1u << 12);
  const bool osxsave = c & (1u << 27);
  const bool avx = c & (1u << 28);
  const bool f16c = c & (1u << 29);
  if (!osxsave || !avx) return host;
  // The processor may know an instruction whose registers the system does not save: ask XCR0.
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const bool saves_ymm = (low & 0x06u) == 0x06u;
  const bool saves_zmm = (low & 0xE6u) == 0xE6u;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return host;
  host.avx2 = saves_ymm && fma && f16c && (b & (1u << 5));
  const unsigned needed = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);  // F, DQ, BW, VL
  host.avx512 = host.avx2 && saves_zmm && (b & needed) == needed;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d)) return host;
  host.avx512bf16 = host.avx512 && (a & (1u << 5));
#endif
  return host;
}

bool built(SimdLevel level) {
  switch (level) {
    case SimdLevel::scalar:
      return true;
    case SimdLevel::avx2:
#if defined(TREEWARD_COMPILE_AVX2)
      return true;
#else
      return false;
#endif
    case SimdLevel::avx512:
#if defined(TREEWARD_COMPILE_AVX512)
      return true;
#else
      return false;
#endif
    case SimdLevel::avx512bf16:
#if defined(TREEWARD_COMPILE_AVX512BF16)
      return true;
#else
      return false;
#endif
  }
  return false;
}

bool host_has(SimdLevel level) {
  static const HostLevels host = detect();
  switch (level) {
    case SimdLevel::scalar:
      return true;
    case SimdLevel::avx2:
      return host.avx2;
    case SimdLevel::avx512:
      return host.avx512;
    case SimdLevel::avx512bf16:
      return host.avx512bf16;
  }
  return false;
}

void require(SimdLevel level) {
  const std::string name = simd_level_name(level);
  if (!built(level)) throw InvalidArgument("level: this build has no " + name + " kernels");
  if (!host_has(level)) throw InvalidArgument("level: this host lacks " + name);
}

SimdLevel initial_level() {
  const char* wanted = std::getenv("TREEWARD_SIMD");
  if (wanted == nullptr || *wanted == '\0') return available_levels().back();
  try {
    const SimdLevel level = parse_simd_level(wanted);
    require(level);
    return level;
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(std::string("TREEWARD_SIMD: ") + error.what());
  }
}

std::atomic<SimdLevel>& level_in_use() {
  static std::atomic<SimdLevel> level{initial_level()};
  return level;
}

}  // namespace

const char* simd_level_name(SimdLevel level) { return kNames[static_cast<int>(level)]; }

SimdLevel parse_simd_level(std::string_view name) {
  for (int i = 0; i < kSimdLevels; ++i) {
    if (name == kNames[i]) return static_cast<SimdLevel>(i);
  }
  throw InvalidArgument("level: '" + std::string(name) +
                        "' is none of scalar, avx2, avx512, avx512bf16");
}

std::vector<SimdLevel> available_levels() {
  std::vector<SimdLevel> levels;
  for (int i = 0; i < kSimdLevels; ++i) {
    const auto level = static_cast<SimdLevel>(i);
    if (built(level) && host_has(level)) levels.push_back(level);
  }
  return levels;
}

SimdLevel current_level() { return level_in_use().load(std::memory_order_relaxed); }

void set_level(SimdLevel level) {
  require(level);
  level_in_use().store(level, std::memory_order_relaxed);
}

}  // namespace treeward
