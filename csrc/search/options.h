// Options of an algorithm: parsed once, checked against a range, unknown ones refused by name.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace treeward {

using OptionValue = std::variant<bool, int64_t, double, std::string>;
using Options = std::map<std::string, OptionValue>;

class OptionReader {
 public:
  OptionReader(std::string algorithm, const Options& given)
      : algorithm_(std::move(algorithm)), given_(given) {}

  int32_t integer(const std::string& name, int32_t initial, int32_t low,
                  int32_t high = std::numeric_limits<int32_t>::max());
  double number(const std::string& name, double initial, double low, double high);
  bool flag(const std::string& name, bool initial);
  /// Index of the chosen word in `words`.
  int choice(const std::string& name, const std::vector<std::string>& words, int initial = 0);

  /// Raises InvalidArgument if something was given that no call asked for.
  void finish() const;
  /// Every option asked for, with its default.
  const Options& defaults() const { return defaults_; }

 private:
  const OptionValue* find(const std::string& name, OptionValue initial);
  [[noreturn]] void refuse(const std::string& name, const std::string& expected) const;

  std::string algorithm_;
  const Options& given_;
  Options defaults_;
};

}  // namespace treeward
