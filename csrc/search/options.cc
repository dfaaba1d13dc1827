#include "search/options.h"

#include <cmath>
#include <sstream>

#include "common/errors.h"

namespace treeward {
namespace {

std::string show(const OptionValue& value) {
  std::ostringstream out;
  if (const auto* b = std::get_if<bool>(&value)) {
    out << (*b ? "True" : "False");
  } else if (const auto* i = std::get_if<int64_t>(&value)) {
    out << *i;
  } else if (const auto* d = std::get_if<double>(&value)) {
    out << *d;
  } else {
    out << '\'' << std::get<std::string>(value) << '\'';
  }
  return out.str();
}

}  // namespace

const OptionValue* OptionReader::find(const std::string& name, OptionValue initial) {
  defaults_.insert_or_assign(name, std::move(initial));
  const auto found = given_.find(name);
  return found == given_.end() ? nullptr : &found->second;
}

void OptionReader::refuse(const std::string& name, const std::string& expected) const {
  throw InvalidArgument("option '" + name + "' of " + algorithm_ + " must be " + expected +
                        ", got " + show(given_.at(name)));
}

int32_t OptionReader::integer(const std::string& name, int32_t initial, int32_t low, int32_t high) {
  const OptionValue* value = find(name, static_cast<int64_t>(initial));
  if (value == nullptr) return initial;
  const auto* given = std::get_if<int64_t>(value);
  if (given == nullptr || *given < low || *given > high) {
    refuse(name, "an integer from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return static_cast<int32_t>(*given);
}

double OptionReader::number(const std::string& name, double initial, double low, double high) {
  const OptionValue* value = find(name, initial);
  if (value == nullptr) return initial;
  double given = std::numeric_limits<double>::quiet_NaN();
  if (const auto* d = std::get_if<double>(value)) given = *d;
  if (const auto* i = std::get_if<int64_t>(value)) given = static_cast<double>(*i);
  // Written so that NaN fails.
  if (!(given >= low && given <= high) || std::isinf(given)) {
    refuse(name, "a finite number from " + show(low) + " to " + show(high));
  }
  return given;
}

bool OptionReader::flag(const std::string& name, bool initial) {
  const OptionValue* value = find(name, initial);
  if (value == nullptr) return initial;
  const auto* given = std::get_if<bool>(value);
  if (given == nullptr) refuse(name, "True or False");
  return *given;
}

int OptionReader::choice(const std::string& name, const std::vector<std::string>& words,
                         int initial) {
  const OptionValue* value = find(name, words[initial]);
  if (value == nullptr) return initial;
  std::string expected = "one of";
  for (size_t i = 0; i < words.size(); ++i) {
    const auto* given = std::get_if<std::string>(value);
    if (given != nullptr && *given == words[i]) return static_cast<int>(i);
    expected += (i == 0 ? " '" : ", '") + words[i] + "'";
  }
  refuse(name, expected);
}

void OptionReader::finish() const {
  for (const auto& [name, value] : given_) {
    if (defaults_.contains(name)) continue;
    std::string known;
    for (const auto& [option, initial] : defaults_) known += (known.empty() ? "" : ", ") + option;
    throw InvalidArgument("unknown option '" + name + "' of " + algorithm_ + "; known: " + known);
  }
}

}  // namespace treeward
