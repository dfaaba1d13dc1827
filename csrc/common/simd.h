// Instruction sets of the vector kernels: which ones exist here, and which one is in use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace treeward {

/// Levels in rising order. `scalar` is portable C++ and always there.
enum class SimdLevel : int { scalar = 0, avx2 = 1, avx512 = 2, avx512bf16 = 3 };

inline constexpr int kSimdLevels = 4;

/// "scalar", "avx2", "avx512" or "avx512bf16".
const char* simd_level_name(SimdLevel level);

/// Inverse of simd_level_name. InvalidArgument for any other text.
SimdLevel parse_simd_level(std::string_view name);

/// Levels that the host executes and this build contains, in rising order.
std::vector<SimdLevel> available_levels();

/// The level in use: the best available one, or what TREEWARD_SIMD named when it was first asked
/// for. InvalidArgument if that variable names an unknown or missing level.
SimdLevel current_level();

/// Changes the level in use. InvalidArgument if the host or the build lacks it.
void set_level(SimdLevel level);

}  // namespace treeward
