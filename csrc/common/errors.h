// Typed errors of the core. The bindings turn each into a Python exception of the same meaning.
#pragma once

#include <stdexcept>
#include <string>

namespace treeward {

/// Base of every error that the core raises on purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An argument is out of range or malformed; the message names it. ValueError in Python.
class InvalidArgument : public Error {
 public:
  using Error::Error;
};

/// The pool cannot hold what was asked for, even after eviction. PoolExhausted in Python.
class PoolExhausted : public Error {
 public:
  using Error::Error;
};

/// A handle names something that was freed (its generation is old). StaleHandle in Python.
class StaleHandle : public Error {
 public:
  using Error::Error;
};

/// A model produced a number that is not one (NaN or infinite). NotFinite in Python.
class NotFinite : public Error {
 public:
  using Error::Error;
};

}  // namespace treeward
